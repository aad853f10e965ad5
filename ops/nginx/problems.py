"""The errors that nginx makes by itself, in the shape of the application's: RFC 9457 problems for
programs, and for people a page in the application's words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

PROBLEMS_PATH = "/.problems/"
"""Where nginx keeps them; reachable for nginx itself only."""

PAGE_SUFFIX = ".html"
"""Of the path of a problem as a page."""


@dataclass(frozen=True)
class Problem:
    """``nginx_statuses`` are the numbers under which nginx knows the error: beyond the registered
    ones its private ones, such as 494. Without any, something else decides for this problem.
    A header's value may be a variable of nginx's, ``$allowed_methods``. ``extra`` are further
    members; where there are some, they and ``detail`` may have variables in them. ``heading`` and
    ``paragraphs`` are the page for people; only programs meet a problem without. ``name`` is for a
    second problem with the same code.
    """

    code: str
    status: int
    title: str
    detail: str
    nginx_statuses: tuple[int, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    heading: str = ""
    paragraphs: tuple[str, ...] = ()
    name: str = ""

    @property
    def path(self) -> str:
        return PROBLEMS_PATH + (self.name or self.code)

    @property
    def body(self) -> str:
        return json.dumps(
            {
                "type": "about:blank",
                "title": self.title,
                "status": self.status,
                "code": self.code,
                "detail": self.detail,
                **self.extra,
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )


class Page(TypedDict):
    heading: str
    paragraphs: tuple[str, ...]


RETRY_SOON = (("Retry-After", "1"),)

NEVER_TWICE = "If you were paying, that is safe: you are never charged twice."

NOTHING_THERE: Page = {
    "heading": "This page does not exist",
    "paragraphs": ("The address may be mistyped, or what was here is no longer on sale.",),
}

NOT_READ: Page = {
    "heading": "We could not read that",
    "paragraphs": ("It did nothing, and nothing was charged by it.",),
}

UPSTREAM_FAILURE_STATUSES = (502, 503, 504)

NEVER_HERE = {
    **dict.fromkeys((301, 302, 303, 307, 308), "leads elsewhere; nobody reads what else it says"),
    401: "asks for a password: auth_basic and auth_request, which are not used",
    402: "nothing in nginx says it",
    406: "nothing in nginx says it",
    407: "asks for a proxy's password: nginx is no forward proxy",
    408: "nginx hangs up on a slow client without a word",
    409: "WebDAV, which is not used; the application's own passes as it is",
    410: "nothing in nginx says it",
    411: "WebDAV, which is not used",
    415: "WebDAV and images, which are not used; the application's own passes as it is",
    416: "parts of an answer are not sent (client_limits.conf.j2)",
    495: "no client is asked for a certificate",
    496: "no client is asked for a certificate",
    498: "nothing in nginx says it",
    507: "WebDAV, which is not used",
}
"""The other statuses for which nginx has a page of its own (ngx_http_special_response.c), and why
none of these is ever seen here. Whoever uses a further module of nginx: look here first."""

UNAVAILABLE = Problem(
    "unavailable",
    503,
    "Service Unavailable",
    "The box office did not answer. Please try again in a moment.",
    headers=RETRY_SOON,
    heading="We are back in a moment",
    paragraphs=(
        f"The shop did not answer. Wait a moment, then load the page again. {NEVER_TWICE}",
        "What you hold and what you have bought is kept.",
    ),
)

OUTCOME_UNKNOWN = Problem(
    "outcome_unknown",
    504,
    "Gateway Timeout",
    "The answer to this payment was lost; whether it was made is not known. Repeat it with the "
    "same Idempotency-Key: that is safe, and nothing is charged twice.",
    headers=RETRY_SOON,
    heading="We do not know yet whether you have paid",
    paragraphs=(
        "The answer to your payment was lost on the way. It may have been made, or not.",
        (
            "Go back and press the button to pay again, or load this page again. Both are safe: it "
            "is the same payment, and you are never charged twice. If it was made, they lead to "
            "your receipt."
        ),
        "Please do not buy the seats a second time elsewhere. Your basket shows how it stands.",
    ),
)

HTTPS_REQUIRED = Problem(
    "https_required",
    403,
    "Forbidden",
    "This call came unencrypted: what it carried, a token or a key, may be known to others now. "
    "Nothing happened. Use https.",
)

CROSS_SITE_REQUEST = Problem(
    "cross_site_request",
    403,
    "Forbidden",
    "A page of another website made the browser send this, or the browser fetched ahead what "
    "nobody has opened yet. Nothing happened. A website that may call the API has its origin in "
    "ALLOWED_ORIGINS.",
)

# 403: a file that may not be read, or a link out of the folder.
NOT_FOUND = Problem(
    "not_found",
    404,
    "Not Found",
    "There is nothing at this address.",
    (403, 404),
    **NOTHING_THERE,
)

BODY_TOO_LARGE = Problem(
    "body_too_large",
    413,
    "Content Too Large",
    "The body of a request may have 64 KiB.",
    (413,),
    **NOT_READ,
)

RATE_LIMITED = Problem(
    "rate_limited",
    429,
    "Too Many Requests",
    "Too many requests from your address. Wait as long as Retry-After says, then go on slower.",
    (429,),
    heading="Too many requests at once",
    paragraphs=(
        (
            "Too many requests came from your connection, which others may share. Wait a moment, "
            f"then load the page again. {NEVER_TWICE}"
        ),
        "Seats that you hold stay yours meanwhile, until their time is over.",
    ),
)
"""envelope.py has its headers."""

ENVELOPE_STATUS = 471
"""What limit_req answers where the application's own 429 must pass."""

