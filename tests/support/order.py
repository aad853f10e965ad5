"""The order in which the workers of pytest-xdist take the files of tests."""

import os

import pytest

LONGEST_FILES = """
    browser/test_accessibility.py browser/test_older_browsers.py browser/test_every_engine.py
    browser/test_time_and_forms.py browser/test_one_address.py browser/test_map.py
    browser/test_cards.py browser/test_two_languages.py browser/test_front_end_elsewhere.py
    browser/test_without_javascript.py faults/test_faults.py faults/test_redis_cluster.py
    cli/test_failures.py cli/test_events.py cli/test_bookings.py
    attacks/test_cross_site.py simulator/test_simulator.py faults/test_hosts.py
    attacks/test_event_files.py faults/test_after_a_loss.py pages/test_refusals.py
    attacks/test_odd_headers.py ops/test_start_up.py faults/test_partial_loss.py
    nginx/test_nginx_renderings.py sidecar/test_limiter_client.py ops/test_payment_sandbox.py
    http/test_cross_site.py sidecar/test_flask_limiter.py pages/test_edited_events.py
    ops/test_run.py cli/test_tickets_command.py ops/test_ops_servers.py
    sidecar/test_limiter_server.py ops/test_redis_groups.py http_server/test_http_worker.py
    attacks/test_health_flood.py pages/test_basket.py attacks/test_injections.py
    attacks/test_framing.py pages/test_safety.py pages/test_organiser.py
    adapters/test_stripe_gateway.py attacks/test_unreadable_requests.py
    attacks/test_secrets_in_logs.py use_cases/test_checkout.py http/test_monitoring.py
    nginx/test_nginx_failover.py sidecar/test_sidecar.py use_cases/test_reconciliation.py
    ops/test_install.py api/test_contract.py nginx/test_nginx_envelope.py
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
