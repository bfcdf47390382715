"""How far a request is at this moment: what it waits for, and what each of its datasets is at."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.control.history import in_order
from pipeline_assets.control.launching import (
    busy_limits,
    read_line,
    shared_limits,
    why_held,
)
from pipeline_assets.control.requests import (
    IS_ACTIVE,
    Request,
    RequestState,
    as_requests,
    get_request,
)
from pipeline_assets.control.run_tags import ALL_BRANDS
from pipeline_assets.control.targets import AllBrands, Target, is_all_brands, read_targets
from pipeline_assets.datasets import JOBS
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
    ended, `outcome`, `records` and the error tell how, and `missing` why it stored nothing new
    though it went well. Nothing is set before it began.
    """

    brand_id: str
    dataset: str
    outcome: str | None
    stage: str | None
    done: int | None
    total: int | None
    beat_at: datetime | None
    records: int | None
    missing: str | None
    error_class: str | None
    error_message: str | None
    advice: str | None


@dataclass(frozen=True, kw_only=True)
class RequestProgress:
    """A request and how far it is.

    `waits_for` says what it has to wait for before it runs (empty when it runs or has ended),
    `blocked_until` is when the last limit that its brand shares opens again, and `retry` the
    further try that its failure has brought about. `left_out` are the brands that a request for all
    of an organization's passes over as things are, each with why, until it has ended.
    """

    request: Request
    waits_for: str
    blocked_until: datetime | None
    datasets: tuple[DatasetProgress, ...]
    retry: Request | None
    left_out: Mapping[str, str] = field(default_factory=dict)


def read_progress(
    engine: sa.Engine, request_id: str, *, now: datetime, default_app_id: str = "default"
) -> RequestProgress:
    """How far the request is; a handful of queries for what is under way, whatever the history.

    Raises:
        InvalidConfigError: there is no such request.
    """
    request = get_request(engine, request_id)
    [progress] = read_progresses(engine, [request], now=now, default_app_id=default_app_id)
    if request.state.is_active:
        return progress
    with engine.connect() as connection:
        return replace(progress, retry=_read_retry(connection, request))


def list_active(
    engine: sa.Engine,
    *,
    now: datetime,
    organization_ids: Collection[str] | None = None,
    also: Collection[str] = (),
) -> list[Request]:
    """All requests that have not ended, and these however they ended.

    Those that run come first, then those with Dagster, then the queued as they are to start.
    """
    columns = requests.c
    found: dict[str, Request] = {}
    with engine.connect() as connection:
        for condition in (IS_ACTIVE, columns.id.in_(also)):  # each finds its index by itself
            query = sa.select(requests).where(condition)
            if organization_ids is not None:
                query = query.where(columns.organization_id.in_(organization_ids))
            found |= {each.id: each for each in as_requests(connection.execute(query))}

    def by_start(request: Request) -> tuple[Any, ...]:
        furthest_first = -list(RequestState).index(request.state)
        due_at = max(request.not_before, now)
        same = (request.not_before, request.requested_at, request.id)
        return (furthest_first, due_at, -request.priority, *same)

    return sorted(found.values(), key=by_start)


def read_progresses(
    engine: sa.Engine,
    found: Sequence[Request],
    *,
    now: datetime,
    default_app_id: str = "default",
) -> list[RequestProgress]:
    """How far each of these requests is; nine queries at most, however many they are.

    A failure's `retry` is not looked for: among active requests it stands by itself.
    """
    active = [request for request in found if request.state.is_active]
    with engine.connect() as connection:
        attempts = _read_attempts(connection, found)
        beats = _read_beats(connection, active)
        around = _read_surroundings(connection, active, now=now)
    return [
        RequestProgress(
            request=request,
            waits_for=_waits_for(request, around, now=now, default_app_id=default_app_id),
            blocked_until=_blocked_until(request, around, default_app_id),
            datasets=_datasets(request, attempts[request.id], beats[request.run_id or ""]),
            retry=None,
            left_out=_left_out(request, around, now=now),
        )
        for request in found
    ]


@dataclass(frozen=True)
class _Surroundings:
    """What requests wait for: their brands, the limits, the line, and what runs for the brands."""

    targets: Mapping[str, Target]
    busy: Collection[str]
    blocks: Mapping[str, datetime]
    line: Mapping[str, int]
    running: Sequence[Request]


