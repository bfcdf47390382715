"""The stored wishes to run a job for a brand: make one, join one, cancel one, find them.

Belongs here: what people, cadences and programs do with requests. What Dagster's runs do to them is
in `request_tracking.py`, what starts them in `launching.py`.
"""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from pipeline_assets.control.targets import AllBrands, Target, read_owners, read_target
from pipeline_assets.datasets import DATASETS, JOBS, Job
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import requests, resyncs

Row = dict[str, Any]


class Trigger(StrEnum):
    """What made the request."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    API = "api"
    WEBHOOK = "webhook"
    RETRY = "retry"
    DAGSTER = "dagster"
    """A run that a person started in Dagster's own UI or command line."""


class RequestState(StrEnum):
    """How far a request is; the last four are its ends."""

    QUEUED = "queued"
    """Stored; starts when it is due and there is room."""
    LAUNCHED = "launched"
    """Its run is with Dagster, in the queue or starting."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    """Some datasets or some brands failed, no fatal dataset."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self in ACTIVE_STATES


ACTIVE_STATES = (RequestState.QUEUED, RequestState.LAUNCHED, RequestState.RUNNING)

# Written out in the statement: with parameters SQLite would read the whole table, not the index of
# the few active requests.
IS_ACTIVE = requests.c.state.in_(
    sa.bindparam("active_states", ACTIVE_STATES, expanding=True, literal_execute=True)
)
"""The condition that a request has not ended."""

SHORTEST_ID = 6
"""So many first characters of an id may stand for it."""

URGENT_PRIORITY = 10
"""Somebody waits for it."""
USUAL_PRIORITY = 0
RESYNC_PRIORITY = -10
"""History has waited long already: today's syncs come first."""

_URGENT = {Trigger.MANUAL, Trigger.API, Trigger.WEBHOOK}
_MAX_REASON = 500
_ID_LENGTH = 36  # a UUID's


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A job to run for a brand. `datasets` None: all of the job's.

    `brand_id` may be `*<organization>`, for a job that does all of its brands in one run. `window`
    is a first and a last day to sync instead of the usual ones; `requested_by` names a person, a
    token or a part of the system, such as `cli:alice` or `schedule`.
    """

    brand_id: str
    job: str
    trigger: Trigger
    requested_by: str
    reason: str = ""
    datasets: tuple[str, ...] | None = None
    window: tuple[date, date] | None = None
    resync_id: str | None = None
    not_before: datetime | None = None


@dataclass(frozen=True)
class StoredWish:
    """The request that serves a wish: a new one, or one that was there already."""

    request_id: str
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """One stored request; the table's columns.

    `brand_id` is `*<organization>` for a run over its brands, `*` for one that a person started in
    Dagster over brands of several. `brand_ids` keeps the former to some of the brands.
    """

    id: str
    organization_id: str | None
    brand_id: str
    brand_ids: tuple[str, ...] | None
    job: str
    datasets: tuple[str, ...] | None
    window_since: date | None
    window_until: date | None
    state: RequestState
    trigger: Trigger
    requested_by: str
    reason: str
    requested_at: datetime
    not_before: datetime
    priority: int
    attempt: int
    chain_id: str
    retry_of: str | None
    resync_id: str | None
    run_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    outcomes: dict[str, str] | None
    records: int | None
    error_class: str | None
    error_message: str | None
    advice: str | None
    archived_at: datetime | None

    @property
    def window(self) -> tuple[date, date] | None:
        """The days to sync instead of the usual ones."""
        if self.window_since is None or self.window_until is None:
            return None
        return self.window_since, self.window_until

    @property
    def dataset_keys(self) -> tuple[str, ...]:
        """The datasets it asks for, in the job's order; none if the catalogue has no such job."""
        if self.datasets is not None:
            return self.datasets
        return JOBS[self.job].datasets if self.job in JOBS else ()


