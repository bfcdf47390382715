"""Projects Dagster's event log into `dataset_attempts` and `dataset_status`.

The log is the truth; these two tables are a copy that pages and programs can read cheaply. Applying
a run twice changes nothing, a run is applied again while it may still change, and a status row is
always derived from the attempts, so neither order nor repetition matters.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import sqlalchemy as sa

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
from pipeline_assets.datasets import upstream_of
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import (
    brands,
    dataset_attempts,
    dataset_status,
    projection_cursors,
)

CURSOR = "dagster_log"
_OVERLAP = timedelta(minutes=1)  # Dagster stamps a change before it commits it
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


@dataclass(frozen=True)
class _Position:
    at: datetime
    revision: int


def project(instance: dg.DagsterInstance, engine: sa.Engine) -> int:
    """Bring attempts and status up to date with the log; returns the number of runs applied.

    Safe to call from several processes at once: whoever read the log first loses to whoever wrote
    first, and the next call makes up for it.
    """
    position = _read_position(engine)
    pages = dagster_log.changed_runs(instance, after=position.at - _OVERLAP)
    running = dagster_log.running_runs(instance)
    applied = 0
    for records in itertools.chain(pages, [running] if running else []):
        end = max(record.update_timestamp for record in records)
        histories = _histories(instance, records)
        with write_transaction(engine) as connection:
            if not _advance(connection, position, max(position.at, end)):
                return applied
            _apply(connection, histories)
        position = _Position(max(position.at, end), position.revision + 1)
        applied += len(histories)
    return applied


def rebuild(instance: dg.DagsterInstance, engine: sa.Engine) -> int:
    """Throw attempts and status away and project the whole log anew; readers see old or new."""
    applied = 0
    with write_transaction(engine) as connection:
        _take_cursor(connection)  # first: other projectors wait here, and then find it moved
        connection.execute(dataset_attempts.delete())
        connection.execute(dataset_status.delete())
        end = _BEGINNING
        for records in dagster_log.changed_runs(instance, after=_BEGINNING):
            histories = _histories(instance, records)
            _apply(connection, histories)
            end = records[-1].update_timestamp
            applied += len(histories)
        connection.execute(
            projection_cursors.update()
            .where(projection_cursors.c.name == CURSOR)
            .values(position_at=end)
        )
    return applied


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
            "request_id": history.tags.get("pipeline/request_id"),
            "planned_at": step.planned_at,
            "started_at": step.started_at,
            **_outcome(history, step, blockers=blockers),
        }


def _outcome(history: RunHistory, step: StepHistory, *, blockers: Sequence[str]) -> Row:
    if step.materialization is not None:
        return _stored(step.materialization)
    if step.failed_at is not None:
        return _failed(history, step)
    if history.state is RunState.ACTIVE:
        return _ended(None, None, None)
    if history.state is RunState.CANCELLED:
        return _ended(history.ended_at, "cancelled", None)
    if step.started_at is None and blockers:
        reason = f"Not tried because {', '.join(blockers)} failed in the same run."
        return _ended(history.ended_at, "skipped", Failure("UpstreamFailed", reason))
    failure = history.failure or worker_lost("The run ended before this dataset did.")
    return _ended(history.ended_at, "failed", failure)


def _failed(history: RunHistory, step: StepHistory) -> Row:
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


def _histories(instance: dg.DagsterInstance, records: Iterable[dg.RunRecord]) -> list[RunHistory]:
    by_id = {record.dagster_run.run_id: record for record in records}
    found = (dagster_log.read_history(instance, record) for record in by_id.values())
    return [history for history in found if history is not None]


def _read_position(engine: sa.Engine) -> _Position:
    with engine.connect() as connection:
        row = connection.execute(
            sa.select(projection_cursors).where(projection_cursors.c.name == CURSOR)
        ).one_or_none()
    return _Position(row.position_at, row.revision) if row else _Position(_BEGINNING, 0)


def _advance(connection: sa.Connection, position: _Position, end: datetime) -> bool:
    """Move the cursor if nobody else has since it was read."""
    if position.revision == 0:
        return _take_cursor(connection, position_at=end) == 1
    moved = connection.execute(
        projection_cursors.update()
        .where(
            projection_cursors.c.name == CURSOR,
            projection_cursors.c.revision == position.revision,
        )
        .values(position_at=end, revision=position.revision + 1)
    )
    return moved.rowcount == 1


def _take_cursor(connection: sa.Connection, *, position_at: datetime = _BEGINNING) -> int:
    """Make the cursor's row or count its revision up; returns the revision, the row is locked."""
    statement = dialect_insert(connection, projection_cursors).values(
        name=CURSOR, position_at=position_at, revision=1
    )
    revision = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"revision": projection_cursors.c.revision + 1}
        ).returning(projection_cursors.c.revision)
    ).scalar_one()
    return int(revision)


def _apply(connection: sa.Connection, histories: Sequence[RunHistory]) -> None:
    attempts = [row for history in histories for row in attempts_of(history)]
    if not attempts:
        return
    run_ids = [history.run_id for history in histories]
    connection.execute(dataset_attempts.delete().where(dataset_attempts.c.run_id.in_(run_ids)))
    connection.execute(dataset_attempts.insert(), attempts)
    touched = sorted({(row["brand_id"], row["dataset"]) for row in attempts})
    owners = sa.select(brands.c.id, brands.c.organization_id).where(
        brands.c.id.in_({brand for brand, _ in touched})
    )
    organizations = {row.id: row.organization_id for row in connection.execute(owners)}
    for brand_id, dataset in touched:
        connection.execute(
            dataset_status.delete().where(
                dataset_status.c.brand_id == brand_id, dataset_status.c.dataset == dataset
            )
        )
        status = _derive_status(connection, brand_id, dataset)
        if status is not None:
            status["organization_id"] = organizations.get(brand_id)
            connection.execute(dataset_status.insert().values(status))


def _derive_status(connection: sa.Connection, brand_id: str, dataset: str) -> Row | None:
    """The status that the stored attempts of one (brand, dataset) amount to.

    The newest attempt is the one that began last, whenever it ended: a late finisher never hides
    what began after it.
    """
    columns = dataset_attempts.c
    began_at = sa.func.coalesce(columns.started_at, columns.planned_at)
    attempts = (
        sa.select(dataset_attempts)
        .where(columns.brand_id == brand_id, columns.dataset == dataset)
        .order_by(began_at.desc(), columns.run_id.desc())
        .limit(1)
    )
    begun = columns.started_at.is_not(None) | columns.outcome.is_not(None)
    last = connection.execute(attempts.where(begun)).one_or_none()
    if last is None:
        return None
    ended = connection.execute(attempts.where(columns.outcome.is_not(None))).one_or_none()
    success = connection.execute(attempts.where(columns.outcome == "succeeded")).one_or_none()
    return {
        "brand_id": brand_id,
        "dataset": dataset,
        "last_attempt_run_id": last.run_id,
        "last_attempt_started_at": last.started_at or last.planned_at,
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
