"""What is deleted when, and what never is, however old.

Never deleted: the run that holds the last success or the last attempt of a dataset for a brand, and
all of that run's attempts; runs that have not ended; whatever belongs to a request or resync that
has not ended; and, while a dataset is being synced, its earlier attempts with their runs, because
the error shown until the end is one of theirs. So a rebuilt status is the same before and after.

Everything goes in batches, each in its own short transaction: nothing is locked for long, and what
an interruption leaves is done the next time.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.control import dagster_log
from pipeline_assets.control.projector import read_projected_until
from pipeline_assets.control.requests import IS_ACTIVE
from pipeline_assets.control.resyncs import ResyncState
from pipeline_assets.settings import Settings
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import (
    audit_log,
    dataset_attempts,
    dataset_status,
    requests,
    resyncs,
)

_BATCH = 500
"""Rows at a time: a fraction of a second of work."""


class Part(StrEnum):
    """The kinds of history, in the order in which they are cleared."""

    AUDIT_ENTRIES = "audit entries"
    RESYNCS = "resyncs"
    REQUESTS = "archived requests"
    ATTEMPTS = "attempts"
    RUNS = "runs"
    UNARCHIVED = "requests to archive"
    """Ended requests that stay, but leave the current ones."""


@dataclass(frozen=True)
class Expired:
    """How many of a kind are older than `days`, and may go; `days` 0: kept for ever."""

    part: Part
    days: int
    count: int


@dataclass(frozen=True)
class RetentionPlan:
    """What would go, and how many runs are as old and stay, by the reason why."""

    expired: tuple[Expired, ...]
    kept_runs: dict[str, int]


Progress = Callable[[Part, int], None]
"""Is told after each batch how many of a kind are done so far."""


@dataclass(frozen=True)
class _Sweep:
    """What of a table has expired.

    It is taken in batches by `key`, the oldest by `age` first: each of these has an index.
    """

    key: sa.Column[str]
    age: sa.Column[datetime]
    is_expired: sa.ColumnElement[bool]
    archives_at: datetime | None = None

    @property
    def table(self) -> sa.Table:
        return self.key.table

    def count(self, engine: sa.Engine) -> int:
        query = sa.select(sa.func.count()).select_from(self.table).where(self.is_expired)
        with engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def batches(self, engine: sa.Engine) -> Iterator[int]:
        """Clear all that has expired; yields the number of rows of each batch."""
        oldest = sa.select(self.key, self.age).where(self.is_expired).order_by(self.age)
        batch = oldest.limit(_BATCH)
        while True:
            with engine.connect() as connection:  # a long search must not hold the write lock
                found = connection.execute(batch).all()
            if not found:
                return
            with write_transaction(engine) as connection:
                done = connection.execute(self._change({key for key, _ in found})).rowcount
            if not done:  # somebody else has been faster
                return
            yield done
            batch = oldest.where(self.age >= found[-1][1]).limit(_BATCH)

    def _change(self, keys: Collection[str]) -> sa.Update | sa.Delete:
        chosen = self.key.in_(keys) & self.is_expired
        if self.archives_at is None:
            return sa.delete(self.table).where(chosen)
        return sa.update(self.table).where(chosen).values(archived_at=self.archives_at)


def plan_retention(
    instance: dg.DagsterInstance, engine: sa.Engine, settings: Settings, *, now: datetime
) -> RetentionPlan:
    """What `apply_retention` would do now; changes nothing."""
    counts: Counter[Part] = Counter()
    kept: Counter[str] = Counter()
    for run_ids, reasons in _expired_runs(instance, engine, settings, now=now):
        counts[Part.RUNS] += len(run_ids)
        kept.update(reasons)
    for part, sweep in _sweeps(settings, now=now).items():
        counts[part] = sweep.count(engine)
    return RetentionPlan(_expired(settings, counts), dict(kept))


def apply_retention(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    *,
    actor: str,
    now: datetime,
    progress: Progress,
) -> tuple[Expired, ...]:
    """Archive and delete what has expired; returns how much of each kind it was.

    What was cleared stands in the audit log, unless it was nothing.
    """
    counts: Counter[Part] = Counter()
    sweeps = _sweeps(settings, now=now)
    for part in Part:
        if part is Part.RUNS:
            batches = _delete_runs(instance, engine, settings, now=now)
        elif part in sweeps:
            batches = sweeps[part].batches(engine)
        else:
            continue
        for done in batches:
            counts[part] += done
            progress(part, counts[part])
    cleared = {str(part): count for part, count in counts.items() if count}
    if cleared:
        with write_transaction(engine) as connection:
            audit.record(
                connection,
                at=now,
                actor=actor,
                action="retention.apply",
                target="history",
                detail=cleared,
            )
    return _expired(settings, counts)


def _days(settings: Settings) -> dict[Part, int]:
    return {
        Part.AUDIT_ENTRIES: settings.retention_history_days,
        Part.RESYNCS: settings.retention_history_days,
        Part.REQUESTS: settings.retention_history_days,
        Part.ATTEMPTS: settings.retention_attempt_days,
        Part.RUNS: settings.retention_run_days,
        Part.UNARCHIVED: settings.retention_archive_days,
    }


def _expired(settings: Settings, counts: Counter[Part]) -> tuple[Expired, ...]:
    days = _days(settings)
    return tuple(Expired(part, days[part], counts[part]) for part in Part)


def _sweeps(settings: Settings, *, now: datetime) -> dict[Part, _Sweep]:
    """The tables' part of the work; what is kept for ever is left out."""

    def before(part: Part) -> datetime:
        return now - timedelta(days=_days(settings)[part])

    sweeps = {
        Part.AUDIT_ENTRIES: _Sweep(
            audit_log.c.id, audit_log.c.at, audit_log.c.at < before(Part.AUDIT_ENTRIES)
        ),
        Part.RESYNCS: _Sweep(
            resyncs.c.id, resyncs.c.finished_at, _is_resync_expired(before(Part.RESYNCS))
        ),
        Part.REQUESTS: _Sweep(
            requests.c.chain_id,
            requests.c.requested_at,
            requests.c.archived_at.is_not(None) & _is_chain_expired(before(Part.REQUESTS)),
        ),
        Part.ATTEMPTS: _Sweep(
            dataset_attempts.c.run_id,
            dataset_attempts.c.ended_at,
            _is_attempt_expired(before(Part.ATTEMPTS)),
        ),
        Part.UNARCHIVED: _Sweep(
            requests.c.chain_id,
            requests.c.requested_at,
            requests.c.archived_at.is_(None) & _is_chain_over(before(Part.UNARCHIVED)),
            archives_at=now,
        ),
    }
    return {part: sweep for part, sweep in sweeps.items() if _days(settings)[part]}


