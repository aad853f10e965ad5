"""Every no that leaves the application, expected or not: problem details for programs, a page for
people. The pages' own refusals are in ``web/pages/refusal_pages.py``."""

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from web.answers import wants_page
from web.domain import Refusal
from web.pages.rendering import problem_page
from web.ports import IndexMissing
from web.problems import Problem
from web.refusals import bug, counted

log = logging.getLogger(__name__)

_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
"""Codes of the refusals that Flask makes by itself."""


def register_error_handlers(app: Flask) -> None:
    app.register_error_handler(Refusal, _refuse)
    app.register_error_handler(IndexMissing, _index_missing)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)


def _refuse(refusal: Refusal) -> Response:
    return counted(refusal).response()


def page_or_problem(problem: Problem) -> Response:
    """As whoever asks can read it."""
    if request.blueprint == "pages" or wants_page(request.environ):
        return problem_page(problem)
    return problem.response()


def _http_error(error: HTTPException) -> Response:
    # Flask's redirects are HTTPExceptions too.
    if error.code is None or error.code < 400:
        return error.get_response()
    code = _CODES.get(error.code, error.name.lower().replace(" ", "_"))
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return page_or_problem(
        Problem(error.code, code, error.description or error.name, headers=headers)
    )


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


def _bug(error: Exception) -> Response:
    return page_or_problem(bug(error, request.environ))
