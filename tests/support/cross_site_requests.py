"""Requests as browsers and programs send them to the shop at ``HOST``, and which of them are
refused: the same by nginx and by the application."""

from typing import NamedTuple

HOST = "tickets.example.org"
OURS = f"https://{HOST}"
ALLOWED = "https://shop.example.net"
EVIL = "https://evil.example"

HOLD = "/api/events/e/seats/stalls-A-1/hold"
BEST = "/api/events/e/sections/stalls/best/2/hold"
EVENTS = "/api/events"
PAGE = "/events/e"
FORM = "/events/e/holds"
RETURN = "/events/e/holds/h/return"


class Sent(NamedTuple):
    method: str
    path: str
    site: str = ""
    mode: str = ""
    dest: str = ""
    origin: str = ""
    purpose: str = ""

    @property
    def headers(self) -> dict[str, str]:
        headers = {
            "Host": HOST,
            "Sec-Fetch-Site": self.site,
            "Sec-Fetch-Mode": self.mode,
            "Sec-Fetch-Dest": self.dest,
            "Origin": self.origin,
            "Sec-Purpose": self.purpose,
        }
        return {name: value for name, value in headers.items() if value}

    def __str__(self) -> str:
        """The id of a test."""
        said = (self.site, self.mode, self.dest, self.origin, self.purpose)
        return " ".join(filter(None, (self.method, self.path, *said)))


REFUSED = [
    # A script's fetch in mode no-cors, and sendBeacon: the calls that need no body.
    Sent("POST", HOLD, "cross-site", "no-cors", "empty", EVIL),
    Sent("POST", BEST, "cross-site", "no-cors", "empty", EVIL),
    Sent("POST", HOLD, "cross-site", "no-cors", "empty", "null"),
    Sent("POST", HOLD, "cross-site", "cors", "empty", EVIL),
    # Another port, or another subdomain of the same domain.
    Sent("POST", HOLD, "same-site", "no-cors", "empty", f"{OURS}:8443"),
    Sent("POST", HOLD, "same-site", "no-cors", "empty", "https://www.example.org"),
    # A form, submitted in the window or in a frame.
    Sent("POST", HOLD, "cross-site", "navigate", "document", EVIL),
    Sent("POST", f"{EVENTS}/e/holds", "cross-site", "navigate", "iframe", "null"),
    Sent("POST", f"{EVENTS}/e/holds/h/pay", "cross-site", "navigate", "document", EVIL),
    Sent("POST", f"{EVENTS}/e/holds/h/payments/k/cancel", "cross-site", "no-cors", "empty", EVIL),
    # Requests that need a preflight, in case one comes without it.
    Sent("DELETE", f"{EVENTS}/e/holds/h", "cross-site", "cors", "empty", EVIL),
    Sent("PUT", f"{EVENTS}/e", "cross-site", "cors", "empty", EVIL),
    Sent("PATCH", f"{EVENTS}/e", "cross-site"),
    # Browsers before Fetch Metadata, and all browsers over http.
    Sent("POST", HOLD, origin=EVIL),
    Sent("POST", HOLD, origin="null"),
    Sent("POST", HOLD, origin=f"{OURS}:8443"),
    Sent("POST", HOLD, origin=f"{OURS}.evil.example"),
    Sent("POST", HOLD, origin=f"https://evil.example/{HOST}"),
    Sent("POST", HOLD, origin=HOST),
    Sent("DELETE", f"{EVENTS}/e/holds/h", origin=EVIL),
    # A value that no browser sends yet.
    Sent("POST", HOLD, "somewhere"),
    # Fetched repeatedly, these would use up the visitor's rate limit.
    Sent("GET", EVENTS, "cross-site", "no-cors", "empty"),
    Sent("GET", EVENTS, "cross-site", "cors", "empty", EVIL),
    Sent("OPTIONS", HOLD, "cross-site", "cors", "empty", EVIL),
    Sent("GET", PAGE, "cross-site", "no-cors", "image"),
    Sent("GET", PAGE, "same-site", "no-cors", "script"),
    Sent("GET", PAGE, "cross-site", "navigate", "iframe"),
    Sent("GET", PAGE, "cross-site", "navigate", "object"),
    Sent("GET", PAGE, "cross-site", "navigate", "embed"),
    Sent("POST", FORM, "cross-site", "no-cors", "empty", EVIL),
    Sent("POST", FORM, "cross-site", "navigate", "iframe", EVIL),
    Sent("POST", f"{PAGE}/holds/h/cancel", "cross-site", "no-cors", "empty", EVIL),
    # Each could cost a call to Stripe.
    Sent("GET", RETURN, "cross-site", "no-cors", "image"),
    Sent("GET", RETURN, "cross-site", "navigate", "iframe"),
    Sent("GET", RETURN, "none", "navigate", "document", purpose="prefetch"),
    Sent("GET", "/nothing/here", "cross-site", "no-cors", "image"),
    # Pages that another website makes Chromium prefetch, with Sec-Fetch-Site "none".
    Sent("GET", PAGE, "none", "navigate", "document", purpose="prefetch"),
    Sent("GET", PAGE, "none", "navigate", "document", purpose="prefetch;prerender"),
    # An allowed origin may only call the API.
    Sent("POST", FORM, "cross-site", "no-cors", "empty", ALLOWED),
    Sent("POST", HOLD, "cross-site", "no-cors", "empty", f"{ALLOWED}.evil.example"),
    Sent("POST", HOLD, "cross-site", "no-cors", "empty", ALLOWED.replace("https", "http")),
]

