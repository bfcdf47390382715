"""The days of a brand's attempts, in the zone of who looks."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from pipeline_assets.control.attempt_days import AttemptDay, read_attempt_days
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_attempts

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PARIS = ZoneInfo("Europe/Paris")
PERFORMANCE = "meta_ads_performance"


def store(
    engine: sa.Engine, began_at: datetime, outcome: str | None, *, brand_id: str = "acme"
) -> None:
    row = {"brand_id": brand_id, "dataset": PERFORMANCE, "run_id": f"{began_at}{outcome}"}
    with write_transaction(engine) as connection:
        connection.execute(
            dataset_attempts.insert().values(row | {"began_at": began_at, "outcome": outcome})
        )


def read(engine: sa.Engine, zone: ZoneInfo = PARIS, count: int = 3) -> list[AttemptDay]:
    found = read_attempt_days(engine, "acme", zone=zone, now=NOW, count=count)
    return found[PERFORMANCE]


def test_a_day_begins_at_midnight_in_the_zone(engine: sa.Engine) -> None:
    midnight = datetime(2026, 3, 9, 23, tzinfo=UTC)  # the 10th begins in Paris
    store(engine, midnight - SECOND, "failed")
    store(engine, midnight, "succeeded")
    assert read(engine) == [
        (date(2026, 3, 8), 0, 0),
        (date(2026, 3, 9), 0, 1),
        (date(2026, 3, 10), 1, 0),
    ]
    assert read(engine, ZoneInfo("UTC"))[1] == (date(2026, 3, 9), 1, 1)


def test_days_before_the_first_other_brands_and_what_has_no_result_do_not_count(
    engine: sa.Engine,
) -> None:
    first = datetime(2026, 3, 7, 23, tzinfo=UTC)
    store(engine, first - SECOND, "succeeded")
    store(engine, first, "succeeded")
    store(engine, NOW, None)
    store(engine, NOW, "cancelled")
    store(engine, NOW, "failed", brand_id="globex")
    assert [day[1:] for day in read(engine)] == [(1, 0), (0, 0), (0, 0)]


def test_a_brand_without_attempts_has_no_days(engine: sa.Engine) -> None:
    assert read_attempt_days(engine, "acme", zone=PARIS, now=NOW) == {}


def test_a_day_is_told_in_one_word() -> None:
    outcomes = [AttemptDay(NOW.date(), *counts).outcome for counts in ((2, 1), (2, 0), (0, 1))]
    assert outcomes == ["both", "succeeded", "failed"]
    assert AttemptDay(NOW.date(), 0, 0).outcome == "nothing"


def test_the_day_on_which_clocks_change_is_as_long_as_it_is(engine: sa.Engine) -> None:
    now = datetime(2026, 3, 30, 12, tzinfo=UTC)
    store(engine, datetime(2026, 3, 28, 23, tzinfo=UTC), "succeeded")  # the 29th, its first hour
    store(engine, datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC), "succeeded")  # and its last
    days = read_attempt_days(engine, "acme", zone=PARIS, now=now, count=2)[PERFORMANCE]
    assert [day.succeeded for day in days] == [2, 0]
