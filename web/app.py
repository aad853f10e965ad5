"""The composition root: the only place that knows every part."""

from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from urllib.parse import urlsplit

from flask import Flask

from sidecar.client import LimiterClient
from sidecar.redis_tls import tls_options
from sidecar.server_urls import redis_servers
from sidecar.settings import BadSettings
from sidecar.settings import Settings as LimiterSettings
from web.adapters.mongodb.booking_store import MongoBookingStore
from web.adapters.mongodb.client import collection_at
from web.adapters.mongodb.mail_queue import MongoMailQueue
from web.adapters.redis.audited_seats import RedisAuditedSeats
from web.adapters.redis.client import RedisClient
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.login_store import RedisLoginStore
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.servers import servers_of
from web.adapters.smtp import SmtpMailer
from web.adapters.stripe.gateway import StripeGateway
from web.adapters.stripe.pace import Pace
from web.api.admissions import admissions, by_door
from web.api.admissions import fast_path as fast_admissions
from web.api.routes import api
from web.api.routes import fast_path as fast_api
from web.api.webhooks import signed_by, webhooks
from web.cli.bookings import bookings_cli
from web.cli.events import events_cli
from web.cli.maintenance import audit_command, reconcile_command
from web.cli.tickets import tickets_cli
from web.domain.sales import Booking, News
from web.http.cross_site import CrossSite
from web.http.error_handlers import page_or_problem, register_error_handlers
from web.http.fast_path import FastRoutes
from web.http.health import fast_path as fast_health
from web.http.health import health
from web.http.monitoring import MONITORING, Monitoring
from web.http.rate_limits import ClientLimit, fast_route_limits, limit_routes
from web.http.request_bounds import BoundedRequest, RequestBounds
from web.http.responses import MAX_BODY_BYTES
from web.http.spelling import one_spelling
from web.http.static_files import fast_path as fast_static_files
from web.http.static_files import is_static_file, static_files
from web.metrics import (
    count_checkpoint,
    count_gateway_failure,
    count_mail,
    measure_responses,
    note_gateway_wait,
)
from web.pages.mails import mail_about
from web.pages.rendering import limit_page, problem_page
from web.pages.session import COOKIES
from web.pages.site import register_pages
from web.ports.mail_queue import MailQueue
from web.services import Services
from web.settings import Settings
from web.signing.hold_tokens import HoldTokens
from web.signing.shop_tags import shop_tag
from web.signing.ticket_codes import TicketCodes
from web.use_cases.admissions import Admissions
from web.use_cases.box_office import BoxOffice
from web.use_cases.checkout import Checkout
from web.use_cases.form_holds import FormHolds
from web.use_cases.readiness import Readiness
from web.use_cases.seat_maps import SeatMaps
from web.use_cases.ticket_mail import TicketMail

PLACE_TIMEOUT_S = 0.25
"""For the limiter to give a payment its place in the queue: more than for a request, because a
payment takes a second anyway, and a process that takes places by itself makes too many calls."""


