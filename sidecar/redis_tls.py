"""Whose certificates a Redis may show, for addresses that begin with ``rediss://``."""

import logging
import ssl
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from msgspec import Meta

from sidecar.env_file import PROJECT

UNVERIFIED = "unverified"

RedisTlsCa = Annotated[
    str,
    Meta(
        description="who signs the certificates of `rediss://`: a PEM file; empty: the system's "
        f"authorities; `{UNVERIFIED}`: anybody, as for Heroku's Redis"
    ),
]

logger = logging.getLogger("sidecar.redis_tls")


def check_tls_ca(name: str, ca: str) -> None:
    """Raises ValueError, which begins with ``name``, for a file without certificates."""
    if ca in ("", UNVERIFIED):
        return
    if "-----BEGIN" in ca:
        raise ValueError(f"{name} must be the path of a PEM file, not what is in it")
    path = _path_of(ca)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError(
            f"{name}: {path!r} has no certificate in PEM format (-----BEGIN CERTIFICATE-----)"
        ) from None
    except FileNotFoundError:
        raise ValueError(
            f"{name}: there is no file {path!r}; it must be the path of a PEM file, or {UNVERIFIED}"
        ) from None
    except OSError as error:
        raise ValueError(f"{name}: {path!r} cannot be read: {error.strerror}") from None


def tls_options(name: str, url: str, ca: str) -> dict[str, str]:
    """redis-py's keyword arguments for ``url``, an address as redis-py reads it, of the setting
    ``name``. Options in ``url`` itself take precedence. Logs a warning when nothing will be
    verified."""
    if not ca or not url.startswith("rediss://"):
        return {}
    own = {option for option, _ in parse_qsl(urlsplit(url).query)}
    if own & {"ssl_ca_certs", "ssl_ca_path", "ssl_ca_data"}:
        return {}
    if ca != UNVERIFIED:
        return {"ssl_ca_certs": _path_of(ca)}
    if "ssl_cert_reqs" in own:
        return {}
    logger.warning(
        "REDIS_TLS_CA=%s: the certificate of %s is not verified, so anybody on the way to it can "
        "read and change what is sent",
        UNVERIFIED,
        name,
    )
    return {"ssl_cert_reqs": "none"}


def _path_of(ca: str) -> str:
    return str(PROJECT / ca)
