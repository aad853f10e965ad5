"""The worked example: the files of ``deploy/`` on one machine, with fewer members."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import requests

from ops.processes import Process, free_port
from ops.procfile import read_procfile, shell_command
from ops.servers import HOST, REPOSITORY, Access, Certificates, HttpServer, Nginx, Sandbox
from ops.stack import SANDBOX_API_KEY
from sidecar.env_file import parse
from sidecar.server_urls import redis_servers
from tests.faults.event_file import write_event_file
from tests.pages.browser import Browser
from tests.support.certificates import issue_certificates
from tests.support.commands import flask
from tests.support.deployed import DEPLOY, NAME, DeployedRedis, allowed_to, filled_in, password_of
from tests.support.environment import inherited
from tests.support.factories import put_on_sale, small_hall, unique
from tests.support.guarded_mongodb import GuardedMongoDB, documented_actions
from tests.support.http_client import TIMEOUT_S, Client, assert_problem, bearer
from tests.support.redis_stores import seats_on
from tests.support.site import ORGANISER_TOKEN
from tests.support.waiting import eventually
from web.adapters.redis.servers import servers_of
from web.domain.refusals import Unavailable

SELDOM = {
    # When somebody changes the hold of a form at that very moment, and for a payment that is at the
    # bank.
    "shop": {"unwatch", "zscore"},
    # When Redis has forgotten the script, and for a client whose count is cleared.
    "limiter": {"eval", "del"},
}
"""Commands of a user that an ordinary sale does not need."""

SENTINEL = DEPLOY / "redis-sentinel"
ENV_FILE = DEPLOY / "tickets.env"
MEMBERS = 6
"""Three masters, each with one replica."""

EVENT = "deployed"


@dataclass(frozen=True)
class Deployed:
    cluster: Sequence[DeployedRedis]
    limiter: DeployedRedis
    environment: dict[str, str]
    web: HttpServer


@dataclass(frozen=True)
class Watched:
    """A master and a replica with their Sentinel; ``url`` is for the application."""

    master: DeployedRedis
    replica: DeployedRedis
    sentinel: DeployedRedis
    url: str


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return issue_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, certificates) -> Iterator[list[DeployedRedis]]:
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as running:
        members = [
            DeployedRedis(
                DEPLOY / "redis-cluster/redis.conf",
                folder / f"member-{number}",
                certificates,
                *("--cluster-announce-hostname", NAME, "--cluster-port", str(free_port())),
                # By default a master waits 5 s for further replicas.
                *("--repl-diskless-sync-delay", "0"),
            )
            for number in range(MEMBERS)
        ]
        for member in members:
            running.callback(member.kill)
            member.spawn()
        for member in members:
            member.wait_until_ready()
        redis_cli(
            certificates,
            *("--cluster", "create", *(f"{NAME}:{member.port}" for member in members)),
            *("--cluster-replicas", "1", "--cluster-yes"),
        )
        # Until then there are too few replicas to take writes.
        eventually(lambda: all(map(is_served, members)), "a cluster with its replicas", 60)
        yield members


def redis_cli(certificates: Certificates, *arguments: str) -> None:
    login = ("--tls", "--cacert", certificates.authority, "--user", "operator")
    said = subprocess.run(
        ["redis-cli", *login, *arguments],
        env=inherited() | {"REDISCLI_AUTH": password_of("operator")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stdout + said.stderr


def is_served(server: DeployedRedis) -> bool:
    """Whether it is a master with a replica, or the replica of a master."""
    known = replication_of(server)
    links = (known.get("master_link_status"), known.get("min_slaves_good_slaves"))
    return links in {("up", 0), (None, 1)}


def is_master(server: DeployedRedis) -> bool:
    return replication_of(server).get("role") == "master"


def replication_of(server: DeployedRedis) -> dict:
    # A server whose role changes closes its connections.
    with suppress(redis.ConnectionError), server.client() as client:
        return client.info("replication")
    return {}


@pytest.fixture(scope="module")
def limiter(tmp_path_factory, certificates) -> Iterator[DeployedRedis]:
    folder = tmp_path_factory.mktemp("limits") / "limiter"
    with DeployedRedis(DEPLOY / "redis-limiter/redis.conf", folder, certificates) as server:
        yield server


@pytest.fixture(scope="module")
def deployed(cluster, limiter, certificates, tmp_path_factory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    nodes = {f"seats{n}.example.org:7001": f"{NAME}:{cluster[n].port}" for n in (1, 2, 3)}
    here = {
        **nodes,
        "limits.example.org:6379": f"{NAME}:{limiter.port}",
        "/etc/tickets/ca.pem": str(certificates.authority),
    }
    write_event_file(folder / "events", EVENT, 100, 60)
    port, worker_port = free_port(), free_port()
    with ExitStack() as running:
        mongodb = running.enter_context(GuardedMongoDB(folder / "mongodb"))
        sandbox = running.enter_context(Sandbox(folder / "ledger.db", folder / "sandbox.log"))
        environment = (
            inherited()
            | parse(filled_in(ENV_FILE, here), ENV_FILE)
            | {
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "SECRET_KEY": "a secret key of tests",
                "STRIPE_API_KEY": SANDBOX_API_KEY,
                "STRIPE_API_BASE": sandbox.url,
                "ORGANISER_TOKEN": ORGANISER_TOKEN,
                "MONGODB_URI": mongodb.url_for(documented_actions()),
                "EVENTS_DIR": str(folder / "events"),
                # An account with a limit, for the keys of its queues.
                "STRIPE_RATE": "25/second",
                "LIMITER_SOCKET": str(folder / "limiter.sock"),
                "PORT": str(port),
                "WEB_HOST": HOST,
                "WEB_CONCURRENCY": "1",
                "WORKER_METRICS_PORT": str(worker_port),
                "TRUSTED_PROXIES": "loopback",
            }
        )
        procfile = read_procfile(REPOSITORY / "Procfile")
        release = flask(environment, "events", "open", "--all")
        assert release.returncode == 0, release.stderr
        worker = Process(
            "worker",
            shell_command(procfile["worker"]),
            folder / "worker.log",
            env=environment,
            cwd=REPOSITORY,
        )
        running.enter_context(worker)
        web = HttpServer(
            "web",
            shell_command(procfile["web"]),
            folder / "web.log",
            port,
            ready_path="/readyz",
            env=environment,
            cwd=REPOSITORY,
        )
        running.enter_context(web)
        yield Deployed(cluster, limiter, environment, web)


def used_on(servers: Iterable[DeployedRedis]) -> set[str]:
    """The commands that were called there and not refused, also those in scripts."""
    used = set()
    for server in servers:
        with server.client() as client:
            statistics = client.info("commandstats")
        for name, calls in statistics.items():
            if calls["calls"] > calls["rejected_calls"]:
                used.add(name.removeprefix("cmdstat_"))
    return used


def knows_replica(sentinel: DeployedRedis) -> bool:
    with sentinel.client() as client:
        replicas = client.sentinel_slaves("tickets")
    return any(replica["master-link-status"] == "ok" for replica in replicas)


def planned_failover(sentinel: DeployedRedis, certificates: Certificates) -> str:
    """The commands of the page, for a single Sentinel on this machine."""
    _, section = (DEPLOY / "README.md").read_text().split("### Planned failover")
    (commands,) = re.findall("```bash\n(.+?)```", section.split("\n### ")[0], re.DOTALL)
    here = {
        "REDISCLI_AUTH=…": f"REDISCLI_AUTH={password_of('sentinels')}",
        "/etc/redis/ca.pem": str(certificates.authority),
        "-p 26379": f"-p {sentinel.port}",
        "seats{1,2,3}.example.org": NAME,
        "seats1.example.org": NAME,
    }
    for place, value in here.items():
        assert place in commands
        commands = commands.replace(place, value)
    login = f"redis-cli --tls --cacert {certificates.authority} --user operator"
    return f'cli() {{ {login} "$@"; }}\n{commands}'


def denied_by(server: DeployedRedis) -> list[dict]:
    """What a user wanted and may not. A client may introduce itself or not: redis-py only does to a
    server that knows that command, as Valkey."""
    with server.client() as client:
        return [denied for denied in client.acl_log() if denied["object"] != "client|setinfo"]


def has_metric(url: str, line: str) -> bool:
    metrics = requests.get(f"{url}/metrics", timeout=TIMEOUT_S).text
    return re.search(f"^{line}$", metrics, re.MULTILINE) is not None


def is_clean(environment: dict[str, str]) -> bool:
    return flask(environment, "audit").returncode == 0


def test_a_sale_on_the_example_needs_every_permission_of_its_users_and_no_other(deployed):
    url, environment = deployed.web.url, deployed.environment
    buyer = Client(url, EVENT)
    hold = buyer.hold_best("stalls", 2).json()
    assert buyer.call("POST", f"holds/{hold['hold_id']}/extend", headers=bearer(hold)).ok
    assert_problem(buyer.pay(hold, "key-1", "pm_card_visa_chargeDeclined"), 402, "payment_declined")
    receipt = buyer.pay(hold, "key-2")
    assert receipt.status_code == 201, receipt.text
    assert buyer.pay(hold, "key-2").content == receipt.content
    assert buyer.release(buyer.hold_best("free", 1).json()).status_code == 204
    assert_problem(buyer.call("GET", "/api/events/unknown"), 404, "event_not_found")

    browser = Browser(url)
    page = browser.get(f"/events/{EVENT}")
    page.press("Hold the best", section="free", quantity="1").press("Give the seats back")
    assert page.send("Hold the best", section="free", quantity="1").status_code == 303, "again"
    assert "Log out" in browser.get("/organiser").press("Log in", token=ORGANISER_TOKEN).text
    assert browser.get(f"/organiser/events/{EVENT}").status == 200

    for command in (["events", "list"], ["bookings", "refund", receipt.json()["booking_id"]]):
        done = flask(environment, *command)
        assert done.returncode == 0, done.stderr
    assert has_metric(url, rf'tickets_event_reachable\{{event="{EVENT}",.*\}} 1.0')
    # On a busy machine an answer may be late, and the limiter then counts alone for a moment.
    eventually(lambda: has_metric(url, "tickets_limiter_shared 1.0"), "a shared limit", 30)
    # Workers repair what is left, such as the seats of the refund.
    eventually(lambda: is_clean(environment), "an audit without differences", 30)

    masters = [member for member in deployed.cluster if is_master(member)]
    for user, kind, servers in (
        ("shop", "redis-cluster", masters),
        ("limiter", "redis-limiter", [deployed.limiter]),
    ):
        commands, _ = allowed_to(user, kind)
        assert commands - used_on(servers) <= SELDOM[user]
    for server in (*deployed.cluster, deployed.limiter):
        assert denied_by(server) == []


def test_nginx_accepts_what_the_examples_command_writes(certificates, tmp_path):
    readme = (DEPLOY / "README.md").read_text()
    (command,) = re.findall(r"python -m (ops\.nginx\.render [^`]+)", readme)
    here = {
        "/etc/nginx/tickets.pem": str(certificates.certificate),
        "/etc/nginx/tickets.key": str(certificates.key),
        "/etc/nginx/nginx.conf": str(tmp_path / "nginx.conf"),
    }
    for place, value in here.items():
        command = command.replace(place, value)
    rendering = [sys.executable, "-m", *shlex.split(command.replace("\\\n", " "))]
    subprocess.run(rendering, cwd=REPOSITORY, check=True)
    Nginx(tmp_path / "nginx.conf", tmp_path / "nginx.log", 443).check_config()


@pytest.fixture(scope="module")
def watched(tmp_path_factory, certificates) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("sentinel")
    with ExitStack() as running:
        servers = [
            DeployedRedis(
                SENTINEL / "redis.conf",
                folder / name,
                certificates,
                *("--replica-announce-ip", NAME, "--repl-diskless-sync-delay", "0"),
            )
            for name in ("server-1", "server-2")
        ]
        master, replica = servers
        sentinel = DeployedRedis(
            SENTINEL / "sentinel.conf",
            folder / "sentinel",
            certificates,
            "--sentinel",
            replaced={"seats1.example.org 6379": f"{NAME} {master.port}"},
            access=Access("default", password_of("sentinels"), certificates),
        )
        for server in servers:
            running.callback(server.kill)
            server.start()
        with replica.client() as client:
            client.replicaof(NAME, master.port)
        eventually(lambda: all(map(is_served, servers)), "a master with its replica", 30)
        # It looks for replicas at its start, and then every 10 s.
        running.callback(sentinel.kill)
        sentinel.start()
        hosts = {f"seats{n}.example.org:26379": f"{NAME}:{sentinel.port}" for n in (1, 2, 3)}
        (url,) = re.findall("^# REDIS_URL=(.+)$", filled_in(ENV_FILE, hosts), re.MULTILINE)
        yield Watched(master, replica, sentinel, url)


def test_the_examples_sentinels_replace_a_master_that_sells_as_the_page_says(watched, certificates):
    tls = {"ssl_ca_certs": str(certificates.authority)}
    seats = seats_on(servers_of(redis_servers("REDIS_URL", watched.url), tls, replicas=1))
    event = small_hall()
    put_on_sale(seats, event)
    hold = seats.hold_seats(event, unique("hld"), unique("client"), [0])
    eventually(lambda: knows_replica(watched.sentinel), "a Sentinel that knows the replica", 30)
    done = subprocess.run(
        ["bash", "-c", planned_failover(watched.sentinel, certificates)],
        env=inherited() | {"REDISCLI_AUTH": password_of("operator")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.split() == ["OK"] * 5, done.stdout + done.stderr
    assert (is_master(watched.replica), is_master(watched.master)) == (True, False)
    watched.master.kill()

    def has_hold() -> bool:
        with suppress(Unavailable):
            return bool(seats.read_hold(event, hold.id))
        return False

    eventually(has_hold, "the hold on the new master", 30)
    for server in (watched.replica, watched.sentinel):
        assert denied_by(server) == []
