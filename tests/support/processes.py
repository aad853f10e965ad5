"""Processes that somebody else started, as /proc has them."""

from pathlib import Path


def state_of(pid: int) -> str:
    """A letter of proc(5); none when there is no such process."""
    return _state_and_parent(pid)[0]


def is_alive(pid: int) -> bool:
    """A zombie that nobody has reaped yet is dead."""
    return state_of(pid) not in ("", "Z")


def children_of(pid: int) -> list[int]:
    """Those that are alive."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in pids if _state_and_parent(child)[1] == str(pid) and is_alive(child)]


def _state_and_parent(pid: int) -> tuple[str, str]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    state, parent, *_ = stat.rpartition(")")[2].split()
    return state, parent
