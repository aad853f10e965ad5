"""Where a bank sends buyers back to who came from here."""

from flask import request, url_for


def return_address(event_id: str, hold_id: str) -> str:
    """The absolute address, under the name by which the buyer knows this site."""
    path = url_for("pages.come_back", event_id=event_id, hold_id=hold_id)
    return f"{request.scheme}://{request.host}{path}"
