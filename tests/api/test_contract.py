"""An independent client walks the HTTP contract, through nginx, against real servers."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.support.factories import STALLS, lose_event, put_on_sale, small_hall
from tests.support.http_client import Client, assert_problem, bearer
from tests.support.waiting import eventually

TRIES = 5
"""Of what a busy machine may be too slow for."""
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def ada(site, event) -> Client:
    return Client(site.url, event.id)


@pytest.fixture
def bob(site, event) -> Client:
    return Client(site.url, event.id)


def open_hall(seats, **changes):
    hall = small_hall(**changes)
    put_on_sale(seats, hall)
    return hall


# ---------------------------------------------------------------- events


def test_the_list_of_events_names_each(ada, event):
    answer = ada.call("GET", "/api/events")
    assert answer.status_code == 200
    listed = {e["id"]: e for e in answer.json()["events"]}
    assert listed[event.id] == {
        "id": event.id,
        "name": "A small evening",
        "venue": "Small Hall",
        "currency": "GBP",
        "timezone": "Europe/London",
        "starts_at": "2099-12-12T19:30:00.000Z",
        "doors_open_at": None,
        "ends_at": None,
        "sale_opens_at": "2026-01-01T00:00:00.000Z",
        "sale_closes_at": "2099-12-12T19:30:00.000Z",
        "status": "scheduled",
    }


def test_the_bare_address_shows_what_is_on_sale(ada, event):
    answer = ada.call("GET", "/")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert event.id in answer.text


def test_an_event_describes_its_hall_in_layout_order(ada, event):
    hall = ada.call("GET", "").json()
    assert hall["hold_ms"] == 60_000
    assert hall["max_seats_per_hold"] == 6
    assert [(s["id"], s["name"], s["price"], s["kind"]) for s in hall["sections"]] == [
        ("stalls", "Stalls", 2500, "seated"),
        ("floor", "Floor", 1500, "general"),
        ("free", "Free of charge", 0, "seated"),
    ]
    seats = [seat for s in hall["sections"] for row in s["rows"] for seat in row["seats"]]
    assert seats == list(event.seats)
    assert hall["sections"][0]["rows"][2] == {
        "id": "C",
        "seats": ["stalls-C-1", "stalls-C-2", "stalls-C-3", "stalls-C-5"],
    }


def test_an_unchanged_event_is_not_sent_twice(ada):
    tag = ada.call("GET", "").headers["ETag"]
    again = ada.call("GET", "", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_a_definition_may_be_kept_under_its_version_alone(ada, catalogue):
    version = catalogue.current_event(ada.event_id).version
    event, of_now, of_before = (
        ada.call("GET", path) for path in ("", f"versions/{version}", f"versions/{'0' * 16}")
    )
    assert event.json() == of_now.json() == of_before.json()
    assert "immutable" in of_now.headers["Cache-Control"]
    for answer in (event, of_before):
        assert answer.headers["Cache-Control"] == "no-cache"


def test_the_seat_map_has_a_character_a_seat_and_a_rising_revision(ada):
    before = ada.call("GET", "seats").json()
    assert before["seats"] == "0" * 38
    ada.held("stalls-A-2", "floor-GA-1")
    after = ada.call("GET", "seats").json()
    assert after["seats"] == "0h" + "0" * 18 + "h" + "0" * 17
    assert after["revision"] == before["revision"] + 1


def test_an_unchanged_seat_map_is_not_sent_twice(ada):
    tag = ada.call("GET", "seats").headers["ETag"]
    for known in (tag, f"W/{tag}"):  # as a proxy that compresses writes it
        assert ada.call("GET", "seats", headers={"If-None-Match": known}).status_code == 304
    ada.held("stalls-A-1")
    assert ada.call("GET", "seats", headers={"If-None-Match": tag}).status_code == 200


def test_an_unknown_event_is_not_found(site):
    nowhere = Client(site.url, "nowhere")
    for method, path in [
        ("GET", ""),
        ("GET", "seats"),
        ("POST", "seats/a-A-1/hold"),
        ("POST", "sections/a/best/1/hold"),
    ]:
        assert_problem(nowhere.call(method, path), 404, "event_not_found")
    assert_problem(nowhere.hold_seats("a-A-1"), 404, "event_not_found")


# ---------------------------------------------------------------- holds


def assert_hold(answer: requests.Response, event, seats: list[str], amount: int) -> dict:
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    hold = answer.json()
    assert set(hold) == {
        "hold_id",
        "event",
        "seats",
        "amount",
        "currency",
        "status",
        "expires_in_ms",
        "expires_at",
        "hold_token",
    }
    assert (hold["event"], hold["seats"], hold["amount"]) == (event.id, seats, amount)
    assert (hold["currency"], hold["status"]) == ("GBP", "held")
    assert 59_000 < hold["expires_in_ms"] <= 60_000
    assert RFC3339.fullmatch(hold["expires_at"])
    expires_at = datetime.fromisoformat(hold["expires_at"])
    assert abs(expires_at - datetime.now(UTC) - timedelta(seconds=60)) < timedelta(seconds=5)
    assert answer.headers["Location"] == f"/api/events/{event.id}/holds/{hold['hold_id']}"
    return hold


def test_one_seat_is_held_without_a_body(ada, event):
    assert_hold(ada.hold_seat("stalls-B-3"), event, ["stalls-B-3"], 2500)


def test_the_best_seats_are_side_by_side_and_near_the_middle(ada, event):
    seats = ["stalls-A-2", "stalls-A-3", "stalls-A-4"]
    assert_hold(ada.hold_best("stalls", 3), event, seats, 7500)


def test_the_next_best_seats_are_on_the_other_side_of_the_aisle(ada):
    assert ada.hold_best("stalls", 2).json()["seats"] == ["stalls-A-3", "stalls-A-4"]
    assert ada.hold_best("stalls", 2).json()["seats"] == ["stalls-A-5", "stalls-A-6"]
    assert ada.hold_best("stalls", 2).json()["seats"] == ["stalls-A-1", "stalls-A-2"]


def test_the_best_of_general_admission_are_any(ada, event):
    hold = ada.hold_best("floor", 2)
    assert_hold(hold, event, ["floor-GA-1", "floor-GA-2"], 3000)


def test_a_list_of_seats_is_held_as_a_whole(ada, event):
    seats = ["stalls-C-5", "free-F-1", "floor-GA-9"]
    assert_hold(ada.hold_seats(*seats), event, seats, 4000)


def test_unknown_fields_are_ignored(ada):
    answer = ada.call("POST", "holds", json={"seats": ["stalls-A-1"], "colour": "red"})
    assert answer.status_code == 201


def test_a_taken_seat_is_refused(ada, bob):
    ada.held("stalls-A-1")
    problem = assert_problem(bob.hold_seat("stalls-A-1"), 409, "seat_taken")
    assert problem["seats"] == ["stalls-A-1"]


def test_a_list_with_a_taken_seat_names_it_and_holds_nothing(ada, bob):
    ada.held("stalls-A-1", "stalls-A-3")
    lost = bob.hold_seats("stalls-A-1", "stalls-A-2", "stalls-A-3")
    assert assert_problem(lost, 409, "seat_taken")["seats"] == ["stalls-A-1", "stalls-A-3"]
    assert bob.seat_map()[:4] == "h0h0"


def test_a_section_without_enough_seats_is_sold_out(ada, bob):
    ada.hold_best("free", 4)
    assert_problem(bob.hold_best("free", 3), 409, "sold_out")
    assert bob.hold_best("free", 2).status_code == 201


def test_unknown_seats_and_sections_are_not_found(ada):
    assert_problem(ada.hold_seat("stalls-Z-1"), 404, "seat_not_found")
    assert_problem(ada.hold_best("balcony", 1), 404, "section_not_found")


def test_a_client_cannot_hold_more_than_its_share(ada, bob):
    ada.held(*(f"stalls-A-{n}" for n in range(1, 7)))
    problem = assert_problem(ada.hold_best("floor", 3), 409, "too_many_held")
    assert (problem["held"], problem["max_held_per_client"]) == (6, 8)
    assert ada.hold_best("floor", 2).status_code == 201
    assert bob.hold_best("floor", 3).status_code == 201


def test_a_sale_that_is_not_open_says_when(site, seats):
    opens_at = datetime.now(UTC) + timedelta(minutes=10)
    early = Client(site.url, open_hall(seats, sale_opens_at=opens_at).id)
    for answer in (early.hold_seat("stalls-A-1"), early.hold_best("floor", 1)):
        assert_problem(answer, 403, "sale_not_open")
        assert 590 < int(answer.headers["Retry-After"]) <= 600
    assert_problem(early.hold_seats("stalls-A-1"), 403, "sale_not_open")


def test_a_hold_can_be_looked_up_with_its_token_only(ada, bob):
    hold = ada.held("stalls-A-1")
    found = ada.look_up(hold)
    assert found.status_code == 200
    expected = {k: v for k, v in hold.items() if k not in ("hold_token", "expires_in_ms")}
    assert found.json() == expected | {"expires_in_ms": found.json()["expires_in_ms"]}
    assert found.json()["expires_in_ms"] <= hold["expires_in_ms"]

    others = bob.held("stalls-A-2")
    stolen = {"hold_id": hold["hold_id"], "hold_token": others["hold_token"]}
    for wrong in (stolen, hold | {"hold_token": ""}, hold | {"hold_token": "x" * 5000}):
        assert_problem(bob.look_up(wrong), 404, "hold_not_found")
        assert_problem(bob.release(wrong), 404, "hold_not_found")
        assert_problem(bob.pay(wrong), 404, "hold_not_found")
    path = f"holds/{hold['hold_id']}"
    assert_problem(ada.call("GET", path), 404, "hold_not_found")
    basic = {"Authorization": "Basic " + hold["hold_token"]}
    assert_problem(ada.call("GET", path, headers=basic), 404, "hold_not_found")


def test_a_released_hold_frees_its_seats_and_can_be_released_again(ada, bob):
    hold = ada.held("stalls-A-1")
    for _ in range(2):
        released = ada.release(hold)
        assert (released.status_code, released.content) == (204, b"")
    assert bob.hold_seat("stalls-A-1").status_code == 201
    assert_problem(ada.look_up(hold), 410, "hold_expired")
    assert_problem(ada.pay(hold), 410, "hold_expired")


def test_a_hold_expires_and_the_next_buyer_gets_the_seat(site, seats):
    hall = open_hall(seats, hold_ms=2000)
    ada, bob = Client(site.url, hall.id), Client(site.url, hall.id)
    hold = ada.held("stalls-A-1")
    assert_problem(bob.hold_seat("stalls-A-1"), 409, "seat_taken")
    # nginx may repeat its refusal until the second is over in which it got it.
    time.sleep(hold["expires_in_ms"] / 1000 + 0.1)
    assert bob.hold_seat("stalls-A-1").status_code == 201
    assert_problem(ada.look_up(hold), 410, "hold_expired")
    assert_problem(ada.pay(hold), 410, "hold_expired")
    assert ada.release(hold).status_code == 204
    assert bob.seat_map()[0] == "h", "the late release is not of the next buyer's hold"


# ---------------------------------------------------------------- payments


def test_a_paid_hold_becomes_a_booking(ada, event):
    hold = ada.held("stalls-A-1", "stalls-A-2")
    paid = ada.pay(hold)
    assert paid.status_code == 201, paid.text
    receipt = paid.json()
    assert list(receipt) == [
        "booking_id",
        "hold_id",
        "event",
        "seats",
        "amount",
        "currency",
        "payment_id",
        "booked_at",
        "status",
    ]
    assert receipt["hold_id"] == hold["hold_id"]
    assert receipt["seats"] == ["stalls-A-1", "stalls-A-2"]
    assert (receipt["amount"], receipt["currency"]) == (5000, "GBP")
    assert (receipt["event"], receipt["status"]) == (event.id, "booked")
    assert receipt["payment_id"].startswith("pi_")
    assert RFC3339.fullmatch(receipt["booked_at"])
    path = f"/api/events/{event.id}/bookings/{receipt['booking_id']}"
    assert paid.headers["Location"] == path
    assert "Idempotent-Replayed" not in paid.headers

    assert ada.seat_map()[:3] == "ss0"
    booking = ada.booking(receipt, hold)
    assert (booking.status_code, booking.content) == (200, paid.content)
    found = ada.look_up(hold).json()
    assert (found["status"], found["expires_in_ms"]) == ("booked", 0)
    assert_problem(ada.release(hold), 409, "already_booked")


def test_a_repeated_payment_gets_the_same_bytes(ada):
    hold = ada.held("stalls-A-1")
    first = ada.pay(hold)
    again = ada.pay(hold)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_booking_opens_with_its_token_only(ada, bob):
    hold = ada.held("stalls-A-1")
    receipt = ada.pay(hold).json()
    others = bob.held("stalls-A-2")
    assert_problem(bob.booking(receipt, others), 404, "booking_not_found")
    path = f"bookings/{receipt['booking_id']}"
    assert_problem(ada.call("GET", path), 404, "booking_not_found")
    absent = {"booking_id": others["hold_id"].replace("hld_", "bkg_")}
    assert_problem(bob.booking(absent, others), 404, "booking_not_found")


def test_seats_that_cost_nothing_need_no_card(ada):
    hold = ada.held("free-F-1", "free-F-2")
    assert hold["amount"] == 0
    paid = ada.pay(hold, payment_method=None)
    assert paid.status_code == 201
    assert paid.json()["payment_id"] is None
    assert ada.pay(hold, payment_method=None).content == paid.content


def test_a_payment_without_a_key_is_refused(ada):
    hold = ada.held("stalls-A-1")
    assert_problem(ada.pay(hold, key=None), 400, "idempotency_key_missing")
    assert_problem(ada.pay(hold, key=""), 400, "idempotency_key_missing")
    assert ada.look_up(hold).json()["status"] == "held"


def test_a_declined_card_leaves_the_hold_and_the_next_card_pays(ada):
    hold = ada.held("stalls-A-1")
    declined = ada.pay(hold, "key-1", "pm_card_visa_chargeDeclinedInsufficientFunds")
    problem = assert_problem(declined, 402, "payment_declined")
    assert (problem["reason"], problem["attempts_left"]) == ("insufficient_funds", 4)
    again = ada.pay(hold, "key-1", "pm_card_visa_chargeDeclinedInsufficientFunds")
    assert (again.status_code, again.content) == (402, declined.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert ada.look_up(hold).json()["status"] == "held"
    assert ada.pay(hold, "key-2").status_code == 201


def test_after_five_refused_cards_the_seats_go_back(ada, bob):
    hold = ada.held("stalls-A-1")
    for number in range(5):
        declined = ada.pay(hold, f"key-{number}", "pm_card_visa_chargeDeclined")
        assert assert_problem(declined, 402, "payment_declined")["attempts_left"] == 4 - number
    assert_problem(ada.pay(hold, "key-6"), 410, "hold_expired")
    assert bob.hold_seat("stalls-A-1").status_code == 201


def test_a_payment_that_no_card_can_make_is_refused_for_good_and_the_hold_stays(site, seats):
    """As in an event that was opened when its price was still taken."""
    event = open_hall(seats, sections=(replace(STALLS, price_minor=20),))
    ada = Client(site.url, event.id)
    hold = ada.held("stalls-A-1")
    refused = ada.pay(hold)
    problem = assert_problem(refused, 402, "payment_declined")
    assert (problem["reason"], problem["attempts_left"]) == ("not_accepted", 5)
    assert "Nothing was charged. No other card can change that" in problem["detail"]
    assert "Retry-After" not in refused.headers
    again = ada.pay(hold)
    assert (again.status_code, again.content) == (402, refused.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert ada.look_up(hold).json()["status"] == "held"
    assert ada.release(hold).status_code == 204


def test_twelve_digits_go_from_the_hold_to_the_receipt_and_the_gateway(site, seats):
    event = open_hall(
        seats,
        currency="IDR",
        sections=(replace(STALLS, price_minor=166_666_666_666),),
        max_seats_per_hold=6,
    )
    ada = Client(site.url, event.id)
    hold = ada.held(*(f"stalls-A-{number}" for number in range(1, 7)))
    assert (hold["amount"], hold["currency"]) == (999_999_999_996, "IDR")
    receipt = ada.pay(hold).json()
    assert (receipt["amount"], receipt["currency"]) == (999_999_999_996, "IDR")
    assert ada.pay(hold).json() == receipt
    assert ada.booking(receipt, hold).json() == receipt
    assert site.charges(f"/holds/{hold['hold_id']}") == [999_999_999_996]


def test_a_key_is_not_good_for_another_payment(ada):
    hold = ada.held("stalls-A-1")
    ada.pay(hold, "key-1", "pm_card_visa_chargeDeclined")
    assert_problem(ada.pay(hold, "key-1", "pm_card_visa"), 422, "idempotency_key_reused")
    other = ada.held("stalls-A-2")
    assert ada.pay(other, "key-1").status_code == 201, "a key is the hold's own"


def test_a_second_key_for_a_booked_hold_charges_nothing(ada):
    hold = ada.held("stalls-A-1")
    receipt = ada.pay(hold, "key-1").json()
    problem = assert_problem(ada.pay(hold, "key-2"), 409, "already_booked")
    assert problem["booking_id"] == receipt["booking_id"]


def test_an_unknown_card_is_a_bad_request_and_the_hold_stays(ada):
    hold = ada.held("stalls-A-1")
    unknown = ada.pay(hold, method="pm_card_nonsense")
    assert assert_problem(unknown, 422, "invalid_request")["field"] == "payment_method"
    missing = ada.pay(hold, "key-2", payment_method=None)
    assert assert_problem(missing, 422, "invalid_request")["field"] == "payment_method"
    assert ada.pay(hold, "key-3").status_code == 201


def test_a_hold_that_is_being_paid_says_so_and_cannot_be_released(ada, bob, seats, event):
    hold = ada.held("stalls-A-1")
    with ThreadPoolExecutor() as pool:
        paying = pool.submit(ada.pay, hold, "key-1", "pm_sandbox_slow")
        eventually(lambda: seats.read_seats(event.id).seats[0] == "p", "the payment's beginning")
        assert bob.look_up(hold).json()["status"] == "paying"
        assert bob.seat_map()[0] == "p"
        assert_problem(bob.release(hold), 409, "payment_in_progress")
        repeated = bob.pay(hold, "key-2")
        assert paying.result().status_code == 201
    # It waited for two seconds, and the slow card takes three; but who asks may be slow, too.
    assert repeated.json()["code"] in ("payment_in_progress", "already_booked")
    if repeated.json()["code"] == "payment_in_progress":
        assert repeated.headers["Retry-After"] == "1"


def test_a_card_that_was_charged_before_has_to_be_entered_again(site, ada):
    hold = ada.held("stalls-A-1")

    refused = ada.pay(hold, "key-1", site.used_card())

    assert_problem(refused, 422, "invalid_request")
    assert refused.json()["field"] == "payment_method"
    assert "enter the card again" in refused.json()["detail"]
    assert ada.look_up(hold).json()["status"] == "held"
    assert ada.pay(hold, "key-1").status_code == 201


def test_an_unknown_outcome_is_202_and_says_where_to_ask(site, seats, event, ada, bob):
    hold = ada.held("stalls-A-1")
    site.sandbox.set_faults(
        {"operation": "create", "kind": "drop_after"},
        {"operation": "list", "kind": "error_before"},
    )
    try:
        unknown = ada.pay(hold)
        assert unknown.status_code == 202, unknown.text
        assert unknown.json()["status"] == "paying"
        location = unknown.headers["Location"]
        assert location.startswith(f"/api/events/{event.id}/holds/{hold['hold_id']}/payments/")
        asked = ada.call("GET", location, headers=bearer(hold))
        assert asked.status_code == 202
        assert (asked.headers["Location"], asked.headers["Retry-After"]) == (location, "2")
    finally:
        site.sandbox.set_faults()
    assert_problem(bob.call("GET", location), 404, "hold_not_found")
    other = location.rpartition("/")[0] + "/0123"
    assert_problem(bob.call("GET", other, headers=bearer(hold)), 404, "payment_not_found")

    seats.shorten_lease(event.id, hold["hold_id"], within_ms=0)
    eventually(lambda: seats.read_seats(event.id).seats[0] == "s", "the end by the worker")
    receipt = bob.call("GET", location, headers=bearer(hold))
    assert receipt.status_code == 200
    assert bob.pay(hold).content == receipt.content


# ---------------------------------------------------------------- everywhere


def test_wrong_methods_and_paths_are_problems_too(ada):
    wrong = ada.call("PUT", "seats")
    assert_problem(wrong, 405, "method_not_allowed")
    assert "GET" in wrong.headers["Allow"]
    assert_problem(ada.call("GET", "/nothing"), 404, "not_found")
    assert_problem(ada.call("GET", "/api/nothing"), 404, "not_found")


def test_the_eleventh_request_in_a_second_is_refused(site, event):
    for _ in range(TRIES):
        eager = Client(site.url, event.id)
        began = time.monotonic()
        answers = [eager.call("GET", "/nothing") for _ in range(11)]
        if time.monotonic() - began < 1:
            break
    else:
        raise AssertionError("too slow a machine for this test")
    assert [a.status_code for a in answers] == [404] * 10 + [429]
    for left, answer in zip(range(9, -1, -1), answers, strict=False):
        assert answer.headers["RateLimit-Policy"] == '"client";q=10;w=1'
        assert answer.headers["RateLimit"].startswith(f'"client";r={left};t=')
    assert_problem(answers[-1], 429, "rate_limited")
    assert answers[-1].headers["Retry-After"] == "1"
    assert answers[-1].headers["RateLimit"].startswith('"client";r=0;t=')
    assert Client(site.url, event.id).call("GET", "/nothing").status_code == 404
    time.sleep(1)
    assert eager.call("GET", "seats").status_code == 200


def test_health_is_answered_and_not_limited(site, event):
    eager = Client(site.url, event.id)
    assert {eager.call("GET", "/healthz").status_code for _ in range(30)} == {200}


def test_readiness_and_metrics_are_for_the_inside(site, ada):
    for path in ("/readyz", "/metrics"):
        assert ada.call("GET", path).status_code == 404
        assert requests.get(site.web_url + path, timeout=5).status_code == 200
    metrics = requests.get(site.web_url + "/metrics", timeout=5).text
    assert 'tickets_answers_total{route="api.hold_seats",status="201"}' in metrics


def test_an_event_that_redis_has_lost_is_unavailable_and_not_free(site, seats, redis_client):
    hall = open_hall(seats)
    buyer = Client(site.url, hall.id)
    hold = buyer.held("stalls-A-1")
    lose_event(redis_client, hall.id)
    for answer in (
        buyer.call("GET", ""),
        buyer.call("GET", "seats"),
        buyer.hold_seat("stalls-A-2"),
        buyer.look_up(hold),
        buyer.pay(hold),
    ):
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
