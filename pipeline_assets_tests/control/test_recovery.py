"""Runs whose worker is gone: real processes, a real Dagster instance, both databases for ours."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.control.heartbeats import birth_of
from pipeline_assets.control.recovery import SILENCE, end_lost_runs
from pipeline_assets.control.run_tags import LANE
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import run_heartbeats

Row = dict[str, Any]
Process = subprocess.Popen[bytes]

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
IN_PROGRESS = dg.DagsterRunStatus.STARTED
LANE_TAGS = {LANE: "acme:meta_sync"}

_WORKER = """
import sys
from pipeline_assets.control.heartbeats import Heartbeat
from pipeline_assets.storage.engine import build_engine

url, run_id = sys.argv[1:]
def on_error(error): raise error
with Heartbeat(
    build_engine(url), run_id=run_id, brand_id="acme", dataset="ad_assets", on_error=on_error
):
    print("at work", flush=True)
    sys.stdin.read()
"""


@dg.op
def work() -> None: ...


@dg.job
def meta_sync() -> None:
    work()


@pytest.fixture(scope="module")
def retrying_instance() -> Iterator[dg.DagsterInstance]:
    retries = {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
    with dg.instance_for_test(overrides={"run_retries": retries}) as instance:
        yield instance


@pytest.fixture
def instance(retrying_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """Nothing runs in it; making a new instance for each test would take half a second."""
    yield retrying_instance
    for record in retrying_instance.get_run_records():
        if not record.dagster_run.is_finished:
            retrying_instance.delete_run(record.dagster_run.run_id)


@pytest.fixture
def other_launcher_instance() -> Iterator[dg.DagsterInstance]:
    """Its launcher may start workers on any host."""
    launcher = {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    }
    with dg.instance_for_test(overrides={"run_launcher": launcher}) as instance:
        yield instance


@contextmanager
def running(*command: str) -> Iterator[Process]:
    """A process that lives until its input ends, or longer; nothing of it is left afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def process() -> Iterator[Process]:
    """A process that does nothing."""
    with running("input()") as process:
        yield process


def kill(process: Process) -> None:
    process.kill()
    process.wait()


def begin(
    instance: dg.DagsterInstance,
    status: dg.DagsterRunStatus = IN_PROGRESS,
    tags: dict[str, str] | None = None,
) -> str:
    tags = LANE_TAGS if tags is None else tags
    return instance.create_run_for_job(meta_sync, status=status, tags=tags).run_id


def store_beat(engine: sa.Engine, run_id: str, process: Process, **differing: Any) -> None:
    """The row that the process would have written at `NOW`."""
    it = psutil.Process(process.pid)
    row = {
        "run_id": run_id,
        "dataset": "ad_assets",
        "brand_id": "acme",
        "host": socket.gethostname(),
        "boot_id": birth_of(it),
        "pid": it.pid,
        "process_started_at": datetime.fromtimestamp(it.create_time(), UTC),
        "beat_at": NOW,
    }
    with write_transaction(engine) as connection:
        connection.execute(run_heartbeats.insert().values({**row, **differing}))


def beats_of(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(sa.select(run_heartbeats.c.run_id)).scalars())


