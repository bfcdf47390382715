"""The sign of life of a running dataset, in a real database."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from pipeline_assets.control import heartbeats
from pipeline_assets.control.heartbeats import Heartbeat, birth_of
from pipeline_assets.storage.engine import build_engine
from pipeline_assets.storage.tables import run_heartbeats

Row = dict[str, Any]


def rows_of(engine: sa.Engine) -> list[Row]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(run_heartbeats)).mappings()]


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def heartbeat(engine: sa.Engine, errors: list[Exception]) -> Heartbeat:
    return Heartbeat(
        engine, run_id="run-1", brand_id="acme", dataset="ad_assets", on_error=errors.append
    )


def test_it_names_the_process_from_the_start_and_after_its_end(engine: sa.Engine) -> None:
    errors: list[Exception] = []
    with heartbeat(engine, errors) as beat:
        (row,) = rows_of(engine)
        assert (row["run_id"], row["brand_id"], row["dataset"]) == ("run-1", "acme", "ad_assets")
        assert row["pid"] == psutil.Process().pid
        assert abs(row["process_started_at"].timestamp() - psutil.Process().create_time()) < 0.01
        assert row["host"] == socket.gethostname()
        assert row["boot_id"] == birth_of(psutil.Process())
        assert (row["done"], row["stage"]) == (0, "starting")
        beat.progress(3, 9, "storing")
    (after,) = rows_of(engine)
    assert (after["done"], after["total"], after["stage"]) == (None, None, None)
    assert after["beat_at"] >= row["beat_at"]
    same = ("run_id", "dataset", "host", "boot_id", "pid", "process_started_at")
    assert [after[name] for name in same] == [row[name] for name in same]
    assert errors == []


def test_a_dataset_that_is_tried_again_in_its_run_begins_anew(engine: sa.Engine) -> None:
    for _ in range(2):
        with heartbeat(engine, []):
            (row,) = rows_of(engine)
            assert row["stage"] == "starting"


def test_a_birth_is_the_same_at_every_look_and_differs_between_processes() -> None:
    this, parent = psutil.Process(), psutil.Process().parent()
    assert parent is not None
    assert birth_of(psutil.Process()) == birth_of(this)
    assert birth_of(parent) != birth_of(this)


def test_where_boots_have_no_name_a_birth_is_the_time_of_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(heartbeats, "_BOOT_ID", tmp_path / "missing")
    assert birth_of(psutil.Process()) == f"{psutil.Process().create_time():.2f}"


def test_progress_is_there_for_others_soon_after_it_was_said(engine: sa.Engine) -> None:
    with heartbeat(engine, []) as beat:
        first = rows_of(engine)[0]["beat_at"]
        beat.progress(7, 20, "media fetched")
        await_true(lambda: rows_of(engine)[0]["done"] == 7)
        (row,) = rows_of(engine)
        assert (row["total"], row["stage"]) == (20, "media fetched")
        assert row["beat_at"] > first


def test_a_database_that_fails_ends_neither_the_work_nor_hides_its_error(
    sqlite_url: str,
) -> None:
    engine = build_engine(sqlite_url)
    errors: list[Exception] = []
    work_ended_by = None
    try:
        with heartbeat(engine, errors) as beat:
            with engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE run_heartbeats RENAME TO away"))
            beat.progress(1)
            await_true(lambda: bool(errors))
            raise ZeroDivisionError
    except ZeroDivisionError as error:
        work_ended_by = error
    assert isinstance(work_ended_by, ZeroDivisionError)
    assert len(errors) >= 2
    engine.dispose()
