"""What `dagster_log` assumes of Dagster where nothing public promises it, held against it."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml

from pipeline_assets.control.dagster_log import (
    end_run,
    log_page,
    run_limit,
    terminate,
    worker_pid,
)

PROJECT = Path(__file__).parents[2]
DAGSTER = Path(sys.executable).with_name("dagster")
SECONDS = 120

STARTED = dg.DagsterRunStatus.STARTED
CANCELING = dg.DagsterRunStatus.CANCELING
CANCELED = dg.DagsterRunStatus.CANCELED
FAILURE = dg.DagsterRunStatus.FAILURE

# Private, but only its name in a configuration: it hands a run to the launcher at once.
AT_ONCE = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}
RETRIES = {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}

_JOBS = """
import time
import dagster as dg

@dg.op
def wait():
    while True:
        time.sleep(0.05)

@dg.job(executor_def=dg.in_process_executor)
def endless():
    wait()
"""


@dg.job
def idle() -> None:
    """A job whose runs are only records."""


def begin(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(idle, status=status, tags=tags)


def read(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def count_events(instance: dg.DagsterInstance, run_id: str, event_type: dg.DagsterEventType) -> int:
    return len(instance.get_records_for_run(run_id, of_type=event_type).records)


def await_true(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def launched(instance: dg.DagsterInstance, folder: Path) -> Iterator[str]:
    """The id of a run that a real code server's command has handed to the instance."""
    (folder / "jobs.py").write_text(_JOBS)
    with subprocess.Popen(
        [DAGSTER, "job", "launch", "-f", "jobs.py", "-j", "endless"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        try:
            await_true(lambda: instance.get_run_records() or command.poll() is not None)
            (record,) = instance.get_run_records()
            yield record.dagster_run.run_id
        except BaseException:
            for process in psutil.Process(command.pid).children(recursive=True):
                process.kill()
            command.kill()
            raise


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(overrides={"run_retries": RETRIES}) as instance:
        yield instance


def test_the_log_names_the_worker_and_terminating_its_run_ends_it(tmp_path: Path) -> None:
    with (
        dg.instance_for_test(overrides={"run_coordinator": AT_ONCE}) as instance,
        launched(instance, tmp_path) as run_id,
    ):
        step_start = dg.DagsterEventType.STEP_START
        await_true(lambda: count_events(instance, run_id, step_start))
        found = worker_pid(instance, run_id)
        assert found is not None
        pid, at = found
        worker = psutil.Process(pid)
        assert worker.environ()["DAGSTER_HOME"] == os.environ["DAGSTER_HOME"]
        assert "multiprocessing.spawn" in " ".join(worker.cmdline())
        assert worker.create_time() < at.timestamp() < time.time()
        terminate(instance, run_id)
        terminate(instance, run_id)
        await_true(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
        await_true(lambda: read(instance, run_id).is_finished)
        assert read(instance, run_id).status is CANCELED
        terminate(instance, run_id)
        assert read(instance, run_id).status is CANCELED
        assert count_events(instance, run_id, dg.DagsterEventType.RUN_CANCELING) == 1


def test_a_queued_run_is_cancelled_at_once_and_has_no_worker(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance, launched(instance, tmp_path) as run_id:
        await_true(lambda: read(instance, run_id).status is dg.DagsterRunStatus.QUEUED)
        assert worker_pid(instance, run_id) is None
        terminate(instance, run_id)
        assert read(instance, run_id).status is CANCELED


def test_a_run_whose_code_server_is_gone_counts_as_being_cancelled(
    instance: dg.DagsterInstance, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Where Dagster's launcher notes the server that it has asked for a worker.
    server = json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})
    run = begin(instance, STARTED, **{".dagster/grpc_info": server})
    with caplog.at_level(logging.WARNING):
        terminate(instance, run.run_id)
    assert read(instance, run.run_id).status is CANCELING
    assert f"Run {run.run_id} could not be asked to stop" in caplog.text


def test_a_run_ended_as_lost_is_one_that_dagster_runs_again(instance: dg.DagsterInstance) -> None:
    run = begin(instance, STARTED)
    assert end_run(instance, run.run_id, message="Its worker is gone.")
    ended = read(instance, run.run_id)
    assert (ended.status, ended.tags["dagster/will_retry"]) == (FAILURE, "true")
    assert not end_run(instance, run.run_id, message="Its worker is gone.")
    assert count_events(instance, run.run_id, dg.DagsterEventType.RUN_FAILURE) == 1


@pytest.mark.parametrize("status", [CANCELING, CANCELED, dg.DagsterRunStatus.SUCCESS])
def test_a_run_that_has_ended_or_is_being_cancelled_is_not_ended_as_lost(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    run = begin(instance, status)
    assert not end_run(instance, run.run_id, message="Its worker is gone.")
    assert read(instance, run.run_id).status is status


def test_a_run_that_is_not_there_is_neither_ended_nor_terminated(
    instance: dg.DagsterInstance,
) -> None:
    assert not end_run(instance, "deleted", message="Its worker is gone.")
    terminate(instance, "deleted")
    assert worker_pid(instance, "deleted") is None


def test_our_own_configuration_limits_the_runs_as_it_says() -> None:
    configuration = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    with dg.instance_for_test(overrides=configuration) as instance:
        limit = configuration["run_coordinator"]["config"]["max_concurrent_runs"]
        assert run_limit(instance) == limit == 10


@pytest.mark.parametrize(
    ("configuration", "limit"),
    [
        ({"concurrency": {"runs": {"max_concurrent_runs": 4}}}, 4),
        ({"concurrency": {"runs": {"max_concurrent_runs": -1}}}, None),
        ({"run_coordinator": AT_ONCE}, None),
    ],
)
def test_a_queues_limit_is_read_as_dagster_reads_it(
    configuration: dict[str, Any], limit: int | None
) -> None:
    with dg.instance_for_test(overrides=configuration) as instance:
        assert run_limit(instance) == limit


@dg.op
def speak(context: dg.OpExecutionContext) -> None:
    """Writes a line and fails for a reason."""
    context.log.warning("Half of it is there.")
    try:
        raise KeyError("the other half")
    except KeyError as error:
        raise ValueError("It is not whole.") from error


@dg.job(executor_def=dg.in_process_executor)
def speaking() -> None:
    """A job whose run has a log."""
    speak()


def test_a_runs_log_is_read_in_pages_with_lines_events_and_errors(
    instance: dg.DagsterInstance,
) -> None:
    run_id = speaking.execute_in_process(instance=instance, raise_on_error=False).run_id
    whole = log_page(instance, run_id, limit=1000)
    assert whole is not None
    assert (whole.is_last, whole.is_ended) == (True, True)
    [line] = [entry for entry in whole.entries if not entry.kind]
    assert (line.level, line.step, line.text, line.error) == (
        "WARNING",
        "speak",
        "Half of it is there.",
        "",
    )
    [failure] = [entry for entry in whole.entries if entry.kind == "STEP_FAILURE"]
    assert (failure.level, failure.step) == ("ERROR", "speak")
    assert "ValueError: It is not whole." in failure.error
    assert "KeyError: 'the other half'" in failure.error
    assert "test_dagster_contract.py" in failure.error
    assert whole.entries[0].kind == "RUN_START"
    assert sorted(entry.position for entry in whole.entries) == [
        entry.position for entry in whole.entries
    ]

    pages, after = [], -1
    while (page := log_page(instance, run_id, after=after, limit=4)) is not None:
        pages += page.entries
        if page.is_last:
            break
        after = page.entries[-1].position
    assert pages == whole.entries
    end = log_page(instance, run_id, after=whole.entries[-1].position, limit=4)
    assert end is not None
    assert (end.entries, end.is_last) == ([], True)


def test_a_run_in_progress_has_not_ended_and_one_that_is_not_there_has_no_log(
    instance: dg.DagsterInstance,
) -> None:
    page = log_page(instance, begin(instance, STARTED).run_id, limit=4)
    assert page is not None
    assert not page.is_ended
    assert log_page(instance, "deleted", limit=4) is None
