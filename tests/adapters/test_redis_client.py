"""The one client for Redis: others who use the same server, and what the stores hear of a server
that cannot serve."""

import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import pytest
import redis

from ops.servers import HOST, Redis
from tests.support.factories import put_on_sale, small_hall, unique
from tests.support.local_server import LocalServer, QuietHandler
from tests.support.meanwhile import meanwhile
from tests.support.redis_stores import commands_of, lead_nowhere, seats_at, seats_on
from tests.support.waiting import eventually
from web.adapters.redis import group_connection
from web.adapters.redis.client import RedisClient
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.shard import RETRIES, Shard, connect
from web.domain.events import Event
from web.domain.refusals import Unavailable

PASSWORD = "pw"


def test_a_call_survives_others_who_empty_the_cache_of_scripts_all_the_time(
    redis_client, seats, event
):
    with meanwhile(redis_client.script_flush, every_s=0):
        for _ in range(300):
            seats.sweep_holds(event.id)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Redis]:
    folder = tmp_path_factory.mktemp("redis")
    with Redis(folder / "redis", folder / "redis.log") as running:
        yield running


@pytest.fixture(scope="module")
def hall(server) -> Event:
    event = small_hall()
    put_on_sale(seats_at(server.url), event)
    return event


@contextmanager
def a_user(server: Redis, *rules: str) -> Iterator[str]:
    """A URL to log in with."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "reset", "on", f">{PASSWORD}", *rules)
        yield f"redis://shop:{PASSWORD}@{HOST}:{server.port}/0"
        client.acl_deluser("shop")


class Spread:
    """Servers, each with the key that it is named after."""

    def __init__(self, urls: Mapping[str, str]):
        self._shards = {tag: Shard(connect(url)) for tag, url in urls.items()}

    def of(self, tag: str) -> Shard:
        return self._shards[tag]

    def all(self) -> Sequence[Shard]:
        return list(self._shards.values())

    def can_try_again(self, error: Exception, tag: str, shard: Shard, tries: int) -> bool:
        return False


def test_servers_that_hang_are_waited_for_at_the_same_time(server):
    timeout_s, hanging = 0.5, 6
    with ExitStack() as open_sockets:
        urls = {}
        for number in range(hanging):
            deaf = open_sockets.enter_context(socket.create_server((HOST, 0)))
            port = deaf.getsockname()[1]
            urls[f"hangs {number}"] = f"redis://{HOST}:{port}/0?socket_timeout={timeout_s}"
        urls["up"] = server.url
        client = RedisClient(Spread(urls))
        began_s = time.monotonic()
        found = client.ask_for_each(urls, lambda commands, tags: [commands.ping() for _ in tags])
        took_s = time.monotonic() - began_s
        assert [tag for tag in urls if not isinstance(found[tag], Unavailable)] == ["up"]
        assert took_s < hanging * timeout_s
        probed = client.ask_shards(client.shards(), lambda commands: commands.ping(), soon=True)
        assert [isinstance(answer, Unavailable) for answer in probed] == [True] * hanging + [False]


def answer_to(call) -> str | None:
    with pytest.raises(Unavailable) as refused:
        call()
    return refused.value.answer


def hold(seats: RedisSeatStore, event: Event):
    return seats.hold_seats(event, unique("hld"), unique("client"), [0])


def test_whoever_may_not_do_it_hears_what(server, hall):
    with a_user(server, "~*", "+@all", "-evalsha") as url:
        assert "'evalsha'" in answer_to(lambda: hold(seats_at(url), hall))
    with a_user(server, "~*", "+@all", "-setrange") as url:
        assert "script" in answer_to(lambda: hold(seats_at(url), hall))
    with a_user(server, "~*", "+@all", "-sismember") as url:
        assert "'sismember'" in answer_to(lambda: seats_at(url)._catalogue.current_event("none"))
    with a_user(server, "~event:*", "+@all") as url:
        assert "key" in answer_to(lambda: hold(seats_at(url), hall))
    with a_user(server, "~*", "+@all", "-wait") as url:
        assert answer_to(lambda: hold(seats_at(url, replicas=1), hall)).startswith("WAIT: ")


def test_a_login_that_is_refused_is_not_called_out_of_reach(server, hall):
    with a_user(server, "~*", "+@all") as url:
        wrong = url.replace(PASSWORD, "wrong")
        assert "invalid username-password" in answer_to(lambda: seats_at(wrong).read_seats(hall.id))


def test_a_user_without_rights_is_not_ready(server, hall):
    with a_user(server, "~*", "+@all", "-del", "-srem") as url:
        (found,) = seats_at(url)._catalogue.servers()
    assert found.failure


def test_a_database_that_is_not_there_is_named(server, hall):
    url = server.url.replace("/0", "/99")
    assert answer_to(lambda: seats_at(url).read_seats(hall.id)) == "DB index is out of range"


def test_what_is_no_redis_is_unavailable(hall):
    with LocalServer(QuietHandler) as other:
        answer = answer_to(lambda: seats_at(f"redis://{other.address}/0").read_seats(hall.id))
    assert "Protocol error" in answer


def test_a_redis_that_is_busy_is_unavailable_to_every_call(server, hall):
    seats = seats_at(server.url)

    def keep_busy() -> None:
        with suppress(redis.RedisError), server.client() as client:
            client.eval("while true do end", 0)

    def is_busy() -> bool:
        with suppress(redis.ResponseError):
            client.ping()
            return False
        return True

    busy = threading.Thread(target=keep_busy)
    with server.client() as client:
        client.config_set("busy-reply-threshold", 1)
        busy.start()
        eventually(is_busy, "a busy Redis")
        try:
            for call in (
                lambda: seats.read_seats(hall.id),
                lambda: seats.newest_changes(hall, 1),
                lambda: seats._catalogue.missing("none"),
                lambda: seats.forget_form(hall.id, "form", "hld"),
            ):
                assert "BUSY" in answer_to(call)
        finally:
            client.script_kill()
            busy.join()
            client.config_set("busy-reply-threshold", 5000)


@pytest.mark.parametrize("idle_s", [math.inf, 0.0], ids=["used just now", "used long ago"])
def test_no_caller_notices_that_the_server_has_closed_a_connection(
    server, hall, monkeypatch, idle_s
):
    monkeypatch.setattr(group_connection, "IDLE_S", idle_s)
    seats = seats_at(server.url)
    seats.read_seats(hall.id)
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    seats.read_seats(hall.id)


def test_a_server_that_is_away_is_tried_once_and_as_often_again_as_there_are_retries(
    server, hall, monkeypatch
):
    seats, tries = seats_at(server.url), []

    def refused(_connection: object) -> None:
        tries.append(1)
        raise ConnectionRefusedError

    monkeypatch.setattr(redis.Connection, "_connect", refused)
    assert answer_to(lambda: seats.read_seats(hall.id)) is None
    assert len(tries) == 1 + RETRIES


class Killed(BaseException):
    """As what ends a greenlet."""


def test_nobody_gets_the_answer_of_a_caller_that_was_killed(server, hall, monkeypatch):
    seats = seats_at(server.url)

    def kill(_connection: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(group_connection, "_answer", kill)
        with pytest.raises(Killed):
            hold(seats, hall)
    assert seats.read_seats(hall.id).version == hall.version


def test_a_server_that_is_away_fills_no_log(caplog, seats, event):
    lead_nowhere(cold := seats_on(commands_of(seats)))
    for _ in range(50):
        with pytest.raises(Unavailable):
            cold.sweep_holds(event.id)
    assert 1 <= caplog.text.count("redis: ") <= 4
