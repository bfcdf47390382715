"""Days as an ad account counts them: today, the window to fetch, what may still change.

Source: Meta Marketing API v26.0, "Insights API": figures are final after 28 days, and reach back
37 months.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline_assets.errors import InvalidConfigError

FINAL_AFTER_DAYS = 28
_KEPT_MONTHS = 37


@dataclass(frozen=True)
class DateWindow:
    """Days of the account, both ends included. `clamped`: it was asked to begin earlier."""

    since: date
    until: date
    clamped: bool = False

    @property
    def day_count(self) -> int:
        """How many days it has."""
        return (self.until - self.since).days + 1


def account_today(now: datetime, timezone_name: str) -> date:
    """The day it is in the account's zone at the instant `now`.

    Raises:
        InvalidConfigError: there is no such zone.
    """
    try:
        return now.astimezone(ZoneInfo(timezone_name)).date()
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidConfigError(f"There is no time zone {timezone_name!r}.") from None


def performance_window(
    now: datetime,
    timezone_name: str,
    *,
    look_back_days: int = FINAL_AFTER_DAYS,
    since: date | None = None,
    until: date | None = None,
) -> DateWindow:
    """The days to fetch: those given, else today and the `look_back_days` before it.

    28 days before today is the first day that is final: so each day is fetched once more after
    Meta has stopped changing it. A start before what Meta keeps is moved up to it.
    """
    today = account_today(now, timezone_name)
    last = min(until or today, today)
    first = since or last - timedelta(days=look_back_days)
    earliest = earliest_day(today)
    if first < earliest:
        return DateWindow(earliest, max(last, earliest), clamped=True)
    return DateWindow(first, last)


def earliest_day(today: date) -> date:
    """The first day that Meta still answers for; one inside its limit of 37 months.

    A day of margin, as Meta's clock can be on the next day before the account's is.
    """
    months = today.year * 12 + today.month - 1 - _KEPT_MONTHS
    year, month = divmod(months, 12)
    day = min(today.day, monthrange(year, month + 1)[1])
    return date(year, month + 1, day) + timedelta(days=1)


def is_provisional(day: date, today: date) -> bool:
    """Whether Meta may still change the day's figures."""
    return (today - day).days < FINAL_AFTER_DAYS
