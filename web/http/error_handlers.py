"""Every error response, expected or not: problem details for programs, a page for people. The
pages' own refusals are in ``web/pages/refusal_pages.py``."""

import logging
from collections.abc import Callable
from urllib.parse import quote

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.refusals import Refusal
from web.http.problems import Problem
from web.http.responses import wants_page
from web.http.telemetry import record_refusal, record_unexpected
from web.ports.booking_store import IndexMissing

log = logging.getLogger(__name__)

_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
"""Codes of Flask's own errors. Others are named after their status."""

_HELPFUL_FIELDS = ("Accept", "Allow", "Content-Range")
"""Header fields of those errors that say what would be accepted."""


PROBLEM_PAGE = "problem_page"
"""The extension of the application that renders a problem as a page."""


def register_error_handlers(app: Flask, problem_page: Callable[[Problem], Response]) -> None:
    app.extensions[PROBLEM_PAGE] = problem_page
    app.register_error_handler(Refusal, _refuse)
    app.register_error_handler(IndexMissing, _index_missing)
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
    code = _CODES.get(error.code, error.name.lower().replace(" ", "_"))
    headers = {name: value for name, value in error.get_headers() if name in _HELPFUL_FIELDS}
    return page_or_problem(
        Problem(error.code, code, error.description or error.name, headers=headers)
    )


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


def _index_missing(error: IndexMissing) -> Response:
    log.critical("%s", error)
    return page_or_problem(
        Problem(
            503,
            "unavailable",
            "Nothing can be sold now; the operator has been told. Nothing happened.",
            retry_after_s=30,
        )
    )


def _unexpected(error: Exception) -> Response:
    return page_or_problem(record_unexpected(error, request.environ))
