"""Each seat is let in once, on real MongoDB."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.factories import a_booking, unique
from web.domain.refusals import (
    AlreadyAdmitted,
    InvalidRequest,
    NotATicket,
    OtherEvent,
    TicketRefunded,
)
from web.domain.sales import SeatRefund
from web.signing.ticket_codes import TicketCodes
from web.use_cases.admissions import Admissions

CODES = TicketCodes("a secret key of tests")
PARTY = ("stalls-A-1", "stalls-A-2", "stalls-A-3")


@pytest.fixture
def door(bookings):
    return Admissions(bookings, CODES)


@pytest.fixture
def booking(bookings):
    return bookings.insert(a_booking(unique("evening"), *PARTY))


def test_a_seat_is_let_in_once(door, booking):
    code = CODES.code_of(booking, "stalls-A-2")
    let_in = door.admit(booking.event_id, code, "North", "scan-1")
    assert (let_in.seats, let_in.name) == (("stalls-A-2",), "Eve")
    assert abs(let_in.admitted_at - datetime.now(UTC)) < timedelta(minutes=1)
    with pytest.raises(AlreadyAdmitted) as refused:
        door.admit(booking.event_id, code, "South", "scan-2")
    assert refused.value.seats == ("stalls-A-2",)
    assert (refused.value.gate, refused.value.admitted_at) == ("North", let_in.admitted_at)


def test_the_code_for_all_lets_in_who_is_still_outside(door, booking):
    door.admit(booking.event_id, CODES.code_of(booking, "stalls-A-2"), "North", "scan-1")
    everybody = CODES.code_of(booking)
    let_in = door.admit(booking.event_id, everybody, "South", "scan-2")
    assert let_in.seats == ("stalls-A-1", "stalls-A-3")
    with pytest.raises(AlreadyAdmitted) as refused:
        door.admit(booking.event_id, everybody, "West", "scan-3")
    assert set(refused.value.seats) == set(PARTY)
    assert refused.value.gate == "South", "the latest"


def test_a_gate_may_let_in_some_of_a_ticket(door, booking):
    everybody = CODES.code_of(booking)
    let_in = door.admit(booking.event_id, everybody, "North", "1", ["stalls-A-3", "stalls-A-1"])
    assert let_in.seats == ("stalls-A-1", "stalls-A-3")
    one = CODES.code_of(booking, "stalls-A-2")
    with pytest.raises(InvalidRequest, match="stalls-A-1 is not on this ticket"):
        door.admit(booking.event_id, one, "North", "2", ["stalls-A-1"])


def test_a_scan_that_is_repeated_because_its_answer_was_lost_gets_the_same_answer(door, booking):
    everybody = CODES.code_of(booking)
    door.admit(booking.event_id, CODES.code_of(booking, "stalls-A-1"), "North", "scan-1")
    let_in = door.admit(booking.event_id, everybody, "North", "scan-2")
    assert door.admit(booking.event_id, everybody, "North", "scan-2") == let_in


@pytest.mark.parametrize("code", ["", "T1.bkg_1.evening.stalls-A-1.", "https://example.org"])
def test_nonsense_is_no_ticket(door, booking, code):
    with pytest.raises(NotATicket):
        door.admit(booking.event_id, code, "North", "scan")


def test_a_ticket_without_its_booking_or_of_another_shop_is_none(door, booking):
    never_booked = CODES.code_of(a_booking(booking.event_id, "stalls-A-1"))
    forged = TicketCodes("another secret key").code_of(booking)
    for code in (never_booked, forged):
        with pytest.raises(NotATicket):
            door.admit(booking.event_id, code, "North", "scan")


def test_a_ticket_for_another_event_says_for_which(door, booking):
    with pytest.raises(OtherEvent) as refused:
        door.admit("another-evening", CODES.code_of(booking), "North", "scan")
    assert refused.value.event_id == booking.event_id


def test_a_code_of_a_former_release_admits(door, booking):
    former = CODES._former_codes.dumps([booking.id, booking.event_id, booking.seats])
    assert door.admit(booking.event_id, former, "North", "scan").seats == PARTY


def test_nobody_is_let_in_from_the_moment_that_a_refund_begins(door, bookings, booking):
    code = CODES.code_of(booking, "stalls-A-1")
    bookings.begin_refund(booking.id)
    with pytest.raises(TicketRefunded):
        door.admit(booking.event_id, code, "North", "scan-1")
    bookings.mark_refunded(booking.id, datetime.now(UTC))
    bookings.end_refund(booking.id)
    with pytest.raises(TicketRefunded):
        door.admit(booking.event_id, code, "North", "scan-2")
    assert bookings.find(booking.id).admissions == ()


def test_a_single_seat_that_is_refunded_is_not_let_in_and_the_others_are(door, bookings, booking):
    alone, everybody = CODES.code_of(booking, "stalls-A-1"), CODES.code_of(booking)
    refund = SeatRefund(("stalls-A-1",), 2500)
    bookings.begin_seat_refund(booking.id, refund)
    with pytest.raises(TicketRefunded):
        door.admit(booking.event_id, alone, "North", "scan-1")
    bookings.mark_seats_refunded(bookings.find(booking.id), refund, datetime.now(UTC))
    bookings.end_seat_refund(booking.id, refund)
    with pytest.raises(TicketRefunded):
        door.admit(booking.event_id, alone, "North", "scan-2")
    assert door.admit(booking.event_id, everybody, "North", "scan-3").seats == PARTY[1:]
    with pytest.raises(TicketRefunded):
        door.record(booking.event_id, alone, "South", "scan-4", admitted_ms_ago=0)
    late = bookings.find(booking.id).admissions[-1]
    assert (late.seat, late.after_refund) == ("stalls-A-1", True)


# ---------------------------------------------------------------- at the same moment


def outcomes_of(number, attempt):
    """What ``attempt`` returns or raises in each of ``number`` threads."""
    outcomes, together = [], threading.Barrier(number)

    def run(which):
        together.wait()
        try:
            outcomes.append(attempt(which))
        except AlreadyAdmitted as refused:
            outcomes.append(refused)

    threads = [threading.Thread(target=run, args=(which,)) for which in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == number
    return outcomes


def test_however_many_gates_ask_at_the_same_moment_one_lets_in(door, bookings, booking):
    code = CODES.code_of(booking, "stalls-A-1")
    outcomes = outcomes_of(
        40, lambda gate: door.admit(booking.event_id, code, f"gate {gate}", f"scan-{gate}")
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, AlreadyAdmitted)]
    assert len(refused) == 39
    (admission,) = bookings.find(booking.id).admissions
    assert {refusal.gate for refusal in refused} == {admission.gate}


def test_single_tickets_and_the_one_for_all_never_let_in_a_seat_twice(door, bookings, booking):
    codes = [CODES.code_of(booking), *(CODES.code_of(booking, seat) for seat in PARTY)]
    outcomes_of(
        40, lambda gate: door.admit(booking.event_id, codes[gate % 4], "North", f"scan-{gate}")
    )
    assert sorted(a.seat for a in bookings.find(booking.id).admissions) == list(PARTY)


def test_the_same_scan_repeated_at_the_same_moment_counts_once(door, bookings, booking):
    everybody = CODES.code_of(booking)
    outcomes = outcomes_of(
        20, lambda _: door.admit(booking.event_id, everybody, "North", "the same scan")
    )
    assert {outcome.seats for outcome in outcomes} == {PARTY}
    assert len(bookings.find(booking.id).admissions) == 3


# ---------------------------------------------------------------- without a connection


def test_what_a_gate_did_without_a_connection_has_the_time_when_it_did_it(door, bookings, booking):
    code = CODES.code_of(booking, "stalls-A-1")
    let_in = door.record(booking.event_id, code, "North", "scan-1", admitted_ms_ago=600_000)
    ago = datetime.now(UTC) - let_in.admitted_at
    assert timedelta(minutes=9) < ago < timedelta(minutes=11)
    again = door.record(booking.event_id, code, "North", "scan-1", admitted_ms_ago=700_000)
    assert again == let_in, "its answer was lost"
    assert len(bookings.find(booking.id).admissions) == 1


def test_two_gates_that_let_in_the_same_seat_without_a_connection_are_both_written_down(
    door, bookings, booking
):
    code = CODES.code_of(booking, "stalls-A-1")
    first = door.record(booking.event_id, code, "North", "scan-1", admitted_ms_ago=60_000)
    for _ in range(2):
        with pytest.raises(AlreadyAdmitted) as refused:
            door.record(booking.event_id, code, "South", "scan-2", admitted_ms_ago=90_000)
        assert (refused.value.gate, refused.value.admitted_at) == ("North", first.admitted_at)
    assert [a.gate for a in bookings.find(booking.id).admissions] == ["North", "South"]


def test_who_was_let_in_after_the_refund_is_written_down(door, bookings, booking):
    bookings.mark_refunded(booking.id, datetime.now(UTC) - timedelta(hours=1))
    code = CODES.code_of(booking, "stalls-A-1")
    with pytest.raises(TicketRefunded):
        door.record(booking.event_id, code, "South", "scan", admitted_ms_ago=0)
    assert [a.seat for a in bookings.find(booking.id).admissions] == ["stalls-A-1"]


# ---------------------------------------------------------------- numbers


def test_attendance_counts_each_seat_once_by_section_and_minute(door, bookings):
    event_id = unique("evening")
    hall = ("upper-circle-A-1", "upper-circle-A-2", "floor-GA-1")
    booking = bookings.insert(a_booking(event_id, *hall))
    bookings.insert(a_booking(event_id, "floor-GA-2"))
    refunded = bookings.insert(a_booking(event_id, "floor-GA-3"))
    bookings.mark_refunded(refunded.id, datetime.now(UTC))
    minute_ms = 60_000
    for gate, ms_ago in (("North", 5 * minute_ms), ("South", 2 * minute_ms)):
        try:
            door.record(event_id, CODES.code_of(booking), gate, gate, ms_ago)
        except AlreadyAdmitted:
            assert gate == "South"
    attendance = door.attendance(event_id)
    assert attendance.seats == {"upper-circle": 2, "floor": 2}
    (minute,) = attendance.minutes
    assert minute.sections == {"upper-circle": 2, "floor": 1}
    assert minute.minute.second == 0 and minute.minute < datetime.now(UTC) - timedelta(minutes=4)
    assert attendance.admitted("upper-circle") == 2


@pytest.mark.parametrize("gate", ["$seats", "$$NOW", "{}", "Tür 1"])
def test_the_name_of_a_gate_is_only_a_name(door, booking, gate):
    code = CODES.code_of(booking, "stalls-A-1")
    door.admit(booking.event_id, code, gate, "$gate")
    with pytest.raises(AlreadyAdmitted) as refused:
        door.admit(booking.event_id, code, "another", "scan")
    assert refused.value.gate == gate
