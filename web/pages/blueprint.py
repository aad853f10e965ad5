"""The blueprint of all pages, and helpers that they share."""

from flask import Blueprint, request, session

from web.http.responses import CLIENT
from web.pages.rendering import secured

pages = Blueprint("pages", __name__)
pages.after_request(secured)


def client() -> str:
    client: str = request.environ[CLIENT]
    return client


def browser() -> str:
    """This browser's secret, from which its CSRF tokens are made."""
    secret: str = session["csrf_token"]
    return secret


def is_for_script() -> bool:
    """The map submits the same form but accepts JSON: following a redirect to find the address of
    the hold would load that page twice."""
    return request.accept_mimetypes.best == "application/json"
