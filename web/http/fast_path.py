"""The fast path: the calls of a burst, answered without what Flask does around a view.

Flask makes a request, two contexts and a response object for each call, and matches its path
against all routes: more work than a hold itself (docs/performance.md). A view that needs nothing of
it is registered here, for Flask like any other, and for the fast path, which is asked before Flask
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
"""One of a path, in ASCII. All else, which is in no name of ours, Flask looks at."""


class FastRequest(NamedTuple):
    """What a view gets in the place of Flask's request."""

    services: Services
    environ: WSGIEnvironment


View = Callable[..., ApiResponse]
"""Takes a FastRequest and what its rule names."""


class FastPath:
    """The views of one blueprint that are on the fast path."""

    def __init__(self, blueprint: Blueprint):
        self._blueprint = blueprint
        self._routes: dict[str, list[tuple[re.Pattern[str], str, View]]] = {}

    def route(self, method: str, rule: str) -> Callable[[View], View]:
        """Registers a view that takes a FastRequest and what the rule names, and returns an
        ApiResponse or raises a Refusal; or NotFound, which has a page that Flask renders."""

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
        """What calls these views, and hands every other request to ``otherwise``."""

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
    """Counts, and makes of refusals and errors, what Flask's hooks and error handlers would."""
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
