"""The parameters of ``make burst NAME=value``, and the description of the sale that the load
generator's processes read."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ops.servers import REPOSITORY
from tests.support.parameters import BadParameter, MongoDBKind, RedisKind, read_parameters
from web.adapters.event_files import BadEventFile, read_event_file
from web.domain.validation import did_you_mean

EVENTS_DIR = REPOSITORY / "events"

DROP_FILE = "BURST_DROP"
"""The environment variable with the path of the Drop's file."""

BOTS_OF_A_SWEEPER = 20
"""The number of bots that keep the limit for each sweeper, which does not."""

SPAWNED_PER_S = 200
"""New buyers a second before the opening; each sends two requests at once."""

BOOT_S = 4.0
"""For locust's processes to connect to each other."""
MARGIN_S = 2.0
"""Between the last buyer's arrival and the opening."""

PATIENCE_S = 60.0
"""How long a buyer retries until a payment has a final answer."""
LAST_WORD_S = 2.5 * PATIENCE_S
"""After the end of the sale: for buyers who hesitate, pay, and retry."""

CONFIRMATION_S = 6
"""How long buyers have to confirm a payment at the bank, by default six minutes: what is never
confirmed is sold again within the burst."""

BUYER_BROKE = 3
"""Locust's exit code when the code of a simulated buyer failed."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults are for a machine with two cores that also runs TicketS, and take a minute."""

    event: Annotated[str, Meta(description="a file of events/, without its .toml")] = (
        "rosewood-theatre"
    )
    # Each has an address of its own in 198.18.0.0/16.
    crowd: Annotated[int, Meta(ge=1, le=60_000, description="people who want seats")] = 1000
    bots: Annotated[
        int, Meta(ge=0, le=10_000, description="scalpers' addresses that keep the limit")
    ] = 60
    seconds: Annotated[int, Meta(ge=5, le=3600, description="from the opening to the end")] = 30
    seed: Annotated[int, Meta(ge=0, description="of everybody's choices, and of chaos")] = 1
    chaos: Annotated[
        int, Meta(ge=0, le=1, description="1: kill and restart each part during the sale")
    ] = 0
    stripe_rate: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="calls a second to each endpoint that the gateway takes and the shop "
            "makes; 0: any number",
        ),
    ] = 25
    redis: RedisKind = "server"
    mongodb: MongoDBKind = "1"
    keep: Annotated[int, Meta(ge=0, le=1, description="1: update the picture in docs/burst/")] = 0

    @property
    def sweepers(self) -> int:
        """Addresses that send ten times as many requests as they may."""
        return -(-self.bots // BOTS_OF_A_SWEEPER)

    @property
    def processes(self) -> int:
        """Processes of the load generator: one for each core, shared with the parts of TicketS."""
        return min(os.cpu_count() or 1, 4)

    @property
    def lead_s(self) -> float:
        """From the start of the load generator to the opening."""
        return BOOT_S + (self.crowd + self.bots + self.sweepers) / SPAWNED_PER_S + MARGIN_S


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """The sale, as the processes of the buyers need it. Times are in Unix time."""

    plan: Plan
    event_id: str
    opens_at_s: float
    closes_at_s: float
    diary_dir: str


def read_plan(environ: Mapping[str, str]) -> Plan:
    """The plan of a burst. Raises BadParameter, also for an unknown event or a bad event file."""
    plan = read_parameters(environ, Plan)
    events = sorted(path.stem for path in EVENTS_DIR.glob("*.toml"))
    if plan.event not in events:
        raise BadParameter(
            f"EVENT={plan.event}: there is no such file in events/"
            f"{did_you_mean(plan.event, events, most=1) or '.'} There are: {', '.join(events)}"
        )
    try:
        read_event_file(EVENTS_DIR / f"{plan.event}.toml")
    except BadEventFile as error:
        raise BadParameter(f"EVENT={plan.event}: {error}") from None
    return plan


def write_drop(drop: Drop, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(drop))


def read_drop(environ: Mapping[str, str]) -> Drop:
    return msgspec.json.decode(Path(environ[DROP_FILE]).read_bytes(), type=Drop)
