"""A booking for a calendar: RFC 5545, with the time zone of the venue."""

from datetime import UTC, datetime, timedelta

import icalendar

from web.domain.sales import Booking
from web.pages.names import EventNames

MEDIA_TYPE = "text/calendar"

LASTS = timedelta(hours=2)
"""How much of the day an event without an end takes up."""

STATUSES = {"scheduled": "CONFIRMED", "postponed": "TENTATIVE", "cancelled": "CANCELLED"}


def calendar_file(
    event: EventNames, starts_at: datetime, booking: Booking, seats: list[str], address: str
) -> bytes:
    """One entry, which takes the place of an earlier one of the same booking. ``address`` is that
    of the receipt."""
    entry = icalendar.Event()
    entry.add("uid", f"{booking.id}@tickets")
    entry.add("dtstamp", datetime.now(UTC).replace(microsecond=0))
    entry.add("dtstart", starts_at.astimezone(event.zone))
    entry.add("dtend", (event.ends_at or starts_at + LASTS).astimezone(event.zone))
    entry.add("summary", event.name)
    entry.add("location", event.venue)
    entry.add("url", address)
    lines = [*seats, f"Ticket: {address}"]
    if event.doors_open_at:
        doors = event.doors_open_at.astimezone(event.zone)
        lines.insert(0, f"Doors open at {doors:%H:%M}")
    entry.add("description", "\n".join(lines))
    entry.add("status", "CANCELLED" if booking.refunded_at else STATUSES[event.status])
    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//TicketS//Tickets//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add_component(entry)
    first = starts_at.date() - timedelta(days=366)
    calendar.add_missing_timezones(first_date=first, last_date=first + timedelta(days=3 * 366))
    content: bytes = calendar.to_ical()
    return content