def _is_chain_over(before: datetime) -> sa.ColumnElement[bool]:
    """Whether a request and all of its chain ended before then, and its resync, if any, has too."""
    other = requests.alias()
    is_recent = other.c.finished_at.is_(None) | (other.c.finished_at >= before)
    return sa.and_(
        requests.c.requested_at < before,  # follows from the rest, and there is an index for it
        ~sa.exists().where(other.c.chain_id == requests.c.chain_id, is_recent),
        requests.c.resync_id.is_(None) | requests.c.resync_id.not_in(_running_resyncs()),
    )


def _is_chain_expired(before: datetime) -> sa.ColumnElement[bool]:
    """Whether a request's chain is over, archived, and none of its runs holds a status."""
    other = requests.alias()
    is_needed = other.c.archived_at.is_(None) | other.c.run_id.in_(_status_runs())
    in_chain = other.c.chain_id == requests.c.chain_id
    return _is_chain_over(before) & ~sa.exists().where(in_chain, is_needed)


def _is_resync_expired(before: datetime) -> sa.ColumnElement[bool]:
    is_referred_to = sa.exists().where(requests.c.resync_id == resyncs.c.id)
    return sa.and_(resyncs.c.finished_at < before, ~is_referred_to)


def _is_attempt_expired(before: datetime) -> sa.ColumnElement[bool]:
    columns = dataset_attempts.c
    return sa.and_(
        columns.ended_at < before,
        columns.run_id.not_in(_status_runs()),
        ~_is_being_synced(),
        columns.request_id.is_(None) | columns.request_id.not_in(_open_requests()),
    )


