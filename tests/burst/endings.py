"""Where each request ended: the part that answered it, from nginx to MongoDB."""

from collections import Counter
from collections.abc import Iterable

from tests.burst.diary import NOTHING, Answer

EDGE_KEPT = "nginx: repeats a refusal"
EDGE_MAP = "nginx: repeats a seat map"
EDGE_LIMIT = "nginx: far beyond the limit"
EDGE_AWAY = "nginx: the application is away"
LIMITER = "limiter: over ten a second"
FLASK = "Flask: pages, the event"
REDIS_MAP = "Redis: the seat map"
REDIS_NO = "Redis: no"
REDIS_YES = "Redis: held, released, repeated"
AWAY = "Flask: a part is away, or too busy"
BANK = "the bank: asks, is answered"
AT_BANK = "gateway: the bank asks"
GATEWAY = "gateway: card refused"
MONGODB = "MongoDB: booked"
NOBODY = "nobody: no nginx"

PARTS = (
    EDGE_KEPT,
    EDGE_MAP,
    EDGE_LIMIT,
    LIMITER,
    FLASK,
    REDIS_MAP,
    REDIS_NO,
    REDIS_YES,
    BANK,
    AT_BANK,
    GATEWAY,
    MONGODB,
    AWAY,
    EDGE_AWAY,
    NOBODY,
)
"""In the order in which requests pass them; the last ones only when something is broken."""

PAGES = frozenset({"event", "page"})
AT_BANKS_PAGE = frozenset({"bank", "answer to bank"})
ABOUT_BANK = frozenset({"way back", "give up", "form to give up"})
"""Calls that make the application look at a payment at the bank. On the way back it is booked, if
it was confirmed."""
TO_BANK = frozenset({("pay", "202 action_required"), ("form to pay", "303 to the hold")})


def where_requests_ended(answers: Iterable[Answer], refused_by_limiter: int) -> Counter[str]:
    """``refused_by_limiter`` is the application's own count: its 429 and nginx's look alike."""
    ended = Counter(map(_part, answers))
    over_limit = ended.pop(EDGE_LIMIT, 0)
    ended[LIMITER] = min(refused_by_limiter, over_limit)
    ended[EDGE_LIMIT] = over_limit - ended[LIMITER]
    return ended


def _part(answer: Answer) -> str:
    if answer.said == NOTHING:
        return NOBODY
    if answer.call in AT_BANKS_PAGE:
        return BANK
    if answer.status == 429:
        return EDGE_LIMIT
    if not answer.counted:
        if answer.status >= 500:
            return EDGE_AWAY
        return EDGE_MAP if answer.call == "seats" else EDGE_KEPT
    if answer.status >= 500:
        return AWAY
    if answer.status == 402:
        return GATEWAY
    if answer.call in PAGES:
        return FLASK
    if answer.call == "seats":
        return REDIS_MAP
    if answer.status >= 400:
        return REDIS_NO
    if answer.call in ABOUT_BANK or (answer.call, answer.said) in TO_BANK:
        return AT_BANK
    if (answer.call, answer.said) in (("pay", "201"), ("form to pay", "303")):
        return MONGODB
    return REDIS_YES
