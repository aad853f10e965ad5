"""The answers that buyers must expect. All others are surprises, which a burst without chaos must
not have."""

from tests.burst.diary import NOTHING

HOLD_REFUSALS = {"409 too_many_held", "403 sale_not_open"}

EXPECTED: dict[str, set[str]] = {
    "event": {"200"},
    "seats": {"200"},
    "hold seat": {"201", "409 seat_taken", *HOLD_REFUSALS},
    "hold best": {"201", "409 sold_out", *HOLD_REFUSALS},
    "hold list": {"201", "409 seat_taken", *HOLD_REFUSALS},
    "pay": {
        "201",
        "201 replayed",
        "202 paying",
        "202 action_required",
        "402 payment_declined",
        "409 payment_in_progress",
        "410 hold_expired",
    },
    "payment": {"200", "202 paying", "202 action_required", "402 payment_declined"},
    "release": {"204"},
    # Refusals as pages have the API's statuses but no code.
    "page": {"200", "202", "303", "410"},
    "form to hold": {"303 to the hold", "409", "403"},
    "form to pay": {"303", "303 to the hold", "202", "402", "410"},
    # A bank's page is gone when its payment does not wait for an answer any more.
    "bank": {"200", "410"},
    "answer to bank": {"303 to the hold"},
    "way back": {"303 to the hold"},
    "give up": {"204", "202 paying"},
    "form to give up": {"303 to the hold"},
}

WAIT = {"pay": "503 unavailable", "form to pay": "503"}
"""When more people pay than the gateway's rate lets through in time."""

AWAY = {"503 unavailable", "503", NOTHING}
"""The answers that any call may get while a part is down."""

IN_CHAOS: dict[str, set[str]] = {
    # Redis has lost the hold, or the sale of the seat to somebody else.
    "pay": {"409 seat_taken", "404 hold_not_found", "504 outcome_unknown"},
    "payment": {"404 payment_not_found"},
    "release": {"404 hold_not_found"},
    "page": {"404"},
    "form to pay": {"409", "404", "504"},
    "way back": {"504"},
    # It is still at the bank: Redis was away when it was to be taken from there.
    "give up": {
        "202 action_required",
        "404 payment_not_found",
        "404 hold_not_found",
        "504 outcome_unknown",
    },
    "form to give up": {"404", "504"},
}


def is_expected(call: str, said: str, *, chaos: bool) -> bool:
    if said in EXPECTED[call] or said.startswith("429") or asks_to_wait(call, said):
        return True
    return chaos and (said in IN_CHAOS.get(call, ()) or said in AWAY)


def asks_to_wait(call: str, said: str) -> bool:
    return WAIT.get(call) == said


def is_server_error(status: int, said: str, may_retry: bool, *, chaos: bool) -> bool:
    """Every 5xx and every request without an answer. While parts are killed, these do not count:
    503 with a Retry-After and 504 outcome_unknown, which the API documents, and requests while
    nginx is down."""
    if not chaos:
        return status >= 500 or said == NOTHING
    if said == NOTHING:
        return False
    return status >= 500 and not ((status == 503 and may_retry) or status == 504)
