"""URLs of Redis and MongoDB, checked before a client library parses them: libraries detect an error
late, and may show a part of the password.

Only what all spellings share. The libraries check the options that follow the question mark.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

REDIS_SCHEMES = ("redis", "rediss", "unix")
MONGODB_SCHEMES = ("mongodb", "mongodb+srv")

MAX_PORT = 65535

_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Za-z:.%]+\]|[^\[\]:\s]*)(:(?P<port>.*))?")

_ENCODE = (
    "if its user name or password has a character such as @ : / ? # [ ] or %, percent-encode it "
    "(@ is %40, / is %2F, % is %25)"
)


class _Parts(NamedTuple):
    """``userinfo`` is None where there is none."""

    scheme: str
    userinfo: str | None
    hosts: str
    path: str
    query: str


def check_redis_url(name: str, url: str) -> None:
    """Raises ValueError, which begins with ``name`` and shows nothing of the address."""
    parts = _parts_of(name, url, REDIS_SCHEMES, "/?#")
    try:
        urlsplit(url)
    except ValueError:
        raise ValueError(f"{name} cannot be read: {_ENCODE}") from None
    if parts.scheme == "unix":
        if parts.hosts or len(parts.path) < 2:
            raise ValueError(f"{name} must have a path after unix://, as in unix:///run/redis.sock")
        return
    check_host(name, parts.hosts, f"; {_ENCODE}")
    if not re.fullmatch(r"(/[0-9]*)?", parts.path):
        raise ValueError(f"{name} must end with the number of a database, as in /0")


def check_mongodb_uri(name: str, uri: str) -> None:
    """Raises ValueError, which begins with ``name`` and shows nothing of the address."""
    parts = _parts_of(name, uri, MONGODB_SCHEMES, "/?")
    if parts.userinfo is not None:
        if not parts.userinfo.partition(":")[0]:
            raise ValueError(f"{name} has no user name before the password")
        if re.search(r"@|:.*:|%(?![0-9A-Fa-f]{2})", parts.userinfo):
            raise ValueError(f"{name} cannot be read: {_ENCODE}")
    hosts = parts.hosts.split(",")
    for host in hosts:
        if not host or host.startswith(":"):
            raise ValueError(f"{name} has no host where one must be, as in {parts.scheme}://host")
        check_host(name, host, f"; {_ENCODE}")
    if parts.scheme == "mongodb+srv" and (len(hosts) > 1 or ":" in parts.hosts):
        raise ValueError(f"{name} must have one host and no port after mongodb+srv://")
    if parts.query and any(o.count("=") != 1 for o in re.split("[&;]", parts.query)):
        raise ValueError(f"{name} must have options as name=value after the question mark")


def _parts_of(name: str, url: str, schemes: Sequence[str], ends: str) -> _Parts:
    """``ends``: characters of which the first one ends the part with the hosts."""
    scheme, found, rest = url.partition("://")
    if not found or scheme not in schemes:
        *others, last = (f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{name} must begin with {', '.join(others)} or {last}")
    authority = re.split(f"[{ends}]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority) :].partition("?")
    userinfo, has_user, hosts = authority.rpartition("@")
    # A name of an option may have an @ of its own; one after what is no user's is the user's.
    cut_short = "@" in path if has_user else "@" in path + query
    if cut_short and not (scheme == "unix" and not authority):
        raise ValueError(f"{name} cannot be read: {_ENCODE}")
    return _Parts(scheme, userinfo if has_user else None, hosts, path, query)


def check_host(name: str, text: str, hint: str = "") -> None:
    """Raises ValueError. The host is not shown: where it was forgotten, this is a user name and a
    password."""
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{name} has a host that cannot be read: it should be host, host:port or [IPv6]:port"
            f"{hint}"
        )
    port = found["port"]
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= MAX_PORT):
        raise ValueError(f"{name} must have a port from 1 to {MAX_PORT} after the host{hint}")
