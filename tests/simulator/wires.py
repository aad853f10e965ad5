"""The connection between a process and Redis, MongoDB or the gateway, where calls take time and
fail. A fault raises what the real adapter would raise."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any, Protocol

from tests.simulator.gateway import PAGE_SIZE
from tests.simulator.plans import AnswerLost, CallFault, Late, NotSent, SentTwice
from tests.simulator.scheduler import Scheduler
from tests.simulator.story import UNHEARD, Story
from web.adapters.mongodb.client import CALL_TIMEOUT_S
from web.adapters.redis.shard import SOCKET_TIMEOUT_S
from web.adapters.stripe.connection import READ_TIMEOUT_S
from web.domain.refusals import Unavailable
from web.ports.booking_store import InsertUnknown
from web.ports.payment_gateway import NotExecuted, OutcomeUnknown

TIMEOUTS_S = {
    "seats": SOCKET_TIMEOUT_S,
    "bookings": CALL_TIMEOUT_S,
    "gateway": READ_TIMEOUT_S,
}
"""The time-out of a call."""

TAKES_S = {"seats": 0.004, "bookings": 0.03, "gateway": 0.8}
"""The longest duration of a call without a fault."""

LOCAL = {
    ("seats", "cached_event"),
    ("seats", "epoch"),
    ("bookings", "require_index"),
    ("gateway", "now"),
}
"""Calls that a process mostly answers from a cache, at once."""


class Faults(Protocol):
    """The faults that the plan has for calls."""

    def reach(self, process: str, call: str, nth: int, side: str) -> None:
        """A process has reached a spot. A fault there may hit this process, too."""
        ...

    def of_call(self, party: str, process: str, call: str, nth: int) -> CallFault | None:
        """The fault of this call, if any."""
        ...

    def arrives_late(self, call: str, arguments: tuple, at_s: float) -> None:
        """The call has its effect then, when its caller has given up."""
        ...

    def is_away(self, party: str) -> bool: ...


class Wire:
    """``target``, the store or gateway of ``party``, with faults, as seen by one process."""

    def __init__(
        self,
        party: str,
        target: Any,
        scheduler: Scheduler,
        faults: Faults,
        story: Story,
        counts: Counter,
        called: Callable[[str], None],
        seed: int,
    ):
        """``counts`` has how often each process made each call; ``called`` is called for each call
        that had its effect."""
        self._party = party
        self._target = target
        self._scheduler = scheduler
        self._faults = faults
        self._story = story
        self._counts = counts
        self._called = called
        self._seed = seed

    def __getattr__(self, name: str) -> Callable:
        method = getattr(self._target, name)
        if self._party == "gateway" and name == "list":
            return self._list
        if self._party == "gateway" and name == "refunded":
            return method  # No sale of the simulator is older than what is listed.

        def call(*arguments: Any, **named: Any) -> Any:
            return self._call(name, method, arguments, named)

        return call

    def _list(self, since: Any) -> Iterator[Any]:
        """Page by page, with a call for each, as StripeGateway does."""
        page, before = (), None
        while before is None or len(page) == PAGE_SIZE:
            page = self._call("list", self._target.page, (since, before), {})
            yield from page
            before = page[-1].payment_id if page else ""

    def _call(self, name: str, method: Callable, arguments: tuple, named: dict) -> Any:
        scheduler, faults = self._scheduler, self._faults
        who = scheduler.current.name
        self._counts[who, name] += 1
        nth = self._counts[who, name]
        faults.reach(who, name, nth, "before")
        arguments = tuple(_all_of(argument) for argument in arguments)
        takes_s = self._takes_s(who, name, nth)
        self._wait(takes_s / 2)
        if faults.is_away(self._party):
            raise self._told(who, name, arguments, self._away(name))

        def act() -> Any:
            outcome = _all_of(method(*arguments, **named))
            self._called(name)
            return outcome

        match faults.of_call(self._party, who, name, nth):
            case NotSent():
                scheduler.sleep(TIMEOUTS_S[self._party])
                raise self._told(who, name, arguments, self._unknown(name))
            case AnswerLost():
                self._act_alone(who, name, arguments, act)
                scheduler.sleep(1.0)
                raise self._unknown(name)
            case Late(by_s=by_s) if by_s > TIMEOUTS_S[self._party]:
                faults.arrives_late(name, arguments, scheduler.now_s + by_s)
                scheduler.call_at(
                    scheduler.now_s + by_s, lambda: self._act_alone(who, name, arguments, act)
                )
                scheduler.sleep(TIMEOUTS_S[self._party])
                raise self._told(who, name, arguments, self._unknown(name))
            case Late(by_s=by_s):
                scheduler.sleep(by_s)
            case SentTwice(after_s=after_s):
                self._act_alone(who, name, arguments, act)
                scheduler.sleep(after_s)
        try:
            outcome = act()
        except Exception as error:
            self._told(who, name, arguments, error)
            self._wait(takes_s / 2)
            faults.reach(who, name, nth, "after")
            raise
        self._story.call(scheduler.now_s, who, name, arguments, outcome)
        self._wait(takes_s / 2)
        faults.reach(who, name, nth, "after")
        return outcome

    def _wait(self, seconds: float) -> None:
        """Give the other processes a turn, unless the call takes no time."""
        if seconds:
            self._scheduler.sleep(seconds)

    def _act_alone(self, who: str, name: str, arguments: tuple, act: Callable) -> None:
        """The effect of a call whose caller no longer waits for the answer."""
        try:
            outcome = act()
        except Exception as error:
            outcome = error
        self._story.call(self._scheduler.now_s, who, UNHEARD + name, arguments, outcome or "done")

    def _told(self, who: str, name: str, arguments: tuple, error: Exception) -> Exception:
        self._story.call(self._scheduler.now_s, who, name, arguments, error)
        return error

    def _takes_s(self, who: str, name: str, nth: int) -> float:
        """The duration of a call, by its name, so that it is the same in another plan."""
        if (self._party, name) in LOCAL:
            return 0.0
        share = zlib.crc32(f"{self._seed}/{who}/{name}/{nth}".encode()) / 2**32
        return TAKES_S[self._party] * (0.1 + 0.9 * share)

    def _away(self, name: str) -> Exception:
        if self._party == "gateway":
            return NotExecuted("no connection")
        return self._unknown(name)

    def _unknown(self, name: str) -> Exception:
        if self._party == "gateway":
            return OutcomeUnknown("no answer")
        if name == "insert":
            return InsertUnknown()
        return Unavailable("seat store" if self._party == "seats" else "booking store")


def _all_of(value: Any) -> Any:
    """An iterator's items, read at once."""
    return list(value) if isinstance(value, GeneratorType) else value
