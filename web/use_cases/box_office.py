"""Before the payment: look at an event, hold seats, look a hold up, release it."""

from collections.abc import Callable, Sequence

from web.domain.events import Event
from web.domain.refusals import (
    AlreadyBooked,
    BookingNotFound,
    EventNotFound,
    HoldExpired,
    HoldNotFound,
    InvalidRequest,
    NotKnownNow,
    Refusal,
    SeatNotFound,
    SectionNotFound,
    Unavailable,
)
from web.domain.sales import Booking, Hold, HoldRef, HoldStatus, booking_id_of, hold_id_of
from web.ports.booking_store import BookingStore
from web.ports.event_catalogue import EventCatalogue
from web.ports.seat_store import SeatStore
from web.signing.hold_tokens import HoldTokens
from web.use_cases.current_event import with_event


class BoxOffice:
    """Refusals are raised, named as in ``web/domain/``; every method can raise EventNotFound and
    Unavailable. Where a token is taken, a wrong one looks like a hold that never was."""

    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        tokens: HoldTokens,
    ):
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._tokens = tokens

    def events(self) -> list[Event]:
        """Those on sale. One that Redis has lost is left out until it is back. While some servers
        of Redis cannot be reached, their events are as this process saw them last."""
        found = self._catalogue.current_events(self._catalogue.last_event_ids())
        away = [event for event in found.values() if isinstance(event, Unavailable)]
        if away and len(away) == len(found):
            raise away[0]
        listed = (
            self._catalogue.last_event(event_id) if isinstance(event, Unavailable) else event
            for event_id, event in found.items()
        )
        return [event for event in listed if event]

    def event(self, event_id: str) -> Event:
        return self._catalogue.current_event(event_id)

    def event_to_name(self, event_id: str) -> Event:
        """The current definition; while Redis is unreachable, or when the event was withdrawn, the
        last one that this process saw."""
        try:
            return self._catalogue.current_event(event_id)
        except Unavailable:
            return self._catalogue.cached_event(event_id)

    def hold_seat(self, event_id: str, client: str, seat: str) -> tuple[Hold, str]:
        """Returns the hold and its token. Raises SeatNotFound, SeatTaken, SaleNotOpen,
        TooManyHeld."""

        def place(event: Event) -> list[int]:
            if seat not in event.positions:
                raise SeatNotFound(seat)
            return [event.positions[seat]]

        return self._hold_at(event_id, client, place)

    def hold_seats(self, event_id: str, client: str, seats: Sequence[str]) -> tuple[Hold, str]:
        """All of the seats or none. Returns the hold and its token. Raises InvalidRequest,
        SeatTaken, SaleNotOpen, TooManyHeld."""

        def places(event: Event) -> list[int]:
            _check_quantity("seats", len(seats), event)
            for index, seat in enumerate(seats):
                if seat not in event.positions:
                    raise InvalidRequest(f"seats[{index}]", f"this event has no seat {seat}")
                if seat in seats[:index]:
                    raise InvalidRequest(f"seats[{index}]", f"{seat} is listed twice")
            return [event.positions[seat] for seat in seats]

        return self._hold_at(event_id, client, places)

    def hold_best(
        self, event_id: str, client: str, section_id: str, quantity: int
    ) -> tuple[Hold, str]:
        """The best seats available. Returns the hold and its token. Raises InvalidRequest,
        SectionNotFound, SoldOut, SaleNotOpen, TooManyHeld."""
        tag, network = self._tokens.client_tag(client), self._tokens.network_tag(client)

        def hold(event: Event) -> Hold:
            section = event.section_of.get(section_id)
            if section is None:
                raise SectionNotFound(section_id)
            _check_quantity("quantity", quantity, event)
            hold_id = self._tokens.new_hold_id(self._catalogue.epoch(event))
            return self._seats.hold_best(event, hold_id, tag, section, quantity, network)

        held = with_event(self._catalogue, event_id, hold)
        return held, self._tokens.token_of(event_id, held.id)

    def _hold_at(
        self, event_id: str, client: str, places: Callable[[Event], list[int]]
    ) -> tuple[Hold, str]:
        tag, network = self._tokens.client_tag(client), self._tokens.network_tag(client)

        def hold(event: Event) -> Hold:
            positions = places(event)
            hold_id = self._tokens.new_hold_id(self._catalogue.epoch(event))
            return self._seats.hold_seats(event, hold_id, tag, positions, network)

        held = with_event(self._catalogue, event_id, hold)
        return held, self._tokens.token_of(event_id, held.id)

    def hold(self, ref: HoldRef) -> Hold:
        """Raises HoldNotFound, HoldExpired."""
        self._check_token(ref)
        refusal: Refusal = HoldExpired()
        try:
            held = with_event(
                self._catalogue,
                ref.event_id,
                lambda event: self._seats.read_hold(event, ref.hold_id),
            )
        except (EventNotFound, Unavailable) as unknown:
            held, refusal = None, unknown
        if held:
            return held
        # Redis does not know the hold, or the event, or knows nothing at all.
        booking = self._bookings.find(booking_id_of(ref.hold_id))
        if booking is None:
            raise refusal
        return _booked_hold(booking)

    def extend(self, ref: HoldRef) -> Hold:
        """Gives the hold its full time again, once. Raises HoldNotFound, HoldExpired,
        AlreadyExtended, PaymentInProgress, AlreadyBooked."""
        self._check_token(ref)
        refusal: Refusal = HoldExpired()
        try:
            extended = with_event(
                self._catalogue,
                ref.event_id,
                lambda event: self._seats.extend_hold(event, ref.hold_id),
            )
        except NotKnownNow as unknown:
            extended, refusal = None, unknown
        if extended:
            return extended
        self._require_unbooked(ref.hold_id)
        raise refusal

    def release(self, ref: HoldRef) -> None:
        """Releases the seats. Idempotent. Raises HoldNotFound, PaymentInProgress,
        AlreadyBooked."""
        self._check_token(ref)
        try:
            released = self._seats.release_hold(ref.event_id, ref.hold_id)
        except NotKnownNow:
            self._require_unbooked(ref.hold_id)
            raise
        if not released:
            self._require_unbooked(ref.hold_id)

    def booking(self, event_id: str, booking_id: str, token: str) -> Booking:
        """Raises BookingNotFound."""
        if not self._tokens.is_valid(HoldRef(event_id, hold_id_of(booking_id), token)):
            raise BookingNotFound
        booking = self._bookings.find(booking_id)
        if booking is None:
            raise BookingNotFound
        return booking

    def _require_unbooked(self, hold_id: str) -> None:
        if booking := self._bookings.find(booking_id_of(hold_id)):
            raise AlreadyBooked(booking.id)

    def _check_token(self, ref: HoldRef) -> None:
        if not self._tokens.is_valid(ref):
            raise HoldNotFound


def _check_quantity(field: str, quantity: int, event: Event) -> None:
    if not 1 <= quantity <= event.max_seats_per_hold:
        most = event.max_seats_per_hold
        raise InvalidRequest(field, f"must be 1 to {most} seats" if most > 1 else "must be 1 seat")


def _booked_hold(booking: Booking) -> Hold:
    """The hold of a booking: it ended at the moment of the sale."""
    return Hold(
        id=booking.hold_id,
        event_id=booking.event_id,
        seats=booking.seats,
        amount_minor=booking.amount_minor,
        currency=booking.currency,
        status=HoldStatus.BOOKED,
        expires_at_ms=int(booking.booked_at.timestamp() * 1000),
        expires_in_ms=0,
        booking=booking,
    )
