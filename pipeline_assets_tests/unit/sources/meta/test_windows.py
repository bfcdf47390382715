from datetime import UTC, date, datetime

import pytest

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.sources.meta import DateWindow, account_today, performance_window
from pipeline_assets.sources.meta.windows import earliest_day, is_provisional

NOW = datetime(2026, 11, 21, 4, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", 21),
        ("America/New_York", 20),
        ("Asia/Tokyo", 21),
        ("Pacific/Kiritimati", 21),
        ("Pacific/Honolulu", 20),
    ],
)
def test_today_is_the_accounts_day(zone: str, day: int) -> None:
    assert account_today(NOW, zone) == date(2026, 11, day)


def test_a_zone_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidConfigError, match="Mars/Base"):
        account_today(NOW, "Mars/Base")


def test_the_default_window_reaches_back_to_the_first_final_day() -> None:
    window = performance_window(NOW, "UTC")
    assert window == DateWindow(date(2026, 10, 24), date(2026, 11, 21), clamped=False)
    assert window.day_count == 29
    assert not is_provisional(window.since, window.until)
    assert is_provisional(date(2026, 10, 25), window.until)


def test_a_start_before_what_meta_keeps_is_moved_and_said() -> None:
    window = performance_window(NOW, "UTC", since=date(2020, 1, 1))
    assert window == DateWindow(date(2023, 10, 22), date(2026, 11, 21), clamped=True)
    just = performance_window(NOW, "UTC", since=date(2023, 10, 22))
    assert not just.clamped


def test_thirty_seven_months_before_a_long_months_end_is_a_short_months_end() -> None:
    assert earliest_day(date(2026, 3, 31)) == date(2023, 3, 1)


def test_a_window_never_reaches_into_the_accounts_future() -> None:
    window = performance_window(NOW, "America/New_York", until=date(2026, 11, 25))
    assert window.until == date(2026, 11, 20)
