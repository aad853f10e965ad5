"""Settings from a `.env` file: which file, what is in it, and that all processes read it alike."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from sidecar.env_file import add_env_file, parse
from tests.support.application import REQUIRED
from tests.support.clone import make_clone
from tests.support.environment import of_a_user

GOOD = "".join(f"{name}='{value}'\n" for name, value in REQUIRED.items())


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with what the reading needs of a project."""
    (tmp_path / ".env.example").write_text("SECRET_KEY=\n#REDIS_URL=redis://h\n#PORT=8000\n")
    return tmp_path


def write(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def added(project: Path, **environ: str) -> dict[str, str]:
    """What the environment is afterwards, as far as it concerns a user."""
    add_env_file(environ, project)
    return {name: value for name, value in environ.items() if name not in OURS}


OURS = ("ENV_FILE", "FLASK_SKIP_DOTENV")


# ---------------------------------------------------------------- which file, and who wins


def test_the_file_is_the_projects_wherever_one_stands(project, tmp_path_factory, monkeypatch):
    write(project / ".env", "PORT=9001")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    write(Path(".env"), "PORT=9002")
    assert added(project) == {"PORT": "9001"}


def test_no_file_is_fine(project):
    assert added(project) == {}


def test_the_environment_wins_also_with_an_empty_value(project):
    write(project / ".env", "PORT=9001\nREDIS_URL=redis://file\nSECRET_KEY=of-the-file")
    assert added(project, PORT="9000", REDIS_URL="") == {
        "PORT": "9000",
        "REDIS_URL": "",
        "SECRET_KEY": "of-the-file",
    }


def test_another_file_is_named_from_where_one_stands(project, tmp_path_factory, monkeypatch):
    write(project / ".env", "PORT=9001")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    write(Path("staging.env"), "PORT=9002")
    assert added(project, ENV_FILE="staging.env") == {"PORT": "9002"}
    assert added(project, ENV_FILE="") == {}, "none is asked for"


def test_it_is_read_once_and_not_by_child_processes(project):
    write(project / ".env", "PORT=9001")
    environ = {}
    add_env_file(environ, project)
    write(project / ".env", "PORT=9002\nSECRET_KEY=later")
    add_env_file(environ, project)
    assert environ["PORT"] == "9001"
    assert "SECRET_KEY" not in environ


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("name", ["no/such/file", "folder", "loop"])
def test_a_named_file_that_cannot_be_read_is_an_error(project, name):
    (project / "folder").mkdir()
    (project / "loop").symlink_to("loop")
    path = project / name
    with pytest.raises(ValueError, match=f"^{path}.*(no such file|directory|cannot be read)"):
        add_env_file({"ENV_FILE": str(path)}, project)


def test_so_is_an_env_that_is_a_directory_or_a_dead_link(project):
    (project / ".env").mkdir()
    with pytest.raises(ValueError, match=re.escape(f"{project}/.env is a directory")):
        add_env_file({}, project)
    (project / ".env").rmdir()
    (project / ".env").symlink_to("gone")
    with pytest.raises(ValueError, match="there is no such file"):
        add_env_file({}, project)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("PORT=8000\nnonsense\n", 2),
        ("\n# a comment\n\n\nPORT 8000\n", 5),
        ("PORT=8000\r\n\r\nSECRET_KEY\r\n", 3),
        ('SECRET_KEY="no end\nPORT=8000\n', 1),
        ("SECRET_KEY='a'b'\n", 1),
        ('PORT=8000\nTEXT="of\ntwo lines"\nbad\n', 4),
        ("redis-url=redis://h\n", 1),
        ("=8000\n", 1),
        ("PORT=80\0\n", 1),
        ("ENV_FILE=other.env\n", 1),
        (b"PORT=8000\nSECRET_KEY=caf\xe9\n", 2),
        (b"\xff\xfeP\0O\0R\0T\0=\x008\0", 1),
    ],
)
def test_a_bad_line_is_named_and_not_shown(project, content, line):
    path = write(project / ".env", content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}, line {line}: ") as refused:
        add_env_file({}, project)
    assert "no end" not in str(refused.value)


# ---------------------------------------------------------------- what is in it


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=plain", "plain"),
        ("export X=plain", "plain"),
        ("X = spaced ", "spaced"),
        ("X=", ""),
        ("X='quoted # $HOME ${HOME}'", "quoted # $HOME ${HOME}"),
        ('X="two\\nlines"', "two\nlines"),
        ('X="two\nlines"', "two\nlines"),
        ("X=pa#ss", "pa#ss"),
        ("X=pass # a comment", "pass"),
        ("X=pa${ss}w$rd", "pa${ss}w$rd"),
        ("X=a=b&c", "a=b&c"),
        ("X=1\nX=2", "2"),
        ("X=größer", "größer"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_values_follow_the_rules_of_python_dotenv_and_no_dollar_is_replaced(
    project, line, value, newline, mark
):
    text = line.replace("\n", newline)
    write(project / ".env", f"{mark}{text}{newline}".encode())
    assert added(project)["X"].replace("\r\n", "\n") == value
    if not mark:
        theirs = dotenv_values(stream=io.StringIO(text), interpolate=False)
        assert parse(text, project) == theirs


# ---------------------------------------------------------------- what it warns of


@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_warned_of_once(project, capfd, mode, warns):
    path = write(project / ".env", "PORT=8000", mode)
    environ = {}
    add_env_file(environ, project)
    add_env_file(environ, project)
    assert capfd.readouterr().err.count(f"chmod 600 {path}") == warns


def test_what_is_no_regular_file_needs_no_chmod(project, capfd):
    add_env_file({"ENV_FILE": "/dev/null"}, project)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("STRIPE_PUBLIC_KEY", "STRIPE_PUBLISHABLE_KEY"),
        ("STRIPE_SECRET_KEY", "STRIPE_API_KEY"),
        ("STRIPE_ENDPOINT_SECRET", "STRIPE_WEBHOOK_SECRET"),
        ("MONGO_URL", "MONGODB_URI"),
    ],
)
def test_so_is_the_name_that_a_setting_has_elsewhere(name, meant, project, capfd):
    (project / ".env.example").write_text(
        "STRIPE_API_KEY=\n#STRIPE_PUBLISHABLE_KEY=\n#STRIPE_WEBHOOK_SECRET=\n#MONGODB_URI=\n"
    )
    write(project / ".env", f"{name}=value")
    add_env_file({}, project)
    assert capfd.readouterr().err.endswith(f"did you mean {meant}?\n")


