"""The verdict of a burst is not blind: each thing that must not be is seen when it is."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from tests.burst.diary import Answer, Asked, Held, NotPaid, OtherBytes, Paid, Strain
from tests.burst.gateway_queue import GatewayQueue
from tests.burst.plan import Drop, Plan
from tests.burst.report import text_of
from tests.burst.verdict import AtBank, Evidence, Evident, Look, Share
from web.ports.payment_gateway import GatewayPayment
from web.use_cases.audit import Check

OPENS_AT_S = 1_790_000_000.0


def answer(call: str, said: str, *, who: str = "human", ms: float = 5.0, **more) -> Answer:
    fields = {"counted": True, "may_retry": False, "at_s": OPENS_AT_S + 1} | more
    status = 0 if said == "no answer" else int(said.split(maxsplit=1)[0])
    return Answer(ms=ms, who=who, call=call, status=status, said=said, **fields)


def booking(hold_id: str, *seats: str) -> dict:
    return {
        "hold_id": hold_id,
        "event": "burst",
        "seats": list(seats),
        "amount": 100 * len(seats),
        "currency": "GBP",
        "payment_id": f"pi_{hold_id}",
    }


def payment(hold_id: str, amount_minor: int, status: str = "captured", attempt: str = "1"):
    return GatewayPayment(
        payment_id=f"pi_{hold_id}" if attempt == "1" else f"pi_{hold_id}_{attempt}",
        key=f"{hold_id} {attempt}",
        amount_minor=amount_minor,
        currency="GBP",
        status=status,
        created=datetime.now(UTC),
        metadata={"hold_id": hold_id, "event": "burst", "key_digest": f"{hold_id} {attempt}"},
    )


def asked(hold_id: str, said: str, attempt: str = "1", *, heard_s: float | None = 3.0) -> Asked:
    """A bank's question about ``payment(hold_id, …, attempt)``, with time until 8 s after the
    opening; the bank heard the answer after ``heard_s``."""
    heard_at_s = None if heard_s is None else OPENS_AT_S + heard_s
    return Asked(hold_id, f"{hold_id} {attempt}", OPENS_AT_S + 8, said, heard_at_s)


PEOPLES, BOTS = booking("people", "A-1", "A-2", "A-3"), booking("bots", "A-4")


@pytest.fixture
def evidence() -> Evidence:
    """A sale of four seats in which all is well."""
    return Evidence(
        drop=Drop(
            plan=Plan(crowd=1, bots=1, seconds=10),
            event_id="burst",
            opens_at_s=OPENS_AT_S,
            closes_at_s=OPENS_AT_S + 10,
            diary_dir="",
        ),
        hall_size=4,
        lines=[
            answer("hold seat", "403 sale_not_open", at_s=OPENS_AT_S - 1),
            answer("hold list", "201"),
            answer("pay", "201", ms=30.0),
            answer("hold seat", "201", who="botnet"),
            answer("hold seat", "409 seat_taken", who="botnet", counted=False),
            answer("pay", "201", who="botnet"),
            Held("human", "people"),
            Held("botnet", "bots"),
            Paid("people", dict(PEOPLES)),
            Paid("bots", dict(BOTS)),
            NotPaid("too late", "nothing charged"),
            msgspec.structs.replace(asked("people", "accept"), receipt_s=OPENS_AT_S + 3.25),
            asked("bots", "give up", "2", heard_s=None),
            asked("refuser", "refuse"),
            asked("silent", "", heard_s=None),
            NotPaid("refuser", "nothing charged"),
            Strain(0.5, 12.0),
        ],
        bookings=[PEOPLES, BOTS],
        payments=[
            payment("people", 300),
            payment("bots", 100),
            payment("bots", 100, "voided", "2"),
            payment("refuser", 100, "voided"),
            payment("silent", 100, "voided"),
        ],
        checks=[Check("all is well", 4)],
        looks=[
            Look(OPENS_AT_S - 1, Counter("0000")),
            Look(OPENS_AT_S + 1, Counter("hhh0")),
            Look(OPENS_AT_S + 1.5, None),
            Look(OPENS_AT_S + 2, Counter("hsss")),
            Look(OPENS_AT_S + 3, Counter("ssss")),
        ],
        inserts=2,
    )


def broken_in(evidence: Evidence) -> dict[str, int]:
    """What must not be, and is."""
    verdict = Evident(evidence).judge()
    broken = {zero.name: zero.count for zero in verdict.zeros if zero.cases}
    assert verdict.holds == (not broken)
    return broken


def with_line(evidence: Evidence, *lines) -> Evidence:
    return replace(evidence, lines=[*evidence.lines, *lines])


def in_chaos(evidence: Evidence) -> Evidence:
    drop = evidence.drop
    plan = Plan(crowd=1, bots=1, seconds=10, chaos=1)
    return replace(
        evidence,
        drop=Drop(
            plan=plan,
            event_id=drop.event_id,
            opens_at_s=drop.opens_at_s,
            closes_at_s=drop.closes_at_s,
            diary_dir="",
        ),
        inserts=None,
    )


def test_a_sale_in_which_all_is_well_holds(evidence):
    assert broken_in(evidence) == {}


def test_a_verdict_says_how_the_sale_went(evidence):
    verdict = Evident(evidence).judge()
    assert (verdict.seats, verdict.sold, verdict.bookings) == (4, 4, 2)
    assert (verdict.taken_after_s, verdict.sold_after_s) == (2.0, 3.0)
    assert verdict.bots == Share(requests=3 / 5, seats=1 / 4), "what came early does not count"
    assert (verdict.requests, verdict.refusals) == (6, 2)
    assert verdict.at_bank == AtBank(asked=4, confirmed=1, refused=1, given_up=1, silent=1)
    assert {times.name: times.most_ms for times in verdict.times} == {
        "seats held (201)": 5.0,
        "paid (201)": 30.0,
        "from the bank's yes to the receipt": 250.0,
    }


def test_a_booking_that_is_gone_is_a_lost_receipt_and_money_for_nothing(evidence):
    broken = broken_in(replace(evidence, bookings=[BOTS], inserts=1))
    assert broken == {
        "lost receipts": 1,
        "double charges": 1,
        "confirmed in time, and no seat": 1,
    }


def test_a_receipt_with_other_seats_than_the_booking_is_lost(evidence):
    other = PEOPLES | {"seats": ["A-1", "A-2", "B-9"]}
    assert broken_in(replace(evidence, bookings=[other, BOTS])) == {"lost receipts": 1}


def test_a_page_with_a_receipt_counts_too(evidence):
    booked, lost = (Paid(hold_id, None) for hold_id in ("people", "nobody"))
    assert broken_in(with_line(evidence, booked)) == {}
    assert broken_in(with_line(evidence, lost)) == {"lost receipts": 1}


@pytest.mark.parametrize(
    "payments",
    [
        [payment("people", 300), payment("people", 300, attempt="2")],
        [payment("people", 200)],
        [payment("people", 300), payment("nobody", 100)],
    ],
    ids=["twice", "another amount", "nothing booked"],
)
def test_money_that_was_taken_wrongly_is_a_double_charge(evidence, payments):
    broken = broken_in(replace(evidence, payments=[*payments, payment("bots", 100)]))
    assert broken == {"double charges": 1}


def test_a_seat_in_two_bookings_is_overbooked(evidence):
    twice = booking("bots", "A-3")
    lines = [line for line in evidence.lines if not isinstance(line, Paid)]
    broken = broken_in(replace(evidence, bookings=[PEOPLES, twice], lines=lines))
    assert broken == {"seats overbooked": 1}


@pytest.mark.parametrize("said", ["500 internal_error", "503 unavailable", "502", "no answer"])
def test_without_chaos_every_5xx_and_every_silence_is_an_error(evidence, said):
    line = answer("pay", said, may_retry=True)
    assert broken_in(with_line(evidence, line)) == {"server errors": 1}


@pytest.mark.parametrize(("sent_away", "errors"), [(0, 2), (1, 1), (2, 0)])
def test_only_whom_the_gateways_queue_sent_away_may_hear_503(evidence, sent_away, errors):
    api, page = answer("pay", "503 unavailable", may_retry=True), answer("form to pay", "503")
    lines = with_line(evidence, api, msgspec.structs.replace(page, may_retry=True))
    broken = broken_in(replace(lines, queue=GatewayQueue(sent_away=sent_away)))
    assert broken.get("server errors", 0) == errors
    assert broken.keys() <= {"server errors"}


def test_a_verdict_says_how_many_waited_for_the_gateway_and_how_long(evidence):
    assert Evident(evidence).judge().queue.waited == 0
    queue = GatewayQueue({0.5: 10, 1.0: 40, 2.0: 40, float("inf"): 40}, 24.0, 7)
    said = text_of(Evident(replace(evidence, queue=queue)).judge())
    assert "40, 0.60 s on average, 1 s at most" in said
    assert re.search(r"sent away for a while by its queue +7\n", said)


@pytest.mark.parametrize(
    ("said", "may_retry", "errors"),
    [
        ("503 unavailable", True, 0),
        ("503 unavailable", False, 1),
        ("504 outcome_unknown", True, 0),
        ("no answer", False, 0),
        ("500 internal_error", True, 1),
        ("502", True, 1),
    ],
)
def test_in_chaos_the_contracts_own_words_are_no_errors(evidence, said, may_retry, errors):
    line = answer("pay", said, may_retry=may_retry)
    broken = broken_in(in_chaos(with_line(evidence, line)))
    assert broken.get("server errors", 0) == errors


def test_who_was_told_that_nothing_was_charged_may_have_no_booking(evidence):
    told = NotPaid("people", "nothing charged")
    assert broken_in(with_line(evidence, told)) == {"charged after “nothing was charged”": 1}


def test_a_payment_that_never_ends_is_seen(evidence):
    endless = NotPaid("somebody", "unknown")
    assert broken_in(with_line(evidence, endless)) == {"payments without an end": 1}


def test_who_confirmed_in_time_has_the_seat_whatever_they_were_told(evidence):
    in_vain = asked("gone", "accept", heard_s=7.9)
    told = NotPaid("gone", "nothing charged")
    broken = {"confirmed in time, and no seat": 1}
    assert broken_in(with_line(evidence, in_vain)) == broken
    assert broken_in(with_line(evidence, in_vain, told)) == broken


def test_in_chaos_who_confirmed_has_the_seat_or_is_told_otherwise(evidence):
    in_vain = asked("gone", "accept")
    told = NotPaid("gone", "nothing charged")
    broken = {"confirmed in time, and no seat": 1}
    assert broken_in(in_chaos(with_line(evidence, in_vain))) == broken
    assert broken_in(in_chaos(with_line(evidence, in_vain, told))) == {}


@pytest.mark.parametrize("heard_s", [8.1, None], ids=["too late", "perhaps never"])
def test_who_confirmed_too_late_may_be_without_a_seat(evidence, heard_s):
    assert broken_in(with_line(evidence, asked("gone", "accept", heard_s=heard_s))) == {}


def test_a_click_that_was_not_heard_does_not_hide_one_that_was(evidence):
    clicks = asked("gone", "accept", heard_s=None), asked("gone", "accept")
    for lines in (clicks, reversed(clicks)):
        assert broken_in(with_line(evidence, *lines)) == {"confirmed in time, and no seat": 1}


@pytest.mark.parametrize("said", ["", "refuse", "give up"])
def test_a_charge_without_the_owners_yes_is_seen(evidence, said):
    lines = [line for line in evidence.lines if not isinstance(line, Asked)]
    unconfirmed = replace(evidence, lines=[*lines, asked("people", said)])
    assert broken_in(unconfirmed) == {"charged without the owner's yes": 1}


def test_the_card_that_was_taken_instead_needs_no_yes(evidence):
    assert broken_in(with_line(evidence, asked("people", "give up", "2"))) == {}


@pytest.mark.parametrize(
    ("status", "hold_id", "left_open"),
    [
        ("action_required", "somebody", 1),
        ("authorized", "somebody", 1),
        ("declined", "refuser", 1),
        ("declined", "somebody", 0),
    ],
)
def test_a_payment_that_somebody_can_still_confirm_is_seen(evidence, status, hold_id, left_open):
    payments = [*evidence.payments, payment(hold_id, 100, status)]
    broken = broken_in(replace(evidence, payments=payments))
    assert broken.get("payments left open at the gateway", 0) == left_open


def test_two_answers_to_one_key_are_seen(evidence):
    assert broken_in(with_line(evidence, OtherBytes("people"))) == {"two answers to one key": 1}


@pytest.mark.parametrize(
    ("call", "said"), [("pay", "404 hold_not_found"), ("hold seat", "404 seat_not_found")]
)
def test_an_answer_that_nobody_has_to_reckon_with_is_seen(evidence, call, said):
    broken = broken_in(with_line(evidence, answer(call, said)))
    assert broken == {"answers that the contract does not have": 1}


def test_only_who_asks_too_often_may_hear_so(evidence):
    sweeper = answer("hold seat", "429 rate_limited", who="sweeper")
    assert broken_in(with_line(evidence, sweeper)) == {}
    human = answer("hold seat", "429 rate_limited")
    assert broken_in(with_line(evidence, human)) == {"429 to one who kept the limit": 1}


def test_a_generator_that_was_saturated_says_so(evidence):
    assert "SATURATED" not in text_of(Evident(evidence).judge())
    busy = with_line(evidence, Strain(0.95, 12.0))
    assert "SATURATED" in text_of(Evident(busy).judge())


def test_an_insert_that_is_no_sale_is_seen(evidence):
    assert broken_in(replace(evidence, inserts=3)) == {"inserts without a sale": 1}


def test_what_the_audit_finds_is_seen(evidence):
    check = Check("seats", 4, ["A-1 is in a state that nobody knows"])
    broken = broken_in(replace(evidence, checks=[check]))
    assert broken == {"differences that the audit found": 1}
