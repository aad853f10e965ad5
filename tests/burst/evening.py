"""``make evening``: one show from its announcement to the last seat that is let in, on a stack of
its own, and the numbers at the end. The exit code is 1 when something was not as it should be.

Announced, on sale, sold out, three refunds whose seats are sold again, and the doors: every ticket
is scanned at two gates at the same moment, with forged and refunded ones among them.
"""

import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin

import requests

from ops.processes import ProcessFailed, free_port
from ops.stack import Stack
from tests.burst.door_rules import broken_at, let_in, refused
from tests.burst.doors import DOOR_TOKEN, Door, Gates, play_doors
from tests.support.booking_stores import bookings_at
from tests.support.commands import flask
from tests.support.environment import inherited
from tests.support.http_client import Client
from web.domain.sales import Booking
from web.signing.ticket_codes import TicketCodes

EVENT_ID = "evening"
REFUNDS = 3
AT_A_TIME = 8
ASKING_EVERY = 4
"""Of so many buyers one has a card whose bank asks."""

EVENT = """
id = "{id}"
name = "A whole evening"
venue = "Rosewood Theatre"
currency = "GBP"
timezone = "Europe/London"
sale_opens_at = {opens_at:%Y-%m-%dT%H:%M:%SZ}
doors_open_at = {starts_at:%Y-%m-%dT%H:00:00Z}
starts_at = {starts_at:%Y-%m-%dT%H:30:00Z}
max_held_per_client = 1000

[[sections]]
id = "stalls"
name = "Stalls"
price = 4500
rows = [{{ ids = "1-{rows}", seats = "1-10" }}]
"""


@dataclass
class Evening:
    """``numbers`` in the order in which they came about; ``problems`` is empty when everything was
    as it should be."""

    numbers: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def note(self, what: str, number: int, expected: int | None = None) -> None:
        self.numbers[what] = number
        if expected is not None and number != expected:
            self.problems.append(f"{what}: {number}, and should be {expected}")


