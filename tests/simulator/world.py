"""One run of a plan, with the shop's real use cases and scripts in a simulated environment."""

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.simulator.bookings import SimulatedBookings
from tests.simulator.gateway import SimulatedGateway
from tests.simulator.plans import (
    CANCELLED,
    CONFIRMATION_S,
    HALL,
    LATE_BUYERS,
    WORKER_PAUSES_S,
    WORKERS,
    Cancel,
    GoesBack,
    Hold,
    Loss,
    Open,
    Owner,
    Part,
    Plan,
    Refund,
    RefundSeats,
    Request,
    SecondWorker,
    Webhooks,
)
from tests.simulator.redis_memory import RedisMemory
from tests.simulator.rules import Answer, Broken, Rules, answer_to, answer_with
from tests.simulator.scheduler import EPOCH, Process, Scheduler, clocks_of
from tests.simulator.scheduler import Killed as ProcessKilled
from tests.simulator.story import Story
from tests.simulator.troubles import RESTART_S, Troubles
from tests.simulator.wires import Wire
from tests.support.factories import WAY_BACK
from tests.support.redis_stores import audited, seats_on
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.refusals import BookingNotFound, Refusal
from web.domain.sales import DEFAULT_LEASE_S, Buyer, HoldRef, booking_id_of
from web.ports.payment_gateway import GatewayError, GatewayPayment
from web.signing.hold_tokens import HoldTokens
from web.use_cases.audit import audit
from web.use_cases.bank_confirmation import LOOK_AGAIN_MS
from web.use_cases.box_office import BoxOffice
from web.use_cases.cancellation import end_sale, refund_side_by_side
from web.use_cases.checkout import LOOK_AT_BANK_WITHIN_MS, Checkout, _digest
from web.use_cases.opening import Opening
from web.use_cases.reconciliation import Reconciler
from web.use_cases.refunds import Refunds

LEASE_S = DEFAULT_LEASE_S

ACTORS = (Hold, Request, Refund, RefundSeats, Cancel, Open)

LASTS_S, GOES_ON_S = 160.0, 20.0
"""The longest time before everything works again, and after the last request."""

QUIET_AFTER_S = 240.0
"""Then the worker has this long: a lease, two leases until the gateway's list is compared, and time
for stopped processes to go on."""

PATIENCE_S = (0.0, 15 * 60.0, 80 * 60.0)
"""And this much more, if it needs it: the seats of a quiet event are compared every ten minutes,
and with a clock that is an hour behind, a new payment is old in an hour."""

PAUSE_S = 60.0
"""Between two rounds of the worker in that time; each may compare with the gateway."""

NGINX_WAITS_S = 75.0
"""proxy_read_timeout: a later answer of a web process reaches nobody."""

LOOKS_EVERY_S = 1.0
"""The worker's comparison; one that cannot find anything new is left out."""

CHANGES_SEATS = ("hold_seats", "confirm_booking")
LEASES_S = {
    "build_event": LEASE_S,
    "begin_payment": LEASE_S,
    "renew_lease": LEASE_S,
    "claim_lapsed_payment": LEASE_S,
    "claim_payment": LEASE_S,
    "shorten_lease": LOOK_AT_BANK_WITHIN_MS / 1000,
    "wait_for_bank": LOOK_AGAIN_MS / 1000,
}
"""Calls after which the worker has work: at once, or when the lease has ended."""

WISHES = {
    "pay": "pay",
    "look": "look at the payment",
    "cancel": "cancel the payment",
    "come back": "go on after the bank",
}

ENDS_WITHIN_S = LEASE_S + 15.0
"""After its time at the bank is over, a payment that somebody has just claimed is ended."""

HARMLESS = {
    "two workers",
    "webhook",
    "webhook lost",
    "event opened again",
    "Redis loses everything",
    "Redis loses the event",
    "Redis goes back in time",
    "Redis goes back in time, the same server",
}
"""Whatever of this happens, an owner who confirms in time has the seats."""

REPEATS, REPEAT_AFTER_S = 5, 30.0
"""How often a key is retried in the end, until its answer is final."""


@dataclass(frozen=True)
class Run:
    """``happened`` counts the faults that happened, by kind."""

    plan: Plan
    broken: tuple[Broken, ...]
    story: Story
    happened: Counter

    @property
    def rules(self) -> frozenset[str]:
        return frozenset(broken.rule for broken in self.broken)


