"""The rules that hold whatever goes wrong (docs/failures.md, "Several faults at once").

Some are checked at every answer, booking, charge and hold. The others are checked when everything
works again and the worker has had time; those that ``./tickets audit`` checks are left to it.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import msgspec

from web.domain.refusals import NOT_COMPLETED, ActionRequired, PaymentPending, Refusal
from web.domain.sales import LAST_STEP_S, Booking, Receipt
from web.http.problems import problem_of
from web.ports.payment_gateway import GatewayPayment

COMPARED_WITHIN_S = 10.0
"""How late the worker may be with a comparison that is due: a round, and what can delay one."""

OPEN = ("action_required", "declined")
"""The states of a payment that somebody with its secret can still confirm."""

NO = frozenset(
    {
        "payment_declined",
        "hold_expired",
        "seat_taken",
        "already_booked",
        "payment_not_found",
        "canceled",
    }
)
"""Codes of answers to a payment that mean: nothing was charged."""


@dataclass(frozen=True)
class Broken:
    """A broken rule, with how and when it was broken."""

    rule: str
    how: str
    at_s: float

    def __str__(self) -> str:
        return f"{self.at_s:.3f} s: {self.rule}: {self.how}"


@dataclass(frozen=True)
class Answer:
    """A client's answer. ``body`` distinguishes two receipts or two refusals."""

    status: int
    code: str
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.status} {self.code}"

    @property
    def is_sale(self) -> bool:
        return self.status in (200, 201)

    @property
    def is_no(self) -> bool:
        return self.code in NO

    @property
    def reason(self) -> str | None:
        return msgspec.json.decode(self.body).get("reason")

    @property
    def is_final(self) -> bool:
        """``payment_not_found`` is not final: its key can still be used."""
        return self.is_sale or (self.is_no and self.code != "payment_not_found")


def answer_with(receipt: Receipt | None, status: int = 201) -> Answer:
    if receipt is None:
        return Answer(202, "paying")
    return Answer(status, "booked", msgspec.json.encode(receipt))


def answer_to(refusal: Refusal) -> Answer:
    if isinstance(refusal, ActionRequired):
        return Answer(202, "action_required")
    if isinstance(refusal, PaymentPending):
        return Answer(202, "paying")
    problem = problem_of(refusal)
    return Answer(problem.status, problem.code, msgspec.json.encode(problem.extra))


def _words(answer: Answer) -> str:
    return f"{answer} {answer.body.decode()}"


@dataclass
class _Key:
    """The state of an idempotency key: when it was first used, how many requests to pay with it are
    under way, its first final answer, the answer that said it was not charged, and when its buyer
    was first led to the bank."""

    asked_at_s: float
    under_way: int = 0
    final: Answer | None = None
    told_no: Answer | None = None
    led_to_bank_at_s: float | None = None