class Theatre:
    """A stack with one event, in ``path``, of ``rows`` rows of ten seats."""

    def __init__(self, stack: Stack, path: Path, rows: int):
        self.stack, self.seats = stack, 10 * rows
        self._path, self._rows = path, rows
        self.bookings = bookings_at(stack.environment["MONGODB_URI"])
        self.codes = TicketCodes(stack.environment["SECRET_KEY"])

    def open(self, opens_at: datetime) -> None:
        starts_at = datetime.now(UTC) + timedelta(days=30)
        text = EVENT.format(id=EVENT_ID, rows=self._rows, opens_at=opens_at, starts_at=starts_at)
        self._path.write_text(text)
        self.command("events", "open", str(self._path))

    def client(self) -> Client:
        return Client(self.stack["nginx"].url, EVENT_ID)

    def command(self, *arguments: str) -> str:
        ended = flask(self.stack.environment, *arguments)
        if ended.returncode:
            raise RuntimeError(f"{arguments} failed:\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def booked(self) -> list[Booking]:
        return [b for b in self.bookings.list(EVENT_ID) if not b.refunded_at]


@contextmanager
def theatre(folder: Path, rows: int) -> Iterator[Theatre]:
    events = folder / "events"
    events.mkdir(parents=True)
    environ = inherited() | {"EVENTS_DIR": str(events), "DOOR_TOKEN": DOOR_TOKEN}
    stack = Stack(folder / "stack", environ)
    try:
        stack.start(free_port())
        place = Theatre(stack, events / f"{EVENT_ID}.toml", rows)
        yield place
    finally:
        stack.stop()


def play_evening(folder: Path, rows: int = 12) -> Evening:
    """The whole evening; raises RuntimeError when it could not be played to its end."""
    evening = Evening()
    with theatre(folder, rows) as place:
        _announce(place, evening)
        _sell(place, evening)
        refunded = _refund(place, evening)
        _open_doors(place, evening, refunded)
        place.command("audit")  # It fails when something does not agree.
    return evening


def _announce(place: Theatre, evening: Evening) -> None:
    """With an opening in an hour, which the organiser brings forward."""
    now = datetime.now(UTC)
    place.open(now + timedelta(hours=1))
    early = place.client().hold_best("stalls", 1)
    evening.note("refused before the sale", int(early.status_code == 403), 1)
    place.open(now)


def _sell(place: Theatre, evening: Evening) -> None:
    began_s = time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        sold = sum(pool.map(lambda number: _buy(place, number), range(place.seats // 2)))
    evening.note("seats sold", sold, place.seats)
    evening.note("seconds until sold out", round(time.monotonic() - began_s))
    late = _hold(place.client(), 1)
    evening.note("refused when sold out", int(late.status_code == 409), 1)


def _buy(place: Theatre, number: int) -> int:
    """How many seats this buyer has in the end."""
    client = place.client()
    held = _hold(client, 2)
    if held.status_code != 201:
        return 0
    hold = held.json()
    card = "pm_card_visa" if number % ASKING_EVERY else "pm_card_authenticationRequired"
    for _ in range(20):
        answer = client.pay(hold, f"key of {number}", card)
        if answer.status_code == 201:
            return len(answer.json()["seats"])
        if answer.status_code == 202 and "next_action" in answer.json():
            _confirm(answer.json()["next_action"]["url"])
        else:
            time.sleep(float(answer.headers.get("Retry-After", 1)))
    return 0


def _hold(client: Client, seats: int) -> requests.Response:
    """nginx may repeat for the rest of a second that the sale is not open."""
    while (held := client.hold_best("stalls", seats)).status_code == 403:
        time.sleep(1)
    return held


def _confirm(url: str) -> None:
    """Says yes on the bank's page, as a browser would."""
    page = requests.get(url, timeout=30)
    action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
    address = urljoin(url, action[1]) if action else url
    requests.post(address, data={"answer": "accept"}, allow_redirects=False, timeout=30)


def _refund(place: Theatre, evening: Evening) -> list[Booking]:
    refunded = place.booked()[:REFUNDS]
    for booking in refunded:
        place.command("bookings", "refund", booking.id)
    evening.note("bookings refunded", len(refunded), REFUNDS)
    seats = sum(len(booking.seats) for booking in refunded)
    again = sum(_buy(place, place.seats + number) for number in range(seats // 2))
    evening.note("seats sold again", again, seats)
    return refunded


def _open_doors(place: Theatre, evening: Evening, refunded: Sequence[Booking]) -> None:
    gates = Gates(place.stack["nginx"].url, EVENT_ID)
    tickets_of_refunded = [(booking, seat) for booking in refunded for seat in booking.seats]
    scanned, took_s = play_doors(gates, place.codes, place.booked(), tickets_of_refunded)
    booked = place.booked()
    door = Door(
        sold=[seat for booking in booked for seat in booking.seats_left],
        scanned=scanned,
        admissions=[(a.seat, a.gate) for booking in booked for a in booking.admissions],
        counted=gates.counted(),
    )
    evening.note("let in", len(let_in(door)), place.seats)
    evening.note("refused as inside already", refused(door, "ticket", "once more"))
    evening.note("forged tickets refused", refused(door, "forged"))
    evening.note("tickets of another event refused", refused(door, "of another event"))
    evening.note("refunded tickets refused", refused(door, "refunded"), len(tickets_of_refunded))
    evening.note("seconds at the doors", round(took_s))
    evening.note("counted at the doors", door.counted, place.seats)
    for what, cases in broken_at(door, chaos=False).items():
        evening.problems += [f"{what}: {case}" for case in cases]


def main() -> int:
    try:
        with tempfile.TemporaryDirectory(prefix="tickets-evening-") as folder:
            evening = play_evening(Path(folder))
    except (ProcessFailed, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2
    width = max(map(len, evening.numbers))
    for what, number in evening.numbers.items():
        print(f"{what:<{width}}  {number:>6,}")
    for problem in evening.problems:
        print(f"Not as it should be: {problem}", file=sys.stderr)
    return 1 if evening.problems else 0


if __name__ == "__main__":
    sys.exit(main())
