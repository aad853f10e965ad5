"""What the simulated buyers write down: a line for each answer, hold and end of a payment. Each
process of the load generator has a file; afterwards all of them are read."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

Who = Literal["human", "page", "botnet", "sweeper"]
"""``page`` is a human without JavaScript."""

BOTS: frozenset[Who] = frozenset({"botnet", "sweeper"})

NOTHING = "no answer"


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """``said`` is the status and the problem's code. ``counted`` tells whether the application
    counted the request against its client's limit: what nginx answers by itself is not.
    ``may_retry`` tells whether there was a Retry-After."""

    at_s: float
    ms: float
    who: Who
    call: str
    status: int
    said: str
    counted: bool
    may_retry: bool


class Held(msgspec.Struct, frozen=True, array_like=True, tag="held"):
    who: Who
    hold_id: str


class Paid(msgspec.Struct, frozen=True, array_like=True, tag="paid"):
    """A buyer saw that seats are booked. ``receipt`` is what a 201 said; None when it was a
    page."""

    hold_id: str
    receipt: dict | None


class NotPaid(msgspec.Struct, frozen=True, array_like=True, tag="not paid"):
    """The last that a buyer heard of paying for a hold: ``nothing charged``, or ``unknown`` when
    nobody could say in time."""

    hold_id: str
    heard: Literal["nothing charged", "unknown"]


class OtherBytes(msgspec.Struct, frozen=True, array_like=True, tag="other bytes"):
    """One idempotency key got two different answers."""

    hold_id: str


class Strain(msgspec.Struct, frozen=True, array_like=True, tag="strain"):
    """How hard a process of the load generator worked in one second. ``busy`` is its share of a
    core; ``late_ms`` how much too late it woke up at worst, which is in all times that it took."""

    busy: float
    late_ms: float


Line = Answer | Held | Paid | NotPaid | OtherBytes | Strain


class Diary:
    """Of this process. Lines reach the file when the buffer is full or ``flush`` is called."""

    def __init__(self, folder: Path):
        self._file: BinaryIO = (folder / f"{os.getpid()}.jsonl").open("ab")
        self._encode = msgspec.json.Encoder().encode

    def write(self, line: Line) -> None:
        self._file.write(self._encode(line) + b"\n")

    def flush(self) -> None:
        self._file.flush()


def read_diaries(folder: Path) -> Iterator[Line]:
    decode = msgspec.json.Decoder(Line).decode
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            yield from map(decode, file)
