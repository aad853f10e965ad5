"""Each no has its own words and its own next step, and says that nothing was charged."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import requests

from ops.processes import free_port
from sidecar.client import LimiterClient
from sidecar.places import Place
from tests.pages.browser import HTML, TIMEOUT_S, csrf_token_in
from tests.pages.conftest import BUYER
from tests.support.factories import BUYER as PAYER
from tests.support.factories import STALLS, a_booking, be_sure, lose_event, put_on_sale, small_hall
from tests.support.http_client import PROBLEM_TYPE
from tests.support.redis_stores import lead_nowhere
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.use_cases.opening import Opening


def focused_mistakes(page) -> list[tuple[str, str]]:
    """What the summary lists, and where it leads; it has the focus and is announced."""
    summary = page.root.one(id="mistakes")
    assert summary["role"] == "alert" and "autofocus" in summary and summary["tabindex"] == "-1"
    assert page.root.one("head").one("title").text.startswith("Error: ")
    links = [(link.text, link["href"]) for link in summary.all("a")]
    for _, href in links:
        if href.startswith("#"):
            assert page.root.one(id=href[1:])
    return links


def test_taken_seats_are_named_and_the_others_stay_chosen(ada, eve, address):
    page = eve.get(address)
    ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"])
    refused = page.press("Hold the chosen", seats=["stalls-A-2", "stalls-B-3"])
    assert refused.status == 409
    assert focused_mistakes(refused) == [("Stalls, row A, seat 2 is taken", "#row-stalls-A")]
    assert "Somebody was faster." in refused.text
    boxes = refused.seat_boxes()
    assert "checked" in boxes["Row B, seat 3, £25, available"]
    assert "disabled" in boxes["Row A, seat 2, £25, on hold"]
    assert refused.press("Hold the chosen").status == 200


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"currency": "GPB"}, "GPB 50.00"),
        ({"sections": (replace(STALLS, price_minor=10),)}, "£0.20"),
        ({"sections": (replace(STALLS, price_minor=12_562),), "currency": "KWD"}, "KWD 25.124"),
    ],
)
def test_an_event_that_was_opened_with_a_price_that_cannot_be_paid_is_shown_and_says_so_for_good(
    ada, hall_with, charges, stack, changes, shown
):
    before = not_accepted_payments(stack)
    page = ada.get(hall_with(**changes)).press(
        "Hold the chosen", seats=["stalls-A-1", "stalls-A-2"]
    )
    assert shown in page.text.replace("\xa0", " ")
    for _ in range(6):
        page = page.press("Pay", payment_method="pm_card_visa", **BUYER)
        assert page.status == 402
        assert "Retry-After" not in page.headers
        assert page.root.one(id="mistakes").one("h2").text == (
            "These seats cannot be paid for at the moment"
        )
        assert focused_mistakes(page) == [
            (
                (
                    "The payment provider does not take payments for these seats at the moment. "
                    "Nothing was charged."
                ),
                "#summary-title",
            )
        ]
        assert "Please tell the organiser." in page.text
        assert "more card" not in page.text and "You can try" not in page.text
    assert charges(page) == []
    assert not_accepted_payments(stack) == before + 6


def not_accepted_payments(stack) -> float:
    metrics = requests.get(f"{stack.web_url}/metrics", timeout=TIMEOUT_S).text
    counted = re.search(r"^tickets_payments_not_accepted_total (\S+)$", metrics, re.MULTILINE)
    return float(counted[1]) if counted else 0


def test_a_section_with_too_few_seats_says_so_and_keeps_what_was_asked(ada, eve, address):
    for browser in (ada, eve):
        browser.get(address).press("Hold the best", section="free", quantity="3")
    refused = ada.get(address).press("Hold the best", section="free", quantity="2")
    assert refused.status == 409
    words = "No seats are available in Free of charge right now"
    assert focused_mistakes(refused) == [(words, "#best")]
    assert "Choose another section." in refused.text and "ake fewer" not in refused.text
    assert {("section", "free"), ("quantity", "2")} <= set(refused.fields("Hold the best"))


def test_a_sale_that_has_not_opened_says_when_it_does(ada, hall_with):
    opens = datetime.now(UTC) + timedelta(hours=1, minutes=59, seconds=30)
    page = ada.get(hall_with(sale_opens_at=opens))
    assert "Not on sale yet." in page.text
    there = opens.astimezone(ZoneInfo("Europe/London"))
    assert f"{there:%H:%M} {there.tzname()}" in page.text
    refused = page.press("Hold the chosen", seats="stalls-A-1")
    assert refused.status == 403
    assert 7100 < int(refused.headers["Retry-After"]) <= 7170
    assert focused_mistakes(refused)[0][0].startswith("The sale opens in 1 hour 59 minutes")
    assert "checked" in refused.seat_boxes()["Row A, seat 1, £25, available"]


def test_best_available_offers_only_what_is_left_to_try(ada, eve, seats):
    event = small_hall(sections=(STALLS,))
    put_on_sale(seats, event, sold=event.seats[1:])
    page = ada.get(f"/events/{event.id}")
    refused = page.press("Hold the best", section="stalls", quantity="2")
    words = "There are not that many seats left there. Take fewer."
    assert f"Not enough seats left {words}" in refused.text
    eve.get(f"/events/{event.id}").press("Hold the chosen", seats=event.seats[0])
    refused = page.press("Hold the best", section="stalls", quantity="2")
    assert "No seats left There are no seats left. Seats may come back" in refused.text
    assert "ake fewer" not in refused.text and "another section" not in refused.text


def test_too_many_held_leads_to_the_basket(ada, hall_with):
    page = ada.get(hall_with(max_held_per_client=2, max_seats_per_hold=2))
    page.press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"])
    refused = page.press("Hold the chosen", seats="stalls-A-3")
    assert refused.status == 409
    assert focused_mistakes(refused) == [("Open your basket", "/basket")]
    assert "holds 2 unpaid seats" in refused.text


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ([], "Choose at least one seat."),
        ([f"stalls-B-{n}" for n in range(1, 8)], "Choose at most 6 seats at a time."),
        (["stalls-A-1"] * 101, "Choose at most 6 seats at a time."),
        (["stalls-Z-1"], "this event has no seat stalls-Z-1"),
        (["stalls-A-1", "stalls-A-1"], "stalls-A-1 is listed twice"),
    ],
)
def test_a_choice_that_cannot_be_held_says_why(ada, address, chosen, words):
    refused = ada.get(address).press("Hold the chosen", seats=chosen)
    assert (refused.status, focused_mistakes(refused)) == (422, [(words, "#seats")])
    assert refused.text.count(words) == 1, "it is said once, and without the name of a field"


@pytest.mark.parametrize("quantity", ["", "0", "7", "-1", "two", "²", "1" * 50])
def test_a_number_of_seats_that_cannot_be_held_says_what_can(ada, address, quantity):
    refused = ada.get(address).press("Hold the best", section="stalls", quantity=quantity)
    assert refused.status == 422
    assert focused_mistakes(refused) == [("Choose 1 to 6 seats.", "#quantity")]


def test_mistyped_fields_are_named_and_keep_what_was_typed(held):
    refused = held.press("Pay", name=" ", email="ada at example")
    assert refused.status == 422
    words = "Enter an e-mail address such as ada@example.org. An email address must have an @-sign."
    assert focused_mistakes(refused) == [("Enter your name.", "#name"), (words, "#email")]
    email = refused.root.one("input", name="email")
    assert (email["value"], email["aria-invalid"]) == ("ada at example", "true")
    described = [refused.root.one(id=part).text for part in email["aria-describedby"].split()]
    assert described[0] == words


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("name", "Ada\u202e", "like U+202E (right-to-left override)."),
        ("name", "\u200b\u200b", "Enter your name"),
        ("name", "...", "Enter your name: it must have a letter or a digit."),
        ("email", "ada\u200b@example.org", "Enter an e-mail address"),
        ("email", "ada@example,org", "The part after the @-sign contains invalid characters"),
        ("email", "a@" + "b." * 130 + "org", "The email address is too long"),
        ("name", "A" * 201, "Enter your name: it must have at most 200 characters."),
        ("email", "mailto:a@b.c", "Enter an e-mail address"),
    ],
)
def test_what_the_api_refuses_of_a_buyer_the_page_refuses_in_words(held, field, typed, words):
    refused = held.press("Pay", **{**BUYER, field: typed})
    assert refused.status == 422
    ((told, href),) = focused_mistakes(refused)
    assert (words in told, href) == (True, f"#{field}")


def test_an_international_address_buys_on_the_page_as_by_the_api(held):
    assert held.press("Pay", name="Jürgen", email="jürgen@münchen.example").title == "You are in"


@pytest.mark.parametrize("method", ["", "pm_card_unknown", "pm'card"])
def test_without_a_card_that_exists_nothing_is_charged(held, charges, method):
    refused = held.press("Pay", payment_method=method, **BUYER)
    assert (refused.status, focused_mistakes(refused)) == (
        422,
        [("Choose a card.", "#payment_method-0")],
    )
    assert charges(held) == []
    assert refused.press("Pay", payment_method="pm_card_visa").title == "You are in"


def test_a_hold_that_ran_out_offers_the_same_seats(ada, hall_with, charges):
    held = ada.get(hall_with(hold_ms=2000)).press("Hold the chosen", seats="stalls-A-1")
    time.sleep(2.05)
    for ended in (
        held.press("Pay", **BUYER),
        held.press("Give me 2 seconds more"),
        ada.get(held.address),
    ):
        assert (ended.status, ended.title) == (410, "The time for these seats ran out")
        assert "Nothing was charged." in ended.text
    assert "No longer held for you." in ada.get("/basket").text
    again = ended.press("Hold the same seats again")
    assert (again.status, "Stalls, row A, seat 1" in again.text) == (200, True)
    assert charges(held) == []


def test_a_hold_that_ran_out_says_which_of_its_seats_are_gone(ada, eve, hall_with):
    address = hall_with(hold_ms=2000)
    held = ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"])
    time.sleep(2.05)
    eve.get(address).press("Hold the chosen", seats="stalls-A-1")
    ended = ada.get(held.address)
    assert "Taken by somebody else Stalls, row A, seat 1" in ended.text
    again = ended.press("Hold these seats")
    assert (again.status, "row A, seat 1" in again.text) == (200, False)


def test_seats_that_this_browser_holds_or_has_booked_again_are_in_its_basket(ada, hall_with):
    address = hall_with(hold_ms=4000)
    held = ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"])
    time.sleep(4.05)
    again = ada.get(held.address).press("Hold the same seats again")
    for _ in range(2):
        ended = ada.get(held.address)
        assert "In your basket Stalls, row A, seat 1" in ended.text
        assert "somebody else S" not in ended.text
        assert ended.link("Your basket").title == "Your basket"
        assert again.press("Pay", **BUYER).title == "You are in"


def test_seats_of_this_browser_s_basket_are_not_somebody_else_s(ada, eve, address):
    page = ada.get(address)
    page.press("Hold the chosen", seats=["stalls-B-1", "stalls-B-2"])
    refused = page.press("Hold the chosen", seats=["stalls-B-2", "stalls-B-3"])
    assert refused.status == 409
    assert focused_mistakes(refused) == [("Stalls, row B, seat 2 is in your basket", "/basket")]
    assert "You have these seats already Nothing more was held." in refused.text
    assert "Somebody" not in refused.text and "taken" not in refused.text
    eve.get(address).press("Hold the chosen", seats="stalls-B-4")
    refused = page.press("Hold the chosen", seats=["stalls-B-2", "stalls-B-4"])
    assert focused_mistakes(refused) == [
        ("Stalls, row B, seat 2 is in your basket", "/basket"),
        ("Stalls, row B, seat 4 is taken", "#row-stalls-B"),
    ]


def test_a_payment_that_is_being_checked_is_safe_to_look_at(ada, held, seats, catalogue):
    event = catalogue.current_event(held.address.split("/")[2])
    hold_id = held.address.rpartition("/")[2]
    payment = seats.begin_payment(event, hold_id, PAYER, "digest", "fingerprint")
    for _ in range(2):
        checking = ada.get(held.address)
        assert (checking.status, checking.title) == (202, "Your payment is being checked")
    assert "The payment is being checked." in ada.get("/basket").text
    for button in ("Give the seats back", "Give me"):
        assert held.press(button).title == "Your payment is being checked"
    seats.undo_payment(payment, None)
    assert checking.link("Check the payment").press("Pay", **BUYER).title == "You are in"


def test_seats_that_were_sold_after_all_cost_nothing(held, bookings, charges, redis_client):
    event_id = held.address.split("/")[2]
    redis_client.srem(CATALOGUE_KEY, event_id)  # or the worker could find it out before the buyer
    bookings.insert(a_booking(event_id, "stalls-A-1"))
    refused = held.press("Pay", **BUYER)
    assert (refused.status, refused.title) == (409, "Somebody else has bought these seats")
    assert "Sold after all: Stalls, row A, seat 1. Nothing was charged." in refused.text
    assert charges(held) == []
    again = held.press("Pay", **BUYER)
    assert (again.status, charges(held)) == (409, [])


def test_another_browser_does_not_know_the_hold(eve, held):
    page = eve.get(held.address)
    assert (page.status, page.title) == (404, "We do not know these seats here")
    assert "charged" not in page.text, "it may have been paid for, by the browser that holds it"
    for button in ("Pay", "Give me", "Give the seats back"):
        answer = eve.post(
            held.form(button)["action"], [*BUYER.items(), ("csrf_token", csrf_of(eve))]
        )
        assert answer.status_code == 404


def csrf_of(browser) -> str:
    page = browser.get("/events/rosewood-winters-tale")
    return dict(page.fields("Hold the best"))["csrf_token"]


@pytest.mark.parametrize("path", ["/nothing", "/events/no-such-event", "/receipts/guessed"])
def test_what_is_not_there_is_a_page_with_a_way_on(ada, path):
    page = ada.get(path)
    assert page.status == 404
    assert page.root.one("main").all("a")


def test_a_program_still_gets_problems_and_a_browser_never_does(stack, ada):
    plain = requests.get(stack.url + "/nothing", timeout=TIMEOUT_S)
    assert plain.headers["Content-Type"] == PROBLEM_TYPE
    in_browser = requests.get(stack.url + "/api/nothing", headers=HTML, timeout=TIMEOUT_S)
    assert in_browser.headers["Content-Type"] == PROBLEM_TYPE


def test_a_form_with_a_wrong_or_no_secret_does_nothing(ada, address, held, charges):
    page = ada.get(address)
    for form, button in ((page, "Hold the best"), (held, "Pay"), (held, "Give the seats back")):
        for secret in ("", "wrong", csrf_of(type(ada)(ada.base_url))):
            refused = form.press(button, csrf_token=secret, **BUYER)
            assert (refused.status, refused.title) == (400, "Please send the form again")
            assert "nothing was charged" in refused.text
    assert charges(held) == []
    assert ada.get(held.address).status == 200


# ---------------------------------------------------------------- in this process


def pay_page(browser, address: str):
    """The answer to a payment for a seat in a shop of this process."""
    secret = csrf_token_in(browser.get(address, headers=HTML).text)
    form = {"csrf_token": secret, "seats": "stalls-A-1"}
    hold = browser.post(f"{address}/holds", data=form, headers=HTML, follow_redirects=True)
    key = re.search(r'name="key" value="([^"]+)"', hold.text)[1]
    form = {"csrf_token": csrf_token_in(hold.text), "key": key, "payment_method": "pm_card_amex"}
    return browser.post(f"{hold.request.path}/pay", data=form | BUYER, headers=HTML)


@pytest.mark.parametrize(
    ("why", "title", "happened", "what_to_do", "wait_s"),
    [
        (
            "not let in",
            "Payments are not possible at the moment",
            "The payment provider does not let this shop take payments. Nothing was charged.",
            "Another card does not help. Try again later.",
            "30",
        ),
        (
            "too busy",
            "Very many people are paying at this moment",
            "The payment provider could not take your payment yet. Nothing was charged.",
            "Wait 5 seconds, then send the form again.",
            "5",
        ),
        (
            "crowd",
            "Very many people are paying at this moment",
            "The payment provider could not take your payment yet. Nothing was charged.",
            "Wait 42 seconds, then send the form again.",
            "42",
        ),
        (
            "not reached",
            "The payment could not begin",
            "A part of the shop cannot be reached. Nothing was charged.",
            "Wait 2 seconds, then send the form again.",
            "2",
        ),
    ],
)
def test_a_form_that_the_gateway_takes_no_payment_for_stays_and_says_why(
    application, address, stack, monkeypatch, why, title, happened, what_to_do, wait_s
):
    settings = {"STRIPE_API_BASE": stack.sandbox.url}
    if why == "not let in":
        settings |= {"STRIPE_API_KEY": "rk_live_revoked", "STRIPE_PUBLISHABLE_KEY": "pk_live_1"}
    elif why == "not reached":
        settings["STRIPE_API_BASE"] = f"http://127.0.0.1:{free_port()}"
    elif why == "crowd":
        settings["STRIPE_RATE"] = "25/second"
        place = Place(is_taken=False, wait_ns=41_100_000_000)
        monkeypatch.setattr(LimiterClient, "take_place", lambda *asked: place)
    else:
        stack.sandbox.set_faults({"operation": "create", "kind": "rate_limited"})
    browser = application(RATE_LIMIT="1000/second", **settings)
    browser.application.extensions["services"].gateway._max_wait_s = 0
    try:
        refused = pay_page(browser, address)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, wait_s)
        for words in (title, happened, what_to_do, "The seats stay yours until the time below."):
            assert words in refused.text
        for typed in BUYER.values():
            assert f'value="{typed}"' in refused.text
        if why != "not let in":  # With a live key there are no test cards to choose from.
            assert 'value="pm_card_amex" checked' in refused.text
        assert 'action="' + refused.request.path in refused.text
    finally:
        stack.sandbox.set_faults()


@pytest.mark.parametrize("sent", ["pay", "extend", "release"])
def test_a_form_of_a_hold_that_could_not_be_shown_again_leads_back_to_it(
    application, address, sent
):
    browser = application(RATE_LIMIT="1000/second")
    secret = csrf_token_in(browser.get(address, headers=HTML).text)
    form = {"csrf_token": secret, "seats": "stalls-A-1"}
    hold = browser.post(f"{address}/holds", data=form, headers=HTML, follow_redirects=True)
    key = re.search(r'name="key" value="([^"]+)"', hold.text)[1]
    lead_nowhere(browser.application.extensions["services"].seats)
    form = {"csrf_token": csrf_token_in(hold.text), "key": key, "payment_method": "pm_card_visa"}

    refused = browser.post(f"{hold.request.path}/{sent}", data=form | BUYER, headers=HTML)

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "nothing was charged by it" in refused.text
    assert "go back to your seats and try again" in refused.text
    assert f'href="{hold.request.path}"' in refused.text
    assert 'href="/basket"' in refused.text


def test_while_a_part_restarts_a_page_says_what_is_known_to_be_true(application, address):
    browser = application(RATE_LIMIT="1000/second")
    secret = csrf_token_in(browser.get(address, headers=HTML).text)
    lead_nowhere(browser.application.extensions["services"].seats)
    form = {"csrf_token": secret, "seats": "stalls-A-1"}
    sent = browser.post(f"{address}/holds", data=form, headers=HTML)
    assert (sent.status_code, "nothing was charged by it" in sent.text) == (503, True)
    for path in ("/", address):
        page = browser.get(path, headers=HTML)
        assert (page.status_code, page.mimetype) == (503, "text/html")
        assert "We are back in a moment" in page.text
        assert "nothing was charged" not in page.text
        assert int(page.headers["Retry-After"]) > 0
        assert page.headers["Content-Security-Policy"]


def test_a_browser_beyond_the_limit_gets_a_page_and_a_program_a_problem(application):
    browser = application(RATE_LIMIT="1/hour")
    browser.get("/", headers=HTML)
    browser.get("/", headers=HTML)
    page = browser.get("/", headers=HTML)
    assert (page.status_code, page.mimetype) == (429, "text/html")
    assert len(page.headers.getlist("RateLimit")) == 1, "each refusal has headers of its own"
    wait_s = int(page.headers["Retry-After"])
    assert f"Wait {wait_s} seconds" in page.text
    assert "{wait}" not in page.text
    often = application(RATE_LIMIT="1/second")
    answers = (often.get("/", headers=HTML) for _ in range(20))
    assert (
        "Wait a second, then"
        in next(answer for answer in answers if answer.status_code == 429).text
    )
    assert page.headers["Content-Security-Policy"] and page.headers["RateLimit"]
    for path, headers in (("/", {}), ("/api/events", HTML)):
        assert browser.get(path, headers=headers).mimetype == PROBLEM_TYPE


def test_forms_share_a_limit(application, address):
    browser = application(RATE_LIMIT="1000/second", RATE_LIMIT_FORMS="2/hour")
    text = browser.get(address, headers=HTML).text
    secret = csrf_token_in(text)

    def send(path, **fields):
        return browser.post(address + path, data={"csrf_token": secret, **fields}, headers=HTML)

    assert send("/holds", seats="stalls-A-1").status_code == 303
    assert send("/best", section="stalls", quantity="1").status_code == 303
    refused = send("/holds", seats="stalls-A-2")
    assert (refused.status_code, refused.mimetype) == (429, "text/html")
    assert '"forms";q=2;w=3600' in refused.headers["RateLimit-Policy"]
    assert "Too many requests at once" in refused.text
    assert browser.get(address, headers=HTML).status_code == 200


def test_payments_by_page_and_by_api_share_a_limit(application, address):
    browser = application(RATE_LIMIT="1000/second", RATE_LIMIT_PAYMENTS="1/hour")
    path = f"{address}/holds/hld_none/pay"
    assert browser.post(f"/api{path}", json={}).status_code == 400
    browser.get(address, headers=HTML)
    text = browser.get(address, headers=HTML).text
    secret = csrf_token_in(text)
    assert browser.post(path, data={"csrf_token": secret}, headers=HTML).status_code == 429


def test_seats_that_the_shop_has_forgotten_are_not_called_unpaid_before_that_is_sure(
    ada, held, address, seats, catalogue, bookings, stack, redis_client
):
    event = catalogue.current_event(address.rpartition("/")[2])
    lose_event(redis_client, event.id)
    Opening(catalogue, seats, bookings, stack.gateway()).open_event(event)
    for page in (ada.get(held.address), held.press("Pay", **BUYER), ada.get("/basket")):
        assert page.status == 503
        assert "We are finding out what became of your seats" in page.text
        assert "never charged twice" in page.text
    assert ada.get(address).status == 200, "others can be bought meanwhile"
    be_sure(redis_client, event.id)
    assert ada.get(held.address).status == 410
