"""Who may request ``/metrics`` and ``/readyz``.

What they reveal is not for buyers, and each response has a cost. nginx hides them from everybody
outside, but there may be no nginx: a Procfile is enough to deploy.
"""

from collections.abc import Mapping
from typing import Any

from flask import Response, abort, current_app

from sidecar.client_address import Address
from sidecar.networks import Network
from web.http.bearer import has_token
from web.http.problems import Problem

PATHS = frozenset({"/metrics", "/readyz"})

IS_ADMITTED = "tickets.is_monitoring"
"""The key in a request's environ that marks an allowed client; absent for all others."""


MONITORING = "monitoring"
"""The extension of the application that holds its Monitoring."""


class Monitoring:
    """Admits ``networks``, this host, and clients with ``token``; an empty token matches nobody."""

    def __init__(self, networks: tuple[Network, ...], token: str):
        self._networks = networks
        self._token = token

    def admits(self, client: Address | None, environ: Mapping[str, Any]) -> bool:
        """``client`` is the result of ``client_address``; None means a client on this host that
        came through the Unix socket."""
        if client is None or client.is_loopback:
            return True
        if any(client in network for network in self._networks):
            return True
        return has_token(environ, self._token)

    def refuse(self, environ: Mapping[str, Any]) -> Response:
        """404 without a token, as if the page did not exist, like nginx. 401 with a wrong one: an
        operator who mistyped it should not search for the mistake in an address. Raises NotFound
        in the first case."""
        if not self._token or "HTTP_AUTHORIZATION" not in environ:
            abort(404)
        return Problem(
            401,
            "invalid_token",
            "This is not the MONITORING_TOKEN. Send `Authorization: Bearer` and the token.",
            headers={"WWW-Authenticate": 'Bearer realm="monitoring", error="invalid_token"'},
        ).flask_response()


def monitoring() -> Monitoring:
    """The Monitoring of the current application."""
    of_application: Monitoring = current_app.extensions[MONITORING]
    return of_application
