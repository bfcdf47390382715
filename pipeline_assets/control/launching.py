"""Which queued requests start now, in which order, and as which runs.

Nothing here marks a request as launched: the projector does when the run is in Dagster's log. So a
crash anywhere between repeats a harmless step: Dagster knows the request's id as the run's key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import read_brands
from pipeline_assets.control.requests import (
    IS_ACTIVE,
    URGENT_PRIORITY,
    USUAL_PRIORITY,
    Request,
    RequestState,
    Wish,
    as_requests,
    check_wish,
    narrowed,
)
from pipeline_assets.control.resyncs import piece_ended, windowed_datasets
from pipeline_assets.control.run_tags import REQUEST_ID, lane_tags
from pipeline_assets.control.targets import AllBrands, Target, parse_target, read_target_rows
from pipeline_assets.datasets import JOBS
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, rate_budgets, requests

WAITING_PER_SLOT = 3
"""Requests that are with Dagster at once, for each run that it lets run: enough to keep it busy.

The others wait in our table, where a more urgent one can still overtake them, and where waiting
costs nothing: yielding a run that Dagster knows already costs it 10 ms a beat.
"""

_GENTLE_PCT = 50.0
"""A resync leaves the other half of every rate limit to today's syncs."""
_USAGE_IS_NEWS = timedelta(hours=1)  # Meta's longest windows slide over an hour

_LINE = (
    requests.c.priority.desc(),
    requests.c.not_before,
    requests.c.requested_at,
    requests.c.id,
)
"""The order in which due requests start."""

_TAG_LENGTH = 200  # PostgreSQL's index of tags takes no more than a few thousand bytes


@dataclass(frozen=True)
class Launch:
    """One run to start, as Dagster wants it. `datasets` None: all of the job's.

    One `is_across` brands works on a range of partitions; its config says on which of them.
    """

    request_id: str
    job: str
    brand_ids: tuple[str, ...]
    datasets: tuple[str, ...] | None
    tags: dict[str, str]
    run_config: dict[str, Any] = field(default_factory=dict)
    is_across: bool = False


@dataclass(frozen=True)
class Launches:
    """What to start now, and how many requests were ended because they cannot be carried out."""

    launches: Sequence[Launch]
    rejected_count: int


def choose_launches(
    engine: sa.Engine, *, now: datetime, slots: int, default_app_id: str = "default"
) -> Launches:
    """The due requests to start, the most urgent first; `slots`: runs that Dagster lets run.

    A request that cannot be carried out ends as failed and holds up nobody. What waits for a
    paused brand, and resyncs while today's syncs need the rate limits, is left queued.
    `default_app_id` is the Meta app of brands that name none.
    """
    with engine.connect() as connection:
        due = _read_due(
            connection, now=now, room=slots * WAITING_PER_SLOT, default_app_id=default_app_id
        )
        rows = read_target_rows(connection, {request.brand_id for request in due})
    launches, rejected = [], []
    for request in due:
        try:
            target = parse_target(request.brand_id, rows[request.brand_id])
            launches.append(_launch(request, target, now=now))
        except InvalidConfigError as error:
            rejected.append((request, error))
    if rejected:
        with write_transaction(engine) as connection:
            for request, reason in rejected:
                _reject(connection, request, reason, now=now)
    return Launches(launches, len(rejected))


def why_held(
    request: Request,
    brand: Brand,
    *,
    busy: Iterable[str],
    now: datetime,
    default_app_id: str = "default",
) -> str | None:
    """Why a due request is left queued whatever room there is, for people; None: it is not.

    `busy` are the rate limits as of `busy_limits`.
    """
    if request.priority >= URGENT_PRIORITY:
        return None
    if brand.is_paused(now):
        return f"brand {brand.id} is paused"
    if _is_gentle(request):
        shared = shared_limits(brand, busy, default_app_id)
        if shared:
            return f"today's syncs need the limit {min(shared)}"
    return None


def read_line(connection: sa.Connection, *, now: datetime) -> list[str]:
    """The ids of the due requests in the order in which they start, held ones included."""
    columns = requests.c
    query = (
        sa.select(columns.id)
        .where(IS_ACTIVE, columns.state == RequestState.QUEUED, columns.not_before <= now)
        .order_by(*_LINE)
    )
    return list(connection.execute(query).scalars())


