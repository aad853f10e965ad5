"""Read the Procfile, the one place that defines how the processes of TicketS are started."""

import re
from pathlib import Path


def read_procfile(path: Path) -> dict[str, str]:
    """The command of each process, by name. Raises ValueError for a line that is neither empty, a
    comment nor ``name: command``."""
    commands = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9_-]+):\s*(.+)", line.rstrip())
        if match is None:
            raise ValueError(f"{path}, line {number}: expected `name: command`, found {line!r}")
        commands[match[1]] = match[2]
    return commands


def shell_command(command: str) -> list[str]:
    """The arguments that run a Procfile's command as a platform would: in a shell, which expands
    patterns such as ``*.toml``, and with ``exec``, so that signals reach the command itself."""
    return ["/bin/sh", "-c", f"exec {command}"]
