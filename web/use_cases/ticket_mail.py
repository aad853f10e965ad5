"""Telling buyers what their bookings say they have still to be told.

A mail is sent at least once: it is marked after the server took it. What the server does not take
is tried again, ever more rarely. An address is given up when it was refused for good twice and the
server took mail for somebody else in between: a server that refuses everybody is at fault itself.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from email.message import EmailMessage

from web.domain.refusals import Unavailable
from web.domain.sales import Booking, MailState, News
from web.ports.mail_queue import MailQueue
from web.ports.mailer import (
    Mailer,
    MailError,
    MailImpossible,
    MailRefused,
    MailServerFailed,
    MailUnanswered,
)

CLAIM = timedelta(minutes=5)
"""How long a mail is this worker's: several times what sending one can take."""

FIRST_RETRY = timedelta(seconds=15)
LAST_RETRY = timedelta(hours=1)
"""The wait after a refusal, which is quadrupled each time."""

AGAIN_AFTER_FAILURE = timedelta(seconds=30)
"""The wait for a mail at which the server failed: others are tried first, because it may be the
mail that the server cannot take."""

AGAIN_UNANSWERED = timedelta(minutes=5)

MAX_UNANSWERED = 2
"""A server that takes mails and does not answer may deliver each of them."""

GIVEN_UP_AFTER = timedelta(days=5)
"""As long as mail servers themselves try (RFC 5321, 4.5.4.1)."""

IDLE_S = 1.0
MIN_PAUSE_S, MAX_PAUSE_S = 1.0, 60.0
"""Between two tries of a server that fails, doubled each time."""

COUNT_EVERY_S = 15.0
COUNT_PAUSES = 100
"""How many times longer the pause after a count is that takes long: with a million mails waiting
it takes MongoDB a second."""

ORDER: tuple[News, ...] = ("cancelled", "refunded", "ticket", "postponed")

log = logging.getLogger(__name__)


class TicketMail:
    """``compose`` makes the mail that tells a buyer this news; ``count`` gets each outcome, and the
    news."""

    def __init__(
        self,
        queue: MailQueue,
        mailer: Mailer,
        compose: Callable[[Booking, News], EmailMessage],
        count: Callable[[News, str], None] = lambda news, outcome: None,
    ):
        self._queue = queue
        self._mailer = mailer
        self._compose = compose
        self._count = count
        self.waiting: int | None = None
        """Bookings with news, at the last count."""
        self._next_count_s = -math.inf
        self._pause_s = 0.0
        self._last_taken_at: datetime | None = None

    def send_due(self, stopped: Callable[[], bool] = lambda: False) -> float:
        """Sends what is due, until nothing is or the server fails. Returns after how many seconds
        to call again."""
        try:
            while not stopped():
                self._count_waiting()
                now = self._queue.now()
                booking = self._queue.claim_mail(now, now + CLAIM)
                if booking is None:
                    break
                self._tell(booking, now)
                self._pause_s = 0.0
        except MailServerFailed as error:
            if not self._pause_s:
                log.warning("the mail server fails: %s; mails wait", error)
            return self._longer_pause()
        except Unavailable as error:
            log.warning("mails wait: %s", error)
            return self._longer_pause()
        self._mailer.close()
        return IDLE_S

    def _count_waiting(self) -> None:
        began_s = time.monotonic()
        if began_s >= self._next_count_s:
            self._next_count_s = began_s + COUNT_EVERY_S
            self.waiting = self._queue.count_news()
            self._next_count_s += COUNT_PAUSES * (time.monotonic() - began_s)

    def _longer_pause(self) -> float:
        self._mailer.close()
        self._pause_s = min(max(self._pause_s * 2, MIN_PAUSE_S), MAX_PAUSE_S)
        return self._pause_s

    def _tell(self, booking: Booking, now: datetime) -> None:
        news = next(kind for kind in ORDER if kind in booking.news)
        if news in ("ticket", "postponed") and booking.refunded_at:
            return self._queue.end_mail(booking, news, None)
        try:
            message = self._compose(booking, news)
        except Unavailable as error:
            # Of the event: those of others can be told meanwhile.
            log.warning("mail about %s waits: %s", booking.id, error)
            self._queue.retry_mail(booking, now + AGAIN_AFTER_FAILURE, booking.mail)
            return
        except Exception:
            log.exception("mail about %s (%s): cannot be made", booking.id, news)
            self._retry(booking, news, now)
            return
        try:
            self._mailer.send(message)
        except MailServerFailed:
            self._queue.retry_mail(booking, now + AGAIN_AFTER_FAILURE, booking.mail)
            raise
        except MailError as error:
            self._after(error, booking, news)
            if isinstance(error, MailUnanswered):
                # Each more that it is given now may be one more that nobody can be sure of.
                raise MailServerFailed(str(error)) from None
            return
        self._last_taken_at = now
        self._queue.end_mail(booking, news, now)
        self._count(news, "sent")

    def _after(self, error: MailError, booking: Booking, news: News) -> None:
        now, state = self._queue.now(), booking.mail
        match error:
            case MailUnanswered() if state.unanswered + 1 < MAX_UNANSWERED:
                log.warning("mail about %s: no answer (%s); once more later", booking.id, error)
                again = replace(state, unanswered=state.unanswered + 1)
                self._queue.retry_mail(booking, now + AGAIN_UNANSWERED, again)
                self._count(news, "unanswered")
            case MailUnanswered():
                self._give_up(booking, news, f"no answer, {MAX_UNANSWERED} times: {error}")
            case MailImpossible():
                self._give_up(booking, news, str(error))
            case MailRefused() if self._is_hopeless(error, state, now):
                self._give_up(booking, news, str(error))
            case _:
                log.warning("mail about %s was refused: %s; again later", booking.id, error)
                self._retry(booking, news, now)

    def _is_hopeless(self, refused: MailRefused, state: MailState, now: datetime) -> bool:
        since = state.failing_since
        if since is None:
            return False
        others_pass = self._last_taken_at is not None and self._last_taken_at > since
        return (refused.for_good and others_pass) or now - since > GIVEN_UP_AFTER

    def _retry(self, booking: Booking, news: News, now: datetime) -> None:
        state = booking.mail
        wait = min(FIRST_RETRY * 4 ** min(state.failures, 10), LAST_RETRY)
        failing = MailState(
            failing_since=state.failing_since or now,
            failures=state.failures + 1,
            unanswered=state.unanswered,
        )
        self._queue.retry_mail(booking, now + wait, failing)
        self._count(news, "refused")

    def _give_up(self, booking: Booking, news: News, reason: str) -> None:
        log.error("mail about %s (%s) is given up: %s", booking.id, news, reason)
        self._queue.give_up_mail(booking, news, reason)
        self._count(news, "given_up")