def _read_due(
    connection: sa.Connection, *, now: datetime, room: int, default_app_id: str
) -> list[Request]:
    """Everything urgent, and as much of the rest as there is room for besides what runs."""
    columns = requests.c
    query = (
        sa.select(requests)
        .join(brands, brands.c.id == columns.brand_id, isouter=True)
        .where(IS_ACTIVE, columns.state == RequestState.QUEUED, columns.not_before <= now)
        .order_by(*_LINE)
    )
    urgent = query.where(columns.priority >= URGENT_PRIORITY).limit(room)
    due = as_requests(connection.execute(urgent))
    with_dagster = sa.select(sa.func.count()).where(
        IS_ACTIVE, columns.state.in_([RequestState.LAUNCHED, RequestState.RUNNING])
    )
    left = room - connection.execute(with_dagster).scalar_one() - len(due)
    if left <= 0:
        return due
    is_paused = brands.c.paused_at.is_not(None) & (
        brands.c.paused_until.is_(None) | (brands.c.paused_until > now)
    )
    others = query.where(columns.priority < URGENT_PRIORITY, sa.func.coalesce(~is_paused, True))
    usual = others.where(columns.priority >= USUAL_PRIORITY).limit(left)
    usual_due = as_requests(connection.execute(usual))
    left -= len(usual_due)
    if left <= 0:
        return due + usual_due
    gentle = as_requests(connection.execute(others.where(columns.priority < USUAL_PRIORITY)))
    free = _without_held(connection, gentle, now=now, default_app_id=default_app_id)
    return due + usual_due + free[:left]


def _without_held(
    connection: sa.Connection, pieces: Sequence[Request], *, now: datetime, default_app_id: str
) -> list[Request]:
    """The pieces of resyncs whose brand shares no limit that today's syncs need.

    Looked at before the room is cut: brands that wait for one limit hold up nobody else's.
    """
    if not pieces:
        return []
    busy = busy_limits(connection, now=now)
    found = read_brands(connection, brand_ids={piece.brand_id for piece in pieces})
    held = {brand.id for brand in found if shared_limits(brand, busy, default_app_id)}
    return [piece for piece in pieces if piece.brand_id not in held]


def _is_gentle(request: Request) -> bool:
    return request.priority < USUAL_PRIORITY


def busy_limits(connection: sa.Connection, *, now: datetime) -> set[str]:
    """The rate limits that are reached, or half used according to recent news."""
    query = sa.select(rate_budgets.c.key).where(
        (rate_budgets.c.blocked_until > now)
        | (
            (rate_budgets.c.usage_pct >= _GENTLE_PCT)
            & (rate_budgets.c.updated_at > now - _USAGE_IS_NEWS)
        )
    )
    return set(connection.execute(query).scalars())


def shared_limits(brand: Brand, keys: Iterable[str], default_app_id: str) -> set[str]:
    """Those of these rate limits that the brand's calls count towards."""
    meta = brand.sources.meta
    if meta is None:
        return set()
    own = {f"app:{meta.app_id or default_app_id}", *(f"account:{a}" for a in meta.ad_accounts)}
    return {key for key in keys if ":".join(key.split(":")[:2]) in own}


def _launch(request: Request, target: Target, *, now: datetime) -> Launch:
    wish = Wish(
        brand_id=target.id,
        job=request.job,
        trigger=request.trigger,
        requested_by=request.requested_by,
        datasets=request.datasets,
    )
    check_wish(target, wish)
    job = JOBS[request.job]
    tags = {
        REQUEST_ID: request.id,
        "dagster/priority": str(request.priority),
        "pipeline/trigger": request.trigger.value,
        "pipeline/requested_by": request.requested_by[:_TAG_LENGTH],
    }
    if isinstance(target, AllBrands):
        chosen = target.choose(job, now=now, among=request.brand_ids)
        config = {"brands": list(chosen.brand_ids), "left_out": dict(chosen.left_out)}
        return Launch(
            request_id=request.id,
            job=request.job,
            brand_ids=chosen.brand_ids,
            datasets=request.datasets,
            tags=tags | lane_tags(request.job, target.id),
            run_config={"ops": {key: {"config": config} for key in request.dataset_keys}},
            is_across=True,
        )
    return Launch(
        request_id=request.id,
        job=request.job,
        brand_ids=(target.id,),
        datasets=narrowed(target, wish).datasets,
        tags=tags | lane_tags(request.job, target.id, max_runtime=target.max_runtime(job)),
        run_config=_window_config(request),
    )


def _window_config(request: Request) -> dict[str, Any]:
    if request.window is None:
        return {}
    since, until = request.window
    config = {"config": {"since": since.isoformat(), "until": until.isoformat()}}
    chosen = set(windowed_datasets(request.job)) & set(request.dataset_keys)
    return {"ops": dict.fromkeys(sorted(chosen), config)}


def _reject(
    connection: sa.Connection, request: Request, error: InvalidConfigError, *, now: datetime
) -> None:
    ended = connection.execute(
        requests.update()
        .where(requests.c.id == request.id, requests.c.state == RequestState.QUEUED)
        .values(
            state=RequestState.FAILED,
            finished_at=now,
            error_class=type(error).__name__,
            error_message=str(error),
            advice=error.advice or None,
        )
        .returning(requests)
    )
    for piece in as_requests(ended):
        if piece.resync_id is not None:
            piece_ended(connection, piece, now=now)
