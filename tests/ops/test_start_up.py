"""What the processes of the Procfile do at their start, as their operator sees it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from flask import request

from ops.processes import Process, free_port
from ops.procfile import read_procfile, shell_command
from ops.servers import REPOSITORY, Redis
from sidecar.server_urls import smtp_server
from sidecar.settings import BadSettings
from sidecar.settings import read_settings as read_limiter_settings
from tests.support.application import REQUIRED, application_with
from tests.support.commands import IMPATIENT, flask
from tests.support.environment import inherited
from tests.support.factories import EVENT_FILE, unique
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.http.responses import CLIENT
from web.settings import read_settings
from web.signing.hold_tokens import HoldTokens


@pytest.fixture(scope="module")
def environment(redis_server, mongo_server) -> dict[str, str]:
    return inherited() | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.url,
        **REQUIRED,
        "STRIPE_API_BASE": f"http://127.0.0.1:{free_port()}",  # nobody is there
        "WEB_HOST": "127.0.0.1",
        "WEB_CONCURRENCY": "1",
    }


def web(environment, log_path: Path, **changes: str) -> Process:
    command = shell_command(read_procfile(REPOSITORY / "Procfile")["web"])
    env = environment | {"PORT": str(free_port())} | changes
    return Process("web", command, log_path, env=env, cwd=REPOSITORY)


def log_of_refused_start(process: Process) -> tuple[int, str]:
    process.spawn()
    try:
        assert process._wait(20), "it started"
        return process.exit_code, process.log_path.read_text()
    finally:
        process.kill()


@pytest.fixture
def event_file(tmp_path) -> Path:
    path = tmp_path / "evening.toml"
    path.write_text(EVENT_FILE.format(id=unique("evening"), capacity=5))
    return path


def test_events_open_says_what_it_did_and_again_is_fine(environment, event_file):
    opened = flask(environment, "events", "open", event_file)
    assert opened.returncode == 0, opened.stderr
    assert opened.stdout.startswith("opened: evening-")
    assert (
        "    5 seats, on sale from Thursday 1 January 2026, 10:00 GMT (open already) to "
        in opened.stdout
    )
    again = flask(environment, "events", "open", event_file).stdout
    assert again == opened.stdout.replace("opened: ", "unchanged: ", 1), "the prices, too"


def test_events_open_names_a_bad_file_in_one_line_and_opens_the_others(
    environment, event_file, tmp_path
):
    bad = tmp_path / "bad.toml"
    bad.write_text(EVENT_FILE.format(id="bad-one", capacity='"many"'))
    opened = flask(environment, "events", "open", bad, event_file)
    assert opened.returncode == 1, "a release learns of it"
    assert opened.stderr.startswith(
        f"Error: {bad}: sections[0].capacity: must be a whole number from 1 to 100000, as in 250, "
        'not "many"\n'
    )
    assert opened.stderr.count("Error: ") == 1
    assert opened.stdout.startswith("opened: evening-")


def test_events_open_refuses_two_files_with_one_id_and_opens_the_others(
    environment, event_file, tmp_path, redis_client
):
    twins = [tmp_path / "first.toml", tmp_path / "second.toml"]
    for twin in twins:
        twin.write_text(EVENT_FILE.format(id=(twin_id := unique("twin")), capacity=2))
    twins[0].write_text(twins[1].read_text())
    opened = flask(environment, "events", "open", *twins, event_file)
    assert opened.returncode == 1
    assert opened.stderr.count("Error: ") == 1
    assert all(str(twin) in opened.stderr for twin in twins)
    assert opened.stdout.startswith("opened: evening-")
    assert twin_id not in redis_client.smembers(CATALOGUE_KEY)


def test_events_open_skips_hidden_files_and_a_folder_without_files_is_no_mistake(
    environment, event_file, tmp_path
):
    hidden = tmp_path / "._evening.toml"
    hidden.write_bytes(b"\x00\x05\x16\x07")
    opened = flask(environment, "events", "open", hidden, event_file)
    assert (opened.returncode, "Error" in opened.stderr) == (0, False), opened.stderr
    assert f"Left out: {hidden} is hidden" in opened.stderr
    assert flask(environment, "events", "open", hidden).returncode == 1
    nothing = flask(environment, "events", "open", tmp_path / "none" / "*.toml")
    assert (nothing.returncode, "No such file" in nothing.stderr) == (1, True)
    (tmp_path / "none").mkdir()
    nothing = flask(environment, "events", "open", tmp_path / "none" / "*.toml")
    assert nothing.returncode == 0
    assert nothing.stderr.startswith("Nothing to open: no file is called ")


def test_the_release_names_what_it_leaves_out_opens_the_rest_and_lets_the_start_go_on(
    environment, event_file, redis_client, seats, catalogue
):
    folder = event_file.parent
    edited = folder / "edited.toml"
    edited.write_text(EVENT_FILE.format(id=(edited_id := unique("edited")), capacity=3))
    environment = environment | {"EVENTS_DIR": str(folder)}
    assert flask(environment, "events", "open", "--all").returncode == 0
    seats.hold_seats(catalogue.current_event(edited_id), unique("hld"), "ada", [2])
    edited.write_text(EVENT_FILE.format(id=edited_id, capacity=2))
    (folder / "bad.toml").write_text("id = ")
    (folder / "cheap.toml").write_text(
        EVENT_FILE.format(id=unique("cheap"), capacity=3).replace("900", "20")
    )
    (folder / "new.toml").write_text(EVENT_FILE.format(id=(new := unique("new")), capacity=3))
    release = shell_command(read_procfile(REPOSITORY / "Procfile")["release"])
    done = subprocess.run(release, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left_out = [line for line in done.stderr.splitlines() if line.startswith("Left out: ")]
    assert len(left_out) == 3, done.stderr
    assert left_out[0].startswith(f"Left out: {folder}/bad.toml: not TOML")
    assert left_out[1].startswith(f"Left out: {folder}/cheap.toml: sections[0].price: 20 is ")
    assert left_out[2].startswith(f"Left out: {edited_id}: the file would renumber or drop seats")
    assert left_out[2].endswith("; it is left as it is")
    assert f"opened: {new}, 3 seats" in done.stdout
    assert redis_client.strlen(f"seats:{{{edited_id}}}") == 3
    refused = flask(environment, "events", "open", edited)
    assert (refused.returncode, refused.stderr.startswith("Error: ")) == (1, True)


def test_the_release_without_a_folder_of_events_says_so_and_lets_the_start_go_on(
    environment, tmp_path
):
    away = environment | {"EVENTS_DIR": str(tmp_path / "nothing")}
    done = flask(away, "events", "open", "--all")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("nothing: No such file or directory; no event is declared\n")


@pytest.mark.parametrize("setting", ["REDIS_URL", "MONGODB_URI"])
def test_the_release_fails_where_nothing_can_be_opened(environment, event_file, setting):
    scheme = environment[setting].partition(":")[0]
    away = {setting: f"{scheme}://127.0.0.1:{free_port()}", "EVENTS_DIR": str(event_file.parent)}
    refused = flask(environment | IMPATIENT | away, "events", "open", "--all")
    assert (refused.returncode, "cannot reach" in refused.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [(), ("--all", "evening.toml")])
def test_events_open_wants_files_or_all_of_the_folder(environment, arguments):
    refused = flask(environment, "events", "open", *arguments)
    assert (refused.returncode, "name FILES, or give --all" in refused.stderr) == (2, True)


def test_events_open_names_a_database_that_cannot_be_reached(environment, event_file):
    nowhere = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    refused = flask(environment | nowhere, "events", "open", event_file)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "cannot reach" in refused.stderr


@pytest.fixture
def whole_environment(environment, sandbox, bookings) -> dict[str, str]:
    """A round of the worker that cannot ask the gateway fails."""
    return environment | {"STRIPE_API_BASE": sandbox.url}


def test_one_round_of_the_worker_ends_by_itself(whole_environment, event_file):
    flask(whole_environment, "events", "open", event_file)
    done = flask(whole_environment, "reconcile")
    assert done.returncode == 0, done.stderr


def test_the_worker_leaves_bad_files_out_and_opens_the_others_when_redis_has_lost_all(
    whole_environment, event_file, tmp_path, redis_server
):
    nothing_there = redis_server.url.removesuffix("/0") + "/9"
    environment = whole_environment | {"REDIS_URL": nothing_there}
    (tmp_path / "bad.toml").write_text("id = ")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.toml")).write_text("id = ")
    (tmp_path / "._bad.toml").write_text("not a file of events")
    (tmp_path / "marked.toml").write_text(
        EVENT_FILE.format(id=(marked := unique("evening")), capacity=3), "utf-8-sig"
    )
    done = flask(environment | {"EVENTS_DIR": str(tmp_path)}, "reconcile")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("left out: ") == 3
    assert "loop.toml: a link that leads back to itself" in done.stderr
    assert f"left out: {tmp_path / 'bad.toml'}: not TOML" in done.stderr
    listed = redis.from_url(nothing_there, decode_responses=True).smembers(CATALOGUE_KEY)
    assert marked in listed
    assert [name for name in listed if f'"{name}"' in event_file.read_text()]


def test_the_worker_works_without_event_files(whole_environment, tmp_path):
    done = flask(whole_environment | {"EVENTS_DIR": str(tmp_path / "nothing")}, "reconcile")
    assert done.returncode == 0, done.stderr
    assert "nothing: No such file or directory; no event is declared" in done.stderr


def test_the_worker_ends_on_sigterm(environment, tmp_path):
    command = shell_command(read_procfile(REPOSITORY / "Procfile")["worker"])
    worker = Process("worker", command, tmp_path / "log", env=environment, cwd=REPOSITORY)
    with worker:
        deadline = time.monotonic() + 20
        while not handles_sigterm(worker.pid):
            assert worker.running and time.monotonic() < deadline, worker.log_path.read_text()
            time.sleep(0.05)
    assert worker.exit_code == 0


def handles_sigterm(pid: int) -> bool:
    """The mask of caught signals in proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[1]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_web_refuses_to_start_without_the_unique_index(environment, tmp_path, mongo_client):
    database = unique("no-index")
    mongo_client[database].bookings.create_index([("event", 1), ("seats", 1)])  # not unique
    uri = environment["MONGODB_URI"].replace("/tickets", f"/{database}")
    exit_code, log = log_of_refused_start(web(environment, tmp_path / "log", MONGODB_URI=uri))
    assert exit_code == 3
    assert "no unique index on bookings (event, seats)" in log


