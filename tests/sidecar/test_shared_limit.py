"""One count for several hosts: two limiters on two sockets, and a real Redis that fails."""

import inspect
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import redis

from ops.processes import free_port
from ops.servers import HOST, Redis
from sidecar.client import REMEMBERED_NS, LimiterClient
from sidecar.protocol import (
    HIT,
    PEEK,
    RESET_ALL,
    STATS,
    Head,
    decode_answer,
    decode_stats,
    encode_head,
    encode_question,
)
from sidecar.shared_log import SCRIPT_PATH, Check, SharedLog, _arguments_of, _keys_of
from sidecar.sliding_log import Decision, Rate
from tests.support.relay import relay_to
from tests.support.sidecars import LIMIT, PATIENCE_S, RATE, ROOT, python
from tests.support.waiting import eventually

HEAD = encode_head(HIT, RATE)


@pytest.fixture
def redis_server(tmp_path):
    """Of each test's own: they kill it."""
    with Redis(tmp_path / "redis", tmp_path / "redis.log", free_port()) as server:
        yield server


@pytest.fixture
def raw(redis_server):
    with redis.Redis(port=redis_server.port) as client:
        yield client


@pytest.fixture
def workers_of_two_hosts(start_host, redis_server):
    def workers(**timeout: float) -> list[LimiterClient]:
        clients = [start_host(redis_server.url, **timeout).client() for _ in range(2)]
        for client in clients:
            shares_again(client)
        return clients

    return workers


@pytest.fixture
def hosts(workers_of_two_hosts) -> list[LimiterClient]:
    """A worker on each of two hosts."""
    return workers_of_two_hosts()


def shares_again(client: LimiterClient) -> None:
    eventually(lambda: client.stats().get("shared"), "the return of the shared log")


def test_hosts_have_one_count_of_each_rate(hosts):
    one, other = hosts
    for used in range(1, LIMIT + 1):
        assert hosts[used % 2].check("a", RATE).remaining == LIMIT - used
    refused = other.check("a", RATE)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 0 < refused.reset_ns <= RATE.window_ns
    assert not one.peek("a", RATE).allowed
    assert other.peek("b", RATE) == Decision(True, LIMIT, 0)
    assert other.check("a", Rate(1, RATE.window_ns)).allowed
    assert not one.check("a", Rate(1, RATE.window_ns)).allowed
    assert [client.fallbacks for client in hosts] == [0, 0]


def test_an_amount_is_taken_all_or_none_whichever_host_is_asked(hosts):
    one, other = hosts
    assert one.check("a", RATE, LIMIT - 2).remaining == 2
    refused = other.check("a", RATE, 3)
    assert (refused.allowed, refused.remaining) == (False, 2)
    assert other.check("a", RATE, 2) == Decision(True, 0, pytest.approx(RATE.window_ns, rel=0.1))
    assert not one.check("a", RATE).allowed


def test_one_host_clears_a_client_and_resets_all_for_every_host(hosts):
    one, other = hosts
    other_rate = Rate(1, RATE.window_ns)
    for rate in (RATE, other_rate):
        for client in ("a", "b"):
            assert one.check(client, rate, rate.limit).allowed
            assert not one.check(client, rate).allowed
    other.clear("a", RATE)
    assert one.peek("b", RATE).allowed is False
    time.sleep(REMEMBERED_NS / 1e9)
    assert one.peek("a", RATE) == Decision(True, LIMIT, 0)
    assert not one.peek("a", other_rate).allowed and not one.peek("b", RATE).allowed
    one.reset()
    for client in hosts:
        for rate in (RATE, other_rate):
            for name in ("a", "b"):
                assert client.peek(name, rate) == Decision(True, rate.limit, 0)
    assert [other.check("a", RATE).remaining, one.check("a", RATE).remaining] == [9, 8]


