"""The stack of one checkout, started by its own Python and from its own code, for compare.py.

It is run as a script in that checkout, which may be older than this file, so it imports little.
It prints a line of JSON when the stack is ready, and one for each line that it reads: ``open
SEATS`` opens a hall, ``forget EVENT`` removes it. It stops the stack when its input ends.
"""

import json
import sys
import tempfile
from ipaddress import ip_network
from itertools import count, islice
from pathlib import Path

import redis
import requests

from ops.processes import free_port
from ops.stack import Stack
from tests.support.environment import inherited
from tests.support.factories import put_on_sale, two_halves
from tests.support.redis_stores import seats_at

INTRODUCTIONS = 8
"""Connections, each of which either gunicorn worker may accept."""

STRANGERS = ip_network("198.18.0.0/15")
strangers = count(1)
"""Each has an address of its own: halls follow each other so fast that some would be over their
limit otherwise."""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tickets-compare-") as folder:
        stack = Stack(Path(folder) / "stack", inherited("WEB_CONCURRENCY"))
        try:
            stack.start(free_port())
            pids = {running.pid: running.name for running in stack.processes}
            say({"url": stack["web"].url, "processes": pids})
            seats = seats_at(stack.environment["REDIS_URL"])
            store = redis.Redis.from_url(stack.environment["REDIS_URL"])
            for line in sys.stdin:
                what, argument = line.split()
                if what == "open":
                    hall = two_halves(
                        "bench", int(argument) // 2, hold_ms=300_000, max_held_per_client=16
                    )
                    put_on_sale(seats, hall)
                    introduce(stack["web"].url, hall.id)
                    say({"event": hall.id})
                else:
                    # Otherwise the worker would take it for lost, and put it on sale again.
                    store.sadd("events", f"withdrawn {argument}")
                    store.srem("events", argument)
                    for key in store.scan_iter(f"*{{{argument}}}*", count=10_000):
                        store.unlink(key)
                    say({})
        finally:
            stack.stop()


def introduce(url: str, hall_id: str) -> None:
    """Makes every process do what it does once for an event, at its first hold: it reads the
    definition and makes the list of all seats, which takes it 20 ms for 40,000."""
    for number in islice(strangers, INTRODUCTIONS):
        buyer = {"X-Forwarded-For": str(STRANGERS[number])}
        seat = f"{url}/api/events/{hall_id}/seats/free-GA-1"
        hold = requests.post(f"{seat}/hold", headers=buyer, timeout=10).json()
        token = {"Authorization": f"Bearer {hold['hold_token']}"}
        held = f"{url}/api/events/{hall_id}/holds/{hold['hold_id']}"
        requests.delete(held, headers=buyer | token, timeout=10).raise_for_status()


def say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
