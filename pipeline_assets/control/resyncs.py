"""Long windows synced again, piece by piece: each piece is a request that commits by itself.

The newest days come first, one piece after the other, behind everything else in the queue. What is
done stays done: a resync that failed or was cancelled goes on where it stopped.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import get_brand
from pipeline_assets.control.requests import (
    ACTIVE_STATES,
    IS_ACTIVE,
    Request,
    RequestState,
    Trigger,
    Wish,
    as_requests,
    check_job,
    check_wish,
    find_id,
    store_wish,
)
from pipeline_assets.datasets import JOBS
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, requests, resyncs

Row = dict[str, Any]

PIECE_DAYS = 28
"""As much as a daily sync reads, so a piece asks no more of the source than today's sync does."""

LONGEST_DAYS = 37 * 31
"""Meta keeps insights for 37 months."""


class ResyncState(StrEnum):
    """How far a resync is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Resync:
    """One stored resync; the table's columns. Days after `remaining_until` are done."""

    id: str
    organization_id: str | None
    brand_id: str
    job: str
    since: date
    until: date
    remaining_until: date
    piece_days: int
    state: ResyncState
    requested_by: str
    reason: str
    requested_at: datetime
    finished_at: datetime | None
    error_class: str | None
    error_message: str | None
    advice: str | None

    @property
    def total_days(self) -> int:
        """The length of the whole window."""
        return (self.until - self.since).days + 1

    @property
    def done_days(self) -> int:
        """How many of them are synced."""
        return (self.until - self.remaining_until).days

    @property
    def next_piece(self) -> tuple[date, date]:
        """First and last day of the piece to do now."""
        first = self.remaining_until - timedelta(days=self.piece_days - 1)
        return max(first, self.since), self.remaining_until


def windowed_datasets(job: str) -> tuple[str, ...]:
    """The datasets of a job that have days to sync again."""
    return tuple(key for key in JOBS[job].datasets if SCHEMAS[key].window_column)


def start_resync(
    engine: sa.Engine,
    *,
    brand_id: str,
    job: str,
    since: date,
    until: date,
    actor: str,
    reason: str = "",
    piece_days: int = PIECE_DAYS,
    now: datetime,
) -> Resync:
    """Begin to sync a window again, or go on with one that stopped before its end.

    Raises:
        InvalidConfigError: the brand, the job or the window cannot be; or another resync of this
            brand and job runs.
    """
    brand = get_brand(engine, brand_id)
    _check_window(since, until, now=now)
    with write_transaction(engine) as connection:
        # Of two at once, the second finds the first one's resync.
        connection.execute(sa.select(brands.c.id).where(brands.c.id == brand_id).with_for_update())
        same = _last(connection, brand_id=brand_id, job=job, since=since, until=until)
        if same is not None and same.state is ResyncState.RUNNING:
            return same
        if same is not None and same.state is not ResyncState.SUCCEEDED:
            resync = _go_on(connection, same, brand, actor=actor, now=now)
        else:
            resync = Resync(
                id=str(uuid4()),
                organization_id=brand.organization_id,
                brand_id=brand_id,
                job=job,
                since=since,
                until=until,
                remaining_until=until,
                piece_days=piece_days,
                state=ResyncState.RUNNING,
                requested_by=actor,
                reason=reason,
                requested_at=now,
                finished_at=None,
                error_class=None,
                error_message=None,
                advice=None,
            )
            _check(connection, resync, brand)
            connection.execute(resyncs.insert().values(vars(resync)))
        _wish_piece(connection, resync, now=now)
        _audit(connection, resync, "resync.start", actor=actor, now=now)
        return resync


