"""The doors of an event: the tickets that come, and the gates that scan them at the same time."""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Literal, NamedTuple

import requests

from tests.support.http_client import Client
from web.domain.sales import Booking
from web.signing.ticket_codes import TicketCodes
from web.use_cases.audit import Check

DOOR_TOKEN = "a-token-of-the-gates"
GATES = ("north", "south")
AT_A_TIME = 8

FORGERIES = 5
"""Tickets of each kind that are not valid, and tickets that come once more after everybody is
inside."""

PARTY_EVERY = 3
"""Of so many bookings one shows the code for all of its seats at the second gate."""

REPEATED_EVERY = 3
"""Of so many scans one is sent once more with its key, as if its answer had been lost."""

PATIENCE_S = 60.0
"""How long a gate repeats a scan until it is answered."""
RETRY_S = 0.5
TIMEOUT_S = 20.0

Kind = Literal["ticket", "forged", "of another event", "refunded", "once more"]
"""``once more``: of somebody who is inside."""


@dataclass(frozen=True)
class Scan:
    """``seats``: those that the code may let in, or would if it were valid."""

    kind: Kind
    code: str
    gate: str
    seats: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} for {', '.join(self.seats)} at {self.gate}"


class Reply(NamedTuple):
    """``said`` is the status and the problem's code; empty ``body`` when there was no answer."""

    status: int
    said: str
    body: dict[str, Any]
    may_retry: bool = False

    @property
    def is_final(self) -> bool:
        return 0 < self.status < 500 and self.status != 429


@dataclass(frozen=True)
class Scanned:
    """``failures`` came before the final ``reply``: the gate repeats the scan with its key until
    there is one. ``repeated`` is the answer to the same key afterwards, where it was asked."""

    scan: Scan
    reply: Reply
    ms: float
    failures: tuple[Reply, ...] = ()
    repeated: Reply | None = None

    @property
    def let_in(self) -> Sequence[str]:
        """The seats."""
        seats: Sequence[str] = self.reply.body["seats"] if self.reply.status == 201 else ()
        return seats


@dataclass(frozen=True)
class Door:
    """What happened at the doors of an event whose ``sold`` seats are to be let in. ``admissions``
    are the seats and gates in MongoDB's documents, ``counted`` is the application's own count,
    ``took_s`` the time of the rush. ``killed`` are parts that were killed in it; ``checks`` are the
    audit's afterwards."""

    sold: Sequence[str]
    scanned: Sequence[Scanned]
    admissions: Sequence[tuple[str, str]]
    counted: int
    took_s: float = 0.0
    killed: Sequence[str] = ()
    checks: Sequence[Check] = ()


def scans_of(
    codes: TicketCodes, booked: Sequence[Booking], refunded: Sequence[tuple[Booking, str]]
) -> list[Scan]:
    """Each ticket at two gates at the same moment, among tickets that are not valid. ``booked`` are
    bookings with seats that are sold, ``refunded`` single seats with their bookings."""
    north, south = GATES
    good = []
    for number, booking in enumerate(booked):
        left = booking.seats_left
        single = [Scan("ticket", codes.code_of(booking, seat), north, (seat,)) for seat in left]
        good += single
        if booking.refunded_seats or number % PARTY_EVERY == 0:
            # As it was printed: also with the seats that were refunded since.
            everybody = codes.code_of(booking, *booking.seats)
            good.append(Scan("ticket", everybody, south, left))
        else:
            good += [replace(scan, gate=south) for scan in single]
    good.sort(key=lambda scan: scan.seats)
    bad = [
        Scan("refunded", codes.code_of(booking, seat), north, (seat,)) for booking, seat in refunded
    ]
    another_shop = TicketCodes("the secret key of another shop")
    for booking in booked[:FORGERIES]:
        seats = booking.seats_left
        elsewhere = replace(booking, event_id=f"{booking.event_id}-matinee")
        bad += [
            Scan("forged", forged(codes.code_of(booking, seats[0])), north, seats),
            Scan("forged", another_shop.code_of(booking), south, seats),
            Scan("of another event", codes.code_of(elsewhere), south, seats),
        ]
    chance = random.Random(len(good))
    for scan in bad:
        good.insert(chance.randint(0, len(good)), scan)
    return good


def forged(code: str) -> str:
    """A valid code, with the last seat's number replaced by another."""
    signed, _, signature = code.rpartition(".")
    row, _, number = signed.rpartition("-")
    return f"{row}-{int(number) % 10 + 1}.{signature}"


class Gates:
    """Both gates of an event, each with a client of its own."""

    def __init__(self, url: str, event_id: str, token: str = DOOR_TOKEN):
        self._clients = {gate: Client(url, event_id) for gate in GATES}
        self._bearer = {"Authorization": f"Bearer {token}"}
        self._numbers = count()

    def scan_all(
        self, scans: Sequence[Scan], meanwhile: Callable[[float], object] = lambda share: None
    ) -> list[Scanned]:
        """In this order, several at a time. ``meanwhile`` is called again and again with the share
        of scans that have been answered."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            scanning = [pool.submit(self._scan, scan) for scan in scans]
            while (done := sum(future.done() for future in scanning)) < len(scanning):
                meanwhile(done / len(scanning))
                time.sleep(0.02)
            return [future.result() for future in scanning]

    def counted(self) -> int:
        """How many were let in, as the application counts them."""
        answer = self._clients[GATES[0]].call("GET", "admissions", headers=self._bearer)
        return int(answer.json()["admitted"])

    def _scan(self, scan: Scan) -> Scanned:
        number = next(self._numbers)
        ask = partial(self._ask, scan, f"scan {number}")
        began_s = time.monotonic()
        failures = []
        while not (reply := ask()).is_final and time.monotonic() - began_s < PATIENCE_S:
            failures.append(reply)
            time.sleep(RETRY_S)
        ms = (time.monotonic() - began_s) * 1000
        repeated = ask() if number % REPEATED_EVERY == 0 else None
        while repeated and not repeated.is_final and time.monotonic() - began_s < PATIENCE_S:
            time.sleep(RETRY_S)
            repeated = ask()
        return Scanned(scan, reply, ms, tuple(failures), repeated)

    def _ask(self, scan: Scan, key: str) -> Reply:
        try:
            answer = self._clients[scan.gate].call(
                "POST",
                "admissions",
                json={"code": scan.code, "gate": scan.gate},
                headers=self._bearer | {"Idempotency-Key": key},
                timeout=TIMEOUT_S,
            )
        except requests.RequestException:
            return Reply(0, "no answer", {})
        may_retry = "Retry-After" in answer.headers
        if "json" not in answer.headers.get("Content-Type", ""):
            return Reply(answer.status_code, str(answer.status_code), {}, may_retry)
        body = answer.json()
        said = f"{answer.status_code} {body.get('code', '')}".strip()
        return Reply(answer.status_code, said, body, may_retry)


def play_doors(
    gates: Gates,
    codes: TicketCodes,
    booked: Sequence[Booking],
    refunded: Sequence[tuple[Booking, str]],
    meanwhile: Callable[[float], object] = lambda share: None,
) -> tuple[list[Scanned], float]:
    """The rush, and its seconds; then some come once more who are inside."""
    scans = scans_of(codes, booked, refunded)
    began_s = time.monotonic()
    scanned = gates.scan_all(scans, meanwhile)
    took_s = time.monotonic() - began_s
    good = [scan for scan in scans if scan.kind == "ticket"]
    return scanned + gates.scan_all(
        [replace(scan, kind="once more") for scan in good[:FORGERIES]]
    ), took_s
