"""The seat store on a Redis Cluster and behind Sentinels: what fails there takes down its own
events only, and these come back without help."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from ops.processes import free_port
from ops.redis_cluster import RedisCluster
from ops.redis_sentinels import SERVICE, RedisSentinels, Sentinel
from ops.servers import EVERYBODY, HOST, Redis
from tests.support.factories import a_booking, put_on_sale, small_hall, two_halves, unique
from tests.support.meanwhile import meanwhile
from tests.support.redis_stores import audited, commands_of, seats_at
from tests.support.waiting import eventually
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.events import Event
from web.domain.refusals import EventNotFound, SeatTaken, Unavailable

pytestmark = pytest.mark.stores

TIMEOUT_S = 30
SEATS = 5000
"""Of each half of an event in which no seat is held twice."""


def hold(seats: RedisSeatStore, event: Event, seat: int = 0) -> str:
    """Returns the hold's id."""
    return seats.hold_seats(event, unique("hld"), unique("client"), [seat]).id


def hold_and_release(seats: RedisSeatStore, event: Event) -> None:
    seats.release_hold(event.id, hold(seats, event))


def await_replicas(seats: RedisSeatStore, *event_id: str, replicas: int = 1) -> None:
    """Until so many have all that was written, by whichever connection."""
    pipeline = commands_of(seats, *event_id).pipeline(transaction=False)
    pipeline.ping()  # WAIT waits for what was written before its connection's last command.
    pipeline.execute_command("WAIT", replicas, 1000 * TIMEOUT_S)
    assert pipeline.execute()[-1] >= replicas, "too few replicas have caught up"


def succeeds(act: Callable[..., object], *arguments: object) -> bool:
    with contextlib.suppress(Unavailable):
        act(*arguments)
        return True
    return False


def port_of(seats: RedisSeatStore, event: Event) -> int:
    return commands_of(seats, event.id).connection_pool.connection_kwargs["port"]


# ---------------------------------------------------------------- Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[RedisCluster]:
    folder: Path = tmp_path_factory.mktemp("cluster")
    with RedisCluster(folder / "state", folder, node_timeout_ms=1000) as running:
        yield running


@pytest.fixture
def whole(cluster) -> Iterator[RedisCluster]:
    """With all members again afterwards."""
    yield cluster
    cluster.start()


@pytest.fixture
def seats(cluster) -> RedisSeatStore:
    return seats_at(cluster.url)


def events_on(cluster: RedisCluster, seats: RedisSeatStore) -> dict[Redis, Event]:
    """One on sale on each master."""
    events: dict[Redis, Event] = {}
    while len(events) < len(cluster.masters()):
        event = small_hall()
        if events.setdefault(cluster.master_of(f"seats:{{{event.id}}}"), event) is event:
            put_on_sale(seats, event)
    return events


def test_events_of_all_shards_are_sold_listed_and_kept_up(cluster, seats):
    events = events_on(cluster, seats)
    ids = [event.id for event in events.values()]
    for event in events.values():
        hold_id = hold(seats, event)
        with pytest.raises(SeatTaken):
            hold(seats, event)
        assert seats.read_hold(event, hold_id)
        assert seats.newest_changes(event, 1)[0].hold_id == hold_id
        assert seats.remember_form(event.id, "form", hold_id) == hold_id
        seats.forget_form(event.id, "form", hold_id)
        assert seats.hold_of_form(event.id, "form") is None
    assert set(ids) <= set(seats._catalogue.event_ids())
    assert [event.id for event in seats._catalogue.current_events(ids).values()] == ids
    upkeep = seats.maintenance_due(ids, {})
    assert [upkeep[event.id].version for event in events.values()] == [
        event.version for event in events.values()
    ]
    histories = seats.histories(ids)
    assert len(set(histories.values())) == len(histories) == len(ids)
    assert {server.address for server in seats._catalogue.servers() if not server.failure} == {
        f"127.0.0.1:{master.port}" for master in cluster.masters()
    }


