"""A complete TicketS, as the fixtures `stack` and `site` start it, and its payments."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import stripe

from ops.processes import Process, free_port
from ops.procfile import read_procfile, shell_command
from ops.servers import HOST, REPOSITORY, HttpServer, Sandbox
from web.adapters.stripe.gateway import StripeGateway
from web.ports.payment_gateway import GatewayPayment

WEBHOOK_SECRET = "whsec_of_tests"
DOOR_TOKEN = "the-token-of-the-doors-of-tests"
ORGANISER_TOKEN = "the organiser's token of tests"


@dataclass(frozen=True)
class Site:
    """``url`` is nginx, ``web_url`` gunicorn behind it."""

    url: str
    web_url: str
    environment: dict[str, str]
    sandbox: Sandbox
    worker_class: str = "llhttp"

    def gateway(self) -> StripeGateway:
        return StripeGateway(
            self.environment["STRIPE_API_KEY"], self.environment["STRIPE_API_BASE"]
        )

    def payments(self) -> Iterator[GatewayPayment]:
        """All payments at the gateway, newest first."""
        return self.gateway().list(datetime.now(UTC) - timedelta(hours=1))

    def used_card(self) -> str:
        """A PaymentMethod that has already been charged for something else."""
        client = stripe.StripeClient(
            self.environment["STRIPE_API_KEY"], base_addresses={"api": self.sandbox.url}
        )
        paid = client.v1.payment_intents.create(
            {
                "amount": 1200,
                "currency": "gbp",
                "payment_method": "pm_card_visa",
                "confirm": True,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            }
        )
        return paid.payment_method

    def charges(self, hold_address: str) -> list[int]:
        """The amounts that were captured or authorised for the hold at this address."""
        hold_id = re.search(r"/holds/([^/]+)", hold_address)[1]
        return [
            payment.amount_minor
            for payment in self.payments()
            if payment.key.startswith(hold_id) and payment.status in ("authorized", "captured")
        ]


def another_worker(environment: Mapping[str, str], log_path: Path) -> Process:
    """A second `worker` process of the Procfile."""
    command = shell_command(read_procfile(REPOSITORY / "Procfile")["worker"])
    return Process("worker", command, log_path, env=environment, cwd=REPOSITORY)


def another_web(site: Site, log_path: Path, **settings: str) -> HttpServer:
    """A second `web` process of the Procfile, without nginx, on the site's stores and gateway."""
    port = free_port()
    return HttpServer(
        "web",
        shell_command(read_procfile(REPOSITORY / "Procfile")["web"]),
        log_path,
        port,
        ready_path="/readyz",
        env=site.environment | {"PORT": str(port), "WEB_HOST": HOST} | settings,
        cwd=REPOSITORY,
    )
