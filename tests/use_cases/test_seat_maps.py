"""Seat maps that many ask for at the same moment."""

import threading

import msgspec
import pytest

from tests.support.factories import small_hall
from web.domain.refusals import EventNotFound, Unavailable
from web.ports.seat_store import SeatMap
from web.use_cases.seat_maps import EVENTS_KEPT, SeatMaps

PATIENCE_S = 10


class Seats:
    """A seat store that says what is ``now`` when it is let, and counts how often it was asked."""

    def __init__(self):
        self.asked: list[int | None] = []
        self.event = small_hall()
        self.now: SeatMap | Exception = SeatMap(1, "00", self.event.version)
        self.may_answer = threading.Event()

    def read_map(self, event):
        return self.read_changed_seats(event.id, None)

    def read_changed_seats(self, event_id, known_revision):
        self.asked.append(known_revision)
        assert self.may_answer.wait(PATIENCE_S)
        if isinstance(self.now, Exception):
            raise self.now
        return None if self.now.revision == known_revision else self.now

    def cached_event(self, event_id):
        return self.event


@pytest.fixture
def store():
    return Seats()


@pytest.fixture
def seat_maps(store):
    return SeatMaps(catalogue=store, seats=store)


def test_those_who_ask_at_the_same_moment_share_one_reading(store, seat_maps):
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(seat_maps.of("evening"))) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    store.may_answer.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(got) == 50
    assert len(set(map(id, got))) == 1, "nor is it encoded twice"
    assert len(store.asked) < 10


def test_whoever_asks_later_gets_what_has_changed(store, seat_maps):
    store.may_answer.set()
    first = seat_maps.of("evening")
    assert seat_maps.of("evening") is first
    store.now = SeatMap(2, "h0", store.event.version)
    assert msgspec.json.decode(seat_maps.of("evening").body) == {
        "revision": 2,
        "seats": "h0",
        "version": store.event.version,
        "layout": store.event.layout,
    }
    assert store.asked == [None, 1, 1]


@pytest.mark.parametrize("refusal", [EventNotFound("evening"), Unavailable("seat store")])
def test_a_refusal_is_everybodys_and_is_not_kept(store, seat_maps, refusal):
    store.may_answer.set()
    store.now = refusal
    for _ in range(2):
        with pytest.raises(type(refusal)):
            seat_maps.of("evening")
    store.now = SeatMap(1, "00", store.event.version)
    assert seat_maps.of("evening").revision == 1


def test_invented_events_do_not_fill_the_memory(store, seat_maps):
    store.may_answer.set()
    seat_maps.of("evening")
    for number in range(3 * EVENTS_KEPT):
        seat_maps.of(f"invented-{number}")
        seat_maps.of("evening")
    assert len(seat_maps._cached) == EVENTS_KEPT
    assert store.asked.count(None) == 1 + 3 * EVENTS_KEPT, "what is in use stays"
