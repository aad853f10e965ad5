"""The times of an event file: local times in the venue's time zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

from web.domain.validation import did_you_mean


class BadTime(Exception):
    """The message says what is wrong with a time zone or a time, and what to write."""


def zone_of(name: str) -> ZoneInfo:
    """An IANA time zone. Raises BadTime."""
    if name not in available_timezones():
        near = did_you_mean(name, available_timezones())
        raise BadTime(
            f'must be an IANA time zone such as "Europe/London", not "{name}"{near}; an offset is '
            "not enough, since clocks change"
        )
    return ZoneInfo(name)


def moment_of(time: datetime, zone: ZoneInfo) -> datetime:
    """A time of the file, which may have an offset, in ``zone``. Raises BadTime for a local time
    that does not exist or exists twice because clocks change."""
    if time.tzinfo:
        return time.astimezone(zone)
    first, second = (time.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    readings = " or ".join(
        f"{there.isoformat()} ({there.tzname()})"
        for there in (moment.astimezone(UTC).astimezone(zone) for moment in (first, second))
    )
    exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == time
    happens = "happens twice" if exists else "does not exist"
    raise BadTime(
        f"{time.isoformat()} {happens} in {zone.key}, because clocks change; write {readings}"
    )
