"""The organiser's view of a sale, behind a token. Without ORGANISER_TOKEN it does not exist."""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec

from flask import Response, flash, redirect, request, session, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.events import Availability, SeatState, closing_line, name_of_id
from web.domain.refusals import Unavailable
from web.domain.sales import booking_id_of
from web.pages.blueprint import pages
from web.pages.chart import chart_of
from web.pages.forms import LoginForm, SaleForm
from web.pages.rendering import FormError, page
from web.services import services
from web.use_cases.sale_report import report_sale

FIELD = "organiser"

WORDS_OF_CHANGES = {
    "opened": "opened, or changed by its file",
    "held": "on hold",
    "released": "given back",
    "expired": "not paid in time",
    "paying": "being paid",
    "unpaid": "not paid, still on hold",
    "sold": "sold",
    "refunded": "refunded, on sale again",
}
"""By the journal's own."""

P = ParamSpec("P")

log = logging.getLogger(__name__)

LOGIN_S = 12 * 60 * 60
"""A day of sales. docs/security.md mentions it."""


@pages.get("/organiser")
def show_organiser() -> Response:
    _require_pages()
    if not _is_logged_in():
        return page("organiser_login.html", form=LoginForm())
    parts = services()
    events, others = parts.box_office.events(), set[str]()
    with suppress(Unavailable):
        others = {*parts.bookings.event_ids()} - {event.id for event in events}
    names = {event_id: name_of_id(event_id) for event_id in sorted(others)}
    return page("organiser.html", events=events, others=names, login_ms=LOGIN_S * 1000)


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
    write_audit_line("logged in")
    return redirect(url_for("pages.show_organiser"), 303)


@pages.post("/organiser/logout")
def log_out() -> WerkzeugResponse:
    _end_login()
    flash("You are logged out.")
    return redirect(url_for("pages.show_organiser"), 303)


def for_organiser(
    view: Callable[P, Response | WerkzeugResponse],
) -> Callable[P, Response | WerkzeugResponse]:
    """Shows everybody else the form to log in."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Response | WerkzeugResponse:
        _require_pages()
        if _is_logged_in():
            return view(*args, **kwargs)
        flash("Please log in first." + (" Nothing was done." if request.method == "POST" else ""))
        return redirect(url_for("pages.show_organiser"), 303)

    return guarded


def write_audit_line(what: str) -> None:
    """Records which login did what with buyers' data, and never the data. Its tag is in all lines
    of one login; nginx's access log has the address of the request."""
    _, login_id, *_ = session[FIELD]
    tag = hashlib.sha256(login_id.encode()).hexdigest()[:8]
    request_id = request.headers.get("X-Request-Id", "without an id")
    log.info("organiser %s: %s, request %s", tag, what, request_id)


@pages.get("/organiser/events/<event_id>")
@for_organiser
def show_sale(event_id: str) -> Response | WerkzeugResponse:
    return _sale_page(event_id)


@pages.get("/organiser/events/<event_id>/sale")
def leave_sale_address(event_id: str) -> WerkzeugResponse:
    """A form's address, which may be opened again after its response."""
    return redirect(url_for("pages.show_sale", event_id=event_id), 303)


@pages.post("/organiser/events/<event_id>/sale")
@for_organiser
def change_sale(event_id: str) -> Response | WerkzeugResponse:
    """Closes a sale at once, or opens it again; not one that is over by its file."""
    parts = services()
    form = SaleForm(parts.catalogue.current_event(event_id))
    if not form.validate():
        return _sale_page(event_id, form)
    if request.form.get("action") == "open":
        parts.seats.reopen_sale(event_id)
        write_audit_line(f"opened the sale of {event_id} again")
        flash("The sale is as its file says again.")
    else:
        parts.seats.close_sale(event_id)
        write_audit_line(f"closed the sale of {event_id}")
        flash("The sale is closed. Seats that are on hold may still be paid for.")
    return redirect(url_for("pages.show_sale", event_id=event_id), 303)


def _sale_page(event_id: str, rejected: SaleForm | None = None) -> Response:
    parts = services()
    report = report_sale(parts.catalogue, parts.seats, parts.bookings, event_id)
    event = report.event
    now = parts.seats.now(event_id)
    closed_at = parts.seats.closed_sales([event_id]).get(event_id)
    return page(
        "organiser_sale.html",
        400 if rejected else 200,
        form=rejected or SaleForm(event),
        mistakes=[FormError(e, "#confirm") for e in rejected.confirm.errors] if rejected else (),
        sale_state=event.sale_state(
            Availability.of(report.seat_map), now, is_closed=bool(closed_at)
        ),
        is_over=event.sale_is_over(now),
        closed_at=closed_at,
        file_line=closing_line(event, closed_at) if closed_at else "",
        report=report,
        event=event,
        states=SeatState,
        size=len(event.seats),
        chart=chart_of(report.minutes),
        words_of_changes=WORDS_OF_CHANGES,
        booking_id_of=booking_id_of,
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
