"""`make run` after its installation, as a newcomer uses it: from a copy of the repository, because
it keeps its state there."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis
import requests
from redis.crc import key_slot

from ops.processes import free_port
from ops.stack import _keep_former_logs
from tests.support.clone import MakeRun
from tests.support.environment import inherited
from tests.support.http_client import Client
from tests.support.waiting import eventually


def organiser(clone: Path, command: str) -> subprocess.CompletedProcess:
    """As docs/running.md says it."""
    return subprocess.run(
        ["sh", "-c", f"./tickets {command}"],
        cwd=clone,
        env=inherited(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def sourced(clone: Path) -> dict[str, str]:
    """The environment of a shell that had `. var/environment`."""
    shell = ["sh", "-c", ". var/environment && exec env -0"]
    printed = subprocess.run(
        shell, cwd=clone, env=inherited(), capture_output=True, text=True, check=True
    ).stdout
    return dict(entry.split("=", 1) for entry in printed.split("\0") if entry)


@pytest.mark.timeout(300)
def test_a_newcomer_sells_a_seat_stops_and_finds_the_booking_in_the_next_run(clone):
    port = free_port()
    first = MakeRun(clone, port)
    try:
        assert f"TicketS is ready: http://127.0.0.1:{port}\n" in first.greeting, first.greeting
        curl = re.search(
            r"^  curl -i -X POST http://127.0.0.1:\d+(/\S+)$", first.greeting, re.MULTILINE
        )
        held = requests.post(f"http://127.0.0.1:{port}{curl[1]}", timeout=10)
        assert held.status_code == 201
        hold = held.json()
        buyer = Client(f"http://127.0.0.1:{port}", hold["event"])
        receipt = buyer.pay(hold)
        assert receipt.status_code == 201, receipt.text
        mailbox = re.search(r"^Mails to buyers: (\S+)$", first.greeting, re.MULTILINE)[1]
        eventually(
            lambda: "Your ticket: " in requests.get(mailbox, timeout=10).text,
            "the ticket is in the mailbox",
        )
        assert len(buyer.call("GET", "/api/events").json()["events"]) == 3
        assert len(first.left_running()) > 5, "the look for processes finds them while they run"
        metrics = re.search(r"^Metrics: (\S+)$", first.greeting, re.MULTILINE)[1]
        assert "tickets_answers_total" in requests.get(metrics, timeout=10).text
        shell = sourced(clone)
    finally:
        exit_code = first.stop(signal.SIGINT)
    assert exit_code == 0
    assert first.left_running() == []

    (clone / "events" / "loop.toml").symlink_to("loop.toml")
    # In the shell that has the ports of the first.
    second = MakeRun(clone, port, shell)
    try:
        assert "loop.toml: a link that leads back to itself\n" in second.greeting
        assert buyer.booking(receipt.json(), hold).content == receipt.content
        assert buyer.pay(hold).content == receipt.content
        seats = [s for s in buyer.seat_map() if s == "s"]
        assert len(seats) == len(hold["seats"])
        audited = organiser(clone, "audit")
        assert audited.returncode == 0, audited.stdout
        assert "no seat is in two bookings" in audited.stdout
        listed = organiser(clone, "bookings list")
        assert receipt.json()["booking_id"] in listed.stdout
    finally:
        second.process.kill()
        second.stop(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while second.left_running() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert second.left_running() == [], "nothing outlives even a kill -9"

    port = free_port()
    buyer.base_url = f"http://127.0.0.1:{port}"
    third = MakeRun(clone, port, shell)
    try:
        assert buyer.booking(receipt.json(), hold).content == receipt.content
    finally:
        third.stop(signal.SIGTERM)
    assert_the_logs_of_each_start_are_there(clone / "var")


def assert_the_logs_of_each_start_are_there(state_dir: Path) -> None:
    starts = [state_dir / "logs.2", state_dir / "logs.1", state_dir / "logs"]
    for logs in starts:
        assert {"access.log", "mongo.log", "nginx.log", "redis.log", "release.log", "run.log"} <= {
            log.name for log in logs.iterdir()
        }
        assert "Metrics: http://127.0.0.1:" in (logs / "run.log").read_text()
    assert "/pay" in (starts[0] / "access.log").read_text(), "of the first start"
    ports = {re.search(r"Metrics: (\S+)", (logs / "run.log").read_text())[1] for logs in starts}
    assert len(ports) == 3


def master_of(event_id: str, ports: list[int]) -> redis.Redis:
    """In the cluster that has servers on these ports."""
    with redis.Redis(port=ports[0]) as asked:
        for first, last, (_, port, *_), *_ in asked.execute_command("CLUSTER SLOTS"):
            if first <= key_slot(event_id.encode()) <= last:
                return redis.Redis(port=port)
    raise AssertionError(f"no master of {event_id}")


@pytest.mark.timeout(180)
def test_a_run_on_a_cluster_goes_on_when_a_master_is_killed(clone, mongo_server):
    url, wanted = f"http://127.0.0.1:{free_port()}", {"REDIS": "cluster"}
    wanted["MONGODB_URI"] = mongo_server.url.replace("/tickets", "/run_with_a_cluster")
    run = MakeRun(clone, int(url.rpartition(":")[2]), inherited() | wanted)
    try:
        ports = re.search(r"^Starting a Redis Cluster on ports (.*)$", run.greeting, re.MULTILINE)
        ports = list(map(int, ports[1].split(",")))
        arena, theatre = "harbour-arena-northern-lights", "rosewood-winters-tale"
        hit = master_of(arena, ports)
        assert hit.get_connection_kwargs() != master_of(theatre, ports).get_connection_kwargs()
        os.kill(hit.info("server")["process_id"], signal.SIGKILL)
        assert Client(url, theatre).hold_best("stalls", 1).status_code == 201
        assert Client(url, arena).hold_best("floor", 1).status_code == 503
        eventually(
            lambda: Client(url, arena).hold_best("floor", 1).status_code == 201,
            "a hold after the failover",
            within_s=60,
        )
        said = (clone / "var/logs/run.log").read_text()
        assert re.search(r"^redis-\d ended by itself", said, re.MULTILINE)
    finally:
        exit_code = run.stop(signal.SIGINT)
    assert exit_code == 0
    assert run.left_running() == []


def test_the_logs_of_no_more_than_five_starts_are_kept(tmp_path):
    for number in range(7):
        _keep_former_logs(tmp_path / "logs")
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs/run.log").write_text(str(number))
    kept = {logs.name: (logs / "run.log").read_text() for logs in tmp_path.iterdir()}
    assert kept == {"logs": "6", "logs.1": "5", "logs.2": "4", "logs.3": "3", "logs.4": "2"}


def test_a_busy_port_is_named(clone, redis_server):
    busy = MakeRun(clone, redis_server.port)
    assert busy.process.wait(30) == 1
    assert f"Port {redis_server.port} is in use" in busy.greeting