def cancel_resync(engine: sa.Engine, resync_id: str, *, actor: str, now: datetime) -> Resync:
    """Stop a resync and the piece that is under way; what is done stays.

    Raises:
        InvalidConfigError: there is none, or it has ended.
    """
    with write_transaction(engine) as connection:
        # The projector, which may be about to wish for the next piece, has the one before locked.
        connection.execute(_active_pieces(resync_id).with_for_update())
        resync = _read(connection, resync_id)
        if resync.state is not ResyncState.RUNNING:
            raise InvalidConfigError(f"Resync {resync_id} has ended: it is {resync.state}.")
        _update(connection, resync_id, state=ResyncState.CANCELLED, finished_at=now)
        pieces = requests.update().where(
            requests.c.resync_id == resync_id, requests.c.state.in_(ACTIVE_STATES)
        )
        connection.execute(pieces.values(cancel_requested_at=now))
        connection.execute(
            pieces.where(requests.c.state == RequestState.QUEUED).values(
                state=RequestState.CANCELLED, finished_at=now
            )
        )
        _audit(connection, resync, "resync.cancel", actor=actor, now=now)
        return _read(connection, resync_id)


def get_resync(engine: sa.Engine, resync_id: str) -> Resync:
    """One resync.

    Raises:
        InvalidConfigError: there is none.
    """
    with engine.connect() as connection:
        return _read(connection, resync_id)


def find_resync_id(engine: sa.Engine, beginning: str) -> str:
    """The id of the one resync whose id begins like this; errors as of `find_request_id`."""
    return find_id(engine, resyncs.c.id, beginning, unknown=_unknown(beginning))


def list_resyncs(
    engine: sa.Engine,
    *,
    organization_ids: Collection[str] | None = None,
    brand_id: str | None = None,
    state: ResyncState | None = None,
    limit: int = 50,
    before: tuple[datetime, str] | None = None,
) -> list[Resync]:
    """Resyncs, the newest first; `before` is the (requested_at, id) of the page before."""
    columns = resyncs.c
    query = sa.select(resyncs).order_by(columns.requested_at.desc(), columns.id.desc())
    if organization_ids is not None:
        query = query.where(columns.organization_id.in_(organization_ids))
    if brand_id is not None:
        query = query.where(columns.brand_id == brand_id)
    if state is not None:
        query = query.where(columns.state == state)
    if before is not None:
        query = query.where(sa.tuple_(columns.requested_at, columns.id) < before)
    with engine.connect() as connection:
        return [_from_row(row) for row in connection.execute(query.limit(limit)).mappings()]


def read_active_piece(engine: sa.Engine, resync_id: str) -> Request | None:
    """The request of the piece that is queued or running now; None between two and after all."""
    query = sa.select(requests).where(IS_ACTIVE, requests.c.resync_id == resync_id)
    with engine.connect() as connection:
        return next(iter(as_requests(connection.execute(query))), None)


def piece_ended(connection: sa.Connection, piece: Request, *, now: datetime) -> None:
    """Go on after a piece that has ended and is not tried again: the next one, or the end."""
    assert piece.resync_id is not None
    assert piece.window_since is not None
    resync = _read(connection, piece.resync_id)
    if piece.state is RequestState.SUCCEEDED:
        remaining = min(resync.remaining_until, piece.window_since - timedelta(days=1))
        is_done = remaining < resync.since
        _update(connection, resync.id, remaining_until=remaining)
        if is_done:
            _update(connection, resync.id, state=ResyncState.SUCCEEDED, finished_at=now)
        elif resync.state is ResyncState.RUNNING:
            _wish_piece(connection, _read(connection, resync.id), now=now)
    elif resync.state is ResyncState.RUNNING:
        is_cancelled = piece.state is RequestState.CANCELLED
        _update(
            connection,
            resync.id,
            state=ResyncState.CANCELLED if is_cancelled else ResyncState.FAILED,
            finished_at=now,
            error_class=piece.error_class,
            error_message=piece.error_message,
            advice=piece.advice,
        )


def _check_window(since: date, until: date, *, now: datetime) -> None:
    if since > until:
        raise InvalidConfigError(f"The window begins on {since}, after its end on {until}.")
    tomorrow = now.date() + timedelta(days=1)  # somewhere on earth it is that already
    if until > tomorrow:
        raise InvalidConfigError(f"The window ends on {until}, which has not been yet.")
    if since < now.date() - timedelta(days=LONGEST_DAYS):
        raise InvalidConfigError(
            f"The window begins on {since}, but sources keep 37 months.",
            advice="Begin it later.",
        )


