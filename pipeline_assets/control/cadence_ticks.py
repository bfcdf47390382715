"""When a cadence is due: presets and cron expressions, and their ticks in a time zone. Pure.

Expressions are those of Debian's cron, five fields, read by cronsim. So is what happens when clocks
change (Source: Debian's cron(8), "daylight saving time"):

- A job at fixed minutes and hours runs once for each time on the clock: right after the change when
  the clock jumps over its time, and only the first time when the clock shows its time twice.
- A job whose minute or hour begins with `*` follows the clock: it runs whenever the clock shows a
  time of its own. So `0 * * * *` runs in each real hour, also in the one that comes twice.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from pipeline_assets.errors import InvalidConfigError

SHORTEST_GAP_MINUTES = 5
"""The shortest time between two ticks: a run alone takes seconds to start, a sync minutes."""

_MAX_LENGTH = 100  # an expression is for people to read
_ANY_TIME = datetime(2000, 1, 1)  # noqa: DTZ001 - a time on the clock, of no zone
_DAY = timedelta(days=1)
_YEAR = timedelta(days=366)
_SECOND = timedelta(seconds=1)


class Preset(StrEnum):
    """Cadences with a name; which minute of the hour follows from brand and job."""

    HOURLY = "hourly"
    EVERY_6_HOURS = "every_6_hours"
    DAILY = "daily"
    """In the morning, with what the sync of every six hours has brought: people find it when they
    come."""
    TWICE_WEEKLY = "twice_weekly"
    """Early on Monday and Thursday."""
    WEEKLY = "weekly"
    """On Monday after noon, with what the morning has brought and judged."""


# Hours apart, so that what is made of another's data comes after it whatever their minutes are.
_PRESET_CRONS = {
    Preset.HOURLY: "{minute} * * * *",
    # None between midnight and 4, when clocks change.
    Preset.EVERY_6_HOURS: "{minute} 5,11,17,23 * * *",
    Preset.TWICE_WEEKLY: "{minute} 6 * * 1,4",
    Preset.DAILY: "{minute} 7 * * *",
    Preset.WEEKLY: "{minute} 13 * * 1",
}

_ALLOWED = (
    f"Give {', '.join(Preset)}, or five cron fields (minute hour day month weekday) such as "
    f"`30 6 * * mon-fri`, at most every {SHORTEST_GAP_MINUTES} minutes."
)


def preset_cron(preset: Preset, brand_id: str, job: str) -> str:
    """The preset's cron expression for this brand and job.

    Its minute is a stable hash of the two: a thousand brands spread over the hour.
    """
    digest = hashlib.sha256(f"{brand_id}:{job}".encode()).digest()
    return _PRESET_CRONS[preset].format(minute=int.from_bytes(digest[:8]) % 60)


def preset_of(cron: str, brand_id: str, job: str) -> Preset | None:
    """The preset that this expression is for this brand and job, if it is one."""
    return next((each for each in Preset if preset_cron(each, brand_id, job) == cron), None)


def cron_of(cadence: str, brand_id: str, job: str) -> str:
    """The cron expression that a person means by a preset's name or an expression.

    Raises:
        InvalidConfigError: it is neither, or as of `check_cron`.
    """
    name = cadence.strip().lower()
    return preset_cron(Preset(name), brand_id, job) if name in set(Preset) else check_cron(cadence)


@lru_cache(maxsize=4096)
def check_cron(cron: str) -> str:
    """The expression with single spaces, when it can be a cadence.

    Raises:
        InvalidConfigError: it cannot be read, has seconds, never comes, or comes too often.
    """
    fields = cron.split()
    shown = repr(cron[:_MAX_LENGTH])
    if len(fields) != 5 or len(cron) > _MAX_LENGTH:  # six would be read as with seconds
        raise InvalidConfigError(f"{shown} is no cadence.", advice=_ALLOWED)
    try:
        expression = CronSim(cron, _ANY_TIME)
    except CronSimError as error:
        problem = str(error).removeprefix("Bad ")
        raise InvalidConfigError(
            f"The cadence {shown} cannot be used: its {problem} is wrong.", advice=_ALLOWED
        ) from None
    gap = _shortest_gap_minutes(expression)
    if gap < SHORTEST_GAP_MINUTES:
        raise InvalidConfigError(f"The cadence {shown} has ticks {gap} min apart.", advice=_ALLOWED)
    if next(expression, None) is None:
        raise InvalidConfigError(f"The cadence {shown} never comes.", advice=_ALLOWED)
    return " ".join(fields)


def describe(cron: str, timezone: str) -> str:
    """In words, such as `At 05:17 every day (Europe/Paris)`; as it is when it cannot be read."""
    try:
        words = CronSim(cron, _ANY_TIME).explain()
    except CronSimError:
        words = cron
    return f"{words} ({timezone})"


def next_tick(cron: str, timezone: str, after: datetime) -> datetime:
    """The first tick later than the instant, in UTC.

    Raises:
        InvalidConfigError: the expression is as of `check_cron`, or there is no such time zone.
    """
    cron, zone = check_cron(cron), read_zone(timezone)
    since = after.astimezone(UTC).replace(microsecond=0)
    if _follows_the_clock(cron):
        return _next_on_the_clock(cron, zone, since)
    # Within the hour that comes twice, cronsim starts from the first of the two.
    ticks = (tick.astimezone(UTC) for tick in CronSim(cron, since.astimezone(zone)))
    return next(tick for tick in ticks if tick > since)


def clock_warning(cron: str, timezone: str, after: datetime) -> str:
    """What the changes of the clock in the year to come do to the cadence; empty for nothing.

    A cadence of every hour has no warning: it runs in each real hour, whatever the clock shows.

    Raises:
        InvalidConfigError: as of `next_tick`.
    """
    cron, zone = check_cron(cron), read_zone(timezone)
    if cron.split()[1] == "*":
        return ""
    changes = _changes(zone, after.astimezone(UTC), after.astimezone(UTC) + _YEAR)
    return " ".join(filter(None, (_told(cron, timezone, change) for change in changes)))


@dataclass(frozen=True)
class _Change:
    """A change of a zone's clock: what it would have shown at that instant, and what it shows."""

    would: datetime
    shows: datetime


