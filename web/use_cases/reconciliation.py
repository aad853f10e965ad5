"""What the worker looks for: whatever a crash, a lost response or a loss of Redis left half done.

It compares Redis, MongoDB and the gateway in rounds (``seat_comparison.py``,
``gateway_ledger.py``), and has repaired what does not agree (``repairs.py``).
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from web.domain.events import Event
from web.domain.refusals import Refusal, Unavailable
from web.domain.sales import DEFAULT_LEASE_S, LAST_STEP_S, PaymentAttempt, booking_id_of
from web.ports.booking_store import BookingStore, IndexMissing
from web.ports.event_catalogue import Epoch, EventCatalogue
from web.ports.payment_gateway import Gateway, GatewayPayment
from web.ports.seat_store import Broken, Moment, SeatStore, Upkeep
from web.use_cases.cancellation import CALLED_OFF, SIDE_BY_SIDE
from web.use_cases.checkout import Checkout
from web.use_cases.current_event import with_event
from web.use_cases.gateway_ledger import GatewayLedger
from web.use_cases.opening import UnderWay, some
from web.use_cases.repairs import OwedRefund, Repairs
from web.use_cases.seat_comparison import SeatComparison

GATEWAY_EVERY = timedelta(seconds=30)
"""How often the gateway's list is compared: what is found there is over a lease old anyway."""

GATEWAY_WINDOW = timedelta(minutes=15)
"""How far back it is compared then, beyond the payments that are not settled yet."""

FIRST_GATEWAY_WINDOW = timedelta(days=7)
"""How far back the first time: a worker may have been down for a while. As long as money stays
reserved on a card; and a payment whose bank asks can be confirmed until it is canceled."""

COMPARING_S = 0.25
"""How long a round goes on to the next seats to be compared, and to the next page of the gateway's
list. The others wait for the next round: a thousand events are many seconds' work, and so are the
pages of a sale; expired holds and events that Redis has lost wait for the end of a round."""

ENDING_S = 2.0
"""How long a round ends lapsed payments, one at least, each of which takes a few calls to the
gateway; the same for refunds, and for what was wrong in the gateway's list. The next round
continues: expired holds and events that Redis has lost wait for it."""

MOST_CLAIMED = 20
FEWEST_CLAIMED = 5
"""Lapsed payments that are claimed together, and looked up in one reading of the gateway's list,
which in a sale grows by a page a second. A worker claims at most half of what has lapsed, so that
another one gets its share, and no more than it can end within a lease. Fewer are not worth a
reading of their own."""

SETTLED_LEASES = 2
"""After so many leases nobody is at work on a payment any more."""

OPENING_PATIENCE = timedelta(seconds=10)
"""How long an event may be listed and not there before it is called lost: whoever opens one reads
its bookings and the gateway's list in between."""

LAST_STEP = timedelta(seconds=LAST_STEP_S)

log = logging.getLogger(__name__)


_NEVER = timedelta.min
_LATER_THAN_ALL = timedelta.max / 2
"""Of the worker's own clock: the time that this machine runs, by which it paces itself. Its time of
day may be wrong by hours, or be set while it works; so what the gateway stamped is compared with
the gateway's clock, and what Redis stamped with that of Redis."""


@dataclass(frozen=True)
class _Unsettled:
    """Since when, by the worker's own clock, the epoch of an event is known to be unsettled."""

    epoch: str
    since: timedelta


@dataclass
class _Claims:
    """Lapsed payments that are this worker's until ``until_s`` on the monotonic clock:
    then another may claim them. ``charges`` has what the gateway's list has of them, by key."""

    payments: deque[PaymentAttempt] = field(default_factory=deque)
    charges: Mapping[str, GatewayPayment] = field(default_factory=dict)
    until_s: float = 0.0

    def are_over(self) -> bool:
        return time.monotonic() >= self.until_s


