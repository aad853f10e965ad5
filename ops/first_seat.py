"""Find a seat that one could buy now, the way any client would."""

import json
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from typing import Any

TIMEOUT_S = 5


def hold_url_of_a_free_seat(base_url: str) -> str | None:
    """The URL to POST to that holds the first free seat, in layout order, of the first event on
    sale. None when nothing is for sale. Raises OSError when the API does not answer."""
    for summary in _get(f"{base_url}/api/events")["events"]:
        event_url = f"{base_url}/api/events/{urllib.parse.quote(summary['id'])}"
        event = _get(event_url)
        if datetime.fromisoformat(event["sale_opens_at"]) > datetime.now(UTC):
            continue
        seats = [
            seat
            for section in event["sections"]
            for row in section["rows"]
            for seat in row["seats"]
        ]
        states = _get(f"{event_url}/seats")["seats"]
        for seat, state in zip(seats, states, strict=True):
            if state == "0":
                return f"{event_url}/seats/{urllib.parse.quote(seat)}/hold"
    return None


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 - our own
        document: dict[str, Any] = json.load(response)
    return document
