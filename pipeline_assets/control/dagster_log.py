"""Reading Dagster's run storage and event log: the only module that knows how its records look.

`get_records_for_run`, `StepFailureData` and the planned-materialization data are importable but not
marked public, and no public call gives a run's step events. Their use stays here; a contract test
runs a real job and reads it back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import dagster as dg

from pipeline_assets.control.run_tags import PARTITION, job_of_run

INCOMPLETE = "incomplete"
"""Prefix of the metadata of a materialization that lacks a part of the brand (see `Failure`)."""

INTERRUPTED = "DagsterExecutionInterruptedError"
"""What a step fails with when its run is ended from outside: by a person, or over its time."""

_EVENT_TYPES = {
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.RUN_FAILURE,
}
_EVENT_PAGE = 1_000  # a five-dataset run has some 40 of these events


class RunState(StrEnum):
    """A run's state as far as attempts care."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATES = {
    dg.DagsterRunStatus.SUCCESS: RunState.SUCCEEDED,
    dg.DagsterRunStatus.FAILURE: RunState.FAILED,
    dg.DagsterRunStatus.CANCELED: RunState.CANCELLED,
}
_IN_PROGRESS = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Failure:
    """Why a step, a run or a part of a dataset failed, as the edge wrapper wrote it."""

    error_class: str
    message: str
    advice: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class Materialization:
    """A stored dataset: when, and the metadata's plain values."""

    at: datetime
    metadata: Mapping[str, Any]


@dataclass
class StepHistory:
    """What the log says of one (brand, dataset) in one run."""

    planned_at: datetime
    started_at: datetime | None = None
    failed_at: datetime | None = None
    failure: Failure | None = None
    materialization: Materialization | None = None


@dataclass(frozen=True)
class RunHistory:
    """One run: its state, and its steps by (brand, dataset)."""

    run_id: str
    job: str
    state: RunState
    tags: Mapping[str, str]
    ended_at: datetime | None
    failure: Failure | None
    steps: Mapping[tuple[str, str], StepHistory] = field(default_factory=dict)


def changed_runs(
    instance: dg.DagsterInstance, *, after: datetime, page: int = 200
) -> Iterator[Sequence[dg.RunRecord]]:
    """Pages of the runs whose record changed after the instant, oldest change first.

    Each run comes once. Runs that share one timestamp are never split from each other for good: the
    next page begins a microsecond before the last one's end, and grows when nothing new is on it.
    """
    seen: set[str] = set()
    limit = page
    while True:
        records = instance.get_run_records(
            filters=dg.RunsFilter(updated_after=after),
            limit=limit,
            order_by="update_timestamp",
            ascending=True,
        )
        new = [record for record in records if record.dagster_run.run_id not in seen]
        seen.update(record.dagster_run.run_id for record in new)
        if new:
            yield new
        if len(records) < limit:
            return
        limit = page if new else limit * 2
        after = records[-1].update_timestamp - timedelta(microseconds=1)


def running_runs(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """Runs in progress: their step events arrive without changing the run's record."""
    return instance.get_run_records(filters=dg.RunsFilter(statuses=_IN_PROGRESS))


def read_history(instance: dg.DagsterInstance, record: dg.RunRecord) -> RunHistory | None:
    """One run's history from its events; None for a run that has none of our datasets."""
    run = record.dagster_run
    steps: dict[tuple[str, str], StepHistory] = {}
    by_step_key: dict[str, list[StepHistory]] = {}
    run_failure: Failure | None = None
    for event, at in _events(instance, run.run_id):
        if event.event_type is dg.DagsterEventType.RUN_FAILURE:
            run_failure = _run_failure(event)
        elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
            brand = event.partition or run.tags.get(PARTITION)
            if brand and event.asset_key:
                dataset = event.asset_key.to_user_string()
                step = steps.setdefault((brand, dataset), StepHistory(planned_at=at))
                by_step_key.setdefault(event.step_key or dataset, []).append(step)
        else:
            _apply(event, at, steps, by_step_key.get(event.step_key or "", []))
    job = job_of_run(run.job_name, {dataset for _, dataset in steps})
    if job is None or not steps:
        return None
    return RunHistory(
        run_id=run.run_id,
        job=job,
        state=_STATES.get(run.status, RunState.ACTIVE),
        tags=run.tags,
        ended_at=_instant(record.end_time),
        failure=run_failure,
        steps=steps,
    )


def _apply(
    event: dg.DagsterEvent,
    at: datetime,
    steps: Mapping[tuple[str, str], StepHistory],
    of_step: Sequence[StepHistory],
) -> None:
    if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        dataset = materialization.asset_key.to_user_string()
        step = steps.get((materialization.partition or "", dataset))
        if step:
            values = {key: value.value for key, value in materialization.metadata.items()}
            step.materialization = Materialization(at, values)
        return
    for step in of_step:
        if event.event_type is dg.DagsterEventType.STEP_START:
            step.started_at = at
        else:
            step.failed_at, step.failure = at, _step_failure(event)


def _events(
    instance: dg.DagsterInstance, run_id: str
) -> Iterator[tuple[dg.DagsterEvent, datetime]]:
    cursor: str | None = None
    while True:
        page = instance.get_records_for_run(
            run_id, cursor=cursor, of_type=_EVENT_TYPES, limit=_EVENT_PAGE
        )
        for record in page.records:
            event = record.event_log_entry.dagster_event
            at = _instant(record.event_log_entry.timestamp)
            if event is not None and at is not None:
                yield event, at
        if not page.has_more:
            return
        cursor = page.cursor


def _step_failure(event: dg.DagsterEvent) -> Failure:
    data = event.step_failure_data
    user_data = data.user_failure_data
    if user_data is not None and "error_class" in user_data.metadata:
        values = {key: value.value for key, value in user_data.metadata.items()}
        return failure_from_metadata(values, message=user_data.description or "")
    if data.error is None:
        return Failure("UnknownError", "The step failed without an error in Dagster's log.")
    cause = data.error.cause or data.error
    return Failure(cause.cls_name or "UnknownError", cause.message.strip())


def failure_from_metadata(
    values: Mapping[str, Any], *, message: str | None = None, prefix: str = ""
) -> Failure:
    """The failure that the edge wrapper wrote into metadata with `metadata_of_failure`."""
    return Failure(
        error_class=str(values[f"{prefix}error_class"]),
        message=message if message is not None else str(values[f"{prefix}error_message"]),
        advice=str(values.get(f"{prefix}advice", "")),
        retry_after_seconds=values.get(f"{prefix}retry_after_seconds"),
    )


def _run_failure(event: dg.DagsterEvent) -> Failure:
    # An event reported from outside the run carries a message and no data.
    error = event.job_failure_data.error if event.event_specific_data else None
    if error is not None:
        return Failure(error.cls_name or "RunFailed", error.message.strip())
    return worker_lost(event.message or "The run's worker ended without a word.")


def worker_lost(message: str) -> Failure:
    """The failure of a run whose process ended before its work did."""
    return Failure(
        "WorkerLost",
        message,
        advice="Dagster starts a crashed run again by itself; when it happens time and again, look "
        "at the run's log and at the machine's memory.",
    )


def _instant(timestamp: float | None) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)
