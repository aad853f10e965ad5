"""The Procfile as people run it at home: a copy of the project, a `.env`, and honcho."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.processes import free_port
from ops.servers import HOST, http_status
from tests.support.clone import running_in
from tests.support.environment import of_a_user
from tests.support.factories import unique
from tests.support.http_client import Client
from tests.support.waiting import eventually

BIN = Path(sys.executable).parent
EVENT = "rosewood-winters-tale"


@pytest.fixture(scope="module")
def port(clone, redis_server, mongo_server, sandbox) -> int:
    """Where the `.env` lets gunicorn listen. The servers are those of other tests, too, so nothing
    in them is shared."""
    port = free_port()
    database = mongo_server.url.replace("/tickets?", f"/{unique('honcho')}?")
    path = clone / ".env"
    path.write_text(
        f"""# At home
REDIS_URL={redis_server.url.removesuffix("/0")}/7
MONGODB_URI="{database}"

export SECRET_KEY='a key of tests # with a sign'
STRIPE_API_KEY=sk_test_honcho
STRIPE_API_BASE={sandbox.url}
WEB_HOST={HOST}
WEB_CONCURRENCY=1
PORT={port}
"""
    )
    path.chmod(0o600)
    return port


def environ() -> dict[str, str]:
    return of_a_user() | {"PATH": os.pathsep.join([str(BIN), os.environ["PATH"]])}


@pytest.mark.parametrize("file_for_honcho", [".env", "no.env"])
def test_a_seat_is_sold_and_nothing_is_left_running(clone, port, file_for_honcho, tmp_path):
    """Also when honcho, which reads such a file by itself, hands on nothing of it."""
    opened = tickets(clone, "events", "open", "events/rosewood-theatre.toml")
    assert opened.returncode == 0, opened.stderr
    command = ["honcho", "--env", file_for_honcho, "start", "--port", str(port), "web", "worker"]
    with (tmp_path / "log").open("w") as log:
        honcho = subprocess.Popen(
            [BIN / "honcho", *command[1:]], cwd=clone, env=environ(), stdout=log, stderr=log
        )
    said = (tmp_path / "log").read_text
    try:
        eventually(lambda: http_status(port, "/readyz") == 200 or honcho.poll(), "the web", 60)
        assert honcho.poll() is None, said()
        buyer = Client(f"http://{HOST}:{port}", EVENT)
        held = buyer.hold_best("stalls", 1)
        assert held.status_code == 201, held.text
        paid = buyer.pay(held.json())
        assert paid.status_code == 201, paid.text
        assert paid.json()["booking_id"] in tickets(clone, "bookings", "list").stdout
    finally:
        honcho.send_signal(signal.SIGTERM)
        honcho.wait(60)
    assert "Traceback" not in said(), said()
    assert running_in(clone) == []


def tickets(clone: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [clone / "tickets", *arguments],
        env=environ(),
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
    )
