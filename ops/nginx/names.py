"""Check the host names and addresses that go into nginx's configuration.

nginx itself accepts almost anything as a name, which then never matches, and reports a bad address
only as a host that was not found.
"""

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

MAX_NAME_LENGTH = 253
"""RFC 1035, without the final dot."""

UNIX = "unix:"

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""The host of an upstream: more than names on the Internet allow, because a container's may have
"_"."""

_SOCKET_PATH = re.compile(r"/[A-Za-z0-9._/-]+")


def server_name(text: str, *, tls: bool = False) -> str:
    """The name as nginx's ``server_name`` takes it, in lower case: a host name, ``*.example.org``
    for all names below that one, ``.example.org`` for it and them, or, without ``tls``, an IP
    address. Raises ValueError, with the name that was probably meant."""
    if not text:
        raise ValueError("the server name is empty; give the host name that buyers type")
    try:
        name = _server_name(text.lower())
        if tls and _is_address(name):
            raise ValueError(
                "is an IP address, which no browser names when it opens a TLS connection (RFC 6066,"
                " 3), so nobody would be served; give a host name"
            )
        return name
    except ValueError as error:
        raise ValueError(f"the server name {text!r} {error}") from None


def _server_name(name: str) -> str:  # noqa: C901 - checks one after the other
    if "://" in name or "/" in name:
        raise ValueError(f"is a URL{_better(_host_of(name))}")
    if name != name.strip():
        raise ValueError(f"has a space before or after it{_better(name.strip())}")
    if name.startswith("~"):
        raise ValueError("is a regular expression; give the names, or .example.org for all below")
    if wrong := re.search(r"[^\w.:*\[\]\s,-]", name):
        raise ValueError(f"has {wrong[0]!r}, which no host name has")
    if re.search(r"[\s,]", name):
        raise ValueError(
            "is more than one name; give each as an argument of its own, or .example.org for all "
            "below"
        )
    if _is_address(name):
        return name
    if _is_ip_address(name):
        raise ValueError(f"is an IPv6 address, which has brackets in a URL; give [{name}]")
    if ":" in name:
        raise ValueError(f"has a port, which is no part of a name{_better(_host_of(name))}")
    if name.endswith("."):
        raise ValueError(f"ends with a dot{_better(name.rstrip('.'))}")
    if not name.isascii():
        raise ValueError(f"is not in ASCII, as browsers send it{_better(_punycode(name))}")
    host = re.sub(r"\A(\*\.|\.)", "", name)
    if "*" in host:
        raise ValueError("has an asterisk that is not the whole first label, as in *.example.org")
    if "_" in host:
        better = _better(name.replace("_", "-"))
        raise ValueError(f"has an underscore, which no host name has (RFC 1123){better}")
    if len(host) > MAX_NAME_LENGTH:
        raise ValueError(f"has more than {MAX_NAME_LENGTH} characters")
    for label in host.split("."):
        if not _LABEL.fullmatch(label):
            raise ValueError(
                f"has the label {label!r}; a label has 1 to 63 letters, digits and hyphens,"
                " and no hyphen at its ends"
            )
    if re.fullmatch(r"[\d.]+", host):
        raise ValueError("is neither a host name nor an IP address")
    return name


def upstream(text: str) -> str:
    """``HOST:PORT`` or ``unix:PATH``, as nginx takes it. Raises ValueError."""
    if text.startswith(UNIX):
        if not _SOCKET_PATH.fullmatch(text.removeprefix(UNIX)):
            raise ValueError(f"the upstream {text!r} has no full path, as in unix:/run/web.socket")
        return text
    try:
        return _host_and_port(text, "127.0.0.1:8000")
    except ValueError as error:
        raise ValueError(f"the upstream {text!r} {error}") from None


def listen(text: str) -> str:
    """``PORT`` or ``HOST:PORT``, as nginx takes it. Raises ValueError."""
    try:
        return text if _is_port(text) else _host_and_port(text, "127.0.0.1:8080")
    except ValueError as error:
        raise ValueError(f"the address to listen on, {text!r}, {error}") from None


def _host_and_port(text: str, example: str) -> str:
    host, _, port = text.rpartition(":")
    if _is_port(port) and (_is_address(host) or _HOST.fullmatch(host)):
        return text
    if "://" in text:
        raise ValueError(f"is a URL; give its HOST:PORT alone, as in {example}")
    if _is_ip_address(text) or (not port.isdigit() and _HOST.fullmatch(text)):
        raise ValueError(f"has no port; give HOST:PORT, as in {example}")
    raise ValueError(
        f"is no name or address with a port from 1 to 65535; give HOST:PORT, as in {example}"
        " or [::1]:8000"
    )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535


def _is_address(text: str) -> bool:
    """An IP address as it is in a URL: IPv6 in brackets."""
    with suppress(ValueError):
        if text.startswith("[") and text.endswith("]"):
            return IPv6Address(text[1:-1]).scope_id is None
        return bool(IPv4Address(text))
    return False


def _is_ip_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text))
    return False


def _host_of(address: str) -> str:
    with suppress(ValueError):
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    return ""


def _punycode(name: str) -> str:
    with suppress(UnicodeError):
        return name.encode("idna").decode()
    return ""


def _better(name: str) -> str:
    """A suggestion for the message, if ``name`` is valid; else empty."""
    with suppress(ValueError):
        return f"; give {_server_name(name)}" if name else ""
    return ""
