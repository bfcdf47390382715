"""Processes of a real installation are killed: no request is lost, none is carried out twice."""

import os
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import dagster as dg
import psutil
import pytest
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.control.dagster_log import worker_pid
from pipeline_assets.control.recovery import end_lost_runs
from pipeline_assets.control.requests import (
    Request,
    RequestState,
    Trigger,
    Wish,
    get_request,
    list_requests,
    request_sync,
)
from pipeline_assets.control.run_tags import PARTITION, REQUEST_ID
from pipeline_assets.errors import PipelineError
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from conftest import Session

STORED_BEFORE, IN_WORK = DATASETS = ("meta_ad_creatives", "meta_ads_performance")
"""Dagster takes them in this order; only the second awaits a report, and is in work when killed."""
BRANDS = ("acme", "globex", "running", "waiting", "stored", "created")

# The installation's queue, but it kills its own process, the daemon, when a test asks it to.
_QUEUE = f"""
import os, signal
from pathlib import Path
from pipeline_assets.automation.run_coordinator import BrandRunCoordinator

class DyingRunCoordinator(BrandRunCoordinator):
    def submit_run(self, context):
        order = Path(os.environ["DAGSTER_HOME"], "die-at-submit")
        if order.exists() and order.read_text() == context.dagster_run.tags["{PARTITION}"]:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().submit_run(context)
"""


class Part(StrEnum):
    """The processes of an installation, each by what only its command line says."""

    DAEMON = "dagster-daemon"
    CODE_SERVER = "api grpc"
    WORKER = "multiprocessing.spawn"


class LiveInstallation:
    """What the tests do to an installation, and see of it."""

    def __init__(self, session: "Session", instance: dg.DagsterInstance) -> None:
        self.session = session
        self.instance = instance

    def wish(self, brand: str) -> Request:
        wish = Wish(
            brand_id=brand,
            job="meta_sync",
            trigger=Trigger.MANUAL,
            requested_by="cli:alice",
            datasets=DATASETS,
        )
        request, is_new = request_sync(self.session.engine, wish, now=utcnow())
        assert is_new
        return request

    def see(self, request: Request) -> Request:
        return get_request(self.session.engine, request.id)

    def runs_of(self, request: Request) -> list[dg.DagsterRun]:
        """The runs that serve a request, in the order of their creation."""
        records = self.instance.get_run_records(
            filters=dg.RunsFilter(tags={REQUEST_ID: request.id}), ascending=True
        )
        return [record.dagster_run for record in records]

    def statuses_of(self, request: Request) -> list[str]:
        return [run.status.value for run in self.runs_of(request)]

    def await_work(self, request: Request, *, reports: int = 0) -> int:
        """Wait until a worker awaits more reports than these were; returns its number."""
        self.session.wait_for(lambda: self.session.reports_begun(request.brand_id) > reports)
        found = worker_pid(self.instance, self.runs_of(request)[-1].run_id)
        assert found is not None
        return found[0]

    def await_end(self, *requests: Request) -> None:
        self.session.wait_for(lambda: not any(self.see(each).state.is_active for each in requests))

    def processes(self) -> dict[int, str]:
        """The command lines of all that runs of the installation, by process number."""
        found = {}
        for process in psutil.process_iter():
            try:
                if process.environ().get("DAGSTER_HOME") == str(self.session.home):
                    found[process.pid] = " ".join(process.cmdline())
            except psutil.Error:
                continue  # ended meanwhile, or not ours
        return found

    def pids(self, part: Part) -> list[int]:
        return [pid for pid, command in self.processes().items() if part in command]

    def kill_everything(self) -> None:
        while pids := list(self.processes()):
            kill(pids)
        self.session.dagster.stop()  # there is nothing left to stop: it notes that

    def start(self) -> None:
        self.session.dagster.__enter__()

    def last_successes(self, brand: str) -> dict[str, str]:
        """The run of each dataset's last success."""
        query = sa.select(dataset_status).where(dataset_status.c.brand_id == brand)
        with self.session.engine.connect() as connection:
            rows = connection.execute(query).all()
        return {row.dataset: row.last_success_run_id for row in rows}


