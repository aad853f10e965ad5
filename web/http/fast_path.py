"""The calls of a burst, answered without what Flask does around a view.

Flask makes a request, two contexts and a response object for each call, and matches its path
against all routes: more work than a hold itself (docs/performance.md). A view that needs nothing of
it is registered here: for Flask like any other, and for a shortcut that is asked before Flask and
calls the same view.
"""

import re
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import NotFound

from web.domain.refusals import Refusal
from web.http.refusal_records import record_refusal, record_unexpected
from web.http.responses import ApiResponse
from web.metrics import count_answer
from web.services import Services, services

_SEGMENT = r"(?P<\1>[!-.0-~]+)"
"""One of a path, in ASCII. All else, which is in no name of ours, Flask looks at."""


class Call(NamedTuple):
    """``environ`` is the request."""

    services: Services
    environ: WSGIEnvironment


View = Callable[..., ApiResponse]
"""Takes a Call and what its rule names."""


class HotCalls:
    """The hot calls of one blueprint."""

    def __init__(self, blueprint: Blueprint):
        self._blueprint = blueprint
        self._routes: dict[str, list[tuple[re.Pattern[str], str, View]]] = {}

    def route(self, method: str, rule: str) -> Callable[[View], View]:
        """Registers a view that takes a Call and what the rule names, and returns an Answer or
        raises a Refusal; or NotFound, which has a page that Flask renders."""

        def register(view: View) -> View:
            def through_flask(**arguments: str) -> Response:
                call = Call(services(), request.environ)
                return view(call, **arguments).response()

            name = view.__name__
            self._blueprint.add_url_rule(rule, name, through_flask, methods=[method])
            path = (self._blueprint.url_prefix or "") + re.sub(r"<(\w+)>", _SEGMENT, rule)
            route = re.compile(path), f"{self._blueprint.name}.{name}", view
            self._routes.setdefault(method, []).append(route)
            return view

        return register

    def shortcut(self, app: Flask, otherwise: WSGIApplication) -> WSGIApplication:
        """What answers them, and hands everything else to ``otherwise``."""

        def shortcut(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            for pattern, endpoint, view in self._routes.get(environ["REQUEST_METHOD"], ()):
                if found := pattern.fullmatch(path):
                    call = Call(app.extensions["services"], environ)
                    try:
                        answer = _timed(view, endpoint, call, found.groupdict())
                    except NotFound:
                        break
                    return answer.send(start_response)
            return otherwise(environ, start_response)

        return shortcut


def _timed(view: View, endpoint: str, call: Call, arguments: dict[str, str]) -> ApiResponse:
    """Says and counts what Flask's error handlers and hooks would."""
    began_s = time.perf_counter()
    try:
        answer = view(call, **arguments)
    except Refusal as refusal:
        answer = record_refusal(refusal).answer()
    except NotFound:
        raise
    except Exception as error:  # noqa: BLE001 - bug() logs it
        answer = record_unexpected(error, call.environ).answer()
    count_answer(endpoint, answer.status, time.perf_counter() - began_s)
    return answer
