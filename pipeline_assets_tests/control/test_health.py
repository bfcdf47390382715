"""Each answer of the health check at its limit: real databases, real Dagster storage, real HTTP."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from pipeline_assets.brands.models import Brand, parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.clock import utcnow
from pipeline_assets.control import dagster_log, health
from pipeline_assets.control.brand_access import examine_brands
from pipeline_assets.control.health import HealthCheck, check_health
from pipeline_assets.control.projector import project
from pipeline_assets.errors import CredentialError, SourceUnavailableError
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings
from pipeline_assets.sources.meta import GraphClient
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, requests

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.fixture
def small(sqlite_url: str) -> Installation:
    """For answers in which our tables play no part."""
    return Installation(Settings(database_url=sqlite_url))


def ask(
    name: str,
    installation: Installation,
    instance: dg.DagsterInstance,
    *,
    now: datetime = NOW,
    is_offline: bool = True,
) -> HealthCheck:
    """The one answer of this name."""
    answers = check_health(installation, instance, automation=(), now=now, is_offline=is_offline)
    (answer,) = (each for each in answers if each.name == name)
    assert bool(answer.fix) is (answer.is_ok is False)
    return answer


def beat(
    instance: dg.DagsterInstance, at: datetime, *, error: str = "", leave_out: str = ""
) -> None:
    """A sign of life of every daemon."""
    errors = [SerializableErrorInfo(error, [], None)] if error else None
    for name in instance.get_required_daemon_types():
        if name != leave_out:
            instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), name, "1", errors))


def test_a_daemon_counts_as_dead_after_three_minutes_without_a_beat(
    small: Installation, instance: dg.DagsterInstance
) -> None:
    assert "it has never run" in ask("daemon", small, instance).detail
    beat(instance, NOW)
    limit = NOW + dagster_log.DAEMON_SILENCE
    assert ask("daemon", small, instance, now=limit).is_ok is True
    dead = ask("daemon", small, instance, now=limit + TICK)
    assert dead.is_ok is False
    assert dead.detail == (
        "Dagster's daemon is not running: its last sign of life is of 2026-11-21 12:00:00 UTC."
    )


def test_a_beat_from_the_future_is_a_sign_of_life(
    small: Installation, instance: dg.DagsterInstance
) -> None:
    beat(instance, NOW + timedelta(hours=1))
    assert ask("daemon", small, instance).is_ok is True


def test_one_silent_daemon_is_named(small: Installation, instance: dg.DagsterInstance) -> None:
    beat(instance, NOW, leave_out="SENSOR")
    answer = ask("daemon", small, instance)
    assert (answer.is_ok, answer.detail) == (
        False,
        "Without a sign of life for 3 minutes: SENSOR.",
    )


def test_a_daemons_error_is_told_in_one_line_and_without_secrets(
    small: Installation, instance: dg.DagsterInstance
) -> None:
    beat(instance, NOW, error="Cannot load x?access_token=abc\n  at line 1\n")
    answer = ask("daemon", small, instance)
    assert answer.is_ok is False
    assert "SENSOR: Cannot load x?access_token=[redacted]" in answer.detail
    assert "at line 1" not in answer.detail


def add_request(engine: sa.Engine, job: str, **changes: object) -> None:
    row: dict[str, Any] = {
        "id": uuid4().hex,
        "brand_id": "acme",
        "job": job,
        "state": "queued",
        "trigger": "schedule",
        "requested_by": "test",
        "reason": "",
        "requested_at": NOW - timedelta(days=1),
        "not_before": NOW - timedelta(days=1),
        "priority": 0,
        "attempt": 1,
        "chain_id": uuid4().hex,
    }
    with write_transaction(engine) as connection:
        connection.execute(requests.insert().values(row | changes))


def test_a_request_waits_too_long_half_an_hour_after_it_was_due(
    installation: Installation, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    add_request(engine, "meta_sync", not_before=NOW)
    add_request(engine, "scorecard", requested_at=NOW + TICK, state="launched")
    add_request(engine, "asset_download", state="running")
    add_request(engine, "ad_classification", state="failed", finished_at=NOW)
    limit = NOW + timedelta(minutes=30)
    assert ask("requests", installation, instance, now=limit).is_ok is True
    late = ask("requests", installation, instance, now=limit + TICK)
    assert late.is_ok is False
    assert late.detail == (
        "1 waits for longer than 30 minutes; the oldest, acme:meta_sync,"
        " since 2026-11-21 12:00:00 UTC."
    )
    both = ask("requests", installation, instance, now=limit + 2 * TICK)
    assert both.detail.startswith("2 wait")


def test_a_brand_that_cannot_be_read_is_named_with_what_to_do(
    installation: Installation, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    assert ask("registry", installation, instance).is_ok is True
    with write_transaction(engine) as connection:
        connection.execute(brands.update().where(brands.c.id == "acme").values(timezone="Mars"))
    broken = ask("registry", installation, instance)
    assert broken.is_ok is False
    assert broken.detail.startswith("Brand acme: timezone is 'Mars': it must be an IANA time zone")
    assert "brands apply FILE" in broken.fix


def test_the_projection_may_be_two_minutes_behind(
    installation: Installation, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    assert ask("projection", installation, instance, now=utcnow()).is_ok is True
    run_id = str(uuid4())
    instance.add_run(
        dg.DagsterRun(job_name="theirs", run_id=run_id, status=dg.DagsterRunStatus.SUCCESS)
    )
    instance.add_run_tags(run_id, {"team": "theirs"})
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    limit = record.update_timestamp + timedelta(minutes=2)
    assert ask("projection", installation, instance, now=limit).is_ok is True
    behind = ask("projection", installation, instance, now=limit + TICK)
    assert behind.is_ok is False
    assert f"{record.update_timestamp:%H:%M:%S} UTC" in behind.detail
    project(instance, engine)
    assert ask("projection", installation, instance, now=limit + TICK).is_ok is True


@pytest.mark.parametrize(
    ("seconds", "is_ok", "word"),
    [(60, True, "Agrees"), (-60, True, "Agrees"), (61, False, "behind"), (-61, False, "ahead of")],
)
def test_clocks_may_differ_by_a_minute(seconds: int, is_ok: bool, word: str) -> None:
    answer = health._judge_clock("clock", "the other's", timedelta(seconds=seconds))
    assert answer.is_ok is is_ok
    assert word in answer.detail


@contextmanager
def server_whose_clock_is_off(seconds: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(400)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
            return format_datetime(utcnow() + timedelta(seconds=seconds), usegmt=True)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_the_sources_clock_and_whether_it_can_be_reached_are_told(
    installation: Installation, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    """Of the addresses that brands use: one is an hour ahead, the other is not there."""
    with server_whose_clock_is_off(3600) as ahead, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with write_transaction(engine) as connection:
            connection.execute(sa.text("DELETE FROM brands"))
        for brand_id, address in (("ahead", ahead), ("gone", gone)):
            meta = {"ad_accounts": ["act_1"], "token": "env:NOT_SET_ANYWHERE", "graph_url": address}
            data = {"id": brand_id, "name": "x", "timezone": "UTC", "sources": {"meta": meta}}
            add_brand(engine, parse_brand(data), actor="test", now=NOW)
        answers = check_health(installation, instance, automation=(), now=NOW)
    of_ahead, of_gone = (answer for answer in answers if answer.name == "graph api")
    if ahead not in of_ahead.detail:  # they come by address
        of_ahead, of_gone = of_gone, of_ahead
    assert (of_ahead.is_ok, of_gone.is_ok) == (False, False)
    assert re.fullmatch(
        rf"This machine's clock is 3[56]\d\d s behind that of {ahead}\.", of_ahead.detail
    )
    assert of_gone.detail == f"{gone} cannot be reached: ConnectionError."
    of_brands = {answer.name: answer for answer in answers if answer.name.startswith("brand ")}
    assert of_brands.keys() == {"brand ahead", "brand gone"}
    assert of_brands["brand gone"].detail == (
        "The secret env:NOT_SET_ANYWHERE is missing or empty."
    )


@pytest.mark.parametrize(("name", "value"), [("_MIN_FREE_BYTES", 10**18), ("_MIN_FREE_RATIO", 1.1)])
def test_a_disk_that_is_nearly_full_is_named_with_what_lies_there(
    small: Installation,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    value: float,
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "not" / "there" / "yet"))
    monkeypatch.setattr(health, name, value)
    answers = check_health(small, instance, automation=(), now=NOW, is_offline=True)
    disks = [answer for answer in answers if answer.name == "disk"]
    assert [answer.is_ok for answer in disks] == [False] * len(disks)
    told = " ".join(answer.detail for answer in disks)
    for what in ("DAGSTER_HOME", "temporary files", "media"):
        assert what in told


def test_too_few_open_files_are_told(
    small: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_MIN_OPEN_FILES", 1 << 62)
    answer = ask("open files", small, instance)
    assert answer.is_ok is False
    assert "ulimit -n" in answer.fix


def test_a_check_that_breaks_is_a_failed_check(
    installation: Installation, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    with write_transaction(engine) as connection:
        connection.execute(sa.text("DROP TABLE requests"))
    answer = ask("requests", installation, instance)
    assert answer.is_ok is False
    assert "requests" in answer.detail
    assert "\n" not in answer.detail


def brands_named(*names: str) -> list[Brand]:
    source = {"meta": {"ad_accounts": ["act_1"], "token": "env:X"}}
    return [
        parse_brand({"id": name, "name": name, "timezone": "UTC", "sources": source})
        for name in names
    ]


def test_brands_that_hang_hold_up_nobody() -> None:
    forever = threading.Event()
    hanging = [f"hangs-{number}" for number in range(10)]  # more than are asked at a time
    refused = [f"refused-{number}" for number in range(20)]

    def client_of(brand: Brand) -> GraphClient:
        if brand.id in hanging:
            forever.wait()
        raise CredentialError(f"{brand.id} has no token.")

    began = time.monotonic()
    found = examine_brands(brands_named(*hanging, *refused), client_of, timeout_seconds=0.2)
    assert time.monotonic() - began < 5
    forever.set()
    assert found.keys() == {*hanging, *refused}
    assert {type(found[name]) for name in hanging} == {SourceUnavailableError}
    assert "within 0.2 s" in str(found["hangs-0"])
    assert str(found["refused-19"]) == "refused-19 has no token."
