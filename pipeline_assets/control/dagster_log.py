"""Dagster's run storage and event log: the only module that knows how its records look.

`get_records_for_run` and its cursors, `report_run_failed`, `run_coordinator.cancel_run`,
`get_concurrency_config`, `get_daemon_heartbeats` and the events' own data are importable but not
marked public, and nothing public reads a run's step events or ends a run. Their use stays here;
contract tests run real jobs against it.
"""

import base64
import json
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline_assets.control.run_tags import PARTITION, REQUEST_ID, job_of_run
from pipeline_assets.redaction import redact

INCOMPLETE = "incomplete"
"""Prefix of the metadata of a materialization that lacks a part of the brand (see `Failure`)."""

FAILED_BRANDS = "failed_brands"
"""Metadata of a step's failure: what went wrong, by brand, in a run over several."""

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


_RETRY_DECISION = timedelta(seconds=30)
"""Dagster decides within moments of a run's failure whether it runs it again."""
_RETRY_LAUNCH = timedelta(minutes=15)
"""How long a run that Dagster said it would run again is waited for."""

DAEMON_SILENCE = timedelta(minutes=2)
"""A daemon that is silent for so long has stopped: it beats every 30 s, and one evaluation may hold
a beat up for a minute."""

_RUN_KEY = "dagster/run_key"
_WILL_RETRY = "dagster/will_retry"
_RETRIED_AS = "dagster/auto_retry_run_id"
_RETRY_NUMBER = "dagster/retry_number"

_LOG = logging.getLogger(__name__)
_WORKER_PID = re.compile(r"Started process for run \(pid: (\d+)\)")


class RunState(StrEnum):
    """A run's state as far as attempts and requests care."""

    WAITING = "waiting"
    ACTIVE = "active"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        """Whether the run has ended, for all that is known now."""
        return self in {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}


_STATES = {
    dg.DagsterRunStatus.STARTED: RunState.ACTIVE,
    dg.DagsterRunStatus.CANCELING: RunState.CANCELLING,
    dg.DagsterRunStatus.SUCCESS: RunState.SUCCEEDED,
    dg.DagsterRunStatus.FAILURE: RunState.FAILED,
    dg.DagsterRunStatus.CANCELED: RunState.CANCELLED,
}
_IN_PROGRESS = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

_ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
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
    """What the log says of one (brand, dataset) in one run.

    `window` holds the days that the run's config names; None: the dataset's usual ones.
    """

    planned_at: datetime
    window: tuple[date, date] | None = None
    started_at: datetime | None = None
    failed_at: datetime | None = None
    failure: Failure | None = None
    materialization: Materialization | None = None


@dataclass(frozen=True)
class RunHistory:
    """One run: its state, and its steps by (brand, dataset).

    `is_final` is False while Dagster may still run a crashed run again. A run that it started for
    that reason names the runs before it in `ancestors`, the newest first.
    """

    run_id: str
    job: str
    state: RunState
    tags: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    failure: Failure | None
    is_final: bool
    ancestors: tuple[str, ...] = ()
    is_started_by_us: bool = False
    steps: Mapping[tuple[str, str], StepHistory] = field(default_factory=dict)

    @property
    def request_id(self) -> str | None:
        """The request that the run carries; one that a person repeats keeps the first run's."""
        return self.tags.get(REQUEST_ID)

    @property
    def owner_id(self) -> str:
        """The id of the request that the run belongs to: the one that it was started for.

        Whatever a person started in Dagster itself belongs to a request named after the run.
        """
        if self.is_started_by_us and self.request_id is not None:
            return self.request_id
        return self.ancestors[-1] if self.ancestors else self.run_id


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


def has_materialization(instance: dg.DagsterInstance, dataset: str, brand_id: str) -> bool:
    """Whether the log has the dataset as stored for the brand, if only in part."""
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(dataset), asset_partitions=[brand_id])
    return bool(instance.fetch_materializations(records, limit=1).records)


