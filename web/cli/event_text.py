"""Events as text for the terminal: what a file declares, what it changes, and how the sale is
going."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from babel import dates

from web.domain.currencies import currency_of
from web.domain.events import Availability, Event, SeatState, Section
from web.http.locales import count, duration, locale_of, money
from web.use_cases.sale_report import SaleReport

FREE_OF_CHARGE = "free of charge"

COLUMN_GAP = "  "


def described(event: Event) -> list[str]:
    """What buyers will see: prices, seats and times, a line each."""
    sizes = [count(_size(event, section)) for section in event.sections]
    widest = max(map(len, sizes))
    sections = [
        (section.name, f"{size.rjust(widest)} × {_price(section.price_minor, event)}")
        for section, size in zip(event.sections, sizes, strict=True)
    ]
    return [
        f"{event.name}, {event.venue}",
        f"begins {_at(event, event.starts_at)}",
        *table(sections),
        f"{seats_of(len(event.seats))}, {opening_time(event)}",
        _limits(event),
    ]


def warnings(event: Event) -> Iterator[str]:
    """What is allowed but rarely intended."""
    currency = currency_of(event.currency)
    unit = 10**currency.digits
    for section in event.sections:
        if 0 < section.price_minor < unit:
            price = section.price_minor
            yield (
                f"{section.name} costs {money(price, event.currency)} a seat; prices are in the "
                f"smallest unit, so that {money(price * unit, event.currency)} is {price * unit}"
            )


def changes(before: Event, after: Event) -> list[str]:
    """What opening the file changed, a line each; none when nothing of the definition did."""
    lines = [
        f"{what} {new}, was {old}"
        for what, old, new in (
            ("name", before.name, after.name),
            ("venue", before.venue, after.venue),
            ("currency", before.currency, after.currency),
            ("time zone", before.timezone, after.timezone),
            ("beginning", _at(before, before.starts_at), _at(after, after.starts_at)),
            ("doors", _at(before, before.doors_open_at), _at(after, after.doors_open_at)),
            ("end", _at(before, before.ends_at), _at(after, after.ends_at)),
            ("status", before.status, after.status),
            ("opening", _at(before, before.sale_opens_at), _at(after, after.sale_opens_at)),
            ("closing", _at(before, before.sale_closes_at), _at(after, after.sale_closes_at)),
            ("time of a hold", _hold_time(before), _hold_time(after)),
            ("seats in a hold, at most", before.max_seats_per_hold, after.max_seats_per_hold),
            (
                "unpaid seats of one connection, at most",
                before.max_held_per_client,
                after.max_held_per_client,
            ),
            ("limit of unpaid seats of one network", _network_limit(before), _network_limit(after)),
        )
        if old != new
    ]
    for section in after.sections:
        former = before.section_of.get(section.id)
        size = _size(after, section)
        if former is None:
            lines.append(
                f"{section.name}: new, {count(size)} × {_price(section.price_minor, after)}"
            )
            continue
        if former.name != section.name:
            lines.append(f"{section.name}: new name, was {former.name}")
        if (former.price_minor, before.currency) != (section.price_minor, after.currency):
            lines.append(
                f"{section.name}: {_price(section.price_minor, after)}, "
                f"was {_price(former.price_minor, before)}"
            )
        if size != (former_size := _size(before, former)):
            lines.append(f"{section.name}: {seats_of(size)}, was {count(former_size)}")
        elif (former.kind, former.rows) != (section.kind, section.rows):
            lines.append(f"{section.name}: {seats_of(size)} as before, in other rows or places")
    lines += [
        f"{former.name}: gone, with {seats_of(_size(before, former))}"
        for former in before.sections
        if former.id not in after.section_of
    ]
    if not lines and before.version != after.version:
        lines.append("sections in another order")
    return lines


def seats_of(number: int) -> str:
    """``1 seat``, ``1,200 seats``."""
    return f"{count(number)} seat{'s' * (number != 1)}"


def bookings_of(number: int) -> str:
    """``1 booking``, ``1,200 bookings``."""
    return f"{count(number)} booking{'s' * (number != 1)}"


def listed(event: Event, states: str, now: datetime, *, is_closed: bool = False) -> tuple[str, ...]:
    """A row of LIST_TITLES; ``states`` has a SeatState character a seat."""
    seats = Availability.of(states)
    return (
        event.id,
        state_of_sale(event, seats, now, is_closed=is_closed),
        count(seats.free),
        count(seats.on_hold),
        count(seats.size - seats.free - seats.on_hold),
        _at(event, event.starts_at),
        _at(event, event.sale_opens_at),
        event.name,
    )


LIST_TITLES = ("id", "state", "available", "held", "sold", "begins", "sale opens", "name")
LIST_NUMBERS = (2, 3, 4)


def reported(report: SaleReport, now: datetime, *, is_closed: bool = False) -> list[str]:
    """The whole of an event and its sale."""
    event, states = report.event, report.seat_map
    rows: list[tuple[str, ...]] = [
        ("section", "price", "seats", "available", "held", "being paid", "sold", "id")
    ]
    for section in event.sections:
        span = event.spans[section.id]
        part = states[span.start : span.start + span.length]
        price = _price(section.price_minor, event)
        rows.append((section.name, price, *_counts(part), section.id))
    rows.append(("all", "", *_counts(states), ""))
    return [
        f"{event.name}, {event.venue}",
        f"begins {_at(event, event.starts_at)}",
        (
            f"{state_of_sale(event, Availability.of(states), now, is_closed=is_closed)}, "
            f"{'opens' if event.sale_opens_at > now else 'opened'} "
            f"{_at(event, event.sale_opens_at)}"
        ),
        "",
        *table(rows, right=(1, 2, 3, 4, 5, 6)),
        "",
        f"bookings {count(report.bookings)}, {money(report.revenue_minor, event.currency)}",
        _limits(event),
    ]


def state_of_sale(
    event: Event, seats: Availability, now: datetime, *, is_closed: bool = False
) -> str:
    return event.sale_state(seats, now, is_closed=is_closed).value


def opening_time(event: Event) -> str:
    """``on sale from Saturday 10 January 2026, 10:00 GMT``, in the venue's time zone."""
    is_open = event.sale_opens_at <= datetime.now(UTC)
    opens = f"on sale from {_at(event, event.sale_opens_at)}{' (open already)' if is_open else ''}"
    if event.sale_closes_at is None:
        return opens
    return f"{opens} to {_at(event, event.sale_closes_at)}"


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Columns as wide as their contents, those in ``right`` aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        COLUMN_GAP.join(
            text.rjust(width) if number in right else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _counts(states: str) -> tuple[str, ...]:
    """Of all seats, and of those in each state."""
    return tuple(count(number) for number in (len(states), *map(states.count, SeatState)))


def _limits(event: Event) -> str:
    return (
        f"at most {seats_of(event.max_seats_per_hold)} in a hold, for {_hold_time(event)}; "
        f"at most {event.max_held_per_client} unpaid for one connection, "
        f"{count(event.network_max)} for one IPv6 network"
    )


def _network_limit(event: Event) -> str:
    """As the file declares it: a default that follows from other fields is not a change."""
    declared = event.max_held_per_network
    return "the default" if declared is None else str(declared)


def _hold_time(event: Event) -> str:
    """To the millisecond, as the file has it."""
    if event.hold_ms % 1000:
        return f"{event.hold_ms / 1000} seconds"
    return duration(event.hold_ms)


def _size(event: Event, section: Section) -> int:
    return event.spans[section.id].length


def _price(minor: int, event: Event) -> str:
    """Always with decimals, so that a missing factor of a hundred is visible."""
    return money(minor, event.currency) if minor else FREE_OF_CHARGE


def _at(event: Event, moment: datetime | None) -> str:
    """In the venue's time zone."""
    return _when(moment.astimezone(event.zone)) if moment else "not set"


def _when(moment: datetime) -> str:
    text = dates.format_datetime(
        moment, "EEEE d MMMM y, HH:mm", tzinfo=moment.tzinfo, locale=locale_of()
    )
    seconds = moment.strftime(":%S") if moment.second else ""
    return f"{text}{seconds} {moment.tzname()}"
