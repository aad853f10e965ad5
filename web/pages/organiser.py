"""The organiser's view of a sale, behind a token. Without ORGANISER_TOKEN it does not exist."""

import hashlib
import hmac
import logging
import secrets
import time

from flask import Response, flash, redirect, session, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.events import SeatState
from web.pages.blueprint import pages
from web.pages.chart import chart_of
from web.pages.forms import LoginForm
from web.pages.rendering import page
from web.services import services
from web.use_cases.sale_report import report_sale

FIELD = "organiser"

log = logging.getLogger(__name__)

LOGIN_S = 12 * 60 * 60
"""A day of sales. docs/security.md mentions it."""


@pages.get("/organiser")
def show_organiser() -> Response:
    _require_pages()
    if not _is_logged_in():
        return page("organiser_login.html", form=LoginForm())
    events = services().box_office.events()
    return page("organiser.html", events=events, login_ms=LOGIN_S * 1000)


@pages.post("/organiser/login")
def log_in() -> Response | WerkzeugResponse:
    _require_pages()
    form = LoginForm()
    token = services().settings.organiser_token
    given = form.token.data or ""
    if not form.validate() or not hmac.compare_digest(given.encode(), token.encode()):
        log.warning("organiser: a wrong token was refused")
        return page("organiser_login.html", 403, form=form, wrong=True)
    _end_login()
    login_id = secrets.token_urlsafe(16)
    services().logins.begin(login_id, _proof(), LOGIN_S)
    session[FIELD] = [int(time.time()) + LOGIN_S, login_id]
    log.info("organiser: logged in")
    return redirect(url_for("pages.show_organiser"), 303)


@pages.post("/organiser/logout")
def log_out() -> WerkzeugResponse:
    _end_login()
    flash("You are logged out.")
    return redirect(url_for("pages.show_organiser"), 303)


@pages.get("/organiser/events/<event_id>")
def show_sale(event_id: str) -> Response | WerkzeugResponse:
    _require_pages()
    if not _is_logged_in():
        return redirect(url_for("pages.show_organiser"), 303)
    parts = services()
    report = report_sale(parts.catalogue, parts.seats, parts.bookings, event_id)
    event = report.event
    return page(
        "organiser_sale.html",
        report=report,
        event=event,
        states=SeatState,
        size=len(event.seats),
        chart=chart_of(report.minutes),
    )


def _require_pages() -> None:
    if not services().settings.organiser_token:
        raise NotFound


def _is_logged_in() -> bool:
    """The cookie has its own expiry, in case Redis was restored from a backup."""
    until_s, login_id, *_ = session.get(FIELD, (0, ""))
    if until_s <= time.time():
        return False
    return hmac.compare_digest(services().logins.proof_of(login_id) or "", _proof())


def _end_login() -> None:
    """Ends this browser's login, and so that of every copy of its cookie. When Redis cannot be
    reached the cookie stays: it is needed to log out later."""
    _, login_id, *_ = session.get(FIELD, (0, ""))
    if login_id:
        services().logins.end(login_id)
    session.pop(FIELD, None)


def _proof() -> str:
    """Ties a login to the current token. Keyed, so that the token cannot be brute-forced from what
    is in Redis."""
    settings = services().settings
    text = f"organiser\n{settings.organiser_token}".encode()
    return hmac.digest(settings.secret_key.encode(), text, hashlib.sha256).hex()
