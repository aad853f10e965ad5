"""The signed cookie. It contains the basket, the secret of the CSRF tokens and the organiser's
login, and nothing that must be hidden from its owner."""

from datetime import timedelta

from flask import Flask, Request, has_request_context, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

LIFETIME = timedelta(days=30)
"""Long enough to find the receipt again after a week with a broken phone."""

NAME = "tickets"
SECURE_PREFIX = "__Host-"
"""Browsers accept such a cookie only over TLS, for exactly this host and all its paths: no other
site under the same domain can plant one."""

COOKIES = (NAME, SECURE_PREFIX + NAME)

PATHS_WITHOUT = ("/api/", "/static/", "/webhooks/", "/healthz", "/readyz", "/metrics")
"""Here the cookie is not even read: it must never authorise a call of the API, which has tokens."""


class PageSessions(SecureCookieSessionInterface):
    """Flask's own signed cookie, for pages only, and Secure if the buyer's connection has TLS."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if request.path.startswith(PATHS_WITHOUT):
            return None
        return super().open_session(app, request)

    def get_cookie_name(self, app: Flask) -> str:
        return SECURE_PREFIX + NAME if self.get_cookie_secure(app) else NAME

    def get_cookie_secure(self, app: Flask) -> bool:
        return has_request_context() and request.is_secure


def keep_sessions(app: Flask) -> None:
    app.config.update(
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=LIFETIME,
        # Sent only when it changed, not with each response.
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    app.session_interface = PageSessions()
