"""From the hold to the receipt: the basket, the time left, and the payment."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.events import Event, SeatState
from web.domain.refusals import (
    NOT_ACCEPTED,
    NOT_COMPLETED,
    ActionRequired,
    AlreadyBooked,
    AlreadyExtended,
    EarlierRefusal,
    EventNotFound,
    HoldExpired,
    IdempotencyKeyReused,
    InvalidRequest,
    PaymentDeclined,
    PaymentInProgress,
    PaymentNotFound,
    PaymentPending,
    PaymentsBusy,
    PaymentsClosed,
    Refusal,
    Unavailable,
)
from web.domain.sales import MAX_REFUSED_CARDS, Hold, HoldRef, HoldStatus, WayBack
from web.http.problems import more_cards
from web.http.return_address import return_address
from web.http.telemetry import record_refusal
from web.pages import basket
from web.pages.blueprint import pages
from web.pages.cards import STRIPE_HEADERS, TEST_CARDS
from web.pages.forms import CARD_FIELDS, PayForm
from web.pages.names import EventNames, event_names, names_of_seats
from web.pages.rendering import FormError, in_seconds, notice, page
from web.services import services

NOT_TRIED = (
    "Another form was sent before this one, perhaps in another tab, and its payment failed. The "
    "card that you sent now was not tried or charged. Check the form and send it again."
)

CARD = "#payment_method-0"
"""The place of the card in the payment form: Stripe's element, or the test cards."""


class BasketLine(NamedTuple):
    """``hold`` is None when it ran out; ``seats`` has the names of the seats, if they are known."""

    entry: basket.Entry
    event: EventNames
    hold: Hold | None
    seats: Sequence[str]
    receipt: str | None


@pages.get("/basket")
def show_basket() -> Response:
    lines = []
    for entry in basket.entries():
        try:
            hold = basket.standing(entry)
        except EventNotFound:
            continue
        booking = hold.booking if hold else None
        lines.append(
            BasketLine(
                entry,
                event_names(entry.event_id, booking),
                hold,
                names_of_seats(entry.event_id, hold.seats if hold else entry.seats, booking),
                _receipt_address(entry.event_id, entry.hold_id) if booking else None,
            )
        )
    return page("basket.html", lines=lines)


@pages.get("/events/<event_id>/holds/<hold_id>")
def show_hold(event_id: str, hold_id: str) -> Response | WerkzeugResponse:
    return _hold_page(basket.ref_of(event_id, hold_id))


@pages.get("/events/<event_id>/holds/<hold_id>/cancel")
@pages.get("/events/<event_id>/holds/<hold_id>/pay")
@pages.get("/events/<event_id>/holds/<hold_id>/extend")
@pages.get("/events/<event_id>/holds/<hold_id>/release")
def leave_hold_form_address(event_id: str, hold_id: str) -> WerkzeugResponse:
    """A form's address, which may be opened again after its response: redirects to the hold."""
    return _to_hold(event_id, hold_id)


@pages.post("/events/<event_id>/holds/<hold_id>/extend")
def extend_hold(event_id: str, hold_id: str) -> Response | WerkzeugResponse:
    ref = basket.ref_of(event_id, hold_id)
    try:
        services().box_office.extend(ref)
    except AlreadyExtended as refusal:
        mistake = FormError("The time was extended before. It can be extended once.", "#time-left")
        return _hold_page(ref, refusal, "No more time", [mistake])
    except (PaymentInProgress, AlreadyBooked):
        return _to_hold(event_id, hold_id)
    except HoldExpired as refusal:
        return _ended(ref, refusal)
    flash("You have more time now.")
    return _to_hold(event_id, hold_id)


@pages.post("/events/<event_id>/holds/<hold_id>/release")
def release_hold(event_id: str, hold_id: str) -> WerkzeugResponse:
    ref = basket.ref_of(event_id, hold_id)
    try:
        services().box_office.release(ref)
    except (PaymentInProgress, AlreadyBooked):
        return _to_hold(event_id, hold_id)
    basket.take_out(event_id, hold_id)
    flash("The seats were given back. Nothing was charged.")
    return redirect(url_for("pages.show_event", event_id=event_id), 303)


@pages.post("/events/<event_id>/holds/<hold_id>/pay")
def pay(event_id: str, hold_id: str) -> Response | WerkzeugResponse:
    ref = basket.ref_of(event_id, hold_id)
    form = PayForm()
    if not form.validate():
        return _mistyped(ref, form)
    try:
        in_page = form.in_page.data == "1" and bool(services().settings.stripe_publishable_key)
        way_back = WayBack(return_address(request.environ, event_id, hold_id), in_page)
        services().checkout.pay(ref, form.key.data or "", form.buyer(), way_back, form.sent())
    except (PaymentPending, PaymentInProgress):
        return _to_hold(event_id, hold_id)
    except AlreadyBooked:
        flash("These seats were paid for already. Nothing more was charged.")
    except IdempotencyKeyReused as refusal:
        return _other_card(ref, form, refusal)
    except EarlierRefusal as earlier:
        if not isinstance(earlier.refusal, PaymentDeclined):
            raise earlier.refusal from None
        return _declined(ref, form, earlier.refusal, earlier)
    except PaymentDeclined as refusal:
        return _declined(ref, form, refusal, refusal)
    except InvalidRequest as refusal:
        mistake = FormError(_no_card(form), CARD)
        return _hold_page(ref, refusal, "Please check the card", [mistake], form)
    except HoldExpired as refusal:
        return _ended(ref, refusal)
    except Unavailable as refusal:
        return _not_possible_now(ref, form, refusal)
    return redirect(_receipt_address(event_id, hold_id), 303)


