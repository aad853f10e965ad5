"""A worker for the tests of exactness: asks limiters for many clients and prints their answers.

    python -m gevent.monkey --module tests.support.limit_worker SECONDS SEED RATE SOCKET...

prints JSON: ``accepted`` and ``refused``, client to its ``[asked_ns, answered_ns]`` by
CLOCK_MONOTONIC, which all processes of a machine share, and ``fallbacks``.
"""

import json
import random
import sys
import time
from collections import defaultdict, deque

import gevent

from sidecar.client import LimiterClient
from sidecar.settings import parse_rate
from sidecar.sliding_log import Decision, Rate

CLIENTS = 2000
BURSTS = 300
"""Concurrent requests, each of a random client."""

GREEDY = 10
"""Clients of all workers: each asks again as soon as the limiter said it may."""

POLITE = 10
"""Clients of this worker alone: each asks as often as the limit allows, as far as it knows."""

PATIENCE_S = 2.0
"""Long, so that a busy machine does not change the counts."""


class Worker:
    def __init__(self, sockets: list[str], rate: Rate, seed: str):
        self.accepted: defaultdict[str, list] = defaultdict(list)
        self.refused: defaultdict[str, list] = defaultdict(list)
        self._limiters = [LimiterClient(path, timeout_s=PATIENCE_S) for path in sockets]
        self._rate = rate
        self._seed = seed
        self._chance = random.Random(seed)

    @property
    def fallbacks(self) -> int:
        return sum(limiter.fallbacks for limiter in self._limiters)

    def work(self, seconds: float) -> None:
        """Requests under way at the end are not reported."""
        greenlets = [gevent.spawn(self._burst) for _ in range(BURSTS)]
        greenlets += [gevent.spawn(self._be_greedy, f"greedy-{n}") for n in range(GREEDY)]
        greenlets += [
            gevent.spawn(self._be_polite, f"polite-{self._seed}-{n}") for n in range(POLITE)
        ]
        gevent.joinall(greenlets, timeout=seconds, raise_error=True)

    def _ask(self, name: str) -> tuple[Decision, int]:
        limiter = self._chance.choice(self._limiters)
        asked_ns = time.monotonic_ns()
        decision = limiter.check(name, self._rate)
        answered_ns = time.monotonic_ns()
        told = self.accepted if decision.allowed else self.refused
        told[name].append((asked_ns, answered_ns))
        return decision, answered_ns

    def _burst(self) -> None:
        while True:
            gevent.sleep(self._chance.uniform(0, 4))
            name = f"bursting-{self._chance.randrange(CLIENTS)}"
            for _ in range(self._chance.randint(1, 2 * self._rate.limit)):
                self._ask(name)
                if self._chance.random() < 0.3:
                    gevent.sleep(self._chance.uniform(0, 0.2))

    def _be_greedy(self, name: str) -> None:
        while True:
            decision, answered_ns = self._ask(name)
            if not decision.allowed:
                sleep_until(answered_ns + decision.reset_ns)

    def _be_polite(self, name: str) -> None:
        answered: deque[int] = deque(maxlen=self._rate.limit)
        while True:
            if len(answered) == self._rate.limit:
                sleep_until(answered[0] + self._rate.window_ns)
            answered.append(self._ask(name)[1])


def sleep_until(moment_ns: int) -> None:
    """Never returns early, which a single sleep may do."""
    while (left_ns := moment_ns - time.monotonic_ns()) > 0:
        gevent.sleep(left_ns / 1e9)


def main(seconds: str, seed: str, rate: str, *sockets: str) -> None:
    worker = Worker(list(sockets), parse_rate(rate), seed)
    worker.work(float(seconds))
    told = {"accepted": worker.accepted, "refused": worker.refused, "fallbacks": worker.fallbacks}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
