"""People: they wait for the opening, choose, are too late, try again, hesitate, pay or leave. What
they do when the bank asks is in ``bank_customers.py``."""

import time
from functools import partial
from typing import Any
from urllib.parse import urlencode

import gevent
from locust import task
from locust.exception import StopUser

from tests.burst import characters
from tests.burst.asking import GOOD_CARD, RETRY_S, Buyer, Reply
from tests.burst.bank_customers import FORM, HTML, BankCustomer
from tests.burst.diary import Asked, Held, NotPaid, Paid
from tests.burst.pages import hidden_fields, link_to_bank
from tests.burst.plan import CONFIRMATION_S, PATIENCE_S
from tests.support.http_client import bearer

CLICKS_APART_S = 0.05

ASKING_CARD = "pm_card_authenticationRequired"


class Human(BankCustomer):
    """Each person is one task, which ends when they got seats or have given up."""

    who = "human"

    def __init__(self, environment: Any):
        super().__init__(environment)
        self.character = characters.human(self.drop.plan.seed, self.number)
        if self.character.way == "pages":
            self.who = "page"
        self.card = ASKING_CARD if self.character.at_bank else GOOD_CARD

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
        """Pay, again with another key and a card that needs no bank when the first payment was
        given up, or interrupted and undone by the worker. Who has refused is done."""
        reply = self.pay(hold, key, self.card)
        if self.character.at_bank == "refuse":
            self.note_end(hold, reply)
            return True
        if reply and reply.status == 402:
            reply = self.pay(hold, f"{key}, again")
        return self.note_end(hold, reply)

    def click_twice(self, hold: dict) -> bool:
        clicks = [gevent.spawn(self.pay, hold, "the same key", self.card)]
        gevent.sleep(CLICKS_APART_S)
        clicks.append(gevent.spawn(self.pay, hold, "the same key", self.card))
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
        """Returns whether this person is done with the sale."""
        deadline_s = time.time() + PATIENCE_S
        pay, cancel = f"{hold_address}/pay", f"{hold_address}/cancel"
        buyer = {"name": "Grace", "email": "grace@example.org", "payment_method": self.card}
        asked, heard, until_s, has_refused = None, "unknown", 0.0, False
        while time.time() < deadline_s:
            wait_s = RETRY_S
            page = self.ask("page", "GET", hold_address, HTML)
            if page.status == 303:
                receipt = self.ask("page", "GET", page.headers["Location"], HTML)
                if receipt.status == 200:
                    self.diary.write(Paid(hold_id, None))
                    self.note_asked(asked, has_receipt=True)
                    return True
            if page.status in (404, 410) or (page.status == 200 and has_refused):
                heard = "nothing charged"
                break
            bank_url = link_to_bank(page.body) if page.status == 202 else None
            if bank_url and asked is None:
                fields = hidden_fields(page.body, cancel)
                asked = Asked(hold_id, fields["payment"], until_s)
                give_up = partial(self.send_form, "form to give up", cancel, fields)
                self.be_asked(asked, bank_url, give_up)
                has_refused = asked.answer == "refuse"
                buyer["payment_method"] = GOOD_CARD
                continue
            if page.status == 200:
                until_s = time.time() + CONFIRMATION_S
                fields = hidden_fields(page.body, pay) | buyer
                wait_s = self.send_form("form to pay", pay, fields).retry_after_s
            gevent.sleep(wait_s)
        self.note_asked(asked)
        self.diary.write(NotPaid(hold_id, heard))
        return has_refused

    def send_form(self, call: str, address: str, fields: dict[str, str]) -> Reply:
        return self.ask(call, "POST", address, FORM, data=urlencode(fields))