def status_of(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status.value


def failures_of(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    page = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    return [record.event_log_entry.message for record in page.records]


@contextmanager
def clock_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: timedelta) -> Iterator[None]:
    """The machine's clock set to another time, as far as the kernel's files on processes tell."""
    with monkeypatch.context() as patch:
        folder = tmp_path / "proc"
        folder.mkdir()
        for entry in Path("/proc").iterdir():
            if entry.name != "stat":
                (folder / entry.name).symlink_to(entry)
        lines = Path("/proc/stat").read_text().splitlines()
        boot = psutil.boot_time() + step.total_seconds()
        lines = [f"btime {boot:.0f}" if each.startswith("btime") else each for each in lines]
        (folder / "stat").write_text("\n".join(lines))
        patch.setattr(psutil, "PROCFS_PATH", str(folder))
        yield


def test_a_killed_worker_fails_its_run_and_dagster_will_run_it_again(
    instance: dg.DagsterInstance, engine: sa.Engine, database_url: str
) -> None:
    run_id = begin(instance)
    with running(_WORKER, database_url, run_id) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"at work\n"
        assert end_lost_runs(instance, engine, now=utcnow() + HOUR) == []
        kill(worker)
        assert end_lost_runs(instance, engine, now=utcnow()) == []  # it beat moments ago
        assert status_of(instance, run_id) == "STARTED"
        assert end_lost_runs(instance, engine, now=utcnow() + SILENCE) == [run_id]
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert run.tags["dagster/will_retry"] == "true"
        (message,) = failures_of(instance, run_id)
        assert f"process {worker.pid} on {socket.gethostname()}, is gone" in message
        assert "ad_assets of acme" in message
    assert end_lost_runs(instance, engine, now=utcnow() + HOUR) == []
    assert beats_of(engine) == set()
    assert len(failures_of(instance, run_id)) == 1


def test_a_worker_that_is_stopped_is_left_alone_however_long_it_is_silent(
    instance: dg.DagsterInstance, engine: sa.Engine, database_url: str
) -> None:
    run_id = begin(instance)
    with running(_WORKER, database_url, run_id) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        worker.send_signal(signal.SIGSTOP)
        assert end_lost_runs(instance, engine, now=utcnow() + HOUR) == []
    assert status_of(instance, run_id) == "STARTED"
    assert beats_of(engine) == {run_id}


def test_between_two_datasets_the_process_counts_not_the_beat(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    run_id = begin(instance)
    store_beat(engine, run_id, process, dataset="meta_ad_creatives", stage=None)
    assert end_lost_runs(instance, engine, now=NOW + HOUR) == []
    kill(process)
    assert end_lost_runs(instance, engine, now=NOW + HOUR) == [run_id]


@pytest.mark.parametrize(
    ("now", "is_ended"),
    [
        (NOW - HOUR, False),  # the beat lies in the future
        (NOW + SILENCE - timedelta(milliseconds=1), False),
        (NOW + SILENCE, True),
    ],
)
def test_nothing_is_concluded_within_the_silence_after_the_last_beat(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process, now: datetime, is_ended: bool
) -> None:
    run_id = begin(instance)
    store_beat(engine, run_id, process, dataset="ad_assets", beat_at=NOW)
    store_beat(engine, run_id, process, dataset="ad_thumbnails", beat_at=NOW - HOUR)
    kill(process)
    assert (end_lost_runs(instance, engine, now=now) == [run_id]) is is_ended


def test_a_worker_on_another_host_is_left_to_its_maximum_runtime(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    run_id = begin(instance)
    store_beat(engine, run_id, process, host="another-host.test")
    kill(process)
    assert end_lost_runs(instance, engine, now=NOW + HOUR) == []
    assert beats_of(engine) == {run_id}


def test_another_process_with_the_workers_number_is_not_the_worker(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    run_id = begin(instance)
    with running("input()") as other:
        birth_of_other = birth_of(psutil.Process(other.pid))
    store_beat(engine, run_id, process, boot_id=birth_of_other)
    assert end_lost_runs(instance, engine, now=NOW + HOUR) == [run_id]


def test_a_process_of_the_boot_before_is_not_the_worker(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    run_id = begin(instance)
    seconds = birth_of(psutil.Process(process.pid)).partition("+")[2]
    store_beat(engine, run_id, process, boot_id=f"another-boot+{seconds}")
    assert end_lost_runs(instance, engine, now=NOW + HOUR) == [run_id]


def test_a_zombie_is_not_the_worker(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    run_id = begin(instance)
    store_beat(engine, run_id, process)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and not yet buried
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert end_lost_runs(instance, engine, now=NOW + HOUR) == [run_id]


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_clock_that_was_set_does_not_end_a_living_workers_run(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    step: timedelta,
) -> None:
    run_id = begin(instance)
    store_beat(engine, run_id, process)
    began_at = psutil.Process(process.pid).create_time()
    with clock_set(monkeypatch, tmp_path, step):
        moved = psutil.Process(process.pid).create_time() - began_at
        assert moved == pytest.approx(step.total_seconds(), abs=1.5)
        assert end_lost_runs(instance, engine, now=NOW + abs(step)) == []
        kill(process)
        assert end_lost_runs(instance, engine, now=NOW + abs(step)) == [run_id]


def report_start(instance: dg.DagsterInstance, run_id: str, pid: int) -> None:
    """What the code server logs of a worker that it has started."""
    run = instance.get_run_by_id(run_id)
    instance.report_engine_event(f"Started process for run (pid: {pid}).", run)
    instance.report_engine_event(f"Executing steps in process (pid: {pid})", run)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_before_the_first_dataset_the_number_in_dagsters_log_tells_the_worker(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    process: Process,
    status: dg.DagsterRunStatus,
) -> None:
    run_id = begin(instance, status)
    report_start(instance, run_id, process.pid)
    assert end_lost_runs(instance, engine, now=utcnow() + HOUR) == []
    kill(process)
    assert end_lost_runs(instance, engine, now=utcnow()) == []  # it began moments ago
    assert end_lost_runs(instance, engine, now=utcnow() + SILENCE) == [run_id]
    (message,) = failures_of(instance, run_id)
    assert f"process {process.pid}, is gone" in message
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["dagster/will_retry"] == "true"


def test_a_process_that_began_after_dagster_logged_the_start_is_not_the_worker(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run_id = begin(instance)
    report_start(instance, run_id, process.pid)
    with clock_set(monkeypatch, tmp_path, timedelta(seconds=10)):
        assert end_lost_runs(instance, engine, now=utcnow() + HOUR) == [run_id]


def test_a_worker_on_another_host_before_its_first_dataset_is_left_alone(
    other_launcher_instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    run_id = begin(other_launcher_instance)
    report_start(other_launcher_instance, run_id, process.pid)
    kill(process)
    assert end_lost_runs(other_launcher_instance, engine, now=utcnow() + HOUR) == []


def test_a_run_that_did_not_go_through_our_queue_is_left_alone(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    run_id = begin(instance, tags={})
    report_start(instance, run_id, process.pid)
    kill(process)
    assert end_lost_runs(instance, engine, now=utcnow() + HOUR) == []


def test_a_run_that_has_no_process_yet_is_left_to_the_start_timeout(
    instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    for status in (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED):
        begin(instance, status)
    assert end_lost_runs(instance, engine, now=utcnow() + HOUR) == []


def test_a_run_that_is_being_cancelled_is_not_run_again(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    run_id = begin(instance, dg.DagsterRunStatus.CANCELING)
    store_beat(engine, run_id, process)
    kill(process)
    assert end_lost_runs(instance, engine, now=NOW + HOUR) == []
    assert status_of(instance, run_id) == "CANCELING"


def test_rows_of_runs_that_are_over_or_deleted_go_and_a_living_runs_stay(
    instance: dg.DagsterInstance, engine: sa.Engine, process: Process
) -> None:
    over = {begin(instance, dg.DagsterRunStatus.SUCCESS), "deleted-run"}
    alive = {begin(instance), begin(instance, dg.DagsterRunStatus.CANCELING)}
    for run_id in over | alive:
        store_beat(engine, run_id, process)
    assert end_lost_runs(instance, engine, now=NOW) == []
    assert beats_of(engine) == alive


@pytest.fixture
def selects() -> Iterator[Callable[[], int]]:
    """Counts this process's queries, Dagster's included."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield lambda: len(seen)
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def test_two_queries_tell_that_all_is_well_however_long_the_history(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    process: Process,
    selects: Callable[[], int],
) -> None:
    for _ in range(30):
        begin(instance, dg.DagsterRunStatus.SUCCESS)
    for _ in range(3):
        store_beat(engine, begin(instance), process)
        begin(instance)  # has just started
    end_lost_runs(instance, engine, now=NOW)  # the first look at a database asks for its tables
    before = selects()
    assert end_lost_runs(instance, engine, now=NOW) == []
    assert selects() - before == 2
