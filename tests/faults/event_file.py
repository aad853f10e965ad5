"""An event file for processes under test, from which the worker reopens an event that Redis
lost."""

from pathlib import Path

_EVENT = """
id = "{event_id}"
name = "An evening with faults"
venue = "Hall"
currency = "GBP"
timezone = "Europe/London"
starts_at = 2099-12-12T19:30:00
sale_opens_at = 2026-01-01T10:00:00Z
hold_seconds = {hold_seconds}
max_held_per_client = 1000

[[sections]]
id = "stalls"
name = "Stalls"
kind = "general"
price = 2500
capacity = {capacity}

[[sections]]
id = "free"
name = "Free of charge"
kind = "general"
price = 0
capacity = {capacity}
"""


def write_event_file(folder: Path, event_id: str, capacity: int, hold_seconds: float) -> Path:
    """An event with two sections, ``stalls`` and ``free``, of ``capacity`` seats each."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{event_id}.toml"
    path.write_text(_EVENT.format(event_id=event_id, capacity=capacity, hold_seconds=hold_seconds))
    return path
