"""Replays an event's journal: the proof that the changes add up to the map."""

import redis

STATE_AFTER = {
    "held": "h",
    "released": "0",
    "expired": "0",
    "paying": "p",
    "unpaid": "h",
    "sold": "s",
}


def replay(client: redis.Redis, event_id: str) -> tuple[int, str]:
    """The revision and the map that the journal leads to. Every change must have raised the
    revision by exactly one."""
    revision, hall = 0, []
    for entry_id, entry in client.xrange(f"journal:{{{event_id}}}"):
        change_revision = int(entry_id.partition("-")[0])
        if entry["change"] == "opened":
            hall = list(entry["map"])
        else:
            assert change_revision == revision + 1
            for position in entry["seats"].split(","):
                assert hall[int(position)] != STATE_AFTER[entry["change"]]
                hall[int(position)] = STATE_AFTER[entry["change"]]
        revision = change_revision
    return revision, "".join(hall)
