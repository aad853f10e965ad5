"""Every setting of the sidecar: read from the environment once, checked at start.

The web processes have their own; those that talk to the sidecar read these too, so that both
sides know the same rate.
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` of unix(7) has 108 bytes, the last of them a zero."""

MAX_RATE_LIMIT = 10_000
"""A client is remembered with eight bytes for each request it may have in the window."""

_WINDOWS_NS = {"second": 10**9, "minute": 60 * 10**9, "hour": 3600 * 10**9}


class BadSettings(Exception):
    """The environment does not fit; the message names the variable and what it must be."""


class Rate(NamedTuple):
    """At most ``limit`` requests in any window of ``window_ns`` nanoseconds."""

    limit: int
    window_ns: int


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    limiter_socket: Annotated[
        str,
        Meta(description="Unix socket of the limiter; empty: `python -m sidecar` makes one"),
    ] = ""
    rate_limit: Annotated[
        str, Meta(description="what one client may do: `10/second`, `600/minute`, `5000/hour`")
    ] = "10/second"
    limiter_max_clients: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="active clients remembered; at `10/second` 250,000 take 100 MB",
        ),
    ] = 250_000
    limiter_grace_s: Annotated[
        float,
        Meta(ge=0, le=60, description="seconds the limiter may take to end before it is killed"),
    ] = 5.0

    def __post_init__(self) -> None:
        parse_rate(self.rate_limit)
        check_socket_path(self.limiter_socket)

    @property
    def rate(self) -> Rate:
        return parse_rate(self.rate_limit)


def parse_rate(text: str) -> Rate:
    """``10/second`` as numbers. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,9})/(second|minute|hour)", text.strip())
    if match is None or int(match[1]) > MAX_RATE_LIMIT:
        raise ValueError(
            f"RATE_LIMIT must be 1 to {MAX_RATE_LIMIT} a second, minute or hour,"
            f" like 10/second, not {text!r}"
        )
    return Rate(int(match[1]), _WINDOWS_NS[match[2]])


def check_socket_path(path: str) -> None:
    """Raises ValueError when no Unix socket can have this path."""
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        raise ValueError(
            f"LIMITER_SOCKET must have at most {MAX_SOCKET_PATH_BYTES} bytes, not {length}: {path}"
        )


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises BadSettings."""
    return settings_of(environ, Settings)


Kind = TypeVar("Kind", bound=msgspec.Struct)


def settings_of(environ: Mapping[str, str], kind: type[Kind]) -> Kind:
    """The fields of ``kind`` from the variables of their names. An empty variable counts as not
    set. Raises BadSettings."""
    given = {name: value for name, value in environ.items() if value}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadSettings(str(error)) from None
