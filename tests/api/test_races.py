"""Everybody at once, on real servers: count the winners."""

import asyncio
import itertools
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.support.factories import put_on_sale, small_hall, two_halves
from tests.support.http_client import Client
from tests.support.redis_stores import audited
from web.domain.refusals import Refusal, SeatTaken, TooManyHeld, TooManyHeldByNetwork

THREADS = 50
_hold_numbers = itertools.count()


def hold_id() -> str:
    return f"hld_race{next(_hold_numbers)}"


def test_a_thousand_clients_on_one_seat_give_one_hold(stack, event):
    answers = asyncio.run(
        post_from_many_clients(stack.url, event.id, "seats/stalls-A-1/hold", 1000)
    )
    assert Counter(answers) == {201: 1, 409: 999}


async def post_from_many_clients(base_url: str, event_id: str, path: str, clients: int):
    """The statuses of one POST from each of these addresses, all connected before the first is
    sent."""
    address = urlsplit(base_url)
    all_connected = asyncio.Barrier(clients)

    async def post(number: int) -> int:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        await all_connected.wait()
        writer.write(
            f"POST /api/events/{event_id}/{path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"X-Forwarded-For: 203.0.{number // 250}.{number % 250}\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        status_line = await reader.readline()
        await reader.read()
        writer.close()
        return int(status_line.split()[1])

    return await asyncio.wait_for(asyncio.gather(*map(post, range(clients))), timeout=60)


def test_overlapping_lists_are_held_as_a_whole_or_not_at_all(seats, event):
    wishes = [random.Random(seed).sample(range(20), 4) for seed in range(400)]

    def try_to_hold(numbered_wish):
        number, wish = numbered_wish
        try:
            return seats.hold_seats(event, hold_id(), f"client-{number}", wish)
        except SeatTaken:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        won = [hold for hold in pool.map(try_to_hold, enumerate(wishes)) if hold]
    held = [seat for hold in won for seat in hold.seats]
    assert won
    assert len(held) == len(set(held)) == 4 * len(won)
    seat_map = seats.read_seats(event.id).seats
    assert {event.seats[p] for p, state in enumerate(seat_map) if state == "h"} == set(held)


def test_the_best_seats_go_to_as_many_as_there_are(seats):
    hall = small_hall()
    put_on_sale(seats, hall)

    def hold_two(number):
        try:
            section = hall.section_of["stalls"]
            return seats.hold_best(hall, hold_id(), f"client-{number}", section, 2).seats
        except Refusal:
            return ()

    with ThreadPoolExecutor(THREADS) as pool:
        held = [seat for pair in pool.map(hold_two, range(100)) for seat in pair]
    assert sorted(held) == sorted(s for s in hall.seats if s.startswith("stalls"))


def test_one_client_on_many_connections_holds_no_more_than_its_share(seats, event):
    def hold_one(position):
        try:
            return len(seats.hold_seats(event, hold_id(), "greedy", [position]).seats)
        except TooManyHeld:
            return 0

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(hold_one, range(38))) == event.max_held_per_client == 8


def test_a_hundred_clients_of_one_network_hold_no_more_than_its_share(seats, redis_client):
    hall = two_halves("network", 100, max_held_per_network=40)
    put_on_sale(seats, hall)

    def hold_two(number):
        asked = (hall, hold_id(), f"client-{number}")
        try:
            if number % 2:
                return seats.hold_best(*asked, hall.section_of["paid"], 2, "network")
            return seats.hold_seats(*asked, [100 + number, 101 + number], "network")
        except TooManyHeldByNetwork:
            return None

    with ThreadPoolExecutor(100) as pool:
        holds = [hold for hold in pool.map(hold_two, range(100)) if hold]
        assert sum(len(hold.seats) for hold in holds) == 40
        list(pool.map(lambda hold: seats.release_hold(hall.id, hold.id), holds))
    assert redis_client.hgetall(f"clients:{{{hall.id}}}") == {}


@pytest.mark.parametrize("seat", ["stalls-B-1", "free-F-1"])
def test_the_same_payment_from_fifty_clients_books_once(stack, event, bookings, seat):
    hold = Client(stack.url, event.id).held(seat)

    def pay(_):
        buyer = Client(stack.url, event.id)
        answer = buyer.pay(hold)
        while answer.status_code == 409 and answer.json()["code"] == "payment_in_progress":
            time.sleep(int(answer.headers["Retry-After"]))
            answer = buyer.pay(hold)
        return answer.status_code, answer.content

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(pay, range(50)))
    assert [status for status, _ in answers] == [201], "all got the same bytes"
    assert bookings.sold_seats(event.id) == [seat]
    if seat != "free-F-1":
        charged = [a for a in stack.payments() if a.metadata["event"] == event.id]
        assert [a.status for a in charged] == ["captured"]