def test_the_worker_refuses_to_start_without_the_unique_index(environment):
    uri = environment["MONGODB_URI"].replace("/tickets", "/" + unique("no-index"))
    refused = flask(environment | {"MONGODB_URI": uri}, "reconcile", "--forever")
    assert refused.returncode == 1
    assert "no unique index on bookings (event, seats)" in refused.stderr


@pytest.fixture
def evicting_redis(tmp_path):
    """As some providers set it up."""
    server = Redis(tmp_path / "redis", tmp_path / "redis.log")
    with server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", "volatile-lru")
        yield server


def test_nothing_starts_on_a_redis_that_throws_keys_away(environment, tmp_path, evicting_redis):
    environment |= {"REDIS_URL": evicting_redis.url}
    exit_code, log = log_of_refused_start(web(environment, tmp_path / "log"))
    assert exit_code == 3
    assert "Redis has maxmemory-policy volatile-lru" in log and "set it to noeviction" in log
    refused = flask(environment, "reconcile", "--forever")
    assert refused.returncode == 1
    assert "set it to noeviction" in refused.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "eighty", "PORT"),
        ("SECRET_KEY", "", "SECRET_KEY is required"),
        ("SECRET_KEY", "short", "SECRET_KEY must have at least 16 characters, not 5"),
        ("SECRET_KEY_FALLBACKS", "a former secret key,a", "SECRET_KEY_FALLBACKS must have keys"),
        ("ORGANISER_TOKEN", "short", "ORGANISER_TOKEN must have 16 to 200 characters in one line"),
        ("STRIPE_API_BASE", "nonsense", "STRIPE_API_BASE"),
        ("STRIPE_RATE", "25", "STRIPE_RATE: must be 1 to 10000 a second, minute or hour"),
        ("STRIPE_RATE", "0/second", "STRIPE_RATE: must be 1 to 10000 a second, minute or hour"),
        ("STRIPE_API_KEY", "", "STRIPE_API_KEY"),
        ("STRIPE_API_KEY", "sk_live_key", "STRIPE_PUBLISHABLE_KEY is required"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_live_key", "must both be test keys"),
        ("STRIPE_API_KEY", "pk_test_key", "STRIPE_API_KEY is a publishable key (pk_…)"),
        ("STRIPE_API_KEY", "pk_live_key", "STRIPE_API_KEY is a publishable key (pk_…)"),
        ("STRIPE_API_KEY", "whsec_key", "STRIPE_API_KEY is a webhook secret"),
        ("STRIPE_API_KEY", "key", "STRIPE_API_KEY must begin as Stripe's keys do"),
        ("STRIPE_API_KEY", "sk_test", "STRIPE_API_KEY has nothing after sk_test:"),
        ("STRIPE_API_KEY", "sk_test_", "STRIPE_API_KEY has nothing after sk_test_:"),
        ("STRIPE_API_KEY", "sk_testing", "STRIPE_API_KEY must begin as Stripe's keys do"),
        ("STRIPE_API_KEY", "rk_live_", "STRIPE_API_KEY has nothing after rk_live_:"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_live_", "STRIPE_PUBLISHABLE_KEY has nothing after"),
        ("STRIPE_WEBHOOK_SECRET", "we_123", "STRIPE_WEBHOOK_SECRET is the ID of a webhook"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_", "STRIPE_WEBHOOK_SECRET ends after whsec_"),
        ("STRIPE_API_BASE", "ftp://x", "STRIPE_API_BASE must be http:// or https:// and a host"),
        ("STRIPE_API_BASE", "http://", "STRIPE_API_BASE must be http:// or https:// and a host"),
        ("STRIPE_API_BASE", "http://h:x", "STRIPE_API_BASE must have a port from 1 to 65535"),
        ("STRIPE_API_BASE", "https://api.stripe.com/v1", "without a path such as /v1"),
        ("STRIPE_API_BASE", "https://api.stripe.com?v=1", "without a path such as /v1"),
        ("STRIPE_API_KEY", "sk_tset_key", "STRIPE_API_KEY must begin as Stripe's keys do"),
        ("STRIPE_API_KEY", "sk_test_a b", "STRIPE_API_KEY has white space"),
        ("STRIPE_API_KEY", "sk_test_…", "STRIPE_API_KEY has white space or a letter that"),
        ("STRIPE_API_KEY", " sk_test_key", "STRIPE_API_KEY begins or ends with white space"),
        ("STRIPE_API_KEY", "sk_test_key\n", "STRIPE_API_KEY begins or ends with white space"),
        ("STRIPE_API_KEY", "'sk_test_key'", "STRIPE_API_KEY has quotes around its value"),
        ("STRIPE_API_KEY", "rk_live_key", "STRIPE_PUBLISHABLE_KEY is required"),
        ("STRIPE_PUBLISHABLE_KEY", "sk_test_key", "STRIPE_PUBLISHABLE_KEY is a secret key"),
        ("STRIPE_PUBLISHABLE_KEY", "rk_test_key", "STRIPE_PUBLISHABLE_KEY is a restricted key"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_test_a b", "STRIPE_PUBLISHABLE_KEY has white space"),
        ("STRIPE_WEBHOOK_SECRET", "sk_test_key", "STRIPE_WEBHOOK_SECRET is a secret key"),
        ("SECRET_KEY", '"a key in quotation marks"', "SECRET_KEY has quotes around its value"),
        ("SECRET_KEY", " a key with a space", "SECRET_KEY begins or ends with white space"),
        ("REDIS_URL", "'redis://127.0.0.1'", "REDIS_URL has quotes around its value"),
        ("WEB_CONCURRENCY", "2 ", "WEB_CONCURRENCY begins or ends with white space"),
        ("TRUSTED_PROXIES", "10.0.0.0/40", "10.0.0.0/40"),
        ("TRUSTED_HOPS", "0", "TRUSTED_HOPS"),
        ("MONITORING_NETWORKS", "herroku", "MONITORING_NETWORKS: 'herroku' is no network"),
        ("MONITORING_NETWORKS", "0.0.0.0/0", "MONITORING_NETWORKS: 0.0.0.0/0 is everybody"),
        ("MONITORING_TOKEN", "short", "MONITORING_TOKEN must have 16 to 200 characters"),
        ("MONITORING_TOKEN", "x" * 201, "MONITORING_TOKEN must have 16 to 200 characters"),
        ("MONITORING_TOKEN", "a token with spaces", "MONITORING_TOKEN must have 16 to 200"),
        ("TRUSTED_PROXIES", "herroku", "herroku"),
        ("RATE_LIMIT", "fast", "RATE_LIMIT"),
        ("RATE_LIMIT_PAYMENTS", "0/second", "RATE_LIMIT_PAYMENTS"),
        ("RATE_LIMIT_LOOKUPS", "5/day", "RATE_LIMIT_LOOKUPS"),
        ("WEB_CONCURRENCY", "0", "WEB_CONCURRENCY"),
        ("REDIS_URL", "localhost", "REDIS_URL"),
        ("MONGODB_URI", "localhost", "MONGODB_URI"),
    ],
)
def test_a_bad_setting_is_named(name, value, says):
    with pytest.raises(BadSettings, match=re.escape(says)):
        read_settings(REQUIRED | {name: value})


URLS_THAT_CANNOT_BE_READ = [
    ("MONGODB_URI", "mongodb://u:pre@cious@127.0.0.1/x", "percent-encode it"),
    ("MONGODB_URI", "mongodb://u:pre/cious@127.0.0.1/x", "percent-encode it"),
    ("MONGODB_URI", "mongodb://u:pre?cious@127.0.0.1/x", "percent-encode it"),
    ("MONGODB_URI", "mongodb://u:pre:cious@127.0.0.1/x", "percent-encode it"),
    ("MONGODB_URI", "mongodb://u:precious%@127.0.0.1/x", "percent-encode it"),
    ("MONGODB_URI", "mongodb://:precious@127.0.0.1/x", "has no user name"),
    ("MONGODB_URI", "mongodb://u:precious", "must have a port from 1 to 65535"),
    ("MONGODB_URI", "mongodb://127.0.0.1:abc/x", "must have a port from 1 to 65535"),
    ("MONGODB_URI", "mongodb://127.0.0.1:0/x", "must have a port from 1 to 65535"),
    ("MONGODB_URI", "mongodb://a,b:70000/x", "must have a port from 1 to 65535"),
    ("MONGODB_URI", "mongodb://[::1/x", "has a host that cannot be read"),
    ("MONGODB_URI", "mongodb://127.0.0.1/x?authSource", "must have options as name=value"),
    ("MONGODB_URI", "mongodb://", "has no host"),
    ("MONGODB_URI", "mongodb://a,,b/x", "has no host"),
    ("MONGODB_URI", "mongodb+srv://a.b.c:27017/x", "one host and no port"),
    ("MONGODB_URI", "localhost", "must begin with mongodb:// or mongodb+srv://"),
    ("REDIS_URL", "redis://localhost:abc/0", "must have a port from 1 to 65535"),
    ("REDIS_URL", "redis://127.0.0.1:70000/0", "must have a port from 1 to 65535"),
    ("REDIS_URL", "redis://:pre/cious@127.0.0.1/0", "percent-encode it"),
    ("REDIS_URL", "redis://:pre#cious@127.0.0.1/0", "percent-encode it"),
    ("REDIS_URL", "redis://:pre[cious@127.0.0.1/0", "percent-encode it"),
    ("REDIS_URL", "redis://127.0.0.1/first", "must end with the number of a database"),
    ("REDIS_URL", "unix://", "must have a path after unix://"),
    ("REDIS_URL", "localhost", "must begin with redis://, rediss://, unix://, redis+sentinel://"),
    ("REDIS_URL", "redis+sentinel://:pre/cious@h/shop", "percent-encode it"),
    ("REDIS_URL", "redis+sentinel://u:precious@a,b", "must name the service"),
]


def test_a_redis_may_be_named_as_valkeys_tools_name_it(application, redis_server):
    client = application(REDIS_URL=redis_server.url.replace("redis://", "valkey://"))
    assert client.get("/api/events").status_code == 200


@pytest.mark.parametrize(("name", "url", "says"), URLS_THAT_CANNOT_BE_READ)
def test_an_address_that_cannot_be_read_is_refused_at_start_and_not_shown(name, url, says):
    with pytest.raises(BadSettings, match=f"^{name} .*{re.escape(says)}") as refused:
        read_settings(REQUIRED | {name: url})
    assert "cious" not in str(refused.value)


def test_so_is_that_of_the_limiters_redis():
    for name, url, says in URLS_THAT_CANNOT_BE_READ:
        if name == "REDIS_URL":
            with pytest.raises(BadSettings, match=f"^LIMITER_REDIS_URL .*{re.escape(says)}"):
                read_limiter_settings({"LIMITER_REDIS_URL": url})


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("MONGODB_URI", "mongodb://u:p%40ss@[::1]:27017,b:27018/x?replicaSet=r&w=majority"),
        ("MONGODB_URI", "mongodb://u:p#w@127.0.0.1"),
        ("MONGODB_URI", "mongodb://u:p==@h:10255/?ssl=true&appName=@shop@"),
        ("MONGODB_URI", "mongodb://u@h/?authMechanism=MONGODB-X509&tls=true"),
        ("MONGODB_URI", "mongodb://%2Ftmp%2Fmongodb-27017.sock/x"),
        ("MONGODB_URI", "mongodb://h?tls=true"),
        ("MONGODB_URI", "mongodb+srv://u:p@nope.invalid/x"),
        ("REDIS_URL", "redis://h"),
        ("REDIS_URL", "redis://:p%40ss@[::1]:6379/0"),
        ("REDIS_URL", "rediss://u:p@h:6380/?ssl_cert_reqs=none"),
        ("REDIS_URL", "unix:///run/a@b.sock?db=1"),
        ("REDIS_URL", "unix://u:p@/run/redis.sock"),
    ],
)
def test_an_address_that_the_libraries_read_is_taken(name, url):
    application_with(**{name: url})


