"""What the simulator is worth: where a mend is taken back, a run breaks the rule it was made for.

Each plan was found by chance and made short by ``make simulate``; that it still holds with the mend
shows that the mend is what holds it. Plans that nobody chose find each of them within seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from tests.simulator.gateway import ASKING_CARD
from tests.simulator.hunting import hunt, told
from tests.simulator.plans import (
    DECLINED_CARD,
    AnswerLost,
    Cancel,
    GoesBack,
    Hold,
    Killed,
    Late,
    Loss,
    Owner,
    Part,
    Plan,
    Refund,
    RefundSeats,
    Request,
    Spot,
    Stopped,
    Webhooks,
    When,
)
from tests.simulator.world import run
from web.adapters.redis import seat_store
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.refusals import PaymentDeclined
from web.domain.sales import BankStep, Booking, PaymentAttempt, SeatRefund
from web.ports.event_catalogue import Epoch
from web.ports.payment_gateway import GatewayPayment
from web.ports.seat_store import Upkeep
from web.use_cases import opening as opening_module
from web.use_cases import reconciliation
from web.use_cases import refunds as refunds_module
from web.use_cases.bank_confirmation import BankConfirmation
from web.use_cases.checkout import Checkout
from web.use_cases.opening import Opening, UnderWay
from web.use_cases.payment_steps import InFlight, PaymentSteps
from web.use_cases.reconciliation import Reconciler
from web.use_cases.refunds import Refunds
from web.use_cases.repairs import OwedRefund

maintenance_due = RedisSeatStore.maintenance_due
open_event = Opening.open_event
open_seats = RedisSeatStore.open_event
renew_lease = RedisSeatStore.renew_lease
owed_refunds = Reconciler._owed_refunds
payments_under_way = UnderWay._live.func


def undone_when_not_listed(
    checkout: Checkout, payment, charges: Mapping[str, GatewayPayment] | None
) -> GatewayPayment | None:
    """Instead of Checkout._settled: believes the gateway's list, and leaves the key as it is."""
    if charges is None:
        found = checkout._gateway.find(payment.gateway_key, payment.begun_at)
    else:
        found = charges.get(payment.gateway_key)
    if found and found.status == "declined":
        raise PaymentDeclined("card_declined", "Your card was declined.")
    return found if found and found.status in ("authorized", "captured") else None


def history_known_by_its_number(store: RedisSeatStore, event_ids, seen):
    """Instead of RedisSeatStore.maintenance_due: an event has gone back when its revision has."""
    return {
        event_id: replace(
            upkeep,
            history_lost=event_id in seen and upkeep.moment.revision < seen[event_id].revision,
        )
        if isinstance(upkeep, Upkeep)
        else upkeep
        for event_id, upkeep in maintenance_due(store, event_ids, {}).items()
    }


def opened_as_it_is(
    opening: Opening, event, under_way=None, lost_revision=0, last_epoch=None, is_repair=False
) -> bool:
    """Instead of Opening.open_event: whatever an older file has is on sale again."""
    return open_event(opening, event, under_way, lost_revision, is_repair=is_repair)


def opened_without_payments(
    store: RedisSeatStore, event, sold, lost_revision=0, payments=None, *, keeps_definition=False
) -> bool:
    """Instead of RedisSeatStore.open_event: what was under way is lost when Redis goes back."""
    return open_seats(store, event, sold, lost_revision, keeps_definition=keeps_definition)


def refunded_once_more(refunds: Refunds, booking: Booking, refund: SeatRefund) -> None:
    """Instead of Refunds._give_part_back: another key for each try."""
    key = f"refund-{booking.id}-{refunds_module._now():%H%M%S}"
    refunds._gateway.refund_part(booking.payment_id, refund.amount_minor, key)


def seats_before_money(refunds: Refunds, booking_id: str) -> Booking:
    """Instead of Refunds.refund: whoever wants a seat need not wait for the gateway."""
    refunds._bookings.begin_refund(booking_id)
    refunds._bookings.mark_refunded(booking_id, refunds_module._now())
    booking = refunds._booking(booking_id)
    refunds.return_seats(booking)
    refunds._give_money_back(booking)
    refunds._bookings.end_refund(booking_id)
    return booking


