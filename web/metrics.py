"""The metrics of the web processes, and of a worker, for Prometheus."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

RESPONSES = Counter("tickets_answers", "Responses by route and status.", ["route", "status"])
SECONDS = Histogram(
    "tickets_answer_seconds",
    "Time in the application by route.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
REFUSALS = Counter("tickets_refusals", "Refusals by code.", ["code"])
CARDS_REFUSED = Counter("tickets_cards_refused", "Cards that the gateway refused.")
HOLDS_LOST = Counter(
    "tickets_holds_lost_to_refused_cards",
    "Holds that ended with a refused card: it was the last attempt, or the hold had expired.",
)
NOT_ACCEPTED_PAYMENTS = Counter(
    "tickets_payments_not_accepted",
    "Payments that the gateway rejects with any card; the log says why.",
)
PAYMENTS_AT_BANK = Counter(
    "tickets_payments_at_bank",
    "Payments whose bank asked the owner of the card to confirm them.",
)
GATEWAY_FAILURES = Counter(
    "tickets_gateway_failures",
    "Failed calls of the payment gateway, by cause; the log has its message.",
    ["cause"],
)
GATEWAY_WAITS = Histogram(
    "tickets_gateway_wait_seconds",
    "How long calls wait for the payment gateway's rate limit, by endpoint; only those that wait.",
    ["endpoint"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 7),
)
ADMISSIONS = Counter(
    "tickets_admissions",
    "Seats let in at the door: asked for, or reported by a door that had no connection.",
    ["how"],
)
MAILS = Counter(
    "tickets_mails",
    "Mails to buyers by what they say and what became of them; the log says why.",
    ["news", "outcome"],
)
LIMITER_FALLBACKS = Counter(
    "tickets_limiter_fallbacks",
    "Requests that a worker decided on its own: the sidecar did not respond.",
)

RedisReach = Mapping[str, tuple[bool, Sequence[str]]]
"""By address of a server of Redis: whether it takes writes, and the ids of its events. The address
is empty for events of which no server is known."""

REDIS_STATS = {
    "redis_up": "1 while this server of Redis takes writes; events of no known server have none.",
    "event_reachable": "1 while the server of Redis that has this event takes writes.",
}
LIMITER_STATS = {
    "clients": "Clients that the limiter of this host is tracking.",
    "forgotten_early": "Clients that the limiter evicted for lack of room: LIMITER_MAX_CLIENTS.",
    "shared": "1 while the limiter shares its counts with other hosts.",
    "shared_fallbacks": "Requests that the limiter decided for its host alone: no Redis.",
}

WORKER_STATS = {
    "rounds_total": "Rounds that this worker has completed.",
    "last_round_timestamp_seconds": "When this worker completed its last round, in Unix time.",
    "repairs_total": "Repairs that this worker has made, by kind.",
    "mails_waiting": "Bookings whose buyers have still to be told something by mail.",
    "failures_total": "Repairs and looks of this worker that failed; the log says why.",
}


def count_refusal(code: str) -> None:
    REFUSALS.labels(code).inc()


def count_checkpoint(point: str) -> None:
    """``point`` of a payment, as in ``web/use_cases/``."""
    if point == "at_bank":
        PAYMENTS_AT_BANK.inc()


def count_gateway_failure(cause: str) -> None:
    GATEWAY_FAILURES.labels(cause).inc()


def count_mail(news: str, outcome: str) -> None:
    MAILS.labels(news, outcome).inc()


def note_gateway_wait(endpoint: str, seconds: float) -> None:
    GATEWAY_WAITS.labels(endpoint).observe(seconds)


def measure_responses(app: Flask) -> None:
    @app.before_request
    def start() -> None:
        g.started_s = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        seconds = time.perf_counter() - g.started_s
        count_response(request.endpoint or "unknown", response.status_code, seconds)
        return response


def count_response(route: str, status: int, seconds: float) -> None:
    """``route`` is an endpoint, not a path: clients can invent any number of paths."""
    responses, latencies = _of_route(route, status)
    responses.inc()
    latencies.observe(seconds)


@cache
def _of_route(route: str, status: int) -> tuple[Counter, Histogram]:
    return RESPONSES.labels(route, status), SECONDS.labels(route)


class _LimiterStats(Collector):
    """The statistics of this host's limiter at the time of collection; none while it is down."""

    def __init__(self, stats: Mapping[str, int]):
        self._stats = stats

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, value in self._stats.items():
            if name in LIMITER_STATS:
                yield GaugeMetricFamily(f"tickets_limiter_{name}", LIMITER_STATS[name], value)


class _RedisStats(Collector):
    """From which servers this host can sell, and which events, at the time of collection."""

    def __init__(self, servers: RedisReach):
        self._servers = servers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up, reachable = (
            GaugeMetricFamily(f"tickets_{name}", text, labels=labels)
            for (name, text), labels in zip(
                REDIS_STATS.items(), (["server"], ["event", "server"]), strict=True
            )
        )
        for address, (takes_writes, event_ids) in self._servers.items():
            up.add_metric([address], takes_writes)
            for event_id in event_ids:
                reachable.add_metric([event_id, address], takes_writes)
        yield from (up, reachable)


def render_metrics(limiter_stats: Mapping[str, int], redis: RedisReach) -> Response:
    """The metrics of all workers of this host, if gunicorn runs them, of its limiter, and of the
    servers of Redis as this host reaches them."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)
    else:
        registry.register(REGISTRY)
    registry.register(_LimiterStats(limiter_stats))
    registry.register(_RedisStats(redis))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class WorkerStats(Collector):
    """What one worker has done, at the time of collection. ``repairs`` counts them by kind."""

    def __init__(
        self,
        repairs: Mapping[str, int],
        failures: Callable[[], int],
        mails_waiting: Callable[[], int | None],
    ):
        """``mails_waiting`` returns None while that is not known."""
        self._repairs = repairs
        self._failures = failures
        self._mails_waiting = mails_waiting
        self._rounds = 0
        self._last_round_s = 0.0

    def count_round(self) -> None:
        self._rounds += 1
        self._last_round_s = time.time()

    def serve(self, host: str, port: int) -> None:
        """In a thread that ends with the process. Raises OSError."""
        registry = CollectorRegistry()
        registry.register(self)
        registry.register(GATEWAY_FAILURES)
        registry.register(GATEWAY_WAITS)
        registry.register(MAILS)
        start_http_server(port, host, registry)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        yield CounterMetricFamily(*_described("rounds_total"), self._rounds)
        last_round = _described("last_round_timestamp_seconds")
        yield GaugeMetricFamily(*last_round, self._last_round_s)
        repairs = CounterMetricFamily(*_described("repairs_total"), labels=["kind"])
        for kind, number in dict(self._repairs).items():
            repairs.add_metric([kind.replace(" ", "_")], number)
        yield repairs
        if (waiting := self._mails_waiting()) is not None:
            yield GaugeMetricFamily(*_described("mails_waiting"), waiting)
        yield CounterMetricFamily(*_described("failures_total"), self._failures())


def _described(name: str) -> tuple[str, str]:
    return f"tickets_worker_{name}", WORKER_STATS[name]
