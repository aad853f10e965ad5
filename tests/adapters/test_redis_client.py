"""The one client for Redis, beside others who use the same server."""

from tests.support.meanwhile import meanwhile


def test_a_call_survives_others_who_empty_the_cache_of_scripts_all_the_time(
    redis_client, seats, event
):
    with meanwhile(redis_client.script_flush, every_s=0):
        for _ in range(300):
            seats.sweep_holds(event.id)
