"""What buyers have still to be told: a part of their bookings."""

from collections.abc import Mapping
from datetime import UTC, datetime

from web.adapters.mongodb.client import BookingCollection, reachable
from web.adapters.mongodb.documents import booking_in, documents_in
from web.adapters.mongodb.indexes import HAS_NEWS, MAIL_INDEX
from web.domain.sales import Booking, MailState, News


class MongoMailQueue:
    """Implements MailQueue of ``web/ports/``."""

    def __init__(self, collection: BookingCollection):
        self._collection = collection

    def now(self) -> datetime:
        with reachable():
            hello = self._collection.database.client.admin.command("hello")
        local_time: datetime = hello["localTime"]
        return local_time.replace(tzinfo=UTC)

    def claim_mail(self, now: datetime, until: datetime) -> Booking | None:
        # Not greater also finds those that have no such time.
        due = {**HAS_NEWS, "mail_next_at": {"$not": {"$gt": now}}}
        with reachable():
            claimed = (
                documents_in(self._collection)
                .filter(__raw__=due)
                .order_by("mail_next_at")
                .modify(set__mail_next_at=until)
            )
            return booking_in(claimed) if claimed else None

    def end_mail(self, booking: Booking, news: News, sent_at: datetime | None) -> None:
        self._end_mail(booking, news, {"mailed_at": sent_at} if sent_at else {}, "mail_given_up")

    def give_up_mail(self, booking: Booking, news: News, reason: str) -> None:
        self._end_mail(booking, news, {"mail_given_up": reason})

    def _end_mail(
        self, booking: Booking, news: News, changes: Mapping[str, object], *unset: str
    ) -> None:
        every_try = ("mail_next_at", "mail_failing_since", "mail_failures", "mail_unanswered")
        ended = {"$unset": dict.fromkeys((*every_try, *unset), "")}
        told = {"$unset": {**ended["$unset"], f"news.{news}": ""}}
        same_news = {f"news.{news}": booking.news[news]}
        with reachable():
            # In one step: without its news or its claim alone another worker would send it again.
            for condition, change in ((same_news, told), ({}, ended)):
                changed = self._collection.update_one(
                    {"_id": booking.id, **condition},
                    {**change, **({"$set": changes} if changes else {})},
                )
                if changed.matched_count:
                    return

    def send_ticket_again(
        self, booking_id: str, at: datetime, last_sent_at: datetime | None
    ) -> bool:
        not_due = {"news.ticket": None, "mailed_at": last_sent_at}  # None also finds no such field
        tries = dict.fromkeys(("mail_next_at", "mail_given_up"), "")
        with reachable():
            recorded = self._collection.update_one(
                {"_id": booking_id, **not_due}, {"$set": {"news.ticket": at}, "$unset": tries}
            )
        return recorded.matched_count == 1

    def retry_mail(self, booking: Booking, at: datetime, state: MailState) -> None:
        changes: dict[str, object] = {
            "mail_next_at": at,
            "mail_failing_since": state.failing_since,
            "mail_failures": state.failures,
            "mail_unanswered": state.unanswered,
        }
        with reachable():
            self._collection.update_one({"_id": booking.id}, {"$set": changes})

    def count_news(self) -> int:
        with reachable():
            return self._collection.count_documents(HAS_NEWS, hint=MAIL_INDEX)
