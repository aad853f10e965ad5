"""The application without a limiter, to measure what that costs: everybody may, always."""

from sidecar.sliding_log import Decision, Rate
from wsgi import app


class NoLimit:
    fallbacks = 0

    def check(self, key: str, rate: Rate) -> Decision:
        return Decision(True, rate.limit - 1, rate.window_ns)


app.wsgi_app._limiter = NoLimit()
