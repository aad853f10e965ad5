"""The child processes of `make run`, the tests and the benchmark: they keep their data, end when
they are stopped, and end when their parent is gone."""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
import redis

from ops import processes, run
from ops.files import write_private
from ops.nginx import render
from ops.processes import Process, ProcessFailed, accepts_connections, free_port, port_is_free
from ops.procfile import read_procfile, shell_command
from ops.servers import (
    HOST,
    HttpServer,
    MongoDB,
    Nginx,
    Redis,
    Sandbox,
    find_redis_server,
)
from tests.support.processes import is_alive
from tests.support.waiting import eventually

REPOSITORY = Path(__file__).parents[2]

TWO_SLEEPERS = ["/bin/sh", "-c", "sleep 60 & echo $!; wait"]
DEAF = ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]


# ---------------------------------------------------------------- processes


def test_a_process_that_does_not_start_shows_its_last_words(tmp_path):
    process = Process("box", ["/bin/sh", "-c", "echo no such seat; exit 3"], tmp_path / "box.log")
    process.is_ready = lambda: False
    with pytest.raises(ProcessFailed, match=r"box ended at once \(exit code 3\)[^$]*no such seat"):
        process.start()


def test_last_words_are_those_of_the_last_start(tmp_path):
    log_path = tmp_path / "box.log"
    log_path.write_text("long ago\n")
    process = Process("box", ["/bin/sh", "-c", "echo today"], log_path)
    process.run_to_end(timeout_s=5)
    assert process.log_tail() == "today"


def test_a_process_that_is_never_ready_is_not_left_running(tmp_path):
    class NeverReady(Process):
        ready_timeout_s = 0.1

        def is_ready(self) -> bool:
            return False

    process = NeverReady("box", ["/bin/sleep", "60"], tmp_path / "box.log")
    with pytest.raises(ProcessFailed, match="not ready within"):
        process.start()
    assert not is_alive(process.pid)


def test_a_command_that_cannot_be_executed_is_named(tmp_path):
    with pytest.raises(ProcessFailed, match=r"box cannot be started: .*/no/such/command"):
        Process("box", ["/no/such/command"], tmp_path / "box.log").start()


def test_a_command_that_fails_fails_loudly(tmp_path):
    release = Process("release", ["/bin/sh", "-c", "echo bad event; exit 2"], tmp_path / "log")
    with pytest.raises(ProcessFailed, match=r"release failed \(exit code 2\)[^$]*bad event"):
        release.run_to_end(timeout_s=5)


def test_a_command_that_does_not_end_is_ended(tmp_path):
    release = Process("release", ["/bin/sleep", "60"], tmp_path / "log")
    with pytest.raises(ProcessFailed, match="did not end within"):
        release.run_to_end(timeout_s=0.1)
    assert not is_alive(release.pid)


@pytest.mark.parametrize("end", [Process.stop, Process.kill])
def test_the_children_of_a_process_end_with_it(end, tmp_path):
    process = Process("parent", TWO_SLEEPERS, tmp_path / "log").start()
    eventually(process.log_tail, "what it says")
    child_pid = int(process.log_tail())
    assert is_alive(child_pid)
    end(process)
    eventually(lambda: not is_alive(child_pid), "the end of the child")


def test_a_process_that_does_not_hear_is_killed(tmp_path):
    process = Process("deaf", DEAF, tmp_path / "log").start()
    process.stop_timeout_s = 0.2
    eventually(process.log_tail, "what it says")
    process.stop()
    assert process.exit_code == -signal.SIGKILL


def test_a_process_that_ended_by_itself_says_how_and_can_be_started_again(tmp_path):
    process = Process("box", ["/bin/sleep", "60"], tmp_path / "log").start()
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: not process.running, "its end")
    assert process.exit_code == -signal.SIGKILL
    with process:
        assert process.running
        assert process.exit_code is None


