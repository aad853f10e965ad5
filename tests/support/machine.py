"""The machine on which figures were measured."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ops.servers import find_redis_server

LIBRARIES = ("flask", "gunicorn", "gevent", "httptools", "redis", "hiredis", "pymongo", "uvloop")
SERVER_VERSION = re.compile(r"(nginx|Redis server|Valkey server)(?:/| v=)([\d.]+)")


def circumstances() -> dict[str, object]:
    """The first fields of a stored measurement."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
    }


def machine() -> str:
    """One line: processor, cores, memory, system."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {cpu[1].strip() if cpu else platform.processor()}, "
        f"{memory_gib:.0f} GiB, {platform.freedesktop_os_release()['PRETTY_NAME']}, "
        f"Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """The versions, by name, of the programs and libraries that handle a request."""
    path = os.environ["PATH"] + ":/usr/sbin"
    servers = {}
    for command in (("nginx", "-v"), (find_redis_server(), "--version")):
        told = subprocess.run(command, capture_output=True, text=True, env={"PATH": path})
        if found := SERVER_VERSION.search(told.stdout + told.stderr):
            servers[found[1].lower().replace(" ", "-")] = found[2]
    return servers | {name: version(name) for name in LIBRARIES}