TAKEN = [
    # Programs: curl, a telephone's app, a server.
    Sent("POST", HOLD),
    Sent("DELETE", f"{EVENTS}/e/holds/h"),
    Sent("GET", EVENTS),
    Sent("POST", "/webhooks/stripe"),
    # Our own pages, and those of a shop that serves its front end under the same origin.
    Sent("POST", HOLD, "same-origin", "cors", "empty", OURS),
    Sent("POST", FORM, "same-origin", "cors", "empty", OURS),
    Sent("POST", FORM, "same-origin", "navigate", "document", OURS),
    Sent("GET", f"{EVENTS}/e/seats", "same-origin", "cors", "empty"),
    # Behind a proxy that changes Host, Sec-Fetch-Site is right.
    Sent("POST", HOLD, "same-origin", "cors", "empty", "https://front.example"),
    Sent("POST", HOLD, "none", origin=EVIL),
    # Browsers before Fetch Metadata; the proxy in front may have terminated TLS.
    Sent("POST", HOLD, origin=OURS),
    Sent("POST", HOLD, origin=f"http://{HOST}"),
    Sent("POST", FORM, origin=OURS),
    # A form of ours whose origin an extension hides: its CSRF token proves that it is ours.
    Sent("POST", FORM, origin="null"),
    Sent("POST", FORM, "same-origin", "navigate", "document", "null"),
    # A link, a search result, a bookmark, an address that was typed.
    Sent("GET", PAGE, "cross-site", "navigate", "document"),
    # The bank leads back.
    Sent("GET", RETURN, "cross-site", "navigate", "document"),
    Sent("GET", PAGE, "same-site", "navigate", "document"),
    Sent("GET", PAGE, "none", "navigate", "document"),
    Sent("GET", EVENTS, "cross-site", "navigate", "document"),
    # A form of another site, which has no CSRF token: the page refuses it.
    Sent("POST", FORM, "cross-site", "navigate", "document", EVIL),
    # Images in an email, and clients that send fewer headers than browsers do.
    Sent("GET", "/static/page.css", "cross-site", "no-cors", "style"),
    Sent("GET", "/static/page.css", "none", "navigate", "document", purpose="prefetch"),
    Sent("GET", EVENTS, "cross-site"),
    Sent("GET", EVENTS, origin=EVIL),
    # An allowed origin.
    Sent("POST", HOLD, "cross-site", "cors", "empty", ALLOWED),
    Sent("POST", HOLD, origin=ALLOWED),
    Sent("GET", EVENTS, "cross-site", "cors", "empty", ALLOWED),
]