def _is_being_synced() -> sa.ColumnElement[bool]:
    """Whether the newest attempt at an attempt's dataset has not ended."""
    return sa.exists().where(
        dataset_status.c.brand_id == dataset_attempts.c.brand_id,
        dataset_status.c.dataset == dataset_attempts.c.dataset,
        dataset_status.c.last_attempt_outcome.is_(None),
    )


def _status_runs() -> sa.CompoundSelect[tuple[str]]:
    success, attempt = dataset_status.c.last_success_run_id, dataset_status.c.last_attempt_run_id
    return sa.union(
        sa.select(success).where(success.is_not(None)),
        sa.select(attempt).where(attempt.is_not(None)),
    )


def _running_resyncs() -> sa.Select[tuple[str]]:
    return sa.select(resyncs.c.id).where(resyncs.c.state == ResyncState.RUNNING)


def _open_requests() -> sa.CompoundSelect[tuple[str]]:
    """The requests of chains and resyncs that have not ended."""
    open_chains = sa.select(requests.c.chain_id).where(IS_ACTIVE)
    return sa.union(
        sa.select(requests.c.id).where(requests.c.chain_id.in_(open_chains)),
        sa.select(requests.c.id).where(requests.c.resync_id.in_(_running_resyncs())),
    )


def _delete_runs(
    instance: dg.DagsterInstance, engine: sa.Engine, settings: Settings, *, now: datetime
) -> Iterator[int]:
    for run_ids, _ in _expired_runs(instance, engine, settings, now=now):
        for run_id in run_ids:
            dagster_log.delete_run(instance, run_id)
        if run_ids:
            yield len(run_ids)


def _expired_runs(
    instance: dg.DagsterInstance, engine: sa.Engine, settings: Settings, *, now: datetime
) -> Iterator[tuple[list[str], list[str]]]:
    """Pages of the runs that may be deleted, each with the reasons why others of the page stay."""
    if not settings.retention_run_days:
        return
    # A run that has not been projected may hold a success that no table knows of yet.
    projected_until = read_projected_until(engine)
    before = min(now - timedelta(days=settings.retention_run_days), projected_until)
    for records in dagster_log.ended_runs(instance, before=before, page=_BATCH):
        run_ids = [record.dagster_run.run_id for record in records]
        reasons = _why_needed(engine, run_ids)
        yield [run_id for run_id in run_ids if run_id not in reasons], list(reasons.values())


def _why_needed(engine: sa.Engine, run_ids: Sequence[str]) -> dict[str, str]:
    """Those of the runs that must stay, each with the reason as people are told it."""
    success, attempt = dataset_status.c.last_success_run_id, dataset_status.c.last_attempt_run_id
    attempts = sa.select(dataset_attempts.c.run_id).where(dataset_attempts.c.run_id.in_(run_ids))
    queries = {
        "its request or resync has not ended": attempts.where(
            dataset_attempts.c.request_id.in_(_open_requests())
        ),
        "its dataset is being synced now": attempts.where(_is_being_synced()),
        "it is the last attempt at a dataset": sa.select(attempt).where(attempt.in_(run_ids)),
        "it is the last success of a dataset": sa.select(success).where(success.in_(run_ids)),
    }
    reasons: dict[str, str] = {}
    with engine.connect() as connection:
        for reason, query in queries.items():
            reasons |= dict.fromkeys(connection.execute(query).scalars(), reason)
    return reasons
