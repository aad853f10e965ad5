"""The fast path: serves the API without Flask's work around a view.

Flask makes a request, two contexts and a response object for each call, and matches its path
against all routes: more work than a hold itself (docs/performance.md). A view that needs none of
that is registered here: with Flask like any other, and with the fast path, which runs before Flask
and calls the same view. Flask does what is rare: HEAD, OPTIONS, other methods, other spellings of a
path.
"""

import re
import time
from collections.abc import Callable, Iterable
from functools import wraps
from typing import NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import NotFound

from web.domain.refusals import Refusal
from web.http.responses import ApiResponse
from web.http.spelling import is_plain
from web.http.telemetry import record_error, record_refusal
from web.metrics import count_response
from web.services import Services, services

_SEGMENT = r"(?P<\1>[!-.0-~]+)"
"""A segment of a path, in printable ASCII. Our names have no other characters; paths that do are
left to Flask."""

_MATCH = "tickets.fast_path"
"""The key in a request's environ for its Match."""


class FastRequest(NamedTuple):
    """What a view gets instead of Flask's request."""

    services: Services
    environ: WSGIEnvironment


View = Callable[..., ApiResponse]
"""Takes a FastRequest and the variables of its rule."""


Guard = Callable[[FastRequest], ApiResponse | None]
"""Is called before the views of a blueprint; what it returns is sent in place of a view's."""


class Match(NamedTuple):
    """The view of a request, and the variables of its path."""

    endpoint: str
    view: View
    arguments: dict[str, str]


class FastPath:
    """The views of one blueprint that are on the fast path."""

    def __init__(self, blueprint: Blueprint, guard: Guard | None = None):
        self._blueprint = blueprint
        self._guard = guard
        if guard is not None:
            blueprint.before_request(_guard_of_flask(guard))
        self.routes: dict[str, list[tuple[re.Pattern[str], str, View]]] = {}
        """By method: the pattern of the path, the endpoint and the view."""

    def route(self, method: str, rule: str) -> Callable[[View], View]:
        """Registers a view that takes a FastRequest and the variables of the rule, and returns an
        ApiResponse or raises a Refusal or an HTTPException; for NotFound Flask renders a page."""

        def register(view: View) -> View:
            name = view.__name__
            self._blueprint.add_url_rule(rule, name, _view_of_flask(view), methods=[method])
            path = re.sub(r"<(\w+)>", _SEGMENT, (self._blueprint.url_prefix or "") + rule)
            route = re.compile(path), f"{self._blueprint.name}.{name}", self._guarded(view)
            self.routes.setdefault(method, []).append(route)
            return view

        return register

    def _guarded(self, view: View) -> View:
        guard = self._guard
        if guard is None:
            return view

        def guarded(fast_request: FastRequest, **arguments: str) -> ApiResponse:
            return guard(fast_request) or view(fast_request, **arguments)

        return guarded


def _view_of_flask(view: View) -> Callable[..., Response]:
    @wraps(view)  # Flask-Limiter has the limits of a view under its name.
    def view_of_flask(**arguments: str) -> Response:
        return view(FastRequest(services(), request.environ), **arguments).flask_response()

    return view_of_flask


def _guard_of_flask(guard: Guard) -> Callable[[], Response | None]:
    def guard_of_flask() -> Response | None:
        response = guard(FastRequest(services(), request.environ))
        return response and response.flask_response()

    return guard_of_flask


class FastRoutes:
    """The fast path of an application: a request is matched first, then its limits are asked about,
    and then it is served."""

    def __init__(self, app: Flask, fast_paths: Iterable[FastPath]):
        """They are tried in this order."""
        self._app = app
        self._routes: dict[str, list[tuple[re.Pattern[str], str, View]]] = {}
        for fast_path in fast_paths:
            for method, routes in fast_path.routes.items():
                self._routes.setdefault(method, []).extend(routes)

    def match(self, environ: WSGIEnvironment) -> Match | None:
        """None if Flask is to serve the request."""
        path = environ["PATH_INFO"]
        for pattern, endpoint, view in self._routes.get(environ["REQUEST_METHOD"], ()):
            if found := pattern.fullmatch(path):
                if not is_plain(environ):
                    return None
                match = environ[_MATCH] = Match(endpoint, view, found.groupdict())
                return match
        return None

    def before(self, otherwise: WSGIApplication) -> WSGIApplication:
        """A WSGI application that serves the requests that ``match`` has found, and passes every
        other to ``otherwise``."""

        def fast_path(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            match: Match | None = environ.get(_MATCH)
            if match is not None:
                fast_request = FastRequest(self._app.extensions["services"], environ)
                try:
                    return _timed(match, fast_request).send(start_response)
                except NotFound:
                    pass  # Flask's turn
            return otherwise(environ, start_response)

        return fast_path


def _timed(match: Match, fast_request: FastRequest) -> ApiResponse:
    """Does the work of Flask's hooks and error handlers: counts the response, and turns refusals
    and errors into responses."""
    began_s = time.perf_counter()
    try:
        response = match.view(fast_request, **match.arguments)
    except Refusal as refusal:
        response = record_refusal(refusal).api_response()
    except NotFound:
        raise
    except Exception as error:  # noqa: BLE001 - record_error() logs it
        response = record_error(error, fast_request.environ).api_response()
    count_response(match.endpoint, response.status, time.perf_counter() - began_s)
    return response
