"""Who the client of a request is: the right-most address that no trusted proxy wrote.

Whatever is left of it in X-Forwarded-For can be forged by the client, so nothing here reads further
than necessary, and nothing there can raise an error.
"""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from itertools import islice
from typing import NamedTuple

from sidecar.networks import Network

Address = IPv4Address | IPv6Address

NO_ADDRESS = "local"
"""The key of a request that came over a Unix socket without a forwarded address."""

MAX_ENTRIES = 16
"""How many entries are read: more proxies in a row than anybody runs."""

MAX_ENTRY_LENGTH = 80
"""An IPv6 address with a zone, brackets and a port has at most 69 characters. The bound keeps
junk out of the cache below."""

MAX_CACHED_ADDRESSES = 16_384
"""About 8 MB when full. The proxies' own addresses are looked up in every request, so a flood of
forged ones does not evict them."""


NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
TEREDO = IPv6Network("2001::/32")


class Hop(NamedTuple):
    """An address on the way of a request, and the key it has as a client."""

    address: Address
    key: str


def client_key(
    peer: str, forwarded_for: list[str], *, trusted: tuple[Network, ...], hops: int | None
) -> str:
    """Who the limiter counts: ``203.0.113.7``, ``2001:db8:1:2::/64`` or ``local``.

    ``peer`` is the address at the other end of the connection, empty for a Unix socket, which is
    always trusted. ``forwarded_for`` holds the X-Forwarded-For lines in the order in which they
    came. ``trusted`` is what networks.parse_networks gave. ``hops`` (1 to 16) takes exactly the
    n-th entry from the right whatever the networks of the entries; None walks past the trusted
    ones. In both cases only a trusted peer's lines are read.

    If the deciding entry is not an address, or the list ends before it, the client is the last hop
    that could be verified. A blank entry is not an address either: if it were skipped, a proxy that
    writes none would leave the decision to what the client wrote.

    Never raises. An IPv6 client is its /64, the smallest network that a subscriber gets (RFC 6177).
    """
    hop = _client_hop(peer, forwarded_for, trusted, hops)
    return NO_ADDRESS if hop is None else hop.key


def client_address(
    peer: str, forwarded_for: list[str], *, trusted: tuple[Network, ...], hops: int | None
) -> Address | None:
    """The address from which ``client_key`` makes its key; None if the key is ``local``."""
    hop = _client_hop(peer, forwarded_for, trusted, hops)
    return None if hop is None else hop.address


def _client_hop(
    peer: str, forwarded_for: list[str], trusted: tuple[Network, ...], hops: int | None
) -> Hop | None:
    verified = _hop(peer)
    if not is_trusted(peer, trusted):
        return verified

    reach = MAX_ENTRIES if hops is None else min(hops, MAX_ENTRIES)
    for entry in islice(_entries_from_the_right(forwarded_for), reach):
        hop = _hop(entry)
        verified = hop or verified
        if hops is None and (hop is None or not _is_within(hop.address, trusted)):
            break
    return verified


@lru_cache(maxsize=MAX_CACHED_ADDRESSES)
def network_key(client: str) -> str | None:
    """The network that a client is part of, ``2001:db8:1::/48``, or None if that does not identify
    anybody. ``client`` is the result of client_key.

    A subscriber has up to a /48 (RFC 6177), and that is 65,536 clients. But:

    - IPv4 addresses are given out one by one, and neighbours are strangers.
    - NAT64 has all of IPv4 behind one prefix (RFC 6052, RFC 8215), so a /48 there is everybody.
    - Teredo (RFC 4380) has the address of a server after its prefix, and the sender can put any
      address there. So all of Teredo is one network.

    In 6to4 (RFC 3056) a /48 is one IPv4 address, which is right.
    """
    if ":" not in client:
        return None
    address = IPv6Address(client.partition("/")[0])
    if _is_within(address, NAT64):
        return None
    if address in TEREDO:
        return str(TEREDO)
    return f"{IPv6Address(int(address) >> 80 << 80)}/48"


def is_trusted(peer: str, trusted: tuple[Network, ...]) -> bool:
    """Whether ``peer`` is trusted to name the client; both arguments are those of client_key."""
    if not peer:
        return True
    hop = _hop(peer)
    return hop is not None and _is_within(hop.address, trusted)


def _is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _entries_from_the_right(lines: list[str]) -> Iterator[str]:
    """The entries of all lines, last first, cut off one by one: a list of a megabyte costs no
    more than the entries that are taken."""
    for line in reversed(lines):
        end = len(line)
        while end != -1:
            comma = line.rfind(",", 0, end)
            yield line[comma + 1 : end]
            end = comma


def _hop(entry: str) -> Hop | None:
    entry = entry.strip(" \t")
    return _parse(entry) if len(entry) <= MAX_ENTRY_LENGTH else None


@lru_cache(maxsize=MAX_CACHED_ADDRESSES)
def _parse(entry: str) -> Hop | None:
    """``203.0.113.7``, ``203.0.113.7:443``, ``2001:db8::5``, ``[2001:db8::5%eth0]:443``."""
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else None
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    else:
        host, port = entry, None
    if port is not None and not _is_port(port):
        return None
    try:
        # Rejects leading zeros, which some systems read as octal (CVE-2021-29921).
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return Hop(address, str(address))
    if address.ipv4_mapped is not None:
        return Hop(address.ipv4_mapped, str(address.ipv4_mapped))
    # Through int, because the text of an address keeps its zone.
    return Hop(address, str(IPv6Network((int(address) >> 64 << 64, 64))))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65_535
