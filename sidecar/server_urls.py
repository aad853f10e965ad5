"""URLs of Redis, MongoDB and mail servers, checked before a client library parses them: libraries
detect an error late, and may show a part of the password.

Redis's are spelt as in the `limits` library, because redis-py has none for Sentinel and Cluster.
The libraries check the options that follow the question mark.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

RedisKind = Literal["server", "sentinel", "cluster"]
REDIS_KINDS: tuple[RedisKind, ...] = get_args(RedisKind)
REDIS_SCHEMES: Mapping[str, RedisKind] = {
    "redis": "server",
    "rediss": "server",
    "unix": "server",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
"""`valkey` may stand for `redis` and `valkeys` for `rediss`, as in Valkey's own tools."""

REDIS_PORT = 6379
SENTINEL_PORT = 26379
SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}
"""For the Sentinels themselves, with what redis-py calls them."""

MONGODB_SCHEMES = ("mongodb", "mongodb+srv")

SMTP_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
"""By scheme: without TLS, with TLS from the beginning, and with TLS after STARTTLS (RFC 8314)."""
SMTP_TIMEOUT_S, MAX_SMTP_TIMEOUT_S = 10, 60

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


@dataclass(frozen=True)
class RedisServers:
    """What a Redis URL names."""

    kind: RedisKind
    hosts: tuple[tuple[str, int], ...]
    """Host and port of the server, of the Sentinels, or of nodes of the cluster. A Unix socket has
    none."""

    service: str
    """Which the Sentinels watch; empty otherwise."""

    server_url: str
    """As redis-py reads it, with scheme `redis`, `rediss` or `unix`. For Sentinel and Cluster it
    says how to log in to every server, and its host is only the first of the list."""

    sentinel_options: Mapping[str, str]
    """How to log in to the Sentinels, as redis-py's keyword arguments ``username`` and
    ``password``."""


def redis_servers(
    name: str, url: str, *, kinds: Collection[RedisKind] = REDIS_KINDS
) -> RedisServers:
    """Raises ValueError, which begins with ``name`` and shows nothing of the address."""
    url = re.sub(r"^valkey(?=s?[+:])", "redis", url)
    schemes = [scheme for scheme, kind in REDIS_SCHEMES.items() if kind in kinds]
    given = REDIS_SCHEMES.get(url.partition("://")[0])
    if given not in (None, *kinds):
        raise ValueError(
            f"{name} cannot be a {given}: its keys must all be on one server, so give it a Redis "
            "of its own"
        )
    parts = _parts_of(name, url, schemes, "/?#")
    kind = REDIS_SCHEMES[parts.scheme]
    if parts.query and not all("=" in option for option in parts.query.split("&")):
        raise ValueError(f"{name} must have options as name=value after the question mark")
    server_url = url if kind == "server" else _server_url(parts)
    try:
        urlsplit(server_url)
    except ValueError:
        raise ValueError(f"{name} cannot be read: {_ENCODE}") from None
    if parts.scheme == "unix":
        if parts.hosts or len(parts.path) < 2:
            raise ValueError(f"{name} must have a path after unix://, as in unix:///run/redis.sock")
        return RedisServers(kind, (), "", url, {})

    if kind == "server" and "," in parts.hosts:
        several = (f"{parts.scheme}+{kind}://" for kind in kinds if kind != "server")
        raise ValueError(f"{name} has several hosts: it must begin with {' or '.join(several)}")
    hosts = parts.hosts.split(",")
    for host in hosts:
        if kind != "server":
            _check_given(name, host, parts.scheme)
        check_host(name, host, f"; {_ENCODE}")
    service, database = _service_and_database(name, parts)
    if not re.fullmatch(r"(/[0-9]*)?", database):
        raise ValueError(f"{name} must end with the number of a database, as in /0")
    options = dict(parse_qsl(parts.query))
    if kind == "cluster" and (options.get("db") or database).strip("/0"):
        raise ValueError(f"{name} must end with /0 or without a database: a cluster has no other")
    own_options = SENTINEL_OPTIONS if kind == "sentinel" else {}
    return RedisServers(
        kind,
        tuple(_address(name, host, SENTINEL_PORT if service else REDIS_PORT) for host in hosts),
        service,
        server_url,
        {name: options[option] for option, name in own_options.items() if option in options},
    )


def _server_url(parts: _Parts) -> str:
    """Of a URL with several hosts."""
    scheme, _, kind = parts.scheme.partition("+")
    userinfo = "" if parts.userinfo is None else f"{parts.userinfo}@"
    host = parts.hosts.partition(",")[0]
    path, query = parts.path, parts.query
    if kind == "sentinel":
        path = "".join(path[1:].partition("/")[1:])
        of_servers = (o for o in query.split("&") if o.partition("=")[0] not in SENTINEL_OPTIONS)
        query = "&".join(of_servers)
    return f"{scheme}://{userinfo}{host}{path}" + (f"?{query}" if query else "")