@pytest.mark.parametrize(
    ("name", "url", "says"),
    [
        ("MONGODB_URI", "mongodb://h/x?tlsCAFile=/not/there", "MONGODB_URI: .*No such file"),
        ("MONGODB_URI", "mongodb://h/a b", "MONGODB_URI: "),
        ("REDIS_URL", "redis://h/0?databse=1", "REDIS_URL: there is no option databse"),
        (
            "REDIS_URL",
            "rediss+cluster://h?ssl_ca_certs=/not/there",
            "REDIS_URL: ssl_ca_certs: '/not/there' cannot be read: No such file or directory",
        ),
        ("REDIS_URL", "redis://h/0?socket_timeout=x", "REDIS_URL: Invalid value"),
        ("REDIS_URL", "rediss://h/0?ssl_cert_reqs=nonsense", "REDIS_URL: Invalid SSL"),
    ],
)
def test_an_option_that_the_library_refuses_is_a_bad_setting(name, url, says):
    with pytest.raises(BadSettings, match=says):
        application_with(**{name: url})


def test_web_ends_in_one_line_at_an_option_that_a_worker_meets_first(environment, tmp_path):
    bad = {"REDIS_URL": environment["REDIS_URL"] + "?databse=1"}
    exit_code, log = log_of_refused_start(web(environment, tmp_path / "log", **bad))
    assert exit_code == 3
    assert log.count("settings: REDIS_URL: there is no option databse\n") == 1
    assert "Traceback" not in log