def _changes(zone: ZoneInfo, since: datetime, until: datetime) -> Iterator[_Change]:
    while (at := _first_change(zone, since, until)) is not None:
        yield _Change(at.replace(tzinfo=None) + _offset(at - _SECOND, zone), _wall(at, zone))
        since = at


def _told(cron: str, timezone: str, change: _Change) -> str:
    first, end = sorted((change.would, change.shows))
    ticks = takewhile(lambda tick: tick < end, CronSim(cron, first - _SECOND))
    told = [f"{tick:%H:%M}" for tick in islice(ticks, _MAX_TIMES_TOLD + 1)]
    if not told:
        return ""
    times = ", ".join(told[:_MAX_TIMES_TOLD]) + (" …" if len(told) > _MAX_TIMES_TOLD else "")
    when = f"On {change.would:%Y-%m-%d} the clock in {timezone}"
    both = f"from {change.would:%H:%M} to {change.shows:%H:%M}"
    is_on_the_clock = _follows_the_clock(cron)
    if change.shows > change.would:
        then = "is left out" if is_on_the_clock else f"comes at {change.shows:%H:%M} instead"
        return f"{when} jumps {both}: the run of {times} {then}."
    then = "both times" if is_on_the_clock else "only the first time"
    return f"{when} goes back {both}: {times} is shown twice, it runs {then}."


_MAX_TIMES_TOLD = 3


def _follows_the_clock(cron: str) -> bool:
    minute, hour, *_ = cron.split()
    return minute.startswith("*") or hour.startswith("*")


def _next_on_the_clock(cron: str, zone: ZoneInfo, since: datetime) -> datetime:
    """The first instant after `since` at which the zone's clock shows a time of the expression.

    cronsim reads the clock's times without any zone here, from one change of the clock to the next.
    Left to itself with a zone, it misses ticks where clocks change by half an hour (Lord Howe
    Island) and gives a time that the clock skips where they change at midnight (Havana, Santiago).
    """
    wall = _wall(since, zone)
    while True:
        wall_tick = next(CronSim(cron, wall))
        tick = since + (wall_tick - _wall(since, zone))
        change = _first_change(zone, since, tick)
        if change is None:
            return tick
        since, wall = change, _wall(change, zone) - _SECOND  # a tick may be at the change itself


def _first_change(zone: ZoneInfo, since: datetime, until: datetime) -> datetime | None:
    """The first instant in (since, until] from which on the zone's clock is another one.

    Day by day, because no zone changes its clock twice in a day.
    """
    while since < until:
        end = min(since + _DAY, until)
        if _offset(end, zone) != _offset(since, zone):
            return _bisect_change(zone, since, end)
        since = end
    return None


def _bisect_change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    offset = _offset(before, zone)
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        if _offset(middle, zone) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return _wall(at, zone) - at.replace(tzinfo=None)


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    """What a clock in the zone shows at the instant, without a zone."""
    return at.astimezone(zone).replace(tzinfo=None)


def read_zone(name: str) -> ZoneInfo:
    """The time zone of this IANA name.

    Raises:
        InvalidConfigError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder such as `Europe`
        raise InvalidConfigError(
            f"There is no time zone {name!r}.", advice="Give an IANA name such as Europe/Paris."
        ) from None


def _shortest_gap_minutes(expression: CronSim) -> int:
    """The least time between two ticks on days that follow each other; a whole day for one tick."""
    ticks = sorted(60 * hour + minute for hour in expression.hours for minute in expression.minutes)
    following = [*ticks[1:], ticks[0] + 24 * 60]
    return min(later - tick for tick, later in zip(ticks, following, strict=True))
