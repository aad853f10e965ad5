"""Who may try: what the use cases ask of the store of seats, holds and payments under way.

The adapters in ``web/adapters`` implement the ports; the use cases know nothing else of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from web.domain.events import Event, Section
from web.domain.refusals import InvalidRequest, PaymentDeclined, SeatTaken
from web.domain.sales import Booking, Buyer, Hold, PaymentAttempt, Receipt
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
    """The final answer that an idempotency key got before."""

    receipt: Receipt


@dataclass(frozen=True)
class Moment:
    """Where an event is: its revision, and the change that led to it, in one line. No two histories
    have both, also when Redis went back in time and has as many changes again since."""

    revision: int
    change: str


@dataclass(frozen=True)
class Upkeep:
    """What an open event needs of the worker: ``expired_holds`` are past their deadline and not
    swept yet, ``lapsed_payments`` past their lease. ``history_lost``: the journal does not have the
    moment at which the caller saw the event, or not that of now. ``epoch`` is the name of the one
    that the event is in; it ``is_unsettled`` while there may be payments that were under way when
    it began and that nobody knew of."""

    version: str
    moment: Moment
    history_lost: bool
    expired_holds: int
    lapsed_payments: int
    epoch: str
    is_unsettled: bool


@dataclass(frozen=True)
class Broken:
    """Redis has an event, and has lost ``key`` of it, or a part of what was in it."""

    key: str


@dataclass(frozen=True)
class Change:
    """An entry of the journal. ``seats`` are named as they were at that time; there are none when
    the event was opened."""

    revision: int
    change: str
    hold_id: str
    seats: tuple[str, ...]


class KeysAreEvicted(UnsafeToSell):
    """Redis throws keys away when its memory is full: an answer that was kept, or a whole event."""


class SeatsMoved(Exception):
    """The new definition has other seats where some are held or sold, or another currency:
    ``seats``, as the old definition names them."""

    def __init__(self, seats: tuple[str, ...]):
        super().__init__(seats)
        self.seats = seats


class SeatStore(Protocol):
    """Each method is one atomic step on Redis's clock. All raise Unavailable when Redis cannot be
    reached or has lost the event, and EventNotFound when it knows of no such event; those that
    take an Event raise EventChanged when it is out of date. Those that take the id of a hold, and
    say what became of it, raise NotKnownNow when Redis has lost it a moment ago with its event,
    which was built anew since: its payment may still be booked."""

    def ping(self) -> None: ...

    def now(self) -> datetime:
        """The moment by Redis's clock, in UTC: what ``begun_at`` of a payment and ``booked_at`` of
        a booking are compared with. The clock of this machine may be wrong by hours."""
        ...

    def require_kept_keys(self) -> None:
        """Raises KeysAreEvicted."""
        ...

    def maintenance_due(
        self, event_ids: Sequence[str], seen: Mapping[str, Moment]
    ) -> dict[str, Upkeep | Broken | None]:
        """By event, asked for together; None for one that is not there, or not open. One that
        cannot be read is left out. ``seen``: at which moment the caller saw each last, if ever."""
        ...

    def revision(self, event_id: str) -> int | None:
        """None when there is no such event, or none that is whole and open."""
        ...

    def build_event(
        self,
        event: Event,
        payments: Sequence[PaymentAttempt],
        are_all: bool = True,
        built_revision: int = 0,
    ) -> bool:
        """Makes an event that Redis does not know, or has lost a part of, closed until open_event
        has added what is sold.
        ``payments`` were under way when Redis lost them; their seats are paying again. Unless
        they ``are_all``, the epoch is unsettled. Returns False when there is one already, unless
        that is older than ``built_revision``: it was lost and built again since, and what buyers
        heard meanwhile stands."""
        ...

    def settle_epoch(self, event_id: str, epoch: str) -> None:
        """No money is reserved any more for a payment from before that epoch: whoever asks for a
        hold of then may be told that nothing was charged."""
        ...

    def server_run(self) -> str:
        """Another one after Redis was started again, or a replica has taken over; "" when Redis
        does not say."""
        ...

    def open_event(self, event: Event, sold: Iterable[str], lost_revision: int = 0) -> bool:
        """Brings a built event up to date with its definition and with ``sold``, the ids of the
        seats in bookings, all of them in the definition; opens it. ``lost_revision``: Redis has
        lost the history that led to this revision, so the event goes on above it and above its
        own. Returns whether anything changed. Raises SeatsMoved."""
        ...

    def read_seats(self, event_id: str) -> SeatMap:
        """The live map."""
        ...

    def read_changed_seats(self, event_id: str, known_revision: int) -> SeatMap | None:
        """The live map, or None when it still has ``known_revision``."""
        ...

    def read_map(self, event: Event) -> SeatMap:
        """The live map of this definition."""
        ...

    def newest_changes(self, event: Event, count: int) -> list[Change]:
        """Newest first."""
        ...

    def hold_of_form(self, event_id: str, form: str) -> str | None:
        """The hold that remember_form was told of, some minutes ago at most."""
        ...

    def remember_form(self, event_id: str, form: str, hold_id: str) -> str:
        """The hold that this form got: ``hold_id``, unless another one was faster."""
        ...

    def forget_form(self, event_id: str, form: str, hold_id: str) -> None:
        """The form no longer stands for this hold; nothing when it stands for another one."""
        ...

    def hold_seats(
        self,
        event: Event,
        hold_id: str,
        client: str,
        positions: Sequence[int],
        network: str = "",
    ) -> Hold:
        """All of them or none. They count for ``client``, and for its ``network`` if it has one.
        Raises SaleNotOpen, SeatTaken, TooManyHeld or TooManyHeldByNetwork."""
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
        """Side by side where they can be. They count as those of hold_seats. Raises SaleNotOpen,
        SoldOut, TooManyHeld or TooManyHeldByNetwork."""
        ...

    def read_hold(self, event: Event, hold_id: str) -> Hold | None:
        """None when there is none, or none any more."""
        ...

    def extend_hold(self, event: Event, hold_id: str) -> Hold | None:
        """Adds the time of a new hold to its deadline. None as read_hold. Raises AlreadyExtended,
        PaymentInProgress."""
        ...

    def release_hold(self, event_id: str, hold_id: str) -> bool:
        """Returns whether there was one. Raises PaymentInProgress."""
        ...

    def sweep_holds(self, event_id: str) -> None:
        """Frees the seats of holds past their deadline."""
        ...

    def begin_payment(
        self, event: Event, hold_id: str, buyer: Buyer, key_digest: str, fingerprint: str
    ) -> PaymentAttempt | EarlierReceipt:
        """Marks the seats as paying. Raises HoldExpired when there is no such hold (any more),
        PaymentInProgress, IdempotencyKeyReused, and EarlierRefusal with the refusal that this key
        got before."""
        ...

    def read_payment(self, event_id: str, hold_id: str, key_digest: str) -> EarlierReceipt | None:
        """The receipt of a payment, or None while it is under way. Raises PaymentNotFound, and
        EarlierRefusal with the refusal that it ended with."""
        ...

    def undo_payment(
        self, payment: PaymentAttempt, answer: PaymentDeclined | SeatTaken | InvalidRequest | None
    ) -> int | None:
        """The charge definitely did not happen. ``answer`` is kept as the final one to the
        payment's key. None leaves the key to be used again, and so does InvalidRequest, then under
        another gateway key: the gateway may remember what was wrong with it. Returns how many more
        cards the hold takes: 0 when its seats were given back. Only a bank's decline counts as a
        refused card. None when the payment was not under way any more: somebody else has ended
        it."""
        ...

    def renew_lease(self, payment: PaymentAttempt) -> bool:
        """Whether the payment is still the caller's, who has a whole lease again then. False when
        the worker has ended it."""
        ...

    def confirm_booking(self, event: Event, booking: Booking) -> None:
        """The booking is in MongoDB: its seats are sold and its hold is over."""
        ...

    def lapsed_holds(self, event_id: str) -> list[str]:
        """The ids of holds whose payment nobody has ended within its lease."""
        ...

    def shorten_lease(self, event_id: str, hold_id: str, within_ms: int) -> None:
        """Shortens the lease of a payment, if there is one; never lengthens it."""
        ...

    def return_seats(self, event: Event, booking: Booking, seats: Sequence[str]) -> None:
        """Puts those seats of a refunded booking on sale again."""
        ...

    def claim_lapsed_payment(self, event: Event) -> PaymentAttempt | None:
        """One payment that nobody has finished within its lease, for this caller alone."""
        ...
