"""The status of every brand and dataset, as people and programs ask for it."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand, allowed_age
from pipeline_assets.brands.registry import BrandSummary, read_brands, read_summaries
from pipeline_assets.control.requests import (
    ACTIVE_STATES,
    IS_ACTIVE,
    RequestState,
)
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.freshness.evaluate import (
    Limits,
    State,
    evaluate_freshness,
    evaluate_state,
)
from pipeline_assets.storage.tables import cadences, dataset_status, requests, run_heartbeats

Row = dict[str, Any]
Key = tuple[str, str]
"""A brand and a dataset."""


class DatasetState(NamedTuple):
    """One cell of the matrix: the stored status, judged at one instant, and what is being done.

    `request_id` is the active request that refreshes it (the furthest of several), `next_try_at`
    the time that one still has to wait for, `next_sync_at` when the next cadence is due. A tuple,
    because there are thousands: one costs a fifth of a frozen dataclass of that many fields.
    """

    brand_id: str
    organization_id: str
    dataset: str
    state: State
    age_seconds: float | None
    used_ratio: float | None
    stale_since: datetime | None
    is_running: bool
    is_paused: bool
    progress: Row | None
    request_id: str | None
    request_state: RequestState | None
    next_try_at: datetime | None
    next_sync_at: datetime | None
    last_success_at: datetime | None
    last_success_run_id: str | None
    last_attempt_started_at: datetime | None
    last_attempt_ended_at: datetime | None
    last_attempt_outcome: str | None
    last_attempt_run_id: str | None
    records_affected: int | None
    distinct_ads: int | None
    error_class: str | None
    error_message: str | None
    advice: str | None
    retry_after_seconds: float | None

    def as_row(self) -> Row:
        """The cell as plain values, keys as the columns are called."""
        return self._asdict()


_STORED_FIELDS = DatasetState._fields[DatasetState._fields.index("last_success_at") :]
_NOTHING_STORED = (None,) * len(_STORED_FIELDS)


class _Active(NamedTuple):
    """What a cell says of the request that refreshes it."""

    request_id: str
    state: RequestState
    next_try_at: datetime | None


def read_states(
    engine: sa.Engine, *, now: datetime, brand_ids: set[str] | None = None
) -> list[DatasetState]:
    """Every brand's datasets, brand by brand, in the catalogue's order; five queries in all."""
    with engine.connect() as connection:
        chosen = read_brands(connection, brand_ids=brand_ids)
        stored = _read_stored(connection, brand_ids)
        progress = _read_progress(connection, brand_ids)
        active = _read_active(connection, brand_ids, now=now)
        next_syncs = _read_next_syncs(connection, brand_ids, now=now)
    states = []
    for brand in chosen:
        is_paused = brand.is_paused(now)
        configured = _datasets_of(brand.sources.configured)
        for key in DATASETS:
            cell = brand.id, key
            states.append(
                _judge(
                    brand,
                    key,
                    stored.get(cell, _NOTHING_STORED),
                    progress=progress.get(cell),
                    active=active.get(cell),
                    next_sync_at=next_syncs.get(cell)
                    if key in configured and not is_paused
                    else None,
                    is_configured=key in configured,
                    is_paused=is_paused,
                    now=now,
                )
            )
    return states


class Cell(NamedTuple):
    """What a look at everything tells of a brand's dataset; `read_states` tells the rest.

    `activity` is the state of the active request that refreshes it.
    """

    state: State
    last_success_at: datetime | None
    is_last_attempt_failed: bool
    activity: RequestState | None


class BrandOverview(NamedTuple):
    """One brand's cells by dataset, in the catalogue's order."""

    brand: BrandSummary
    is_paused: bool
    cells: Mapping[str, Cell]


def read_overview(
    engine: sa.Engine, *, now: datetime, organization_ids: Collection[str] | None = None
) -> list[BrandOverview]:
    """Every brand's cells, or those of these organizations' brands, by brand id; three queries."""
    columns = dataset_status.c
    query = sa.select(
        columns.brand_id, columns.dataset, columns.last_success_at, columns.error_class
    )
    if organization_ids is not None:
        query = query.where(columns.organization_id.in_(organization_ids))
    with engine.connect() as connection:
        summaries = read_summaries(connection, organization_ids=organization_ids)
        stored: dict[str, dict[str, Any]] = {brand_id: {} for brand_id in summaries}
        for row in connection.execute(query).all():
            if row[0] in stored:
                stored[row[0]][row[1]] = row
        active = _read_active(connection, None, now=now)
    usual = {key: Limits.at(now, fail_after=DATASETS[key].fail_after) for key in DATASETS}
    activity: dict[str, dict[str, RequestState]] = defaultdict(dict)
    for (brand_id, dataset), request in active.items():
        activity[brand_id][dataset] = request.state
    return [
        BrandOverview(
            brand,
            brand.is_paused(now),
            _cells_of(brand, stored[brand.id], activity.get(brand.id, {}), usual, now=now),
        )
        for brand in summaries.values()
    ]


def _cells_of(
    brand: BrandSummary,
    stored: Mapping[str, Any],
    activity: Mapping[str, RequestState],
    usual: Mapping[str, Limits],
    *,
    now: datetime,
) -> dict[str, Cell]:
    own = {
        key: Limits.at(now, fail_after=allowed_age(DATASETS[key], brand.windows))
        for key in brand.windows
    }
    configured = _datasets_of(brand.sources)
    cells = {}
    for key in DATASETS:
        _, _, last_success_at, error_class = stored.get(key, _NO_ROW)
        is_failed = error_class is not None
        state = evaluate_state(
            last_success_at,
            is_failed,
            limits=own.get(key) or usual[key],
            is_configured=key in configured,
        )
        cells[key] = Cell(state, last_success_at, is_failed, activity.get(key))
    return cells


_NO_ROW = (None, None, None, None)


@cache
def _datasets_of(sources: frozenset[str]) -> frozenset[str]:
    """The datasets that a brand with these sources has."""
    return frozenset(key for key in DATASETS if DATASETS[key].source in sources)


def _judge(
    brand: Brand,
    key: str,
    stored: tuple[Any, ...],
    *,
    progress: Row | None,
    active: _Active | None,
    next_sync_at: datetime | None,
    is_configured: bool,
    is_paused: bool,
    now: datetime,
) -> DatasetState:
    freshness = evaluate_freshness(
        last_success_at=stored[_LAST_SUCCESS_AT],
        is_last_attempt_failed=stored[_ERROR_CLASS] is not None,
        fail_after=brand.fail_after(DATASETS[key]),
        is_configured=is_configured,
        now=now,
    )
    return DatasetState(
        brand.id,
        brand.organization_id,
        key,
        freshness.state,
        freshness.age.total_seconds() if freshness.age is not None else None,
        freshness.used_ratio,
        freshness.stale_since,
        stored is not _NOTHING_STORED and stored[_OUTCOME] is None,
        is_paused,
        progress,
        active.request_id if active else None,
        active.state if active else None,
        active.next_try_at if active else None,
        next_sync_at,
        *stored,
    )


_LAST_SUCCESS_AT, _ERROR_CLASS, _OUTCOME = (
    _STORED_FIELDS.index(name)
    for name in ("last_success_at", "error_class", "last_attempt_outcome")
)


def _read_stored(
    connection: sa.Connection, brand_ids: Collection[str] | None
) -> dict[Key, tuple[Any, ...]]:
    columns = dataset_status.c
    query = sa.select(columns.brand_id, columns.dataset, *(columns[f] for f in _STORED_FIELDS))
    rows = connection.execute(_of(query, columns.brand_id, brand_ids)).all()
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def _read_progress(connection: sa.Connection, brand_ids: Collection[str] | None) -> dict[Key, Row]:
    """What running datasets last said of themselves; one that has ended has no stage."""
    columns = run_heartbeats.c
    query = sa.select(run_heartbeats).where(columns.stage.is_not(None)).order_by(columns.beat_at)
    rows = connection.execute(_of(query, columns.brand_id, brand_ids)).mappings()
    told = ("done", "total", "stage", "beat_at")
    return {(row["brand_id"], row["dataset"]): {name: row[name] for name in told} for row in rows}


def _read_active(
    connection: sa.Connection, brand_ids: Collection[str] | None, *, now: datetime
) -> dict[Key, _Active]:
    """The furthest active request for each cell; a resync's pieces say nothing of today's data."""
    columns = requests.c
    query = sa.select(
        columns.id,
        columns.brand_id,
        columns.job,
        columns.datasets,
        columns.state,
        columns.not_before,
    ).where(IS_ACTIVE, columns.resync_id.is_(None))
    rows = connection.execute(_of(query, columns.brand_id, brand_ids)).all()
    found: dict[Key, _Active] = {}
    # The last one stands: the furthest, and of those that wait the one that begins first.
    furthest_last = sorted(
        rows, key=lambda row: (-ACTIVE_STATES.index(row.state), row.not_before), reverse=True
    )
    for row in furthest_last:
        job = JOBS.get(row.job)
        is_waiting = row.state == RequestState.QUEUED and row.not_before > now
        active = _Active(row.id, RequestState(row.state), row.not_before if is_waiting else None)
        for key in row.datasets or (job.datasets if job else ()):
            found[row.brand_id, key] = active
    return found


def _read_next_syncs(
    connection: sa.Connection, brand_ids: Collection[str] | None, *, now: datetime
) -> dict[Key, datetime]:
    """When the first cadence of any job that has the dataset is due, paused ones left out."""
    columns = cadences.c
    is_paused = columns.paused_at.is_not(None) & (
        columns.paused_until.is_(None) | (columns.paused_until > now)
    )
    query = sa.select(columns.brand_id, columns.job, columns.next_run_at).where(~is_paused)
    found: dict[Key, datetime] = {}
    for brand_id, job_name, at in connection.execute(_of(query, columns.brand_id, brand_ids)):
        job = JOBS.get(job_name)
        for key in job.datasets if job else ():
            if (brand_id, key) not in found or at < found[brand_id, key]:
                found[brand_id, key] = at
    return found


def _of(
    query: sa.Select[Any], column: sa.Column[str], brand_ids: Collection[str] | None
) -> sa.Select[Any]:
    return query if brand_ids is None else query.where(column.in_(brand_ids))
