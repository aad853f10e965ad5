"""Every error response, expected or not: problem details for programs, a page for people. The
pages' own refusals are in ``web/pages/refusal_pages.py``."""

import logging
from collections.abc import Callable
from urllib.parse import quote

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.refusals import Refusal
from web.http.problems import Problem, problem_of_http_error
from web.http.responses import wants_page
from web.http.telemetry import record_error, record_refusal

log = logging.getLogger(__name__)

PROBLEM_PAGE = "problem_page"
"""The extension of the application that renders a problem as a page."""


def register_error_handlers(app: Flask, problem_page: Callable[[Problem], Response]) -> None:
    app.extensions[PROBLEM_PAGE] = problem_page
    app.register_error_handler(Refusal, _refuse)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _refuse(refusal: Refusal) -> Response:
    return record_refusal(refusal).flask_response()


def page_or_problem(problem: Problem) -> Response:
    """In the form that the client can read. Never raises: a page needs a session, templates and
    the addresses of other pages, but a problem needs nothing from the request."""
    if request.blueprint == "pages" or wants_page(request.environ):
        try:
            page: Response = current_app.extensions[PROBLEM_PAGE](problem)
            return page
        except Exception as error:  # noqa: BLE001 - the problem itself can still be sent
            log.error("no page could be made of %s: %r", problem.code, error)
    return problem.flask_response()


def _http_error(error: HTTPException) -> Response | WerkzeugResponse:
    # Flask's redirects are HTTPExceptions too.
    if error.code is None or error.code < 400:
        return error.get_response()
    if error is request.routing_exception and (address := _without_slash()):
        # Not Flask's own redirect, which leads to whatever the Host header says.
        return Response(status=308, headers={"Location": address, "Cache-Control": "no-store"})
    return page_or_problem(problem_of_http_error(error))


def _without_slash() -> str:
    """The requested address without its trailing slashes; "" when there is no such page. It always
    begins with a path of ours: "//evil.example" has no route."""
    path = request.path.rstrip("/")
    routes = current_app.create_url_adapter(request)
    if routes is None or not request.path.endswith("/") or not path:
        return ""
    try:
        routes.match(path, method=request.method)
    except MethodNotAllowed:
        pass  # the redirect's target says so
    except HTTPException:
        return ""
    query = request.query_string.decode("latin-1")
    return quote(path) + (f"?{query}" if query else "")


def _unexpected(error: Exception) -> Response:
    return page_or_problem(record_error(error, request.environ))
