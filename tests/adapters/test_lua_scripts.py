"""The headers of the Lua scripts are the contract; these tests fail when one lies."""

import inspect
import re

import pytest

from tests.support.lua_headers import SCRIPTS, returned_by_header, text_of
from web.adapters.redis import scripts
from web.adapters.redis.audited_seats import RedisAuditedSeats
from web.adapters.redis.seat_store import RedisSeatStore

FOR_CLOSED_EVENTS = {
    "begin_cancel",
    "build_event",
    "call_off_payments",
    "claim_lapsed_payment",
    "close_sale",
    "confirm_booking",
    "shorten_lease",
    "lapsed_holds",
    "open_event",
    "renew_lease",
    "return_seats",
    "settle_epoch",
    "sweep_holds",
    "undo_payment",
    "wait_for_bank",
    "withdraw_event",
}
"""What opens an event, and what ends payments and refunds that were begun before Redis lost it."""

STORES = (RedisSeatStore, RedisAuditedSeats)

pytestmark = pytest.mark.parametrize("name", SCRIPTS)


def code_of(name: str) -> str:
    """Without comments, includes pasted in."""
    return re.sub(r"--.*", "", SCRIPTS[name].source)


def test_the_header_begins_with_the_name_and_a_sentence(name):
    assert re.match(rf"-- {name}: [a-z].{{20,}}", text_of(name))


def test_keys_and_arguments_are_numbered_without_a_gap(name):
    for kind in ("KEYS", "ARGV"):
        found = [int(n) for n in re.findall(rf"^-- {kind}\[(\d+)\]", text_of(name), re.MULTILINE)]
        assert found == list(range(1, len(found) + 1))


def test_keys_are_unpacked_under_the_names_that_the_header_gives_them(name):
    unpacked = re.search(r"local ([\w, ]+) =\s+unpack\(KEYS\)", code_of(name))[1].split(", ")
    assert unpacked == [key.partition(":")[0] + "_key" for key in SCRIPTS[name].keys]


def test_arguments_are_unpacked_under_the_names_that_the_header_gives_them(name):
    unpacked = re.search(r"local ([\w,\s]+) =\s+unpack\(ARGV\)", code_of(name))
    names = re.split(r",\s+", unpacked[1]) if unpacked else ()
    assert tuple(names) == SCRIPTS[name].arguments


def test_only_declared_keys_are_touched(name):
    _, _, body = code_of(name).partition("unpack(KEYS)")
    declared = {key.partition(":")[0] + "_key" for key in SCRIPTS[name].keys}
    assert set(re.findall(r"\w+_key\b", body)) == declared, "each declared key is used, no other"
    assert "KEYS" not in body
    assert set(re.findall(r"redis\.call\('\w+', (\w+|')", body)) <= declared


def test_every_key_carries_the_hash_tag_of_the_event(name):
    script = SCRIPTS[name]
    given = script.call("e1", "digest", dict.fromkeys(script.arguments, "")).arguments
    assert len(given) == len(script.keys) + len(script.arguments)
    for key in given[: len(script.keys)]:
        assert re.fullmatch(r"\w+:\{e1\}(:digest)?", key)


def test_the_answers_are_those_that_the_header_lists(name):
    returned = set(re.findall(r"return \{'(\w+)'", code_of(name)))
    assert returned == returned_by_header(name)


def test_an_event_that_is_missing_closed_or_changed_is_refused(name):
    answers = returned_by_header(name)
    assert ("event_closed" in answers) == (name not in FOR_CLOSED_EVENTS)
    assert ("event_missing" in answers) == (name != "build_event")
    compares = {"version", "from_version"} & set(SCRIPTS[name].arguments)
    assert ("event_changed" in answers) == (bool(compares) and name != "build_event")


def test_includes_come_right_after_the_names_that_they_use(name):
    before, include, _ = text_of(name).partition("-- include ")
    last_names = "unpack(ARGV)" if SCRIPTS[name].arguments else "unpack(KEYS)"
    assert not include or before.endswith(f"{last_names}\n")


def test_the_python_function_has_the_name_of_the_script(name):
    (function,) = [getattr(store, name) for store in STORES if hasattr(store, name)]
    assert f'"{name}"' in inspect.getsource(function)


def test_a_call_with_other_arguments_than_the_header_names_is_refused(name):
    with pytest.raises(TypeError):
        SCRIPTS[name].call("e1", "", {"nonsense": 1})


def test_the_keys_of_an_event_that_no_file_can_declare_are_not_remembered(name):
    script = SCRIPTS[name]
    given = dict.fromkeys(script.arguments, "")
    before = scripts._known_keys_of.cache_info().currsize
    call = script.call("e" * (scripts.LONGEST_ID + 1), "", given)
    assert call.arguments[0].startswith("event:{eee")
    assert scripts._known_keys_of.cache_info().currsize == before
