"""``make growth``: which costs grow with the hall and which do not, for docs/bench/growth*.

Redis's time is measured by its own clock and depends little on what else the machine does. Figures
of different machines are not comparable, but the shapes of the lines are.
"""

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ops.servers import REPOSITORY, MongoDB, Redis
from tests.bench.growth_costs import (
    HALL_SIZES,
    HELD_SHARES_PERCENT,
    SEATS_A_HOLD,
    SOLD_OUT_HALL,
    Bench,
)
from tests.bench.line_chart import LineChart
from tests.support.machine import machine
from tests.support.parameters import BadParameter, read_parameters

FOLDER = REPOSITORY / "docs/bench"
FIGURES = FOLDER / "growth.json"


class NoParameters(msgspec.Struct):
    pass


def main() -> None:
    try:
        read_parameters(os.environ, NoParameters)
    except BadParameter as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory(prefix="tickets-growth-") as name:
        folder = Path(name)
        with (
            Redis(folder / "redis", folder / "redis.log") as redis_server,
            MongoDB(folder / "mongo", folder / "mongod.log") as mongo_server,
        ):
            report = measure(Bench(redis_server, mongo_server))
    FOLDER.mkdir(exist_ok=True)
    FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    for name, chart in charts(report).items():
        picture(name).write_text(chart.svg())


def picture(name: str) -> Path:
    return FOLDER / f"growth_{name}.svg"


def measure(bench: Bench) -> dict:
    """All measurements, in the form of docs/bench/growth.json."""
    began_s = time.monotonic()

    def log(step: str) -> None:
        print(f"{time.monotonic() - began_s:5.0f} s  {step}", file=sys.stderr, flush=True)

    report = {"machine": machine(), "redis": bench.redis.info("server")["redis_version"]}
    log("seats")
    report["seats"] = {size: bench.calls_against_seats(size) for size in HALL_SIZES}
    log("share held")
    report["percent_held"] = {
        percent: bench.calls_against_share(percent) for percent in HELD_SHARES_PERCENT
    }
    log("seats a hold")
    report["seats_a_hold"] = {
        quantity: bench.calls_against_quantity(quantity) for quantity in SEATS_A_HOLD
    }
    log("live holds")
    report["live_holds"] = bench.calls_against_holds()
    log("open events")
    report["open_events"] = bench.work_against_events()
    log("a sold-out hall")
    report["sold_out_hall"] = {"seats": SOLD_OUT_HALL, **bench.sold_out_hall()}
    log("done")
    return msgspec.to_builtins(report, str_keys=True)


def charts(report: dict) -> dict[str, LineChart]:
    """The pictures by name."""
    redis_time = "microseconds of Redis's own time a call"
    return {
        "seats": _chart(
            report["seats"],
            "A call against the size of the hall",
            "seats",
            redis_time,
            (
                "hold 1 seat",
                "best 4, empty",
                "best 4, nearly full",
                "best 4, nearly full, after a release",
                "begin a payment",
                "look at a hold",
                "map, changed",
                "map, unchanged",
            ),
        ),
        "held": _chart(
            report["percent_held"],
            "A call against how much of 10,000 seats is held",
            "percent of the seats held",
            redis_time,
            even_x=True,
        ),
        "live_holds": _chart(
            report["live_holds"],
            "A call against the holds that are alive, in a hall of 50,000",
            "live holds of two seats",
            redis_time,
        ),
        "seats_a_hold": _chart(
            report["seats_a_hold"],
            "A call against the seats of its hold",
            "seats in one hold",
            redis_time,
            (
                "hold, apart",
                "best",
                "begin a payment",
                "confirm a booking",
                "release a hold",
                "look at a hold",
            ),
        ),
        "events": _chart(
            report["open_events"],
            "Work against the events on sale",
            "events on sale, 300 seats each",
            "microseconds of Redis's own time and of Python's, together",
            with_python=True,
        ),
    }


def _chart(
    part: Mapping[str, Mapping[str, Mapping[str, float]]],
    title: str,
    x_title: str,
    y_title: str,
    names: Sequence[str] = (),
    even_x: bool = False,
    with_python: bool = False,
) -> LineChart:
    """A line of Redis's time, and of Python's, for each of ``names``, by default for all."""
    lines = {
        name: [
            (float(x), costs[name]["redis_us"] + with_python * costs[name]["python_us"])
            for x, costs in part.items()
        ]
        for name in names or next(iter(part.values()))
    }
    return LineChart(title, x_title, y_title, lines, even_x)


if __name__ == "__main__":
    main()
