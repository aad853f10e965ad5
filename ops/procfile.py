"""Read the Procfile: the one place that says how the processes of TicketS are started."""

import re
from pathlib import Path


def read_procfile(path: Path) -> dict[str, str]:
    """Name of each process to its command. Raises ValueError for a line that is neither empty,
    a comment nor ``name: command``."""
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
    """What runs a Procfile's command as a platform would: through the shell, which knows
    patterns such as ``*.toml``, and in the shell's place, so that signals reach the command."""
    return ["/bin/sh", "-c", f"exec {command}"]
