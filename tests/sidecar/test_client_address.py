"""Who the limiter counts. Everything left of what a trusted proxy wrote is the attacker's."""

import json
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.client_address import MAX_ENTRIES, NAT64, client_key, is_trusted, network_key
from sidecar.networks import parse_networks

AGREED = json.loads(
    Path(__file__).parents[1].joinpath("support/client_address_cases.json").read_text()
)
TRUSTED = parse_networks(",".join(AGREED["trusted"]))
PROXY = "10.0.0.2"


def key(*forwarded_for: str, peer: str = PROXY, hops: int | None = None) -> str:
    return client_key(peer, list(forwarded_for), trusted=TRUSTED, hops=hops)


@pytest.mark.parametrize(
    "case", AGREED["cases"], ids=lambda c: f"{c['peer']}<-{c['forwarded_for']}"[:60]
)
def test_the_agreed_cases_hold(case):
    found = client_key(case["peer"], case["forwarded_for"], trusted=TRUSTED, hops=case["hops"])
    assert found == case["key"]


@pytest.mark.parametrize(
    ("peer", "is_believed"),
    [
        ("", True),
        (PROXY, True),
        ("::ffff:10.0.0.2", True),
        ("203.0.113.7", False),
        ("nobody", False),
    ],
)
def test_a_socket_and_a_proxy_of_ours_are_believed_and_nobody_else(peer, is_believed):
    assert is_trusted(peer, TRUSTED) == is_believed


def test_an_untrusted_peer_is_the_client_even_when_hops_are_believed():
    assert key("1.1.1.1", peer="203.0.113.7", hops=1) == "203.0.113.7"


def test_a_chain_of_nothing_but_proxies_belongs_to_the_farthest_of_them():
    assert key("10.0.0.9, 10.0.0.8") == "10.0.0.9"


def test_a_list_is_followed_for_sixteen_entries_and_no_further():
    proxies = ["10.0.0.8"] * (MAX_ENTRIES - 1)
    assert key(", ".join(["1.1.1.1", *proxies])) == "1.1.1.1"
    assert key(", ".join(["1.1.1.1", "10.0.0.7", *proxies])) == "10.0.0.7"


def test_hops_take_the_entry_at_their_place_whatever_stands_right_of_it():
    assert key("1.1.1.1, 203.0.113.7, unknown", hops=2) == "203.0.113.7"
    assert key("1.1.1.1, 203.0.113.7, 198.51.100.1", hops=2) == "203.0.113.7"


def test_a_list_shorter_than_the_hops_gives_its_first_entry():
    assert key("203.0.113.7", hops=2) == "203.0.113.7"
    assert key(hops=2) == PROXY


def test_a_malformed_entry_at_the_deciding_hop_gives_the_hop_before_it():
    assert key("1.1.1.1, unknown, 198.51.100.1", hops=2) == "198.51.100.1"
    assert key("1.1.1.1, unknown, 10.0.0.9") == "10.0.0.9"


@pytest.mark.parametrize("hops", [None, 1])
@pytest.mark.parametrize("lines", [["1.1.1.1,"], ["1.1.1.1, "], ["1.1.1.1", ""], ["1.1.1.1,\t"]])
def test_a_blank_entry_never_lets_what_the_client_wrote_decide(lines, hops):
    assert key(*lines, hops=hops) == PROXY


@pytest.mark.parametrize(
    "entry",
    [
        "[203.0.113.7]",
        "[2001:db8::5",
        "[2001:db8::5]x443",
        "[2001:db8::5]:",
        "2001:db8::5]:443",
        "203.0.113.7:",
        "203.0.113.7:-1",
        "203.0.113.7:٤٤٣",
        "203.0.113.7%eth0",
        "fe80::1%",
        "::ffff:203.0.113.07",
        "203.0.113.7 1.1.1.1",
        '"203.0.113.7"',
        "٢٠٣.0.113.7",
        "fe80::1%" + "z" * 100,
        "_hidden",
        "unix:",
    ],
)
def test_what_is_no_address_is_not_taken_for_one(entry):
    assert key(entry) == PROXY


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:cb00:7107]:443", "203.0.113.7"),
        ("[fe80::1%eth0]:443", "fe80::/64"),
        ("::ffff:203.0.113.7%eth0", "203.0.113.7"),
        ("[2001:db8:1:2::5]", "2001:db8:1:2::/64"),
        (" 203.0.113.7:0 ", "203.0.113.7"),
    ],
)
def test_ports_zones_brackets_and_mapping_do_not_make_another_client(entry, expected):
    assert key(entry) == expected


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("2001:db8:1:2::5", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::1", "2001:db8:1::/48"),
        ("[2001:db8:2::1%eth0]:443", "2001:db8:2::/48"),
        ("203.0.113.7", None),
        ("::ffff:203.0.113.7", None),
        ("2002:cb00:7107:1::1", "2002:cb00:7107::/48"),  # 6to4 of 203.0.113.7
        ("2001:0:c633:6401::1", "2001::/32"),  # Teredo, by way of 198.51.100.1
        ("2001:0:cb00:7107::1", "2001::/32"),  # and of 203.0.113.7
        ("64:ff9b::203.0.113.7", None),
        ("64:ff9b:1:203:0:7100:700::", None),
    ],
)
def test_the_network_of_a_client_is_what_one_subscriber_may_have(address, network):
    assert network_key(key(address)) == network


def test_nobody_without_an_address_has_a_network():
    assert network_key(client_key("", [], trusted=(), hops=None)) is None


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**80 - 1))
def test_a_client_is_in_the_network_that_it_begins_with(address, rest):
    client, neighbour = IPv6Address(address), IPv6Address(address >> 80 << 80 | rest)
    assume(client.ipv4_mapped is None and neighbour.ipv4_mapped is None)
    assume(not any(a in net for a in (client, neighbour) for net in NAT64))
    assert network_key(key(str(client))) == network_key(key(str(neighbour)))


def test_a_mapped_proxy_is_as_trusted_as_the_proxy():
    assert key("203.0.113.7, ::ffff:10.0.0.9") == "203.0.113.7"


def test_a_peer_that_is_no_address_is_believed_nothing():
    assert key("1.1.1.1", peer="unix:") == "local"


@pytest.mark.parametrize("text", [",", "10.0.0.9,"])
def test_a_list_of_megabytes_costs_what_its_last_entries_cost(text):
    class Watched(str):
        """Counts the characters that are cut out of it."""

        cut = 0

        def __getitem__(self, span):
            part = str.__getitem__(self, span)
            Watched.cut += len(part)
            return part

        def split(self, *_):
            raise AssertionError("the whole list was split")

    key(Watched(text * 1_000_000 + "10.0.0.9"))
    assert Watched.cut <= MAX_ENTRIES * len("10.0.0.9")


@given(
    peer=st.one_of(st.just(""), st.just(PROXY), st.text(max_size=20)),
    lines=st.lists(st.text(max_size=60), max_size=5),
    hops=st.one_of(st.none(), st.integers(1, 16)),
)
def test_nothing_that_is_sent_raises_an_error(peer, lines, hops):
    assert key(*lines, peer=peer, hops=hops)


@given(written_by_the_client=st.text(max_size=200), address=st.ip_addresses(v=4))
def test_no_header_of_the_client_changes_its_key(written_by_the_client, address):
    alone = key(str(address))
    assume(not any(address in network for network in TRUSTED))
    assert key(written_by_the_client, str(address)) == alone
    assert key(f"{written_by_the_client}, {address}") == alone