def test_nothing_survives_a_parent_that_is_killed(tmp_path):
    parent_program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from ops.processes import Process

        process = Process("child", ["/bin/sleep", "60"], Path(sys.argv[1])).start()
        print(process.pid, flush=True)
        time.sleep(60)
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_program, tmp_path / "log"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    with parent:
        child_pid = int(parent.stdout.readline())
        assert is_alive(child_pid)
        parent.kill()
    eventually(lambda: not is_alive(child_pid), "the end of the child")


def test_the_terminals_ctrl_c_does_not_reach_a_child(tmp_path):
    with Process("box", ["/bin/sleep", "60"], tmp_path / "log") as process:
        assert os.getpgid(process.pid) != os.getpgid(0)


def test_an_http_server_is_ready_when_it_says_so(tmp_path):
    (tmp_path / "readyz").write_text("ready")
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", HOST]
    with HttpServer("web", command, tmp_path / "log", port, ready_path="/readyz", cwd=tmp_path):
        assert accepts_connections(port)
        assert not port_is_free(port)
    assert port_is_free(port)


def test_the_procfile_names_release_web_and_worker():
    procfile = read_procfile(REPOSITORY / "Procfile")
    assert procfile.keys() == {"release", "web", "worker"}


def test_a_line_of_the_procfile_that_says_nothing_is_named(tmp_path):
    (tmp_path / "Procfile").write_text("web: gunicorn\n\n# later\nworker\n")
    with pytest.raises(ValueError, match="line 4"):
        read_procfile(tmp_path / "Procfile")


def test_a_command_of_the_procfile_knows_patterns_and_hears_signals(tmp_path):
    (tmp_path / "a.toml").touch()
    (tmp_path / "b.toml").touch()
    process = Process("ls", shell_command("ls *.toml"), tmp_path / "log", cwd=tmp_path)
    process.run_to_end(timeout_s=5)
    assert process.log_tail() == "a.toml\nb.toml"
    with Process("sleep", shell_command("sleep 60"), tmp_path / "log2") as sleeper:
        comm = Path(f"/proc/{sleeper.pid}/comm")
        eventually(lambda: comm.read_text() == "sleep\n", "sleep in the shell's place")


# ---------------------------------------------------------------- Redis


@pytest.mark.parametrize("end", [Redis.stop, Redis.kill])
def test_redis_keeps_what_it_was_told(end, tmp_path):
    server = Redis(tmp_path / "state", tmp_path / "redis.log")
    with server:
        redis.Redis.from_url(server.url).set("seat", "held")
        end(server)
        assert port_is_free(server.port)
        server.start()
        assert redis.Redis.from_url(server.url).get("seat") == b"held"


def test_redis_evicts_nothing_and_listens_on_loopback_only(tmp_path):
    with Redis(tmp_path / "state", tmp_path / "redis.log") as server:
        config = redis.Redis.from_url(server.url, decode_responses=True).config_get()
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "bind": HOST}
        assert wanted.items() <= config.items()


def test_valkey_is_started_where_there_is_no_redis(tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "valkey-server").symlink_to(find_redis_server())
    monkeypatch.setenv("PATH", str(programs))
    with Redis(tmp_path / "valkey", tmp_path / "valkey.log") as server:
        assert server.command[0] == f"{programs}/valkey-server"
    (programs / "redis-server").symlink_to(programs / "valkey-server")
    assert find_redis_server() == f"{programs}/redis-server"


# ---------------------------------------------------------------- MongoDB


def test_mongodb_keeps_its_bookings_and_has_transactions(tmp_path):
    with MongoDB(tmp_path / "state", tmp_path / "mongod.log") as server:

        def bookings(client: pymongo.MongoClient):
            return client.get_default_database()["bookings"]

        with pymongo.MongoClient(server.url, w="majority", journal=True) as client:
            with client.start_session() as session, session.start_transaction():
                bookings(client).insert_one({"_id": "in a transaction"}, session=session)
            server.stop()
            server.start()
            bookings(client).insert_one({"_id": "after a stop"})
            server.kill()
            server.start()
            found = {booking["_id"] for booking in bookings(client).find()}
        assert found == {"in a transaction", "after a stop"}


