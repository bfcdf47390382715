"""Projects Dagster's event log into `dataset_attempts`, `dataset_status` and requests' outcomes.

The log is the truth; these tables are a copy that pages and programs can read cheaply. Applying a
run twice changes nothing, a run is applied again while it may still change, and a status row is
always derived from the attempts, so neither order nor repetition matters.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.control import dagster_log
from pipeline_assets.control.dagster_log import (
    INCOMPLETE,
    INTERRUPTED,
    Failure,
    RunHistory,
    RunState,
    StepHistory,
    worker_lost,
)
from pipeline_assets.control.request_tracking import (
    end_deleted,
    runs_of_active_requests,
    runs_of_cancelled_requests,
    track_runs,
    with_known_owners,
)
from pipeline_assets.control.retries import RetryPolicies
from pipeline_assets.control.targets import read_owners
from pipeline_assets.datasets import upstream_of
from pipeline_assets.errors import UpstreamFailed
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import (
    dataset_attempts,
    dataset_status,
    projection_cursors,
)

_CURSOR = "dagster_log"
_OVERLAP = timedelta(minutes=1)  # Dagster stamps a change before it commits it
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


@dataclass(frozen=True)
class _Position:
    at: datetime
    revision: int


def project(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    *,
    policies: RetryPolicies = RetryPolicies(),  # noqa: B008 - it cannot change
) -> int:
    """Bring attempts, status and requests up to date with the log; returns the runs applied.

    Runs of cancelled requests are stopped. Safe to call from several processes at once: whoever
    read the log first loses to whoever wrote first, and the next call makes up for it.
    """
    now = utcnow()
    position = _read_position(engine)
    pages = dagster_log.changed_runs(instance, after=position.at - _OVERLAP)
    watched = _watched_runs(instance, engine, now=now)
    applied = 0
    for records in itertools.chain(pages, [watched] if watched else []):
        end = max(record.update_timestamp for record in records)
        histories = _histories(instance, records, now=now)
        with write_transaction(engine) as connection:
            if not _advance(connection, position, max(position.at, end)):
                return applied
            to_stop = apply_histories(connection, histories, policies=policies, now=now)
        for run_id in to_stop:
            dagster_log.terminate(instance, run_id)
        position = _Position(max(position.at, end), position.revision + 1)
        applied += len(histories)
    return applied


def _watched_runs(
    instance: dg.DagsterInstance, engine: sa.Engine, *, now: datetime
) -> Sequence[dg.RunRecord]:
    """Runs that may have news though their record has not changed.

    Those in progress: their step events arrive without changing it. And the ended ones of requests
    that have not ended: whether Dagster runs them again may have been decided by the mere clock.
    And those of requests that somebody has cancelled, wherever they wait: they are to be stopped.
    """
    running = dagster_log.running_runs(instance)
    with engine.connect() as connection:
        wanted = set(runs_of_active_requests(connection))
        cancelled = set(runs_of_cancelled_requests(connection))
    records = dagster_log.records_of(instance, wanted)
    deleted = wanted - {record.dagster_run.run_id for record in records}
    if deleted:
        with write_transaction(engine) as connection:
            end_deleted(connection, deleted, now=now)
            _end_attempts_of_deleted(connection, deleted, now=now)
    runs = ((record, record.dagster_run) for record in records)
    return [*running, *(r for r, run in runs if run.is_finished or run.run_id in cancelled)]


def rebuild(instance: dg.DagsterInstance, engine: sa.Engine) -> int:
    """Throw attempts and status away and project the whole log anew; readers see old or new."""
    applied = 0
    now = utcnow()
    with write_transaction(engine) as connection:
        _take_cursor(connection)  # first: other projectors wait here, and then find it moved
        connection.execute(dataset_attempts.delete())
        connection.execute(dataset_status.delete())
        end = _BEGINNING
        for records in dagster_log.changed_runs(instance, after=_BEGINNING):
            histories = _histories(instance, records, now=now)
            apply_histories(connection, histories, policies=RetryPolicies(), now=now)
            end = records[-1].update_timestamp
            applied += len(histories)
        connection.execute(
            projection_cursors.update()
            .where(projection_cursors.c.name == _CURSOR)
            .values(position_at=end)
        )
    return applied


def read_projected_until(engine: sa.Engine) -> datetime:
    """Up to when Dagster's log has been projected; long before its beginning: not at all yet."""
    return _read_position(engine).at


