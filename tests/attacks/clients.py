"""New clients: addresses that no other test uses (RFC 6598)."""

import itertools

_numbers = itertools.count(1)


def new_address() -> str:
    number = next(_numbers)
    return f"100.{64 + number // 62_500 % 64}.{number // 250 % 250}.{number % 250 + 1}"


def new_neighbour() -> str:
    """On this machine: an address to connect from, that no server here believes as a proxy when it
    believes 127.0.0.1 only."""
    number = next(_numbers)
    return f"127.{64 + number // 62_500 % 64}.{number // 250 % 250}.{number % 250 + 1}"