def those_that_broke_off(reconciler: Reconciler) -> list[OwedRefund]:
    """Instead of Reconciler._owed_refunds: a cancellation is the business of its command."""
    return [
        refund for refund in owed_refunds(reconciler) if refund.reason.endswith("and broke off")
    ]


def made_again(payment: PaymentAttempt) -> str:
    """Instead of PaymentAttempt.gateway_key: another one for each beginning."""
    return f"{payment.hold_id}-{payment.attempt}-{payment.begun_at.timestamp() * 1000:.0f}"


def left_open(bank: BankConfirmation, payment_id: str) -> None:
    """Instead of BankConfirmation.release: undoing the payment in Redis is enough."""


def not_marked(store: RedisSeatStore, payment: PaymentAttempt, step: BankStep) -> BankStep:
    """Instead of RedisSeatStore.begin_cancel: whoever cancels has the payment, after all."""
    return step


def renewed_by_whoever_had_it(store: RedisSeatStore, payment: PaymentAttempt) -> bool:
    """Instead of RedisSeatStore.renew_lease: the payment of a hold is the same for everybody."""
    return any(renew_lease(store, replace(payment, claim=claim)) for claim in range(9))


def with_money(under_way: UnderWay) -> list[GatewayPayment]:
    """Instead of UnderWay._live: those without money are nobody's loss."""
    return [p for p in payments_under_way(under_way) if p.status == "authorized"]


def nothing_booked(steps: PaymentSteps, in_flight: InFlight) -> None:
    """Instead of PaymentSteps.booking_of: what is at the bank is not booked."""


@dataclass(frozen=True)
class Mend:
    owner: object
    name: str
    taken_back: object
    breaks: str
    plan: tuple[Part, ...]


AT_BANK = (
    Hold("ada", 1, ("stalls-A-1",)),
    Request("ada-pay-1", "ada", 1.2, "pay", "k1", ASKING_CARD),
)

