"""The sidecar's settings, read from the environment and ``.env`` and checked once, at start.

The web processes have settings of their own, and read these for the path of the sidecar's socket.
The rate limit is a setting of theirs: they send it with each request to the limiter.
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from sidecar.env_file import add_env_file
from sidecar.redis_tls import RedisTlsCa, check_tls_ca
from sidecar.server_urls import redis_servers
from sidecar.sliding_log import MAX_RATE_LIMIT, MAX_RATES, NS_PER_S, Rate

MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` of unix(7) has 108 bytes, with a terminating zero."""

MAX_SHOWN = 20
"""How many characters of an invalid value a message shows."""

_WINDOWS_S = {"second": 1, "minute": 60, "hour": 3600}


class BadSettings(Exception):
    """A setting is missing or invalid; the message names the variable and its allowed values."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    limiter_socket: Annotated[
        str,
        Meta(description="Unix socket of the limiter; empty: `python -m sidecar` creates one"),
    ] = ""
    limiter_redis_url: Annotated[
        str,
        Meta(description="Redis that counts for all hosts; empty: each host counts on its own"),
    ] = ""
    redis_tls_ca: RedisTlsCa = ""
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
        Meta(ge=0, le=60, description="seconds the limiter may take to stop before it is killed"),
    ] = 5.0

    def __post_init__(self) -> None:
        check_socket_path("LIMITER_SOCKET", self.limiter_socket)
        check_tls_ca("REDIS_TLS_CA", self.redis_tls_ca)
        if self.limiter_redis_url:
            redis_servers("LIMITER_REDIS_URL", self.limiter_redis_url, kinds=("server", "sentinel"))


def parse_rate(text: str) -> Rate:
    """Parse a rate such as ``10/second``. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,9})/(second|minute|hour)", text.strip())
    if match is None or int(match[1]) > MAX_RATE_LIMIT:
        raise ValueError(
            f"must be 1 to {MAX_RATE_LIMIT} a second, minute or hour, like 10/second, not {text!r}"
        )
    return Rate(int(match[1]), _WINDOWS_S[match[2]] * NS_PER_S)


def check_socket_path(name: str, path: str) -> None:
    """Raises ValueError when the path is too long for a Unix socket."""
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        raise ValueError(
            f"{name} must have at most {MAX_SOCKET_PATH_BYTES} bytes, not {length}: {path}"
        )


def environment() -> Mapping[str, str]:
    """``os.environ``, after the variables of the ``.env`` file have been added to it. Raises
    BadSettings."""
    try:
        add_env_file(os.environ)
    except ValueError as error:
        raise BadSettings(str(error)) from None
    return os.environ


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings from ``environ``, by default from ``environment()``. Raises BadSettings."""
    return settings_of(environment() if environ is None else environ, Settings)


Kind = TypeVar("Kind", bound=msgspec.Struct)


def settings_of(environ: Mapping[str, str], kind: type[Kind]) -> Kind:
    """A ``kind`` whose fields are read from the variables of the same names. An empty variable
    counts as not set. Raises BadSettings."""
    given = {}
    for field in msgspec.structs.fields(kind):
        if value := environ.get(field.encode_name):
            _check_no_wrapping(field.encode_name, value)
            given[field.encode_name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadSettings(_in_words(str(error), given, kind)) from None


def _in_words(error: str, given: Mapping[str, str], kind: type[msgspec.Struct]) -> str:
    """msgspec's error in plain words: ``PORT must be a whole number from 1 to 65535, not 0``. The
    message of a check in ``__post_init__`` stays as it is."""
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", error):
        return f"{missing[1]} is required"
    misfit = re.fullmatch(r"Expected .* - at `\$\.(\w+)`", error, re.DOTALL)
    if misfit is None:
        return error
    (field,) = (f for f in msgspec.structs.fields(kind) if f.encode_name == misfit[1])
    return f"{misfit[1]} must be {_number_wanted(field.type)}, not {_shown(given[misfit[1]])}"


def _number_wanted(annotation: Any) -> str:
    """The allowed values of a number, in words. Other settings are texts, which msgspec never
    refuses."""
    wanted = msgspec.inspect.type_info(annotation)
    if isinstance(wanted, msgspec.inspect.Metadata):
        wanted = wanted.type
    if isinstance(wanted, msgspec.inspect.UnionType):
        wanted = wanted.types[0]
    if not isinstance(wanted, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        raise TypeError(f"msgspec refused a setting that is no number: {annotation}")
    number = "a whole number" if isinstance(wanted, msgspec.inspect.IntType) else "a number"
    return f"{number} from {wanted.ge:.0f} to {wanted.le:.0f}"


def _shown(value: str) -> str:
    shown = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"
    return shown if re.fullmatch(r"[-+.0-9]+", value) else repr(shown)


def _check_no_wrapping(name: str, value: str) -> None:
    """Refuse quotes that a shell would have removed, and white space from a copied line: they would
    be part of the value, and hard to see. Raises BadSettings."""
    if value != value.strip():
        raise BadSettings(f"{name} begins or ends with white space: take it out")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"`":
        raise BadSettings(f"{name} has quotes around its value: take them out")
