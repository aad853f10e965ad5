"""Where a bank sends buyers back to who came from here."""

from wsgiref.types import WSGIEnvironment

from werkzeug.wsgi import get_host


def return_address(environ: WSGIEnvironment, event_id: str, hold_id: str) -> str:
    """The absolute address, under the name by which the buyer knows this site. ``environ`` is that
    of the buyer's request."""
    # The same as url_for returns for pages.come_back, which takes longer.
    path = f"/events/{event_id}/holds/{hold_id}/return"
    return f"{environ['wsgi.url_scheme']}://{get_host(environ)}{path}"
