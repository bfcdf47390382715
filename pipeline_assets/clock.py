"""The one place that reads the wall clock. Pure code takes `now`; the edges call `utcnow()`."""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import available_timezones

_FIRST_YEAR, _LAST_YEAR = 1970, 2199  # beyond, zones and databases cannot follow


def utcnow() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)


def as_usable(instant: datetime) -> datetime:
    """An instant that somebody gave, in UTC.

    Raises:
        ValueError: it lies so far away that it cannot be shown in every time zone.
    """
    if not _FIRST_YEAR < instant.year <= _LAST_YEAR:
        raise ValueError(f"give a time after {_FIRST_YEAR} and not after {_LAST_YEAR}")
    return instant.astimezone(UTC)


@cache  # walks a folder tree
def timezone_names() -> frozenset[str]:
    """Every IANA time zone, without what is none of a place: `localtime` depends on the machine."""
    return frozenset(available_timezones() - {"localtime", "Factory"})
