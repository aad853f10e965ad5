"""Faults that tests can inject, call by call.

A fault is planned for an operation, and applied to the next calls of it. The steps below are those
in the package's docstring:

=============  =====================================================================
error_before   500 before step 1: there is no effect
error_after    500 in step 4, after the effect; the true answer is stored under the key
error_kept     500 in step 3, after the effect; the 500 is stored under the key, as at
               Stripe: https://docs.stripe.com/api/idempotent_requests
rate_limited   429 before step 1: too many calls
lock_timeout   429 before step 1: another call uses the same object
drop_before    the connection is closed before step 1
drop_after     the connection is closed in step 4, after the effect
slow_before    step 2 takes ``seconds`` longer; the effect comes even if the client has left
slow_after     step 4 begins ``seconds`` later
hang_before    no answer before step 1, until the faults are cleared; then drop_before
hang_after     no answer in step 4, until the faults are cleared; then drop_after
duplicate      the request is executed twice, as when a proxy sends it again; the second
               answer is delivered
=============  =====================================================================
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ops.sandbox.errors import Answer, ApiError, answer_of, lock_timeout, rate_limited

Operation = Literal[
    "create",
    "confirm",
    "capture",
    "cancel",
    "retrieve",
    "list",
    "refund",
    "list_refunds",
    "create_token",
    "retrieve_token",
]
Kind = Literal[
    "error_before",
    "error_after",
    "error_kept",
    "rate_limited",
    "lock_timeout",
    "drop_before",
    "drop_after",
    "slow_before",
    "slow_after",
    "hang_before",
    "hang_after",
    "duplicate",
]

MAX_SECONDS = 600
"""Of a slow call; for longer ones there are the hang faults."""


class Dropped(Exception):
    """The connection is to be closed without an answer."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault of the next ``calls`` calls of an operation, None for all calls until the faults are
    cleared. ``seconds`` is for slow faults."""

    operation: Operation | Literal["any"]
    kind: Kind
    calls: Annotated[int, Meta(ge=1)] | None = None
    seconds: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] = 0.0

    def __post_init__(self) -> None:
        if self.kind.startswith("slow") != bool(self.seconds):
            raise ValueError("slow faults, and no others, take seconds")


@dataclass
class _Plan:
    fault: Fault
    happened: int = 0


class Faults:
    """The planned faults, in order: a call gets the first one for its operation that is not used
    up, and no other. They are kept in memory only."""

    def __init__(self) -> None:
        self._plans: list[_Plan] = []
        self._cleared = threading.Event()

    def plan(self, faults: Sequence[Fault]) -> None:
        """Replace the planned faults; the former ones are cleared."""
        self.clear()
        self._plans = [_Plan(fault) for fault in faults]

    def clear(self) -> None:
        """Remove all faults. Calls that hang end without an answer."""
        self._plans = []
        self._cleared.set()
        self._cleared = threading.Event()

    def planned(self) -> list[tuple[Fault, int]]:
        """Each fault and how many times it has happened, used up or not."""
        return [(plan.fault, plan.happened) for plan in self._plans]

    def take(self, operation: Operation) -> Fault | None:
        for plan in self._plans:
            fault = plan.fault
            if fault.operation in (operation, "any") and plan.happened != fault.calls:
                plan.happened += 1
                return fault
        return None

    def around(self, fault: Fault | None, call: Callable[[], Answer]) -> Answer:
        """Make the call with the fault before or after it, and return the answer to deliver. Raises
        Dropped."""
        kind = fault and fault.kind
        if kind == "error_before":
            return _server_error().answer()
        if kind == "rate_limited":
            return rate_limited().answer()
        if kind == "lock_timeout":
            return lock_timeout().answer()
        if kind == "drop_before":
            raise Dropped
        if kind == "hang_before":
            self._hang()
        answer = answer_of(call)
        if kind == "duplicate":
            answer = answer_of(call)
        if kind == "error_after":
            return _server_error().answer()
        if kind == "drop_after":
            raise Dropped
        if kind == "hang_after":
            self._hang()
        if fault and kind == "slow_after":
            time.sleep(fault.seconds)
        return answer

    def _hang(self) -> None:
        self._cleared.wait()
        raise Dropped


def delay_s(fault: Fault | None) -> float:
    """How much longer step 2 takes, in seconds."""
    return fault.seconds if fault and fault.kind == "slow_before" else 0.0


def with_kept_error(fault: Fault | None, effect: Callable[[], Answer]) -> Callable[[], Answer]:
    """The effect for step 3; for ``error_kept``, with the 500 in the place of its answer."""
    if fault is None or fault.kind != "error_kept":
        return effect

    def failing() -> Answer:
        error = _server_error().answer()
        return replace(answer_of(effect), status=error.status, body=error.body)

    return failing


def _server_error() -> ApiError:
    return ApiError(500, "api_error", "An unknown error occurred, as the sandbox was told.")