def test_many_keys_for_one_hold_charge_once(stack, event, bookings):
    hold = Client(stack.url, event.id).held("stalls-B-2")

    def pay(number):
        return Client(stack.url, event.id).pay(hold, f"key-{number}").status_code

    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(pay, range(20)))
    assert answers == {201: 1, 409: 19}
    charged = [a for a in stack.payments() if a.metadata["event"] == event.id]
    assert [a.status for a in charged] == ["captured"]


def test_a_hold_expires_for_everybody_at_once_and_one_gets_the_seat(seats):
    hall = small_hall(hold_ms=1000)
    put_on_sale(seats, hall)
    first = seats.hold_seats(hall, hold_id(), "first", [0])
    time.sleep(0.9)

    def wait_for_the_seat(number):
        while True:
            try:
                return seats.hold_seats(hall, hold_id(), f"client-{number}", [0])
            except SeatTaken:
                if time.time() * 1000 > first.expires_at_ms + 100:
                    return None

    with ThreadPoolExecutor(20) as pool:
        won = [hold for hold in pool.map(wait_for_the_seat, range(20)) if hold]
    assert len(won) == 1
    assert won[0].expires_at_ms >= first.expires_at_ms + 1000, "not before the first ran out"


def test_a_thousand_expired_holds_block_nobody(seats, redis_client):
    """More than one sweep frees at a time: the script asks to be called again."""
    hall = small_hall(hold_ms=500, max_held_per_client=1000)
    put_on_sale(seats, hall)
    key = f"{{{hall.id}}}"
    held = seats.hold_seats(hall, hold_id(), "first", [0])
    stored = redis_client.hget(f"holds:{key}", held.id)
    # The same hold a thousand times over, older than the real one: as many as a burst leaves.
    with redis_client.pipeline() as pipe:
        for number in range(1000):
            pipe.hset(f"holds:{key}", f"hld_old{number}", stored)
            pipe.zadd(f"due:{key}", {f"hld_old{number}": number})
        pipe.execute()
    time.sleep(0.5)
    assert seats.hold_seats(hall, hold_id(), "next", [0]).seats == ("stalls-A-1",)


def test_a_burst_leaves_a_journal_that_leads_to_the_map(seats):
    hall = small_hall(hold_ms=50)
    put_on_sale(seats, hall)

    def sale(number):
        choose = random.Random(number)
        for _ in range(20):
            try:
                hold = seats.hold_seats(hall, hold_id(), f"c{number}", choose.sample(range(38), 2))
                if choose.random() < 0.3:
                    seats.release_hold(hall.id, hold.id)
            except Refusal:
                pass

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(sale, range(100)))
    seat_map = seats.read_seats(hall.id)
    assert audited(seats).replay_journal(hall.id, seat_map.revision) == seat_map
    assert seat_map.revision > 100


def test_a_burst_of_losers_leaves_mongodb_at_the_number_of_bookings(stack, event, mongo_client):
    def inserts() -> int:
        return mongo_client.admin.command("serverStatus")["opcounters"]["insert"]

    before = inserts()
    buyers = [Client(stack.url, event.id) for _ in range(20)]

    def buy(buyer):
        booked = 0
        for seat in ("stalls-A-1", "stalls-A-2", "free-F-1"):
            answer = buyer.hold_seat(seat)
            if answer.status_code == 201:
                buyer.pay(answer.json(), "k0", "pm_card_visa_chargeDeclined", email="nobody")
                booked += buyer.pay(answer.json(), "k1").status_code == 201
        return booked

    with ThreadPoolExecutor(20) as pool:
        booked = sum(pool.map(buy, buyers))
    losers = asyncio.run(post_from_many_clients(stack.url, event.id, "seats/stalls-A-1/hold", 300))
    assert set(losers) == {409}
    assert booked == 3
    assert inserts() - before == booked
    assert mongo_client.tickets.list_collection_names() == ["bookings"]
    assert mongo_client.tickets.bookings.count_documents({"event": event.id}) == booked
