"""nginx's own errors in the form of the application's: RFC 9457 problems for programs, and pages
for people. Texts that the application has too are taken from there (web/http/problems.py,
problem_words.py)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from web.http import cross_site
from web.http.problem_words import (
    ALL_KEPT,
    NOT_READ,
    NOTHING_THERE,
    OUR_MISTAKE,
    PageWords,
    back_soon,
    too_many_requests,
)
from web.http.problems import Problem as ApplicationProblem
from web.http.problems import seat_taken, sold_out

Headers = tuple[tuple[str, str], ...]

PROBLEMS_PATH = "/.problems/"
"""The path below which nginx has them; internal, so clients cannot request it."""

PAGE_SUFFIX = ".html"
"""The suffix of the path of a problem's page."""


@dataclass(frozen=True)
class Problem:
    """``nginx_statuses`` are nginx's statuses for the error, including private ones such as 494;
    without any, the configuration names the problem's path. A header's value may be a variable of
    nginx, such as ``$allowed_methods``. ``extra`` are further members of the JSON; if there are
    any, they and ``detail`` may contain variables. ``page`` is the text for people; without it only
    programs can get the problem. ``name`` replaces the code in the path, for a second problem with
    the same code. A problem that ``is_hot`` is a named location.
    """

    code: str
    status: int
    title: str
    detail: str
    nginx_statuses: tuple[int, ...] = ()
    headers: Headers = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    page: PageWords | None = None
    name: str = ""
    is_hot: bool = False

    @property
    def path(self) -> str:
        """Where error_page leads. To a named location nginx goes directly; to a path it goes as to
        a new request's, through the rules of the server and the search for a location, which takes
        a twentieth of the time of a repeated refusal."""
        return ("@" if self.is_hot else PROBLEMS_PATH) + (self.name or self.code)

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


def of_application(
    problem: ApplicationProblem, headers: Headers = (), *, is_hot: bool = False
) -> Problem:
    """A problem that the application has too, and that only programs can get from nginx."""
    return Problem(
        problem.code,
        problem.status,
        HTTPStatus(problem.status).phrase,
        problem.detail,
        headers=headers,
        extra=problem.extra,
        is_hot=is_hot,
    )


RETRY_SOON = (("Retry-After", "1"),)

UPSTREAM_FAILURE_STATUSES = (502, 503, 504)

NEVER_HERE = {
    **dict.fromkeys((301, 302, 303, 307, 308), "a redirect, whose body nobody reads"),
    401: "only auth_basic and auth_request answer it, which are not used",
    402: "nothing in nginx answers it",
    406: "nothing in nginx answers it",
    407: "for a proxy's password: nginx is not a forward proxy",
    408: "nginx closes the connection of a slow client without an answer",
    409: "WebDAV, which is not used; the application's own passes unchanged",
    410: "nothing in nginx answers it",
    411: "WebDAV, which is not used",
    415: "WebDAV and images, which are not used; the application's own passes unchanged",
    416: "ranges are ignored (client_limits.conf.j2)",
    495: "client certificates are not used",
    496: "client certificates are not used",
    498: "nothing in nginx answers it",
    507: "WebDAV, which is not used",
}
"""The other statuses for which nginx has a page of its own (ngx_http_special_response.c), and why
clients never get one. Check this list when you start to use another module of nginx."""

UNAVAILABLE = Problem(
    "unavailable",
    503,
    "Service Unavailable",
    "The box office did not answer. Please try again in a moment.",
    headers=RETRY_SOON,
    page=back_soon("The shop did not answer.", "a moment", "load the page again", ALL_KEPT),
)

OUTCOME_UNKNOWN = Problem(
    "outcome_unknown",
    504,
    "Gateway Timeout",
    "The answer to this payment was lost; whether it was made is not known. Repeat it with the "
    "same Idempotency-Key: that is safe, and nothing is charged twice.",
    headers=RETRY_SOON,
    page=PageWords(
        "We do not know yet whether you have paid",
        (
            "The answer to your payment was lost on the way. It may have been made, or not.",
            (
                "Go back and press the button to pay again, or load this page again. Both are "
                "safe: it is the same payment, and you are never charged twice. If it was made, "
                "they lead to your receipt."
            ),
            "Please do not buy the seats a second time elsewhere. Your basket shows how it stands.",
        ),
    ),
)

