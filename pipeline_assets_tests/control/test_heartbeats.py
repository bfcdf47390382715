"""The sign of life of a running dataset, in a real database."""

import time
from collections.abc import Callable
from typing import Any

import psutil
import sqlalchemy as sa

from pipeline_assets.control.heartbeats import Heartbeat
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


def test_it_names_the_process_from_the_start_and_is_gone_at_the_end(engine: sa.Engine) -> None:
    errors: list[Exception] = []
    with heartbeat(engine, errors):
        (row,) = rows_of(engine)
        assert (row["run_id"], row["brand_id"], row["dataset"]) == ("run-1", "acme", "ad_assets")
        assert row["pid"] == psutil.Process().pid
        assert abs(row["process_started_at"].timestamp() - psutil.Process().create_time()) < 0.01
        assert row["host"]
        assert row["boot_id"]
    assert rows_of(engine) == []
    assert errors == []


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
