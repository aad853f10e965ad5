"""Groups of servers that work together, as children of this process.

Members store each other's addresses, so they keep their ports from run to run, in ``ports.json`` in
the state folder. A port that another program uses by then is replaced there and in the members'
files.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, Self, TypeVar

from ops.processes import POLL_INTERVAL_S, ProcessFailed, free_port, port_is_free
from ops.servers import HOST, Server

PORTS_FILE = "ports.json"

GROUP_TIMEOUT_S = 60
"""For steps that take a few seconds on an idle machine."""

Member = TypeVar("Member", bound=Server)
Found = TypeVar("Found")


class ServerGroup(Generic[Member]):
    """Servers that start and stop together; ``group[name]`` is one of them. Each can also be
    killed, hung and started again by itself. ``url`` is the address for the application."""

    url: str
    members: Sequence[Member]

    def start(self) -> Self:
        """Revive all members, and wait until the group serves. Raises ProcessFailed, after all
        members were killed."""
        try:
            self.revive()
            self.form()
        except BaseException:
            self.kill()
            raise
        return self

    def revive(self) -> None:
        """Start the members that do not run, and resume those that hang. Each answers then, but may
        not have its role again, which takes Sentinels ten seconds. Raises ProcessFailed."""
        for member in self.members:
            if member.hangs:
                member.resume()
            if not member.running:
                member.spawn()
        for member in self.members:
            member.wait_until_ready()

    def form(self) -> None:
        """Join the members that have just started into a group. Raises ProcessFailed."""
        self.wait_until_whole()

    def is_whole(self) -> bool:
        """Whether each member runs, has its role, and has replicated its data."""
        raise NotImplementedError

    def wait_until_whole(self) -> None:
        """Raises ProcessFailed when the group is not whole within GROUP_TIMEOUT_S."""
        wait_for(self.is_whole, f"{', '.join(member.name for member in self.members)} as one")

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __getitem__(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)


def reachable(members: Iterable[Member]) -> Iterator[Member]:
    """The members that can answer now."""
    return (member for member in members if member.running and not member.hangs)


def wait_for(condition: Callable[[], Found | None], what: str) -> Found:
    """Poll ``condition`` until it is true, and return its value. Raises ProcessFailed after
    GROUP_TIMEOUT_S."""
    deadline = time.monotonic() + GROUP_TIMEOUT_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise ProcessFailed(f"Gave up after waiting {GROUP_TIMEOUT_S} s for {what}.")
        time.sleep(POLL_INTERVAL_S)
    return found


def kept_ports(state_dir: Path, names: Sequence[str], remembered_in: str) -> dict[str, int]:
    """A port for each name: that of the last run, unless another program uses it now.
    ``remembered_in`` is a pattern for the files below ``state_dir`` in which the members store each
    other's addresses."""
    path = state_dir / PORTS_FILE
    former: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    ports: dict[str, int] = {}
    for name in names:
        port = former.get(name)
        if port is None or not port_is_free(port, HOST):
            port = _free_port_beside({*former.values(), *ports.values()})
        ports[name] = port
    changed = {former[name]: ports[name] for name in former if former[name] != ports[name]}
    if changed:
        for file in state_dir.glob(remembered_in):
            file.write_text(_with_other_ports(file.read_text(), changed))
    if ports != former:
        state_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(ports))
    return ports


def _free_port_beside(others: set[int]) -> int:
    while (port := free_port(HOST)) in others:
        pass
    return port


def _with_other_ports(text: str, changed: dict[int, int]) -> str:
    """``127.0.0.1:7000``, ``127.0.0.1:7000@17000`` and ``127.0.0.1 7000`` are addresses."""
    return re.sub(
        rf"(?<={re.escape(HOST)}[: ])(\d+)(@\d+)?",
        lambda address: re.sub(
            r"\d+", lambda port: str(changed.get(int(port[0]), port[0])), address[0]
        ),
        text,
    )
