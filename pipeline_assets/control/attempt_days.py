"""How each day of the last weeks went for a brand: what a strip of days is drawn from."""

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from pipeline_assets.storage.tables import dataset_attempts


class AttemptDay(NamedTuple):
    """The attempts of one dataset that began on a day and have ended, other than by a cancel."""

    date: date
    succeeded: int
    failed: int

    @property
    def outcome(self) -> str:
        """`succeeded`, `failed`, `both`, or `nothing` for a day without attempts."""
        if self.succeeded and self.failed:
            return "both"
        if self.succeeded:
            return "succeeded"
        return "failed" if self.failed else "nothing"


def read_attempt_days(
    engine: sa.Engine, brand_id: str, *, zone: ZoneInfo, now: datetime, count: int = 30
) -> dict[str, list[AttemptDay]]:
    """The last days in the zone, today last, for each dataset that has an attempt in them."""
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=back) for back in reversed(range(count))]
    begins = [datetime.combine(day, time(), zone).astimezone(UTC) for day in days]
    columns = dataset_attempts.c
    number = sa.case(
        *((columns.began_at < end, number) for number, end in enumerate(begins[1:])),
        else_=count - 1,
    )
    attempts = (  # the database groups by a column: an expression with its parameters differs
        sa.select(columns.dataset, columns.outcome, number.label("number"))
        .where(columns.brand_id == brand_id, columns.began_at >= begins[0])
        .where(columns.outcome.in_(("succeeded", "failed")))
        .subquery()
    )
    query = sa.select(*attempts.c, sa.func.count()).group_by(*attempts.c)
    counts: dict[str, dict[tuple[int, str], int]] = defaultdict(dict)
    with engine.connect() as connection:
        for dataset, outcome, at, times in connection.execute(query):
            counts[dataset][at, outcome] = times
    return {
        dataset: [
            AttemptDay(day, of.get((at, "succeeded"), 0), of.get((at, "failed"), 0))
            for at, day in enumerate(days)
        ]
        for dataset, of in counts.items()
    }
