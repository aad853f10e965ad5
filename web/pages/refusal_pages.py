"""Each refusal as a page for people: what happened, that nothing was charged, what to do next.

Those that the buyer can put right in a form are shown beside that form, by the view that got them.
"""

from flask import Response, current_app, request, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.refusals import (
    BasketFull,
    BookingNotFound,
    EventNotFound,
    HoldNotFound,
    NotKnownNow,
    Refusal,
    SaleClosed,
    SaleNotOpen,
    SeatTaken,
    SectionNotFound,
    TooManyHeld,
    TooManyHeldByNetwork,
)
from web.http.locales import duration, isolated_seat
from web.http.problems import Problem, problem_of
from web.http.telemetry import record_refusal
from web.pages.blueprint import is_for_script, pages
from web.pages.names import names_of_seats
from web.pages.rendering import Step, in_seconds, notice, problem_page

NO_COOKIE = (
    "Your browser sent no cookie, so we cannot tell that the form is yours. Nothing was done, and "
    "nothing was charged by it."
)
ALLOW_COOKIES = (
    "Allow cookies for this site in the browser's settings, under privacy, or use a window or a "
    "browser that allows them. Then load the page again. There is one cookie, and all it does is "
    "remember the seats that you hold."
)
OTHER_COOKIE = (
    "This form is out of date. Nothing was done, and nothing was charged by it. Load the page with "
    "the form again, then send it."
)


def words_of(refusal: Refusal) -> str:
    """One or two sentences to show beside a form."""
    match refusal:
        case SeatTaken():
            return "Somebody was faster. Nothing is held for you; choose other seats."
        case SaleClosed():
            return "The sale is over. Nothing is held for you."
        case SaleNotOpen(wait_ms):
            return f"The sale has not opened yet. It opens in {duration(wait_ms)}."
        case TooManyHeldByNetwork():
            return problem_of(refusal).detail
        case TooManyHeld(held, limit):
            return (
                f"Your connection holds {held} unpaid seats of this event, and {limit} is the most "
                "at a time, all together, for those who share one internet address."
            )
    return problem_of(refusal).detail


@pages.errorhandler(Refusal)
def refuse(refusal: Refusal) -> Response | WerkzeugResponse:
    problem = record_refusal(refusal)
    event_id: str = (request.view_args or {}).get("event_id", "")
    basket = Step("Your basket", url_for("pages.show_basket"))
    match refusal:
        case EventNotFound() | SectionNotFound():
            return problem_page(problem)
        case HoldNotFound():
            return notice(
                404,
                "We do not know these seats here",
                "They are known only to the browser that holds them. If that was this one, its "
                "cookies were deleted, or the seats were given back.",
                # They may well have been paid for: the page must not say otherwise.
                "If you paid for them, the address of your receipt still opens it.",
                steps=(basket, Step("The event", url_for("pages.show_event", event_id=event_id))),
            )
        case NotKnownNow(_, retry_after_s):
            return notice(
                503,
                "We are finding out what became of your seats",
                "The shop lost its memory of them just now, and a payment may still go through.",
                f"Wait {in_seconds(retry_after_s)}, then look again. If you were paying, that is "
                "safe: you are never charged twice.",
                steps=(*_hold_of(request.view_args or {}), basket),
                retry_after_s=retry_after_s,
            )
        case BasketFull():
            return notice(409, "Your basket is full", problem.detail, steps=(basket,))
        case BookingNotFound():
            return notice(
                404,
                "There is no such receipt",
                "Check the address: it must be complete.",
                steps=(basket,),
            )
        case SeatTaken(seats):
            names = "; ".join(map(isolated_seat, names_of_seats(event_id, seats)))
            return notice(
                409,
                "Somebody else has bought these seats",
                f"Sold after all: {names}. Nothing was charged.",
                steps=(Step("Choose other seats", url_for("pages.show_event", event_id=event_id)),),
            )
    return problem_page(problem)


@pages.errorhandler(CSRFError)
def refuse_forgery(error: CSRFError) -> Response:
    """The secret in the form does not match the cookie: the browser rejects cookies, the form came
    from elsewhere, or the cookie has changed since. Loading the page again fixes only the last."""
    if not request.cookies.get(current_app.session_interface.get_cookie_name(current_app)):
        code, title, *paragraphs = "cookies_needed", "This needs a cookie", NO_COOKIE, ALLOW_COOKIES
    else:
        code, title, *paragraphs = "form_outdated", "Please send the form again", OTHER_COOKIE
    if is_for_script():
        return Problem(400, code, " ".join(paragraphs)).flask_response()
    return notice(
        400,
        title,
        *paragraphs,
        steps=(
            Step("Back to the page", _page_of_form()),
            Step("Your basket", url_for("pages.show_basket")),
        ),
    )


def _hold_of(arguments: dict[str, str]) -> tuple[Step, ...]:
    """A step to the hold that the address names, if it names one."""
    if not {"event_id", "hold_id"} <= arguments.keys():
        return ()
    event_id, hold_id = arguments["event_id"], arguments["hold_id"]
    address = url_for("pages.show_hold", event_id=event_id, hold_id=hold_id)
    return (Step("Your seats", address),)


def _page_of_form() -> str:
    """The page with the form that was sent to this address: one level up."""
    arguments = request.view_args or {}
    if "hold_id" in arguments:
        return url_for("pages.show_hold", **arguments)
    if "booking_id" in arguments:
        return url_for("pages.show_booking", **arguments)
    if "event_id" in arguments:
        return url_for("pages.show_event", **arguments)
    return url_for("pages.list_events")