# ---------------------------------------------------------------- the bank asks


@pages.get("/events/<event_id>/holds/<hold_id>/return")
def come_back(event_id: str, hold_id: str) -> WerkzeugResponse:
    """The bank sends the buyer back here, perhaps in another browser. What the query says is
    ignored: anybody could have written it, and what happened at the bank is read from the
    gateway."""
    is_known = basket.entry_of(event_id, hold_id) is not None
    try:
        services().checkout.come_back(event_id, hold_id)
    except PaymentDeclined as declined:
        record_refusal(declined)
        if is_known and not declined.attempts_left:
            # Its page says only that the seats were given back.
            flash(f"{declined.message} Nothing was charged.", "refused_at_bank")
    except ActionRequired:
        if is_known:
            flash("Your bank has not told us yet that you have confirmed the payment.")
    except PaymentPending:
        if is_known:
            flash("We could not find out yet what your bank has decided. We keep asking.")
    except Refusal:
        pass  # The page of the hold says what is known.
    if is_known:
        return _to_hold(event_id, hold_id)
    return redirect(url_for("pages.show_return", event_id=event_id, hold_id=hold_id), 303)


@pages.get("/events/<event_id>/holds/<hold_id>/returned")
def show_return(event_id: str, hold_id: str) -> Response:
    """For a browser that does not have the hold, mostly one that the bank's app has opened."""
    return notice(
        200,
        "Please go back to the browser in which you chose your seats",
        "It shows whether the payment went through, and your tickets if it did. This browser does "
        "not know your seats.",
        "You can close this page.",
    )


@pages.post("/events/<event_id>/holds/<hold_id>/cancel")
def cancel_payment(event_id: str, hold_id: str) -> WerkzeugResponse:
    ref = basket.ref_of(event_id, hold_id)
    try:
        services().checkout.cancel(ref, request.form.get("payment", ""))
    except AlreadyBooked:
        flash("The payment went through before it could be canceled.")
    except PaymentPending:
        flash("We do not know yet whether the payment could be canceled. We keep asking.")
    except PaymentNotFound:
        pass  # The page of the hold says what is known.
    return _to_hold(event_id, hold_id)


# ---------------------------------------------------------------- refused payments


def _no_card(form: PayForm) -> str:
    if not services().settings.stripe_publishable_key:
        return "Choose a card."
    if form.card:
        # Stripe's form is empty again: it does not keep the number.
        return "Enter the card again. Nothing was charged."
    return (
        "No card came with the form. Nothing was charged. Enter the card below; if there is"
        " nowhere to enter it, load this page again. That needs JavaScript."
    )


def _mistyped(ref: HoldRef, form: PayForm) -> Response | WerkzeugResponse:
    mistakes = [
        FormError(error, CARD if name in CARD_FIELDS else f"#{name}")
        for name, errors in form.errors.items()
        for error in errors
    ]
    refusal = InvalidRequest(next(iter(form.errors)), mistakes[0].text)
    return _hold_page(ref, refusal, "Please check the form", mistakes, form)


def _declined(
    ref: HoldRef, form: PayForm, declined: PaymentDeclined, refusal: Refusal
) -> Response | WerkzeugResponse:
    title, place = "The card was refused", CARD
    words = f"You can try {more_cards(declined.attempts_left)} before the seats are given back."
    if declined.reason == NOT_COMPLETED:
        title = "The payment was not completed"
    elif declined.reason == NOT_ACCEPTED:
        title, place = "These seats cannot be paid for at the moment", "#summary-title"
        words = (
            "No other card can change that. Please tell the organiser. The seats stay yours until "
            "their time is over."
        )
    mistake = FormError(f"{declined.message} Nothing was charged.", place)
    return _hold_page(ref, refusal, title, [mistake], form, words)


def _not_possible_now(
    ref: HoldRef, form: PayForm, refusal: Unavailable
) -> Response | WerkzeugResponse:
    """Nothing happened. Raises ``refusal`` when the hold's page cannot be rendered either."""
    again = f"Wait {in_seconds(refusal.retry_after_s)}, then send the form again."
    match refusal:
        case PaymentsClosed():
            title = "Payments are not possible at the moment"
            happened = "The payment provider does not let this shop take payments."
            again = "Another card does not help. Try again later."
        case PaymentsBusy():
            title = "Very many people are paying at this moment"
            happened = "The payment provider could not take your payment yet."
        case _:
            title = "The payment could not begin"
            happened = "A part of the shop cannot be reached."
    words = f"{again} The seats stay yours until the time below."
    mistake = FormError(f"{happened} Nothing was charged.", "#time-left")
    try:
        return _hold_page(ref, refusal, title, [mistake], form, words)
    except Unavailable:
        raise refusal from None


