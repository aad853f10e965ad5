"""Every setting of the web and worker processes: read from the environment once, checked at start.

The sidecar has its own (``sidecar/settings.py``). README lists them all, and a test compares.
"""

import os
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from sidecar.client_address import Network, parse_networks
from sidecar.settings import MAX_SOCKET_PATH_BYTES, settings_of
from web.domain import DEFAULT_LEASE_S

MIN_KEY_LENGTH = 16


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    redis_url: Annotated[
        str,
        Meta(pattern="^(redis|rediss|unix)://", description="Redis that holds seats; `noeviction`"),
    ] = "redis://127.0.0.1:6379/0"
    mongodb_uri: Annotated[
        str,
        Meta(
            pattern=r"^mongodb(\+srv)?://",
            description="MongoDB that keeps bookings: a replica set; database `tickets` if unnamed",
        ),
    ] = "mongodb://127.0.0.1:27017/tickets"
    secret_key: Annotated[
        str,
        Meta(
            min_length=MIN_KEY_LENGTH,
            description="makes hold tokens; required, the same on every host",
        ),
    ]
    secret_key_fallbacks: Annotated[
        str, Meta(description="former secret keys, comma-separated, still good for old tokens")
    ] = ""
    stripe_api_key: Annotated[str, Meta(min_length=1, description="Stripe secret key; required")]
    stripe_api_base: Annotated[
        str,
        Meta(
            pattern="^https?://",
            description="where the Stripe API answers; the local sandbox in development",
        ),
    ] = "https://api.stripe.com"
    stripe_webhook_secret: Annotated[
        str, Meta(description="signs Stripe's webhooks; none are heeded without it")
    ] = ""
    payment_lease_s: Annotated[
        float,
        Meta(
            ge=1, le=3600, description="how long a payment is its web process's; then the worker's"
        ),
    ] = DEFAULT_LEASE_S
    events_dir: Annotated[
        str, Meta(description="event files from which the worker opens what Redis has lost")
    ] = "events"
    trusted_proxies: Annotated[
        str,
        Meta(description="networks whose `X-Forwarded-For` is believed, comma-separated"),
    ] = "127.0.0.0/8,::1/128"
    trusted_hops: Annotated[
        Annotated[int, Meta(ge=1, le=16)] | None,
        Meta(description="take the n-th entry from the right instead, if the peer is trusted"),
    ] = None
    port: Annotated[int, Meta(ge=1, le=65535, description="where gunicorn listens")] = 8000
    web_host: Annotated[str, Meta(description="address that gunicorn listens on")] = "0.0.0.0"
    web_socket: Annotated[
        str,
        Meta(
            max_length=MAX_SOCKET_PATH_BYTES,
            description="Unix socket that gunicorn listens on instead of host and port",
        ),
    ] = ""
    web_ready_file: Annotated[
        str, Meta(description="file that is made when the first worker can answer")
    ] = ""
    web_concurrency: Annotated[
        int, Meta(ge=1, le=64, description="gunicorn workers; one a core is a good start")
    ] = 2

    def __post_init__(self) -> None:
        for key in self.former_secret_keys:
            if len(key) < MIN_KEY_LENGTH:
                raise ValueError(
                    f"SECRET_KEY_FALLBACKS must have keys of at least {MIN_KEY_LENGTH} characters"
                )
        try:
            self.trusted_networks  # noqa: B018
        except ValueError as error:
            raise ValueError(f"TRUSTED_PROXIES: {error}") from None

    @property
    def former_secret_keys(self) -> list[str]:
        return [key.strip() for key in self.secret_key_fallbacks.split(",") if key.strip()]

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        return parse_networks(self.trusted_proxies)


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises BadSettings of ``sidecar/settings.py``."""
    return settings_of(environ, Settings)