def kill(pids: Collection[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def failed_at(instance: dg.DagsterInstance, run: dg.DagsterRun) -> datetime:
    page = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    (record,) = page.records
    return datetime.fromtimestamp(record.event_log_entry.timestamp, UTC)


def one_at_a_time(text: str) -> str:
    """The configuration with one run at a time, and with the queue that can die."""
    for before, after in (
        ("max_concurrent_runs: 10", "max_concurrent_runs: 1"),
        ("module: pipeline_assets.automation.run_coordinator", "module: dying_queue"),
        ("class: BrandRunCoordinator", "class: DyingRunCoordinator"),
    ):
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.fixture(scope="module")
def it(open_session: Callable[..., Any]) -> Iterator[LiveInstallation]:
    with (
        pytest.MonkeyPatch.context() as patch,
        open_session(*BRANDS, edit=one_at_a_time) as session,
    ):
        modules = session.folder / "modules"
        modules.mkdir()
        (modules / "dying_queue.py").write_text(_QUEUE)
        patch.setenv("PYTHONPATH", str(modules))
        with session.dagster, dg.DagsterInstance.from_config(str(session.home)) as instance:
            yield LiveInstallation(session, instance)


def test_a_killed_worker_is_replaced_and_its_request_succeeds_once(it: LiveInstallation) -> None:
    it.session.gate.close()
    request = it.wish("acme")
    worker = it.await_work(request)
    assert it.pids(Part.WORKER) == [worker]
    kill([worker])
    it.await_work(request, reports=it.session.reports_begun("acme"))
    assert it.see(request).state.is_active
    it.session.gate.open()
    it.await_end(request)
    assert it.see(request).state is RequestState.SUCCEEDED
    first, second = it.runs_of(request)
    assert (first.status.value, second.status.value) == ("FAILURE", "SUCCESS")
    assert first.tags["dagster/will_retry"] == "true"
    assert it.last_successes("acme") == {STORED_BEFORE: first.run_id, IN_WORK: second.run_id}
    assert it.see(request).run_id == second.run_id


def test_a_worker_survives_its_killed_code_server(it: LiveInstallation) -> None:
    it.session.gate.close()
    request = it.wish("globex")
    worker = it.await_work(request)
    kill(it.pids(Part.CODE_SERVER))
    assert worker in it.pids(Part.WORKER)
    assert end_lost_runs(it.instance, it.session.engine, now=utcnow() + timedelta(hours=1)) == []
    it.session.gate.open()
    it.await_end(request)
    (run,) = it.runs_of(request)
    assert run.status.value == "SUCCESS"
    assert it.see(request).state is RequestState.SUCCEEDED
    assert it.last_successes("globex") == dict.fromkeys(DATASETS, run.run_id)


def test_after_everything_was_killed_each_request_ends_with_one_run(it: LiveInstallation) -> None:
    it.session.gate.close()
    running = it.wish("running")
    it.await_work(running)
    waiting = it.wish("waiting")
    it.session.wait_for(lambda: it.statuses_of(waiting) == ["QUEUED"])
    # Asleep, the daemon cannot start what is stored next.
    (daemon,) = it.pids(Part.DAEMON)
    os.kill(daemon, signal.SIGSTOP)
    stored, created = it.wish("stored"), it.wish("created")
    it.kill_everything()
    assert it.statuses_of(running) == ["STARTED"]
    assert it.runs_of(stored) == it.runs_of(created) == []
    it.session.gate.open()

    # The next daemon ends between making a run and putting it into the queue.
    (it.session.home / "die-at-submit").write_text("created")
    with suppress(PipelineError):  # on a busy machine it has ended before all the others are ready
        it.start()
    it.session.wait_for(lambda: not it.pids(Part.DAEMON), without_dagster=True)
    it.kill_everything()
    assert it.statuses_of(created) == ["NOT_STARTED"]
    it.start()
    ready_at = utcnow()

    requests = [running, waiting, stored, created]
    it.await_end(*requests)
    assert {it.see(each).state for each in requests} == {RequestState.SUCCEEDED}
    lost, again = it.runs_of(running)
    assert (lost.status.value, again.status.value) == ("FAILURE", "SUCCESS")
    assert again.tags["dagster/parent_run_id"] == lost.run_id
    assert failed_at(it.instance, lost) - ready_at < timedelta(minutes=1)
    assert it.last_successes("running") == {STORED_BEFORE: lost.run_id, IN_WORK: again.run_id}
    for request in (waiting, stored, created):
        (run,) = it.runs_of(request)
        assert it.last_successes(request.brand_id) == dict.fromkeys(DATASETS, run.run_id)


def test_nothing_is_left_over(it: LiveInstallation) -> None:
    ended = {"SUCCESS", "FAILURE"}
    assert {record.dagster_run.status.value for record in it.instance.get_run_records()} == ended
    made = list_requests(it.session.engine)
    assert sorted(request.brand_id for request in made) == sorted(BRANDS)
