"""The order in which the workers of pytest-xdist take the files of tests."""

import os

import pytest

LONGEST_FILES = """
    browser/test_accessibility.py browser/test_every_engine.py browser/test_older_browsers.py
    browser/test_cards.py browser/test_map.py browser/test_time_and_forms.py
    browser/test_one_address.py browser/test_two_languages.py faults/test_faults.py
    attacks/test_cross_site.py simulator/test_simulator.py cli/test_organiser_commands.py
    ops/test_redis_groups.py ops/test_start_up.py faults/test_partial_loss.py ops/test_install.py
    cli/test_tickets_command.py ops/test_ops_servers.py nginx/test_nginx_renderings.py
    ops/test_payment_sandbox.py ops/test_run.py adapters/test_stripe_gateway.py
    sidecar/test_shared_limit.py adapters/test_model.py attacks/test_slow_clients.py
    ops/test_honcho.py sidecar/test_limit_exactness.py faults/test_wrong_clocks.py
    faults/test_points.py ops/test_parameters.py sidecar/test_env_file.py
""".split()
"""According to ``--durations``. Workers take them first, so that no long file is left for the
end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the browser's files together, so that one worker starts Chromium once for all of
    them."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        rank = {f"tests/{name}": number for number, name in enumerate(LONGEST_FILES)}

        def turn(item: pytest.Item) -> tuple[bool, int]:
            path = item.nodeid.partition("::")[0]
            return not path.startswith("tests/browser/"), rank.get(path, len(rank))

        items.sort(key=turn)
