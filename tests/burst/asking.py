"""The requests of a simulated buyer: each is recorded in the diary, and locust counts the
unexpected answers as failures. A refusal is an answer, not an error."""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import gevent
import msgspec
from locust.contrib.fasthttp import FastHttpSession, FastHttpUser

from tests.burst.characters import Hall
from tests.burst.diary import (
    NOTHING,
    Answer,
    Asked,
    Diary,
    Held,
    NotPaid,
    OtherBytes,
    Paid,
    Who,
)
from tests.burst.plan import PATIENCE_S, Drop
from tests.burst.surprises import is_expected
from tests.support.http_client import bearer

TIMEOUT_S = 40.0
"""Shorter than nginx's time-out, and longer than any payment takes."""

RETRY_S = 0.5

GOOD_CARD = "pm_card_visa"


@dataclass(frozen=True)
class Reply:
    """``status`` is 0 when there was no answer."""

    status: int
    said: str
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def retry_after_s(self) -> float:
        return float(self.headers.get("Retry-After") or RETRY_S)


class _Said(msgspec.Struct):
    code: str = ""
    status: str | int = ""


_decode_said = msgspec.json.Decoder(_Said).decode


class Buyer(FastHttpUser):
    """A client with an address of its own. ``drop`` and ``diary`` are this process's; ``number`` is
    unique among the buyers of its kind in all processes."""

    abstract = True
    network_timeout = connection_timeout = TIMEOUT_S
    who: ClassVar[Who]
    drop: ClassVar[Drop]
    diary: ClassVar[Diary]
    hall: ClassVar[Hall | None] = None
    _numbers: ClassVar[itertools.count]

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        cls._numbers = itertools.count()

    def __init__(self, environment: Any):
        super().__init__(environment)
        runner = environment.runner
        processes = self.drop.plan.processes
        self.number = next(self._numbers) * processes + runner.worker_index
        _follow_no_redirects(self.client)

    # ------------------------------------------------------------ the time

    def is_over(self) -> bool:
        return time.time() >= self.drop.closes_at_s

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the sale."""
        gevent.sleep(max(0.0, min(seconds, self.drop.closes_at_s - time.time())))

    def sleep_until(self, moment_s: float) -> None:
        gevent.sleep(max(0.0, moment_s - time.time()))

    # ------------------------------------------------------------ one request

    def address_now(self) -> str:
        raise NotImplementedError

    def ask(
        self,
        call: str,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        browser: FastHttpSession | None = None,
        **options: Any,
    ) -> Reply:
        """``call`` is the name of the request in reports; ``path`` is relative to the event when it
        is neither absolute nor the address of another site. ``browser`` is this buyer's own unless
        it is given."""
        if not path.startswith(("/", "http")):
            path = f"/api/events/{self.drop.event_id}/{path}".rstrip("/")
        began_s, began = time.time(), time.perf_counter()
        with (browser or self.client).request(
            method,
            path,
            catch_response=True,
            headers={"X-Forwarded-For": self.address_now(), **(headers or {})},
            **options,
        ) as response:
            reply = _reply_of(response)
            took_ms = (time.perf_counter() - began) * 1000
            response.request_meta["name"] = f"{call}: {reply.said}"
            if is_expected(call, reply.said, chaos=bool(self.drop.plan.chaos)):
                response.success()
            else:
                response.failure(reply.said)
        self.diary.write(
            Answer(
                began_s,
                round(took_ms, 2),
                self.who,
                call,
                reply.status,
                reply.said,
                counted="RateLimit" in reply.headers,
                may_retry="Retry-After" in reply.headers,
            )
        )
        return reply

    # ------------------------------------------------------------ the calls of a sale

    def another_browser(self) -> FastHttpSession:
        """One without the cookies of this buyer's own."""
        browser = FastHttpSession(
            base_url=self.host,
            request_event=self.environment.events.request,
            user=self,
            network_timeout=TIMEOUT_S,
            connection_timeout=TIMEOUT_S,
        )
        _follow_no_redirects(browser)
        return browser

    def look_at_event(self) -> Reply:
        reply = self.ask("event", "GET", "")
        if reply.status == 200 and Buyer.hall is None:
            Buyer.hall = Hall.of(reply.json())
        return reply

    def look_at_seats(self) -> str | None:
        """The live map, if there was an answer."""
        reply = self.ask("seats", "GET", "seats")
        return reply.json()["seats"] if reply.status == 200 else None

    def hold(self, call: str, path: str, **options: Any) -> tuple[Reply, dict | None]:
        """The answer, and the hold when it is one."""
        reply = self.ask(call, "POST", path, **options)
        if reply.status != 201:
            return reply, None
        hold = reply.json()
        self.diary.write(Held(self.who, hold["hold_id"]))
        return reply, hold

    def hold_seat(self, seat: str) -> tuple[Reply, dict | None]:
        return self.hold("hold seat", f"seats/{seat}/hold")

    def pay(self, hold: dict, key: str, card: str = GOOD_CARD) -> Reply | None:
        """The final answer to a payment: it is retried with the same key until there is one, as the
        API demands. None when there was none within PATIENCE_S."""
        path = f"holds/{hold['hold_id']}/pay"
        headers = bearer(hold) | {"Idempotency-Key": key}
        body = {
            "payment_method": card,
            "email": f"{self.who}-{self.number}@example.org",
            "name": f"{self.who.title()} {self.number}",
        }
        deadline_s = time.time() + PATIENCE_S
        location, asked = None, None
        while time.time() < deadline_s:
            began_s = time.time()
            if location:
                reply = self.ask("payment", "GET", location, bearer(hold))
            else:
                reply = self.ask("pay", "POST", path, headers, json=body)
            if reply.status == 202:
                location, state = reply.headers["Location"], reply.json()
                if "next_action" in state:
                    address, location = location, None  # Only a POST makes the shop look.
                    if asked is None:
                        until_s = began_s + state["expires_in_ms"] / 1000
                        asked = Asked(hold["hold_id"], address.rpartition("/")[2], until_s)
                        give_up = partial(self._give_up, hold, address)
                        self.be_asked(asked, state["next_action"]["url"], give_up)
                        continue
            elif _is_final(reply):
                self.note_asked(asked, has_receipt=reply.status in (200, 201))
                return reply
            gevent.sleep(reply.retry_after_s)
        self.note_asked(asked)
        return None

    def be_asked(self, asked: Asked, bank_url: str, give_up: Callable[[], object]) -> None:
        """Do something about the question of a bank, and note it in ``asked``. ``give_up`` cancels
        the payment. Raises StopUser when this buyer closes the tab."""
        raise NotImplementedError

    def note_asked(self, asked: Asked | None, *, has_receipt: bool = False) -> None:
        if asked:
            asked.receipt_s = time.time() if has_receipt else None
            self.diary.write(asked)

    def _give_up(self, hold: dict, location: str) -> None:
        deadline_s = time.time() + PATIENCE_S
        while time.time() < deadline_s:
            reply = self.ask("give up", "POST", f"{location}/cancel", bearer(hold))
            if reply.status != 202 and _is_final(reply):
                return
            gevent.sleep(reply.retry_after_s)

    def note_end(self, hold: dict, *replies: Reply | None) -> bool:
        """Record how paying for a hold ended; ``replies`` are the final answers to one key. Returns
        whether the seats are booked."""
        hold_id = hold["hold_id"]
        receipts = [reply for reply in replies if reply and reply.status in (200, 201)]
        if None in replies and not receipts:
            self.diary.write(NotPaid(hold_id, "unknown"))
        elif not receipts:
            self.diary.write(NotPaid(hold_id, "nothing charged"))
        else:
            for reply in receipts:
                self.diary.write(Paid(hold_id, reply.json()))
            if len({reply.body for reply in replies if reply}) > 1:
                self.diary.write(OtherBytes(hold_id))
        return bool(receipts)


def _follow_no_redirects(browser: FastHttpSession) -> None:
    """Buyers follow redirects themselves, to record them."""
    browser.client.redirect_response_codes = frozenset()


def _is_final(reply: Reply) -> bool:
    return 0 < reply.status < 500 and reply.said not in (
        "409 payment_in_progress",
        "429 rate_limited",
    )


def _reply_of(response: Any) -> Reply:
    status, headers = response.status_code, response.headers or {}
    if not status:
        return Reply(0, NOTHING, b"", {})
    body = response.content or b""
    said = str(status)
    if status >= 400 and "json" in (headers.get("Content-Type") or ""):
        said = f"{status} {_decode_said(body).code}"
    elif headers.get("Idempotent-Replayed"):
        said = f"{status} replayed"
    elif status == 202 and "json" in (headers.get("Content-Type") or ""):
        said = f"{status} {_decode_said(body).status}"
    elif status == 303 and "/holds/" in headers["Location"]:
        said = f"{status} to the hold"
    return Reply(status, said, body, headers)