def test_what_redis_was_not_told_is_not_said_to_be_forgotten(hosts, redis_server):
    one, _ = hosts
    one.check("a", RATE, LIMIT)
    redis_server.kill()
    with pytest.raises(ConnectionError, match="only this host has forgotten"):
        one.clear("a", RATE)
    assert one.check("a", RATE, LIMIT).allowed, "by this host's own log"
    with pytest.raises(ConnectionError, match="only this host has forgotten"):
        one.reset()
    assert one.check("a", RATE, LIMIT).allowed


def test_while_redis_is_gone_a_host_takes_amounts_by_what_it_knows(hosts, redis_server):
    one, _ = hosts
    assert one.check("a", RATE, LIMIT - 3).allowed
    redis_server.kill()
    assert not one.check("a", RATE, 4).allowed
    assert one.check("a", RATE, 3).allowed


def test_a_burst_on_both_hosts_gets_exactly_the_limit(hosts):
    decisions = []
    barrier = threading.Barrier(60)

    def ask(client):
        barrier.wait()
        decisions.extend(client.check("a", RATE) for _ in range(5))

    threads = [threading.Thread(target=ask, args=(hosts[n % 2],)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(decision.allowed for decision in decisions) == LIMIT
    assert [client.stats()["shared_fallbacks"] for client in hosts] == [0, 0]


def test_questions_that_came_together_take_few_round_trips_and_are_answered_in_order(
    start_host, redis_server, raw
):
    host = start_host(redis_server.url)
    keys = [f"client-{number % 70}" for number in range(1000)]
    calls_before = raw.info("commandstats")["cmdstat_evalsha"]["calls"]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(host.socket_path)
        connection.settimeout(PATIENCE_S)
        connection.sendall(
            b"".join(encode_question(HEAD, key) + STATS + b"\n" for key in keys[:50])
            + b"".join(encode_question(HEAD, key) for key in keys[50:])
        )
        with connection.makefile("rb") as lines:
            decisions = []
            for _ in keys[:50]:
                decisions.append(decode_answer(next(lines).rstrip()))
                assert decode_stats(next(lines))["shared"] == 1
            decisions += [decode_answer(next(lines).rstrip()) for _ in keys[50:]]
    asked = dict.fromkeys(keys, 0)
    for key, decision in zip(keys, decisions, strict=True):
        asked[key] += 1
        assert decision.remaining == max(0, LIMIT - asked[key])
    assert raw.info("commandstats")["cmdstat_evalsha"]["calls"] - calls_before < 30


def test_while_redis_is_gone_each_host_counts_by_itself_and_then_returns(
    hosts, redis_server, start_host
):
    one, other = hosts
    for _ in range(LIMIT - 1):
        assert one.check("a", RATE).allowed
    redis_server.kill()

    assert [one.check("a", RATE).allowed for _ in range(2)] == [True, False], (
        "the host knows what Redis had accepted for it"
    )
    assert [other.check("b", RATE).remaining for _ in range(2)] == [LIMIT - 1, LIMIT - 2]
    stats = one.stats()
    assert (stats["shared"], stats["shared_fallbacks"]) == (0, 2)
    newcomer = start_host(redis_server.url).client()
    assert newcomer.stats()["shared"] == 0
    assert newcomer.check("c", RATE).allowed

    redis_server.start()
    for client in (one, other, newcomer):
        shares_again(client)
        assert client.fallbacks == 0
    assert one.check("d", RATE).remaining == LIMIT - 1
    assert other.check("d", RATE).remaining == LIMIT - 2


def stop(server: Redis, raw: redis.Redis):
    os.kill(server._popen.pid, signal.SIGSTOP)
    return lambda: os.kill(server._popen.pid, signal.SIGCONT)


def pause(server: Redis, raw: redis.Redis):
    raw.client_pause(600_000, all=False)
    return raw.client_unpause


def fill(server: Redis, raw: redis.Redis):
    raw.config_set("maxmemory", "1")
    return lambda: raw.config_set("maxmemory", "0")


def make_read_only(server: Redis, raw: redis.Redis):
    raw.replicaof("127.0.0.1", free_port())
    return lambda: raw.replicaof("no", "one")


@pytest.mark.parametrize("harm", [stop, pause, fill, make_read_only])
def test_a_redis_that_is_no_use_delays_nobody_much(workers_of_two_hosts, redis_server, raw, harm):
    redis_timeout_s, questions = 0.3, 50
    hosts = one, other = workers_of_two_hosts(redis_timeout_s=redis_timeout_s)
    one.check("a", RATE)
    recover = harm(redis_server, raw)
    try:
        for client in hosts:
            began = time.monotonic()
            for number in range(questions):
                assert client.check(f"client-{number}", RATE).remaining == LIMIT - 1
            took_s = time.monotonic() - began
            assert took_s < questions * redis_timeout_s / 2, "not the time-out of each"
            time.sleep(0.5)
            assert client.stats()["shared"] == 0, "no trial succeeds"
            assert client.stats()["shared_fallbacks"] >= questions
            assert client.fallbacks == 0
    finally:
        recover()
    for client in hosts:
        shares_again(client)
    assert one.check("d", RATE).remaining == LIMIT - 1
    assert other.check("d", RATE).remaining == LIMIT - 2


def test_a_redis_that_was_demoted_and_keeps_its_connections_is_left(
    start_host, redis_server, tmp_path
):
    """As at a provider: the address leads to the new master, and the former one closes nothing."""
    successor = Redis(tmp_path / "successor", tmp_path / "successor.log")
    with successor, relay_to(redis_server.port) as relay:
        host = start_host(redis_server.url.replace(str(redis_server.port), str(relay.port)))
        client = host.client()
        assert client.check("a", RATE).allowed
        relay.target_port = successor.port
        with redis_server.client() as raw:
            raw.replicaof(HOST, successor.port)
        assert client.check("b", RATE).remaining == LIMIT - 1
        assert client.stats()["shared_fallbacks"] == 1, "the former master refuses it"
        shares_again(client)
        assert client.check("c", RATE).allowed
        with successor.client() as raw:
            assert [key.rpartition(":")[2] for key in raw.keys("accepted:*:c")] == ["c"]


def test_questions_that_wait_for_a_redis_that_hangs_are_answered_in_order_and_in_time(
    start_host, redis_server
):
    host = start_host(redis_server.url, SharedLog.answer_timeout_s)
    os.kill(redis_server._popen.pid, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(host.socket_path)
        connection.settimeout(PATIENCE_S)
        with connection.makefile("rb") as lines:
            for limit in range(1, 10):
                connection.sendall(encode_question(encode_head(PEEK, Rate(limit, 10**9)), "a"))
            assert [decode_answer(next(lines).rstrip()).remaining for _ in range(1, 10)] == [
                *range(1, 10)
            ]
    os.kill(redis_server._popen.pid, signal.SIGCONT)


def test_a_worker_still_waits_when_its_host_gives_up_on_redis():
    patience_s = inspect.signature(LimiterClient).parameters["timeout_s"].default
    assert SharedLog.answer_timeout_s < patience_s


def test_a_redis_that_forgot_the_script_is_told_it_again(hosts, raw):
    one, other = hosts
    assert one.check("a", RATE).remaining == LIMIT - 1
    raw.script_flush()
    assert one.check("a", RATE).remaining == LIMIT - 2
    assert other.check("a", RATE).remaining == LIMIT - 3
    assert [client.stats()["shared_fallbacks"] for client in hosts] == [0, 0]


def test_a_broken_connection_costs_one_answer_and_no_pause(hosts, raw):
    one, _ = hosts
    assert one.check("a", RATE).remaining == LIMIT - 1
    raw.client_kill_filter(_type="normal", skipme=True)
    time.sleep(0.05)
    assert one.check("a", RATE).remaining == LIMIT - 2
    time.sleep(0.05)
    assert one.check("a", RATE).allowed
    stats = one.stats()
    assert stats["shared"] == 1
    assert stats["shared_fallbacks"] <= 1


def test_the_log_tells_of_a_redis_that_goes_and_comes_once_each(start_host, redis_server):
    host = start_host(redis_server.url)
    client = host.client()
    assert client.check("a", RATE).allowed
    redis_server.kill()
    for _ in range(5):
        client.check("b", RATE)
        time.sleep(0.1)
    redis_server.start()
    shares_again(client)
    host.process.terminate()
    said = host.process.communicate(timeout=PATIENCE_S)[1]
    assert len(re.findall("shared log does not answer", said)) == 1
    assert re.findall("answers again; ([0-9]+) decisions", said) == ["5"]
    assert "Traceback" not in said


def test_clients_that_stay_away_cost_redis_nothing_and_all_keys_are_in_one_slot(hosts, raw):
    short = Rate(LIMIT, 3 * 10**9)
    for number in range(20):
        hosts[0].check(f"client-{number}", short)
    hosts[0].check("a", RATE)
    keys = raw.keys("accepted:*client-*")
    assert len(keys) == 20
    assert len({re.search(rb"{.*?}", key)[0] for key in raw.keys("*")}) == 1
    assert all(0 < raw.pttl(key) <= 3000 for key in keys if raw.exists(key))
    eventually(lambda: not raw.keys("accepted:*client-*"), "the end of the keys")


@pytest.mark.stack
def test_without_the_setting_nothing_of_redis_is_loaded():
    code = """
import sys
from sidecar.server import make_limiter
from sidecar.settings import Settings
make_limiter(Settings())
raise SystemExit("redis" in sys.modules)
"""
    assert subprocess.run(python(code), cwd=ROOT).returncode == 0


# ---------------------------------------------------------------- the script and its header

SCRIPT = SCRIPT_PATH.read_text()
HEADER, _, BODY = SCRIPT.partition("\nlocal ")
SENT = Check(Head(HIT, Rate(10, 1001), 3), b"a")


def test_the_header_of_the_script_begins_with_its_name_and_a_sentence():
    assert re.match(rf"-- {SCRIPT_PATH.stem}: [a-z].{{20,}}", HEADER)


def test_the_script_unpacks_the_arguments_that_its_header_names_and_gets_those():
    named = re.findall(r"^-- ARGV\[\S+\]\s+(\w+)", HEADER, re.MULTILINE)
    unpacked = re.search(r"local ([\w, ]+) = unpack\(ARGV, 3 \* n - 2, 3 \* n\)", BODY)[1]
    assert unpacked.split(", ") == named
    sent = {"command": 3, "limit": 10, "window_us": 2}
    assert _arguments_of([SENT, SENT]) == [sent[name] for name in named] * 2
    for command in ("peek", "clear"):
        head = SENT.head._replace(command=command, argument=1)
        assert _arguments_of([Check(head, b"a")])[0] == command
    place = SENT.head._replace(command="place", argument=7_000_999)
    assert _arguments_of([Check(place, b"a")])[0] == "place 7000"
    assert '"place <max_wait_us>"' in HEADER


def test_the_keys_are_those_that_the_header_describes():
    described = re.findall(r"^-- KEYS\[\S+\]\s+(\S+)", HEADER, re.MULTILINE)
    for name, value in (("limit", "10"), ("window_us", "2"), ("client", "a"), ("queue", "a")):
        described = [key.replace(f"<{name}>", value) for key in described]
    place = Check(SENT.head._replace(command="place", argument=0), b"a")
    reset_key, *keys, reset_again = _keys_of([SENT, place, Check(RESET_ALL, b"")])
    assert [key.decode() for key in (reset_key, *keys)] == described
    assert reset_again == reset_key
    touched = {f"{key.partition(':')[0]}_key" for key in described}
    assert set(re.findall(r"redis\.call\('\w+', (\w+)", BODY)) == touched


def test_the_verdicts_are_those_that_the_header_lists():
    listed = re.search(r"verdict is (.*?),", HEADER)[1]
    assert set(re.findall(r"'(allowed|denied)'", BODY)) == set(re.findall(r'"(\w+)"', listed))
    assert '"cleared 0 0"' in HEADER and "'cleared 0 0'" in BODY