def test_a_host_that_has_no_address_is_out_of_reach(environment):
    nowhere = environment | {"MONGODB_URI": "mongodb+srv://nope.invalid/x"}
    refused = flask(nowhere, "events", "open", "--all")
    assert (refused.returncode, "cannot reach" in refused.stderr) == (1, True), refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "abc", "PORT must be a whole number from 1 to 65535, not 'abc'"),
        ("PORT", "1.5", "PORT must be a whole number from 1 to 65535, not 1.5"),
        ("WEB_CONCURRENCY", "0", "WEB_CONCURRENCY must be a whole number from 1 to 64, not 0"),
        ("PAYMENT_LEASE_S", "abc", "PAYMENT_LEASE_S must be a number from 1 to 3600, not 'abc'"),
        ("PAYMENT_LEASE_S", "inf", "PAYMENT_LEASE_S must be a number from 1 to 3600, not 'inf'"),
        ("TRUSTED_HOPS", "99", "TRUSTED_HOPS must be a whole number from 1 to 16, not 99"),
        ("TRUSTED_HOPS", "x", "TRUSTED_HOPS must be a whole number from 1 to 16, not 'x'"),
        ("WEB_WORKER_CLASS", "sync", "WEB_WORKER_CLASS must be llhttp or gevent, not 'sync'"),
        ("WEB_SOCKET", "/" * 108, f"WEB_SOCKET must have at most 107 bytes, not 108: {'/' * 108}"),
    ],
)
def test_what_a_setting_must_be_is_said_in_plain_words(name, value, says):
    with pytest.raises(BadSettings) as refused:
        read_settings(REQUIRED | {name: value})
    assert str(refused.value) == says


