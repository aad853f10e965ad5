"""A hold on another device: an address that carries it there. Anyone who has the address can pay
for the seats or release them, so it is as hard to guess as a receipt's, and it expires with the
hold."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, redirect, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.refusals import HoldExpired
from web.domain.sales import Hold, HoldStatus
from web.pages import basket
from web.pages.blueprint import pages
from web.pages.qr_codes import qr_code
from web.pages.rendering import Step, notice, page
from web.services import services
from web.signing.ticket_codes import BadCode


class LinkEnded(Exception):
    """The hold of this link can no longer be paid."""


class LinkBusy(Exception):
    """The hold of this link is being paid."""


@pages.get("/events/<event_id>/holds/<hold_id>/elsewhere")
def show_hold_link(event_id: str, hold_id: str) -> Response | WerkzeugResponse:
    """A page of its own: a QR code costs more time than the page of the hold."""
    basket.ref_of(event_id, hold_id)
    try:
        hold = _held(event_id, hold_id)
    except LinkBusy:
        return _to_hold(event_id, hold_id)
    path = url_for("pages.show_linked_hold", link=services().codes.hold_link_of(event_id, hold_id))
    address = f"{request.scheme}://{request.host}{path}"
    picture = qr_code(address, title="The address as a QR code")
    return _page("hold_link.html", hold, address=address, qr_code=picture)


@pages.get("/holds/<link>")
def show_linked_hold(link: str) -> Response | WerkzeugResponse:
    """Changes nothing: programs that show a preview of a link open it, too."""
    event_id, hold_id = services().codes.read_hold_link(link)
    if basket.entry_of(event_id, hold_id):
        return _to_hold(event_id, hold_id)
    return _page("linked_hold.html", _held(event_id, hold_id), link=link)


@pages.post("/holds/<link>")
def take_linked_hold(link: str) -> WerkzeugResponse:
    event_id, hold_id = services().codes.read_hold_link(link)
    basket.put(_held(event_id, hold_id))
    return _to_hold(event_id, hold_id)


@pages.errorhandler(BadCode)
def refuse_bad_link(_error: BadCode) -> Response:
    return notice(
        404,
        "There is no such link",
        "Check the address: it must be complete.",
        steps=(Step("All events", url_for("pages.list_events")),),
    )


@pages.errorhandler(LinkEnded)
def refuse_ended_link(_error: LinkEnded) -> Response:
    return notice(
        410,
        "This link has ended",
        "The time for these seats ran out, they were given back, or they have been paid for. If "
        "you paid for them, the receipt is in the basket of the browser that you paid with.",
        steps=(
            Step("All events", url_for("pages.list_events")),
            Step("Your basket", url_for("pages.show_basket")),
        ),
    )


@pages.errorhandler(LinkBusy)
def refuse_busy_link(_error: LinkBusy) -> Response:
    return notice(
        409,
        "These seats are being paid for",
        "Somebody is paying for them in another browser. If that does not succeed, and their time "
        "is not over by then, this link works again.",
        steps=(
            Step("Try the link again", request.path),
            Step("All events", url_for("pages.list_events")),
        ),
    )


def _held(event_id: str, hold_id: str) -> Hold:
    """Raises LinkEnded when it cannot be paid, LinkBusy while it is."""
    try:
        hold = services().box_office.hold(services().tokens.ref_of(event_id, hold_id))
    except HoldExpired:
        raise LinkEnded from None
    if hold.status == HoldStatus.PAYING:
        raise LinkBusy
    if hold.status != HoldStatus.HELD:
        raise LinkEnded
    return hold


def _page(template: str, hold: Hold, **context: Any) -> Response:
    event = services().box_office.event(hold.event_id)
    response = page(
        template,
        event=event,
        hold=hold,
        seats=[event.seat_name(seat) for seat in hold.seats],
        expires_at=datetime.fromtimestamp(hold.expires_at_ms / 1000, UTC),
        **context,
    )
    # The address is the key to the seats: no other site may learn it.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _to_hold(event_id: str, hold_id: str) -> WerkzeugResponse:
    return redirect(url_for("pages.show_hold", event_id=event_id, hold_id=hold_id), 303)
