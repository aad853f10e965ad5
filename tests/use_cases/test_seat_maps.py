"""Seat maps that many ask for at the same moment."""

import contextlib
import gzip
import http.client
import threading
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.support.factories import put_on_sale, small_hall
from web.domain.events import Row, Section
from web.domain.refusals import EventNotFound, Unavailable
from web.ports.seat_store import SeatMap
from web.use_cases.seat_maps import EVENTS_KEPT, SeatMaps

PATIENCE_S = 10
ROWS = (Row("GA", (tuple(map(str, range(1, 5001))),)),)


class BoxOffice:
    """Says the next of ``maps`` when it is let, and counts how often it was asked."""

    def __init__(self):
        self.asked: list[int | None] = []
        self.event = small_hall()
        self.now: SeatMap | Exception = SeatMap(1, "00")
        self.may_answer = threading.Event()

    def event_and_map(self, event_id):
        return self.changed_map(event_id, None)

    def changed_map(self, event_id, known_revision):
        self.asked.append(known_revision)
        assert self.may_answer.wait(PATIENCE_S)
        if isinstance(self.now, Exception):
            raise self.now
        return None if self.now.revision == known_revision else (self.event, self.now)


@pytest.fixture
def box_office():
    return BoxOffice()


@pytest.fixture
def seat_maps(box_office):
    return SeatMaps(box_office)


def test_those_who_ask_at_the_same_moment_share_one_reading(box_office, seat_maps):
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(seat_maps.of("evening"))) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    box_office.may_answer.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(got) == 50
    assert len(set(map(id, got))) == 1, "nor is it encoded twice"
    assert len(box_office.asked) < 10


def test_whoever_asks_later_gets_what_has_changed(box_office, seat_maps):
    box_office.may_answer.set()
    first = seat_maps.of("evening")
    assert seat_maps.of("evening") is first
    box_office.now = SeatMap(2, "h0", "a version")
    assert msgspec.json.decode(seat_maps.of("evening").body) == {
        "revision": 2,
        "seats": "h0",
        "version": "a version",
        "layout": box_office.event.layout,
    }
    assert box_office.asked == [None, 1, 1]


@pytest.mark.parametrize("refusal", [EventNotFound("evening"), Unavailable("seat store")])
def test_a_refusal_is_everybodys_and_is_not_kept(box_office, seat_maps, refusal):
    box_office.may_answer.set()
    box_office.now = refusal
    for _ in range(2):
        with pytest.raises(type(refusal)):
            seat_maps.of("evening")
    box_office.now = SeatMap(1, "00")
    assert seat_maps.of("evening").revision == 1


def test_invented_events_do_not_fill_the_memory(box_office, seat_maps):
    box_office.may_answer.set()
    seat_maps.of("evening")
    for number in range(3 * EVENTS_KEPT):
        seat_maps.of(f"invented-{number}")
        seat_maps.of("evening")
    assert len(seat_maps._halls) == EVENTS_KEPT
    assert box_office.asked.count(None) == 1 + 3 * EVENTS_KEPT, "what is in use stays"


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False)],
)
def test_a_large_map_is_compressed_for_whoever_takes_it(stack, seats, accepted, zipped):
    hall = small_hall(sections=(Section("floor", "Floor", "general", 2500, ROWS),))
    put_on_sale(seats, hall)
    for url in (stack.url, stack.web_url):
        # Not requests: it would say for itself what it accepts, and unpack.
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            path = f"/api/events/{hall.id}/seats"
            connection.request("GET", path, headers={"Accept-Encoding": accepted})
            answer = connection.getresponse()
            body = answer.read()
        assert (answer.headers["Content-Encoding"] == "gzip") == zipped
        assert answer.headers["ETag"].startswith("W/") == zipped, "they are not the same bytes"
        assert "Accept-Encoding" in answer.headers["Vary"]
        plain = gzip.decompress(body) if zipped else body
        assert msgspec.json.decode(plain)["seats"] == "0" * 5000
