"""``make attack``: what the costliest requests to each route cost the application, and how long
honest buyers wait while four clients send the worst of them as often as the limit lets them.

It is about figures; whether they are good enough is for the tests. ``KEEP=1`` writes them to
docs/attacks.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ops.processes import free_port
from ops.servers import REPOSITORY
from ops.stack import Stack
from tests.attacks.floods import SETTINGS, Flood, Scene
from tests.environment import inherited
from tests.machine import circumstances
from tests.parameters import BadParameter, read_parameters

KEPT = REPOSITORY / "docs/attacks/floods.json"

ROUNDS = 3
SECONDS = 1.0


class Parameters(msgspec.Struct):
    keep: Annotated[int, Meta(ge=0, le=1)] = 0


class Row(msgspec.Struct):
    """A route under its costliest request. Times are medians."""

    route: str
    request: str
    cost_ms: float
    others_quiet_ms: float
    others_flooded_ms: float
    flood_per_s: float


def main() -> None:
    try:
        parameters = read_parameters(os.environ, Parameters)
    except BadParameter as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory(prefix="tickets-attack-") as name:
        stack = Stack(Path(name), inherited() | SETTINGS)
        try:
            stack.start(free_port())
            rows = measure(Scene(stack))
        finally:
            stack.stop()
    if parameters.keep:
        KEPT.parent.mkdir(exist_ok=True)
        figures = circumstances() | {"floods": rows}
        KEPT.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")


def measure(scene: Scene) -> list[Row]:
    print("| route | its costliest request | processor | others wait | in the flood | flood |")
    print("|---|---|---|---|---|---|")
    rows = []
    with Flood() as flood:
        for route in scene.requests:
            request = scene.costliest(route)
            cost_ms = scene.cost_ms(request)
            compared, answered = scene.compare(flood, scene.order(request), SECONDS, ROUNDS)
            row = Row(
                route,
                request.name,
                round(cost_ms, 2),
                round(compared.quiet_s * 1000, 2),
                round(compared.flooded_s * 1000, 2),
                round(answered.per_second, 1),
            )
            rows.append(row)
            print(
                f"| `{row.route}` | {row.request} | {row.cost_ms:.1f} ms "
                f"| {row.others_quiet_ms:.1f} ms | {row.others_flooded_ms:.1f} ms "
                f"| {row.flood_per_s:.0f}/s |",
                flush=True,
            )
    return rows


if __name__ == "__main__":
    main()
