"""A small evening, from its announcement to the last seat that is let in."""

import pytest

from tests.burst import evening


@pytest.mark.stack
@pytest.mark.timeout(120)
def test_an_evening_goes_as_it_should(tmp_path):
    played = evening.play_evening(tmp_path, rows=1)
    assert played.problems == []
    assert played.numbers["let in"] == played.numbers["counted at the doors"] == 10


def test_what_is_not_as_it_should_be_is_said():
    told = evening.Evening()
    told.note("let in", 9, 10)
    told.note("seconds", 3)
    assert told.problems == ["let in: 9, and should be 10"]