MENDS = {
    "a payment is undone only when its key is used up": Mend(
        Checkout,
        "_settled",
        undone_when_not_listed,
        "nobody who was told no is charged",
        (
            Hold("ada", 1, ("stalls-A-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            Late(Spot("ada-pay-1", "authorize", 1, "before"), by_s=63, times=2),
            Request("ada-pay-2", "ada", 64, "pay", "k1"),
            Loss(When(70), "everything", noticed_s=0.2),
        ),
    ),
    "nobody is told of a hold that was lost a moment ago that it is over": Mend(
        seat_store,
        "UNSURE_MS",
        0,
        "nobody who was told no is booked",
        (
            Hold("ada", 1, ("free-F-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            Late(Spot("ada-pay-1", "insert", 1, "before"), by_s=7, times=1),
            Loss(When(0, Spot("ada-pay-1", "lease_renewed")), "everything", noticed_s=0.2),
            Request("ada-pay-2", "ada", 4, "pay", "k1"),
        ),
    ),
    "a key that was undone is known to the gateway": Mend(
        PaymentAttempt,
        "gateway_key",
        property(made_again),
        "a key has one final answer",
        (
            Hold("ada", 1, ("stalls-A-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            Killed(Spot("ada-pay-1", "begun")),
            Request("ada-pay-2", "ada", 64, "pay", "k1"),
            GoesBack(When(1.1), When(66), noticed_s=0.2),
            Request("ada-pay-3", "ada", 68, "pay", "k1"),
        ),
    ),
    "a key that was refused is known to the gateway": Mend(
        PaymentAttempt,
        "gateway_key",
        property(made_again),
        "a key has one final answer",
        (
            Hold("ada", 1, ("stalls-A-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1", DECLINED_CARD),
            GoesBack(When(1.1), When(4), noticed_s=8),
            Request("ada-pay-2", "ada", 5, "pay", "k1"),
        ),
    ),
    "what was lost once does not come back": Mend(
        Opening,
        "open_event",
        opened_as_it_is,
        "nobody who was told no is booked",
        (
            Hold("ada", 1, ("free-F-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            Killed(Spot("ada-pay-1", "begun")),
            Loss(When(4), "everything", noticed_s=0.2),
            Request("ada-pay-2", "ada", 45, "pay", "k1"),
            GoesBack(When(3), When(50), noticed_s=0.2, of_before_a_loss=True),
            Request("ada-pay-3", "ada", 64, "pay", "k1"),
        ),
    ),
    "what was left out at one loss stays left out at the next": Mend(
        Epoch,
        "has",
        lambda epoch, hold_id: True,
        "nobody who was told no is booked",
        (
            Hold("ada", 1, ("stalls-A-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            Late(Spot("ada-pay-1", "authorize", 1, "before"), by_s=63, times=2),
            Loss(When(2), "everything", noticed_s=0.2),
            Request("ada-pay-2", "ada", 70, "pay", "k1"),
            Loss(When(85), "event", noticed_s=0.2),
        ),
    ),
    "a history is known by its changes": Mend(
        RedisSeatStore,
        "maintenance_due",
        history_known_by_its_number,
        "a sold seat shows as sold once the worker has looked",
        (
            Hold("ada", 2, ("free-F-1",)),
            Request("ada-pay-1", "ada", 2.2, "pay", "k1"),
            GoesBack(When(1.9), When(3.05), noticed_s=2, starts=False),
            Hold("abe", 3.1, ("free-F-2",)),
            Request("abe-pay-1", "abe", 3.2, "pay", "k1"),
        ),
    ),
    "who gives up a payment cancels it at the gateway first": Mend(
        BankConfirmation,
        "release",
        left_open,
        "nobody who was told no is booked",
        (
            *AT_BANK,
            Request("ada-cancel", "ada", 4, "cancel", "k1"),
            Owner("ada", 5, "yes"),
            Loss(When(9), "everything", noticed_s=0.2),
        ),
    ),
    "a payment is marked before it is canceled": Mend(
        RedisSeatStore,
        "begin_cancel",
        not_marked,
        "a canceled payment is never booked",
        (
            *AT_BANK,
            Request("ada-cancel", "ada", 4, "cancel", "k1"),
            Late(Spot("ada-cancel", "void", 1, "before"), by_s=70, times=2),
            Owner("ada", 8, "yes"),
            Late(Spot("worker-1", "capture", 1, "before"), by_s=30, times=2),
            Request("ada-look", "ada", 80, "look", "k1"),
        ),
    ),
    "who claims a payment fences off whoever had it": Mend(
        RedisSeatStore,
        "renew_lease",
        renewed_by_whoever_had_it,
        "a canceled payment is never booked",
        (
            *AT_BANK,
            Owner("ada", 1, "yes"),
            Request("ada-back", "ada", 4, "come back"),
            Webhooks(late_s=3),
            Stopped(Spot("ada-back", "confirmed_by_bank"), for_s=20),
            Request("ada-cancel", "ada", 21, "cancel", "k1"),
            Late(Spot("ada-cancel", "void", 1, "before"), by_s=4, times=1),
            Late(Spot("ada-back", "capture", 1, "before"), by_s=30, times=2),
        ),
    ),
    "Redis is rebuilt with what is at the bank": Mend(
        UnderWay,
        "_live",
        property(with_money),
        "who confirms in time has the seats",
        (*AT_BANK, Loss(When(4), "everything", noticed_s=0.2), Owner("ada", 20, "yes")),
    ),
    "Redis is rebuilt with what has been at the bank for long": Mend(
        opening_module,
        "UNDER_WAY",
        timedelta(seconds=30),
        "who confirms in time has the seats",
        (
            *AT_BANK,
            Loss(When(50), "everything", noticed_s=0.2),
            Owner("ada", 60, "yes"),
            Request("ada-look", "ada", 70, "look", "k1"),
        ),
    ),
    "what was begun when Redis went back is put back": Mend(
        RedisSeatStore,
        "open_event",
        opened_without_payments,
        "who confirms in time has the seats",
        (*AT_BANK, GoesBack(When(1.15), When(4), noticed_s=0.2), Owner("ada", 70, "yes")),
    ),
    "and so is what was held then": Mend(
        RedisSeatStore,
        "open_event",
        opened_without_payments,
        "who confirms in time has the seats",
        (*AT_BANK, GoesBack(When(0.9), When(4), noticed_s=0.2), Owner("ada", 70, "yes")),
    ),
    "the gateway's list is read back to what was not settled": Mend(
        reconciliation,
        "GATEWAY_WINDOW",
        timedelta(minutes=-2),
        "the audit finds nothing",
        (
            *AT_BANK,
            Late(Spot("ada-pay-1", "authorize", 1, "before"), by_s=63, times=1),
            Loss(When(2), "everything", noticed_s=0.2),
        ),
    ),
    "what is booked is not canceled": Mend(
        PaymentSteps,
        "booking_of",
        nothing_booked,
        "a key has one final answer",
        (
            *AT_BANK,
            Owner("ada", 0.5, "yes"),
            Request("ada-back", "ada", 4, "pay", "k1", ASKING_CARD),
            GoesBack(When(2.5), When(30), noticed_s=0.2),
            Request("ada-cancel", "ada", 32, "cancel", "k1"),
        ),
    ),
    "a refund of seats has one key": Mend(
        Refunds,
        "_give_part_back",
        refunded_once_more,
        "money is returned once",
        (
            Hold("ada", 1, ("stalls-A-1", "stalls-A-2")),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            RefundSeats("seats-of-ada", "ada", 5),
            AnswerLost(Spot("seats-of-ada", "refund_part", 1, "before"), times=1),
        ),
    ),
    "money is refunded before its seats are free": Mend(
        Refunds,
        "refund",
        seats_before_money,
        "a seat is sold again only after its refund",
        (
            Hold("ada", 1, ("stalls-A-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            Refund("refund-of-ada", "ada", 5),
            Stopped(Spot("refund-of-ada", "return_seats"), for_s=20),
            Hold("abe", 8, ("stalls-A-1",)),
            Request("abe-pay-1", "abe", 8.2, "pay", "k1"),
        ),
    ),
    "the worker finishes a cancellation": Mend(
        Reconciler,
        "_owed_refunds",
        those_that_broke_off,
        "every booking of a cancelled event is refunded",
        (
            Hold("ada", 1, ("stalls-A-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            Cancel("cancel", 5),
            Killed(Spot("cancel", "booked_ids")),
        ),
    ),
    "what Redis has lost may have been the cancellation": Mend(
        Reconciler,
        "_definition_of",
        lambda reconciler, event_id: reconciler._on_sale[event_id],
        "every booking of a cancelled event is refunded",
        (
            Hold("ada", 1, ("stalls-A-1",)),
            Request("ada-pay-1", "ada", 1.2, "pay", "k1"),
            Cancel("cancel", 8),
            Killed(Spot("cancel", "booked_ids")),
            GoesBack(When(6), When(8.5), noticed_s=0.2),
        ),
    ),
}


@pytest.mark.parametrize("mend", MENDS.values(), ids=MENDS)
def test_what_a_mend_holds_breaks_without_it(memory, monkeypatch, mend):
    plan = Plan(1, mend.plan)
    with_it = run(plan, memory)
    assert not with_it.broken, told(with_it)

    monkeypatch.setattr(mend.owner, mend.name, mend.taken_back)
    without = run(plan, memory)
    assert mend.breaks in without.rules, told(without)


FOUND_BY = {
    "a payment is undone only when its key is used up": range(60, 110),
    "nobody is told of a hold that was lost a moment ago that it is over": range(200, 250),
    "a history is known by its changes": range(50),
    "who gives up a payment cancels it at the gateway first": range(50),
    "the gateway's list is read back to what was not settled": range(50),
    "what is booked is not canceled": range(50, 100),
    "a refund of seats has one key": range(50),
    "the worker finishes a cancellation": range(50),
}
"""Of the seeds that the suite plays, and which hold with the mend."""


@pytest.mark.parametrize(("mend", "seeds"), FOUND_BY.items(), ids=FOUND_BY)
def test_chance_finds_what_breaks_without_a_mend(memory, monkeypatch, mend, seeds):
    taken_back = MENDS[mend]
    monkeypatch.setattr(taken_back.owner, taken_back.name, taken_back.taken_back)
    assert hunt(seeds, memory).found
