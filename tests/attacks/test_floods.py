"""Four clients flood each route with its costliest request, as often as the limit lets them. Honest
buyers beside them hardly wait longer: their median does not double.

The machine may be busy with something else: so it is compared with the same buyers without the
flood a moment before, and looked at again, for longer, before anybody is blamed. Where others keep
all of its cores busy, every request makes all the others wait: then only the processor time that
the requests take can be judged. `make attack` has the figures.
"""

import os
import time
from collections.abc import Iterator

import pytest

from tests.attacks.costliest import NO_ROUTE, routes_of
from tests.attacks.floods import Flood
from tests.support.application import application_with

ROUTES = [*routes_of(application_with()), NO_ROUTE]

TRIES_S = (0.3, 0.6, 1.2)
"""How long is looked at each time."""

MOST_FLOODED_MS = 15
"""Processor time of a request where the machine is busy, which makes it longer; forty of them in a
second take a third of two cores."""

UNLIMITED = [route for route in ROUTES if route.startswith(("GET /healthz", "GET /static/"))]

MOST_MS = 0.1
"""The application's processor time for a request that is not limited."""


pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def flood() -> Iterator[Flood]:
    with Flood() as flood:
        yield flood


@pytest.mark.parametrize("route", ROUTES)
def test_a_flood_within_the_limit_does_not_double_what_others_wait(scene, flood, route):
    request = scene.costliest(route)
    ratios = []
    for seconds in TRIES_S:
        compared, _ = scene.compare(flood, scene.order(request), seconds)
        if compared.ratio < 2:
            return
        ratios.append(round(compared.ratio, 1))
    cost_ms = min(scene.cost_ms(request) for _ in TRIES_S)
    if cost_ms < MOST_FLOODED_MS and os.getloadavg()[0] > 2 * os.cpu_count():
        pytest.skip("This machine is too busy to tell.")
    pytest.fail(f"{request.name} ({cost_ms:.1f} ms): others wait {ratios} times as long")


@pytest.mark.parametrize("route", UNLIMITED)
def test_what_is_not_counted_is_not_the_applications_work(scene, flood, route):
    """As fast as four connections get answers."""
    before_s = scene.processor_s()
    with flood.of(scene.order(scene.costliest(route), per_second=None)) as answered:
        time.sleep(0.5)
    used_ms = (scene.processor_s() - before_s) * 1000
    assert used_ms / answered[0].statuses.total() < MOST_MS
