from flask import Flask

from sidecar.sliding_log import Decision, Rate


class NoLimit:
    """Replaces the application's limiter and allows everything."""

    fallbacks = 0

    def check(self, key: str, rate: Rate) -> Decision:
        return Decision(True, rate.limit - 1, rate.window_ns)

    def check_both(
        self, key: str, rate: Rate, then_key: str, then_rate: Rate
    ) -> tuple[Decision, Decision | None]:
        return self.check(key, rate), self.check(then_key, then_rate)


def lift_limit(app: Flask) -> None:
    """Switch off the application's rate limits."""
    app.wsgi_app.app._limiter = NoLimit()
