"""Random sales on a real Redis against a plain Python model of the same rules."""

from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.factories import BUYER, lose_event, small_hall, unique
from tests.support.model import HOLD_MS, LEASE_MS, NETWORK_OF, OPENS_AT, START_MS, Model
from tests.support.redis_clock import scripts_on_test_clock, set_clock
from tests.support.redis_stores import audited, seats_on, servers_at
from tests.support.shop import TOKENS
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.refusals import (
    EarlierRefusal,
    NotKnownNow,
    PaymentDeclined,
    PaymentInProgress,
    SaleNotOpen,
    SoldOut,
)
from web.domain.sales import BankStep, Booking, PaymentAttempt, RefusedAs, booking_id_of

CANCELED = RefusedAs("not_completed", "It is over.")


@st.runner().flatmap
def some_payment(sale: "_Payments"):
    """Mostly one that is under way, as whoever began or claimed it knows it."""
    under_way = [payment for payment in sale.payments if sale.model.is_under_way(payment)]
    return st.sampled_from([*sale.payments[-2:], *under_way, *under_way])


def rule_for_a_payment(**given):
    def with_a_payment(step):
        return precondition(lambda sale: sale.payments)(rule(payment=some_payment, **given)(step))

    return with_a_payment


class _Payments(RuleBasedStateMachine):
    """What happens to payments, at the bank and elsewhere."""

    client: redis.Redis  # set by the test
    store: RedisSeatStore

    hold_ids = Bundle("hold_ids")

    @initialize()
    def open(self) -> None:
        self.event = small_hall(
            hold_ms=HOLD_MS,
            max_held_per_client=8,
            max_held_per_network=10,
            sale_opens_at=OPENS_AT,
        )
        self.model = Model(self.event)
        self.declines: dict[str, PaymentDeclined] = {}
        self.made: set[str] = set()
        self.payments: list[PaymentAttempt] = []
        self.store._catalogue.add([self.event.id])
        self.store.build_event(self.event)
        self.store.open_event(self.event, sold=[])
        self.store._catalogue.current_event(self.event.id)
        set_clock(self.client, self.event.id, self.model.now_ms)

    def new_hold_id(self) -> str:
        hold_id = TOKENS.new_hold_id(self.store._catalogue.epoch(self.event))
        self.made.add(hold_id)
        return hold_id

    @rule(ms=st.sampled_from([1, 100, HOLD_MS - 1, HOLD_MS, LEASE_MS]))
    def time_passes(self, ms: int) -> None:
        self.model.advance(ms)
        set_clock(self.client, self.event.id, self.model.now_ms)

    @rule(hold_id=hold_ids)
    def begin_payment(self, hold_id: str) -> None:
        key = unique("key")
        refusal = self.model.begin(hold_id, key)
        if refusal:
            with pytest.raises(refusal):
                self.store.begin_payment(self.event, hold_id, BUYER, key, "fingerprint")
            return
        payment = self.store.begin_payment(self.event, hold_id, BUYER, key, "fingerprint")
        self.begun_or_claimed(payment)

    @rule_for_a_payment()
    def repeat_a_payment_under_way(self, payment: PaymentAttempt) -> None:
        if not self.model.is_under_way(payment):
            return
        asked = (self.event, payment.hold_id, BUYER, payment.key_digest)
        for others in ((*asked, "another card"), (*asked[:-1], "another key", "fingerprint")):
            with pytest.raises(PaymentInProgress):
                self.store.begin_payment(*others)
        refusal = self.model.begin(payment.hold_id, payment.key_digest)
        if refusal:
            with pytest.raises(refusal):
                self.store.begin_payment(*asked, payment.fingerprint)
            return
        claimed = self.store.begin_payment(*asked, payment.fingerprint)
        self.begun_or_claimed(claimed)

    @rule_for_a_payment(key=st.sampled_from(["", "its own", "another"]))
    def claim_a_payment_at_the_bank(self, payment: PaymentAttempt, key: str) -> None:
        asked = (payment.hold_id, payment.key_digest if key == "its own" else key)
        refusal = self.model.claim(*asked)
        if refusal:
            with pytest.raises(refusal) as refused:
                self.store.claim_payment(self.event, *asked)
            assert refused.type is refusal
            return
        claimed = self.store.claim_payment(self.event, *asked)
        self.begun_or_claimed(claimed)

    @precondition(lambda self: self.payments)
    @rule()
    def claim_a_lapsed_payment(self) -> None:
        hold_id = self.model.claim_lapsed()
        claimed = self.store.claim_lapsed_payment(self.event)
        if hold_id is None:
            assert claimed is None
            return
        assert claimed.hold_id == hold_id
        self.begun_or_claimed(claimed)

    def begun_or_claimed(self, payment: PaymentAttempt) -> None:
        """Whoever had it before cannot do anything with it any more."""
        for former in self.payments:
            if former.hold_id == payment.hold_id:
                assert not self.store.renew_lease(former)
                assert self.store.wait_for_bank(former, self.step(1)) is None
                assert self.store.begin_cancel(former, self.step(1, CANCELED)) is None
                assert self.store.undo_payment(former, None) is None
        self.payments.append(payment)
        hold = self.model.own(payment)
        assert payment.buyer == BUYER
        assert payment.key_digest == hold.key
        step = payment.bank_step
        assert (step and (step.until_ms, step.canceled_as)) == (
            hold.bank and (hold.bank.until_ms, hold.bank.canceled_as)
        )

    def step(self, time_ms: int, canceled_as: RefusedAs | None = None) -> BankStep:
        return BankStep(
            "pi_1",
            "https://bank.example/",
            "",
            self.model.now_ms + time_ms,
            expires_in_ms=time_ms,
            canceled_as=canceled_as,
        )

    @rule_for_a_payment(
        time_ms=st.sampled_from([0, 1, HOLD_MS, 5 * HOLD_MS]),
        look_in_ms=st.sampled_from([None, 0, 100]),
        then=st.sampled_from(["leaves", "comes back", "pays again"]),
    )
    def wait_for_bank(
        self, payment: PaymentAttempt, time_ms: int, look_in_ms: int | None, then: str
    ) -> None:
        step = self.step(time_ms)
        look_at_ms = step.until_ms if look_in_ms is None else self.model.now_ms + look_in_ms
        waits = self.model.wait_for_bank(payment, step.until_ms, look_at_ms)
        waiting = self.store.wait_for_bank(
            payment, step, None if look_in_ms is None else look_at_ms
        )
        assert waiting == (step if waits else None)
        if waits:
            self.redis_agrees_with_the_model()
        if waits and then == "comes back":
            self.claim_a_payment_at_the_bank(payment, "its own")
        if waits and then == "pays again":
            self.repeat_a_payment_under_way(payment)

    @rule_for_a_payment(reason=st.sampled_from(["not_completed", "not_confirmed"]))
    def begin_cancel(self, payment: PaymentAttempt, reason: str) -> None:
        step = self.step(HOLD_MS, RefusedAs(reason, "It is over."))
        canceled_as = self.model.begin_cancel(payment, step.until_ms, step.canceled_as)
        canceling = self.store.begin_cancel(payment, step)
        assert (canceling and canceling.canceled_as) == canceled_as
        if canceling:
            assert self.store.wait_for_bank(payment, self.step(HOLD_MS)) is None

    @rule_for_a_payment()
    def renew_lease(self, payment: PaymentAttempt) -> None:
        assert self.store.renew_lease(payment) == self.model.renew(payment)

    @rule(hold_id=hold_ids, within_ms=st.sampled_from([0, 100]))
    def shorten_lease(self, hold_id: str, within_ms: int) -> None:
        self.model.shorten(hold_id, LEASE_MS // 2, within_ms)
        self.store.shorten_lease(self.event.id, hold_id, LEASE_MS // 2, within_ms)

    @rule_for_a_payment()
    def decline(self, payment: PaymentAttempt) -> None:
        attempts_left = self.model.undo(payment, refused=True)
        declined = PaymentDeclined("generic_decline", "Your card was declined.")
        assert self.store.undo_payment(payment, declined) == attempts_left
        if attempts_left is not None:
            declined.attempts_left = attempts_left
            self.declines[payment.key_digest] = declined

    @rule_for_a_payment()
    def undo(self, payment: PaymentAttempt) -> None:
        assert self.store.undo_payment(payment, None) == self.model.undo(payment, refused=False)

    @rule_for_a_payment()
    def book(self, payment: PaymentAttempt) -> None:
        """Also by a process whose payment was taken over while it inserted the booking."""
        if not self.model.is_under_way(payment):
            return  # Its end is known; nobody would book it.
        booking = Booking(
            id=booking_id_of(payment.hold_id),
            hold_id=payment.hold_id,
            event_id=self.event.id,
            seats=payment.seats,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            payment_id=None,
            booked_at=OPENS_AT,
            email=BUYER.email,
            name=BUYER.name,
            key_digest=payment.key_digest,
            fingerprint=payment.fingerprint,
        )
        self.model.confirm(payment.hold_id, self.model.holds[payment.hold_id].positions)
        self.store.confirm_booking(self.event, booking)
        self.store.confirm_booking(self.event, booking)
        replayed = self.store.begin_payment(
            self.event, payment.hold_id, BUYER, payment.key_digest, payment.fingerprint
        )
        assert replayed.receipt == booking.receipt()

    @rule_for_a_payment()
    def repeat_a_declined_payment(self, payment: PaymentAttempt) -> None:
        declined = self.declines.get(payment.key_digest)
        if declined is None:
            return
        with pytest.raises(EarlierRefusal) as repeated:
            self.store.begin_payment(
                self.event, payment.hold_id, BUYER, payment.key_digest, payment.fingerprint
            )
        assert repeated.value.refusal.reason == declined.reason
        assert repeated.value.refusal.attempts_left == declined.attempts_left

    # No invariant: looking sweeps expired holds, and the other steps must do without that.
    @rule()
    def redis_agrees_with_the_model(self) -> None:
        seat_map = self.store.read_seats(self.event.id)
        assert seat_map.seats == "".join(self.model.hall)
        assert audited(self.store).replay_journal(self.event.id, seat_map.revision) == seat_map
        held = self.client.hgetall(f"clients:{{{self.event.id}}}")
        assert {client: int(count) for client, count in held.items()} == self.model.held_by()
        assert set(self.client.hkeys(f"holds:{{{self.event.id}}}")) == set(self.model.holds)
        leases = self.client.zrange(f"payments:{{{self.event.id}}}", 0, -1, withscores=True)
        paying = {i: hold for i, hold in self.model.holds.items() if hold.paying}
        assert dict(leases) == {i: hold.lapses_at_ms for i, hold in paying.items()}
        for hold_id, hold in paying.items():
            step = self.store.read_payment(self.event.id, hold_id, hold.key)
            waits = hold.bank and not hold.bank.claimed and hold.bank.until_ms > self.model.now_ms
            assert (step and step.until_ms) == (hold.bank.until_ms if waits else None)
            assert self.store.read_hold(self.event, hold_id).bank_step == step

    def teardown(self) -> None:
        self.redis_agrees_with_the_model()


class Bank(_Payments):
    """Few holds, which are paid for at once, so that much happens to each payment."""

    @initialize()
    def open(self) -> None:
        super().open()
        self.model.advance(START_MS - self.model.now_ms)
        set_clock(self.client, self.event.id, self.model.now_ms)
        self.hold_and_pay()

    @precondition(lambda self: len(self.model.holds) < 2)
    @rule(target=_Payments.hold_ids)
    def hold_and_pay(self) -> str:
        hold_id, position = self.new_hold_id(), self.model.hall.index("0")
        assert self.model.hold(hold_id, "eve", [position]) is None
        self.store.hold_seats(self.event, hold_id, "eve", [position])
        self.begin_payment(hold_id)
        return hold_id


class Sale(_Payments):
    """A whole sale."""

    hold_ids = _Payments.hold_ids

    @rule(unsure_ms=st.sampled_from([1, HOLD_MS, 3 * HOLD_MS]))
    def redis_loses_everything(self, unsure_ms: int) -> None:
        sold = [
            s for s, state in zip(self.event.seats, self.model.hall, strict=True) if state == "s"
        ]
        lose_event(self.client, self.event.id)
        self.store.build_event(self.event)
        self.store.open_event(self.event, sold)
        self.store._catalogue.current_event(self.event.id)
        set_clock(self.client, self.event.id, self.model.now_ms)
        self.model.lose(set(self.made), unsure_ms)
        unsure_until = {"unsure_until_ms": self.model.unsure_until_ms}
        self.client.hset(f"event:{{{self.event.id}}}", mapping=unsure_until)
        self.declines.clear()

    @rule(
        target=hold_ids,
        client=st.sampled_from(sorted(NETWORK_OF)),
        positions=st.lists(st.integers(0, 37), min_size=1, max_size=4, unique=True),
    )
    def hold_seats(self, client: str, positions: list[int]):
        hold_id = self.new_hold_id()
        asked = (self.event, hold_id, client, positions, NETWORK_OF[client])
        refusal = self.model.hold(hold_id, client, positions)
        if refusal:
            with pytest.raises(refusal) as refused:
                self.store.hold_seats(*asked)
            assert refused.type is refusal
            return multiple()
        hold = self.store.hold_seats(*asked)
        assert self.store.hold_seats(*asked) == hold
        assert hold.seats == self.event.seats_at(positions)
        assert hold.amount_minor == self.event.amount_minor(positions)
        assert hold.expires_in_ms == HOLD_MS
        return hold_id

    @rule(
        target=hold_ids,
        client=st.sampled_from(sorted(NETWORK_OF)),
        section_id=st.sampled_from(["stalls", "floor", "free"]),
        quantity=st.integers(1, 6),
    )
    def hold_best(self, client: str, section_id: str, quantity: int):
        hold_id = self.new_hold_id()
        section = self.event.section_of[section_id]
        asked = (self.event, hold_id, client, section, quantity, NETWORK_OF[client])
        best = self.model.best(section_id, quantity)
        if self.model.now_ms < START_MS:
            refusal = SaleNotOpen
        else:
            refusal = self.model.hold(hold_id, client, best) if best else SoldOut
        if refusal:
            with pytest.raises(refusal) as refused:
                self.store.hold_best(*asked)
            assert refused.type is refusal
            return multiple()
        hold = self.store.hold_best(*asked)
        assert hold.seats == self.event.seats_at(best)
        return hold_id

    @rule(hold_id=hold_ids)
    def release(self, hold_id: str) -> None:
        hold = self.model.holds.get(hold_id)
        if hold and hold.paying:
            with pytest.raises(PaymentInProgress):
                self.store.release_hold(self.event.id, hold_id)
        elif hold is None and self.model.is_unsure(hold_id):
            with pytest.raises(NotKnownNow):
                self.store.release_hold(self.event.id, hold_id)
        else:
            # Whether an expired hold that nobody has swept yet counts as there is left open.
            released = self.store.release_hold(self.event.id, hold_id)
            assert released or hold is None
            if hold:
                self.model.free(hold_id)


LONG_SEARCHES = {"FIRST_WINDOW = 256": "FIRST_WINDOW = 3", "LONG_SEARCH = 2048": "LONG_SEARCH = 1"}
"""Of hold_best: as in a hall so large that it is read in parts and searches are remembered."""


@pytest.mark.parametrize(
    ("sales", "replaced"),
    [(Sale, {}), (Sale, LONG_SEARCHES), (Bank, {})],
    ids=["small hall", "long searches", "few holds"],
)
def test_random_sales_end_as_the_rules_say(any_redis, redis_kind, redis_client, sales, replaced):
    sales.client = redis_client
    scripts = scripts_on_test_clock()
    for former, other in replaced.items():
        source = scripts["hold_best"].source
        assert former in source
        scripts["hold_best"] = replace(scripts["hold_best"], source=source.replace(former, other))
    sales.store = seats_on(servers_at(any_redis.url), LEASE_MS / 1000, scripts)
    run_state_machine_as_test(
        sales,
        settings=settings(
            # The rules are the same; what can differ on other kinds differs in every sale.
            max_examples=100 if redis_kind == "server" else 30,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,  # the same sales in every run: a red run is somebody's change
            suppress_health_check=list(HealthCheck),
        ),
    )
