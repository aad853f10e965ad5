"""Every setting of the web and worker processes: read from the environment and ``.env`` once,
checked at start.

A relative path starts from the project's folder, wherever a command is called from. The sidecar has
its own settings (``sidecar/settings.py``). docs/settings.md and ``.env.example`` list them all, and
a test compares.
"""

import os
import re
from collections.abc import Mapping, Sequence
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from sidecar.env_file import PROJECT
from sidecar.networks import Network, parse_networks
from sidecar.redis_tls import RedisTlsCa, check_tls_ca
from sidecar.server_urls import (
    SmtpServer,
    check_host,
    check_mongodb_uri,
    redis_servers,
    smtp_server,
)
from sidecar.settings import (
    BadSettings,
    check_socket_path,
    environment,
    parse_rate,
    settings_of,
)
from sidecar.sliding_log import MAX_RATE_LIMIT, Rate
from web.domain.sales import DEFAULT_CONFIRMATION_S, DEFAULT_LEASE_S
from web.domain.validation import address_of, email_of, name_of
from web.origins import parse_origins

MIN_KEY_LENGTH = 16
MAX_TOKEN_LENGTH = 200
MAKE_ONE = "`openssl rand -hex 32` makes a good one"
KINDS_OF_STRIPE_KEYS = {
    "sk": "a secret key",
    "rk": "a restricted key, which is secret",
    "pk": "a publishable key",
    "whsec": "a webhook secret",
    "we": "the ID of a webhook endpoint",
}
DEFAULT_RATE_LIMIT = "10/second"
NETWORKS = ("MONITORING_NETWORKS", "TRUSTED_PROXIES")
RATES = ("RATE_LIMIT", "RATE_LIMIT_PAYMENTS", "RATE_LIMIT_LOOKUPS", "RATE_LIMIT_FORMS")

STRIPE_RATE = "25/second"
"""The calls that Stripe allows a live account to each endpoint, unless it was asked for more:
https://docs.stripe.com/rate-limits. Its 100 a second for all endpoints together are four times
this, and a payment calls two to four of them."""

RATE_OF_WEBHOOKS = "200/second"
"""Signed webhooks from one address. By default Stripe takes 25 payments a second from a shop and
sends up to three webhooks about each, from a dozen addresses. Not a setting; it is here because
nginx's configuration uses it too."""

RATE_OF_DOORS = "100/second"
"""Calls of doors, with their token, from one address: a hundred gates that scan without a pause, or
a few that send what they did without a connection. Not a setting, as above."""