@pytest.mark.parametrize("event_id", ["}", "}x", "a}b", "{}", "{a}b", ""])
def test_an_id_that_splits_the_keys_of_an_event_is_not_found(cluster, seats, event_id):
    """It is a part of the path of a request, so anybody can send it."""
    seats._catalogue.add([])
    for call in (
        lambda: seats._catalogue.current_event(event_id),
        lambda: seats.read_seats(event_id),
        lambda: seats.release_hold(event_id, "hld_1"),
    ):
        with pytest.raises(EventNotFound):
            call()
    assert seats.hold_of_form(event_id, "form") is None


@pytest.mark.parametrize("type_", ["hostname", "unknown-endpoint"])
def test_nodes_without_a_name_are_found(cluster, type_):
    setting = "cluster-preferred-endpoint-type"
    nodes = [member.client() for member in cluster.members]
    try:
        for node in nodes:
            node.config_set(setting, type_)
        seats = seats_at(cluster.url)
        events_on(cluster, seats)
        # As if all slots had been moved.
        servers = seats._client._servers
        servers._owners = [*servers._owners[8000:], *servers._owners[:8000]]
        for event_id in seats._catalogue.event_ids():
            seats.read_seats(event_id)
    finally:
        for node in nodes:
            node.config_set(setting, "ip")


def test_a_node_that_was_taken_out_does_not_hide_the_others(cluster, tmp_path):
    options = {"--cluster-enabled": "yes", "--cluster-port": str(free_port())}
    alone = Redis(tmp_path / "alone", tmp_path / "alone.log", options=options)
    with alone:
        for _ in range(10):  # nodes are asked in no particular order
            seats = seats_at(f"{cluster.url},{HOST}:{alone.port}")
            assert not seats._client._servers.of("event").address.endswith(f":{alone.port}")
        with pytest.raises(Unavailable) as refused:
            seats_at(f"redis+cluster://{HOST}:{alone.port}")._catalogue.event_ids()
    assert refused.value.answer == f"{HOST}:{alone.port} belongs to no Redis Cluster"


def test_nodes_that_are_gone_are_forgotten(cluster, seats):
    servers = seats._client._servers
    servers._shard_at((HOST, 1))
    seats._catalogue.add([])  # which looks for the nodes
    assert (HOST, 1) not in servers._shards


def test_the_url_of_one_node_says_what_it_must_be_instead(cluster, seats):
    event = next(iter(events_on(cluster, seats).values()))
    other = next(m for m in cluster.masters() if m is not cluster.master_of(f"{{{event.id}}}"))
    with pytest.raises(Unavailable) as refused:
        seats_at(other.url).read_seats(event.id)
    assert "begins with redis+cluster://" in refused.value.answer


def test_receipts_of_all_shards_are_audited(cluster, seats):
    bookings = []
    for event in events_on(cluster, seats).values():
        bookings.append(a_booking(event.id, event.seats[0]))
        seats.confirm_booking(event, bookings[-1])
    found = audited(seats).receipts([booking.event_id for booking in bookings])
    assert {receipt.booking_id for receipt in found} == {booking.id for booking in bookings}


def test_receipts_in_a_slot_that_no_node_has_are_missed(whole, seats):
    """As when the operator has made the cluster forget a node."""
    gone, there = list(events_on(whole, seats).values())[:2]
    for event in (gone, there):
        seats.confirm_booking(event, a_booking(event.id, event.seats[0]))
    slot, owner = key_slot(gone.id.encode()), whole.master_of(f"{{{gone.id}}}")
    others = [member for member in whole.members if member is not owner]
    commands = commands_of(seats, gone.id)
    commands.delete(*commands.keys(f"receipt:{{{gone.id}}}*"))
    for member in (owner, *others):
        with member.client() as node:
            node.execute_command("CLUSTER DELSLOTS", slot)
    try:
        receipts = audited(seats_at(whole.url)).receipts([gone.id, there.id])
        assert next(receipts).event == there.id
        with pytest.raises(Unavailable):
            next(receipts)
    finally:
        with owner.client() as node:
            node.execute_command("CLUSTER ADDSLOTS", slot)