HTTPS_REQUIRED = Problem(
    "https_required",
    403,
    "Forbidden",
    "This call came unencrypted: what it carried, a token or a key, may be known to others now. "
    "Nothing happened. Use https.",
)

CROSS_SITE_REQUEST = of_application(cross_site.REFUSED)

# 403: a file that nginx may not read, or a symbolic link.
NOT_FOUND = Problem(
    "not_found",
    404,
    "Not Found",
    "There is nothing at this address.",
    (403, 404),
    page=NOTHING_THERE,
)

BODY_TOO_LARGE = Problem(
    "body_too_large",
    413,
    "Content Too Large",
    "The body of a request may have 64 KiB.",
    (413,),
    page=NOT_READ,
)

RATE_LIMITED = Problem(
    "rate_limited",
    429,
    "Too Many Requests",
    "Too many requests from your address. Wait as long as Retry-After says, then go on slower.",
    (429,),
    page=too_many_requests("a moment"),
)
"""envelope.py has its headers."""

ENVELOPE_STATUS = 471
"""The status of limit_req where the application's own 429 must pass unchanged."""

HOT_RATE_LIMITED = replace(RATE_LIMITED, nginx_statuses=(), page=None, is_hot=True)
"""The same for those calls."""

AT_ONCE_STATUS = 472
"""The status of limit_conn."""

TOO_MANY_AT_ONCE = Problem(
    RATE_LIMITED.code,
    429,
    "Too Many Requests",
    "Too many requests from your address are under way. Finish those, then send the next.",
    (AT_ONCE_STATUS,),
    page=RATE_LIMITED.page,
    name="too_many_at_once",
)
"""envelope.py has its headers."""

# With nginx's variables for the names in the request's path.
OWN_RATE_LIMIT: Headers = (("RateLimit", "$own_rate_limit"),)
SEAT_TAKEN = of_application(seat_taken(["$hold_seat"]), OWN_RATE_LIMIT, is_hot=True)
SOLD_OUT = of_application(sold_out("$hold_section", "$hold_quantity"), OWN_RATE_LIMIT, is_hot=True)

PROBLEMS = (
    # 497: http on the port of https.
    Problem(
        "bad_request",
        400,
        "Bad Request",
        "This is not a well-formed request.",
        (400, 497),
        page=NOT_READ,
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
        page=NOTHING_THERE,
    ),
    # For files and cached answers: the application supports no condition except If-None-Match.
    Problem(
        "precondition_failed",
        412,
        "Precondition Failed",
        "What is here is not what If-Match or If-Unmodified-Since asks for.",
        (412,),
        page=NOT_READ,
    ),
    BODY_TOO_LARGE,
    Problem(
        "uri_too_long",
        414,
        "URI Too Long",
        "The first line of a request may have 16 KiB.",
        (414,),
        page=NOT_READ,
    ),
    Problem(
        "misdirected_request",
        421,
        "Misdirected Request",
        "The box office has another name.",
        (421,),
        page=PageWords(
            "This is not our address",
            ("The shop has another name. It did nothing, and nothing was charged by it.",),
        ),
    ),
    RATE_LIMITED,
    HOT_RATE_LIMITED,
    TOO_MANY_AT_ONCE,
    Problem(
        "header_too_large",
        431,
        "Request Header Fields Too Large",
        "A header line may have 16 KiB, all of them together 64 KiB.",
        (494,),
        page=PageWords(
            NOT_READ.heading,
            (
                (
                    "Your browser sent too much beside the address, cookies perhaps. It did "
                    "nothing, and nothing was charged by it."
                ),
                (
                    "Delete the cookies of this site, then load the page again. The address of a "
                    "receipt still opens it."
                ),
            ),
        ),
    ),
    Problem(
        "internal_error",
        500,
        "Internal Server Error",
        "Something went wrong here.",
        (500,),
        page=OUR_MISTAKE,
    ),
    Problem(
        "not_implemented",
        501,
        "Not Implemented",
        "This method or transfer coding is not known here.",
        (501,),
        page=NOT_READ,
    ),
    Problem(
        "http_version_not_supported",
        505,
        "HTTP Version Not Supported",
        "Please use HTTP/1.1.",
        (505,),
        page=NOT_READ,
    ),
    UNAVAILABLE,
    OUTCOME_UNKNOWN,
    SEAT_TAKEN,
    SOLD_OUT,
)
