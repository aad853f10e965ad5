"""What is on sale, and the forms that hold seats."""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Response, flash, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.currencies import CURRENCIES
from web.domain.events import Availability, Event, SaleState
from web.domain.refusals import (
    BasketFull,
    EventNotFound,
    InvalidRequest,
    Refusal,
    SaleClosed,
    SaleNotOpen,
    SeatTaken,
    SectionNotFound,
    SoldOut,
    TooManyHeld,
    TooManyHeldByNetwork,
    Unavailable,
)
from web.domain.sales import Hold, HoldStatus
from web.domain.validation import MAX_SEATS_NAMED, number_of
from web.http.locales import duration, isolated, isolated_seat
from web.http.telemetry import record_refusal
from web.pages import basket
from web.pages.blueprint import browser, client, is_for_script, pages
from web.pages.refusal_pages import words_of
from web.pages.rendering import FormError, page
from web.pages.seating import (
    aisles_of,
    fits_a_page,
    pages_of,
    row_anchor,
    runs_of,
    section_of,
    sections_of,
)
from web.pages.structured_data import structured_data
from web.services import services

NEIGHBOURS = FormError(
    "None of them is yours: somebody who shares your internet connection holds them. Wait until "
    "they are paid for or come back, or use another connection, such as mobile data.",
    "#sale",
)

SHARED_NETWORK = FormError(
    "If you can, use another connection, such as Wi-Fi instead of mobile data.", "#sale"
)


REFUSED_FORMS = (
    BasketFull,
    InvalidRequest,
    SectionNotFound,
    SeatTaken,
    SoldOut,
    SaleNotOpen,
    SaleClosed,
    TooManyHeld,
)
"""The refusals of a form to hold seats, which are shown beside the form."""


MAX_PRICES = 1000
"""The most sections that an event may have."""

BEST_FORM = ("#best", "#quantity")
"""Places in the form for the best seats."""


class ListedEvent(NamedTuple):
    """``seats`` and ``state`` are None while they cannot be read."""

    event: Event
    seats: Availability | None
    state: SaleState | None


class RejectedForm(NamedTuple):
    """A refused form's input, so that the buyer need not fill it in again."""

    refusal: Refusal
    title: str
    words: str
    mistakes: Sequence[FormError]
    seats: Sequence[str] = ()
    section_id: str = ""
    quantity: int = 2


# ---------------------------------------------------------------- looking


@pages.get("/")
def list_events() -> Response:
    now = datetime.now(UTC)
    events = services().box_office.events()
    closed = services().seats.closed_sales([event.id for event in events])
    upcoming: list[ListedEvent] = []
    past: list[ListedEvent] = []
    for event in sorted(events, key=_order):
        # One that cannot be reached now, or was closed a moment ago, must not hide the others.
        with suppress(EventNotFound):
            seats = _availability(event)
            state = event.sale_state(seats, now, is_closed=event.id in closed) if seats else None
            (past if event.is_over(now) else upcoming).append(ListedEvent(event, seats, state))
    return page("events.html", upcoming=upcoming, past=past[::-1])


def _order(event: Event) -> tuple[bool, datetime, str]:
    """By the day of the show; those that have none come last."""
    return event.starts_at is None, event.starts_at or event.sale_opens_at, event.name


def _availability(event: Event) -> Availability | None:
    """None while it cannot be read. Raises EventNotFound."""
    try:
        return services().seat_maps.of(event.id).availability
    except Unavailable:
        return None


@pages.get("/events/<event_id>")
def show_event(event_id: str) -> Response:
    return _event_page(event_id)


@pages.get("/events/<event_id>/sections/<section_id>")
def show_section(event_id: str, section_id: str) -> Response:
    return _section_page(event_id, section_id)


@pages.get("/events/<event_id>/holds")
@pages.get("/events/<event_id>/best")
def leave_form_address(event_id: str) -> WerkzeugResponse:
    """A form's address, which may be opened again after its response: redirects to the event."""
    return redirect(url_for("pages.show_event", event_id=event_id), 303)


# ---------------------------------------------------------------- holding


@pages.post("/events/<event_id>/holds")
def hold_seats(event_id: str) -> Response | WerkzeugResponse:
    seats = request.form.getlist("seats")
    if not seats:
        nothing = InvalidRequest("seats", "Choose at least one seat.")
        return _refused_seats(event_id, seats, nothing)
    return _hold(
        event_id,
        [*sorted(seats)],
        lambda: services().box_office.hold_seats(event_id, client(), seats),
        lambda refusal: _refused_seats(event_id, seats, refusal),
    )


@pages.post("/events/<event_id>/best")
def hold_best(event_id: str) -> Response | WerkzeugResponse:
    section_id, quantity = request.form.get("section", ""), _quantity()
    return _hold(
        event_id,
        [section_id, str(quantity), request.form.get("form", "")],
        lambda: services().box_office.hold_best(event_id, client(), section_id, quantity),
        lambda refusal: _refused_best(event_id, section_id, quantity, refusal),
        _tell_when_apart,
    )


