"""A Redis clock that a test sets.

The scripts are the real ones, except that they read the time from the event's hash instead of
asking Redis. Opening an event still uses Redis's clock, because the hash does not exist yet.
"""

from dataclasses import replace

import redis

from web.adapters.redis.scripts import LuaScript, read_scripts

NOW = "redis.call('TIME')"
TEST_NOW = "redis.call('HMGET', KEYS[1], 'test_s', 'test_us')"  # of every script, the event


def scripts_on_test_clock() -> dict[str, LuaScript]:
    return {
        name: script
        if name in ("build_event", "open_event")
        else replace(script, source=script.source.replace(NOW, TEST_NOW))
        for name, script in read_scripts().items()
    }


def set_clock(client: redis.Redis, event_id: str, now_ms: int) -> None:
    test_clock = {"test_s": now_ms // 1000, "test_us": now_ms % 1000 * 1000}
    client.hset(f"event:{{{event_id}}}", mapping=test_clock)
