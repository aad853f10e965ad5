"""The fast path: serves the calls of a burst without Flask's work around a view.

Flask makes a request, two contexts and a response object for each call, and matches its path
against all routes: more work than a hold itself (docs/performance.md). A view that needs none of
that is registered here: with Flask like any other, and with the fast path, which runs before Flask
and calls the same view.
"""

import re
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import NotFound

from web.domain.refusals import Refusal
from web.http.responses import ApiResponse
from web.http.telemetry import record_refusal, record_unexpected
from web.metrics import count_response
from web.services import Services, services

_SEGMENT = r"(?P<\1>[!-.0-~]+)"
"""A segment of a path, in printable ASCII. Our names have no other characters; paths that do are
left to Flask."""


class FastRequest(NamedTuple):
    """What a view gets instead of Flask's request."""

    services: Services
    environ: WSGIEnvironment


View = Callable[..., ApiResponse]
"""Takes a FastRequest and the variables of its rule."""


class FastPath:
    """The views of one blueprint that are on the fast path."""

    def __init__(self, blueprint: Blueprint):
        self._blueprint = blueprint
        self._routes: dict[str, list[tuple[re.Pattern[str], str, View]]] = {}

    def route(self, method: str, rule: str) -> Callable[[View], View]:
        """Registers a view that takes a FastRequest and the variables of the rule, and returns an
        ApiResponse or raises a Refusal; or NotFound, for which Flask renders a page."""

        def register(view: View) -> View:
            def through_flask(**arguments: str) -> Response:
                fast_request = FastRequest(services(), request.environ)
                return view(fast_request, **arguments).flask_response()

            name = view.__name__
            self._blueprint.add_url_rule(rule, name, through_flask, methods=[method])
            path = (self._blueprint.url_prefix or "") + re.sub(r"<(\w+)>", _SEGMENT, rule)
            route = re.compile(path), f"{self._blueprint.name}.{name}", view
            self._routes.setdefault(method, []).append(route)
            return view

        return register

    def before(self, app: Flask, otherwise: WSGIApplication) -> WSGIApplication:
        """A WSGI application that calls these views and passes every other request to
        ``otherwise``."""

        def fast_path(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            for pattern, endpoint, view in self._routes.get(environ["REQUEST_METHOD"], ()):
                if found := pattern.fullmatch(path):
                    fast_request = FastRequest(app.extensions["services"], environ)
                    try:
                        response = _timed(view, endpoint, fast_request, found.groupdict())
                    except NotFound:
                        break
                    return response.send(start_response)
            return otherwise(environ, start_response)

        return fast_path


def _timed(
    view: View, endpoint: str, fast_request: FastRequest, arguments: dict[str, str]
) -> ApiResponse:
    """Does the work of Flask's hooks and error handlers: counts the response, and turns refusals
    and errors into responses."""
    began_s = time.perf_counter()
    try:
        response = view(fast_request, **arguments)
    except Refusal as refusal:
        response = record_refusal(refusal).api_response()
    except NotFound:
        raise
    except Exception as error:  # noqa: BLE001 - record_unexpected() logs it
        response = record_unexpected(error, fast_request.environ).api_response()
    count_response(endpoint, response.status, time.perf_counter() - began_s)
    return response