def attempts_of(history: RunHistory) -> Iterator[Row]:
    """The attempts that a run's history amounts to, one per (brand, dataset) planned in it."""
    failed = {dataset for (_, dataset), step in history.steps.items() if step.failed_at}
    for (brand_id, dataset), step in history.steps.items():
        blockers = sorted(failed & upstream_of(dataset))
        yield {
            "brand_id": brand_id,
            "dataset": dataset,
            "run_id": history.run_id,
            "job": history.job,
            "request_id": history.owner_id,
            "window_since": step.window[0] if step.window else None,
            "window_until": step.window[1] if step.window else None,
            "planned_at": step.planned_at,
            "started_at": step.started_at,
            "began_at": step.started_at or step.planned_at,
            **_outcome(history, step, blockers=blockers),
        }


def _outcome(history: RunHistory, step: StepHistory, *, blockers: Sequence[str]) -> Row:
    if step.materialization is not None:
        return _stored(step.materialization)
    if step.failed_at is not None:
        return _failed(history, step)
    if not history.state.is_ended:
        return _ended(None, None, None)
    if history.state is RunState.CANCELLED:
        return _ended(history.ended_at, "cancelled", None)
    if step.started_at is None and blockers:
        reason = f"Not tried because {', '.join(blockers)} failed in the same run."
        return _ended(history.ended_at, "skipped", Failure(UpstreamFailed.__name__, reason))
    failure = history.failure or worker_lost("The run ended before this dataset did.")
    return _ended(history.ended_at, "failed", failure)


def _failed(history: RunHistory, step: StepHistory) -> Row:
    if step.failure is not None and step.failure.error_class == UpstreamFailed.__name__:
        return _ended(step.failed_at, "skipped", step.failure)
    if step.failure is None or step.failure.error_class != INTERRUPTED:
        return _ended(step.failed_at, "failed", step.failure)
    if history.state is RunState.FAILED:  # ended from outside for a reason: say that one
        return _ended(step.failed_at, "failed", history.failure or step.failure)
    return _ended(step.failed_at, "cancelled", None)


def _stored(materialization: dagster_log.Materialization) -> Row:
    metadata = dict(materialization.metadata)
    failure, outcome = None, "succeeded"
    if f"{INCOMPLETE}_error_class" in metadata:
        failure = dagster_log.failure_from_metadata(metadata, prefix=f"{INCOMPLETE}_")
        outcome = "failed"
    row = _ended(materialization.at, outcome, failure)
    row["records"] = metadata.get("records")
    row["distinct_ads"] = metadata.get("distinct_ads")
    row["metadata"] = _plain(metadata)
    return row


def _ended(at: datetime | None, outcome: str | None, failure: Failure | None) -> Row:
    return {
        "ended_at": at,
        "outcome": outcome,
        "records": None,
        "distinct_ads": None,
        "error_class": failure.error_class if failure else None,
        "error_message": failure.message if failure else None,
        "advice": failure.advice or None if failure else None,
        "retry_after_seconds": failure.retry_after_seconds if failure else None,
        "metadata": {},
    }


def _plain(metadata: Row) -> Row:
    """Metadata as JSON can hold it; column schemas and links are Dagster's to show."""
    return {k: v for k, v in metadata.items() if isinstance(v, str | int | float | list | dict)}


def _histories(
    instance: dg.DagsterInstance, records: Iterable[dg.RunRecord], *, now: datetime
) -> list[RunHistory]:
    by_id = {record.dagster_run.run_id: record for record in records}
    found = (dagster_log.read_history(instance, record, now=now) for record in by_id.values())
    return [history for history in found if history is not None]


def _read_position(engine: sa.Engine) -> _Position:
    with engine.connect() as connection:
        row = connection.execute(
            sa.select(projection_cursors).where(projection_cursors.c.name == _CURSOR)
        ).one_or_none()
    return _Position(row.position_at, row.revision) if row else _Position(_BEGINNING, 0)


def _advance(connection: sa.Connection, position: _Position, end: datetime) -> bool:
    """Move the cursor if nobody else has since it was read."""
    if position.revision == 0:
        return _take_cursor(connection, position_at=end) == 1
    moved = connection.execute(
        projection_cursors.update()
        .where(
            projection_cursors.c.name == _CURSOR,
            projection_cursors.c.revision == position.revision,
        )
        .values(position_at=end, revision=position.revision + 1)
    )
    return moved.rowcount == 1


def _take_cursor(connection: sa.Connection, *, position_at: datetime = _BEGINNING) -> int:
    """Make the cursor's row or count its revision up; returns the revision, the row is locked."""
    statement = dialect_insert(connection, projection_cursors).values(
        name=_CURSOR, position_at=position_at, revision=1
    )
    revision = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"revision": projection_cursors.c.revision + 1}
        ).returning(projection_cursors.c.revision)
    ).scalar_one()
    return int(revision)


def apply_histories(
    connection: sa.Connection,
    histories: Sequence[RunHistory],
    *,
    policies: RetryPolicies,
    now: datetime,
) -> list[str]:
    """Store what these runs say of attempts, status and requests; returns the runs to stop."""
    histories = with_known_owners(connection, histories)
    _store_attempts(connection, histories)
    return track_runs(connection, histories, policies=policies, now=now)