def test_mongodb_serves_the_data_of_a_run_on_another_port(tmp_path):
    former = MongoDB(tmp_path / "state", tmp_path / "mongod.log")
    with former, pymongo.MongoClient(former.url) as client:
        client.get_default_database()["bookings"].insert_one({"_id": 1})
    with MongoDB(tmp_path / "state", tmp_path / "mongod.log", port=free_port()) as server:
        assert server.port != former.port
        with pymongo.MongoClient(server.url, w="majority", journal=True) as client:
            bookings = client.get_default_database()["bookings"]
            bookings.insert_one({"_id": 2})
            assert bookings.count_documents({}) == 2
            assert client.admin.command("hello")["hosts"] == [server.member]


# ---------------------------------------------------------------- why a server did not start


def why_not(server: Process) -> str:
    """The message to the user who starts it: one line."""
    with pytest.raises(ProcessFailed) as failed:
        server.start()
    said = str(failed.value)
    assert "\n" not in said
    assert str(server.log_path) in said
    return said


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("kind", [Redis, MongoDB])
def test_a_port_in_use_is_named(kind, tmp_path, taken_port):
    said = why_not(kind(tmp_path / "state", tmp_path / "log", taken_port))
    assert f"another program listens on port {taken_port}" in said


@pytest.fixture
def full_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk needs root")
    try:
        with contextlib.suppress(OSError), (folder / "all").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("kind", [Redis, MongoDB])
def test_a_full_disk_is_called_so(kind, tmp_path, full_disk):
    said = why_not(kind(full_disk / "state", tmp_path / "log"))
    assert f"no space is left on the disk of {full_disk / 'state'}" in said


def test_a_command_that_fails_on_a_full_disk_says_so_whatever_its_own_words_are(full_disk):
    log_path = full_disk / "box.log"
    for words in ("exit 3", "echo Redis does not have the event; exit 3"):
        process = Process("box", ["/bin/sh", "-c", words], log_path)
        with pytest.raises(ProcessFailed) as failed:
            process.run_to_end(timeout_s=5)
        assert f"(exit code 3): no space is left on the disk of {full_disk}" in str(failed.value)


def test_a_file_that_cannot_be_written_on_a_full_disk_is_told_in_words(full_disk):
    with pytest.raises(OSError, match="No space left") as failed:
        write_private(full_disk / "environment", "REDIS_URL=redis://127.0.0.1")
    assert run.in_words(failed.value) == f"no space is left on the disk of {run.STATE_DIR}."


@pytest.mark.parametrize("kind", [Redis, MongoDB])
def test_a_server_whose_log_is_on_a_full_disk_says_so_too(kind, full_disk):
    said = why_not(kind(full_disk / "state", full_disk / "log"))
    assert f"no space is left on the disk of {full_disk}" in said


def test_a_sandbox_whose_log_is_on_a_full_disk_says_so_too(full_disk):
    said = why_not(Sandbox(full_disk / "sandbox.sqlite", full_disk / "log"))
    assert f"no space is left on the disk of {full_disk}" in said


def test_a_disk_with_space_is_not_called_full(tmp_path):
    assert processes.full_disk([tmp_path]) is None


def test_a_process_that_was_killed_is_called_so_in_one_line(tmp_path):
    words = 'echo \'{"msg": "all is well"}\'; kill -9 $$'
    process = Process("box", ["/bin/sh", "-c", words], tmp_path / "box.log")
    with pytest.raises(ProcessFailed) as failed:
        process.run_to_end(timeout_s=5)
    assert str(failed.value) == (
        "box failed (exit code -9): it was killed (SIGKILL), perhaps because the machine ran out "
        f"of memory. Its log: {tmp_path / 'box.log'}"
    )


