"""``make attack``: what the costliest requests to each route cost the application, and how long
honest buyers wait while four clients send the worst of them as often as the limit lets them.

It takes five minutes, and tells something only on a machine that does nothing else.
"""

import tempfile
from pathlib import Path

from ops.processes import free_port
from ops.stack import Stack
from tests.attacks.floods import SETTINGS, Flood, Scene
from tests.support.environment import inherited

ROUNDS = 3
SECONDS = 1.0


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tickets-attack-") as name:
        stack = Stack(Path(name), inherited() | SETTINGS)
        try:
            stack.start(free_port())
            measure(Scene(stack))
        finally:
            stack.stop()


def measure(scene: Scene) -> None:
    print("| route | its costliest request | processor | others wait | in the flood | flood |")
    print("|---|---|---|---|---|---|")
    with Flood() as flood:
        for route in scene.requests:
            request = scene.costliest(route)
            cost_ms = scene.cost_ms(request)
            compared, answered = scene.compare(flood, scene.order(request), SECONDS, ROUNDS)
            print(
                f"| `{route}` | {request.name} | {cost_ms:.1f} ms "
                f"| {compared.quiet_s * 1000:.1f} ms | {compared.flooded_s * 1000:.1f} ms "
                f"| {answered.per_second:.0f}/s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
