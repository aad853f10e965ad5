"""Run one burst: start the stage and the crowd, perhaps chaos, and collect the evidence."""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.processes import Process, free_port
from ops.servers import HOST, REPOSITORY
from tests.burst.chaos import BlowsAtDoors, strike
from tests.burst.diary import Asked, read_diaries
from tests.burst.doors import Door, Gates, play_doors
from tests.burst.plan import (
    BUYER_BROKE,
    DROP_FILE,
    LAST_WORD_S,
    SPAWNED_PER_S,
    Drop,
    Plan,
    write_drop,
)
from tests.burst.stage import Stage
from tests.burst.verdict import Evidence, Look
from tests.support.environment import inherited
from tests.support.meanwhile import meanwhile
from web.domain.sales import Booking

WATCH_S = 0.2
"""Between two readings of the seats."""

REFUNDS = 2
"""Bookings that are refunded before the doors open."""

STOP_S = 20.0
"""For locust to write its report and end."""


def play(plan: Plan, folder: Path, report_dir: Path) -> Evidence:
    """``folder`` is for temporary files. Locust's report and the logs are copied to ``report_dir``.
    Raises ProcessFailed, RuntimeError."""
    with Stage(folder, plan) as stage:
        try:
            return _play(plan, stage, folder, report_dir)
        finally:
            stage.copy_logs(report_dir / "logs")


def _play(plan: Plan, stage: Stage, folder: Path, report_dir: Path) -> Evidence:
    diary_dir = folder / "diaries"
    diary_dir.mkdir()
    opens_at_s = float(math.ceil(time.time() + plan.lead_s))
    event = stage.open(opens_at_s)
    drop = Drop(
        plan=plan,
        event_id=event.id,
        opens_at_s=opens_at_s,
        closes_at_s=opens_at_s + plan.seconds,
        diary_dir=str(diary_dir),
    )
    inserts_before = stage.inserts()
    say(
        f"{plan.crowd:,} people and {plan.bots + plan.sweepers} bots wait for "
        f"{len(event.seats):,} seats"
    )
    crowd = crowd_of(drop, stage.url, folder, report_dir)
    crowd.start()
    try:
        with watching(stage, event.id) as looks:
            blows = strike(stage, opens_at_s) if plan.chaos else []
            wait_for(crowd, drop, stage.stack.look_after if plan.chaos else lambda: None)
    finally:
        crowd.stop()
    say("The sale is over; comparing what the buyers saw with MongoDB and the gateway")
    lines = list(read_diaries(diary_dir))
    asked = {line.payment for line in lines if isinstance(line, Asked)}
    checks = stage.quiet_audit(asked)
    bookings, payments = stage.bookings(event.id), stage.payments(event.id)
    return Evidence(
        drop=drop,
        hall_size=len(event.seats),
        lines=lines,
        bookings=bookings,
        payments=payments,
        checks=checks,
        looks=looks,
        door=open_doors(stage, event.id, asked),
        blows=blows,
        refused_by_limiter=stage.refused_by_limiter(),
        queue=stage.gateway_queue(),
        inserts=None if plan.chaos else stage.inserts() - inserts_before,
    )


def open_doors(stage: Stage, event_id: str, asked: Container[str]) -> Door:
    """Refund some seats, and scan the tickets of all. ``asked`` as for ``quiet_audit``."""
    refunded = refund_some(stage, event_id)
    sold = [
        seat
        for document in stage.bookings(event_id)
        if document["status"] == "booked"
        for seat in document["seats"]
    ]
    say(f"The doors open for {len(sold):,} seats")
    gates = Gates(stage.url, event_id)
    blows = BlowsAtDoors(stage) if stage.plan.chaos else None
    scanned, took_s = play_doors(
        gates, stage.codes, stage.booked(event_id), refunded, blows or (lambda share: None)
    )
    counted = gates.counted()
    checks = stage.quiet_audit(asked)
    return Door(
        sold=sold,
        scanned=scanned,
        admissions=[
            (admission["seat"], admission["gate"])
            for document in stage.bookings(event_id)
            for admission in document.get("admissions", [])
        ],
        counted=counted,
        took_s=took_s,
        killed=blows.killed if blows else (),
        checks=checks,
    )


def refund_some(stage: Stage, event_id: str) -> list[tuple[Booking, str]]:
    """Whole bookings, and one seat of a party; returns the seats with their bookings of before."""
    booked = stage.booked(event_id)
    parties = [booking for booking in booked if len(booking.seats) > 1][:1]
    whole = [booking for booking in booked if booking not in parties][:REFUNDS]
    for booking in whole:
        stage.refund(booking.id)
    for booking in parties:
        stage.refund(booking.id, "--seat", booking.seats[0])
    return [(booking, seat) for booking in whole for seat in booking.seats] + [
        (booking, booking.seats[0]) for booking in parties
    ]


def crowd_of(drop: Drop, url: str, folder: Path, report_dir: Path) -> Process:
    """The locust process, which ends by itself when all buyers have left."""
    drop_path = folder / "drop.json"
    write_drop(drop, drop_path)
    plan, port = drop.plan, free_port()
    command = [
        *(sys.executable, "-m", "locust", "-f", "tests/burst/locustfile.py"),
        *("--headless", "--only-summary", "--loglevel", "WARNING"),
        *("--host", url, "--html", report_dir / "locust.html"),
        *("--processes", plan.processes),
        *("--users", plan.crowd + plan.bots + plan.sweepers),
        *("--spawn-rate", SPAWNED_PER_S),
        *("--master-bind-host", HOST, "--master-bind-port", port),
        *("--master-host", HOST, "--master-port", port),
    ]
    return Process(
        "locust",
        list(map(str, command)),
        report_dir / "logs/locust.log",
        env=inherited() | {DROP_FILE: str(drop_path)},
        cwd=REPOSITORY,
    )


def wait_for(crowd: Process, drop: Drop, look_after: Callable[[], None]) -> None:
    """``look_after`` is called again and again meanwhile. Raises ProcessFailed when locust fails or
    does not end; RuntimeError when the code of a simulated buyer failed."""
    deadline_s = drop.closes_at_s + LAST_WORD_S + STOP_S
    while crowd.running:
        if time.time() > deadline_s:
            raise crowd.failure("has not come to an end")
        look_after()
        time.sleep(WATCH_S)
    if crowd.exit_code == BUYER_BROKE:
        raise RuntimeError(f"a simulated buyer broke; {crowd.log_path} says how")
    if crowd.exit_code:
        raise crowd.failure(f"failed (exit code {crowd.exit_code})")


@contextmanager
def watching(stage: Stage, event_id: str) -> Iterator[list[Look]]:
    """Read the seats' states repeatedly while the block runs."""
    looks = []

    def watch() -> None:
        states = stage.seat_states(event_id)
        looks.append(Look(time.time(), None if states is None else Counter(states)))

    with meanwhile(watch, WATCH_S):
        yield looks


def say(line: str) -> None:
    print(line, flush=True)
