"""nginx and the application agree about who the client is.

The rule is one pure function, sidecar.client_address.client_key. Here nginx applies it, believing
the networks of the agreed cases, and the application then believes nginx: what both together come
to must be what the function says of the request as it came.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.processes import free_port
from ops.servers import HOST
from sidecar.client_address import MAX_ENTRIES, client_key
from sidecar.networks import parse_networks
from tests.support.behind_nginx import running_nginx, server_config
from tests.support.raw_http import exchange, request_bytes

AGREED = json.loads(
    Path(__file__).parents[1].joinpath("support/client_address_cases.json").read_text()
)
TRUSTED = parse_networks(",".join(AGREED["trusted"]))
CASES = [case for case in AGREED["cases"] if case["peer"] and case["hops"] is None]
"""nginx has no Unix socket here, and hops are counted from the peer, which is 127.0.0.1."""

RANDOM_LISTS = 400


@pytest.fixture(scope="module")
def url(upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    config = server_config(
        folder,
        trusted=AGREED["trusted"],
        upstreams=[upstream.address],
        http_listen=[f"{HOST}:{port}"],
    )
    with running_nginx(config, folder, port) as nginx:
        yield nginx.url


def key_of_both(url: str, lines: list[str]) -> str:
    """Of a request from 127.0.0.1 with these lines of X-Forwarded-For."""
    headers = [f"X-Forwarded-For: {line}" for line in lines]
    request = request_bytes(
        "GET", "/echo", *headers, "X-Forwarded-Proto: https", "Connection: close"
    ).replace(b"Host: tickets.example\r\n", b"Host: tickets.example.com\r\n")
    (answer,) = exchange(url, request)
    assert answer.status == 200, answer
    received = answer.json["headers"]["X-Forwarded-For"]
    return client_key(HOST, [received], trusted=parse_networks("loopback"), hops=None)


READ_OTHERWISE = {
    "\t203.0.113.7": "10.0.0.2",
    "fe80::1%eth0": "10.0.0.2",
    "203.0.113.07": "203.0.113.7",
}
"""Where nginx's own parser differs from the function. Only a trusted proxy can put these at the
place where the decision falls, and none does; the application believes nginx then, too."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['peer']} {case['forwarded_for']}")
def test_the_agreed_cases_hold_for_both_together(url, case):
    """The peer of the case is one proxy further on."""
    came_to = key_of_both(url, [*case["forwarded_for"], case["peer"]])
    assert came_to == READ_OTHERWISE.get(",".join(case["forwarded_for"]), case["key"])


def random_list(chance: random.Random) -> list[str]:
    """Whatever a client writes, then its address, then proxies that append who they talked to;
    in one line or several."""

    def address() -> str:
        number = chance.getrandbits(16)
        spellings = (
            f"203.0.{number >> 8}.{number & 255}",
            f"203.0.{number >> 8}.{number & 255}:{number}",
            f"::ffff:203.0.{number >> 8}.{number & 255}",
            f"2001:db8:{number:x}::1",
            f"[2001:DB8:{number:X}:0::7]:443",
            f"2001:db8:0:{number:x}:1:2:3:4",
        )
        return chance.choice(spellings)

    proxies = ["10.1.2.3", "127.0.0.1", "::1", "173.245.48.5", "::ffff:10.9.9.9", "10.0.0.1:80"]
    junk = [
        "unknown",
        "",
        " ",
        "_hidden",
        "10.0.0.1",
        "1.2.3.4.5",
        "[::1",
        "a b",
        '"',
        "%",
        address(),
        "::",
        "for=6.6.6.6",
    ]
    entries = chance.choices(junk, k=chance.randrange(30))
    entries += [address(), *chance.choices(proxies, k=chance.randrange(MAX_ENTRIES - 1))]
    lines = [entries[0].strip() or "unknown"]  # see the last test
    for entry in entries[1:]:
        if chance.random() < 0.2:
            lines.append(entry.strip() or "unknown")
        else:
            lines[-1] += chance.choice([", ", ",", " , "]) + entry
    return lines


def test_whatever_a_client_writes_both_together_count_whom_the_proxies_saw(url):
    chance = random.Random(4)
    for _ in range(RANDOM_LISTS):
        lines = random_list(chance)
        expected = client_key(HOST, lines, trusted=TRUSTED, hops=None)
        assert key_of_both(url, lines) == expected, lines


def test_a_line_that_begins_with_a_comma_is_read_with_a_blank_after_it_only(url):
    """nginx and others append to an empty header like that. Written without the blank, which
    nobody does, nginx finds no address, and the client is the proxy that wrote it."""
    assert key_of_both(url, [", 203.0.113.7"]) == "203.0.113.7"
    assert key_of_both(url, [",203.0.113.7"]) == HOST
