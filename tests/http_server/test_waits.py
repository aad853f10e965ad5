"""Which clients a worker waits for, and which have to make room."""

import contextlib

import pytest

from web.http_server import waits
from web.http_server.waits import Waits


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(waits, "MAX_HELD", 2)
    monkeypatch.setattr(waits, "MAX_IDLE", 2)


def test_a_client_is_held_a_bounded_number_of_times():
    held = Waits().held
    with held("a") as first, held("a") as second, held("a") as third, held("b") as other:
        assert (first, second, third, other) == (True, True, False, True)


def test_whoever_is_waited_for_no_longer_makes_room():
    held = Waits().held
    with held("a"):
        with held("a"), held("a") as refused:
            assert not refused
        with held("a") as again:
            assert again


def test_room_is_made_when_waiting_fails():
    held = Waits().held
    for _ in range(3):
        with contextlib.suppress(TimeoutError), held("a") as has_room:
            assert has_room
            raise TimeoutError


def test_nobody_is_bounded_together_with_others_that_are_not_known():
    held = Waits().held
    with held(None), held(None), held(None) as third:
        assert third


def idle(known: Waits, name: str, client, crowded=False):
    return known.begin_idle(name, client, is_crowded=crowded)


def test_the_oldest_idle_connection_of_the_same_client_makes_room():
    known = Waits()
    assert idle(known, "b 1", "b") is None
    assert idle(known, "a 1", "a") is None
    assert idle(known, "a 2", "a") is None
    assert idle(known, "a 3", "a") == "a 1"
    assert idle(known, "a 4", "a") == "a 2"


def test_where_it_is_crowded_the_oldest_of_all_makes_room():
    known = Waits()
    assert idle(known, "1", None, crowded=True) is None
    assert idle(known, "2", "a") is None
    assert idle(known, "3", "b", crowded=True) == "1"
    assert idle(known, "4", "c", crowded=True) == "2"


def test_a_connection_that_is_idle_again_is_the_newest():
    known = Waits()
    assert idle(known, "1", "a") is None
    assert idle(known, "2", "a") is None
    known.end_idle("1")
    assert idle(known, "1", "a") is None
    assert idle(known, "3", "a") == "2"


def test_nothing_is_remembered_of_who_has_gone():
    known = Waits()
    with known.held("a"):
        idle(known, "1", "a")
        known.end_idle("1")
    assert not any(vars(known).values())


def test_a_connection_that_had_to_make_room_ends_once():
    known = Waits()
    assert idle(known, "1", None) is None
    assert idle(known, "2", None, crowded=True) == "1"
    known.end_idle("1")
    known.end_idle("2")
    assert not any(vars(known).values())