def run(plan: Plan, memory: RedisMemory) -> Run:
    """A complete run, from an empty Redis to the final check of the rules."""
    world = World(plan, memory)
    with clocks_of(world.scheduler), world.log_told():
        try:
            world.play()
        finally:
            world.over = True
            world.scheduler.stop_all(world.processes)
    return Run(plan, tuple(world.rules.broken), world.story, world.troubles.happened)


class _Tokens(HoldTokens):
    """Hold ids that contain the buyer's name."""

    def __init__(self, scheduler: Scheduler):
        super().__init__("a secret key of simulations")
        self._scheduler = scheduler

    def new_hold_id(self, epoch: str) -> str:
        return f"hld_{self._scheduler.current.name.removesuffix('-hold')}_{epoch}"


class World:
    def __init__(self, plan: Plan, memory: RedisMemory):
        self.plan = plan
        self.memory = memory
        self.scheduler = Scheduler()
        self.story = Story()
        self.processes: list[Process] = []
        self.over = False
        self._held: dict[str, str] = {}
        self._asked: set[tuple[str, str]] = set()
        self._clocks: dict[str, float] = {}
        self._counts: Counter = Counter()
        self._tokens = _Tokens(self.scheduler)
        memory.client.run = 1
        self._stores: dict[str, RedisSeatStore] = {}
        self._workers: dict[str, Process] = {}
        self._reconcilers: dict[str, Reconciler] = {}
        self._pause_s: float | None = None
        self._webhooks = 0
        self._asked_owner_at_s: dict[str, float] = {}
        self._confirmed_at_s: dict[str, float] = {}
        self._file = HALL
        self._is_cancelled = False
        self.bookings = SimulatedBookings()
        self.gateway = SimulatedGateway(partial(self._now_of, "the gateway"), self._money_moved)
        self._watch_inserts()
        memory.now_s = partial(self._now_of, "Redis")
        self.rules = Rules(
            lambda: self.scheduler.now_s,
            lambda: self.bookings._bookings,
            self.gateway.all,
            lambda: self.bookings._refunds_under_way,
            _digest,
            HALL.positions,
        )
        self.troubles = Troubles(
            plan,
            self.scheduler,
            memory,
            self.gateway,
            self.story,
            self._set_clock,
            self._redis_lost_something,
            self._who_saw_more_than,
            self._workers_know_epoch,
            self.rules.cancels_until,
        )

    # ------------------------------------------------------------ the course of a run

    def play(self) -> None:
        self.memory.lose_everything()
        operator = self._store("operator")
        opening = Opening(operator._catalogue, operator, self.bookings, self.gateway)
        opening.open_events([HALL])
        for part in self.plan.parts:
            self._prepare(part)
        self._start_worker(WORKERS[0])
        last_s = max((part.at_s for part in self.plan.of(*ACTORS)), default=0)
        self.scheduler.run_until(min(last_s + GOES_ON_S, LASTS_S))
        self.troubles.mend()
        self._pause_s = PAUSE_S
        if self._file is CANCELLED and not self._is_cancelled:
            again = Cancel("cancel again", self.scheduler.now_s)
            self._start(again.process, partial(self._cancel, again), again.process, again.at_s)
        findings = self._wait_until_quiet()
        self.rules.audited(findings)
        if self._is_cancelled:
            self.rules.all_are_refunded()
        if not findings:
            self._ask_for_every_answer()
            self.rules.every_receipt_stays()
            self.rules.closed(self.rules.open_payments())
            self._confirmed_payments_are_booked()
            if self.plan.of(Loss, GoesBack) and self._file is HALL:
                self._sell_the_rest()
                self.rules.audited(self._audit())

    def _wait_until_quiet(self) -> list[str]:
        """Returns what the audit finds wrong after the worker has had time."""
        self._settle(QUIET_AFTER_S)
        findings: list[str] = []
        for patience_s in PATIENCE_S:
            self._pause_s = PAUSE_S + patience_s / 10
            self._settle(patience_s)
            findings = self._audit()
            if not findings and not self.rules.open_payments():
                break
        return findings

    def _settle(self, seconds: float) -> None:
        self.scheduler.run_until(self.scheduler.now_s + seconds)

    def _audit(self) -> list[str]:
        try:
            auditor = self._store("auditor")
            checks = audit(auditor._catalogue, audited(auditor), self.bookings, self.gateway)
        except Exception as error:
            return [f"it breaks off: {error!r}"]
        return [finding for check in checks for finding in check.findings]

    def _ask_for_every_answer(self) -> None:
        asked = {
            (part.buyer, part.key): part for part in self.plan.of(Request) if part.what == "pay"
        }
        for (buyer, key), part in asked.items():
            if (buyer, key) in self._asked:
                self._ask_until_final(part)

    def _ask_until_final(self, part: Request) -> None:
        answer = None
        for number in range(REPEATS):
            process = f"{part.buyer}-{part.key}-last-{number}"
            again = Request(process, part.buyer, self.scheduler.now_s, "pay", part.key, part.card)
            answer = self._wait_for(again)
            if answer and answer.is_final:
                break
            self._settle(REPEAT_AFTER_S)
        self.rules.ended(self._held[part.buyer], part.key, answer)

    def _wait_for(self, request: Request) -> Answer | None:
        answers: list[Answer] = []
        process = self._start(
            request.process, lambda: answers.append(self._request(request)), request.host
        )
        for _ in range(100):
            if process.ended:
                break
            self._settle(1.0)
        return answers[0] if answers else None

    def _sell_the_rest(self) -> None:
        """In each section, a new buyer can buy a seat that is not sold."""
        self._settle(HALL.hold_ms / 1000)
        sold = set(self.bookings.sold_seats(HALL.id))
        free = {seat.partition("-")[0]: seat for seat in HALL.seats if seat not in sold}
        for buyer, seat in zip(LATE_BUYERS, free.values(), strict=False):
            hold = Hold(buyer, self.scheduler.now_s, (seat,))
            self._start(hold.process, partial(self._hold, hold), hold.host)
            self._settle(1.0)
            answer = self._wait_for(Request(f"{buyer}-pay", buyer, 0, "pay", "k1"))
            self.rules.sale_goes_on(seat, answer or Answer(504, "no answer"))

    # ------------------------------------------------------------ the parts of a plan

    def _prepare(self, part: Part) -> None:
        match part:
            case Hold():
                self._start(part.process, partial(self._hold, part), part.host, part.at_s)
            case Request():
                self._start(part.process, partial(self._request, part), part.host, part.at_s)
            case Refund():
                self._start(part.process, partial(self._refund, part), part.process, part.at_s)
            case RefundSeats():
                self._start(
                    part.process, partial(self._refund_seats, part), part.process, part.at_s
                )
            case Cancel():
                self._start(part.process, partial(self._cancel, part), part.process, part.at_s)
            case Open():
                self._start(part.process, partial(self._open, part), part.process, part.at_s)
            case SecondWorker():
                self.troubles.count("two workers")
                self._start_worker(WORKERS[1], at_s=0.5)

    # ------------------------------------------------------------ processes

    def _called(self, call: str) -> None:
        """Wake the worker in the second in which something has changed, and in the one in which a
        lease has ended before its payment."""
        now_s = self.scheduler.now_s
        if call in CHANGES_SEATS:
            self.scheduler.call_at(math.floor(now_s) + LOOKS_EVERY_S, self._wake_workers)
        elif call in LEASES_S:
            ends_s = math.floor(now_s + LEASES_S[call]) + LOOKS_EVERY_S
            self.scheduler.call_at(ends_s, self._lease_has_ended)

    def _lease_has_ended(self) -> None:
        if self.memory.has_lapsed_payments(HALL.id):
            self._wake_workers()

    def _wake_workers(self, after_s: float = 0.0) -> None:
        for worker in self._workers.values():
            self.scheduler.wake(worker, self.scheduler.now_s + after_s)

    def _redis_lost_something(self, noticed_s: float, can_tell: set[str] | None) -> None:
        self.rules.redis_lost_something(can_tell)
        self._wake_workers(noticed_s)

    def _who_saw_more_than(self, revision: int) -> set[str]:
        return {
            name
            for name, reconciler in self._reconcilers.items()
            if (seen := reconciler._seen.get(HALL.id)) and seen.revision > revision
        }

    def _workers_know_epoch(self) -> bool:
        """A killed worker that has not been restarted knows nothing."""
        epoch = self.memory.epoch(HALL.id)
        known = [self._reconcilers.get(name) for name in self._workers]
        return all(
            reconciler
            and HALL.id in reconciler._epochs
            and reconciler._epochs[HALL.id].name == epoch
            for reconciler in known
        )

    def _set_clock(self, of: str, ahead_s: float) -> None:
        self._clocks[of] = ahead_s
        for process in self.processes:
            if process.host == of:
                process.clock_ahead_s = ahead_s

    def _start(self, name: str, body: Callable[[], object], host: str, at_s: float = 0) -> Process:
        def guarded() -> None:
            try:
                body()
            except Exception as error:
                self.rules.crashed(name, error)

        process = self.scheduler.start(name, guarded, at_s, self._clocks.get(host, 0.0))
        process.host = host
        self.processes.append(process)
        return process

    def _wired(self, host: str) -> dict[str, Wire]:
        seats = self._store(host)
        targets = {
            "catalogue": ("seats", seats._catalogue),
            "seats": ("seats", seats),
            "bookings": ("bookings", self.bookings),
            "gateway": ("gateway", self.gateway),
        }
        return {
            part: Wire(
                party,
                target,
                self.scheduler,
                self.troubles,
                self.story,
                self._counts,
                self._called,
                self.plan.seed,
            )
            for part, (party, target) in targets.items()
        }

    def _store(self, host: str) -> RedisSeatStore:
        """A store for each host, with its own cache."""
        if host not in self._stores:
            self._stores[host] = seats_on(self.memory.client, LEASE_S, scripts=self.memory.scripts)
        return self._stores[host]

    def _checkout(self, host: str) -> Checkout:
        def on_checkpoint(point: str) -> None:
            self.troubles.reach(self.scheduler.current.name, point)

        return Checkout(
            **self._wired(host),
            tokens=self._tokens,
            lease_s=LEASE_S,
            confirmation_s=CONFIRMATION_S,
            on_checkpoint=on_checkpoint,
        )

    def _box_office(self, host: str) -> BoxOffice:
        parts = self._wired(host)
        return BoxOffice(parts["catalogue"], parts["seats"], parts["bookings"], self._tokens)

    def _hold(self, part: Hold) -> None:
        self._tell(f"{part.buyer} asks to hold {' and '.join(part.seats)}")
        office = self._box_office(part.host)
        try:
            held, _ = office.hold_seats(HALL.id, part.buyer, part.seats)
            self._held[part.buyer] = held.id
            self.rules.held(held.id, part.seats)
        except Refusal as refusal:
            self._tell(f"is answered {answer_to(refusal)}")

    def _request(self, part: Request) -> Answer | None:
        hold_id = self._held.get(part.buyer)
        if hold_id is None:
            return None
        ref = self._tokens.ref_of(HALL.id, hold_id)
        wish = WISHES.get(part.what, f"{part.what} the hold")
        key = f" with key {part.key}" if part.key and part.what != "come back" else ""
        self._tell(f"{part.buyer} asks to {wish}{key}")
        began_s = self.scheduler.now_s
        try:
            answer = self._ask(part, ref)
        except Refusal as refusal:
            answer = answer_to(refusal)
        except Exception as error:
            self.rules.crashed(part.process, error)
            answer = Answer(500, "internal_error")
        if self.scheduler.now_s - began_s > NGINX_WAITS_S:
            self._tell(f"would be answered {answer}, and has stopped waiting")
            return None
        self._tell(f"is answered {answer}")
        match part.what:
            case "pay" | "look":
                self.rules.heard(hold_id, part.key, answer)
            case "cancel":
                self.rules.canceled(hold_id, part.key, answer)
            case "come back":
                self.rules.came_back(hold_id, answer)
        return answer

    def _ask(self, part: Request, ref: HoldRef) -> Answer:
        match part.what:
            case "pay":
                self._asked.add((part.buyer, part.key))
                self.rules.asks_to_pay(ref.hold_id, part.key)
                buyer = Buyer(part.card, f"{part.buyer}@example.org", part.buyer)
                try:
                    paid = self._checkout(part.host).pay(ref, part.key, buyer, WAY_BACK)
                finally:
                    self.rules.no_longer_asks(ref.hold_id, part.key)
                return answer_with(paid.receipt)
            case "look":
                digest = _digest(ref.hold_id, part.key)
                return answer_with(self._checkout(part.host).payment(ref, digest), 200)
            case "come back":
                self.troubles.count("buyer comes back")
                return answer_with(self._checkout(part.host).come_back(HALL.id, ref.hold_id), 200)
            case "cancel":
                self._checkout(part.host).cancel(ref, _digest(ref.hold_id, part.key))
                self.troubles.count("payment canceled by its buyer")
                return Answer(204, "canceled")
            case "release":
                self._box_office(part.host).release(ref)
            case "extend":
                self._box_office(part.host).extend(ref)
        return Answer(204, "done")

    def _refund(self, part: Refund) -> None:
        if part.buyer not in self._held:
            return
        booking_id = booking_id_of(self._held[part.buyer])
        try:
            Refunds(**self._wired(part.process)).refund(booking_id)
            self.troubles.count("refund")
        except BookingNotFound:
            pass
        except (Refusal, GatewayError) as error:
            self._tell(f"breaks off: {error}")

    def _refund_seats(self, part: RefundSeats) -> None:
        if part.buyer not in self._held:
            return
        booking_id = booking_id_of(self._held[part.buyer])
        refunds = Refunds(**self._wired(part.process))
        try:
            booking = self.bookings.find(booking_id)
            refunds.refund_seats(booking_id, booking.seats[:1] if booking else ())
            self.troubles.count("seats refunded")
        except BookingNotFound:
            pass
        except (Refusal, GatewayError) as error:
            self._tell(f"breaks off: {error}")

    def _cancel(self, part: Cancel) -> None:
        """As ``events open`` does with a file whose event is cancelled."""
        if self.troubles.must_be_known():
            return
        self._file = CANCELLED
        for reconciler in self._reconcilers.values():
            reconciler.declare([CANCELLED])
        parts = self._wired(part.process)
        try:
            outcome = Opening(**parts).open_events([CANCELLED])[HALL.id]
            if isinstance(outcome, Exception):
                raise outcome
            self._is_cancelled = True
            self.troubles.count("event cancelled")
            end_sale(parts["seats"], HALL.id)
            ids = parts["bookings"].booked_ids(HALL.id)
            for booking_id, refunded in refund_side_by_side(Refunds(**parts).refund, ids):
                if isinstance(refunded, Exception):
                    self._tell(f"does not refund {booking_id}: {refunded}")
        except (Refusal, GatewayError) as error:
            self._tell(f"breaks off: {error}")

    def _open(self, part: Open) -> None:
        if self.troubles.must_be_known():
            return
        self.troubles.count("event opened again")
        try:
            Opening(**self._wired(part.process)).open_events([self._file])
        except Refusal as error:
            self._tell(f"breaks off: {error}")

    def _shorten_lease(self, payment: GatewayPayment) -> None:
        try:
            self._checkout("web-1").shorten_lease(payment)
        except Refusal as error:
            self._tell(f"not heeded: {error}")

    def _start_worker(self, name: str, at_s: float = 0.1) -> None:
        self._stores.pop(name, None)  # a process that starts has seen nothing yet

        def worker() -> None:
            try:
                self._work(name)
            except ProcessKilled:
                self._reconcilers.pop(name, None)
                if not self.over:
                    self._start_worker(name, self.scheduler.now_s + RESTART_S)
                raise

        self._workers[name] = self._start(name, worker, name, at_s)

    def _work(self, name: str) -> None:
        parts = self._wired(name)
        reconciler = self._reconcilers[name] = Reconciler(
            **parts, checkout=self._checkout(name), declared=[self._file], lease_s=LEASE_S
        )
        while True:
            began_s = self.scheduler.now_s
            not_done, repairs = reconciler.not_done, reconciler.repairs.total()
            reconciler.round()
            if reconciler.not_done == not_done and not reconciler.has_more:
                self.rules.worker_looked(name, began_s, partial(self.memory.seats, HALL.id))
            is_busy = (reconciler.not_done, reconciler.repairs.total()) != (not_done, repairs)
            pause_s = LOOKS_EVERY_S if is_busy else self._next_pause_s(name)
            self.scheduler.idle(self._pause_s or pause_s)

    def _next_pause_s(self, name: str) -> float:
        self._counts[name, "pause"] += 1
        number = self._counts[name, "pause"]
        return WORKER_PAUSES_S[(self.plan.seed * 31 + number * 7) % len(WORKER_PAUSES_S)]

    # ------------------------------------------------------------ what is watched

    def _tell(self, what: str) -> None:
        """Add a line about the running process to the story."""
        self.story.note(self.scheduler.now_s, self.scheduler.current.name, what)

    def _watch_inserts(self) -> None:
        insert = self.bookings.insert

        def watched(booking):
            stored = insert(booking)
            self.rules.booked(stored)
            return stored

        self.bookings.insert = watched

    def _money_moved(self, payment: GatewayPayment) -> None:
        self.rules.charged(payment)
        if payment.status == "action_required":
            self._bank_asks(payment)
        for part in self.plan.of(Webhooks):
            self._webhooks += 1
            if self._webhooks % part.one_in:
                self.troubles.count("webhook lost")
                continue
            self.troubles.count("webhook")
            self._start(
                "webhook",
                partial(self._shorten_lease, payment),
                "web-1",
                self.scheduler.now_s + part.late_s,
            )

    # ------------------------------------------------------------ the bank

    def _bank_asks(self, payment: GatewayPayment) -> None:
        now_s = self._asked_owner_at_s[payment.payment_id] = self.scheduler.now_s
        buyer = payment.metadata["hold_id"].split("_")[1]
        owners = [part for part in self.plan.of(Owner) if part.buyer == buyer]
        self.troubles.count("bank asks" if owners else "bank asks, and is never answered")
        for part in owners:
            self.scheduler.call_at(now_s + part.after_s, partial(self._answer_bank, part, payment))
        over_s = now_s + CONFIRMATION_S
        self.scheduler.call_at(math.ceil(over_s) + LOOKS_EVERY_S, self._lease_has_ended)
        self.scheduler.call_at(over_s + ENDS_WITHIN_S, partial(self._time_is_over, payment, over_s))

    def _answer_bank(self, part: Owner, payment: GatewayPayment) -> None:
        payment_id = payment.payment_id
        status = self.gateway.retrieve(payment_id).status
        self.story.note(self.scheduler.now_s, "bank", f"{payment_id}, {status}: {part.answer}")
        if part.answer == "other card":
            self.gateway.confirm_with_another_card(payment_id)
        else:
            self.gateway.decide(payment_id, confirms=part.answer == "yes")
        if self.gateway.retrieve(payment_id).status != status:
            self.troubles.count(f"owner answers: {part.answer}")
            if part.answer == "yes":
                self._confirmed_at_s[payment_id] = self.scheduler.now_s
        else:
            over = "canceled" if status == "voided" else "answered"
            self.troubles.count(f"owner answers what is {over}")

    def _time_is_over(self, payment: GatewayPayment, over_s: float) -> None:
        """Now the payment must have ended, if all parts were there since ``over_s``, and when Redis
        lost it, too."""
        is_known = not self.plan.of(Loss, GoesBack) or self._only_redis_forgot()
        if self.troubles.last_s < over_s and is_known:
            is_under_way = self.memory.is_under_way(HALL.id, payment.metadata["hold_id"])
            now = self.gateway.retrieve(payment.payment_id)
            self.rules.time_is_over_at_bank(now, is_under_way)

    def _only_redis_forgot(self) -> bool:
        """Whether nothing has failed but, at most once, Redis's memory."""
        happened = set(self.troubles.happened)
        faults = {kind for kind in happened if not kind.startswith(("owner", "bank", "buyer"))}
        return faults <= HARMLESS and len(self.plan.of(Loss, GoesBack)) <= 1

    def _confirmed_payments_are_booked(self) -> None:
        if not self._only_redis_forgot():
            return
        for payment in self.gateway.all():
            confirmed_at_s = self._confirmed_at_s.get(payment.payment_id)
            asked_at_s = self._asked_owner_at_s.get(payment.payment_id, 0.0)
            if confirmed_at_s and confirmed_at_s < asked_at_s + CONFIRMATION_S - 1:
                self.rules.confirmed(payment)

    def _now_of(self, party: str) -> float:
        return EPOCH.timestamp() + self.scheduler.now_s + self._clocks.get(party, 0.0)

    def log_told(self):
        return _LogTold(self)


class _LogTold(logging.Handler):
    """During a run, the shop's log is part of the story, and a bug that it logs counts as a broken
    rule."""

    def __init__(self, world: World):
        super().__init__(logging.INFO)
        self._world = world
        self._log = logging.getLogger("web")

    def __enter__(self) -> None:
        self._before = (self._log.level, self._log.propagate)
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        self._log.addHandler(self)

    def __exit__(self, *_) -> None:
        self._log.removeHandler(self)
        level, self._log.propagate = self._before
        self._log.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        world = self._world
        current = world.scheduler.current
        who = current.name if current else "audit"
        world.story.note(world.scheduler.now_s, who, f"logs: {record.getMessage()}")
        if record.exc_info and not isinstance(record.exc_info[1], Refusal):
            world.rules.crashed(who, record.exc_info[1])