def test_so_is_what_a_setting_of_the_limiter_must_be():
    says = "LIMITER_MAX_CLIENTS must be a whole number from 1 to 10000000, not -1"
    with pytest.raises(BadSettings, match=f"^{says}$"):
        read_limiter_settings({"LIMITER_MAX_CLIENTS": "-1"})


@pytest.mark.parametrize("base", ["http://h:8080", "https://api.stripe.com/", "http://[::1]:80"])
def test_the_gateways_address_is_a_scheme_and_a_host(base):
    assert read_settings(REQUIRED | {"STRIPE_API_BASE": base}).stripe_api_base == base


def test_the_folder_for_metrics_is_made(tmp_path):
    folder = tmp_path / "not" / "there"
    read_settings(REQUIRED | {"PROMETHEUS_MULTIPROC_DIR": str(folder)})
    assert folder.is_dir()


def test_a_folder_for_metrics_that_cannot_be_made_is_one_line(environment, tmp_path):
    (tmp_path / "file").touch()
    bad = environment | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file" / "folder")}
    refused = flask(bad, "events", "open", "--all")
    assert refused.returncode == 3
    (line,) = refused.stderr.splitlines()
    assert line.startswith("settings: PROMETHEUS_MULTIPROC_DIR must be a folder")


def test_swapped_stripe_keys_are_called_so_and_not_shown():
    swapped = {"STRIPE_API_KEY": "pk_live_shown", "STRIPE_PUBLISHABLE_KEY": "sk_live_precious"}
    with pytest.raises(BadSettings, match="are swapped") as refused:
        read_settings(REQUIRED | swapped)
    assert "precious" not in str(refused.value)


