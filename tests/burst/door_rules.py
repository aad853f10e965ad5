"""What must not happen at the doors of a burst."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.burst.doors import Door, Kind
from tests.burst.surprises import is_server_error

INSIDE = "409 already_admitted"

REFUSAL_OF: dict[Kind, str] = {
    "ticket": INSIDE,
    "once more": INSIDE,
    "forged": "422 not_a_ticket",
    "of another event": "422 other_event",
    "refunded": "410 ticket_refunded",
}


def broken_at(door: Door, *, chaos: bool) -> dict[str, list[str]]:
    """All cases of each thing that must not be."""
    return {
        "seats let in twice": list(_let_in_twice(door)),
        "tickets that nobody let in": list(_left_outside(door)),
        "let in without a valid ticket": list(_intruders(door)),
        "wrong reasons at the doors": list(_wrong_reasons(door)),
        "two answers to one scan": list(_two_answers(door)),
        "admissions that are not in MongoDB": list(_unrecorded(door)),
        "server errors at the doors": list(_errors(door, chaos=chaos)),
    }


def let_in(door: Door) -> Counter[str]:
    """How often each seat was let in."""
    return Counter(seat for seat, _ in _admissions(door))


def _admissions(door: Door) -> Iterator[tuple[str, str]]:
    """The seats and gates that gates have heard of."""
    for scanned in door.scanned:
        for seat in scanned.let_in:
            yield seat, scanned.scan.gate


def refused(door: Door, *kinds: Kind) -> int:
    return sum(
        scanned.scan.kind in kinds and scanned.reply.said == REFUSAL_OF[scanned.scan.kind]
        for scanned in door.scanned
    )


def _let_in_twice(door: Door) -> Iterator[str]:
    for seat, times in let_in(door).items():
        if times > 1:
            yield f"{seat} was let in {times} times"


def _left_outside(door: Door) -> Iterator[str]:
    inside = let_in(door)
    for seat in door.sold:
        if seat not in inside:
            yield f"{seat} was let in at no gate"


def _intruders(door: Door) -> Iterator[str]:
    for scanned in door.scanned:
        wrongly = {*scanned.let_in}
        if scanned.scan.kind == "ticket":
            wrongly -= {*scanned.scan.seats}
        if wrongly:
            yield f"{scanned.scan} let in {', '.join(sorted(wrongly))}"


def _wrong_reasons(door: Door) -> Iterator[str]:
    gates = _gates_of(door)
    for scanned in door.scanned:
        scan, reply = scanned.scan, scanned.reply
        if scanned.let_in:
            continue
        if reply.said != REFUSAL_OF[scan.kind]:
            yield f"{scan} heard {reply.said}"
        elif reply.said == INSIDE and not any(
            reply.body["gate"] in gates[seat] for seat in scan.seats
        ):
            yield f"{scan} heard that {reply.body['gate']} let them in, which it did not"


def _gates_of(door: Door) -> defaultdict[str, set[str]]:
    gates: defaultdict[str, set[str]] = defaultdict(set)
    for seat, gate in _admissions(door):
        gates[seat].add(gate)
    return gates


def _two_answers(door: Door) -> Iterator[str]:
    for scanned in door.scanned:
        first, repeated = scanned.reply, scanned.repeated
        if repeated and (first.said, first.body) != (repeated.said, repeated.body):
            yield f"{scanned.scan} heard {first.said}, and for the same key {repeated.said}"


def _unrecorded(door: Door) -> Iterator[str]:
    """Also what is there and no gate has heard of."""
    heard = Counter(_admissions(door))
    stored = Counter(door.admissions)
    for seat, gate in sorted({*heard, *stored}):
        if heard[seat, gate] != stored[seat, gate]:
            yield (
                f"{seat} was let in {heard[seat, gate]} times at {gate}, and MongoDB has "
                f"{stored[seat, gate]}"
            )
    inside = len(let_in(door))
    if door.counted != inside:
        yield f"{inside} seats were let in, and {door.counted} are counted"


def _errors(door: Door, *, chaos: bool) -> Iterator[str]:
    """Of scans that the gates had to repeat. A gate may scan faster than the limit for doors."""
    for scanned in door.scanned:
        for reply in scanned.failures:
            if is_server_error(reply.status, reply.said, reply.may_retry, chaos=chaos):
                yield f"{scanned.scan} heard {reply.said}"
