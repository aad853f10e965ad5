"""Every setting of the sidecar: read from the environment once, checked at start.

The web processes have their own; those that talk to the sidecar read these too, for the path of
its socket. What a client may do is theirs: the rate comes with each question.
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from sidecar.sliding_log import MAX_RATE_LIMIT, MAX_RATES, NS_PER_S, Rate

MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` of unix(7) has 108 bytes, the last of them a zero."""

_WINDOWS_S = {"second": 1, "minute": 60, "hour": 3600}


class BadSettings(Exception):
    """The environment does not fit; the message names the variable and what it must be."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    limiter_socket: Annotated[
        str,
        Meta(description="Unix socket of the limiter; empty: `python -m sidecar` makes one"),
    ] = ""
    limiter_redis_url: Annotated[
        str,
        Meta(
            pattern="^(redis|rediss|unix)://",
            description="Redis that counts for all hosts; empty: each host counts for itself",
        ),
    ] = ""
    limiter_max_clients: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description=(
                f"active clients remembered, for each of at most {MAX_RATES} rates;"
                " 250,000 take 100 MB at `10/second`, 250 MB at `100/second`"
            ),
        ),
    ] = 250_000
    limiter_grace_s: Annotated[
        float,
        Meta(ge=0, le=60, description="seconds the limiter may take to end before it is killed"),
    ] = 5.0

    def __post_init__(self) -> None:
        check_socket_path(self.limiter_socket)


def parse_rate(text: str) -> Rate:
    """``10/second`` as numbers. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,9})/(second|minute|hour)", text.strip())
    if match is None or int(match[1]) > MAX_RATE_LIMIT:
        raise ValueError(
            f"must be 1 to {MAX_RATE_LIMIT} a second, minute or hour, like 10/second, not {text!r}"
        )
    return Rate(int(match[1]), _WINDOWS_S[match[2]] * NS_PER_S)


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
        missing = re.fullmatch(r"Object missing required field `(\w+)`", str(error))
        raise BadSettings(f"{missing[1]} is required" if missing else str(error)) from None
