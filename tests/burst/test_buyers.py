"""Who the simulated buyers are, what they choose, and what they read in pages."""

import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from ops.servers import REPOSITORY
from tests.burst.characters import ASKED, AT_BANK, Hall, address_now, botnet_bot, human, sweeper
from tests.burst.pages import hidden_fields, link_to_bank
from tests.burst.plan import Plan, read_plan
from tests.burst.stage import played
from tests.support.environment import inherited
from tests.support.parameters import BadParameter
from web.adapters.event_files import read_event_file

EVENT = {
    "sections": [
        {"id": "stalls", "rows": [{"id": "A", "seats": ["A-1", "A-2", "A-3"]}]},
        {"id": "circle", "rows": [{"id": "B", "seats": ["B-1", "B-2"]}]},
    ]
}


def traits(one) -> dict:
    return {name: value for name, value in vars(one).items() if name != "chance"}


@pytest.mark.parametrize("kind", [human, botnet_bot, sweeper])
def test_the_same_seed_makes_the_same_buyers_and_another_one_others(kind):
    def crowd(seed: int) -> list[dict]:
        return [traits(kind(seed, number)) for number in range(50)]

    assert crowd(1) == crowd(1)
    assert crowd(1) != crowd(2)


def test_everybody_has_an_address_of_its_own_whatever_the_plan():
    addresses = [human(1, number).address for number in range(60_000)]
    addresses += [botnet_bot(1, number).address for number in range(10_000)]
    addresses += [sweeper(1, number).address for number in range(500)]
    addresses += [human(1, number).elsewhere for number in range(60_000)]
    assert len({ip_address(address) for address in addresses}) == 130_500


def test_every_other_sweeper_takes_many_addresses_of_one_network():
    bot = sweeper(1, 1)
    addresses = {ip_address(address_now(bot)) for _ in range(20)}
    assert len(addresses) > 1
    assert len({int(address) >> 64 for address in addresses}) == 1


@pytest.mark.parametrize(
    ("states", "quantity", "chosen"),
    [
        ("00000", 3, {("A-1", "A-2", "A-3")}),
        ("h0000", 3, {("A-2", "A-3"), ("B-1", "B-2")}),
        ("h0sph", 2, {("A-2",)}),
        ("hhsph", 1, {()}),
    ],
)
def test_seats_are_chosen_side_by_side_and_never_across_rows(states, quantity, chosen):
    hall = Hall.of(EVENT)
    seen = {tuple(hall.choose(states, quantity, random.Random(n))) for n in range(50)}
    assert seen == chosen


def test_a_bot_sweeps_the_whole_hall_from_somewhere_on():
    assert Hall.of(EVENT).tour(0.5) == ("A-3", "B-1", "B-2", "A-1", "A-2")


def test_a_form_has_its_own_hidden_fields_and_no_others():
    page = (
        b'<form action="/other"><input type="hidden" name="key" value="no"></form>'
        b'<form method="post" action="/pay" novalidate>'
        b'<input type="hidden" name="csrf_token" value="a&amp;b"><input name="email"></form>'
    )
    assert hidden_fields(page, "/pay") == {"csrf_token": "a&b"}
    assert hidden_fields(page, "/nowhere") == {}


def test_the_link_to_the_bank_is_the_one_that_leads_away():
    page = (
        b'<a href="/events/burst">A sale</a> <a class="button" rel="external" '
        b'href="http://127.0.0.1:9/challenges/1?a=b&amp;c=d">Continue</a>'
    )
    assert link_to_bank(page) == "http://127.0.0.1:9/challenges/1?a=b&c=d"
    assert link_to_bank(b'<link href="https://js.example"><a href="/basket">Basket</a>') is None


# ---------------------------------------------------------------- when the bank asks


def test_some_of_the_crowd_are_asked_by_their_bank_and_do_each_of_what_one_can():
    crowd = [human(1, number) for number in range(1000)]
    ways = Counter(one.at_bank for one in crowd)
    assert ways.keys() == {None, *AT_BANK}
    assert ways.total() * ASKED * 0.8 < ways.total() - ways[None] < ways.total() * ASKED * 1.2
    clicks_twice = {one.at_bank for one in crowd if one.intent == "click twice"}
    assert clicks_twice == {None, "confirm"}, "two tabs of one person give one answer"


# ---------------------------------------------------------------- the plan


def test_a_plan_is_read_by_name_and_the_rest_is_the_default():
    environ = {"CROWD": "50", "CHAOS": "1", "SEED": "", "HOME": "/root"}
    assert read_plan(environ) == Plan(crowd=50, chaos=1)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CROWD", "many", "CROWD=many: must be a whole number from 1 to 60,000"),
        ("CROWD", "0", "CROWD=0: must be a whole number from 1 to 60,000"),
        ("BOTS", "-5", "BOTS=-5: must be a whole number from 0 to 10,000"),
        ("SECONDS", "30s", "SECONDS=30s: must be a whole number from 5 to 3,600"),
        ("SEED", "-1", "SEED=-1: must be a whole number, at least 0"),
        ("CHAOS", "yes", "CHAOS=yes: must be 0 or 1"),
        ("KEEP", "2", "KEEP=2: must be 0 or 1"),
        ("EVENT", "../secrets", "EVENT=../secrets: there is no such file in events/"),
        ("EVENT", "rosewood-theater", "did you mean rosewood-theatre?"),
        ("EVENT", "typo", "There are: harbour-arena, meridian-stadium, rosewood-theatre"),
        ("MAKEFLAGS", " -- BOT=5", "BOT is no parameter; did you mean BOTS?"),
        (
            "MAKEFLAGS",
            "s -j2 -- X=a\\ b CROWD=5",
            "X is no parameter. The parameters are: EVENT, CROWD",
        ),
        ("BOT", "5", "BOT is no parameter; did you mean BOTS?"),
        ("bots", "5", "bots is no parameter; did you mean BOTS?"),
    ],
)
def test_a_parameter_that_cannot_be_is_named_with_what_can(name, value, says):
    with pytest.raises(BadParameter) as refused:
        read_plan({name: value})
    assert says in str(refused.value)


def test_what_is_no_parameter_of_ours_may_be_set():
    makeflags = "w -- BOTS:=5 PYTHON=a\\ python\\ of=it's"
    environ = {"LANG": "C", "MAKEFLAGS": makeflags, "BOTS": "5"}
    assert read_plan(environ) == Plan(bots=5)


@pytest.mark.stack
def test_a_burst_with_a_wrong_parameter_ends_before_anything_starts():
    wrong = inherited() | {"EVENT": "typo"}
    command = [sys.executable, "-m", "tests.burst"]
    refused = subprocess.run(command, env=wrong, cwd=REPOSITORY, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("EVENT=typo: ")
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "events").glob("*.toml")), ids=lambda p: p.stem
)
def test_every_event_can_be_played_at_another_time(path, tmp_path):
    opens_at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    changed = tmp_path / "burst.toml"
    changed.write_text(played(path.read_text(), opens_at))
    event, original = read_event_file(changed), read_event_file(path)
    assert (event.id, event.sale_opens_at) == ("burst", opens_at)
    assert event.seats == original.seats
    assert event.hold_ms < original.hold_ms
