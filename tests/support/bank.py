"""Payments that wait at the bank."""

import re

import redis


def run_out_of_time(client: redis.Redis, event_id: str, hold_id: str) -> None:
    """The time to confirm the payment of this hold is over: the worker looks at it in its next
    round. ``client`` decodes."""
    holds = f"holds:{{{event_id}}}"
    hold, found = re.subn(r'"until_ms":[0-9.e+]+', '"until_ms":1', client.hget(holds, hold_id))
    assert found, "nothing waits at the bank"
    client.hset(holds, hold_id, hold)
    client.zadd(f"payments:{{{event_id}}}", {hold_id: 0})
