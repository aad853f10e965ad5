"""Who may try: the store of seats, holds and payments in progress, as the use cases see it.

The adapters in ``web/adapters`` implement the ports; the use cases know nothing else about them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from web.domain.events import Event, Section
from web.domain.refusals import InvalidRequest, PaymentDeclined, SeatTaken, Unavailable
from web.domain.sales import (
    NO_WAY_BACK,
    BankStep,
    Booking,
    Buyer,
    Hold,
    PaymentAttempt,
    Receipt,
    RefusedAs,
    WayBack,
)
from web.ports.booking_store import UnsafeToSell

SEAT_STORE = "seat store"
"""What Unavailable calls this part of the service."""


@dataclass(frozen=True)
class SeatMap:
    """``seats`` has one SeatState character a seat, in the layout order of the definition that has
    this ``version``. ``revision`` only rises."""

    revision: int
    seats: str
    version: str = field(default="", compare=False)


@dataclass(frozen=True)
class EarlierReceipt:
    """The final response that an idempotency key got before."""

    receipt: Receipt


@dataclass(frozen=True)
class Moment:
    """A point in an event's history: its revision, and the change that led to it, in one line. No
    two histories share both, even if Redis went back in time and has made as many changes
    since."""

    revision: int
    change: str


@dataclass(frozen=True)
class Upkeep:
    """What an open event needs from the worker: ``expired_holds`` are past their deadline and not
    swept yet, ``lapsed_payments`` past their lease; in a cancelled event they are all of them.
    ``history_lost``: the journal lacks the moment at which the caller last saw the event, or the
    current one. ``history`` is the one of SeatStore.histories that its server continued when the
    event was opened, "" if unknown. ``epoch`` names the event's current epoch, which
    ``is_unsettled`` while there may be unknown payments that were in progress when it began."""

    version: str
    moment: Moment
    history_lost: bool
    history: str
    expired_holds: int
    lapsed_payments: int
    epoch: str
    is_unsettled: bool


@dataclass(frozen=True)
class LostPayments:
    """Payments for seats of one event that were in progress when Redis lost them. On those
    ``at_bank`` no process is working. Unless they ``are_all``, there may be more."""

    authorized: Sequence[PaymentAttempt] = ()
    at_bank: Sequence[PaymentAttempt] = ()
    are_all: bool = True


NONE_LOST = LostPayments()


@dataclass(frozen=True)
class Broken:
    """Redis has an event but has lost its ``key``, or a part of what was stored there."""

    key: str


@dataclass(frozen=True)
class Change:
    """An entry of the journal. ``seats`` have the names of that time; the opening of an event has
    none. ``at`` is by the clock of Redis; a former release has not stored it."""

    revision: int
    change: str
    hold_id: str
    seats: tuple[str, ...]
    at: datetime | None


class KeysAreEvicted(UnsafeToSell):
    """Redis evicts keys when its memory is full: a stored receipt, or a whole event."""


class SeatsMoved(Exception):
    """The new definition moves or drops ``seats`` that are held or sold, or changes their currency.
    They have the names of the old definition."""

    def __init__(self, seats: tuple[str, ...]):
        super().__init__(seats)
        self.seats = seats


class EventInUse(Exception):
    """So many holds are live, and payments under way."""

    def __init__(self, holds: int, payments: int):
        super().__init__(holds, payments)
        self.holds = holds
        self.payments = payments


class SeatStore(Protocol):
    """Each method is one atomic step on Redis's clock. All raise Unavailable when Redis cannot be
    reached or has lost the event, and EventNotFound when there is no such event; those that take
    an Event raise EventChanged when it is out of date. Those that take a hold's id and return its
    outcome raise NotKnownNow when Redis has just lost the hold together with its event, which was
    rebuilt since: the hold's payment may still be booked."""

    def now(self, event_id: str) -> datetime:
        """The time by the clock of the event's Redis, in UTC: what a payment's ``begun_at`` and a
        booking's ``booked_at`` are compared with. This machine's clock may be wrong by hours."""
        ...

    def require_kept_keys(self) -> None:
        """Raises KeysAreEvicted."""
        ...

    def maintenance_due(
        self, event_ids: Sequence[str], seen: Mapping[str, Moment]
    ) -> dict[str, Upkeep | Broken | Unavailable | None]:
        """By event, in one round trip to each server; None for one that does not exist or is not
        open. One that cannot be read is left out. ``seen`` has the moment at which the caller last
        saw each."""
        ...

    def revision(self, event_id: str) -> int | None:
        """None when there is no such event, or it is damaged or not open."""
        ...

    def build_event(self, event: Event, built_revision: int = 0) -> bool:
        """Builds an event that Redis does not know, or has lost a part of. It stays closed until
        open_event has added the sold seats. Returns False when the event exists, unless it is
        older than ``built_revision``: then it was lost and rebuilt since, and what buyers were told
        in the meantime must stay true."""
        ...

    def settle_epoch(self, event_id: str, epoch: str) -> None:
        """No money is reserved any more for payments from before that epoch: clients that ask about
        such a hold may be told that nothing was charged."""
        ...

    def histories(self, event_ids: Sequence[str]) -> dict[str, str]:
        """Identifies, by event, the history of writes that its server continues: another one when
        the server is restarted, a replica takes over, or the event is on another server; "" when
        Redis does not say. An event whose server cannot be reached is left out."""
        ...

    def open_event(
        self,
        event: Event,
        sold: Iterable[str],
        lost_revision: int = 0,
        payments: LostPayments = NONE_LOST,
        *,
        keeps_definition: bool = False,
    ) -> bool:
        """Brings a built event up to date with its definition and with ``sold``, the ids of the
        seats in bookings, all of them in the definition; opens it. ``lost_revision``: Redis has
        lost the history that led to this revision, so the event continues above both this revision
        and its own. The seats of ``payments`` are paying again, unless somebody else has them; if
        not all are, or those were not all, the epoch is unsettled. Returns whether anything
        changed. Raises SeatsMoved; EventChanged when another definition was opened meanwhile, or,
        with ``keeps_definition``, before."""
        ...

    def withdraw_event(self, event_id: str, *, only_look: bool = False) -> None:
        """Deletes the event, unless it should ``only_look`` whether it may. Raises EventInUse."""
        ...

    def close_sale(self, event_id: str) -> bool:
        """Closes the sale at once, whatever the definition says; live holds may still be paid.
        Returns whether that changed anything."""
        ...

    def reopen_sale(self, event_id: str) -> bool:
        """Takes back close_sale. Returns whether that changed anything."""
        ...

    def closed_sales(self, event_ids: Iterable[str]) -> dict[str, datetime]:
        """When, by event, its sale was closed by close_sale, of those that are closed. An event
        whose server cannot be reached is left out."""
        ...

    def read_seats(self, event_id: str) -> SeatMap:
        """The live map."""
        ...

    def read_changed_seats(self, event_id: str, known_revision: int) -> SeatMap | None:
        """The live map, or None if it is still at ``known_revision``."""
        ...

    def read_map(self, event: Event) -> SeatMap:
        """The live map of this definition."""
        ...

    def newest_changes(self, event: Event, count: int) -> list[Change]:
        """Newest first."""
        ...

    def sold_between(self, event: Event, after: int, until: int) -> Sequence[str] | None:
        """The seats that the changes after one revision have sold, up to another, whatever became
        of them since. None when the map was replaced in between, or the journal does not go back so
        far."""
        ...

    def hold_of_form(self, event_id: str, form: str) -> str | None:
        """The hold that remember_form stored for this form in the last few minutes."""
        ...

    def remember_form(self, event_id: str, form: str, hold_id: str) -> str:
        """Returns the hold that this form got: ``hold_id``, unless another request was faster."""
        ...

    def forget_form(self, event_id: str, form: str, hold_id: str) -> None:
        """Forgets that the form got this hold; does nothing if it got another one."""
        ...

    def hold_seats(
        self,
        event: Event,
        hold_id: str,
        client: str,
        positions: Sequence[int],
        network: str = "",
    ) -> Hold:
        """All seats or none. They count towards the limits of ``client``, and of its ``network`` if
        it has one. Raises SaleNotOpen, SeatTaken, TooManyHeld or TooManyHeldByNetwork."""
        ...

    def hold_best(
        self,
        event: Event,
        hold_id: str,
        client: str,
        section: Section,
        quantity: int,
        network: str = "",
    ) -> Hold:
        """Side by side where possible. They count as in hold_seats. Raises SaleNotOpen, SoldOut,
        TooManyHeld or TooManyHeldByNetwork."""
        ...

    def read_hold(self, event: Event, hold_id: str) -> Hold | None:
        """None when there is no such hold, or it is over."""
        ...

    def extend_hold(self, event: Event, hold_id: str) -> Hold | None:
        """Extends its deadline by the time that a new hold gets. Returns None as read_hold does.
        Raises AlreadyExtended, PaymentInProgress."""
        ...

    def release_hold(self, event_id: str, hold_id: str) -> bool:
        """Returns whether there was such a hold. Raises PaymentInProgress."""
        ...

    def sweep_holds(self, event_id: str) -> None:
        """Frees the seats of holds past their deadline; in a cancelled event, of all."""
        ...

    def call_off_payments(self, event_id: str, refused_as: RefusedAs) -> int:
        """Of a cancelled event: payments that wait at the bank can only be canceled from now on,
        with this refusal, and have lapsed. Returns how many payments have not ended yet; 0 when the
        event is not cancelled."""
        ...

    def begin_payment(
        self,
        event: Event,
        hold_id: str,
        buyer: Buyer,
        key_digest: str,
        fingerprint: str,
        way_back: WayBack = NO_WAY_BACK,
    ) -> PaymentAttempt | EarlierReceipt:
        """Marks the seats as paying. When the same payment is at the bank already, claims it as
        claim_payment does: it has a ``bank_step`` then. Raises HoldExpired when there is no such
        hold (any more), PaymentInProgress, IdempotencyKeyReused, or EarlierRefusal with the refusal
        that this key got before."""
        ...

    def read_payment(
        self, event_id: str, hold_id: str, key_digest: str
    ) -> EarlierReceipt | BankStep | None:
        """The receipt of a payment; while it is in progress what its owner has to do now, or None
        when that is nothing. Raises PaymentNotFound, or EarlierRefusal with the refusal that it
        ended with."""
        ...

    def undo_payment(
        self, payment: PaymentAttempt, answer: PaymentDeclined | SeatTaken | InvalidRequest | None
    ) -> int | None:
        """The charge definitely did not happen. ``answer`` is stored as the final response to the
        payment's idempotency key. After None or InvalidRequest the key may be used again, after
        InvalidRequest with another gateway key: the gateway may remember the bad request. Returns
        how many more cards the hold takes: 0 when its seats were given back. Only a bank's decline
        counts as a refused card. Returns None when the payment was no longer in progress, or
        no longer the caller's: another process has ended it, or taken it over."""
        ...

    def renew_lease(self, payment: PaymentAttempt) -> bool:
        """Starts the payment's lease again and returns True; False when the payment is no longer
        the caller's because another process has ended it, or taken it over."""
        ...

    def wait_for_bank(
        self, payment: PaymentAttempt, step: BankStep, look_at_ms: int | None = None
    ) -> BankStep | None:
        """Leaves the payment to its buyer, who has to confirm it at the bank; the lease is over.
        It lapses when the step does, or at ``look_at_ms`` (as ``until_ms``). Returns the step with
        the time left; None when the payment is no longer the caller's, or is being canceled."""
        ...

    def begin_cancel(self, payment: PaymentAttempt, step: BankStep) -> BankStep | None:
        """From now on this payment can only be canceled, whoever has it. ``step`` says why in its
        ``canceled_as``. Returns it, with the reason of whoever was first; None when the payment is
        no longer the caller's."""
        ...

    def confirm_booking(self, event: Event, booking: Booking) -> None:
        """The booking is in MongoDB: its seats are sold and its hold is over."""
        ...

    def lapsed_holds(self, event_id: str) -> dict[str, bool]:
        """The ids of holds whose payment was not finished within its lease, and whether it had to
        be confirmed at the bank."""
        ...

    def shorten_lease(
        self, event_id: str, hold_id: str, within_ms: int, at_bank_within_ms: int | None = None
    ) -> None:
        """Shortens a payment's lease to ``within_ms`` from now, if there is such a payment; never
        lengthens it. One that is at the bank lapses after ``at_bank_within_ms``, if given."""
        ...

    def return_seats(self, event: Event, booking: Booking, seats: Sequence[str]) -> None:
        """Puts these seats of a refunded booking on sale again."""
        ...

    def claim_lapsed_payment(self, event: Event) -> PaymentAttempt | None:
        """Claims a payment that was not finished within its lease, for this caller alone."""
        ...

    def claim_payment(self, event: Event, hold_id: str, key_digest: str = "") -> PaymentAttempt:
        """Claims the payment of a hold that is at the bank, for this caller alone; only the one of
        this key if there is a ``key_digest``. Raises PaymentInProgress when it is not at the bank,
        or somebody else has claimed it; PaymentNotFound."""
        ...