@pytest.mark.parametrize("key", ["sk_test_key", "rk_test_key", "sk_live_key", "rk_live_key"])
def test_money_moves_with_a_live_key_only(key):
    mode = key.split("_")[1]
    keys = {"STRIPE_API_KEY": key, "STRIPE_PUBLISHABLE_KEY": f"pk_{mode}_key"}
    assert read_settings(REQUIRED | keys).is_test_shop == (mode == "test")


@pytest.mark.parametrize(
    ("mode", "given", "rate"),
    [
        ("test", "", None),
        ("test", "12/second", (12, 10**9)),
        ("live", "", (25, 10**9)),
        ("live", "100/second", (100, 10**9)),
    ],
)
def test_a_live_account_has_stripes_usual_rate_unless_it_is_set(mode, given, rate):
    keys = {"STRIPE_API_KEY": f"sk_{mode}_key", "STRIPE_PUBLISHABLE_KEY": f"pk_{mode}_key"}
    assert read_settings(REQUIRED | keys | {"STRIPE_RATE": given}).rate_of_stripe == rate


def test_relative_paths_in_settings_start_from_the_projects_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = read_settings(REQUIRED | {"TRUSTED_PROXIES": "@sidecar/proxies/private.txt"})
    assert settings.trusted_networks
    assert settings.events_path == REPOSITORY / "events"


