"""For load balancers and Prometheus, not for buyers; nginx answers 404 to the latter two."""

from flask import Blueprint, Response

from web.metrics import render_metrics
from web.tickets import tickets

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", mimetype="text/plain")


@health.get("/readyz")
def readyz() -> Response:
    """The process can sell: Redis knows its events, MongoDB has its index. Otherwise 503."""
    parts = tickets()
    parts.seats.event_ids()
    parts.bookings.ping()
    parts.bookings.require_index()
    return Response("ready\n", mimetype="text/plain")


@health.get("/metrics")
def metrics() -> Response:
    return render_metrics(tickets().limiter.stats())
