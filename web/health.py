"""For load balancers and Prometheus, not for buyers; nginx answers 404 to the latter two."""

from flask import Blueprint, Response, current_app

from web.metrics import render_metrics

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", mimetype="text/plain")


@health.get("/readyz")
def readyz() -> Response:
    """The process can sell: Redis knows its events, MongoDB has its index. Otherwise 503."""
    tickets = current_app.extensions["tickets"]
    tickets.seats.event_ids()
    tickets.bookings.ping()
    tickets.bookings.require_index()
    return Response("ready\n", mimetype="text/plain")


@health.get("/metrics")
def metrics() -> Response:
    return render_metrics(current_app.extensions["tickets"].limiter.stats())
