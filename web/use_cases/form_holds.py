"""A form that is submitted twice (a double click, a reload, the back button) makes one hold."""

import time
from collections.abc import Callable
from contextlib import suppress

from web.domain.refusals import HoldExpired, NotKnownNow, SeatTaken, SoldOut, TooManyHeld
from web.domain.sales import Hold, HoldRef, HoldStatus
from web.ports.seat_store import SeatStore
from web.signing.hold_tokens import HoldTokens
from web.use_cases.box_office import BoxOffice

TWIN_WAIT_S = 0.05
"""What a refused form waits for its twin, which may have got the seats a moment ago, to say so."""


class FormHolds:
    def __init__(self, seats: SeatStore, box_office: BoxOffice, tokens: HoldTokens):
        self._seats = seats
        self._box_office = box_office
        self._tokens = tokens

    def hold_once(self, event_id: str, form: str, hold: Callable[[], tuple[Hold, str]]) -> Hold:
        """The hold that the same form got before, while it can be paid; otherwise a new one.
        Submitting the form again for the very seats that it has booked returns the booked hold.
        ``form`` identifies the form and its selection, and is unique to its browser. ``hold`` is a
        call of BoxOffice; raises what that raises."""
        earlier = self._earlier(event_id, form)
        if earlier and earlier.status != HoldStatus.BOOKED:
            return earlier
        try:
            held, token = hold()
        except (SeatTaken, SoldOut, TooManyHeld) as refusal:
            if earlier and isinstance(refusal, SeatTaken) and {*refusal.seats} <= {*earlier.seats}:
                return earlier
            time.sleep(TWIN_WAIT_S)
            twin = self._earlier(event_id, form)
            if twin and twin.status != HoldStatus.BOOKED:
                return twin
            raise
        if earlier:
            self._seats.forget_form(event_id, form, earlier.id)
        first_hold_id = self._seats.remember_form(event_id, form, held.id)
        if first_hold_id != held.id:
            # Its twin was faster and has other seats.
            self._box_office.release(HoldRef(event_id, held.id, token))
            return self._hold(event_id, first_hold_id)
        return held

    def _earlier(self, event_id: str, form: str) -> Hold | None:
        """What the form got before: held, being paid or booked. None when it ended, or its booking
        was refunded: those seats are on sale again."""
        hold_id = self._seats.hold_of_form(event_id, form)
        if hold_id is None:
            return None
        with suppress(HoldExpired, NotKnownNow):
            earlier = self._hold(event_id, hold_id)
            if not earlier.refunded:
                return earlier
        self._seats.forget_form(event_id, form, hold_id)
        return None

    def _hold(self, event_id: str, hold_id: str) -> Hold:
        return self._box_office.hold(self._tokens.ref_of(event_id, hold_id))