class Reconciler:
    """``declared`` are the events of the files; Redis may have forgotten them. One that was never
    on sale is not opened while Redis knows what is. With ``dry_run``
    it says what it would do, and does nothing. ``repairs`` counts what was done, by kind;
    ``not_done`` what failed."""

    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        gateway: Gateway,
        checkout: Checkout,
        declared: Sequence[Event],
        lease_s: float = DEFAULT_LEASE_S,
        dry_run: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        goes_on: bool = True,
    ):
        """``stopped`` is asked between two repairs. ``goes_on``: whether rounds follow each other,
        so that one can leave something to the next."""
        self._lease_s = lease_s
        self._settles_after = timedelta(seconds=SETTLED_LEASES * lease_s)
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway
        self._repairs = Repairs(catalogue, seats, bookings, gateway, checkout, dry_run, goes_on)
        self._comparison = SeatComparison(catalogue, seats, bookings, self._repairs)
        self._declared: dict[str, Event] = {}
        self._on_sale: dict[str, Event] = {}
        self._unopened: set[str] = set()
        self._missing_since: dict[str, timedelta] = {}
        self._stopped = stopped
        self._seen: dict[str, Moment] = {}
        self._epochs: dict[str, Epoch] = {}
        self._unsettled: dict[str, _Unsettled] = {}
        self._gateway_since: datetime | None = None
        self._next_gateway_look = _NEVER
        self._ledger: GatewayLedger | None = None
        self._lapsed: dict[str, int] = {}
        self._claims = _Claims()
        self._refunds: deque[OwedRefund] = deque()
        self.has_more = False
        self.repairs: Counter[str] = self._repairs.done
        self.isolate_failure = self._repairs.isolate_failure
        self.declare(declared)

    @property
    def not_done(self) -> int:
        return self._repairs.not_done

    def declare(self, events: Sequence[Event]) -> None:
        """The events of the files now. What was on sale goes on as it was, whatever they say: a
        change, and a new event, are opened by the organiser's command."""
        self._declared = {event.id: event for event in events}

    def round(self) -> None:
        """Looks at everything once. What cannot be repaired now is left for the next round; so is
        what there is no time for now, and then it ``has_more``."""
        now, self.has_more = timedelta(seconds=time.monotonic()), False
        with self.isolate_failure("unique index"):
            self._check_index()
        with self.isolate_failure("events"):
            event_ids = self._event_ids()
            histories = self._seats.histories(event_ids)
            upkeep = self._within_reach(self._seats.maintenance_due(event_ids, self._seen))
            under_way = UnderWay(self._gateway)
            self._lapsed.clear()
            for event_id, needed in upkeep.items():
                with self.isolate_failure(event_id):
                    self._mend_event(now, event_id, needed, under_way, histories.get(event_id, ""))
            revisions = {
                event_id: needed.moment.revision
                for event_id, needed in upkeep.items()
                if isinstance(needed, Upkeep)
            }
            if self._comparison.compare(now, revisions, time.monotonic() + COMPARING_S):
                self.has_more = True
            self._end_lapsed_payments()
        if self._ledger is None and now >= self._next_gateway_look:
            self._next_gateway_look = now + GATEWAY_EVERY
            if not self._refunds:
                with self.isolate_failure("refunds"):
                    self._refunds = deque(self._owed_refunds())
            with self.isolate_failure("gateway"):
                self._ledger = self._open_ledger(now)
        self._end_refunds()
        if self._ledger:
            with self.isolate_failure("gateway"):
                self._compare_with_gateway(self._ledger)

    # ------------------------------------------------------------ events

    def _within_reach(
        self, upkeep: Mapping[str, Upkeep | Broken | Unavailable | None]
    ) -> dict[str, Upkeep | Broken | None]:
        """Without the events whose Redis cannot be reached. Their time comes when it can."""
        reached: dict[str, Upkeep | Broken | None] = {}
        away: dict[str, Unavailable] = {}
        for event_id, needed in upkeep.items():
            if isinstance(needed, Unavailable):
                away[event_id] = needed
            else:
                reached[event_id] = needed
        if away:
            self._repairs.leave(some(list(away)), next(iter(away.values())))
        return reached

    def _check_index(self) -> None:
        try:
            self._bookings.require_index()
        except IndexMissing as error:
            log.critical("%s", error)
            self._repairs.make_index()

    def _event_ids(self) -> list[str]:
        """All that are or should be on sale; makes sure that they are listed."""
        try:
            listed = set(self._catalogue.event_ids())
        except Unavailable as unavailable:
            if not self._list_is_lost():
                self._repairs.leave("the list of events", unavailable)
                return sorted(self._on_sale.keys() | self._declared_and_built())
            listed, missing = set(), self._declared.keys() | self._on_sale.keys()
        else:
            withdrawn = self._withdrawn((self._on_sale.keys() | self._declared.keys()) - listed)
            missing = self._on_sale.keys() - listed
            missing |= self._sold_before(self._declared.keys() - listed - missing - withdrawn)
        if missing:
            with self.isolate_failure("events"):
                self._repairs.add_to_catalogue(missing)
        return sorted(listed | missing)

    def _withdrawn(self, event_ids: set[str]) -> set[str]:
        """Those of ``event_ids`` that the organiser has withdrawn; they are forgotten."""
        withdrawn = event_ids & self._catalogue.withdrawn_ids() if event_ids else set()
        for event_id in withdrawn:
            self._on_sale.pop(event_id, None)
            self._seen.pop(event_id, None)
        return withdrawn

    def _declared_and_built(self) -> set[str]:
        """What a worker that has just started knows to be on sale without the list."""
        found = self._catalogue.current_events(sorted(self._declared.keys() - self._on_sale.keys()))
        return {event_id for event_id, event in found.items() if isinstance(event, Event)}

    def _list_is_lost(self) -> bool:
        """False while it cannot be reached."""
        try:
            return not self._catalogue.exists()
        except Unavailable:
            return False

    def _sold_before(self, event_ids: set[str]) -> set[str]:
        """Those that have bookings, so that Redis has lost them, of ``event_ids`` that it does not
        list. The files of the others only lie there: nobody has looked at their prices yet."""
        self._unopened &= event_ids
        sold = set()
        for event_id in event_ids - self._unopened:
            with self.isolate_failure(event_id):
                if self._bookings.sold_seats(event_id):
                    sold.add(event_id)
                else:
                    self._unopened.add(event_id)
                    log.warning(
                        "%s: its file is there, and it is not on sale; put it on sale with "
                        "`events open FILE`",
                        event_id,
                    )
        return sold

    def _mend_event(
        self,
        now: timedelta,
        event_id: str,
        upkeep: Upkeep | Broken | None,
        under_way: UnderWay,
        history: str,
    ) -> None:
        """``history`` is the one that the event's server continues now, "" if unknown."""
        if isinstance(upkeep, Broken):
            if event_id not in self._on_sale:
                with suppress(Refusal):  # Its definition may be lost, too.
                    self._on_sale[event_id] = self._catalogue.current_event(event_id)
            if event_id in self._on_sale:
                reason = f"{upkeep.key} is lost or wrong in Redis"
                return self._reopen(event_id, reason, under_way)
        if not isinstance(upkeep, Upkeep):
            return self._open_missing(now, event_id, under_way)
        self._missing_since.pop(event_id, None)
        known = self._on_sale.get(event_id)
        if known is None or known.version != upkeep.version:
            self._on_sale[event_id] = self._catalogue.current_event(event_id)
        if event_id not in self._epochs:
            self._epochs[event_id] = self._catalogue.current_epoch(event_id)
        if upkeep.history_lost:
            reason = "its journal does not have what was seen before"
            return self._reopen(event_id, reason, under_way, upkeep.moment.revision)
        if history and history != upkeep.history:
            # A Redis that was started again, or a replica that took over, may have gone back to
            # just what was seen last, which nothing else tells.
            reason = "Redis was started again, or another has taken over"
            return self._reopen(event_id, reason, under_way, upkeep.moment.revision)
        self._seen[event_id] = upkeep.moment
        if self._epochs[event_id].name != upkeep.epoch:
            self._epochs[event_id] = self._catalogue.current_epoch(event_id)
        self._note_epoch(now, event_id, upkeep.epoch if upkeep.is_unsettled else "")

        is_cancelled = self._on_sale[event_id].status == "cancelled"
        if upkeep.expired_holds and not self._repairs.dry_run:
            self._seats.sweep_holds(event_id)
        if is_cancelled and upkeep.lapsed_payments and not self._repairs.dry_run:
            self._seats.call_off_payments(event_id, CALLED_OFF)
        if upkeep.lapsed_payments:
            self._lapsed[event_id] = upkeep.lapsed_payments

    def _note_epoch(self, now: timedelta, event_id: str, epoch: str) -> None:
        known = self._unsettled.get(event_id)
        if not epoch:
            self._unsettled.pop(event_id, None)
        elif known is None or known.epoch != epoch:
            self._unsettled[event_id] = _Unsettled(epoch, now)

    def _open_missing(self, now: timedelta, event_id: str, under_way: UnderWay) -> None:
        """An event that is listed, and not there or not open."""
        with suppress(Unavailable):  # The list may be on another server, and away.
            if self._withdrawn({event_id}):  # A moment ago.
                return
        if event_id in self._on_sale:
            self._reopen(event_id, "Redis has lost it", under_way)
        elif event_id in self._declared:
            self._reopen(event_id, "it has a file, and is not in Redis", under_way)
        else:
            # Most likely the organiser's command is opening it at this moment.
            since = self._missing_since.setdefault(event_id, now)
            if now - since < OPENING_PATIENCE:
                return
            if isinstance(built := self._catalogue.current_events([event_id]).get(event_id), Event):
                self._on_sale[event_id] = built
                return self._reopen(event_id, "it was built, and not opened", under_way)
            log.error("%s: it is listed, not in Redis, and has no file", event_id)
            self._missing_since[event_id] = _LATER_THAN_ALL

    def _reopen(
        self, event_id: str, reason: str, under_way: UnderWay, revision_now: int = 0
    ) -> None:
        """What was seen is forgotten only when this has succeeded: until then no change that comes
        in between can hide that its history was lost."""
        event = self._definition_of(event_id)
        seen = self._seen.get(event_id)
        lost_revision = max(seen.revision if seen else 0, revision_now)
        last_epoch = self._epochs.get(event_id)
        self._repairs.reopen(event, reason, under_way, lost_revision, last_epoch)
        if not self._repairs.dry_run:
            self._seen.pop(event_id, None)
            self._comparison.begin_again(event_id)

    def _definition_of(self, event_id: str) -> Event:
        """The one that was on sale last, as far as is known; but what was lost may have been the
        cancellation."""
        declared = self._declared.get(event_id)
        if declared and declared.status == "cancelled":
            return declared
        return self._on_sale.get(event_id) or self._declared[event_id]

    # ------------------------------------------------------------ payments

    def _end_lapsed_payments(self) -> None:
        """Those of all events, for a while."""
        if self._repairs.dry_run:
            for event_id in self._lapsed:
                for hold_id, at_bank in self._seats.lapsed_holds(event_id).items():
                    self._repairs.say_lapsed(hold_id, at_bank)
            return
        until_s = time.monotonic() + ENDING_S
        while not self._stopped() and (self._claims.payments or self._claim()):
            if self._claims.are_over():
                # This worker stood still, or was slow: another one may be working on them.
                self._claims.payments.clear()
                continue
            payment = self._claims.payments.popleft()
            with self.isolate_failure(payment.gateway_key):
                # It may take as long as a lease from now, and others may have ended it meanwhile.
                if self._seats.renew_lease(payment):
                    self._repairs.end_payment(payment, self._claims.charges)
            if time.monotonic() >= until_s:
                self.has_more = True
                return

    def _claim(self) -> bool:
        """This worker's share of what has lapsed. Whether there was anything."""
        share = min(max(sum(self._lapsed.values()) // 2, FEWEST_CLAIMED), MOST_CLAIMED)
        claimed = self._claim_in_turn(share)
        if not claimed:
            return False
        charges = self._charges_for(claimed)
        # A lease from now on, however long it took to read the list.
        self._claims = _Claims(charges=charges, until_s=time.monotonic() + self._lease_s)
        for payment in claimed:
            with self.isolate_failure(payment.gateway_key):
                if self._seats.renew_lease(payment):
                    self._claims.payments.append(payment)
        return bool(self._claims.payments)

    def _claim_in_turn(self, most: int) -> list[PaymentAttempt]:
        """One of each event in turn, so that no event waits for all payments of another."""
        claimed: list[PaymentAttempt] = []
        event_ids = deque(self._lapsed)
        while event_ids and len(claimed) < most and not self._stopped():
            event_id = event_ids.popleft()
            with self.isolate_failure(event_id):
                claim = self._seats.claim_lapsed_payment
                if payment := with_event(self._catalogue, event_id, claim):
                    claimed.append(payment)
                    event_ids.append(event_id)
        return claimed

    def give_back(self) -> None:
        """Leaves what this worker has claimed, and not begun to end, to others at once."""
        while self._claims.payments and not self._claims.are_over():
            payment = self._claims.payments.popleft()
            with self.isolate_failure(payment.gateway_key):
                self._seats.shorten_lease(payment.event_id, payment.hold_id, within_ms=0)

    def _charges_for(self, payments: Sequence[PaymentAttempt]) -> dict[str, GatewayPayment]:
        """What the gateway has of those that are not booked, in one reading of its list."""
        booked = self._bookings.find_all(booking_id_of(payment.hold_id) for payment in payments)
        unbooked = [
            p
            for p in payments
            # One at the bank is looked up by its own id.
            if p.amount_minor and not p.bank_step and booking_id_of(p.hold_id) not in booked
        ]
        if not unbooked:
            return {}
        since = min(payment.begun_at for payment in unbooked)
        return self._gateway.find_all([payment.gateway_key for payment in unbooked], since)

    def _owed_refunds(self) -> list[OwedRefund]:
        """Those that were begun and broke off, and of cancelled events all. These come in the
        opposite order to that of the organiser's command, which may be at work on them."""
        owed = [
            OwedRefund(found.id, "it was begun and broke off", of_seats=bool(found.seat_refund))
            for found in self._bookings.unfinished_refunds()
        ]
        for event in self._on_sale.values():
            if event.status == "cancelled":
                reason = f"{event.id} was cancelled"
                owed += (
                    OwedRefund(booking_id, reason)
                    for booking_id in reversed(self._bookings.booked_ids(event.id))
                )
        return owed

    def _end_refunds(self) -> None:
        """For a while; the next round continues."""
        until_s = time.monotonic() + ENDING_S
        while self._refunds and not self._stopped():
            some_of_them = min(len(self._refunds), SIDE_BY_SIDE)
            batch = [self._refunds.popleft() for _ in range(some_of_them)]
            self._repairs.end_refunds(batch, self._stopped)
            if self._refunds and time.monotonic() >= until_s:
                self.has_more = True
                return

    def _open_ledger(self, now: timedelta) -> GatewayLedger:
        opened_at = self._gateway.now()
        since = self._gateway_since or opened_at - FIRST_GATEWAY_WINDOW
        return GatewayLedger(
            self._seats,
            self._bookings,
            self._gateway,
            self._repairs,
            settles_after=self._settles_after,
            unsettled={
                event_id: unsettled.epoch
                for event_id, unsettled in self._unsettled.items()
                if now - unsettled.since > max(self._settles_after, LAST_STEP)
            },
            opened_at=opened_at,
            since=since,
        )

    def _compare_with_gateway(self, ledger: GatewayLedger) -> None:
        """A part of it; the next round goes on. When a page cannot be read, the list is read from
        its beginning at its next turn."""
        self._ledger = None
        now_s = time.monotonic()
        if ledger.compare(now_s + COMPARING_S, now_s + ENDING_S):
            # Younger ones than these are not settled, and have to be in the next reading, too.
            since = ledger.opened_at - self._settles_after - GATEWAY_WINDOW
            self._gateway_since = min(since, ledger.oldest_left or since)
        else:
            self._ledger, self.has_more = ledger, True
