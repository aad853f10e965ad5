"""The connection to Stripe: one session for all callers, its time-outs, and Stripe's clock, which
is read from the responses."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter

CONNECT_TIMEOUT_S = 2.0
"""A handshake takes milliseconds; a lost packet is sent again after one second. After longer than
that the host is probably down, and nothing has been sent yet."""

READ_TIMEOUT_S = 8.0
"""Banks take up to a few seconds. Beyond that the buyer is better served by "we do not know yet"
than by a spinner."""


class StripesClock:
    """Stripe's time: the Date of its last response (RFC 9110, 6.6.1) plus the monotonic time since.
    If no response had a Date, this machine's clock, which is then the best there is."""

    def __init__(self) -> None:
        self.is_known = False
        self._ahead_s = time.time() - time.monotonic()

    def set_by(self, response: requests.Response, **_: object) -> None:
        """A hook of requests."""
        try:
            moment_s = parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (KeyError, ValueError):
            if self.is_known:
                return
            moment_s = time.time()
        self.is_known = True
        self._ahead_s = moment_s - time.monotonic()

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(time.monotonic() + self._ahead_s), UTC)


def shared_session(
    max_connections: int, on_response: Callable[[requests.Response], None]
) -> requests.Session:
    """One session for all greenlets. The SDK keeps one for each thread, which with gevent is one
    for each request: a new connection and a new TLS handshake every time.

    ``on_response`` is called with each response. Sharing is safe because nothing in the session
    changes after this function: urllib3's pool has a lock of its own, and cookies are not kept.
    """
    session = requests.Session()
    session.hooks["response"].append(on_response)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    # Settings come from one place. A ~/.netrc would even replace the API key.
    session.trust_env = False
    # A redirect makes a GET of a POST.
    session.max_redirects = 0
    # At most max_connections calls are in progress, so the pool never runs dry. requests does not
    # retry unless configured to.
    session.mount("http://", HTTPAdapter(pool_maxsize=max_connections))
    session.mount("https://", HTTPAdapter(pool_maxsize=max_connections))
    return session