@pytest.mark.parametrize("name", ["WEB_CONCURRENCY", "LIMITER_MAX_CLIENTS"])
def test_web_does_not_start_with_a_bad_setting(environment, tmp_path, name):
    exit_code, log = log_of_refused_start(web(environment, tmp_path / "log", **{name: "0"}))
    assert exit_code
    assert name in log
    assert "Traceback" not in log, log


def test_settings_reach_what_they_are_for():
    former = "a former secret key"
    app = application_with(SECRET_KEY_FALLBACKS=former, TRUSTED_HOPS="2")
    box_office = app.extensions["services"].box_office
    assert box_office._tokens.is_valid(HoldTokens(former).ref_of("evening", "hld_1"))
    with app.test_client() as client:
        forwarded = "203.0.113.9, 203.0.113.7, 10.0.0.1"
        client.get("/nothing", headers={"X-Forwarded-For": forwarded})
        assert request.environ[CLIENT] == "203.0.113.7"


def test_a_booking_is_acknowledged_by_a_majority_and_its_journals(bookings):
    assert bookings._collection.write_concern.document == {"w": "majority", "j": True}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"SMTP_URL": "smtp.example.org"}, "SMTP_URL must begin with smtp://, smtps:// or smtp+"),
        ({"SMTP_URL": "smtps://"}, "SMTP_URL has no host where one must be"),
        ({"SMTP_URL": "smtps://host:99999"}, "SMTP_URL must have a port from 1 to 65535"),
        ({"SMTP_URL": "smtps://user@host"}, "SMTP_URL must have user:password before the @"),
        ({"SMTP_URL": "smtps://:s3cret@host"}, "SMTP_URL must have user:password before the @"),
        ({"SMTP_URL": "smtps://u:s3c/ret@host"}, "SMTP_URL cannot be read: if its user name"),
        ({"SMTP_URL": "smtps://u:s3c%ret@host"}, "SMTP_URL cannot be read: if its user name"),
        ({"SMTP_URL": "smtp://u:s3cret@mail.example"}, "SMTP_URL would send its password unencr"),
        ({"SMTP_URL": "smtps://host/inbox"}, "SMTP_URL must end after the host and port"),
        ({"SMTP_URL": "smtps://host?timeot=3"}, "SMTP_URL has an unknown option: it can have"),
        ({"SMTP_URL": "smtps://host?timeout=0"}, "SMTP_URL must have a timeout from 1 to 60"),
        ({"SMTP_URL": "smtps://host?timeout=1e9"}, "SMTP_URL must have a timeout from 1 to 60"),
        ({"SMTP_URL": "smtps://host?ca=/no/file"}, "SMTP_URL has a ca that is no file"),
        ({"SMTP_URL": "smtp://host?ca=/no/file"}, "SMTP_URL has a ca, which is for smtps://"),
        ({"MAIL_FROM": ""}, "MAIL_FROM is required with SMTP_URL"),
        ({"MAIL_FROM": "Rosewood"}, "MAIL_FROM must be an address, as in"),
        ({"MAIL_FROM": "a@example.org, b@example.org"}, "MAIL_FROM must be an address, as in"),
        ({"MAIL_FROM": "A <a@example.org>\nBcc: b@example.org"}, "MAIL_FROM must be an address"),
        ({"PUBLIC_URL": ""}, "PUBLIC_URL is required with SMTP_URL"),
        ({"PUBLIC_URL": "tickets.example.org"}, "PUBLIC_URL must be an absolute address"),
        ({"PUBLIC_URL": "http://tickets.example.org"}, "PUBLIC_URL must begin with https://"),
        ({"PUBLIC_URL": "https://example.org/shop"}, "PUBLIC_URL must end after the host"),
    ],
)
def test_what_mails_need_is_checked_at_the_start_in_one_line(given, told):
    mail = {
        "SMTP_URL": "smtps://u:p@mail.example.org",
        "MAIL_FROM": "Rosewood Tickets <tickets@example.org>",
        "PUBLIC_URL": "https://tickets.example.org",
    }
    assert read_settings(REQUIRED | mail).smtp.port == 465
    with pytest.raises(BadSettings) as refused:
        read_settings(REQUIRED | mail | given)
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value) and "s3c" not in str(refused.value)


def test_an_smtp_url_is_read_as_it_was_meant():
    read = smtp_server("SMTP_URL", "smtp+starttls://post%40x:p%3A%2F@[::1]?timeout=20")
    assert (read.host, read.port, read.username, read.password, read.timeout_s) == (
        ("::1", 587, "post@x", "p:/", 20)
    )
    assert "p:/" not in repr(read)
