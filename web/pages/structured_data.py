"""What search engines read of an event's page: schema.org's Event as JSON-LD.
https://schema.org/Event, https://developers.google.com/search/docs/appearance/structured-data/event
"""

from datetime import datetime
from typing import Any

from flask import url_for

from web.domain.currencies import currency_of
from web.domain.events import Event, SaleState
from web.services import services

STATUSES = {
    "scheduled": "https://schema.org/EventScheduled",
    "postponed": "https://schema.org/EventPostponed",
    "cancelled": "https://schema.org/EventCancelled",
}

AVAILABILITY = {
    SaleState.NOT_OPEN: "https://schema.org/PreOrder",
    SaleState.ON_SALE: "https://schema.org/InStock",
    SaleState.NONE_AVAILABLE: "https://schema.org/LimitedAvailability",
    SaleState.SOLD_OUT: "https://schema.org/SoldOut",
    SaleState.CLOSED: "https://schema.org/Discontinued",
    SaleState.CANCELLED: "https://schema.org/Discontinued",
}


def structured_data(event: Event, state: SaleState) -> dict[str, Any] | None:
    """None for an event without a date, which no search engine would take."""
    if event.starts_at is None:
        return None
    # Only the operator knows it: what a request says of itself may be anybody's.
    public_url = services().settings.public_url
    address = public_url and public_url + url_for("pages.show_event", event_id=event.id)

    def there(moment: datetime | None) -> str | None:
        return moment.astimezone(event.zone).isoformat() if moment else None

    currency = currency_of(event.currency)
    declared = {
        "@context": "https://schema.org",
        "@type": "Event",
        "name": event.name,
        "url": address,
        "startDate": there(event.starts_at),
        "endDate": there(event.ends_at),
        "doorTime": there(event.doors_open_at),
        "eventStatus": STATUSES[event.status],
        "eventAttendanceMode": "https://schema.org/OfflineEventAttendanceMode",
        "location": {"@type": "Place", "name": event.venue, "address": event.venue},
        "offers": [
            {
                "@type": "Offer",
                "name": section.name,
                "url": address,
                "price": str(currency.amount(section.price_minor)),
                "priceCurrency": event.currency,
                "availability": AVAILABILITY[state],
                "validFrom": there(event.sale_opens_at),
                "availabilityEnds": there(event.sale_closes_at),
            }
            for section in event.sections
        ],
    }
    return _without_empty(declared)


def _without_empty(declared: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [_without_empty(each) for each in value] if isinstance(value, list) else value
        for name, value in declared.items()
        if value not in (None, "")
    }
