"""Which other websites may call the API from a browser, and the CORS headers that the application
and nginx both send (``http/cross_site.py``, ``ops/nginx/cross_site.conf.j2``, ``cors.conf.j2``)."""

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

from sidecar.server_urls import MAX_PORT

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
FRAMES = ("iframe", "frame", "fencedframe", "object", "embed")
"""Where a page may open inside another one (``Sec-Fetch-Dest``); ours never may."""

METHODS = "GET, HEAD, POST, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Cache-Control"
RESPONSE_HEADERS = (
    "Retry-After, RateLimit, RateLimit-Policy, Idempotent-Replayed, Location, ETag, X-Request-Id"
)
"""Those in docs/api.md that a script can read only when they are exposed."""

PREFLIGHT_MAX_AGE_S = 7200
"""The longest Chromium caches a preflight; the default is 5 s. Firefox would cache it a day."""

MAX_HOST_LENGTH = 253

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"


def parse_origins(text: str) -> tuple[str, ...]:
    """Comma-separated origins, each ``scheme://host[:port]``, as browsers write them in ``Origin``
    (RFC 6454, 6.2). Raises ValueError, with the origin that was probably meant."""
    given = (origin.strip() for origin in text.split(","))
    return tuple(dict.fromkeys(_origin(origin) for origin in given if origin))


def _origin(text: str) -> str:
    try:
        return _checked(text)
    except ValueError as error:
        raise ValueError(f"{text!r} {error}") from None


def _checked(text: str) -> str:
    if "*" in text:
        raise ValueError(
            "has a wildcard, and other people's sites could be among those it stands for; name "
            "each origin, as in https://shop.example.org"
        )
    if re.search(r"[\s;]", text):
        raise ValueError("is more than one origin; put a comma between them")
    if text == "null":
        raise ValueError("is the origin of files and sandboxed frames, anybody's; it cannot call")
    scheme, found, rest = text.partition("://")
    if not found:
        raise ValueError(f"has no scheme{_better(f'https://{text}')}")
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError("must begin with https:// or http://")
    authority = re.split(r"[/?#\\]", rest)[0]
    if "@" in authority:
        raise ValueError("has a user name; give scheme://host[:port]")
    if authority != rest:
        what = "a slash at its end" if rest == f"{authority}/" else "a path or more after the host"
        raise ValueError(f"has {what}{_better(f'{scheme}://{authority}')}")
    host, port = _host_and_port(authority)
    port_as_sent = f":{port}" if port not in (None, _DEFAULT_PORTS[scheme]) else ""
    return f"{scheme}://{host}{port_as_sent}"


def _host_and_port(authority: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", authority)
    if not found or not found[1]:
        raise ValueError("has no host; give scheme://host[:port]")
    port = None
    if found[2] is not None:
        if not (re.fullmatch("[0-9]{1,5}", found[2]) and 1 <= int(found[2]) <= MAX_PORT):
            raise ValueError(f"must have a port from 1 to {MAX_PORT} after the colon")
        port = int(found[2])
    return _host(found[1].lower()), port


def _host(host: str) -> str:
    if host.startswith("["):
        with suppress(ValueError):
            # Browsers write the short form.
            if (address := IPv6Address(host[1:-1])).scope_id is None:
                return f"[{address}]"
        raise ValueError(f"has {host}, which is no IPv6 address")
    if not host.isascii():
        raise ValueError(
            "has a host that is not in ASCII; give it as browsers send it, as in "
            "https://xn--bcher-kva.example"
        )
    if re.fullmatch(r"[0-9.]+", host):
        with suppress(ValueError):
            return str(IPv4Address(host))
        raise ValueError(f"has {host}, which is no IPv4 address")
    if len(host) > MAX_HOST_LENGTH or not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", host):
        raise ValueError(
            f"has {host!r}, which is no host: labels of 1 to 63 letters, digits and hyphens"
        )
    return host


def _better(origin: str) -> str:
    """The corrected origin, if there is a valid one."""
    with suppress(ValueError):
        return f"; give {_checked(origin)}"
    return "; give scheme://host[:port]"
