"""A bot with a whole IPv6 network: each /64 of it is a client that keeps the limits."""

import pytest

from tests.pages.browser import Browser
from tests.support.factories import put_on_sale, small_hall, two_halves
from tests.support.http_client import Client

SEATS = 450
"""Of each half of the hall."""


@pytest.fixture
def hall(seats):
    event = two_halves("network", SEATS, max_seats_per_hold=8, max_held_per_client=16)
    put_on_sale(seats, event)
    return event


def hold_8(client: Client, number: int):
    """In one of the ways in which seats can be held."""
    first = 8 * number + 1
    seats = [f"free-GA-{first + n}" for n in range(8)]
    if number % 3 == 0:
        return client.hold_best("paid", 8)
    return client.hold_seats(*seats) if number % 3 == 1 else client.hold_seat(seats[0])


def test_a_network_cannot_keep_a_hall_from_being_sold(stack, hall, seats):
    answers = [
        hold_8(Client(stack.url, hall.id, f"2001:db8:6:{number:x}::1"), number)
        for number in range(50)
    ]
    refused = answers[-1].json()
    assert refused["code"] == "too_many_held"
    assert refused["max_held_per_network"] == hall.network_max == 64
    assert refused["held"] in range(57, 65)
    assert refused["detail"].startswith("Your network, which other people share, holds")
    held = sum(len(answer.json()["seats"]) for answer in answers if answer.status_code == 201)
    assert held == len(seats.read_seats(hall.id).seats.replace("0", "")) <= 64
    assert hold_8(Client(stack.url, hall.id, "2001:db8:7::1"), 0).status_code == 201


def test_what_the_network_gives_back_others_in_it_can_hold(stack, hall):
    clients = [Client(stack.url, hall.id, f"2001:db8:8:{number:x}::1") for number in range(9)]
    holds = [client.hold_best("paid", 8).json() for client in clients[:8]]
    assert clients[8].hold_best("paid", 1).status_code == 409
    clients[0].release(holds[0])
    assert clients[8].hold_best("paid", 8).status_code == 201


def test_a_client_in_a_network_has_the_cap_of_a_client(stack, hall):
    client = Client(stack.url, hall.id, "2001:db8:9::1")
    assert [client.hold_best("paid", 8).status_code for _ in range(3)] == [201, 201, 409]
    assert client.hold_best("paid", 8).json()["max_held_per_client"] == 16


def test_the_organiser_says_how_much_a_network_may_hold(stack, seats):
    event = small_hall(max_held_per_network=10)
    put_on_sale(seats, event)
    first, second = (Client(stack.url, event.id, f"2001:db8:a:{n}::1") for n in (1, 2))
    assert first.call("GET", "").json()["max_held_per_network"] == 10
    assert first.hold_best("stalls", 6).status_code == 201
    assert second.hold_best("stalls", 5).json()["held"] == 6
    assert second.hold_best("stalls", 4).status_code == 201


def test_ipv4_addresses_have_no_network(stack, hall):
    for number in range(10):
        client = Client(stack.url, hall.id, f"192.0.2.{number + 1}")
        assert client.hold_best("paid", 8).status_code == 201


def test_a_buyer_beside_the_bot_is_told_that_it_is_not_their_fault(stack, seats):
    event = small_hall(max_held_per_client=6, max_held_per_network=6)
    put_on_sale(seats, event)
    Client(stack.url, event.id, "2001:db8:b:1::1").hold_best("stalls", 6)
    buyer = Browser(stack.url)
    buyer.headers["X-Forwarded-For"] = "2001:db8:b:2::1"
    for button in ("Hold the chosen", "Hold the best"):
        refused = buyer.get(f"/events/{event.id}").press(button, **ASKED[button])
        assert refused.status == 409
        summary = refused.root.one(id="mistakes").text
        assert summary.startswith("Your network holds many seats already")
        assert "Try again shortly" in summary
        assert "None of them need be yours" in refused.text
        assert "Your connection" not in refused.text


ASKED = {
    "Hold the chosen": {"seats": "floor-GA-1"},
    "Hold the best": {"section": "floor", "quantity": "1"},
}
