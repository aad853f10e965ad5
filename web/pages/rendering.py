"""What all pages share: security headers, and a page for each problem that has no page of its own.

Imports none of the views: the error handlers need it before they exist.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Flask, Response, render_template, request, url_for

from web.http.problem_words import (
    ALL_KEPT,
    NOT_READ,
    NOTHING_THERE,
    OUR_MISTAKE,
    back_soon,
    too_many_requests,
)
from web.http.problems import Problem

_POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self'",
    "script-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


def policy(**also: str) -> str:
    """A Content-Security-Policy. Nothing inline, nothing from other sites: a script smuggled in by
    a buyer's name does not run. ``also`` has the additional sources of one page, such as
    ``script_src``."""
    more = {name.replace("_", "-"): sources for name, sources in also.items()}
    directives = {name: f"{_POLICY.get(name, '')} {more.get(name, '')}" for name in _POLICY | more}
    return "; ".join(" ".join([name, *sources.split()]) for name, sources in directives.items())


HEADERS = {
    "Content-Security-Policy": policy(),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Each page has a CSRF token, and most have one buyer's data.
    "Cache-Control": "no-store",
}

PUBLIC_ENDPOINTS = ("pages.list_events", "pages.show_event", "pages.show_section")
"""What search engines may list."""

SECRET_ADDRESSES = ("/receipts/", "/holds/")
"""Addresses below these are secret: knowing one gives access to its page."""

RETURN_FROM_BANK = "/return"
"""The end of the address to which Stripe adds the secret of a payment."""

_WAIT = "{wait}"
"""Placeholder for the time to wait, in a page that is rendered before it is known."""


class Step(NamedTuple):
    """Something to do next."""

    label: str
    href: str


class FormError(NamedTuple):
    """A mistake in a form; ``href`` leads to the place to correct it."""

    text: str
    href: str


def page(template: str, status: int = 200, **context: Any) -> Response:
    return secured(Response(render_template(template, **context), status, mimetype="text/html"))


def secured(response: Response) -> Response:
    path = request.path
    if path.startswith(SECRET_ADDRESSES) or path.endswith(RETURN_FROM_BANK):
        # Refusals too: the next request would carry the address to another site, or into a log.
        response.headers.setdefault("Referrer-Policy", "no-referrer")
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint not in PUBLIC_ENDPOINTS:
        response.headers.setdefault("X-Robots-Tag", "noindex")
    return response


def notice(
    status: int,
    title: str,
    *paragraphs: str,
    steps: tuple[Step, ...] = (),
    retry_after_s: int | None = None,
) -> Response:
    """A page that says what happened, whether anything was charged, and what to do next."""
    response = page("notice.html", status, title=title, paragraphs=paragraphs, steps=steps)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def in_seconds(number: int) -> str:
    """``5 seconds``."""
    return "a second" if number == 1 else f"{number} seconds"


def problem_page(problem: Problem, wait: str = "") -> Response:
    """A page for a problem that can occur on any page. ``wait`` is how long to wait, if the problem
    itself does not say so."""
    steps: tuple[Step, ...] = (Step("All events", url_for("pages.list_events")),)
    basket = Step("Your basket", url_for("pages.show_basket"))
    if not wait:
        retry_after_s = problem.retry_after_s
        wait = "a moment" if retry_after_s is None else in_seconds(retry_after_s)
    match problem.code:
        case "not_found" | "event_not_found" | "section_not_found" | "method_not_allowed":
            words = NOTHING_THERE
        case "rate_limited":
            words = too_many_requests(wait)
        case "unavailable":
            again, kept = "load the page again", ALL_KEPT
            if request.method == "POST":
                # Only about what was just sent: an earlier payment may have gone through.
                kept = "What you just sent did nothing, and nothing was charged by it."
                if hold := _hold_of_form():
                    again, steps = "go back to your seats and try again", (hold, basket)
            words = back_soon("A part of the shop cannot be reached.", wait, again, kept)
        case "body_too_large" | "bad_request" | "unsupported_media_type":
            words = NOT_READ
        case _:
            words, steps = OUR_MISTAKE, (basket,)
    response = notice(
        problem.status,
        words.heading,
        *words.paragraphs,
        steps=steps,
        retry_after_s=problem.retry_after_s,
    )
    response.headers.extend(problem.headers)
    return response


def _hold_of_form() -> Step | None:
    """A step back to the hold whose form was sent; None for other forms."""
    arguments = request.view_args or {}
    if not {"event_id", "hold_id"} <= arguments.keys():
        return None
    return Step("Back to your seats", url_for("pages.show_hold", **arguments))


def limit_page(app: Flask) -> Callable[[int], Response]:
    """Returns a function that makes the page for a client over its limit, given the seconds to
    wait. The page is rendered once, because such a request never reaches Flask."""
    with app.test_request_context():
        page = problem_page(Problem(429, "rate_limited", ""), wait=_WAIT)
    # It may be shown at any address.
    page.headers["Referrer-Policy"] = "no-referrer"
    html = page.get_data(as_text=True)

    def limit_response(wait_s: int) -> Response:
        body = html.replace(_WAIT, in_seconds(wait_s))
        response = Response(body, page.status_code, page.headers.items())
        response.headers["Retry-After"] = str(wait_s)
        return response

    return limit_response