def _hold(
    event_id: str,
    selection: list[str],
    hold: Callable[[], tuple[Hold, str]],
    refused: Callable[[Refusal], Response],
    tell: Callable[[Hold], None] = lambda _held: None,
) -> Response | WerkzeugResponse:
    """``selection`` is what the form chooses: the same choice by the same browser is one form."""

    def hold_what_fits() -> tuple[Hold, str]:
        basket.require_room()
        return hold()

    form = hashlib.sha256("\n".join([browser(), *selection]).encode()).hexdigest()
    try:
        held = services().form_holds.hold_once(event_id, form, hold_what_fits)
        basket.put(held, _other_price_seen(held))
    except REFUSED_FORMS as refusal:
        return _for_script(event_id, refusal) if is_for_script() else refused(refusal)
    tell(held)
    address = url_for("pages.show_hold", event_id=event_id, hold_id=held.id)
    if is_for_script():
        return make_response({"address": address}, 201)
    return redirect(address, 303)


def _tell_when_apart(held: Hold) -> None:
    """For buyers who let us choose: those who chose the seats themselves know where they are."""
    runs = runs_of(services().box_office.event(held.event_id), held.seats)
    if len(runs) > 1:
        flash(
            f"These seats are not all side by side: {'; '.join(runs)}. If they do not suit you, "
            "give them back with the button below; nothing is charged."
        )


def _for_script(event_id: str, refusal: Refusal) -> Response:
    """The API's problem; for taken seats it also lists those of this browser, ``yours``."""
    problem = record_refusal(refusal)
    if isinstance(refusal, SeatTaken):
        mine = basket.seats_of(event_id)
        yours = [seat for seat in refusal.seats if seat in mine]
        problem = replace(problem, extra={**problem.extra, "yours": yours})
    return problem.flask_response()


def _other_price_seen(held: Hold) -> tuple[int, str] | None:
    """The amount and currency that the form had shown for these seats, if they were different."""
    currency, *prices = request.form.get("prices", "").split()[: MAX_PRICES + 1] or [""]
    shown = {}
    for price in prices:
        section_id, _, text = price.rpartition(":")
        shown[section_id] = number_of(text, digits=12)
    seen_minor = 0
    for seat in held.seats:
        minor = shown.get(seat.rsplit("-", 2)[0])
        if minor is None:
            return None
        seen_minor += minor
    if (seen_minor, currency) == (held.amount_minor, held.currency):
        return None
    return (seen_minor, currency) if currency in CURRENCIES else None


def _quantity() -> int:
    return number_of(request.form.get("quantity", ""), digits=3) or 0


# ---------------------------------------------------------------- refused forms


def _refused_seats(event_id: str, seats: Sequence[str], refusal: Refusal) -> Response:
    event = services().box_office.event(event_id)
    known = [seat for seat in seats[:MAX_SEATS_NAMED] if seat in event.positions]
    words = words_of(refusal)
    match refusal:
        case SeatTaken(taken):
            mine = basket.seats_of(event_id)
            title = "Some seats were taken a moment ago"
            if mine.issuperset(taken):
                title = "You have these seats already"
                words = "Nothing more was held. To add others, choose them without these."
            mistakes = [
                FormError(
                    f"{isolated_seat(event.seat_name(seat))} is in your basket",
                    url_for("pages.show_basket"),
                )
                if seat in mine
                else FormError(
                    f"{isolated_seat(event.seat_name(seat))} is taken", f"#{row_anchor(seat)}"
                )
                for seat in taken
            ]
        case InvalidRequest(_, problem):
            title, words = "Please check your seats", "Nothing was held."
            if len(seats) > event.max_seats_per_hold:
                problem = f"Choose at most {event.max_seats_per_hold} seats at a time."
            mistakes = [FormError(problem, "#seats")]
        case _:
            title, mistakes = _common_mistakes(event, refusal)
    sent = RejectedForm(refusal, title, words, mistakes, seats=known)
    section_id = request.form.get("in_section", "")
    if section_id in event.section_of:
        return _section_page(event_id, section_id, sent)
    return _event_page(event_id, sent)