def _read_surroundings(
    connection: sa.Connection, active: Sequence[Request], *, now: datetime
) -> _Surroundings:
    if not active:
        return _Surroundings({}, (), {}, {}, ())
    brand_ids = {request.brand_id for request in active}
    blocks = sa.select(rate_budgets.c.key, rate_budgets.c.blocked_until).where(
        rate_budgets.c.blocked_until > now
    )
    running = sa.select(requests).where(
        IS_ACTIVE, requests.c.state == RequestState.RUNNING, requests.c.brand_id.in_(brand_ids)
    )
    return _Surroundings(
        targets=read_targets(connection, brand_ids),
        busy=busy_limits(connection, now=now),
        blocks={row[0]: row[1] for row in connection.execute(blocks)},
        line={each: place for place, each in enumerate(read_line(connection, now=now))},
        running=as_requests(connection.execute(running)),
    )


def _read_attempts(
    connection: sa.Connection, found: Sequence[Request]
) -> dict[str, dict[tuple[str, str], Row]]:
    """The last attempt of each request at each (brand, dataset)."""
    columns = dataset_attempts.c
    query = (
        sa.select(dataset_attempts)
        .where(columns.request_id.in_([request.id for request in found]))
        .order_by(columns.planned_at, columns.run_id)
    )
    brand_of = {request.id: request.brand_id for request in found}
    attempts: dict[str, dict[tuple[str, str], Row]] = defaultdict(dict)
    for row in connection.execute(query).mappings():
        target_id = brand_of[row["request_id"]]
        if is_all_brands(target_id) or target_id in {ALL_BRANDS, row["brand_id"]}:
            attempts[row["request_id"]][row["brand_id"], row["dataset"]] = dict(row)
    return attempts


def _read_beats(
    connection: sa.Connection, active: Sequence[Request]
) -> dict[str, dict[tuple[str, str], Row]]:
    """The last sign of life of each run's (brand, dataset) that is under way."""
    columns = run_heartbeats.c
    run_ids = [request.run_id for request in active if request.run_id]
    beats: dict[str, dict[tuple[str, str], Row]] = defaultdict(dict)
    if run_ids:
        query = sa.select(run_heartbeats).where(
            columns.run_id.in_(run_ids), columns.stage.is_not(None)
        )
        for row in connection.execute(query).mappings():
            beats[row["run_id"]][row["brand_id"], row["dataset"]] = dict(row)
    return beats


def _waits_for(
    request: Request, around: _Surroundings, *, now: datetime, default_app_id: str
) -> str:
    if request.state is RequestState.LAUNCHED:
        return _waits_in_dagster(request, around)
    if request.state is not RequestState.QUEUED:
        return ""
    if request.not_before > now:
        what = "its next try" if request.attempt > 1 else "its time"
        return f"{what} at {request.not_before:%Y-%m-%d %H:%M:%S} UTC"
    brand = around.targets.get(request.brand_id)
    if isinstance(brand, Brand):
        held = why_held(request, brand, busy=around.busy, now=now, default_app_id=default_app_id)
        if held is not None:
            return held
    before = around.line.get(request.id, 0)
    return f"{before} before it" if before else "Dagster to start it"


def _waits_in_dagster(request: Request, around: _Surroundings) -> str:
    """A run with Dagster waits for another one of its brand and job, or for any to end."""
    lane = (request.brand_id, request.job)
    for other in around.running:
        if (other.brand_id, other.job) == lane and other.id != request.id:
            return f"the end of another run of its job, request {other.id[:8]}"
    return "its run to start"


def _blocked_until(request: Request, around: _Surroundings, default_app_id: str) -> datetime | None:
    brand = around.targets.get(request.brand_id)
    if request.state is not RequestState.RUNNING or not isinstance(brand, Brand):
        return None
    shared = shared_limits(brand, around.blocks, default_app_id)
    return max((around.blocks[key] for key in shared), default=None)


def _left_out(request: Request, around: _Surroundings, *, now: datetime) -> Mapping[str, str]:
    target = around.targets.get(request.brand_id)
    if not isinstance(target, AllBrands) or request.job not in JOBS or not request.state.is_active:
        return {}
    return target.left_out(JOBS[request.job], now=now, among=request.brand_ids)


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
    missing = (attempt.get("metadata") or {}).get("missing")
    return DatasetProgress(
        brand_id=key[0],
        dataset=key[1],
        outcome=attempt.get("outcome"),
        **{name: beat.get(name) for name in ("stage", "done", "total", "beat_at")},
        **{name: attempt.get(name) for name in how},
        missing=missing if isinstance(missing, str) else None,
    )