class Rules:
    """``broken`` lists the broken rules in order. ``now_s`` returns the true time, ``bookings`` and
    ``payments`` return all that exist, ``refunds_under_way`` the ids of bookings that are being
    refunded, ``digest_of`` gives the name of a hold's key in a booking and a payment,
    ``positions`` are the seats' positions in Redis's map."""

    def __init__(
        self,
        now_s: Callable[[], float],
        bookings: Callable[[], dict[str, Booking]],
        payments: Callable[[], list[GatewayPayment]],
        refunds_under_way: Callable[[], set[str]],
        digest_of: Callable[[str, str], str],
        positions: Mapping[str, int],
    ):
        self._now_s = now_s
        self._bookings = bookings
        self._payments = payments
        self._refunds_under_way = refunds_under_way
        self._digest_of = digest_of
        self._positions = positions
        self._keys: dict[tuple[str, str], _Key] = defaultdict(lambda: _Key(self._now_s()))
        self._key_of_digest: dict[str, tuple[str, str]] = {}
        self._asked: set[str] = set()
        self._cancels_until_s: dict[str, float] = {}
        self._booked_at_s: dict[str, float] = {}
        self._lost_at_s = -1.0
        self._losses_s: list[float] = []
        self._can_tell: set[str] | None = None
        self._held_at_s: dict[str, float] = {}
        self._held_seats: dict[str, frozenset[str]] = {}
        self._looked_at_s: list[float] = []
        self.broken: list[Broken] = []

    def _break(self, rule: str, how: str) -> None:
        self.broken.append(Broken(rule, how, self._now_s()))

    # ------------------------------------------------------------ what is told

    def redis_lost_something(self, can_tell: set[str] | None = None) -> None:
        """``can_tell`` are the workers that can notice it when they look; None means all."""
        self._lost_at_s = self._now_s()
        self._losses_s.append(self._lost_at_s)
        self._can_tell = can_tell

    def held(self, hold_id: str, seats: Sequence[str]) -> None:
        """A hold was made just now."""
        self._held_at_s[hold_id] = self._now_s()
        self._held_seats[hold_id] = frozenset(seats)

    def worker_looked(self, who: str, began_s: float, read_map: Callable[[], str | None]) -> None:
        """A round of the worker that could do all its work, and began at that time, has ended. From
        now on Redis must again have everything that it lost before, as far as a worker could see.
        ``read_map`` reads the current map."""
        if began_s > self._lost_at_s and self._can_tell is not None:
            if who not in self._can_tell:
                return
            self._can_tell = None
        self._looked_at_s.append(began_s)
        if self._lost_at_s < 0 or began_s <= self._lost_at_s:
            return
        seats = read_map()
        if seats is None:
            return
        for booking in self._bookings().values():
            if booking.refunded_at or self._booked_at_s[booking.id] >= began_s:
                continue
            if self._is_compared_later(booking, began_s):
                continue
            held_at_s = self._held_at_s.get(booking.hold_id, 0.0)
            if not any(held_at_s < look_s <= self._lost_at_s for look_s in self._looked_at_s):
                continue
            under_refund = booking.seat_refund.seats if booking.seat_refund else ()
            for seat in booking.seats_left:
                if seat in under_refund:
                    continue
                state = seats[self._positions[seat] : self._positions[seat] + 1]
                if state not in "sp":
                    self._break(
                        "a sold seat shows as sold once the worker has looked",
                        f"{seat} of {booking.id} is {state!r} after a round of {who} that began "
                        f"at {began_s:.3f} s",
                    )

    def _is_compared_later(self, booking: Booking, began_s: float) -> bool:
        """A booking made after a loss, by a payment from before it, is found when the worker
        compares the event once more; the first round after the loss has rebuilt the event."""
        for lost_at_s in self._losses_s:
            first_s = next((look_s for look_s in self._looked_at_s if look_s > lost_at_s), began_s)
            is_after = self._booked_at_s[booking.id] > lost_at_s
            if is_after and began_s <= first_s + LAST_STEP_S + COMPARED_WITHIN_S:
                return True
        return False

    def asks_to_pay(self, hold_id: str, key: str) -> None:
        """From now on the key may be charged, whatever an earlier read of it has answered."""
        known = self._keys[hold_id, key]
        known.under_way += 1
        self._key_of_digest[self._digest_of(hold_id, key)] = (hold_id, key)
        if known.told_no and not known.told_no.is_final:
            known.told_no = None

    def no_longer_asks(self, hold_id: str, key: str) -> None:
        """The request that began with asks_to_pay has ended."""
        self._keys[hold_id, key].under_way -= 1

    # ------------------------------------------------------------ at every moment

    def heard(self, hold_id: str, key: str, answer: Answer) -> None:
        """A client got this answer about the payment with this key."""
        if answer.code in ("hold_expired", "payment_not_found") and self._loss_is_unnoticed():
            return  # Not promised for this second (docs/failures.md, "Where it ends").
        who = f"key {key} of {hold_id}"
        known = self._keys[hold_id, key]
        if answer.status in (404, 500) and answer.code != "payment_not_found":
            self._break("an answer is never wrong", f"{who}: {answer}")
        if answer.is_sale:
            self._sale_is_true(who, hold_id, answer)
        if answer.code == "action_required" and known.led_to_bank_at_s is None:
            known.led_to_bank_at_s = self._now_s()
        if answer.is_final and known.final:
            self._answer_stays(who, self._digest_of(hold_id, key), known, answer)
        elif answer.is_final:
            known.final = answer
        if answer.is_no and (answer.is_final or not known.under_way):
            known.told_no = answer
            self._no_charge(hold_id, key)
            if answer.code in ("payment_declined", "canceled"):
                self._nobody_can_confirm(who, self._digest_of(hold_id, key), answer)

    def canceled(self, hold_id: str, key: str, answer: Answer) -> None:
        """A client got this answer when it canceled the payment with this key."""
        if answer.code != "already_booked":
            self.heard(hold_id, key, answer)
        elif self._booking_of(hold_id) is None:
            self._break("an answer is never wrong", f"{hold_id} is not booked, but told: {answer}")

    def came_back(self, hold_id: str, answer: Answer) -> None:
        """Somebody got this answer who came back from the bank: about whichever payment it is."""
        if answer.status in (404, 500) and answer.code != "payment_not_found":
            self._break("an answer is never wrong", f"who comes back for {hold_id}: {answer}")
        if answer.is_sale:
            self._sale_is_true(f"who comes back for {hold_id}", hold_id, answer)

    def _nobody_can_confirm(self, who: str, digest: str, answer: Answer) -> None:
        """What was at the bank is canceled before anybody is told that nothing was charged."""
        for payment in self._payments():
            was_asked = payment.payment_id in self._asked
            is_over = payment.status in ("voided", "refunded")
            if was_asked and not is_over and payment.metadata["key_digest"] == digest:
                self._break(
                    "a payment that was refused cannot be confirmed",
                    f"{who} was told {answer}, and {payment.payment_id} is {payment.status}",
                )

    def _loss_is_unnoticed(self) -> bool:
        """Whether the same Redis went back in time and no worker has looked since."""
        is_same = self._can_tell is not None
        return is_same and self._lost_at_s > max(self._looked_at_s, default=0.0)

    def _gateway_forgot_reason(self, digest: str) -> bool:
        """It keeps that of the last try; none when the owner was asked again, and canceled."""
        return any(
            payment.status == "voided" and payment.decline is None
            for payment in self._payments()
            if payment.metadata["key_digest"] == digest
        )

    def _may_replace(self, digest: str, known: _Key, answer: Answer) -> bool:
        """Whether one "not charged" may replace another: the gateway still knows a refused card,
        but not how many there were, and MongoDB knows only bookings."""
        redis_forgot = self._lost_at_s >= known.asked_at_s
        if {answer.code, known.final.code} == {"canceled", "payment_declined"}:
            return True  # The reason is in the answer to a payment.
        if redis_forgot and answer.code == known.final.code == "payment_declined":
            is_forgotten = answer.reason == NOT_COMPLETED and self._gateway_forgot_reason(digest)
            return answer.reason == known.final.reason or is_forgotten
        return answer == known.final or redis_forgot or answer.code == "already_booked"

    def _answer_stays(self, who: str, digest: str, known: _Key, answer: Answer) -> None:
        first = known.final
        if first.is_sale != answer.is_sale:
            self._break("a key has one final answer", f"{who} heard {first}, and then {answer}")
        elif first.is_sale and first.body != answer.body:
            self._break(
                "a receipt stays as it is", f"{who}: {_words(first)}, then {_words(answer)}"
            )
        elif first.is_no and not self._may_replace(digest, known, answer):
            self._break(
                "a key has one final answer",
                f"{who} heard {_words(first)}, and then {_words(answer)}",
            )
        elif first.code == "canceled":
            known.final = answer

    def _sale_is_true(self, who: str, hold_id: str, answer: Answer) -> None:
        booking = self._booking_of(hold_id)
        if booking is None or msgspec.json.encode(booking.receipt()) != answer.body:
            self._break("every receipt is in MongoDB", f"{who}: {answer}, and there is {booking}")

    def _booking_of(self, hold_id: str) -> Booking | None:
        for booking in self._bookings().values():
            if booking.hold_id == hold_id:
                return booking
        return None

    def _no_charge(self, hold_id: str, key: str) -> None:
        """Checked at every refusal, booking and charge: who was told "not charged" is not
        charged."""
        told = self._keys[hold_id, key].told_no
        if not told:
            return
        digest = self._digest_of(hold_id, key)
        for booking in self._bookings().values():
            if booking.key_digest == digest:
                self._break(
                    "nobody who was told no is booked",
                    f"key {key} of {hold_id} was told {told}, and {booking.id} is booked",
                )
        for payment in self._payments():
            if payment.metadata["key_digest"] == digest and payment.status == "captured":
                self._break(
                    "nobody who was told no is charged",
                    f"key {key} of {hold_id} was told {told}, and {payment.payment_id} is captured",
                )

    def booked(self, booking: Booking) -> None:
        if booking.id in self._booked_at_s:
            return
        self._booked_at_s[booking.id] = self._now_s()
        for payment in self._payments():
            if payment.payment_id == booking.payment_id:
                self._money_for(booking, payment)
                if self._cancels_until_s.get(payment.payment_id, 0) > self._now_s():
                    self._break(
                        "a canceled payment is never booked",
                        f"{payment.payment_id} of {booking.id} is about to be canceled",
                    )
        self._seats_were_refunded(booking)
        if booking.key_digest in self._key_of_digest:
            self._no_charge(*self._key_of_digest[booking.key_digest])

    def _seats_were_refunded(self, booking: Booking) -> None:
        """Those that others had booked before: their money was returned first."""
        payments = {payment.payment_id: payment for payment in self._payments()}
        for other in self._bookings().values():
            payment = payments.get(other.payment_id or "")
            if other is booking or {*booking.seats}.isdisjoint(other.seats) or payment is None:
                continue
            is_returned = payment.status in ("refunded", "voided")
            if not other.refunded_at:
                is_returned = is_returned or payment.refunded_minor >= other.refunded_minor
            if not is_returned:
                self._break(
                    "a seat is sold again only after its refund",
                    f"{booking.id} has a seat of {other.id}, whose {payment.payment_id} is "
                    f"{payment.status}, with {payment.refunded_minor} refunded",
                )

    def cancels_until(self, payment_id: str, at_s: float) -> None:
        """This payment's cancellation, whose caller has given up, will be carried out then."""
        self._cancels_until_s[payment_id] = at_s

    def charged(self, payment: GatewayPayment) -> None:
        """The status of a payment has changed."""
        if payment.status == "action_required":
            self._asked.add(payment.payment_id)
        for booking in self._bookings().values():
            if payment.payment_id == booking.payment_id:
                self._money_for(booking, payment)
                self._refunds_are_decided(booking, payment)
        if payment.metadata["key_digest"] in self._key_of_digest:
            self._no_charge(*self._key_of_digest[payment.metadata["key_digest"]])

    def _money_for(self, booking: Booking, payment: GatewayPayment) -> None:
        is_paid = payment.status in ("authorized", "captured", "refunded")
        if not is_paid and booking.id not in self._refunds_under_way():
            self._break(
                "a canceled payment is never booked",
                f"{payment.payment_id} of {booking.id} is {payment.status}",
            )

    def _refunds_are_decided(self, booking: Booking, payment: GatewayPayment) -> None:
        """No more goes back than the booking says, and so nothing goes back twice."""
        if booking.refunded_at or booking.id in self._refunds_under_way():
            return
        decided_minor = booking.refunded_minor
        if booking.seat_refund and not booking.seat_refund.is_paid:
            decided_minor += booking.seat_refund.amount_minor
        if payment.refunded_minor > decided_minor:
            self._break(
                "money is returned once",
                f"{payment.refunded_minor} of {payment.payment_id} went back, and {decided_minor} "
                f"was to be refunded of {booking.id}",
            )

    def _was_led_to_bank(self, payment: GatewayPayment) -> bool:
        """By a response that was heard before Redis lost anything."""
        key = self._key_of_digest.get(payment.metadata["key_digest"])
        led_at_s = self._keys[key].led_to_bank_at_s if key else None
        return led_at_s is not None and (self._lost_at_s < 0 or led_at_s < self._lost_at_s)

    def time_is_over_at_bank(self, payment: GatewayPayment, is_under_way: bool) -> None:
        """Checked when a payment that its buyer had to confirm at the bank had all its time, and
        nothing has failed since it was over. ``is_under_way``: Redis has a payment of its hold."""
        if not self._was_led_to_bank(payment):
            return
        others = [
            p for p in self._payments() if p.metadata["hold_id"] == payment.metadata["hold_id"]
        ]
        # Redis is rebuilt without a payment that was refused at the bank; it is canceled later.
        is_open = payment.status in OPEN[: 2 if self._lost_at_s < 0 else 1]
        if is_open or (is_under_way and others[-1] is payment):
            self._break(
                "a payment at the bank ends when its time is over",
                f"{payment.payment_id} of {payment.key} is {payment.status}"
                + (", and its seats are paying" if is_under_way else ""),
            )

    def crashed(self, who: str, error: BaseException) -> None:
        self._break("nothing fails in a way that nobody expected", f"{who}: {error!r}")

    # ------------------------------------------------------------ in the end

    def audited(self, findings: list[str]) -> None:
        for finding in findings:
            self._break("the audit finds nothing", finding)

    def all_are_refunded(self) -> None:
        """Checked when the event was cancelled, and the worker has had time."""
        rule = "every booking of a cancelled event is refunded"
        for booking in self._bookings().values():
            if not booking.refunded_at:
                self._break(rule, f"{booking.id} is not")
        for payment in self._payments():
            if payment.status == "captured":
                self._break(rule, f"{payment.payment_id} of {payment.key} is still captured")

    def open_payments(self) -> list[str]:
        """Those that somebody could still confirm."""
        return [
            f"{payment.payment_id} of {payment.key} is {payment.status}"
            for payment in self._payments()
            if payment.status in OPEN
        ]

    def closed(self, open_payments: list[str]) -> None:
        for payment in open_payments:
            self._break("no payment stays open at the gateway", payment)

    def confirmed(self, payment: GatewayPayment) -> None:
        """Checked for a payment that its owner has confirmed in time, when nothing failed but, at
        most once, Redis's memory."""
        hold_id = payment.metadata["hold_id"]
        if self._was_led_to_bank(payment) and self._booking_of(hold_id) is None:
            if self._were_held_in_between(hold_id):
                return
            self._break("who confirms in time has the seats", f"{payment.payment_id} of {hold_id}")

    def _were_held_in_between(self, hold_id: str) -> bool:
        """Whether somebody else has got seats of this hold after Redis went back to before it, and
        before a worker looked."""
        found_at_s = next((at_s for at_s in self._looked_at_s if at_s > self._lost_at_s), inf)
        return any(
            self._held_seats[hold_id] & seats
            for other_id, seats in self._held_seats.items()
            if other_id != hold_id and self._lost_at_s < self._held_at_s[other_id] < found_at_s
        )

    def ended(self, hold_id: str, key: str, answer: Answer | None) -> None:
        """Checks the answer to a repeat of each key when everything works again."""
        if answer is None or not answer.is_final:
            self._break("every key gets a final answer", f"key {key} of {hold_id} heard {answer}")

    def every_receipt_stays(self) -> None:
        for (hold_id, key), known in self._keys.items():
            if known.final and known.final.is_sale:
                self._sale_is_true(f"key {key} of {hold_id}", hold_id, known.final)

    def sale_goes_on(self, seat: str, answer: Answer) -> None:
        """Checks the first answer to a buyer of a seat that is free."""
        if not answer.is_sale:
            self._break("the sale goes on", f"whoever wants {seat} hears {answer}")
