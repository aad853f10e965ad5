"""People whose bank asks them to confirm a payment: they visit its page as a browser does, answer,
and are led back to the shop; or do not."""

import time
from collections.abc import Callable
from urllib.parse import urlencode

import gevent
from locust.contrib.fasthttp import FastHttpSession
from locust.exception import StopUser

from tests.burst import characters
from tests.burst.asking import RETRY_S, Buyer, Reply
from tests.burst.diary import Asked

HTML = {"Accept": "text/html"}
FORM = HTML | {"Content-Type": "application/x-www-form-urlencoded"}

LATE_S = 1.5
"""How long before the end of the time the late ones answer."""


class BankCustomer(Buyer):
    abstract = True
    character: characters.Human

    def be_asked(self, asked: Asked, bank_url: str, give_up: Callable[[], object]) -> None:
        match self.character.at_bank:
            case "give up":
                gevent.sleep(self.character.reads_s)
                asked.answer = "give up"
                give_up()
                return
            case "leave":
                self.ask("bank", "GET", bank_url, HTML)
                self.close_tab(asked)
            case "confirm late":
                self.sleep_until(asked.until_s - LATE_S)
            case _:
                gevent.sleep(self.character.reads_s)
        asked.answer = "refuse" if self.character.at_bank == "refuse" else "accept"
        browser = None
        if self.character.at_bank == "confirm elsewhere":
            browser = self.another_browser()
        way_back = self.answer_bank(asked, bank_url, browser)
        if self.character.at_bank == "confirm and leave":
            self.close_tab(asked)
        if way_back:
            self.come_back(way_back, browser)

    def answer_bank(
        self, asked: Asked, bank_url: str, browser: FastHttpSession | None
    ) -> str | None:
        """The address to which the bank leads; None when it could not be reached in time, or had
        nothing to ask any more."""
        while time.time() < asked.until_s:
            page = self.at(browser, "bank", "GET", bank_url)
            if page.status == 410:
                return None
            if page.status == 200:
                answer = urlencode({"answer": asked.answer})
                reply = self.at(browser, "answer to bank", "POST", bank_url, answer)
                if reply.status == 303:
                    asked.heard_s = time.time()
                    return reply.headers["Location"]
            gevent.sleep(RETRY_S)
        return None

    def come_back(self, way_back: str, browser: FastHttpSession | None) -> None:
        """Follow the redirect of the bank to the shop, and there to the page that it shows."""
        reply = self.at(browser, "way back", "GET", way_back)
        if reply.status == 303 and browser:
            self.at(browser, "page", "GET", reply.headers["Location"])

    def close_tab(self, asked: Asked) -> None:
        self.note_asked(asked)
        raise StopUser

    def at(
        self,
        browser: FastHttpSession | None,
        call: str,
        method: str,
        address: str,
        data: str | None = None,
    ) -> Reply:
        """One request of a page, from another device if it is another browser."""
        headers = FORM if data else HTML
        if browser:
            headers = headers | {"X-Forwarded-For": self.character.elsewhere}
        return self.ask(call, method, address, headers, browser, data=data)
