"""Processes that were not started here, read from /proc."""

from pathlib import Path


def state_of(pid: int) -> str:
    """The state letter of proc(5); None when there is no such process."""
    return _state_and_parent(pid)[0]


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    return state_of(pid) not in ("", "Z")


def children_of(pid: int) -> list[int]:
    """The process ids of its children that are alive."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in pids if _state_and_parent(child)[1] == str(pid) and is_alive(child)]


def _state_and_parent(pid: int) -> tuple[str, str]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    state, parent, *_ = stat.rpartition(")")[2].split()
    return state, parent
