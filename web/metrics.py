"""What the web processes count, for Prometheus."""

import os
import time

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

ANSWERS = Counter("tickets_answers", "Answers by route and status.", ["route", "status"])
SECONDS = Histogram(
    "tickets_answer_seconds",
    "Time in the application by route.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
LIMITER_FALLBACKS = Counter(
    "tickets_limiter_fallbacks", "Requests counted by the worker alone: the sidecar was gone."
)


def measure_answers(app: Flask) -> None:
    @app.before_request
    def start() -> None:
        g.started_s = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        # By endpoint, not by path: paths are the client's to invent.
        route = request.endpoint or "unknown"
        ANSWERS.labels(route, response.status_code).inc()
        SECONDS.labels(route).observe(time.perf_counter() - g.started_s)
        return response


def render_metrics() -> Response:
    """Of all workers of this host, when gunicorn runs them."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