@pytest.mark.parametrize("hurt", ["kill", "hang"])
def test_a_shard_that_is_away_takes_down_its_own_events_only_until_a_replica_takes_over(
    whole, seats, hurt
):
    events = events_on(whole, seats)
    away, *_ = events
    others = [event for master, event in events.items() if master is not away]
    for event in events.values():
        hold_and_release(seats, event)
    # One that is still catching up after the last failover would take over without the event.
    await_replicas(seats, events[away].id)
    getattr(away, hurt)()
    ids = [event.id for event in events.values()]
    upkeep = seats.maintenance_due(ids, {})
    unavailable = [e for e in ids if isinstance(upkeep[e], Unavailable)]
    # Of one that hangs, the replica may take over while the worker waits for it.
    assert unavailable in ([[events[away].id]] if hurt == "kill" else [[], [events[away].id]])
    for event in others:
        hold_and_release(seats, event)
    found = seats._catalogue.current_events(ids)
    assert [e for e in ids if isinstance(found[e], Unavailable)] in ([], [events[away].id])
    eventually(
        lambda: succeeds(hold_and_release, seats, events[away]),
        "a hold after the failover",
        TIMEOUT_S,
    )


def test_a_shard_that_hangs_is_named_soon(whole, seats):
    """Within the second that a balancer waits for /readyz."""
    hangs = whole.master_of(CATALOGUE_KEY)
    assert all(not server.failure for server in seats._catalogue.servers())
    hangs.hang()
    began_s = time.monotonic()
    servers, is_listed = seats._catalogue.servers(), None
    with contextlib.suppress(Unavailable):
        is_listed = seats._catalogue.exists()
    took_s = time.monotonic() - began_s
    away = [server.address for server in servers if server.failure]
    assert (away, is_listed) == ([f"{HOST}:{hangs.port}"], None)
    assert took_s < 1


def test_without_the_shard_that_has_the_list_the_events_of_the_others_are_sold(whole, seats):
    events = events_on(whole, seats)
    lists = whole.master_of(CATALOGUE_KEY)
    known = set(seats._catalogue.event_ids())
    lists.kill()
    for master, event in events.items():
        if master is not lists:
            assert seats._catalogue.current_event(event.id).id == event.id
            hold_and_release(seats, event)
    assert set(seats._catalogue.last_event_ids()) == known
    cold = seats_at(whole.url)._catalogue
    with pytest.raises(Unavailable):
        cold.last_event_ids()
    up = {f"127.0.0.1:{master.port}" for master in events if master is not lists}
    assert {server.address for server in cold.servers() if not server.failure} == up
    sold_here = [event.id for master, event in events.items() if master is not lists]
    for event_id in sold_here:
        cold.current_event(event_id)
    assert cold.last_event_ids() == sorted(sold_here)
    # That an event is unknown cannot be said now.
    with pytest.raises(Unavailable):
        seats._catalogue.current_event(unique("unknown"))
    whole.new_master_of(CATALOGUE_KEY, lists)


def test_a_planned_failover_refuses_nobody(whole, seats):
    (master, event), *_ = events_on(whole, seats).items()
    outcomes: list[bool] = []
    with meanwhile(
        lambda: outcomes.append(succeeds(hold_and_release, seats, event)), every_s=0.001
    ):
        successor = whole.failover(master)
        done = len(outcomes)
        eventually(lambda: len(outcomes) > done + 20, "holds after the failover")
    assert all(outcomes)
    assert port_of(seats, event) == successor.port


def test_a_slot_that_moves_in_mid_sale_refuses_nobody(whole, seats):
    events = events_on(whole, seats)
    (_, event), (taking, _), *_ = events.items()
    outcomes: list[bool] = []
    with meanwhile(
        lambda: outcomes.append(succeeds(hold_and_release, seats, event)), every_s=0.001
    ):
        whole.move_slot(key_slot(event.id.encode()), taking)
        done = len(outcomes)
        eventually(lambda: len(outcomes) > done + 20, "holds after the move")
    assert all(outcomes)
    assert port_of(seats, event) == taking.port


def test_while_a_slot_takes_long_to_move_its_events_are_unavailable(whole, seats):
    events = events_on(whole, seats)
    (_, event), (taking, _), *_ = events.items()
    outcomes: list[bool] = []
    with meanwhile(lambda: outcomes.append(succeeds(seats.sweep_holds, event.id)), every_s=0.001):
        whole.move_slot(key_slot(event.id.encode()), taking, pause_s=0.5)
        eventually(lambda: outcomes[-1:] == [True], "a call after the move")
    assert False in outcomes


