"""Putting declared events on sale, and keeping them consistent with the bookings."""

import logging
import time
from collections.abc import Sequence
from functools import cached_property

from web.domain.events import Event, SeatState, moved_seats
from web.domain.refusals import EventChanged
from web.domain.sales import booking_id_of
from web.ports.booking_store import BookingStore
from web.ports.event_catalogue import Epoch, EventCatalogue
from web.ports.payment_gateway import Gateway, GatewayError, GatewayPayment
from web.ports.seat_store import NONE_LOST, LostPayments, SeatsMoved, SeatStore
from web.use_cases.checkout import UNDER_WAY
from web.use_cases.gateway_metadata import payment_of

OPENING_TRIES = 5

NAMED_SEATS = 5
"""How many seats a message names before it says "and so on"."""

LISTING_S = 3.0
"""How long the gateway's list is read for them: the events are shut meanwhile, and the newest come
first, which are those that are still under way."""

log = logging.getLogger(__name__)


class OpeningRefused(Exception):
    """The message names the seats that prevent it."""


class UnderWay:
    """Payments that the gateway has authorised, or that are at the bank, read from its list once,
    when they are first asked for. Without the gateway there are none: MongoDB's index decides then
    whose seats they are, and a payment that comes too late is void. ``are_all``: whether the list
    was read to its end."""

    def __init__(self, gateway: Gateway):
        self._gateway = gateway
        self.are_all = False

    def of(self, event_id: str) -> list[GatewayPayment]:
        return [payment for payment in self._live if payment.metadata.get("event") == event_id]

    @cached_property
    def _live(self) -> list[GatewayPayment]:
        until_s, live = time.monotonic() + LISTING_S, []
        try:
            for gateway_payment in self._gateway.list(self._gateway.now() - UNDER_WAY):
                if gateway_payment.status in ("authorized", "action_required"):
                    live.append(gateway_payment)
                if time.monotonic() > until_s:
                    log.warning("opening without the oldest payments under way: the list is long")
                    break
            else:
                self.are_all = True
        except GatewayError as error:
            log.warning("opening without asking for payments under way: %s", error)
        return live