def _refused_best(event_id: str, section_id: str, quantity: int, refusal: Refusal) -> Response:
    event, seat_map = services().seat_maps.event_and_map(event_id)
    section = event.section_of.get(section_id)
    words = words_of(refusal)
    match refusal:
        case SoldOut() if section:
            views = sections_of(event, seat_map.seats, with_rows=False)
            free = {view.section.id: view.seats.free for view in views}
            words = _instead_of_sold_out(free, section_id, Availability.of(seat_map.seats))
            title = "Not enough seats left" if any(free.values()) else "No seats left"
            name = isolated(section.name)
            seats = f"Fewer than {quantity} seats are" if free[section_id] else "No seats are"
            mistakes = [FormError(f"{seats} available in {name} right now", "#best")]
        case InvalidRequest():
            title, words = "Please check the number of seats", "Nothing was held."
            most = event.max_seats_per_hold
            mistakes = [FormError(f"Choose 1 to {most} seats.", "#quantity")]
        case SoldOut() | SectionNotFound():
            title = "That section is not on sale"
            mistakes = [FormError("Choose another section", "#best")]
        case _:
            title, mistakes = _common_mistakes(event, refusal)
    sent = RejectedForm(refusal, title, words, mistakes, section_id=section_id, quantity=quantity)
    if section and request.form.get("in_section", "") == section_id:
        return _section_page(event_id, section_id, sent)
    return _event_page(event_id, sent)


def _instead_of_sold_out(free: Mapping[str, int], section_id: str, seats: Availability) -> str:
    """Suggests only what can still work. ``free`` is by section, ``seats`` for the whole event."""
    steps = []
    if free[section_id]:
        steps.append("take fewer")
    if any(left for other, left in free.items() if other != section_id):
        steps.append("choose another section")
    words = "There are not that many seats left there." if steps else "There are no seats left."
    if steps:
        words += f" {' or '.join(steps).capitalize()}."
    if seats.on_hold:
        words += " Seats may come back when somebody's time to pay runs out."
    return words


def _common_mistakes(event: Event, refusal: Refusal) -> tuple[str, list[FormError]]:
    match refusal:
        case SaleClosed():
            return "The sale is over", [FormError("No more seats are sold for this event", "#sale")]
        case SaleNotOpen(wait_ms):
            return "Not open yet", [FormError(f"The sale opens in {duration(wait_ms)}", "#sale")]
        case BasketFull():
            step = FormError("Open your basket", url_for("pages.show_basket"))
            return "Your basket is full", [step]
        case TooManyHeldByNetwork():
            return "Your network holds many seats already", [SHARED_NETWORK]
        case TooManyHeld():
            mine = basket.statuses_of(event.id) - {HoldStatus.BOOKED}
            step = FormError("Open your basket", url_for("pages.show_basket"))
            return "Your connection holds many seats already", [step if mine else NEIGHBOURS]
    raise refusal


# ---------------------------------------------------------------- pages


def _event_page(event_id: str, sent: RejectedForm | None = None) -> Response:
    event, seat_map = services().seat_maps.event_and_map(event_id)
    on_one_page = fits_a_page(event)
    sections = sections_of(event, seat_map.seats, with_rows=on_one_page)
    return _rendered(
        "event.html",
        event,
        sent,
        Availability.of(seat_map.seats),
        sections=sections,
        on_one_page=on_one_page,
        seat_map=seat_map,
    )


def _section_page(event_id: str, section_id: str, sent: RejectedForm | None = None) -> Response:
    event, seat_map = services().seat_maps.event_and_map(event_id)
    section = event.section_of.get(section_id)
    if section is None:
        raise SectionNotFound(section_id)
    parts = pages_of(section)
    at = number_of(request.values.get("page", ""), digits=3) or 1
    at = min(at, len(parts))
    view = section_of(event, section, seat_map.seats, parts[at - 1])
    return _rendered(
        "section.html",
        event,
        sent,
        view.seats,
        view=view,
        parts=parts,
        at=at,
        seat_map=seat_map,
    )


def _rendered(
    template: str, event: Event, sent: RejectedForm | None, seats: Availability, **context: object
) -> Response:
    """A page with the forms of an event, and the refusal of one of them. ``seats`` counts those
    that the page is about."""
    if sent and seats.sold_out:
        # The form that some mistakes link to is gone.
        mistakes = [
            mistake._replace(href="#sale") if mistake.href in BEST_FORM else mistake
            for mistake in sent.mistakes
        ]
        sent = sent._replace(mistakes=mistakes)
    mine = basket.statuses_of(event.id)
    problem = record_refusal(sent.refusal) if sent else None
    now = datetime.now(UTC)
    is_closed = event.id in services().seats.closed_sales([event.id])
    state = event.sale_state(seats, now, is_closed=is_closed)
    response = page(
        template,
        problem.status if problem else 200,
        event=event,
        now=now,
        state=state,
        is_ended=state in (SaleState.CANCELLED, SaleState.CLOSED, SaleState.SOLD_OUT),
        structured_data=structured_data(event, state),
        sent=sent,
        words=sent.words if sent else "",
        aisles=aisles_of(event),
        form_id=secrets.token_urlsafe(9),
        seats=seats,
        holding=mine - {HoldStatus.BOOKED},
        booked=mine & {HoldStatus.BOOKED},
        **context,
    )
    if problem and problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response
