"""The whole way of a buyer without JavaScript, and every way to press a button twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.pages.browser import TIMEOUT_S, Browser
from tests.pages.conftest import BUYER
from tests.support.factories import BUYER as PAYER
from tests.support.factories import FLOOR
from tests.support.http_client import assert_problem
from web.use_cases.checkout import NOT_CHARGED
from web.use_cases.checkout import _digest as digest_of

DECLINED = "pm_card_visa_chargeDeclined"
DATA = {"Accept": "application/json"}


def test_from_the_list_of_events_to_the_ticket(ada, address, charges):
    event_id = address.rpartition("/")[2]
    events = ada.get("/")
    assert address in {link["href"] for link in events.root.all("a")}
    page = ada.get(address)
    assert page.title == "A small evening"
    box = page.seat_boxes()["Row C, seat 5, £25, available"]
    held = page.press("Hold the chosen", seats=[box["value"]])
    assert held.address.startswith(f"/events/{event_id}/holds/hld_")
    assert "Stalls, row C, seat 5" in held.text and "£25.00" in held.text
    receipt = held.press("Pay £25.00", **BUYER)
    assert receipt.title == "You are in"
    assert receipt.address.startswith("/receipts/")
    assert "Stalls, row C, seat 5" in receipt.text and "£25.00" in receipt.text
    assert charges(held) == [2500]
    assert "Row C, seat 5, £25, sold" in ada.get(address).seat_boxes()


def test_the_best_seats_without_choosing_any(ada, address):
    held = ada.get(address).press("Hold the best", section="stalls", quantity="3")
    assert "Stalls, row A, seat 2 Stalls, row A, seat 3 Stalls, row A, seat 4" in held.text
    assert "£75.00" in held.text


def test_places_without_numbers(ada, address):
    held = ada.get(address).press("Hold the best", section="floor", quantity="2")
    assert "Floor, place 1 Floor, place 2" in held.text


def test_a_hall_without_numbered_seats_has_no_map(ada, hall_with):
    page = ada.get(hall_with(sections=(FLOOR,)))
    assert not page.root.all(id="seats")
    assert page.press("Hold the best", quantity="1").status == 200


def test_seats_that_cost_nothing_need_no_card(ada, address, charges):
    held = ada.get(address).press("Hold the chosen", seats="free-F-1")
    assert "payment_method" not in dict(held.fields("Book, free"))
    assert held.press("Book, free", **BUYER).title == "You are in"
    assert charges(held) == []


def test_the_basket_finds_the_hold_and_then_the_receipt_again(ada, held):
    line = ada.get("/basket")
    assert "Held for you" in line.text and "Stalls, row A, seat 2" in line.text
    again = line.link("Go on to pay")
    assert again.address == held.address
    receipt = again.press("Pay", **BUYER)
    assert ada.get("/basket").link("Show the receipt").address == receipt.address


def test_seats_that_are_given_back_are_free_and_out_of_the_basket(ada, address, held):
    page = held.press("Give the seats back")
    assert page.address == address
    assert "The seats were given back. Nothing was charged." in page.text
    assert "Row A, seat 1, £25, available" in page.seat_boxes()
    assert "There is nothing in it" in ada.get("/basket").text


def test_the_time_is_extended_once_and_not_by_loading_the_page_again(ada, held):
    def left_ms(page) -> int:
        return int(page.root.one(id="time-left")["data-expires-in-ms"])

    before = ada.get(held.address)
    assert left_ms(before) < left_ms(held)
    extended = before.press("Give me 1 minute more")
    assert "You have more time now." in extended.text
    assert 60_000 < left_ms(extended) <= 120_000
    assert "Give me" not in extended.text
    refused = before.press("Give me 1 minute more")
    assert (refused.status, "It can be extended once." in refused.text) == (409, True)
    assert left_ms(refused) <= left_ms(extended)


# ---------------------------------------------------------------- everything twice


def at_once(*presses):
    with ThreadPoolExecutor(len(presses)) as pool:
        return [future.result() for future in [pool.submit(press) for press in presses]]


def test_a_double_click_on_seats_makes_one_hold(ada, address):
    page = ada.get(address)
    answers = at_once(*[lambda: page.send("Hold the chosen", seats="stalls-B-1")] * 3)
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["Location"] for answer in answers}) == 1


def test_a_double_click_on_best_available_makes_one_hold(ada, address, seats):
    page = ada.get(address)
    answers = at_once(*[lambda: page.send("Hold the best", section="floor", quantity="2")] * 3)
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert seats.read_seats(address.rpartition("/")[2]).seats.count("h") == 2


def test_the_form_of_somebody_else_is_another_form(ada, eve, address):
    first = ada.get(address).press("Hold the chosen", seats="stalls-B-1")
    second = eve.get(address).press("Hold the chosen", seats="stalls-B-1")
    assert first.status == 200
    assert second.status == 409


def test_seats_given_back_can_be_held_again_by_the_same_form(ada, address):
    page = ada.get(address)
    held = page.press("Hold the chosen", seats="stalls-B-1")
    held.press("Give the seats back")
    again = page.press("Hold the chosen", seats="stalls-B-1")
    assert (again.status, again.address != held.address) == (200, True)


def test_best_available_sent_again_after_it_was_given_back_holds_again(ada, address):
    page = ada.get(address)
    held = page.press("Hold the best", section="stalls", quantity="2")
    held.press("Give the seats back")
    again = page.press("Hold the best", section="stalls", quantity="2")
    assert (again.status, again.address != held.address) == (200, True)


def test_a_double_click_on_pay_charges_once(held, charges):
    answers = at_once(*[lambda: held.send("Pay", **BUYER)] * 3)
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert "/receipts/" in answers[0].headers["Location"]
    assert charges(held) == [5000]


def test_a_double_click_on_pay_while_the_bank_is_slow_shows_that_it_is_being_checked(held, charges):
    slow = {"payment_method": "pm_sandbox_slow", **BUYER}
    first, second = at_once(*[lambda: held.press("Pay", **slow)] * 2)
    checking, receipt = sorted((first, second), key=lambda page: page.title == "You are in")
    assert (checking.status, checking.title) == (202, "Your payment is being checked")
    assert "It is safe to load this page again" in checking.text
    assert receipt.title == "You are in"
    assert checking.link("Check the payment").address == receipt.address
    assert charges(held) == [5000]


def test_back_and_pay_again_leads_to_the_receipt(ada, held, charges):
    receipt = held.press("Pay", **BUYER)
    assert held.press("Pay", **BUYER).address == receipt.address
    assert ada.get(held.address).address == receipt.address
    assert charges(held) == [5000]


def test_two_tabs_share_the_key_of_the_payment(ada, held):
    other_tab = ada.get(held.address)
    assert dict(held.fields("Pay"))["key"] == dict(other_tab.fields("Pay"))["key"]


def test_two_tabs_with_two_cards_charge_the_first(ada, held, charges):
    other_tab = ada.get(held.address)
    receipt = held.press("Pay", payment_method="pm_card_visa", **BUYER)
    late = other_tab.press("Pay", payment_method="pm_card_mastercard", **BUYER)
    assert late.address == receipt.address
    assert "Nothing more was charged." in late.text
    assert charges(held) == [5000]


def test_a_card_refused_in_one_tab_leaves_the_other_tab_s_card_untried(ada, held, charges):
    other_tab = ada.get(held.address)
    assert held.press("Pay", payment_method=DECLINED, **BUYER).status == 402
    late = other_tab.press("Pay", payment_method="pm_card_mastercard", **BUYER)
    assert (late.status, "was not tried" in late.text) == (422, True)
    assert ("payment_method", "pm_card_mastercard") in late.fields("Pay")
    assert late.press("Pay").title == "You are in"
    assert charges(held) == [5000]


def test_a_refused_card_then_a_good_one_charges_once_and_nothing_is_typed_twice(held, charges):
    refused = held.press("Pay", payment_method=DECLINED, **BUYER)
    assert refused.status == 402
    assert "Your card was declined. Nothing was charged." in refused.text
    assert "4 more" in refused.text
    assert BUYER.items() <= dict(refused.fields("Pay")).items()
    assert refused.press("Pay", payment_method="pm_card_visa").title == "You are in"
    assert charges(held) == [5000]


def test_to_load_the_refusal_of_a_card_again_does_not_try_the_card_again(held, charges):
    refused = held.press("Pay", payment_method=DECLINED, **BUYER)
    reloaded = held.press("Pay", payment_method=DECLINED, **BUYER)
    assert (reloaded.status, "4 more" in reloaded.text) == (402, True)
    receipt = refused.press("Pay", payment_method="pm_card_visa")
    assert held.press("Pay", payment_method=DECLINED, **BUYER).address == receipt.address
    assert charges(held) == [5000]


@pytest.mark.parametrize("page_is", ["old", "new"])
def test_a_payment_that_broke_off_uncharged_can_be_made_again(
    ada, held, charges, seats, catalogue, page_is
):
    event_id, hold_id = held.address.split("/")[2::2]
    key = dict(held.fields("Pay"))["key"]
    digest = digest_of(hold_id, key)
    fingerprint = digest_of("pm_card_visa", BUYER["email"], BUYER["name"])
    event = catalogue.current_event(event_id)
    payment = seats.begin_payment(event, hold_id, PAYER, digest, fingerprint)
    seats.undo_payment(payment, NOT_CHARGED)
    page = ada.get(held.address)
    if page_is == "old":
        page = held.press("Pay", payment_method="pm_card_visa", **BUYER)
        assert (page.status, charges(held)) == (402, [])
        assert "The payment broke off before the card was charged." in page.text
    assert page.press("Pay", payment_method="pm_card_visa", **BUYER).title == "You are in"
    assert charges(held) == [5000]


def test_after_the_last_refused_card_the_seats_are_offered_again(held, charges):
    page = held
    for left in range(4, 0, -1):
        page = page.press("Pay", payment_method=DECLINED, **BUYER)
        assert f"{left} more" in page.text
    ended = page.press("Pay", payment_method=DECLINED, **BUYER)
    assert (ended.status, ended.title) == (402, "The seats were given back")
    assert "Nothing was charged." in ended.text
    again = ended.press("Hold the same seats again")
    assert (again.status, "Stalls, row A, seat 2" in again.text) == (200, True)
    assert charges(held) == []


def test_who_opens_the_address_of_a_form_again_gets_the_page_of_the_form(ada, address, held):
    for form in ("holds", "best"):
        assert ada.get(f"{address}/{form}").address == address
    for form in ("pay", "extend", "release"):
        assert ada.get(f"{held.address}/{form}").address == held.address


@pytest.mark.parametrize("language", ["en-GB", "xx", "*", ";;q=z"])
def test_any_accept_language_gets_a_page(stack, address, language):
    assert Browser(stack.url, language).get(address).status == 200


def test_a_script_gets_data_and_the_same_hold_as_the_form(ada, eve, address):
    def send(browser, *seats):
        page = browser.get(address)
        fields = [("csrf_token", dict(page.fields("Hold the chosen"))["csrf_token"])]
        fields += [("seats", seat) for seat in seats]
        url = f"{browser.base_url}{address}/holds"
        return browser.request("POST", url, data=fields, headers=DATA, timeout=TIMEOUT_S)

    held = send(ada, "stalls-A-1")
    assert held.status_code == 201
    assert held.headers["Cache-Control"] == "no-store"
    assert "Stalls, row A, seat 1" in ada.get(held.json()["address"]).text
    assert send(ada, "stalls-A-1").json() == held.json()
    problem = assert_problem(send(eve, "stalls-A-1", "stalls-A-2"), 409, "seat_taken")
    assert problem["seats"] == ["stalls-A-1"]
