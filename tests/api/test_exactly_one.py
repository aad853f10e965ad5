"""Two at once, again and again: exactly one outcome each. And what concurrent clients saw, in real
time, is in the order of the journal."""

import itertools
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from random import Random
from threading import Barrier

import pytest
import requests

from tests.support.factories import BUYER, put_on_sale, small_hall, unique
from tests.support.http_client import Client
from tests.support.redis_clock import scripts_on_test_clock, set_clock
from tests.support.redis_stores import seats_on, servers_at
from web.domain.events import Event
from web.domain.refusals import HoldExpired, Refusal, SeatTaken
from web.domain.sales import PaymentAttempt, booking_id_of

REPETITIONS = 30
NOW_MS = 1_900_000_000_000
HOLD_MS = 60_000


@pytest.fixture
def hall(seats) -> Event:
    """With no limit that a test of many holds could meet."""
    hall = small_hall(max_held_per_client=1000)
    put_on_sale(seats, hall)
    return hall


def at_once(*calls: Callable[[], object]) -> list:
    """What each of the calls returned; all begin in the same moment."""
    ready = Barrier(len(calls))

    def begin(call: Callable[[], object]) -> object:
        ready.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))


def pay_to_the_end(stack, hall: Event, hold: dict, key: str = "key") -> requests.Response:
    """The answer to a payment that is repeated while it is in progress."""
    buyer = Client(stack.url, hall.id)
    answer = buyer.pay(hold, key)
    while code_of(answer) == "payment_in_progress":
        time.sleep(0.1)
        answer = buyer.pay(hold, key)
    return answer


def release_later(client: Client, hold: dict, wait_ms: int) -> requests.Response:
    time.sleep(wait_ms / 1000)
    return client.release(hold)


def code_of(answer: requests.Response) -> str:
    return answer.json()["code"] if answer.status_code >= 400 else str(answer.status_code)


def charges(stack, event_id: str) -> dict[str, list[str]]:
    """What became of each payment for a hold."""
    by_hold: dict[str, list[str]] = {}
    for payment in stack.payments():
        if payment.metadata["event"] == event_id:
            by_hold.setdefault(payment.metadata["hold_id"], []).append(payment.status)
    return by_hold


# ---------------------------------------------------------------- through HTTP


def test_a_cancel_against_a_payment_ends_either_in_a_booking_or_in_a_free_seat(
    stack, hall, bookings
):
    outcomes = Counter()
    for number in range(REPETITIONS):
        buyer, canceller = (Client(stack.url, hall.id) for _ in range(2))
        seat = hall.seats[number % len(hall.seats)]
        hold = buyer.held(seat)
        # Now the one is a little earlier, now the other.
        paid, released = at_once(
            partial(pay_to_the_end, stack, hall, hold),
            partial(release_later, canceller, hold, number % 5),
        )
        outcome = code_of(paid), code_of(released)
        outcomes[outcome] += 1
        booking = bookings.find(booking_id_of(hold["hold_id"]))
        state = buyer.seat_map()[hall.positions[seat]]
        if outcome == ("hold_expired", "204"):
            assert (booking, state) == (None, "0")
            assert hold["hold_id"] not in charges(stack, hall.id)
        else:
            assert outcome in (("201", "payment_in_progress"), ("201", "already_booked"))
            assert booking
            assert state == "s"
    assert len(outcomes) > 1, f"the race has had one winner only: {outcomes}"
    assert set(map(tuple, charges(stack, hall.id).values())) == {("captured",)}


def test_two_keys_for_one_hold_charge_once(stack, hall, bookings):
    for number in range(REPETITIONS):
        hold = Client(stack.url, hall.id).held(hall.seats[number])
        answers = at_once(
            *(partial(pay_to_the_end, stack, hall, hold, key) for key in ("one key", "another"))
        )
        assert sorted(map(code_of, answers)) == ["201", "already_booked"]
    assert len(bookings.sold_seats(hall.id)) == REPETITIONS
    charged = charges(stack, hall.id)
    assert set(map(tuple, charged.values())) == {("captured",)}


