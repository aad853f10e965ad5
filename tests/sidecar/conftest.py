import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.processes import children_of
from tests.support.sidecars import (
    PATIENCE_S,
    PATIENT_LIMITER,
    QUICK_SUPERVISOR,
    ROOT,
    SHOW_SIGNALS,
    Limiter,
    Sidecar,
    python,
)
from tests.support.waiting import eventually


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    """The limiter's temporary folder is where the test can see what is left in it."""
    return {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "LIMITER_SOCKET": str(tmp_path / "socket"),
    }


@pytest.fixture
def start(environ) -> Iterator[Callable[..., Sidecar]]:
    started = []

    def start(command: list[str], look_interval_s: float | None = None, **options) -> Sidecar:
        supervisor = [sys.executable, "-m", "sidecar"]
        if look_interval_s is not None:
            supervisor = [*python(QUICK_SUPERVISOR), str(look_interval_s)]
        process = subprocess.Popen(
            [*supervisor, *command],
            **{"cwd": ROOT, "env": environ, "stdout": subprocess.PIPE, "text": True, **options},
        )
        started.append(process)
        return Sidecar(process, options.get("env", environ)["LIMITER_SOCKET"])

    yield start
    for process in started:
        children = children_of(process.pid)
        process.kill()
        process.wait()
        for child in children:
            # SHOW_SIGNALS outlives the SIGTERM that it gets when its parent dies.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def ready(start) -> Sidecar:
    """A sidecar whose command runs."""
    sidecar = start(SHOW_SIGNALS)
    assert sidecar.line() == "ready"
    return sidecar


@pytest.fixture
def start_host(environ) -> Iterator[Callable[..., Limiter]]:
    """Starts limiters without a supervisor, and waits until they answer. How busy the machine is
    changes no decision, unless the time-out for Redis says otherwise."""
    started = []

    def start_host(
        redis_url: str, redis_timeout_s: float = PATIENCE_S / 2, *, ca: str = ""
    ) -> Limiter:
        path = f"{environ['LIMITER_SOCKET']}-{len(started)}"
        process = subprocess.Popen(
            [*python(PATIENT_LIMITER), str(redis_timeout_s)],
            cwd=ROOT,
            env={
                **environ,
                "LIMITER_SOCKET": path,
                "LIMITER_REDIS_URL": redis_url,
                "REDIS_TLS_CA": ca,
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        host = Limiter(process, path)
        eventually(lambda: host.client().stats(), "an answer")
        return host

    yield start_host
    for process in started:
        process.kill()
        said = process.communicate()[1]
        assert "Traceback" not in said, said
