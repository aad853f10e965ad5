"""The records of the simulated buyers: a line for each answer, hold and end of a payment. Each
process of the load generator writes a file; afterwards all of them are read."""

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
    """``said`` is the status and the problem's code. ``counted`` is whether the request counted
    against the client's limit, which nginx's own answers do not. ``may_retry`` is whether there was
    a Retry-After."""

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
    """A buyer saw that seats are booked. ``receipt`` is the body of a 201; None for a page."""

    hold_id: str
    receipt: dict | None


class NotPaid(msgspec.Struct, frozen=True, array_like=True, tag="not paid"):
    """The last answer about paying for a hold: ``nothing charged``, or ``unknown`` when there was
    no final answer in time."""

    hold_id: str
    heard: Literal["nothing charged", "unknown"]


class Asked(msgspec.Struct, array_like=True, tag="asked"):
    """A bank asked a buyer about a payment. ``payment`` is the digest that names the payment in its
    address and at the gateway; the buyer knows that there is time until ``until_s``.

    ``answer`` is what the buyer sent to the bank; "give up" when the payment was canceled in the
    shop, "" when there was neither. ``heard_s`` is when the bank had heard it, and ``receipt_s``
    when the buyer saw the receipt. All times are Unix time."""

    hold_id: str
    payment: str
    until_s: float
    answer: Literal["", "accept", "refuse", "give up"] = ""
    heard_s: float | None = None
    receipt_s: float | None = None


class OtherBytes(msgspec.Struct, frozen=True, array_like=True, tag="other bytes"):
    """One idempotency key got two different answers."""

    hold_id: str


class Strain(msgspec.Struct, frozen=True, array_like=True, tag="strain"):
    """The load of a process of the load generator in one second. ``busy`` is its share of a core,
    ``late_ms`` the worst delay of a wake-up, which is part of all times that it measured."""

    busy: float
    late_ms: float


Line = Answer | Held | Paid | NotPaid | Asked | OtherBytes | Strain


class Diary:
    """The file of this process. Lines are written when the buffer is full or on ``flush``."""

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
