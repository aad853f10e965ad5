"""Every setting of the web and worker processes: read from the environment once, checked at start.

The sidecar has its own (``sidecar/settings.py``). README lists them all, and a test compares.
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from sidecar.networks import Network, parse_networks
from sidecar.settings import MAX_SOCKET_PATH_BYTES, parse_rate, settings_of
from sidecar.sliding_log import Rate
from web.domain import DEFAULT_LEASE_S

MIN_KEY_LENGTH = 16
MAX_TOKEN_LENGTH = 200
MAKE_ONE = "`openssl rand -hex 32` makes a good one"
TEST_KEY_PREFIXES = ("sk_test", "rk_test")
DEFAULT_RATE_LIMIT = "10/second"
RATES = ("RATE_LIMIT", "RATE_LIMIT_PAYMENTS", "RATE_LIMIT_LOOKUPS", "RATE_LIMIT_FORMS")

KEPT_STATUS = 470
"""Instead of 409, to nginx only. No setting, and here because nginx's configuration has it too."""


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
            description="signs hold tokens, cookies, tickets; required, the same on every host; "
            f"at least {MIN_KEY_LENGTH} characters"
        ),
    ]
    secret_key_fallbacks: Annotated[
        str,
        Meta(
            description="former secret keys, comma-separated, still good for old tokens; each of "
            f"at least {MIN_KEY_LENGTH} characters"
        ),
    ] = ""
    organiser_token: Annotated[
        str,
        Meta(
            description="opens the organiser's pages at `/organiser`; there are none without it; "
            f"{MIN_KEY_LENGTH} to {MAX_TOKEN_LENGTH} characters"
        ),
    ] = ""
    stripe_api_key: Annotated[str, Meta(min_length=1, description="Stripe secret key; required")]
    stripe_publishable_key: Annotated[
        str,
        Meta(
            pattern="^(pk_(test|live)_.*)?$",
            description="for the card field on the pages; required with a live secret key, and "
            "with a test key instead of the choice of test cards",
        ),
    ] = ""
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
    rate_limit: Annotated[
        str, Meta(description="what one client may ask: `10/second`, `600/minute`, `5000/hour`")
    ] = DEFAULT_RATE_LIMIT
    rate_limit_payments: Annotated[
        str, Meta(description="attempts of one client to pay, whatever comes of them")
    ] = "120/minute"
    rate_limit_lookups: Annotated[
        str, Meta(description="calls of one client with a token: for a hold, payment or booking")
    ] = "300/minute"
    rate_limit_forms: Annotated[
        str, Meta(description="forms that one client may send, other than to pay")
    ] = "120/minute"
    trusted_proxies: Annotated[
        str,
        Meta(
            description="whose `X-Forwarded-For` is believed, comma-separated: networks, `@file`, "
            "or `loopback`, `private`, `heroku`, `cloudflare`"
        ),
    ] = "loopback"
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
        if not self.is_test_shop and not self.stripe_publishable_key:
            raise ValueError(
                "STRIPE_PUBLISHABLE_KEY is required with a live STRIPE_API_KEY: without it no page "
                "can take a card"
            )
        if self.stripe_publishable_key.startswith(f"pk_{'live' if self.is_test_shop else 'test'}"):
            raise ValueError(
                "STRIPE_PUBLISHABLE_KEY and STRIPE_API_KEY must both be test keys, or both live"
            )
        if len(self.secret_key) < MIN_KEY_LENGTH:
            raise ValueError(
                f"SECRET_KEY must have at least {MIN_KEY_LENGTH} characters, not "
                f"{len(self.secret_key)}; {MAKE_ONE}"
            )
        for key in self.former_secret_keys:
            if len(key) < MIN_KEY_LENGTH:
                raise ValueError(
                    f"SECRET_KEY_FALLBACKS must have keys of at least {MIN_KEY_LENGTH} characters, "
                    f"not {len(key)}: take it out, it was never a SECRET_KEY"
                )
        if not re.fullmatch(f"(.{{{MIN_KEY_LENGTH},{MAX_TOKEN_LENGTH}}})?", self.organiser_token):
            raise ValueError(
                f"ORGANISER_TOKEN must have {MIN_KEY_LENGTH} to {MAX_TOKEN_LENGTH} characters in "
                f"one line, not {len(self.organiser_token)}; {MAKE_ONE}"
            )
        for name, read in (("TRUSTED_PROXIES", parse_networks), *((n, parse_rate) for n in RATES)):
            try:
                read(getattr(self, name.lower()))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

    @property
    def is_test_shop(self) -> bool:
        """Whether no money moves."""
        return self.stripe_api_key.startswith(TEST_KEY_PREFIXES)

    @property
    def former_secret_keys(self) -> list[str]:
        return [key.strip() for key in self.secret_key_fallbacks.split(",") if key.strip()]

    @property
    def rate(self) -> Rate:
        return parse_rate(self.rate_limit)

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        return parse_networks(self.trusted_proxies)


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises BadSettings of ``sidecar/settings.py``."""
    return settings_of(environ, Settings)
