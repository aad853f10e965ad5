"""Who may look at the service from the inside: ``/metrics`` and ``/readyz``.

What they tell is no buyer's business, and each response has a cost. nginx keeps them from everybody
outside, but it need not be there: a Procfile is enough to deploy.
"""

import hmac
from collections.abc import Mapping
from typing import Any

from flask import Response, abort, current_app

from sidecar.client_address import Address
from sidecar.networks import Network
from web.http.problems import Problem

PATHS = frozenset({"/metrics", "/readyz"})

IS_ADMITTED = "tickets.is_monitoring"
"""Where a request's environment says that it comes from one who may; absent for all others."""


MONITORING = "monitoring"
"""Among the application's extensions."""


class Monitoring:
    """``networks`` may ask, this host, and whoever shows ``token``; nobody has an empty one."""

    def __init__(self, networks: tuple[Network, ...], token: str):
        self._networks = networks
        self._token = token.encode("ascii")

    def admits(self, client: Address | None, environ: Mapping[str, Any]) -> bool:
        """``client`` is who asks, as ``client_address`` finds it; None is somebody on this host who
        came through the Unix socket."""
        if client is None or client.is_loopback:
            return True
        if any(client in network for network in self._networks):
            return True
        return self._has_token(environ.get("HTTP_AUTHORIZATION", ""))

    def _has_token(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        if not self._token or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip(" ").encode("latin-1", "replace"), self._token)

    def refuse(self, environ: Mapping[str, Any]) -> Response:
        """404 to whoever shows no token, as if there were nothing, and as nginx has it. 401 to
        whoever shows a wrong one, for an operator who mistyped it should not look for the mistake
        in an address. Raises NotFound for the former."""
        if not self._token or "HTTP_AUTHORIZATION" not in environ:
            abort(404)
        return Problem(
            401,
            "invalid_token",
            "This is not the MONITORING_TOKEN. Send `Authorization: Bearer` and the token.",
            headers={"WWW-Authenticate": 'Bearer realm="monitoring", error="invalid_token"'},
        ).flask_response()


def monitoring() -> Monitoring:
    """That of the application that is at work."""
    of_application: Monitoring = current_app.extensions[MONITORING]
    return of_application
