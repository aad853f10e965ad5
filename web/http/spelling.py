"""Only one spelling of each path is served.

To a proxy in front, two spellings of an address are two addresses: nginx does not find
"//api/events" below "/api/", nor "%2D" in place of "-" among the refusals that it keeps. But Flask
treats several leading slashes as one, static files those in the middle too, and every server
decodes "%2D". nginx refuses the other spellings in the same way (ops/nginx/spelling.conf.j2).
"""

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from web.http.responses import ApiResponse

_SEGMENT = r"\.?[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
"""The characters that need no percent-encoding (RFC 3986, 2.3), but neither "." nor ".."."""

PLAIN_PATH = rf"/(?:{_SEGMENT}(?:/{_SEGMENT})*/*)?"
"""Matches every address of ours; trailing slashes redirect to the address without them. A regular
expression for Python and for nginx (PCRE)."""

_plain = re.compile(PLAIN_PATH)
_origin = re.compile(r"\A[A-Za-z]+://[^/]*")
_nowhere = re.compile(r"\A//+\Z|//[^/]|/\.\.?(?:/|\Z)")
"""An empty segment, except at the end, or a segment of dots. Not "//+[^/]": on 5,000 trailing
slashes that takes quadratic time."""


def one_spelling(app: WSGIApplication) -> WSGIApplication:
    """Middleware. "%2D" in place of "-" redirects to the plain spelling (308): by RFC 3986, 6.2.2,
    the two are equivalent. Empty segments and dots are 404: clients resolve dots themselves. Paths
    that are no address of ours in any spelling pass: the application responds with 404."""

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"] = environ["PATH_INFO"] or "/"  # a URL without a path
        if not is_plain(environ):
            if _nowhere.search(path):
                # 404, however Flask treats slashes.
                environ["PATH_INFO"] = f"/.{path}"
            elif _plain.fullmatch(path):
                return _moved(path, environ["QUERY_STRING"]).send(start_response)
        return app(environ, start_response)

    return respond


def is_plain(environ: WSGIEnvironment) -> bool:
    """Whether the path was sent in the spelling that is served."""
    return _plain.fullmatch(_as_sent(environ)) is not None


def _as_sent(environ: WSGIEnvironment) -> str:
    """The path before it was decoded, if the server passes it on, as gunicorn and Werkzeug do.
    gunicorn also passes on a whole URL if one was sent (RFC 9112, 3.2.2)."""
    uri: str = environ["RAW_URI"] if "RAW_URI" in environ else environ["PATH_INFO"]
    path = uri.partition("?")[0]
    return path if path.startswith("/") else _origin.sub("", path) or "/"


def _moved(path: str, query: str) -> ApiResponse:
    address = f"{path}?{query}" if query else path
    return ApiResponse(308, b"", [("Location", address), ("Cache-Control", "no-store")])