class Opening:
    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        gateway: Gateway,
    ):
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway

    def open_events(self, events: Sequence[Event]) -> dict[str, bool | OpeningRefused]:
        """Opens each event, or brings it up to date with its definition and its bookings; safe to
        repeat. Returns event id to whether anything changed, or why that event stays as it was,
        which keeps no other from being opened."""
        self._bookings.create_indexes()
        self._catalogue.add([])
        under_way = UnderWay(self._gateway)
        outcomes: dict[str, bool | OpeningRefused] = {}
        for event in events:
            try:
                outcomes[event.id] = self._announce_and_open(event, under_way)
            except OpeningRefused as refused:
                outcomes[event.id] = refused
        return outcomes

    def _announce_and_open(self, event: Event, under_way: UnderWay) -> bool:
        """When the event is at another time than before, its buyers have to hear of it. That is
        recorded first, so that a command that is killed in between and repeated forgets nobody."""
        before = self.check(event)
        if before is None or not _is_moved(before, event):
            return self.open_event(event, under_way)
        now = self._seats.now(event.id)
        self._bookings.announce(event.id, "postponed", now)
        changed = self.open_event(event, under_way)
        # Whoever has bought meanwhile saw the former time.
        self._bookings.announce(event.id, "postponed", now, since=now)
        return changed

    def open_event(
        self,
        event: Event,
        under_way: UnderWay | None = None,
        lost_revision: int = 0,
        last_epoch: Epoch | None = None,
        is_repair: bool = False,
    ) -> bool:
        """As ``open_events``, for one. Raises OpeningRefused when its definition would lose or
        renumber a seat that is held or sold, or change its currency. ``under_way`` is read now
        unless it is given. ``lost_revision``: the history that led to it is not in Redis any more,
        so the event goes on above it. ``last_epoch``: the one that the event was in, as far as is
        known. An event that was built before it was lost before, and is built again; and a payment
        that it did not have stays lost. ``is_repair``: it is listed already, and its definition
        is not to be changed: when another is in Redis meanwhile, the organiser has decided so."""
        self._check_bookings(event)
        if not is_repair:
            self._catalogue.add([event.id])
        revision, lost = self._seats.revision(event.id), NONE_LOST
        is_new = revision is None or (last_epoch and revision < last_epoch.built_revision)
        if is_new or lost_revision:
            lost = self._lost_payments(event, under_way or UnderWay(self._gateway), last_epoch)
        if is_new:
            # Built closed, and opened with the bookings of a moment when it was there already: the
            # seats of a booking that is made meanwhile are marked by that booking's own process.
            self._seats.build_event(event, last_epoch.built_revision if last_epoch else 0)
        # Redis may be back at a time before the cancellation.
        keeps = is_repair and event.status != "cancelled"
        for _ in range(OPENING_TRIES):
            # A seat that the file drops may have been bought since the first look.
            sold = self._check_bookings(event)
            try:
                return self._seats.open_event(
                    event, sold, lost_revision, lost, keeps_definition=keeps
                )
            except EventChanged:
                # Another process opened it between our look and our change: look again.
                if keeps:
                    event = self._catalogue.current_event(event.id)
            except SeatsMoved as moved:
                raise _moves(event, self._catalogue.current_event(event.id), moved.seats) from None
        raise OpeningRefused(f"{event.id}: others keep opening it with another definition")

    def check(self, event: Event) -> Event | None:
        """Whether ``open_event`` would open it now, changing nothing. Returns the definition that
        is on sale, None when there is none. Raises OpeningRefused, Unavailable."""
        self._check_bookings(event)
        if self._seats.revision(event.id) is None:
            return None
        before = self._catalogue.current_event(event.id)
        seat_states = self._seats.read_seats(event.id).seats
        in_the_way = [
            seat
            for seat, state, moved in zip(
                before.seats, seat_states, moved_seats(before, event), strict=False
            )
            if state != SeatState.FREE and moved == "1"
        ]
        if in_the_way:
            raise _moves(event, before, in_the_way)
        return before

    def _check_bookings(self, event: Event) -> list[str]:
        """Redis may have lost the sold seats. Returns them."""
        sold = self._bookings.sold_seats(event.id)
        if lost := [seat for seat in sold if seat not in event.positions]:
            raise OpeningRefused(
                f"{event.id}: the file no longer has seats that are sold: {some(lost)}"
            )
        currencies = self._bookings.currencies(event.id)
        if currencies and event.currency not in currencies:
            raise OpeningRefused(
                f"{event.id}: the currency cannot change to {event.currency}, because "
                f"seats are sold in {' and '.join(sorted(currencies))}: {some(sold)}; "
                "sell in another currency under another id"
            )
        return sold

    def _lost_payments(
        self, event: Event, under_way: UnderWay, last_epoch: Epoch | None
    ) -> LostPayments:
        """Those that are under way for seats that are not booked. The worker releases the
        authorisations of all others without a booking, including those that an earlier loss has
        ended: their buyers may have been told that nothing was charged."""
        if not any(section.price_minor for section in event.sections):
            return NONE_LOST
        found = [
            (payment_of(gateway_payment), gateway_payment.status == "action_required")
            for gateway_payment in under_way.of(event.id)
        ]
        found = [
            (payment, at_bank)
            for payment, at_bank in found
            if last_epoch is None or last_epoch.has(payment.hold_id)
        ]
        wanted = [seat for payment, _ in found for seat in payment.seats]
        sold = set(self._bookings.sold_seats(event.id, among=wanted))
        booked = self._bookings.find_all(
            booking_id_of(payment.hold_id)
            for payment, _ in found
            if sold.intersection(payment.seats)
        )
        unbooked = [
            (payment, at_bank)
            for payment, at_bank in found
            if booking_id_of(payment.hold_id) not in booked
        ]
        possible = [
            (payment, at_bank)
            for payment, at_bank in unbooked
            if payment.currency == event.currency
            and not sold.intersection(payment.seats)
            and all(seat in event.positions for seat in payment.seats)
        ]
        return LostPayments(
            authorized=[payment for payment, at_bank in possible if not at_bank],
            at_bank=[payment for payment, at_bank in possible if at_bank],
            are_all=under_way.are_all and possible == unbooked,
        )


def _is_moved(before: Event, after: Event) -> bool:
    """Whether the event has another date now, or none yet, or one again. A definition from before
    events had dates says nothing of them."""
    if after.status == "cancelled":
        return False
    has_moved = before.starts_at is not None and before.starts_at != after.starts_at
    return has_moved or (before.status == "postponed") != (after.status == "postponed")


def _moves(event: Event, before: Event, seats: Sequence[str]) -> OpeningRefused:
    """``seats`` are taken, and not where they were in ``before``, or not in its currency."""
    if event.currency != before.currency:
        return OpeningRefused(
            f"{event.id}: the currency cannot change from {before.currency} to {event.currency} "
            f"while seats are held or sold: {some(seats)}; open it again when they are available"
        )
    return OpeningRefused(
        f"{event.id}: the file would renumber or drop seats that are held or sold: "
        f"{some(seats)}; add new seats at the end of the file"
    )


def some(seats: Sequence[str]) -> str:
    more = len(seats) - NAMED_SEATS
    return ", ".join(seats[:NAMED_SEATS]) + (f" and {more} more" if more > 0 else "")
