"""Payments that wait at the bank. ``client`` decodes."""

import re

import redis


def run_out_of_time(client: redis.Redis, event_id: str, hold_id: str) -> None:
    """The time to confirm the payment of this hold is over: the worker looks at it in its next
    round."""
    _set_past(client, event_id, hold_id, "until_ms")
    client.zadd(f"payments:{{{event_id}}}", {hold_id: 0})


def outlive_its_hold(client: redis.Redis, event_id: str, hold_id: str) -> None:
    """The payment of this hold began in time, and the time of the hold is over since."""
    _set_past(client, event_id, hold_id, "deadline_ms")


def _set_past(client: redis.Redis, event_id: str, hold_id: str, field: str) -> None:
    holds = f"holds:{{{event_id}}}"
    hold, found = re.subn(rf'"{field}":[0-9.e+]+', f'"{field}":1', client.hget(holds, hold_id))
    assert found == 1, f"no {field}"
    client.hset(holds, hold_id, hold)