def _check(connection: sa.Connection, resync: Resync, brand: Brand) -> None:
    check_job(resync.job)
    if not windowed_datasets(resync.job):
        raise InvalidConfigError(f"The job {resync.job} has no dataset with days to sync again.")
    if resync.piece_days < 1:
        raise InvalidConfigError(f"A piece cannot have {resync.piece_days} days.")
    check_wish(brand, _piece(resync))
    other = connection.execute(
        sa.select(resyncs.c.id, resyncs.c.since, resyncs.c.until).where(
            resyncs.c.brand_id == resync.brand_id,
            resyncs.c.job == resync.job,
            resyncs.c.state == ResyncState.RUNNING,
            resyncs.c.id != resync.id,
        )
    ).first()
    if other is not None:
        raise InvalidConfigError(
            f"{resync.brand_id} is being synced again already, {other.since} to {other.until}.",
            advice=f"Wait for it, or `pipeline-assets resyncs cancel {other.id}`.",
        )


def _go_on(
    connection: sa.Connection, resync: Resync, brand: Brand, *, actor: str, now: datetime
) -> Resync:
    _check(connection, resync, brand)
    if connection.execute(_active_pieces(resync.id)).first() is not None:
        raise InvalidConfigError(
            f"The piece of resync {resync.id} that was cancelled has not stopped yet.",
            advice="Ask again in a moment.",
        )
    _update(
        connection,
        resync.id,
        state=ResyncState.RUNNING,
        requested_by=actor,
        requested_at=now,
        finished_at=None,
        error_class=None,
        error_message=None,
        advice=None,
    )
    return _read(connection, resync.id)


def _wish_piece(connection: sa.Connection, resync: Resync, *, now: datetime) -> None:
    store_wish(connection, _piece(resync), now=now)


def _piece(resync: Resync) -> Wish:
    since, until = resync.next_piece
    return Wish(
        brand_id=resync.brand_id,
        job=resync.job,
        trigger=Trigger.MANUAL,
        requested_by=resync.requested_by,
        reason=f"Resync {resync.since} to {resync.until}: {since} to {until}.",
        datasets=windowed_datasets(resync.job),
        window=(since, until),
        resync_id=resync.id,
    )


def _last(connection: sa.Connection, **same: Any) -> Resync | None:
    query = sa.select(resyncs).order_by(resyncs.c.requested_at.desc()).limit(1)
    for name, value in same.items():
        query = query.where(resyncs.c[name] == value)
    row = connection.execute(query).mappings().one_or_none()
    return _from_row(row) if row else None


def _active_pieces(resync_id: str) -> sa.Select[tuple[str]]:
    return sa.select(requests.c.id).where(IS_ACTIVE, requests.c.resync_id == resync_id)


def _read(connection: sa.Connection, resync_id: str) -> Resync:
    query = sa.select(resyncs).where(resyncs.c.id == resync_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise _unknown(resync_id)
    return _from_row(row)


def _unknown(resync_id: str) -> InvalidConfigError:
    return InvalidConfigError(
        f"There is no resync {resync_id!r}.", advice="`pipeline-assets resyncs list` shows them."
    )


def _from_row(row: sa.RowMapping) -> Resync:
    return Resync(**{**row, "state": ResyncState(row["state"])})


def _update(connection: sa.Connection, resync_id: str, **values: Any) -> None:
    connection.execute(resyncs.update().where(resyncs.c.id == resync_id).values(values))


def _audit(
    connection: sa.Connection, resync: Resync, action: str, *, actor: str, now: datetime
) -> None:
    audit.record(
        connection,
        at=now,
        actor=actor,
        action=action,
        target=f"{resync.brand_id}:{resync.job}",
        organization_id=resync.organization_id,
        detail={"resync_id": resync.id, "since": resync.since, "until": resync.until},
    )
