"""How far a request is at this moment: what it waits for, and what each of its datasets is at."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import read_brands
from pipeline_assets.control.history import in_order
from pipeline_assets.control.launching import place_in_line, shared_limits, why_held
from pipeline_assets.control.requests import (
    IS_ACTIVE,
    Request,
    RequestState,
    as_requests,
    get_request,
)
from pipeline_assets.control.run_tags import ALL_BRANDS
from pipeline_assets.storage.tables import (
    dataset_attempts,
    rate_budgets,
    requests,
    run_heartbeats,
)

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DatasetProgress:
    """The last attempt of a request at one dataset.

    While it runs, `stage`, `done` and `total` are what it said of itself at `beat_at`; when it has
    ended, `outcome`, `records` and the error tell how. Nothing is set before it began.
    """

    brand_id: str
    dataset: str
    outcome: str | None
    stage: str | None
    done: int | None
    total: int | None
    beat_at: datetime | None
    records: int | None
    error_class: str | None
    error_message: str | None
    advice: str | None


@dataclass(frozen=True, kw_only=True)
class RequestProgress:
    """A request and how far it is.

    `waits_for` says what it has to wait for before it runs (empty when it runs or has ended),
    `blocked_until` is when the last limit that its brand shares opens again, and `retry` the
    further try that its failure has brought about.
    """

    request: Request
    waits_for: str
    blocked_until: datetime | None
    datasets: tuple[DatasetProgress, ...]
    retry: Request | None


def read_progress(
    engine: sa.Engine, request_id: str, *, now: datetime, default_app_id: str = "default"
) -> RequestProgress:
    """How far the request is; a handful of queries for what is under way, whatever the history.

    Raises:
        InvalidConfigError: there is no such request.
    """
    request = get_request(engine, request_id)
    with engine.connect() as connection:
        brand = next(iter(read_brands(connection, brand_ids=[request.brand_id])), None)
        attempts = _read_attempts(connection, request)
        beats = _read_beats(connection, request) if request.state.is_active else {}
        waits_for, blocked_until = "", None
        if request.state in {RequestState.QUEUED, RequestState.LAUNCHED}:
            waits_for = _waits_for(
                connection, request, brand, now=now, default_app_id=default_app_id
            )
        elif request.state is RequestState.RUNNING and brand is not None:
            blocked_until = _blocked_until(connection, brand, default_app_id, now=now)
        retry = None if request.state.is_active else _read_retry(connection, request)
    return RequestProgress(
        request=request,
        waits_for=waits_for,
        blocked_until=blocked_until,
        datasets=_datasets(request, attempts, beats),
        retry=retry,
    )


def _read_attempts(connection: sa.Connection, request: Request) -> dict[tuple[str, str], Row]:
    columns = dataset_attempts.c
    query = (
        sa.select(dataset_attempts)
        .where(columns.request_id == request.id)
        .order_by(columns.planned_at, columns.run_id)
    )
    if request.brand_id != ALL_BRANDS:
        query = query.where(columns.brand_id == request.brand_id)
    rows = connection.execute(query).mappings()
    return {(row["brand_id"], row["dataset"]): dict(row) for row in rows}


def _read_beats(connection: sa.Connection, request: Request) -> dict[tuple[str, str], Row]:
    columns = run_heartbeats.c
    query = sa.select(run_heartbeats).where(
        columns.run_id == request.run_id, columns.stage.is_not(None)
    )
    rows = connection.execute(query).mappings()
    return {(row["brand_id"], row["dataset"]): dict(row) for row in rows}


def _waits_for(
    connection: sa.Connection,
    request: Request,
    brand: Brand | None,
    *,
    now: datetime,
    default_app_id: str,
) -> str:
    if request.state is RequestState.LAUNCHED:
        return _waits_in_dagster(connection, request)
    if request.not_before > now:
        what = "its next try" if request.attempt > 1 else "its time"
        return f"{what} at {request.not_before:%Y-%m-%d %H:%M:%S} UTC"
    if brand is not None:
        held = why_held(connection, request, brand, now=now, default_app_id=default_app_id)
        if held is not None:
            return held
    before = place_in_line(connection, request, now=now)
    return f"{before} before it" if before else "Dagster to start it"


def _waits_in_dagster(connection: sa.Connection, request: Request) -> str:
    """A run with Dagster waits for another one of its brand and job, or for any to end."""
    columns = requests.c
    query = sa.select(requests).where(
        IS_ACTIVE,
        columns.state == RequestState.RUNNING,
        columns.brand_id == request.brand_id,
        columns.job == request.job,
        columns.id != request.id,
    )
    others = as_requests(connection.execute(query))
    if others:
        return f"the end of another run of its job, request {others[0].id[:8]}"
    return "its run to start"


def _blocked_until(
    connection: sa.Connection, brand: Brand, default_app_id: str, *, now: datetime
) -> datetime | None:
    query = sa.select(rate_budgets.c.key, rate_budgets.c.blocked_until).where(
        rate_budgets.c.blocked_until > now
    )
    blocks: dict[str, datetime] = {row[0]: row[1] for row in connection.execute(query)}
    return max((blocks[key] for key in shared_limits(brand, blocks, default_app_id)), default=None)


def _read_retry(connection: sa.Connection, request: Request) -> Request | None:
    query = sa.select(requests).where(
        IS_ACTIVE, requests.c.chain_id == request.chain_id, requests.c.retry_of == request.id
    )
    return next(iter(as_requests(connection.execute(query))), None)


def _datasets(
    request: Request,
    attempts: Mapping[tuple[str, str], Row],
    beats: Mapping[tuple[str, str], Row],
) -> tuple[DatasetProgress, ...]:
    asked = [(request.brand_id, key) for key in request.dataset_keys]
    found = list(attempts) or asked
    return tuple(
        _dataset((brand_id, key), attempts.get((brand_id, key), {}), beats.get((brand_id, key), {}))
        for brand_id in sorted({brand_id for brand_id, _ in found})
        for key in in_order(key for owner, key in found if owner == brand_id)
    )


def _dataset(key: tuple[str, str], attempt: Row, beat: Row) -> DatasetProgress:
    how = ("records", "error_class", "error_message", "advice")
    return DatasetProgress(
        brand_id=key[0],
        dataset=key[1],
        outcome=attempt.get("outcome"),
        **{name: beat.get(name) for name in ("stage", "done", "total", "beat_at")},
        **{name: attempt.get(name) for name in how},
    )