def _store_attempts(connection: sa.Connection, histories: Sequence[RunHistory]) -> None:
    attempts = [row for history in histories for row in attempts_of(history)]
    if not attempts:
        return
    run_ids = [history.run_id for history in histories]
    connection.execute(dataset_attempts.delete().where(dataset_attempts.c.run_id.in_(run_ids)))
    connection.execute(dataset_attempts.insert(), attempts)
    _store_statuses(connection, run_ids)


def _end_attempts_of_deleted(
    connection: sa.Connection, run_ids: Collection[str], *, now: datetime
) -> None:
    """Nobody hears any more how they went; what had ended before stays as it is."""
    values = _ended(now, "failed", Failure("RunDeleted", "Its run was deleted from Dagster."))
    connection.execute(
        dataset_attempts.update()
        .where(dataset_attempts.c.run_id.in_(run_ids), dataset_attempts.c.outcome.is_(None))
        .values(values)
    )
    _store_statuses(connection, run_ids)


def _store_statuses(connection: sa.Connection, run_ids: Collection[str]) -> None:
    """Derive the status of every (brand, dataset) in these runs anew."""
    statuses = _derive_statuses(connection, run_ids)
    if not statuses:
        return
    owners = read_owners(connection, {status["brand_id"] for status in statuses})
    for status in statuses:
        status["organization_id"] = owners.get(status["brand_id"])
    statement = dialect_insert(connection, dataset_status)
    key = ("brand_id", "dataset")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=key,
            set_={name: statement.excluded[name] for name in statuses[0] if name not in key},
        ),
        statuses,
    )


def _derive_statuses(connection: sa.Connection, run_ids: Collection[str]) -> list[Row]:
    """The statuses that the stored attempts amount to, of every (brand, dataset) in these runs.

    The newest attempt is the one that began last, whenever it ended: a late finisher never hides
    what began after it. Its cost depends on the runs, not on how many attempts are stored.
    """
    in_runs = (
        sa.select(dataset_attempts.c.brand_id, dataset_attempts.c.dataset)
        .where(dataset_attempts.c.run_id.in_(run_ids))
        .distinct()
        .subquery()
    )
    attempt = dataset_attempts.c
    is_ended = attempt.outcome.is_not(None)
    newest = {
        "last": _newest_run(in_runs, attempt.started_at.is_not(None) | is_ended),
        "ended": _newest_run(in_runs, is_ended),
        "success": _newest_run(in_runs, attempt.outcome == "succeeded"),
    }
    pairs = connection.execute(
        sa.select(in_runs, *(query.label(name) for name, query in newest.items()))
    ).all()
    wanted = {run_id for pair in pairs for run_id in pair[2:] if run_id is not None}
    found = connection.execute(sa.select(dataset_attempts).where(attempt.run_id.in_(wanted)))
    by_key = {(row.brand_id, row.dataset, row.run_id): row for row in found}

    def of(pair: sa.Row[Any], name: str) -> Any:
        return by_key.get((pair.brand_id, pair.dataset, getattr(pair, name)))

    return [
        _status(of(pair, "last"), of(pair, "ended"), of(pair, "success"))
        for pair in pairs
        if pair.last is not None
    ]


def _newest_run(
    in_runs: sa.Subquery, condition: sa.ColumnElement[bool]
) -> sa.ScalarSelect[str | None]:
    """The run of the newest attempt at a pair that is so; an index finds it from the end."""
    attempt = dataset_attempts.c
    query = sa.select(attempt.run_id).where(
        attempt.brand_id == in_runs.c.brand_id,
        attempt.dataset == in_runs.c.dataset,
        attempt.window_since.is_(None),  # old days synced again say nothing of today's
        condition,
    )
    newest_first = query.order_by(attempt.began_at.desc(), attempt.run_id.desc())
    return newest_first.limit(1).scalar_subquery()


def _status(last: Any, ended: Any, success: Any) -> Row:
    return {
        "brand_id": last.brand_id,
        "dataset": last.dataset,
        "last_attempt_run_id": last.run_id,
        "last_attempt_started_at": last.began_at,
        "last_attempt_ended_at": last.ended_at,
        "last_attempt_outcome": last.outcome,
        "last_success_run_id": success.run_id if success else None,
        "last_success_at": success.ended_at if success else None,
        "records_affected": success.records if success else None,
        "distinct_ads": success.distinct_ads if success else None,
        "error_class": ended.error_class if ended else None,
        "error_message": ended.error_message if ended else None,
        "advice": ended.advice if ended else None,
        "retry_after_seconds": ended.retry_after_seconds if ended else None,
        "metadata": success.metadata if success else {},
    }
