"""People: they wait for the opening, choose, are too late, try again, hesitate, pay or leave."""

import time
from typing import Any
from urllib.parse import urlencode

import gevent
from locust import task
from locust.exception import StopUser

from tests.burst import characters
from tests.burst.asking import GOOD_CARD, RETRY_S, Buyer, Reply
from tests.burst.diary import Held, NotPaid, Paid
from tests.burst.pages import hidden_fields
from tests.burst.plan import PATIENCE_S
from tests.support.http_client import bearer

CLICKS_APART_S = 0.05

HTML = {"Accept": "text/html"}


class Human(Buyer):
    """Each person is one task, which ends when they got seats or have given up."""

    who = "human"

    def __init__(self, environment: Any):
        super().__init__(environment)
        self.character = characters.human(self.drop.plan.seed, self.number)
        if self.character.way == "pages":
            self.who = "page"

    def address_now(self) -> str:
        return self.character.address

    @task
    def live(self) -> None:
        me = self.character
        reply = self.look_at_event()
        if me.impatient and me.way != "pages" and reply.status == 200:
            self.try_to_hold(None)
        self.sleep_until(self.drop.opens_at_s + me.reaction_s)
        states: str | None = None
        while not self.is_over():
            if me.way == "pages":
                if self.buy_by_pages():
                    break
            else:
                hold = self.try_to_hold(states)
                if hold and self.decide(hold):
                    break
            self.sleep(me.think_s())
            states = self.look_at_seats()
            if states and not set(states) & set("0hp"):
                break  # All seats are sold: none can become free.
        raise StopUser

    # ------------------------------------------------------------ choosing

    def try_to_hold(self, states: str | None) -> dict | None:
        """``states`` is the map that this person sees; None when there was no time to look."""
        me = self.character
        if Buyer.hall is None:
            return None
        if me.way == "best":
            section = me.chance.choice(self.hall.sections)
            _, hold = self.hold("hold best", f"sections/{section}/best/{me.quantity}/hold")
        elif me.way == "hot seat" and states is None:
            _, hold = self.hold_seat(self.hall.hot_seat(me.chance))
        else:
            states = states or "0" * len(self.hall.seats)
            seats = self.hall.choose(states, me.quantity, me.chance)
            if not seats:
                return None
            _, hold = self.hold("hold list", "holds", json={"seats": list(seats)})
        return hold

    # ------------------------------------------------------------ paying, or not

    def decide(self, hold: dict) -> bool:
        """Decide whether to pay for the hold. Returns whether this person is done with the sale."""
        me = self.character
        gevent.sleep(me.dither_s)
        match me.intent:
            case "release":
                self.ask("release", "DELETE", f"holds/{hold['hold_id']}", bearer(hold))
                return True
            case "abandon":
                return True
            case "click twice":
                return self.click_twice(hold)
            case "bad card first":
                refused = self.pay(hold, "first card", me.bad_card)
                if refused is None or refused.status != 402:
                    return self.note_end(hold, refused)
                gevent.sleep(1.0)
        return self.pay_to_the_end(hold, "a good card")

    def pay_to_the_end(self, hold: dict, key: str) -> bool:
        """Pay, again with another key when the worker has undone an interrupted payment."""
        reply = self.pay(hold, key)
        if reply and reply.status == 402:
            reply = self.pay(hold, f"{key}, again")
        return self.note_end(hold, reply)

    def click_twice(self, hold: dict) -> bool:
        clicks = [gevent.spawn(self.pay, hold, "the same key")]
        gevent.sleep(CLICKS_APART_S)
        clicks.append(gevent.spawn(self.pay, hold, "the same key"))
        gevent.joinall(clicks)
        replies = [click.value for click in clicks]
        if all(reply and reply.status == 402 for reply in replies):
            return self.pay_to_the_end(hold, "another key")
        return self.note_end(hold, *replies)

    # ------------------------------------------------------------ without JavaScript

    def buy_by_pages(self) -> bool:
        """Buy by HTML forms: with hidden fields, a cookie and redirects. Returns whether the seats
        are booked."""
        me = self.character
        address = f"/events/{self.drop.event_id}"
        page = self.ask("page", "GET", address, HTML)
        if page.status != 200:
            return False
        fields = hidden_fields(page.body, f"{address}/best") | {
            "section": me.chance.choice(self.hall.sections) if self.hall else "",
            "quantity": str(me.quantity),
        }
        held = self.send_form("form to hold", f"{address}/best", fields)
        if held.status != 303:
            return False
        hold_address = held.headers["Location"]
        hold_id = hold_address.rpartition("/")[2]
        self.diary.write(Held(self.who, hold_id))
        gevent.sleep(me.dither_s)
        return self.pay_by_page(hold_address, hold_id)

    def pay_by_page(self, hold_address: str, hold_id: str) -> bool:
        deadline_s = time.time() + PATIENCE_S
        heard = "unknown"
        while time.time() < deadline_s:
            wait_s = RETRY_S
            page = self.ask("page", "GET", hold_address, HTML)
            if page.status == 303:
                receipt = self.ask("page", "GET", page.headers["Location"], HTML)
                if receipt.status == 200:
                    self.diary.write(Paid(hold_id, None))
                    return True
            if page.status in (404, 410):
                heard = "nothing charged"
                break
            if page.status == 200:
                pay = f"{hold_address}/pay"
                buyer = {"name": "Grace", "email": "grace@example.org", "payment_method": GOOD_CARD}
                fields = hidden_fields(page.body, pay) | buyer
                wait_s = self.send_form("form to pay", pay, fields).retry_after_s
            gevent.sleep(wait_s)
        self.diary.write(NotPaid(hold_id, heard))
        return False

    def send_form(self, call: str, address: str, fields: dict[str, str]) -> Reply:
        headers = HTML | {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask(call, "POST", address, headers, data=urlencode(fields))