def _other_card(ref: HoldRef, form: PayForm, refusal: Refusal) -> Response | WerkzeugResponse:
    """The key of this form was used with another card. If that card was charged, the page of the
    hold leads to the receipt; otherwise it was refused."""
    hold = services().box_office.hold(ref)
    if hold.status == HoldStatus.BOOKED:
        flash(
            "These seats were paid for with the form that was sent first. Nothing more was charged."
        )
    mistake = FormError(NOT_TRIED, CARD)
    return _hold_page(ref, refusal, "Please send it again", [mistake], form)


# ---------------------------------------------------------------- pages


def _hold_page(
    ref: HoldRef,
    refusal: Refusal | None = None,
    title: str = "",
    mistakes: Sequence[FormError] = (),
    form: PayForm | None = None,
    words: str = "",
) -> Response | WerkzeugResponse:
    """The page for the hold's current state: to be paid, being paid, booked or over. ``form`` is a
    refused one: what was typed stays in it, and it gets a new key."""
    try:
        hold = services().box_office.hold(ref)
    except HoldExpired as expired:
        if isinstance(refusal, Unavailable):
            refusal = None
        return _ended(ref, refusal or expired)
    if hold.status == HoldStatus.BOOKED:
        return redirect(_receipt_address(ref.event_id, ref.hold_id), 303)
    event = services().box_office.event(ref.event_id)
    if hold.status == HoldStatus.PAYING:
        return _payment_page(event, hold)
    form = form or PayForm(formdata=None)
    form.key.data = services().tokens.payment_key_of(ref.event_id, ref.hold_id, hold.payments)
    # Free seats need no card, and Stripe need not learn about their buyer.
    card_key = services().settings.stripe_publishable_key if hold.amount_minor else ""
    entry = basket.entry_of(ref.event_id, ref.hold_id)
    problem = record_refusal(refusal) if refusal else None
    response = page(
        "hold.html",
        problem.status if problem else 200,
        event=event,
        hold=hold,
        seats=[event.seat_name(seat) for seat in hold.seats],
        now=datetime.now(UTC),
        expires_at=datetime.fromtimestamp(hold.expires_at_ms / 1000, UTC),
        attempts_left=MAX_REFUSED_CARDS - hold.refused_cards,
        title=title,
        words=words,
        mistakes=mistakes,
        form=form,
        card_key=card_key,
        price_seen=entry.price_seen if entry else None,
        is_test_shop=services().settings.is_test_shop,
        test_cards=TEST_CARDS,
    )
    if problem and problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if card_key:
        response.headers.update(STRIPE_HEADERS)
    return response


def _payment_page(event: Event, hold: Hold) -> Response:
    """A payment under way: at the bank, or its outcome is not known yet."""
    seats = [event.seat_name(seat) for seat in hold.seats]
    if hold.bank_step is None:
        return page("paying.html", 202, event=event, hold=hold, seats=seats)
    # A question without an address can only be shown by Stripe's script.
    key = services().settings.stripe_publishable_key if hold.bank_step.client_secret else ""
    response = page(
        "at_bank.html",
        202,
        event=event,
        hold=hold,
        seats=seats,
        until=datetime.fromtimestamp(hold.bank_step.until_ms / 1000, UTC),
        card_key=key,
    )
    if key:
        response.headers.update(STRIPE_HEADERS)
    return response


def _ended(ref: HoldRef, refusal: Refusal) -> Response:
    """The hold is over and nothing was charged: its time ran out, or its last card was refused."""
    event, seat_map = services().seat_maps.event_and_map(ref.event_id)
    entry = basket.entry_of(ref.event_id, ref.hold_id)
    mine = basket.seats_of(ref.event_id)
    free, own, taken, dropped = [], [], [], []
    for seat in entry.seats if entry else ():
        position = event.positions.get(seat)
        if position is None:
            dropped.append(event.seat_name(seat))
        elif seat in mine:
            own.append(event.seat_name(seat))
        elif seat_map.seats[position] == SeatState.FREE:
            free.append((seat, event.seat_name(seat)))
        else:
            taken.append(event.seat_name(seat))
    return page(
        "ended.html",
        record_refusal(refusal).status,
        event=event,
        refused=_took_the_last_card(refusal),
        free=free,
        amount_minor=event.amount_minor([event.positions[seat] for seat, _ in free]),
        own=own,
        taken=taken,
        dropped=dropped,
    )


def _took_the_last_card(refusal: Refusal) -> bool:
    declined = refusal.refusal if isinstance(refusal, EarlierRefusal) else refusal
    return isinstance(declined, PaymentDeclined) and declined.is_of_the_card


def _to_hold(event_id: str, hold_id: str) -> WerkzeugResponse:
    return redirect(url_for("pages.show_hold", event_id=event_id, hold_id=hold_id), 303)


def _receipt_address(event_id: str, hold_id: str) -> str:
    link = services().codes.link_of(event_id, hold_id)
    return url_for("pages.show_receipt", link=link)