FILES_A_PAGE = 10
"""The most files (style, scripts, icon) that a page loads."""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own name, which it reads from the environment itself."""

WORKER_CLASSES = {"llhttp": "web.http_server.worker.HttpWorker", "gevent": "gevent"}
"""What gunicorn calls each WEB_WORKER_CLASS."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    redis_url: Annotated[
        str,
        Meta(description="Redis that holds seats; `maxmemory-policy` must be `noeviction`"),
    ] = "redis://127.0.0.1:6379/0"
    redis_tls_ca: RedisTlsCa = ""
    redis_wait_replicas: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="replicas of Redis that must confirm a hold before the buyer gets it",
        ),
    ] = 0
    mongodb_uri: Annotated[
        str,
        Meta(
            description="MongoDB that keeps bookings: a replica set; database `tickets` if unnamed",
        ),
    ] = "mongodb://127.0.0.1:27017/tickets"
    secret_key: Annotated[
        str,
        Meta(
            description="signs hold tokens, cookies and tickets; required, the same on every host; "
            f"at least {MIN_KEY_LENGTH} characters"
        ),
    ]
    secret_key_fallbacks: Annotated[
        str,
        Meta(
            description="former secret keys, comma-separated, still valid for old tokens; each of "
            f"at least {MIN_KEY_LENGTH} characters"
        ),
    ] = ""
    organiser_token: Annotated[
        str,
        Meta(
            description="token to log in at `/organiser`; without one that page does not exist; "
            f"{MIN_KEY_LENGTH} to {MAX_TOKEN_LENGTH} characters"
        ),
    ] = ""
    door_token: Annotated[
        str,
        Meta(
            description="token of the gates, for `/door/{event}` and admissions; without one "
            f"neither exists; {MIN_KEY_LENGTH} to {MAX_TOKEN_LENGTH} characters"
        ),
    ] = ""
    stripe_api_key: Annotated[
        str, Meta(description="Stripe secret or restricted key, `sk_…` or `rk_…`; required")
    ]
    stripe_publishable_key: Annotated[
        str,
        Meta(
            description="`pk_…`, for cards and wallets on the pages; required with a live secret "
            "key, and with a test key it replaces the list of test cards",
        ),
    ] = ""
    stripe_api_base: Annotated[
        str,
        Meta(
            description="URL of the Stripe API; the local sandbox in development",
        ),
    ] = "https://api.stripe.com"
    stripe_rate: Annotated[
        str,
        Meta(
            description="calls that the Stripe account may make to each endpoint; empty: "
            f"`{STRIPE_RATE}` with a live key, no limit with a test key"
        ),
    ] = ""
    stripe_webhook_secret: Annotated[
        str, Meta(description="signing secret of Stripe's webhooks; without it they are refused")
    ] = ""
    payment_lease_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="seconds after which the worker takes over an unfinished payment",
        ),
    ] = DEFAULT_LEASE_S
    payment_confirmation_s: Annotated[
        float,
        Meta(
            ge=1,
            le=600,
            description="seconds, from the beginning of a payment, that a buyer has to confirm it "
            "at the bank",
        ),
    ] = DEFAULT_CONFIRMATION_S
    smtp_url: Annotated[
        str,
        Meta(
            description="server that takes mails to buyers: `smtps://user:password@host`, "
            "`smtp+starttls://…` or `smtp://…`, with `?timeout=10` (seconds) and `&ca=` (PEM file) "
            "if needed; without it no mail is sent"
        ),
    ] = ""
    mail_from: Annotated[
        str,
        Meta(
            description="sender of these mails: `Rosewood Tickets <tickets@example.org>`; required "
            "with `SMTP_URL`"
        ),
    ] = ""
    public_url: Annotated[
        str,
        Meta(
            description="address under which buyers reach the shop, for links in mails: "
            "`https://tickets.example.org`; required with `SMTP_URL`"
        ),
    ] = ""
    events_dir: Annotated[
        str,
        Meta(
            description="folder of event files, from which the worker reopens events that Redis "
            "has lost"
        ),
    ] = "events"
    rate_limit: Annotated[
        str, Meta(description="requests of one client: `10/second`, `600/minute`, `5000/hour`")
    ] = DEFAULT_RATE_LIMIT
    rate_limit_payments: Annotated[
        str, Meta(description="attempts of one client to pay, successful or not")
    ] = "120/minute"
    rate_limit_lookups: Annotated[
        str, Meta(description="calls of one client with a token, for a hold, payment or booking")
    ] = "300/minute"
    rate_limit_forms: Annotated[
        str, Meta(description="forms that one client may send, other than to pay")
    ] = "120/minute"
    monitoring_networks: Annotated[
        str,
        Meta(
            description="who may access `/metrics` and `/readyz`, besides this host: networks, "
            "named as in `TRUSTED_PROXIES`"
        ),
    ] = ""
    monitoring_token: Annotated[
        str,
        Meta(
            description="bearer token for `/metrics` and `/readyz` from anywhere; "
            f"{MIN_KEY_LENGTH} to {MAX_TOKEN_LENGTH} characters"
        ),
    ] = ""
    allowed_origins: Annotated[
        str,
        Meta(
            description="other websites whose pages may call the API (CORS), comma-separated: "
            "`https://shop.example.org`; nginx has to be told too"
        ),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="proxies whose `X-Forwarded-For` is trusted, comma-separated: networks, "
            "`@file`, or `loopback`, `private`, `heroku`, `cloudflare`"
        ),
    ] = "loopback"
    trusted_hops: Annotated[
        Annotated[int, Meta(ge=1, le=16)] | None,
        Meta(description="use the n-th entry from the right instead, if the peer is trusted"),
    ] = None
    port: Annotated[int, Meta(ge=1, le=65535, description="port that gunicorn listens on")] = 8000
    web_host: Annotated[str, Meta(description="address that gunicorn listens on")] = "0.0.0.0"  # noqa: S104
    web_socket: Annotated[
        str,
        Meta(
            description="Unix socket that gunicorn listens on instead of host and port",
        ),
    ] = ""
    web_ready_file: Annotated[
        str, Meta(description="file that is created when the first worker is ready")
    ] = ""
    web_concurrency: Annotated[
        int, Meta(ge=1, le=64, description="gunicorn workers; one per core is a good start")
    ] = 2
    web_worker_class: Annotated[
        str,
        Meta(
            description="HTTP server of a gunicorn worker: `llhttp`, ours, or "
            "gunicorn's own `gevent`"
        ),
    ] = "llhttp"
    worker_metrics_port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="port on which `worker` serves its metrics; empty: it serves none"),
    ] = None
    worker_metrics_host: Annotated[
        str,
        Meta(description="address for it; everybody who can reach it can read them"),
    ] = "127.0.0.1"

    def __post_init__(self) -> None:
        redis_servers("REDIS_URL", self.redis_url)
        check_tls_ca("REDIS_TLS_CA", self.redis_tls_ca)
        check_mongodb_uri("MONGODB_URI", self.mongodb_uri)
        check_socket_path("WEB_SOCKET", self.web_socket)
        if self.web_worker_class not in WORKER_CLASSES:
            raise ValueError(
                f"WEB_WORKER_CLASS must be {' or '.join(WORKER_CLASSES)}, not "
                f"{self.web_worker_class!r}"
            )
        self._check_stripe_keys()
        self._check_mail()
        _check_api_base("STRIPE_API_BASE", self.stripe_api_base)
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
        for name in ("DOOR_TOKEN", "MONITORING_TOKEN"):
            token = getattr(self, name.lower())
            if not re.fullmatch(f"([!-~]{{{MIN_KEY_LENGTH},{MAX_TOKEN_LENGTH}}})?", token):
                raise ValueError(
                    f"{name} must have {MIN_KEY_LENGTH} to {MAX_TOKEN_LENGTH} characters, ASCII "
                    f"and without spaces, not {len(token)}; {MAKE_ONE}"
                )
        for name, read in (
            ("ALLOWED_ORIGINS", parse_origins),
            *((name, _networks) for name in NETWORKS),
            *((name, parse_rate) for name in RATES),
            ("STRIPE_RATE", lambda text: text and parse_rate(text)),
        ):
            try:
                read(getattr(self, name.lower()))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

    def _check_stripe_keys(self) -> None:
        """Without showing any: each error is written to a log."""
        if re.match("pk_", self.stripe_api_key) and re.match("[sr]k_", self.stripe_publishable_key):
            raise ValueError("STRIPE_API_KEY and STRIPE_PUBLISHABLE_KEY are swapped")
        _check_stripe_key("STRIPE_API_KEY", self.stripe_api_key, ("sk", "rk"))
        if self.stripe_publishable_key:
            _check_stripe_key("STRIPE_PUBLISHABLE_KEY", self.stripe_publishable_key, ("pk",))
        elif not self.is_test_shop:
            raise ValueError(
                "STRIPE_PUBLISHABLE_KEY is required with a live STRIPE_API_KEY: without it no page "
                "can take a card"
            )
        if self.stripe_publishable_key.startswith(f"pk_{'live' if self.is_test_shop else 'test'}"):
            raise ValueError(
                "STRIPE_PUBLISHABLE_KEY and STRIPE_API_KEY must both be test keys, or both live"
            )
        kind = self.stripe_webhook_secret.partition("_")[0]
        if kind in ("sk", "rk", "pk", "we"):
            raise ValueError(
                f"STRIPE_WEBHOOK_SECRET is {KINDS_OF_STRIPE_KEYS[kind]}: it should be the signing "
                "secret of the endpoint, whsec_…"
            )
        if self.stripe_webhook_secret == "whsec_":  # noqa: S105
            raise ValueError("STRIPE_WEBHOOK_SECRET ends after whsec_: copy the whole secret")

    def _check_mail(self) -> None:
        if self.smtp_url:
            smtp_server("SMTP_URL", self.smtp_url)
            for name in ("MAIL_FROM", "PUBLIC_URL"):
                if not getattr(self, name.lower()):
                    raise ValueError(f"{name} is required with SMTP_URL")
        if self.mail_from:
            _check_sender("MAIL_FROM", self.mail_from)
        if self.public_url:
            _check_public_url("PUBLIC_URL", self.public_url)

    @property
    def smtp(self) -> SmtpServer | None:
        return smtp_server("SMTP_URL", self.smtp_url) if self.smtp_url else None

    @property
    def is_test_shop(self) -> bool:
        """Whether no money moves."""
        return self.stripe_api_key[3:].startswith("test")

    @property
    def former_secret_keys(self) -> list[str]:
        return [key.strip() for key in self.secret_key_fallbacks.split(",") if key.strip()]

    @property
    def rate(self) -> Rate:
        return parse_rate(self.rate_limit)

    @property
    def rate_of_stripe(self) -> Rate | None:
        """Of the calls to each endpoint; None for no limit."""
        text = self.stripe_rate or ("" if self.is_test_shop else STRIPE_RATE)
        return parse_rate(text) if text else None

    @property
    def rate_of_webhooks(self) -> Rate:
        return parse_rate(RATE_OF_WEBHOOKS)

    @property
    def rate_of_doors(self) -> Rate:
        return parse_rate(RATE_OF_DOORS)

    @property
    def rate_of_files(self) -> Rate:
        """As many as come with the pages that a client may open; twice that, because the files of
        one window's pages may arrive together with those of the next."""
        limit = 2 * FILES_A_PAGE * self.rate.limit
        return Rate(min(limit, MAX_RATE_LIMIT), self.rate.window_ns)

    @property
    def origins(self) -> tuple[str, ...]:
        return parse_origins(self.allowed_origins)

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        return _networks(self.trusted_proxies)

    @property
    def monitoring_from(self) -> tuple[Network, ...]:
        return _networks(self.monitoring_networks)

    @property
    def events_path(self) -> Path:
        return PROJECT / self.events_dir


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """By default from ``environment()``. Raises BadSettings of ``sidecar/settings.py``."""
    environ = environment() if environ is None else environ
    settings = settings_of(environ, Settings)
    make_metrics_folder(environ)
    return settings