def check_wish(target: Target, wish: Wish) -> None:
    """Return when the wish can be carried out for this brand, or these brands.

    Raises:
        InvalidConfigError: an unknown job or dataset, one that does not belong to the job, or one
            whose source the brand (or each of the brands) has not configured; all brands of an
            organization for a job that runs brand by brand.
    """
    job = check_job(wish.job)
    if isinstance(target, AllBrands) and not job.across_brands:
        raise InvalidConfigError(
            f"{job.name} does one brand in a run, not all of organization"
            f" {target.organization_id}.",
            advice="Name one brand.",
        )
    for key in narrowed(target, wish).datasets or job.datasets:
        if key not in job.datasets:
            raise InvalidConfigError(
                f"{key!r} is not a dataset of {job.name}.",
                advice=f"Its datasets are {', '.join(job.datasets)}.",
            )
        _check_source(target, key)
    if wish.datasets == ():
        raise InvalidConfigError("The request names no dataset.")


def narrowed(target: Target, wish: Wish) -> Wish:
    """The wish for what the brand has configured of a job over several sources."""
    job = JOBS.get(wish.job)
    if job is None or wish.datasets is not None or isinstance(target, AllBrands):
        return wish
    has = job.datasets_with(target.sources.configured)
    return wish if has in {(), job.datasets} else replace(wish, datasets=has)


def _check_source(target: Target, dataset: str) -> None:
    source = DATASETS[dataset].source
    if isinstance(target, AllBrands):
        whose = f"No brand of organization {target.organization_id} has the source"
        has_it = any(brand.sources.has(source) for brand in target.brands)
    else:
        whose, has_it = f"Brand {target.id} has no source", target.sources.has(source)
    if not has_it:
        raise InvalidConfigError(
            f"{whose} {source}, which {dataset} needs.",
            advice="Configure it with `pipeline-assets brands apply`.",
        )


