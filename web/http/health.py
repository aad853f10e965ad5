"""Routes for load balancers and Prometheus, not for buyers."""

from collections.abc import Iterable

from flask import Blueprint, Response, request

from web.http.fast_path import FastPath, FastRequest
from web.http.monitoring import IS_ADMITTED, monitoring
from web.http.responses import ApiResponse
from web.metrics import RedisReach, render_metrics
from web.ports.event_catalogue import StoreServer
from web.services import services

health = Blueprint("health", __name__)
fast_path = FastPath(health)


@fast_path.route("GET", "/healthz")
def healthz(fast_request: FastRequest) -> ApiResponse:
    """The process is alive."""
    return ApiResponse(200, b"ok\n", [("Content-Type", "text/plain; charset=utf-8")])


@health.get("/readyz")
def readyz() -> Response:
    """200 if the process can sell, otherwise 503."""
    if not request.environ.get(IS_ADMITTED):
        return monitoring().refuse(request.environ)
    services().readiness.require()
    return Response("ready\n", mimetype="text/plain")


@health.get("/metrics")
def metrics() -> Response:
    if not request.environ.get(IS_ADMITTED):
        return monitoring().refuse(request.environ)
    parts = services()
    return render_metrics(parts.limiter.stats(), _reach(parts.readiness.servers()))


def _reach(servers: Iterable[StoreServer]) -> RedisReach:
    return {server.address: (server.failure is None, server.event_ids) for server in servers}