def test_one_key_for_two_holds_is_two_payments(stack, hall, bookings):
    """The scope of a key is the hold: a client whose counter of keys restarts takes nobody's
    seat."""
    for number in range(REPETITIONS // 2):
        pair = [
            (Client(stack.url, hall.id), Client(stack.url, hall.id).held(seat))
            for seat in hall.seats[2 * number : 2 * number + 2]
        ]
        answers = at_once(*(partial(client.pay, hold, "1") for client, hold in pair))
        receipts = [answer.json() for answer in answers]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert [receipt["hold_id"] for receipt in receipts] == [h["hold_id"] for _, h in pair]
    assert len(bookings.sold_seats(hall.id)) == 2 * (REPETITIONS // 2)
    assert set(map(tuple, charges(stack, hall.id).values())) == {("captured",)}


# ---------------------------------------------------------------- the last millisecond


@pytest.mark.parametrize(
    ("now_ms", "payer_wins"),
    [(HOLD_MS - 1, True), (HOLD_MS, False), (HOLD_MS + 1, False)],
)
def test_in_the_last_millisecond_a_hold_is_either_paid_or_somebody_elses(
    any_redis, redis_client, now_ms, payer_wins
):
    store = seats_on(servers_at(any_redis.url), scripts=scripts_on_test_clock())
    for number in range(REPETITIONS):
        hall = small_hall(hold_ms=HOLD_MS)
        put_on_sale(store, hall)
        set_clock(redis_client, hall.id, NOW_MS)
        hold = store.hold_seats(hall, unique("hld"), "payer", [0])
        set_clock(redis_client, hall.id, NOW_MS + now_ms)
        begun, taken, _ = at_once(
            partial(outcome_of, store.begin_payment, hall, hold.id, BUYER, "key", "fingerprint"),
            partial(outcome_of, store.hold_seats, hall, unique("hld"), "another", [0]),
            partial(store.sweep_holds, hall.id),
        )
        if payer_wins:
            assert isinstance(begun, PaymentAttempt), number
            assert isinstance(taken, SeatTaken), number
        else:
            assert isinstance(begun, HoldExpired), number
            assert not isinstance(taken, Refusal), number
        assert store.read_seats(hall.id).seats[0] == ("p" if payer_wins else "h")


def outcome_of(call: Callable[..., object], *arguments: object) -> object:
    try:
        return call(*arguments)
    except Refusal as refusal:
        return refusal


# ---------------------------------------------------------------- histories


@dataclass(frozen=True)
class Operation:
    """What a client saw: when it asked and when it was answered, on one monotonic clock, and the
    revision that the journal has for it. A reader's revision is what it was shown."""

    what: str
    asked_s: float
    answered_s: float
    revision: int


def test_what_clients_saw_in_real_time_is_in_the_order_of_the_journal(stack, seats, redis_client):
    hall = small_hall(max_held_per_client=1000)
    put_on_sale(seats, hall)
    buyers, readers = 8, 3
    with ThreadPoolExecutor(buyers + readers) as pool:
        sales = [pool.submit(changes_of_a_buyer, stack, hall, n) for n in range(buyers)]
        looks = [pool.submit(looks_of_a_reader, stack, hall, n, sales) for n in range(readers)]
        changes = [change for sale in sales for change in sale.result()]
        reads = [read for look in looks for read in look.result()]
    revision_of = journal_revisions(redis_client, hall)
    writes = [
        Operation(f"{change} {hold_id}", asked_s, answered_s, revision_of[change, hold_id])
        for change, hold_id, asked_s, answered_s in changes
    ]
    assert len(writes) > 100
    assert len(reads) > 50
    assert overlapping(writes), "nobody was concurrent"
    assert_in_real_time_order(writes, reads)


def test_a_history_that_is_out_of_order_is_found():
    first, second = Operation("a", 0.0, 1.0, 7), Operation("b", 2.0, 3.0, 6)
    with pytest.raises(AssertionError):
        assert_in_real_time_order([first, second], [])
    with pytest.raises(AssertionError):
        assert_in_real_time_order([first], [second])
    with pytest.raises(AssertionError):
        assert_in_real_time_order([second], [first])
    concurrent = Operation("c", 0.5, 2.5, 6)
    assert_in_real_time_order([first, concurrent], [])


def assert_in_real_time_order(writes: list[Operation], reads: list[Operation]) -> None:
    """What ended before something else began, comes before it; each of two concurrent ones may."""
    for earlier, later in itertools.permutations(writes, 2):
        if earlier.answered_s < later.asked_s:
            assert earlier.revision < later.revision, (earlier, later)
    for change, read in itertools.product(writes, reads):
        if change.answered_s < read.asked_s:
            assert change.revision <= read.revision, (change, read)
        if read.answered_s < change.asked_s:
            assert read.revision < change.revision, (read, change)
    for earlier, later in itertools.permutations(reads, 2):
        if earlier.answered_s < later.asked_s:
            assert earlier.revision <= later.revision, (earlier, later)


def overlapping(operations: list[Operation]) -> int:
    return sum(
        one.asked_s < other.asked_s < one.answered_s
        for one, other in itertools.permutations(operations, 2)
    )


def changes_of_a_buyer(stack, hall: Event, number: int) -> list[tuple[str, str, float, float]]:
    """Change, hold, asked, answered: one of each change in the journal that it has caused."""
    choose, changes = Random(number), []

    for _ in range(15):
        # gunicorn itself: nginx may show a map that is a second old.
        client = Client(stack.web_url, hall.id)
        answer, *times = timed(client.hold_best, "stalls", 1)
        if answer.status_code != 201:
            continue
        hold = answer.json()
        changes.append(("held", hold["hold_id"], *times))
        if choose.random() < 0.8:
            answer, *times = timed(client.release, hold)
            assert answer.status_code == 204
            changes.append(("released", hold["hold_id"], *times))
        else:
            answer, *times = timed(client.pay, hold)
            assert answer.status_code == 201
            changes.append(("sold", hold["hold_id"], *times))
    return changes


def timed(
    call: Callable[..., requests.Response], *arguments: object
) -> tuple[requests.Response, float, float]:
    """The answer, when it was asked for, and when it was there."""
    asked_s = time.monotonic()
    answer = call(*arguments)
    return answer, asked_s, time.monotonic()


def looks_of_a_reader(stack, hall: Event, number: int, sales: list) -> list[Operation]:
    reads = []
    while not all(sale.done() for sale in sales):
        client = Client(stack.web_url, hall.id)
        asked_s = time.monotonic()
        revision = client.call("GET", "seats").json()["revision"]
        reads.append(Operation(f"reader {number}", asked_s, time.monotonic(), revision))
    return reads


def journal_revisions(redis_client, hall: Event) -> dict[tuple[str, str], int]:
    """The revision of each change of each hold."""
    return {
        (entry["change"], entry["hold"]): int(entry_id.partition("-")[0])
        for entry_id, entry in redis_client.xrange(f"journal:{{{hall.id}}}")
        if "hold" in entry
    }
