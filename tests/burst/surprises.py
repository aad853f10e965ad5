"""Which answers a buyer has to reckon with. All others are surprises, and a burst without chaos
has none."""

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
        "202",
        "402 payment_declined",
        "409 payment_in_progress",
        "410 hold_expired",
    },
    "payment": {"200", "202", "402 payment_declined"},
    "release": {"204"},
    # A page's refusals have the API's statuses, and no code.
    "page": {"200", "202", "303", "410"},
    "form to hold": {"303", "409", "403"},
    "form to pay": {"303", "202", "402", "410"},
}

AWAY = {"503 unavailable", "503", NOTHING}
"""What any call may hear while a part is away."""

IN_CHAOS: dict[str, set[str]] = {
    # Redis has forgotten the hold, or somebody bought the seat whom it has forgotten.
    "pay": {"409 seat_taken", "404 hold_not_found", "504 outcome_unknown"},
    "payment": {"404 payment_not_found"},
    "release": {"404 hold_not_found"},
    "page": {"404"},
    "form to pay": {"409", "404", "504"},
}


def is_expected(call: str, said: str, *, chaos: bool) -> bool:
    if said in EXPECTED[call] or said.startswith("429"):
        return True
    return chaos and (said in IN_CHAOS.get(call, ()) or said in AWAY)


def is_server_error(status: int, said: str, may_retry: bool, *, chaos: bool) -> bool:
    """Every 5xx and every request without an answer. While parts are killed, the contract's own
    words for that are none: 503 with a Retry-After and 504 outcome_unknown; nor is the silence of
    an nginx that is not there."""
    if not chaos:
        return status >= 500 or said == NOTHING
    if said == NOTHING:
        return False
    return status >= 500 and not ((status == 503 and may_retry) or status == 504)