def make_metrics_folder(environ: Mapping[str, str]) -> None:
    """prometheus_client opens files there when it is imported, but does not create the folder.
    Raises BadSettings."""
    folder = environ.get(METRICS_FOLDER)
    if not folder:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadSettings(f"{METRICS_FOLDER} must be a folder, not below or at a file") from None
    except OSError as error:
        raise BadSettings(
            f"{METRICS_FOLDER}: the folder cannot be made: {error.strerror}"
        ) from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise BadSettings(f"{METRICS_FOLDER}: this user cannot write to the folder")


def _check_stripe_key(name: str, key: str, kinds: Sequence[str]) -> None:
    """Raises ValueError unless ``key`` is of one of these ``KINDS_OF_STRIPE_KEYS``."""
    wanted = " or ".join(f"{kind}_test_… or {kind}_live_…" for kind in kinds)
    kind = key.partition("_")[0]
    if kind in KINDS_OF_STRIPE_KEYS and kind not in kinds:
        raise ValueError(
            f"{name} is {KINDS_OF_STRIPE_KEYS[kind]} ({kind}_…): it should be {wanted}"
        )
    if not re.match(f"({'|'.join(kinds)})_(test|live)(_|$)", key):
        raise ValueError(f"{name} must begin as Stripe's keys do: {wanted}")
    if not re.match("[a-z]+_[a-z]+_.", key):
        raise ValueError(f"{name} has nothing after {key}: copy the whole key")
    if not re.fullmatch("[!-~]+", key):
        raise ValueError(f"{name} has white space or a letter that no key has: copy it again")