def check_job(name: str) -> Job:
    """The job of this name.

    Raises:
        InvalidConfigError: there is no such job.
    """
    if name in JOBS:
        return JOBS[name]
    close = difflib.get_close_matches(name, JOBS, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise InvalidConfigError(
        f"There is no job {name!r}.", advice=f"{hint}Jobs are {', '.join(JOBS)}."
    )


def request_sync(engine: sa.Engine, wish: Wish, *, now: datetime) -> tuple[Request, bool]:
    """Store a person's or a program's wish; returns its request and whether that is a new one.

    A second wish for a brand and job that has an active request is that request: it then comes as
    early as the newest wish asks, and with all datasets asked for, as long as it has not started.

    Raises:
        InvalidConfigError: the brand or organization is unknown, the active request is just being
            cancelled, or as of `check_wish`.
    """
    target = read_target(engine, wish.brand_id)
    check_wish(target, wish)
    wish = narrowed(target, wish)
    with write_transaction(engine) as connection:
        stored = store_wish(connection, wish, now=now)
        request = _read(connection, stored.request_id)
        if request.cancel_requested_at is not None:  # the wish would end with it
            raise InvalidConfigError(
                f"Request {request.id} of {wish.brand_id}:{wish.job} is just being cancelled.",
                advice="Ask again in a moment.",
            )
        audit.record(
            connection,
            at=now,
            actor=wish.requested_by,
            action="request.create" if stored.is_new else "request.join",
            target=f"{wish.brand_id}:{wish.job}",
            organization_id=request.organization_id,
            request_id=request.id,
            detail={"datasets": wish.datasets or "all", "reason": wish.reason or "none given"},
        )
    return request, stored.is_new


def store_wish(connection: sa.Connection, wish: Wish, *, now: datetime) -> StoredWish:
    """`store_wishes` for one."""
    return store_wishes(connection, [wish], now=now)[0]


def store_wishes(
    connection: sa.Connection, wishes: Sequence[Wish], *, now: datetime
) -> list[StoredWish]:
    """Insert the wishes' requests, or join the active ones, within the caller's transaction.

    The database's unique index decides which of many simultaneous wishes is the request. Callers
    give many in the order of brand and job, so that two of them never wait for each other.
    """
    if not wishes:
        return []
    rows = _new_rows(connection, wishes, now=now)
    insert = dialect_insert(connection, requests).on_conflict_do_nothing().returning(requests.c.id)
    inserted = set(connection.execute(insert, rows).scalars())
    return [
        StoredWish(row["id"], is_new=True)
        if row["id"] in inserted
        else _store_beside(connection, wish, now=now)
        for wish, row in zip(wishes, rows, strict=True)
    ]


def _store_beside(connection: sa.Connection, wish: Wish, *, now: datetime) -> StoredWish:
    """Join the active request that kept this one's from being stored."""
    active = as_requests(
        connection.execute(sa.select(requests).where(*_same_lane(wish)).with_for_update())
    )
    if not active:  # it has ended between the two statements
        return store_wish(connection, wish, now=now)
    _join(connection, active[0], wish, now=now)
    return StoredWish(active[0].id, is_new=False)


def cancel_request(engine: sa.Engine, request_id: str, *, actor: str, now: datetime) -> Request:
    """Cancel a request: a queued one at once, a running one as soon as its run has stopped.

    The projector stops the run. Cancelling twice is harmless. With a piece of a resync, the resync
    is cancelled.

    Raises:
        InvalidConfigError: there is no such request, or it has ended.
    """
    with write_transaction(engine) as connection:
        request = _read(connection, request_id, lock=True)
        if not request.state.is_active:
            raise InvalidConfigError(f"Request {request_id} has ended: it {_ENDED[request.state]}.")
        values: Row = {"cancel_requested_at": now}
        if request.state is RequestState.QUEUED:
            values |= {"state": RequestState.CANCELLED, "finished_at": now}
        connection.execute(requests.update().where(requests.c.id == request.id).values(values))
        connection.execute(  # else it would wait for a piece that never comes
            resyncs.update()
            .where(resyncs.c.id == request.resync_id, resyncs.c.state == "running")
            .values(state="cancelled", finished_at=now)
        )
        audit.record(
            connection,
            at=now,
            actor=actor,
            action="request.cancel",
            target=f"{request.brand_id}:{request.job}",
            organization_id=request.organization_id,
            request_id=request.id,
        )
        return _read(connection, request_id)


_ENDED = {
    RequestState.SUCCEEDED: "succeeded",
    RequestState.PARTIAL: "ended in part",
    RequestState.FAILED: "failed",
    RequestState.CANCELLED: "was cancelled",
}


def get_request(
    engine: sa.Engine, request_id: str, *, organization_ids: Collection[str] | None = None
) -> Request:
    """One request, of one of these organizations when some are given.

    Raises:
        InvalidConfigError: there is none; one of another organization looks the same.
    """
    with engine.connect() as connection:
        request = _read(connection, request_id)
    if organization_ids is not None and request.organization_id not in organization_ids:
        raise _unknown(request_id)
    return request


def find_request_id(engine: sa.Engine, beginning: str) -> str:
    """The id of the one request whose id begins like this.

    Raises:
        InvalidConfigError: none does, several do, or fewer than `SHORTEST_ID` characters are given.
    """
    return find_id(engine, requests.c.id, beginning, unknown=_unknown(beginning))


def find_id(
    engine: sa.Engine, column: sa.Column[str], beginning: str, *, unknown: InvalidConfigError
) -> str:
    """The one value of an id column that begins like this; `unknown` is raised if there is none.

    Raises:
        InvalidConfigError: several do, or fewer than `SHORTEST_ID` characters are given.
    """
    if len(beginning) < SHORTEST_ID:
        raise InvalidConfigError(
            f"{beginning!r} is too short for an id.",
            advice=f"Give at least its first {SHORTEST_ID} characters.",
        )
    if len(beginning) > _ID_LENGTH:
        raise unknown
    query = sa.select(column).where(column.startswith(beginning, autoescape=True)).limit(2)
    with engine.connect() as connection:
        found = list(connection.execute(query).scalars())
    if not found:
        raise unknown
    if len(found) > 1:
        raise InvalidConfigError(
            f"Several ids begin with {beginning!r}.", advice="Give more of its characters."
        )
    return found[0]


def list_requests(
    engine: sa.Engine,
    *,
    organization_ids: Collection[str] | None = None,
    brand_ids: Collection[str] | None = None,
    job: str | None = None,
    states: Collection[RequestState] | None = None,
    is_archived: bool | None = False,
    limit: int = 50,
    before: tuple[datetime, str] | None = None,
) -> list[Request]:
    """Requests, the newest wish first; `before` is the (requested_at, id) of the page before.

    `is_archived` None: archived ones too.
    """
    columns = requests.c
    query = sa.select(requests).order_by(columns.requested_at.desc(), columns.id.desc())
    if organization_ids is not None:
        query = query.where(columns.organization_id.in_(organization_ids))
    if brand_ids is not None:
        query = query.where(columns.brand_id.in_(brand_ids))
    if job is not None:
        query = query.where(columns.job == job)
    if states is not None:
        query = query.where(columns.state.in_(states))
    if is_archived is not None:
        query = query.where(columns.archived_at.is_not(None) == is_archived)
    if before is not None:
        query = query.where(sa.tuple_(columns.requested_at, columns.id) < before)
    with engine.connect() as connection:
        return as_requests(connection.execute(query.limit(limit)))


def as_requests(rows: sa.CursorResult[Any]) -> list[Request]:
    """The requests of a query of the whole table's columns."""
    return [_from_row(dict(row)) for row in rows.mappings()]


def _from_row(row: Row) -> Request:
    return Request(
        **{
            **row,
            **{
                name: tuple(row[name]) if row[name] is not None else None
                for name in ("brand_ids", "datasets")
            },
            "state": RequestState(row["state"]),
            "trigger": Trigger(row["trigger"]),
        }
    )


def _read(connection: sa.Connection, request_id: str, *, lock: bool = False) -> Request:
    query = sa.select(requests).where(requests.c.id == request_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise _unknown(request_id)
    return _from_row(dict(row))


def _unknown(request_id: str) -> InvalidConfigError:
    return InvalidConfigError(
        f"There is no request {request_id!r}.", advice="`pipeline-assets requests list` shows them."
    )


def _new_rows(connection: sa.Connection, wishes: Sequence[Wish], *, now: datetime) -> list[Row]:
    owners = read_owners(connection, {wish.brand_id for wish in wishes})
    return [_new_row(wish, owners.get(wish.brand_id), now=now) for wish in wishes]


def _new_row(wish: Wish, organization_id: str | None, *, now: datetime) -> Row:
    request_id = str(uuid4())
    since, until = wish.window or (None, None)
    return {
        "id": request_id,
        "organization_id": organization_id,
        "brand_id": wish.brand_id,
        "job": wish.job,
        "datasets": _normal(wish.job, wish.datasets),
        "window_since": since,
        "window_until": until,
        "state": RequestState.QUEUED,
        "trigger": wish.trigger,
        "requested_by": wish.requested_by,
        "reason": wish.reason[:_MAX_REASON],
        "requested_at": now,
        "not_before": wish.not_before or now,
        "priority": priority_of(wish),
        "attempt": 1,
        "chain_id": request_id,
        "resync_id": wish.resync_id,
    }


def priority_of(wish: Wish) -> int:
    """Who comes first when there is more to start than room."""
    if wish.resync_id is not None:
        return RESYNC_PRIORITY
    return URGENT_PRIORITY if wish.trigger in _URGENT else USUAL_PRIORITY


def _normal(job: str, datasets: Sequence[str] | None) -> list[str] | None:
    """The datasets in the catalogue's order; None when they are all of the job's."""
    if datasets is None:
        return None
    known = JOBS[job].datasets if job in JOBS else ()
    if set(known) <= set(datasets):
        return None
    return sorted(set(datasets), key=lambda key: known.index(key) if key in known else len(known))


def _same_lane(wish: Wish) -> tuple[sa.ColumnElement[bool], ...]:
    columns = requests.c
    if wish.resync_id is not None:
        return IS_ACTIVE, columns.resync_id == wish.resync_id
    return (
        IS_ACTIVE,
        columns.brand_id == wish.brand_id,
        columns.job == wish.job,
        columns.resync_id.is_(None),
        columns.trigger != Trigger.DAGSTER,
    )


def _join(connection: sa.Connection, active: Request, wish: Wish, *, now: datetime) -> None:
    """Let a request that has not started serve one more wish.

    A tick of a cadence only makes it whole: it never hurries a wait that a source asked for.
    """
    if active.state is not RequestState.QUEUED or wish.resync_id is not None:
        return
    values: Row = {}
    if active.datasets is not None:
        both = None if wish.datasets is None else (*active.datasets, *wish.datasets)
        values["datasets"] = _normal(active.job, both)
    if active.brand_ids is not None:
        values["brand_ids"] = None
    if wish.trigger in _URGENT:
        values["priority"] = max(active.priority, URGENT_PRIORITY)
        values["not_before"] = min(active.not_before, wish.not_before or now)
    if values:
        connection.execute(requests.update().where(requests.c.id == active.id).values(values))