class AsNobody(Process):
    """Started by root, and then another user."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.command = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            *self.command,
        ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("kind", [Redis, MongoDB])
def test_a_folder_of_another_user_is_named(kind, tmp_path):
    class Theirs(kind, AsNobody):
        pass

    said = why_not(Theirs(tmp_path / "state", tmp_path / "log"))
    assert f"may not read and write everything in {tmp_path / 'state'}" in said


def test_a_mongod_that_uses_the_same_files_is_named(tmp_path):
    with MongoDB(tmp_path / "state", tmp_path / "first.log"):
        said = why_not(MongoDB(tmp_path / "state", tmp_path / "second.log"))
    assert f"another mongod uses {tmp_path / 'state'}" in said


def crc32c(data: bytes) -> int:
    """Castagnoli's, which WiredTiger has in each block."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def make_newer(path: Path) -> None:
    """Give a file of WiredTiger another major version (block.h: struct __wt_block_desc)."""
    content = bytearray(path.read_bytes())
    description = content[:4096]
    struct.pack_into("<HHI", description, 4, 99, 0, 0)
    struct.pack_into("<I", description, 8, crc32c(description))
    path.write_bytes(description + content[4096:])


def test_files_of_a_newer_mongodb_are_called_so(tmp_path):
    with MongoDB(tmp_path / "state", tmp_path / "log"):
        pass
    make_newer(tmp_path / "state/WiredTiger.wt")
    said = why_not(MongoDB(tmp_path / "state", tmp_path / "log"))
    assert "was written by another version of MongoDB, probably a newer one" in said


def test_files_of_a_newer_redis_are_called_so(tmp_path):
    server = Redis(tmp_path / "state", tmp_path / "log")
    with server:
        client = redis.Redis.from_url(server.url)
        client.bgrewriteaof()
        eventually(lambda: not client.info()["aof_rewrite_in_progress"], "the rewriting")
    newest = max((tmp_path / "state/appendonlydir").glob("*.base.rdb"))
    newest.write_bytes(re.sub(rb"^REDIS\d{4}", b"REDIS0099", newest.read_bytes()))
    assert "was written by a newer Redis" in why_not(server)


@pytest.mark.parametrize("kind", [Redis, MongoDB])
def test_damaged_files_are_called_so(kind, tmp_path):
    server = kind(tmp_path / "state", tmp_path / "log")
    with server:
        if kind is Redis:
            redis.Redis.from_url(server.url).set("seat", "held" * 100)
    damaged = "appendonlydir/appendonly.aof.1.incr.aof" if kind is Redis else "WiredTiger.wt"
    path = tmp_path / "state" / damaged
    path.write_bytes(b"x" * len(path.read_bytes()))
    assert f"a file in {tmp_path / 'state'} is damaged" in why_not(server)


def test_a_cause_of_an_earlier_start_is_not_told_again(tmp_path):
    log_path = tmp_path / "log"
    log_path.write_text("bind: Address already in use\n")
    server = Redis(tmp_path / "state", log_path)
    server.command.append("--no-such-option")
    with pytest.raises(ProcessFailed, match=r"The end of .*\n") as failed:
        server.start()
    assert "another program" not in str(failed.value)


def nginx_in(folder: Path, port: int, log_path: Path) -> Nginx:
    folder.mkdir(exist_ok=True)
    config_path = log_path.with_suffix(".conf")
    config_path.write_text(
        render.local(listen=f"{HOST}:{port}", upstreams=[f"{HOST}:1"], state_dir=folder)
    )
    return Nginx(config_path, log_path, port, ready_path="/healthz")


def test_nginx_says_that_its_port_is_in_use(tmp_path, taken_port):
    said = why_not(nginx_in(tmp_path / "state", taken_port, tmp_path / "log"))
    assert f"another program listens on port {taken_port}" in said


def test_nginx_says_that_the_disk_is_full(full_disk, tmp_path):
    said = why_not(nginx_in(full_disk / "state", free_port(), tmp_path / "log"))
    assert "no space is left on the disk" in said