def _check_api_base(name: str, url: str) -> None:
    """Raises ValueError unless it is scheme, host and perhaps port: stripe-python appends paths."""
    found = re.fullmatch(r"https?://(?P<host>[^/?#@\s]*)(?P<rest>.*)", url, re.DOTALL)
    if found is None or not found["host"] or found["host"].startswith(":"):
        raise ValueError(
            f"{name} must be http:// or https:// and a host, as in https://api.stripe.com"
        )
    check_host(name, found["host"])
    if found["rest"].strip("/"):
        raise ValueError(
            f"{name} must end after the host and port, without a path such as /v1, as in "
            "https://api.stripe.com"
        )


def _check_sender(name: str, text: str) -> None:
    rule = f"{name} must be an address, as in Rosewood Tickets <tickets@example.org>"
    display_name, address = parseaddr(text)
    if not address or not text.rstrip().endswith((address, f"{address}>")):
        raise ValueError(rule)
    try:
        email_of(address)
        if display_name:
            name_of(display_name)
    except ValueError as error:
        raise ValueError(f"{rule}: {error}") from None


def _check_public_url(name: str, url: str) -> None:
    try:
        address_of(url)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
    if urlsplit(url).path.strip("/") or "?" in url or "#" in url:
        raise ValueError(
            f"{name} must end after the host and port, as in https://tickets.example.org"
        )


def _networks(text: str) -> tuple[Network, ...]:
    return parse_networks(text, PROJECT)