def running_runs(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """Runs in progress: their step events arrive without changing the run's record."""
    return instance.get_run_records(filters=dg.RunsFilter(statuses=_IN_PROGRESS))


def records_of(instance: dg.DagsterInstance, run_ids: Collection[str]) -> Sequence[dg.RunRecord]:
    """The records of these runs; a run that has been deleted has none."""
    if not run_ids:
        return []
    return instance.get_run_records(filters=dg.RunsFilter(run_ids=list(run_ids)))


def read_history(
    instance: dg.DagsterInstance, record: dg.RunRecord, *, now: datetime
) -> RunHistory | None:
    """One run's history from its events; None for a run that has none of our datasets."""
    run = record.dagster_run
    steps: dict[tuple[str, str], StepHistory] = {}
    by_step_key: dict[str, dict[str, StepHistory]] = {}
    run_failure: Failure | None = None
    chosen = _chosen_brands(run)
    for event, at in _events(instance, run.run_id):
        if event.event_type is dg.DagsterEventType.RUN_FAILURE:
            run_failure = _run_failure(event)
        elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
            brand = event.partition or run.tags.get(PARTITION)
            dataset = event.asset_key.to_user_string() if event.asset_key else ""
            if brand and dataset and brand in chosen.get(dataset, {brand}):
                planned = StepHistory(planned_at=at, window=_window(run, dataset))
                step = steps.setdefault((brand, dataset), planned)
                by_step_key.setdefault(event.step_key or dataset, {})[brand] = step
        else:
            _apply(event, at, steps, by_step_key.get(event.step_key or "", {}))
    job = job_of_run(run.job_name, {dataset for _, dataset in steps})
    if job is None or not steps:
        return None
    ancestors = _ancestors(instance, run)
    return RunHistory(
        run_id=run.run_id,
        job=job,
        state=_STATES.get(run.status, RunState.WAITING),
        tags=run.tags,
        created_at=record.create_timestamp,
        started_at=_instant(record.start_time),
        ended_at=_instant(record.end_time),
        failure=run_failure,
        is_final=run.is_finished and not _may_run_again(instance, record, now=now),
        ancestors=tuple(each.run_id for each in ancestors),
        is_started_by_us=_is_started_by_us(ancestors[-1] if ancestors else run),
        steps=steps,
    )


def _ancestors(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[dg.DagsterRun]:
    """The crashed runs that this one goes on for, started by Dagster by itself; newest first."""
    found = []
    while _RETRY_NUMBER in run.tags and run.parent_run_id is not None:
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None or parent.tags.get(_RETRIED_AS, run.run_id) != run.run_id:
            break
        found.append(parent)
        run = parent
    return found


def _is_started_by_us(run: dg.DagsterRun) -> bool:
    """Whether our sensor started it; what a person repeats has the same tags, and a parent."""
    return run.parent_run_id is None and run.tags.get(_RUN_KEY) == run.tags.get(REQUEST_ID, "")


def _may_run_again(instance: dg.DagsterInstance, record: dg.RunRecord, *, now: datetime) -> bool:
    """Whether Dagster has yet to start a crashed run again, or to decide whether it will."""
    run = record.dagster_run
    if run.status is not dg.DagsterRunStatus.FAILURE or not instance.run_retries_enabled:
        return False
    waited = now - (_instant(record.end_time) or record.update_timestamp)
    decision = run.tags.get(_WILL_RETRY)
    if decision is None:
        return waited < _RETRY_DECISION
    # One that it has started again already is followed there: this run says nothing more.
    return decision == "true" and (_RETRIED_AS in run.tags or waited < _RETRY_LAUNCH)


def _window(run: dg.DagsterRun, dataset: str) -> tuple[date, date] | None:
    config: Any = run.run_config
    try:
        config = config["ops"][dataset]["config"]
        return date.fromisoformat(config["since"]), date.fromisoformat(config["until"])
    except (KeyError, TypeError, ValueError):
        return None


def _chosen_brands(run: dg.DagsterRun) -> dict[str, frozenset[str]]:
    """By dataset, the brands that a run over several is for: its range spans others' partitions."""
    config: Any = run.run_config
    found = {}
    for dataset, op in (config.get("ops") or {}).items():
        try:
            found[dataset] = frozenset(op["config"]["brands"])
        except (KeyError, TypeError):  # none are named
            continue
    return found


def run_limit(instance: dg.DagsterInstance) -> int | None:
    """How many runs Dagster's queue lets run at a time; None: as many as there are."""
    queue = instance.get_concurrency_config().run_queue_config
    if queue is None or queue.max_concurrent_runs < 0:
        return None
    return queue.max_concurrent_runs


def end_run(instance: dg.DagsterInstance, run_id: str, *, message: str) -> bool:
    """Record that a run failed whose process is gone; Dagster then runs it again as crashed.

    False: it has ended meanwhile, or it is being cancelled and must not be run again.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished or run.status is dg.DagsterRunStatus.CANCELING:
        return False
    instance.report_run_failed(run, message)
    return True


def terminate(instance: dg.DagsterInstance, run_id: str) -> None:
    """Ask a run's process to stop, or take the run out of the queue.

    Harmless to repeat, and when the run has ended. One whose process cannot be asked is cancelled
    by Dagster's monitoring once `cancel_timeout_seconds` have passed since it was asked first.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished or run.status is dg.DagsterRunStatus.CANCELING:
        return
    try:
        instance.run_coordinator.cancel_run(run_id)
    except Exception as error:  # noqa: BLE001 - a launcher whose server is gone may raise anything
        _LOG.warning("Run %s could not be asked to stop: %s", run_id, redact(str(error)))


def worker_pid(instance: dg.DagsterInstance, run_id: str) -> tuple[int, datetime] | None:
    """The process that Dagster's default launcher started last for a run, and when it did."""
    page = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    for record in reversed(page.records):
        match = _WORKER_PID.search(record.event_log_entry.message)
        at = _instant(record.event_log_entry.timestamp)
        if match and at:
            return int(match.group(1)), at
    return None


@dataclass(frozen=True)
class LogEntry:
    """One line of a run's log: what code wrote, or an event of Dagster's, whose type `kind` is.

    `position` grows from line to line; `step` is empty for what concerns the run as a whole;
    `error` holds an exception with its stack and its causes.
    """

    position: int
    at: datetime
    level: str
    kind: str
    step: str
    text: str
    error: str


@dataclass(frozen=True)
class LogPage:
    """Lines of a run's log, oldest first; while neither `is_last` nor `is_ended` there are more.

    `is_last`: it had no further lines when it was read. `is_ended`: the run has ended, so that
    hardly any will come.
    """

    entries: Sequence[LogEntry]
    is_last: bool
    is_ended: bool


def log_page(
    instance: dg.DagsterInstance, run_id: str, *, after: int = -1, limit: int
) -> LogPage | None:
    """The lines after a position, at most `limit`; None when Dagster has no such run (any more)."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return None
    position = json.dumps({"type": "STORAGE_ID", "value": after})
    cursor = base64.b64encode(position.encode()).decode()
    page = instance.get_records_for_run(run_id, cursor=cursor, limit=limit)
    entries = [_log_entry(record.storage_id, record.event_log_entry) for record in page.records]
    return LogPage(entries, is_last=not page.has_more, is_ended=run.is_finished)


def _log_entry(position: int, entry: dg.EventLogEntry) -> LogEntry:
    event = entry.dagster_event
    data = event.event_specific_data if event else None
    error = getattr(data, "error", None) or entry.error_info
    level = entry.level
    return LogEntry(
        position=position,
        at=datetime.fromtimestamp(entry.timestamp, UTC),
        level=logging.getLevelName(level) if isinstance(level, int) else level.upper(),
        kind=event.event_type.name if event else "",
        step=entry.step_key or "",
        text=entry.message,
        error=error.to_string().strip() if error else "",
    )


def _apply(
    event: dg.DagsterEvent,
    at: datetime,
    steps: Mapping[tuple[str, str], StepHistory],
    of_step: Mapping[str, StepHistory],
) -> None:
    if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        dataset = materialization.asset_key.to_user_string()
        step = steps.get((materialization.partition or "", dataset))
        if step:
            values = {key: value.value for key, value in materialization.metadata.items()}
            step.materialization = Materialization(at, values)
        return
    if event.event_type is dg.DagsterEventType.STEP_START:
        for step in of_step.values():
            step.started_at = at
        return
    failure, of_brands = _step_failure(event), _failures_of_brands(event)
    for brand, step in of_step.items():
        step.failed_at, step.failure = at, of_brands.get(brand, failure)


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


def _failures_of_brands(event: dg.DagsterEvent) -> dict[str, Failure]:
    user_data = event.step_failure_data.user_failure_data
    found = user_data.metadata.get(FAILED_BRANDS) if user_data else None
    values: Any = found.value if found else {}
    return {brand: failure_from_metadata(each) for brand, each in values.items()}


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


def ended_runs(
    instance: dg.DagsterInstance, *, before: datetime, page: int = 500
) -> Iterator[Sequence[dg.RunRecord]]:
    """Pages of the runs that ended, and changed last, before the instant; oldest first.

    The caller may delete a page: the one after it has been read by then.
    """
    filters = dg.RunsFilter(statuses=_ENDED, updated_before=before)
    records = instance.get_run_records(filters, limit=page, ascending=True)
    while records:
        last = records[-1].dagster_run.run_id
        following = instance.get_run_records(filters, limit=page, ascending=True, cursor=last)
        yield records
        records = following


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete an ended run with its events and what its process printed.

    Dagster empties a run's own file of events on SQLite and leaves the file: it goes here too.
    """
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    path_for_shard = getattr(instance.event_log_storage, "path_for_shard", None)
    if path_for_shard is not None:
        for suffix in ("", "-wal", "-shm"):
            Path(path_for_shard(run_id) + suffix).unlink(missing_ok=True)


@dataclass(frozen=True)
class DaemonState:
    """One of the daemons that this installation needs: its last sign of life and last error."""

    name: str
    beat_at: datetime | None
    error: str | None


def daemon_states(instance: dg.DagsterInstance) -> list[DaemonState]:
    """Every required daemon; all of them run in one process, and each beats every 30 s."""
    states = []
    for name, status in instance.get_daemon_statuses().items():
        beat = status.last_heartbeat
        errors = beat.errors if beat else None
        states.append(
            DaemonState(
                name=name,
                beat_at=_instant(beat.timestamp) if beat else None,
                error=errors[0].message.strip() if errors else None,
            )
        )
    return states


def is_daemon_alive(instance: dg.DagsterInstance, *, now: datetime) -> bool:
    """Whether any part of the daemon has beaten lately: without it no request is started."""
    return any(
        state.beat_at is not None and now - state.beat_at < DAEMON_SILENCE
        for state in daemon_states(instance)
    )


@dataclass(frozen=True)
class AutomationState:
    """A sensor or schedule: is it stopped, when was its newest tick, why did the last fail."""

    name: str
    is_stopped: bool
    ticked_at: datetime | None
    error: str | None


def automation_states(instance: dg.DagsterInstance) -> list[AutomationState]:
    """All sensors and schedules that the daemon has seen; `error` is None after a good tick."""
    states = []
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2)
        # The newest may have only begun.
        ended = [tick for tick in ticks if tick.status.value != "STARTED"]
        error = ended[0].error if ended and ended[0].status.value == "FAILURE" else None
        states.append(
            AutomationState(
                name=state.instigator_name,
                is_stopped=state.status.value == "STOPPED",
                ticked_at=_instant(ticks[0].timestamp) if ticks else None,
                error=error.message.strip() if error else None,
            )
        )
    return states


def first_change_after(instance: dg.DagsterInstance, instant: datetime) -> datetime | None:
    """When the first run changed after the instant; None when none has."""
    records = instance.get_run_records(
        dg.RunsFilter(updated_after=instant), limit=1, order_by="update_timestamp", ascending=True
    )
    return records[0].update_timestamp if records else None
