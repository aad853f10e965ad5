"""The verdict of a burst is not blind: each thing that must not be is seen when it is."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from tests.burst.diary import Answer, Asked, Held, NotPaid, OtherBytes, Paid, Strain
from tests.burst.doors import Door, Reply, Scan, Scanned
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


def scanned(kind: str, gate: str, said: str, *seats: str, **more) -> Scanned:
    """What a gate has heard of a ticket for these seats, which a 201 let in."""
    status = int(said.split(maxsplit=1)[0])
    body = {"seats": list(seats)} if status == 201 else {"gate": "north"}
    return Scanned(Scan(kind, "code", gate, seats), Reply(status, said, body), ms=4.0, **more)


def a_good_door() -> Door:
    """Of seats A-1 and A-2; A-3 was refunded."""
    first, second = (
        scanned("ticket", "north", "201", "A-1"),
        scanned("ticket", "south", "201", "A-2"),
    )
    return Door(
        sold=["A-1", "A-2"],
        scanned=[
            replace(first, repeated=first.reply),
            scanned("ticket", "south", "409 already_admitted", "A-1"),
            second,
            scanned("forged", "north", "422 not_a_ticket", "A-1"),
            scanned("of another event", "north", "422 other_event", "A-1"),
            scanned("refunded", "south", "410 ticket_refunded", "A-3"),
            scanned("once more", "south", "409 already_admitted", "A-1"),
        ],
        admissions=[("A-1", "north"), ("A-2", "south")],
        counted=2,
        took_s=1.5,
        checks=[Check("all is well", 2)],
    )


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
        door=a_good_door(),
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
        "a scan at the doors": 4.0,
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


# ---------------------------------------------------------------- the doors


def at_door(evidence: Evidence, *lines: Scanned, **changes) -> Evidence:
    """With these scans too."""
    door = evidence.door
    return replace(evidence, door=replace(door, scanned=[*door.scanned, *lines], **changes))


def test_a_verdict_says_how_it_went_at_the_doors(evidence):
    said = text_of(Evident(at_door(evidence, killed=["nginx"])).judge())
    for figure in (
        r"let in at the doors +2 of 2\n",
        r"scans, at two gates +7 in 1.5 s\n",
        r"refused because somebody was inside already +2\n",
        r"refused as forged or of another event +2\n",
        r"refused as refunded +1\n",
        r"scans repeated because a part was away +0\n",
        r"killed meanwhile +nginx\n",
    ):
        assert re.search(figure, said), figure


def test_a_seat_that_both_gates_let_in_is_seen(evidence):
    twice = scanned("ticket", "south", "201", "A-1")
    stored = [*evidence.door.admissions, ("A-1", "south")]
    assert broken_in(at_door(evidence, twice, admissions=stored)) == {"seats let in twice": 1}


def test_a_ticket_that_nobody_lets_in_is_seen(evidence):
    assert broken_in(at_door(evidence, sold=["A-1", "A-2", "A-4"])) == {
        "tickets that nobody let in": 1
    }


def test_a_gate_whose_repeated_scan_counts_as_another_is_seen(evidence):
    """Its answer was lost; for the same key it hears that they are inside."""
    again = Reply(409, "409 already_admitted", {"gate": "south"})
    lines = [
        replace(line, repeated=again) if line.reply.status == 201 else line
        for line in evidence.door.scanned
    ]
    door = replace(evidence.door, scanned=lines)
    assert broken_in(replace(evidence, door=door)) == {"two answers to one scan": 2}


def test_a_ticket_that_is_refused_at_both_gates_is_seen(evidence):
    """As when an admission is stored, its answer lost, and the gate's repetition refused."""
    lines = [
        scanned("ticket", "north", "409 already_admitted", "A-1")
        if (line.scan.gate, line.reply.said) == ("north", "201")
        else line
        for line in evidence.door.scanned
    ]
    broken = broken_in(replace(evidence, door=replace(evidence.door, scanned=lines)))
    assert broken == {
        "tickets that nobody let in": 1,
        "wrong reasons at the doors": 3,
        "admissions that are not in MongoDB": 2,
    }


@pytest.mark.parametrize("kind", ["forged", "of another event", "refunded", "once more"])
def test_who_gets_in_without_a_valid_ticket_is_seen(evidence, kind):
    intruder = scanned(kind, "north", "201", "A-9")
    stored = [*evidence.door.admissions, ("A-9", "north")]
    assert broken_in(at_door(evidence, intruder, admissions=stored, counted=3)) == {
        "let in without a valid ticket": 1
    }


def test_a_ticket_that_lets_in_more_than_its_seats_is_seen(evidence):
    ticket = scanned("ticket", "north", "201", "A-3")
    ticket = replace(ticket, scan=replace(ticket.scan, seats=("A-2",)))
    stored = [*evidence.door.admissions, ("A-3", "north")]
    assert broken_in(at_door(evidence, ticket, admissions=stored, counted=3)) == {
        "let in without a valid ticket": 1
    }


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("forged", "422 other_event"),
        ("of another event", "422 not_a_ticket"),
        ("refunded", "422 not_a_ticket"),
        ("refunded", "409 already_admitted"),
        ("once more", "410 ticket_refunded"),
        ("ticket", "422 invalid_request"),
        ("ticket", "503 unavailable"),
    ],
)
def test_a_wrong_reason_is_seen(evidence, kind, said):
    assert broken_in(at_door(evidence, scanned(kind, "south", said, "A-1"))) == {
        "wrong reasons at the doors": 1
    }


def test_a_gate_that_is_named_and_has_let_in_nobody_is_seen(evidence):
    wrong = scanned("once more", "north", "409 already_admitted", "A-2")
    assert broken_in(at_door(evidence, wrong)) == {"wrong reasons at the doors": 1}


@pytest.mark.parametrize(
    "admissions",
    [
        [("A-1", "north")],
        [("A-1", "north"), ("A-2", "north")],
        [("A-1", "north"), ("A-2", "south"), ("A-2", "south")],
    ],
    ids=["missing", "another gate", "one more"],
)
def test_an_admission_that_is_stored_otherwise_is_seen(evidence, admissions):
    broken = broken_in(at_door(evidence, admissions=admissions))
    assert broken.keys() == {"admissions that are not in MongoDB"}


def test_a_count_at_the_doors_that_is_wrong_is_seen(evidence):
    assert broken_in(at_door(evidence, counted=1)) == {"admissions that are not in MongoDB": 1}


@pytest.mark.parametrize(
    ("status", "said", "in_calm", "in_chaos_too"),
    [
        (503, "503 unavailable", 1, 0),
        (0, "no answer", 1, 0),
        (500, "500 internal_error", 1, 1),
        (429, "429 rate_limited", 0, 0),
    ],
)
def test_a_scan_that_had_to_be_repeated_is_an_error_unless_parts_are_killed(
    evidence, status, said, in_calm, in_chaos_too
):
    failure = Reply(status, said, {}, may_retry=True)
    late = scanned("once more", "south", "409 already_admitted", "A-1", failures=(failure,))
    seen = at_door(evidence, late)
    assert broken_in(seen).get("server errors at the doors", 0) == in_calm
    assert broken_in(in_chaos(seen)).get("server errors at the doors", 0) == in_chaos_too


def test_what_the_audit_finds_after_the_doors_is_seen(evidence):
    check = Check("doors", 4, ["A-1 was let in more than once"])
    assert broken_in(at_door(evidence, checks=[check])) == {"differences that the audit found": 1}
