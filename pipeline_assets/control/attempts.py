"""The tries at single datasets, the newest first, as people and programs look for them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from pipeline_assets.storage.tables import dataset_attempts, dataset_status

Position = tuple[datetime, str, str, str]
"""Where an attempt stands: when it began, its run, brand and dataset."""

RUNNING = "running"
"""What the outcome of an attempt that has not ended is called when one asks for it."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at one dataset for one brand inside a run. `outcome` None: it has not ended.

    `began_at` is when it started, or else when it was planned.
    """

    brand_id: str
    dataset: str
    run_id: str
    job: str | None
    request_id: str | None
    organization_id: str | None
    window_since: date | None
    window_until: date | None
    began_at: datetime
    ended_at: datetime | None
    outcome: str | None
    records: int | None
    distinct_ads: int | None
    error_class: str | None
    error_message: str | None
    advice: str | None
    retry_after_seconds: float | None

    @property
    def position(self) -> Position:
        """What `read_attempts` reads on from."""
        return self.began_at, self.run_id, self.brand_id, self.dataset


_COLUMNS = [dataset_attempts.c[name] for name in Attempt.__dataclass_fields__]


def read_attempts(
    engine: sa.Engine,
    *,
    organization_ids: Collection[str] | None = None,
    brand_ids: Collection[str] | None = None,
    datasets: Collection[str] | None = None,
    outcomes: Collection[str] | None = None,
    error_classes: Collection[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    before: Position | None = None,
) -> list[Attempt]:
    """Attempts, the newest first, at most `limit`; one query.

    `outcomes` may hold `RUNNING`; `since` and `until` (exclusive) are about when they began.
    """
    columns = dataset_attempts.c
    order = (columns.began_at, columns.run_id, columns.brand_id, columns.dataset)
    query = (
        sa.select(*_COLUMNS)
        .where(columns.began_at.is_not(None))
        .order_by(*(column.desc() for column in order))
    )
    for column, wanted in (
        (columns.organization_id, organization_ids),
        (columns.brand_id, brand_ids),
        (columns.dataset, datasets),
        (sa.func.coalesce(columns.outcome, RUNNING), outcomes),
        (columns.error_class, error_classes),
    ):
        if wanted is not None:
            query = query.where(column.in_(wanted))
    if since is not None:
        query = query.where(columns.began_at >= since)
    if until is not None:
        query = query.where(columns.began_at < until)
    if before is not None:
        query = query.where(sa.tuple_(*order) < before)
    with engine.connect() as connection:
        return [Attempt(**row) for row in connection.execute(query.limit(limit)).mappings()]


def recent_record_counts(
    engine: sa.Engine, brand_id: str, dataset: str, *, limit: int
) -> list[int]:
    """How many rows the last successes of a brand's dataset stored, chosen windows apart.

    The newest first, at most `limit`.
    """
    columns = dataset_attempts.c
    query = (
        sa.select(columns.records)
        .where(
            columns.brand_id == brand_id,
            columns.dataset == dataset,
            columns.outcome == "succeeded",
            columns.records.is_not(None),
            columns.window_since.is_(None),
        )
        .order_by(columns.began_at.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def datasets_with_success(engine: sa.Engine, brand_id: str) -> set[str]:
    """The brand's datasets that have ever been synced well, as far as the log was projected."""
    columns = dataset_status.c
    query = sa.select(columns.dataset).where(
        columns.brand_id == brand_id, columns.last_success_at.is_not(None)
    )
    with engine.connect() as connection:
        return set(connection.execute(query).scalars())
