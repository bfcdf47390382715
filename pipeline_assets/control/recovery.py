"""Ends runs whose worker is gone without a word, so that Dagster runs them again as crashed.

Dagster's code server notices when a worker dies that it has started itself. When it died with its
workers (the machine restarted, everything was killed), nobody else looks after them with Dagster's
default launcher: such a run would stay STARTED until its maximum runtime is over.

What tells a dead worker from a slow one is its process, not its silence: a worker that hangs, or is
stopped, still is there. Which process it is:

- A run that has begun a dataset has heartbeat rows. They name the host and the very process, also
  after a restart, a clock that was set, or when another process has got its number. The rows stay
  from the first dataset's start until the run's end, so nothing is unknown between two datasets. A
  process of another host cannot be seen from here: such a run is left to its maximum runtime.
- Before its first dataset a run has only the process number in Dagster's log, without a host. With
  the default launcher workers are children of the code server, which is also where sensors are
  evaluated: there, and for runs that went through our queue, the number says enough. With other
  launchers such a run is left to Dagster.

Either way nothing is concluded within `SILENCE` of the last sign of life: Dagster's own answer to a
dead worker comes within a second, and hosts that have one name, or containers that share their
host's, do not see each other's processes, but they see each other's beats.

Left to Dagster's run monitoring: a run that hangs while it starts, and one that is being cancelled
(failing it would have it run again; after `cancel_timeout_seconds` it is cancelled for good).
"""

import socket
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import psutil
import sqlalchemy as sa

from pipeline_assets.control import dagster_log
from pipeline_assets.control.heartbeats import birth_of
from pipeline_assets.control.run_tags import LANE
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import run_heartbeats

SILENCE = timedelta(seconds=30)
"""Six beats of a heart."""

_CLOCK_TOLERANCE = timedelta(seconds=2)

Row = dict[str, Any]


def end_lost_runs(instance: dg.DagsterInstance, engine: sa.Engine, *, now: datetime) -> list[str]:
    """Record the failure of every run whose worker is gone; returns their ids.

    A run whose worker lives, or may live where it cannot be seen from here, is left alone. Also
    removes the heartbeat rows of runs that are over. Two queries when all is well, however long the
    history is; safe to call from several processes at once.
    """
    beats = _beats_by_run(engine)  # before the runs: a row that is there now has had its run start
    runs = dagster_log.running_runs(instance)
    _remove_beats(engine, beats.keys() - {record.dagster_run.run_id for record in runs})
    lost = []
    for record in runs:
        run_id = record.dagster_run.run_id
        if run_id in beats:
            reason = _why_lost(beats[run_id], now=now)
        else:
            reason = _why_lost_at_start(instance, record, now=now)
        if reason and dagster_log.end_run(instance, run_id, message=reason):
            lost.append(run_id)
    return lost


def _why_lost(beats: Sequence[Row], *, now: datetime) -> str | None:
    """What to tell of a run whose processes are all gone; None while one may live."""
    last = max(beats, key=lambda beat: beat["beat_at"])
    # A beat in the future is one of a host whose clock is ahead.
    if last["beat_at"] > now - SILENCE or any(map(_may_live, beats)):
        return None
    return (
        f"The worker of this run, process {last['pid']} on {last['host']}, is gone: it was killed, "
        f"or its machine was restarted. Its last sign of life came at {last['beat_at']:%H:%M:%S} "
        f"UTC from {last['dataset']} of {last['brand_id']}."
    )


def _may_live(beat: Row) -> bool:
    if beat["host"] != socket.gethostname():
        return True
    return _lives(beat["pid"], lambda process: birth_of(process) == beat["boot_id"])


def _why_lost_at_start(
    instance: dg.DagsterInstance, record: dg.RunRecord, *, now: datetime
) -> str | None:
    """The same for a run that has not begun a dataset yet."""
    is_ours = LANE in record.dagster_run.tags
    if not is_ours or not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return None
    if record.update_timestamp > now - SILENCE:  # spares nearly every start the next question
        return None
    started = dagster_log.worker_pid(instance, record.dagster_run.run_id)
    if started is None:
        return None
    pid, at = started
    latest = (at + _CLOCK_TOLERANCE).timestamp()
    if at > now - SILENCE or _lives(pid, lambda process: process.create_time() <= latest):
        return None
    return (
        f"The worker of this run, process {pid}, is gone: it was killed, or its machine was "
        f"restarted. It was started at {at:%H:%M:%S} UTC and had not begun a dataset."
    )


def _lives(pid: int, is_the_one: Callable[[psutil.Process], bool]) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and is_the_one(process)
    except psutil.NoSuchProcess:
        return False


def _beats_by_run(engine: sa.Engine) -> Mapping[str, Sequence[Row]]:
    by_run: dict[str, list[Row]] = defaultdict(list)
    with engine.connect() as connection:
        for row in connection.execute(sa.select(run_heartbeats)).mappings():
            by_run[row["run_id"]].append(dict(row))
    return by_run


def _remove_beats(engine: sa.Engine, run_ids: Collection[str]) -> None:
    if not run_ids:
        return
    with write_transaction(engine) as connection:
        connection.execute(run_heartbeats.delete().where(run_heartbeats.c.run_id.in_(run_ids)))
