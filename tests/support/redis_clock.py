"""A Redis clock that stands still until a test moves it.

The scripts are the real ones, but where they ask Redis for the time they read it from the event's
own hash instead. Opening an event keeps Redis's clock: there is no hash to read from yet.
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
