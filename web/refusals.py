"""Counting what is refused, whoever it is told to and in whatever shape."""

from web.domain import NOT_COMPLETED, PaymentDeclined, Refusal
from web.metrics import CARDS_REFUSED, HOLDS_LOST, count_refusal
from web.problems import Problem, problem_of


def counted(refusal: Refusal) -> Problem:
    """How the refusal looks, which is about to be told."""
    problem = problem_of(refusal)
    count_refusal(problem.code)
    if isinstance(refusal, PaymentDeclined) and refusal.reason != NOT_COMPLETED:
        CARDS_REFUSED.inc()
        if not refusal.attempts_left:
            HOLDS_LOST.inc()
    return problem
