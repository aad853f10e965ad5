"""The parts of the application, as one request, command or test needs them."""

from contextlib import suppress
from dataclasses import dataclass

from flask import current_app

from sidecar.client import LimiterClient
from web.domain.refusals import Unavailable
from web.ports.audited_seats import AuditedSeats
from web.ports.booking_store import BookingStore
from web.ports.event_catalogue import EventCatalogue
from web.ports.login_store import LoginStore
from web.ports.mail_queue import MailQueue
from web.ports.payment_gateway import Gateway
from web.ports.seat_store import SeatStore
from web.settings import Settings
from web.signing.hold_tokens import HoldTokens
from web.signing.ticket_codes import TicketCodes
from web.use_cases.admissions import Admissions
from web.use_cases.box_office import BoxOffice
from web.use_cases.checkout import Checkout
from web.use_cases.form_holds import FormHolds
from web.use_cases.readiness import Readiness
from web.use_cases.seat_maps import SeatMaps
from web.use_cases.ticket_mail import TicketMail


@dataclass(frozen=True)
class Services:
    """``app.extensions["services"]``; ``web/app.py`` makes it. ``ticket_mail`` is None in a shop
    that sends no mails."""

    catalogue: EventCatalogue
    seats: SeatStore
    audited_seats: AuditedSeats
    bookings: BookingStore
    gateway: Gateway
    box_office: BoxOffice
    seat_maps: SeatMaps
    form_holds: FormHolds
    checkout: Checkout
    tokens: HoldTokens
    logins: LoginStore
    codes: TicketCodes
    limiter: LimiterClient
    readiness: Readiness
    mail_queue: MailQueue
    ticket_mail: TicketMail | None
    settings: Settings
    admissions: Admissions

    def check_at_start(self) -> None:
        """Raises UnsafeToSell. An unreachable store does not prevent the start: payments check
        MongoDB's index again before they begin."""
        with suppress(Unavailable):
            self.seats.require_kept_keys()
        with suppress(Unavailable):
            self.bookings.require_index()

    def learn_events(self) -> None:
        """Reads what is on sale, so that this process can list an event while its server is
        away."""
        with suppress(Unavailable):
            self.box_office.events()


def services() -> Services:
    """Those of the current application."""
    parts: Services = current_app.extensions["services"]
    return parts