def _service_and_database(name: str, parts: _Parts) -> tuple[str, str]:
    """The service is empty but for Sentinel. Raises ValueError."""
    if REDIS_SCHEMES[parts.scheme] != "sentinel":
        return "", parts.path
    service, slash, database = parts.path[1:].partition("/")
    if not service or (service.isdecimal() and not slash):
        raise ValueError(
            f"{name} must name the service that the Sentinels watch, as in "
            f"{parts.scheme}://host:{SENTINEL_PORT}/mymaster/0"
        )
    return unquote(service), slash + database


def _address(name: str, host: str, default_port: int) -> tuple[str, int]:
    """Of what ``check_host`` has let pass. Raises ValueError."""
    try:
        split = urlsplit(f"//{host}")
    except ValueError:
        raise ValueError(f"{name} has a host in brackets that is no IPv6 address") from None
    return unquote(split.hostname or "localhost"), split.port or default_port


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
        _check_given(name, host, parts.scheme)
        check_host(name, host, f"; {_ENCODE}")
    if parts.scheme == "mongodb+srv" and (len(hosts) > 1 or ":" in parts.hosts):
        raise ValueError(f"{name} must have one host and no port after mongodb+srv://")
    if parts.query and any(o.count("=") != 1 for o in re.split("[&;]", parts.query)):
        raise ValueError(f"{name} must have options as name=value after the question mark")


@dataclass(frozen=True)
class SmtpServer:
    """What an SMTP URL names. Without ``username`` nobody logs in. ``timeout_s`` is of each step.
    ``ca_path`` is a PEM file of the authorities to trust instead of the system's, or ""."""

    scheme: str
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    timeout_s: int
    ca_path: str


def smtp_server(name: str, url: str) -> SmtpServer:
    """Raises ValueError, which begins with ``name`` and shows nothing of the address."""
    parts = _parts_of(name, url, [*SMTP_PORTS], "/?#")
    _check_given(name, parts.hosts, parts.scheme)
    check_host(name, parts.hosts, f"; {_ENCODE}")
    if parts.path.strip("/"):
        raise ValueError(f"{name} must end after the host and port, or with ?option=value")
    options = {"timeout": str(SMTP_TIMEOUT_S), "ca": ""}
    for option in filter(None, parts.query.split("&")):
        key, equals, value = option.partition("=")
        if key not in options or not equals:
            raise ValueError(f"{name} has an unknown option: it can have timeout=10 and ca=/path")
        options[key] = unquote(value)
    seconds = options["timeout"]
    if not re.fullmatch("[0-9]{1,2}", seconds) or not 1 <= int(seconds) <= MAX_SMTP_TIMEOUT_S:
        raise ValueError(f"{name} must have a timeout from 1 to {MAX_SMTP_TIMEOUT_S} seconds")
    if options["ca"] and parts.scheme == "smtp":
        raise ValueError(f"{name} has a ca, which is for smtps:// and smtp+starttls://")
    if options["ca"] and not os.access(options["ca"], os.R_OK):
        raise ValueError(f"{name} has a ca that is no file that this user can read")
    username, _, password = (parts.userinfo or "").partition(":")
    if parts.userinfo is not None and not (username and password):
        raise ValueError(f"{name} must have user:password before the @, or neither")
    if re.search("@|:", username + password) or re.search(
        "%(?![0-9A-Fa-f]{2})", username + password
    ):
        raise ValueError(f"{name} cannot be read: {_ENCODE}")
    host, port = _address(name, parts.hosts, SMTP_PORTS[parts.scheme])
    if username and parts.scheme == "smtp" and host not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError(
            f"{name} would send its password unencrypted: use smtp+starttls:// or smtps://"
        )
    return SmtpServer(
        parts.scheme,
        host,
        port,
        unquote(username),
        unquote(password),
        int(seconds),
        options["ca"],
    )


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


def _check_given(name: str, host: str, scheme: str) -> None:
    if not host or host.startswith(":"):
        raise ValueError(f"{name} has no host where one must be, as in {scheme}://host")


def check_host(name: str, text: str, hint: str = "") -> None:
    """Raises ValueError. The host is not shown: where it was forgotten, this is a user name and a
    password."""
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None or not _is_resolvable(found["host"]):
        raise ValueError(
            f"{name} has a host that cannot be read: it should be host, host:port or [IPv6]:port"
            f"{hint}"
        )
    port = found["port"]
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= MAX_PORT):
        raise ValueError(f"{name} must have a port from 1 to {MAX_PORT} after the host{hint}")


def _is_resolvable(host: str) -> bool:
    """Whether Python would look the name up: the parts between dots must be neither empty nor
    long. In brackets is no name, and with a percent sign it is the path of a socket."""
    if host.startswith("[") or "%" in host:
        return True
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True
