"""What buyers have still to be told: the news in the bookings, which several workers share."""

from datetime import datetime
from typing import Protocol

from web.domain.sales import Booking, MailState, News


class MailQueue(Protocol):
    """All raise Unavailable when MongoDB cannot be reached."""

    def now(self) -> datetime:
        """By the clock of the store, by which claims and retries are timed."""
        ...

    def claim_mail(self, now: datetime, until: datetime) -> Booking | None:
        """A booking with news that are due, which nobody else gets before ``until``. Those that
        were never tried come first, the oldest of them before the others."""
        ...

    def end_mail(self, booking: Booking, news: News, sent_at: datetime | None) -> None:
        """The buyer was told, or (None) need not be. Ends the claim, and every try before."""
        ...

    def give_up_mail(self, booking: Booking, news: News, reason: str) -> None:
        """The buyer cannot be told, or was perhaps told. ``reason`` is for the organiser. Ends the
        claim."""
        ...

    def retry_mail(self, booking: Booking, at: datetime, state: MailState) -> None:
        """Not before ``at``. Ends the claim."""
        ...

    def send_ticket_again(
        self, booking_id: str, at: datetime, last_sent_at: datetime | None
    ) -> bool:
        """The buyer has to get the ticket, also if it was sent or given up before. Returns whether
        that is recorded now: not if it is due already, or if a mail was sent after
        ``last_sent_at``. So one wish for it is one mail, however often it comes."""
        ...

    def count_news(self) -> int:
        """How many bookings have some."""
        ...