def create_app(settings: Settings, limiter_settings: LimiterSettings) -> Flask:
    """The WSGI application. Opens connections when they are first used, not here. Raises
    BadSettings for an address with options that the client library refuses."""
    tokens = HoldTokens(settings.secret_key, settings.former_secret_keys)
    with _refusing_options("REDIS_URL"):
        named = redis_servers("REDIS_URL", settings.redis_url)
        tls = tls_options("REDIS_URL", named.server_url, settings.redis_tls_ca)
        redis = RedisClient(servers_of(named, tls, settings.redis_wait_replicas))
    catalogue = RedisEventCatalogue(redis)
    seats = RedisSeatStore(redis, catalogue, settings.payment_lease_s)
    with _refusing_options("MONGODB_URI"):
        collection = collection_at(settings.mongodb_uri)
    bookings = MongoBookingStore(collection, sends_mails=bool(settings.smtp_url))
    mail_queue = MongoMailQueue(collection)
    shop, *former_shops = map(shop_tag, (settings.secret_key, *settings.former_secret_keys))
    gateway = StripeGateway(
        settings.stripe_api_key,
        settings.stripe_api_base,
        settings.stripe_webhook_secret,
        shop=shop,
        former_shops=former_shops,
        pace=_pace(settings, limiter_settings),
        count_failure=count_gateway_failure,
    )
    limiter = LimiterClient(limiter_settings.limiter_socket)
    monitoring = Monitoring(settings.monitoring_from, settings.monitoring_token)
    codes = TicketCodes(settings.secret_key, settings.former_secret_keys)
    box_office = BoxOffice(catalogue, seats, bookings, tokens)

    app = Flask(__name__, static_folder=None)  # web/http/static_files.py serves them
    app.request_class = BoundedRequest
    app.url_map.merge_slashes = False  # it redirects, POST too, to wherever the Host header says
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.extensions["services"] = Services(
        catalogue=catalogue,
        seats=seats,
        audited_seats=RedisAuditedSeats(redis, catalogue),
        bookings=bookings,
        gateway=gateway,
        box_office=box_office,
        seat_maps=SeatMaps(catalogue, seats),
        form_holds=FormHolds(seats, box_office, tokens),
        checkout=Checkout(
            catalogue,
            seats,
            bookings,
            gateway,
            tokens,
            settings.payment_lease_s,
            settings.payment_confirmation_s,
            count_checkpoint,
        ),
        tokens=tokens,
        logins=RedisLoginStore(redis),
        codes=codes,
        limiter=limiter,
        readiness=Readiness(catalogue, bookings),
        mail_queue=mail_queue,
        ticket_mail=_ticket_mail(app, settings, mail_queue),
        settings=settings,
        admissions=Admissions(bookings, codes),
    )
    app.extensions[MONITORING] = monitoring
    measure_responses(app)
    register_error_handlers(app, problem_page)
    app.register_blueprint(health)
    app.register_blueprint(api)
    app.register_blueprint(admissions)
    app.register_blueprint(static_files)
    app.register_blueprint(webhooks)
    register_pages(app, settings, without_cookies=(api, admissions, webhooks))
    app.cli.add_command(events_cli)
    app.cli.add_command(bookings_cli)
    app.cli.add_command(tickets_cli)
    app.cli.add_command(reconcile_command)
    app.cli.add_command(audit_command)
    limit_routes(app, limiter, settings, page_or_problem)
    fast_routes = FastRoutes(app, (fast_api, fast_admissions, fast_health, fast_static_files))
    client_limit = ClientLimit(
        RequestBounds(fast_routes.before(one_spelling(app.wsgi_app)), COOKIES),
        limiter,
        settings.rate,
        settings.rate_of_webhooks,
        settings.rate_of_doors,
        settings.rate_of_files,
        settings.trusted_networks,
        settings.trusted_hops,
        monitoring,
        signed_by(gateway),
        by_door(settings.door_token),
        is_static_file,
        limit_page(app),
        fast_routes.match,
        fast_route_limits(settings),
    )
    app.extensions["client_limit"] = client_limit
    # Flask's documented place for middleware; to mypy it is a method.
    app.wsgi_app = CrossSite(client_limit, settings.origins)  # type: ignore[method-assign]
    return app


def _ticket_mail(app: Flask, settings: Settings, queue: MailQueue) -> TicketMail | None:
    if settings.smtp is None:
        return None

    def compose(booking: Booking, news: News) -> EmailMessage:
        # Links and templates need a request: this one came to where buyers reach the shop.
        with app.test_request_context(base_url=settings.public_url):
            return mail_about(booking, news, settings.mail_from)

    host = urlsplit(settings.public_url).hostname or ""
    return TicketMail(queue, SmtpMailer(settings.smtp, host), compose, count_mail)


def _pace(settings: Settings, limiter_settings: LimiterSettings) -> Pace | None:
    rate = settings.rate_of_stripe
    if rate is None:
        return None
    # A client of its own: while a payment waits for an answer, no request should count by itself.
    limiter = LimiterClient(limiter_settings.limiter_socket, timeout_s=PLACE_TIMEOUT_S)
    return Pace(limiter, rate, note_gateway_wait)


@contextmanager
def _refusing_options(name: str) -> Iterator[None]:
    """Turns a library's error about an address that passed the settings' own check into
    BadSettings."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise BadSettings(f"{name}: {error}") from None
