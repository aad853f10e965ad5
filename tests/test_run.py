"""`make run` after its installation, as a newcomer uses it: from a copy of the repository, because
it keeps its state there."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from ops.processes import free_port
from ops.servers import REPOSITORY
from tests.environment import inherited
from tests.http_client import Client


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The files of the repository, those that git ignores left out."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


class MakeRun:
    """Runs in ``clone`` until stopped; ``greeting`` is what it printed up to the last line."""

    def __init__(self, clone: Path, port: int):
        self._clone = clone
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops.run"],
            cwd=clone,
            env=inherited() | {"PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("Logs are in"):
                break
        self.greeting = "".join(lines)

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        try:
            return self.process.wait(60)
        finally:
            self.process.stdout.close()

    def left_running(self) -> list[str]:
        """Commands of processes that have the clone as their working folder or in their command."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                folder = os.readlink(process / "cwd")
            except OSError:
                continue
            if folder.startswith(str(self._clone)) or str(self._clone) in command:
                found.append(command)
        return found


def organiser(clone: Path, command: str) -> subprocess.CompletedProcess:
    """As the README says it."""
    flask = Path(sys.executable).with_name("flask")
    return subprocess.run(
        ["sh", "-c", f". var/environment && exec {flask} --app wsgi {command}"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.timeout(300)
def test_a_newcomer_sells_a_seat_stops_and_finds_the_booking_in_the_next_run(clone):
    port = free_port()
    first = MakeRun(clone, port)
    try:
        assert f"TicketS is ready: http://127.0.0.1:{port}\n" in first.greeting, first.greeting
        curl = re.search(r"^  curl -i -X POST http://127.0.0.1:\d+(/\S+)$", first.greeting, re.M)
        held = requests.post(f"http://127.0.0.1:{port}{curl[1]}", timeout=10)
        assert held.status_code == 201
        hold = held.json()
        buyer = Client(f"http://127.0.0.1:{port}", hold["event"])
        receipt = buyer.pay(hold)
        assert receipt.status_code == 201, receipt.text
        assert len(buyer.call("GET", "/api/events").json()["events"]) == 3
        assert len(first.left_running()) > 5, "the look for processes finds them while they run"
    finally:
        exit_code = first.stop(signal.SIGINT)
    assert exit_code == 0
    assert first.left_running() == []

    second = MakeRun(clone, port)
    try:
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

    third = MakeRun(clone, port)
    try:
        assert buyer.booking(receipt.json(), hold).content == receipt.content
    finally:
        third.stop(signal.SIGTERM)


def test_a_busy_port_is_named(clone, redis_server):
    busy = MakeRun(clone, redis_server.port)
    assert busy.process.wait(30) == 1
    assert f"Port {redis_server.port} is in use" in busy.greeting