def test_a_misspelt_setting_is_warned_of_and_other_names_are_not(project, capfd):
    write(project / ".env", "REDIS_ULR=redis://h\nCOMPOSE_PROJECT_NAME=shop\nPYTHONUNBUFFERED=1\n")
    add_env_file({}, project)
    warned = capfd.readouterr().err.splitlines()
    assert warned == [
        f"settings: {project}/.env sets REDIS_ULR, which is no setting; did you mean REDIS_URL?"
    ]


def test_a_warning_does_not_show_a_value(project, capfd):
    write(project / ".env", "SECRET_KYE=precious", 0o644)
    add_env_file({}, project)
    assert "precious" not in capfd.readouterr().err


# ---------------------------------------------------------------- all processes alike


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A folder with its own settings, not the project's."""
    above = tmp_path_factory.mktemp("above")
    (above / ".env").write_text("RATE_LIMIT=from-above")
    (above / ".flaskenv").write_text("RATE_LIMIT=from-above")
    (above / "clone").mkdir()
    return make_clone(above / "clone")


def run(clone: Path, *command: str, **environ: str) -> subprocess.CompletedProcess:
    commands_dir = str(Path(sys.executable).parent)
    inherited = of_a_user() | {"PATH": os.pathsep.join([commands_dir, os.environ["PATH"]])}
    return subprocess.run(
        command, cwd=clone, env=inherited | environ, capture_output=True, text=True, timeout=60
    )


VERIFY = ("flask", "--app", "wsgi", "tickets", "verify", "no-ticket")
PROCESSES = {
    "flask": VERIFY,
    "gunicorn": ("gunicorn", "wsgi:app"),
    "worker": ("flask", "--app", "wsgi", "reconcile", "--forever"),
    "sidecar": ("python", "-m", "sidecar", "true"),
    "limiter": ("python", "-m", "sidecar.server"),
    "sidecar with gunicorn": ("python", "-m", "sidecar", "gunicorn", "wsgi:app"),
    "make run": ("python", "-m", "ops.run"),
    "wrapper": ("./tickets", "audit"),
}


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_names_a_bad_line_of_the_file(clone, process):
    path = write(clone / ".env", GOOD + "\nnonsense\n")
    refused = run(clone, *PROCESSES[process])
    assert refused.returncode
    assert refused.stderr.startswith(f"settings: {path}, line 4: ")
    assert "Traceback" not in refused.stderr
    assert "install python-dotenv" not in refused.stderr.lower()


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_reads_the_file_that_is_named(clone, process, tmp_path):
    write(clone / ".env", GOOD)
    refused = run(clone, *PROCESSES[process], ENV_FILE=str(tmp_path / "none"))
    assert refused.returncode
    assert f"{tmp_path}/none: there is no such file" in refused.stderr


@pytest.mark.parametrize("process", ["flask", "gunicorn", "sidecar with gunicorn", "make run"])
def test_every_process_checks_what_the_file_sets(clone, process):
    write(clone / ".env", GOOD + "RATE_LIMIT=of-the-file\n")
    refused = run(clone, *PROCESSES[process])
    assert refused.returncode
    assert "RATE_LIMIT: must be" in refused.stderr
    assert "of-the-file" in refused.stderr


def test_flask_reads_nothing_else(clone, tmp_path):
    """It would by itself: `.flaskenv`, folders above, and `.env` when another file is named."""
    (clone / ".env").unlink(missing_ok=True)
    not_ours = "is not a ticket of ours"
    assert not_ours in run(clone, *VERIFY, **REQUIRED).stderr
    write(clone / ".env", GOOD + "RATE_LIMIT=of-the-file\n")
    good = write(tmp_path / "good.env", GOOD)
    assert not_ours in run(clone, *VERIFY, ENV_FILE=str(good)).stderr
    assert not_ours in run(clone, *VERIFY, **REQUIRED, ENV_FILE="").stderr
    assert not_ours in run(clone, *VERIFY, RATE_LIMIT="5/second").stderr
    named = write(tmp_path / "rate.env", "RATE_LIMIT=5/second\n")
    assert not_ours in run(clone, "flask", "--env-file", str(named), *VERIFY[1:]).stderr


def test_one_warning_however_many_processes_there_are(clone):
    write(clone / ".env", GOOD + "TRUSTED_PROXYS=private\nPORT=no-port\n", 0o644)
    refused = run(clone, *PROCESSES["sidecar with gunicorn"])
    assert "PORT" in refused.stderr
    assert refused.stderr.count("did you mean TRUSTED_PROXIES?") == 1
    assert refused.stderr.count("chmod 600") == 1