# ---------------------------------------------------------------- Sentinel


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory) -> Iterator[RedisSentinels]:
    folder: Path = tmp_path_factory.mktemp("sentinels")
    with RedisSentinels(
        folder / "state", folder, down_after_ms=1000, failover_timeout_ms=1000
    ) as running:
        yield running


@pytest.fixture
def watched(sentinels) -> Iterator[RedisSentinels]:
    """With all members running again afterwards. There are replicas enough for two failovers: that
    a former master is a replica again takes the Sentinels ten seconds."""
    yield sentinels
    sentinels.revive()


def test_without_any_sentinel_the_known_master_goes_on(watched):
    seats, event = seats_at(watched.url), small_hall()
    put_on_sale(seats, event)
    for sentinel in watched.sentinels:
        sentinel.kill()
    hold_and_release(seats, event)
    with pytest.raises(Unavailable):
        seats_at(watched.url)._catalogue.event_ids()


def test_a_service_that_the_sentinels_do_not_watch_is_named(sentinels):
    with pytest.raises(Unavailable) as refused:
        seats_at(sentinels.url.replace("/tickets/", "/tikets/"))._catalogue.event_ids()
    assert refused.value.answer == "the Sentinels know no service 'tikets'"


def test_a_sentinel_that_is_taken_for_a_server_says_what_it_does_not_know(sentinels):
    url = f"redis://{HOST}:{sentinels.sentinels[0].port}/0"
    with pytest.raises(Unavailable) as refused:
        seats_at(url)._catalogue.event_ids()
    assert refused.value.answer.startswith("unknown command")


def test_a_sentinel_that_names_a_dead_master_for_ever_is_not_believed(sentinels, tmp_path):
    """One that is cut off from the others, for example."""
    dead, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor {SERVICE} {HOST} {dead} 2\n")
    alone = Sentinel(
        tmp_path / "state",
        tmp_path / "sentinel.log",
        None,
        name="sentinel",
        access=EVERYBODY,
        config_path=config,
        keep_open=(),
    )
    with alone:
        hosts = sentinels.url.partition("://")[2]
        seats = seats_at(f"redis+sentinel://{HOST}:{alone.port},{hosts}")
        seats._catalogue.add([])
        assert port_of(seats, small_hall()) == sentinels.master.port


def test_a_planned_failover_loses_no_hold_of_more_than_a_moment_later(watched):
    """The former master takes writes until it hears of it, seconds later. They would be lost."""
    seats, event = seats_at(watched.url), small_hall()
    put_on_sale(seats, event)
    former = watched.master
    hold_and_release(seats, event)
    await_replicas(seats, replicas=len(watched.replicas))  # Any may be chosen.
    watched.failover()
    eventually(lambda: port_of(seats, event) != former.port, "the new master", within_s=2)
    held = hold(seats, event)
    assert seats_at(watched.url).read_hold(event, held)


@pytest.mark.parametrize("hurt", ["kill", "hang"])
def test_the_sentinels_lead_to_the_replica_that_takes_over(watched, hurt):
    seats, event = seats_at(watched.url), small_hall()
    put_on_sale(seats, event)
    hold_and_release(seats, event)
    # One of the replicas may still be about to follow the master of now.
    await_replicas(seats)
    watched.sentinels[0].hang()
    getattr(watched.master, hurt)()
    eventually(
        lambda: succeeds(hold_and_release, seats, event), "a hold after the failover", TIMEOUT_S
    )


def test_a_planned_failover_with_a_pause_of_writes_loses_no_hold(tmp_path):
    event = two_halves("paused", SEATS)
    free_seats, held = iter(range(SEATS)), []

    def hold_one() -> None:
        # A call waits for two seconds at most; on a busy machine a failover takes longer.
        with contextlib.suppress(Unavailable):
            held.append(hold(seats, event, next(free_seats)))

    with RedisSentinels(tmp_path / "state", tmp_path) as servers:
        seats = seats_at(servers.url)
        put_on_sale(seats, event)
        with meanwhile(hold_one, every_s=0.005):
            eventually(lambda: held, "a hold before the failover")
            successor = servers.failover(paused=True)
            done = len(held)
            eventually(lambda: len(held) > done + 20, "holds after the failover")
        assert port_of(seats, event) == successor.port
        assert all(seats.read_hold(event, hold_id) for hold_id in held)