AT_ONCE_STATUS = 472
"""What limit_conn answers."""

TOO_MANY_AT_ONCE = Problem(
    RATE_LIMITED.code,
    429,
    "Too Many Requests",
    "Too many requests from your address are under way. Finish those, then send the next.",
    (AT_ONCE_STATUS,),
    heading=RATE_LIMITED.heading,
    paragraphs=RATE_LIMITED.paragraphs,
    name="too_many_at_once",
)
"""envelope.py has its headers."""

# The application's words, with the names of what was asked for; a test compares.
SEAT_TAKEN = Problem(
    "seat_taken",
    409,
    "Conflict",
    "Somebody else has $hold_seat. Nothing was held; choose other seats.",
    headers=(("RateLimit", "$own_rate_limit"),),
    extra={"seats": ["$hold_seat"]},
)
SOLD_OUT = Problem(
    "sold_out",
    409,
    "Conflict",
    "Fewer than $hold_quantity seats are available in section $hold_section right now. "
    "Seats come back when a hold runs out.",
    headers=(("RateLimit", "$own_rate_limit"),),
)

PROBLEMS = (
    # 497: http on the port of https.
    Problem(
        "bad_request",
        400,
        "Bad Request",
        "This is not a well-formed request.",
        (400, 497),
        **NOT_READ,
    ),
    HTTPS_REQUIRED,
    CROSS_SITE_REQUEST,
    NOT_FOUND,
    Problem(
        "method_not_allowed",
        405,
        "Method Not Allowed",
        "This method is not allowed here.",
        (405,),
        (("Allow", "$allowed_methods"),),
        **NOTHING_THERE,
    ),
    # Of files and of what nginx keeps: the application takes no conditions but If-None-Match.
    Problem(
        "precondition_failed",
        412,
        "Precondition Failed",
        "What is here is not what If-Match or If-Unmodified-Since asks for.",
        (412,),
        **NOT_READ,
    ),
    BODY_TOO_LARGE,
    Problem(
        "uri_too_long",
        414,
        "URI Too Long",
        "The first line of a request may have 16 KiB.",
        (414,),
        **NOT_READ,
    ),
    Problem(
        "misdirected_request",
        421,
        "Misdirected Request",
        "The box office has another name.",
        (421,),
        heading="This is not our address",
        paragraphs=("The shop has another name. It did nothing, and nothing was charged by it.",),
    ),
    RATE_LIMITED,
    TOO_MANY_AT_ONCE,
    Problem(
        "header_too_large",
        431,
        "Request Header Fields Too Large",
        "A header line may have 16 KiB, all of them together 64 KiB.",
        (494,),
        heading="We could not read that",
        paragraphs=(
            (
                "Your browser sent too much beside the address, cookies perhaps. It did nothing, "
                "and nothing was charged by it."
            ),
            (
                "Delete the cookies of this site, then load the page again. The address of a "
                "receipt still opens it."
            ),
        ),
    ),
    Problem(
        "internal_error",
        500,
        "Internal Server Error",
        "Something went wrong here.",
        (500,),
        heading="Something went wrong on our side",
        paragraphs=(
            (
                "If you were paying, look into your basket: it shows whether the payment went "
                "through. You are never charged twice."
            ),
        ),
    ),
    Problem(
        "not_implemented",
        501,
        "Not Implemented",
        "This method or transfer coding is not known here.",
        (501,),
        **NOT_READ,
    ),
    Problem(
        "http_version_not_supported",
        505,
        "HTTP Version Not Supported",
        "Please use HTTP/1.1.",
        (505,),
        **NOT_READ,
    ),
    UNAVAILABLE,
    OUTCOME_UNKNOWN,
    SEAT_TAKEN,
    SOLD_OUT,
)
