"""What retention deletes and what it never does: real runs, both databases for Dagster and us.

Dagster has no clock to be set: retention is asked from a future in which today's runs are old.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.assets.attempt import Attempt, Check, Outcome
from pipeline_assets.automation.retention import build_retention
from pipeline_assets.clock import utcnow
from pipeline_assets.control import retention
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.control.projector import project, rebuild
from pipeline_assets.control.retention import Part, apply_retention, plan_retention
from pipeline_assets.errors import AccessError
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import (
    audit_log,
    dataset_attempts,
    dataset_status,
    requests,
    resyncs,
)

Run = Callable[..., dg.ExecuteInProcessResult]
Row = dict[str, Any]

SETTINGS = Settings()
LATER = utcnow() + timedelta(days=400)
"""When everything that the tests make is older than any limit."""

NEWEST_SUCCESS = "it is the last success of a dataset"
NEWEST_ATTEMPT = "it is the last attempt at a dataset"
BEING_SYNCED = "its dataset is being synced now"
OPEN = "its request or resync has not ended"


@pytest.fixture
def instance(database_url: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster in the same database as our tables, as an installation has it; else in files."""
    is_postgres = database_url.startswith("postgresql")
    storage: Row = {"storage": {"postgres": {"postgres_url": database_url}}} if is_postgres else {}
    with dg.instance_for_test(overrides=storage, temp_dir=str(tmp_path)) as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme", "globex"])
        yield instance


def succeed(attempt: Attempt) -> Outcome:
    """Stores nothing, tells of 12 rows."""
    return Outcome(
        records=12, distinct_ads=3, checks={"fine": Check(is_passed=True, description="fine")}
    )


def fail(attempt: Attempt) -> Outcome:
    """Fails for good: no new try follows."""
    raise AccessError("Account act_1 may not be read.", advice="Ask for access.")


def clear(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    *,
    settings: Settings = SETTINGS,
    now: datetime = LATER,
) -> dict[Part, int]:
    """Apply retention, after seeing that its plan says the very same."""
    planned = plan_retention(instance, engine, settings, now=now).expired
    told: dict[Part, int] = {}
    applied = apply_retention(
        instance, engine, settings, actor="test", now=now, progress=told.__setitem__
    )
    assert applied == planned
    counts = {item.part: item.count for item in applied if item.count}
    assert counts == told
    return counts


def statuses(engine: sa.Engine) -> list[Row]:
    query = sa.select(dataset_status).order_by(*dataset_status.primary_key)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def values(engine: sa.Engine, column: sa.Column[Any]) -> set[Any]:
    with engine.connect() as connection:
        return set(connection.execute(sa.select(column)).scalars())


def run_ids(instance: dg.DagsterInstance) -> set[str]:
    return {record.dagster_run.run_id for record in instance.get_run_records()}


def add_request(engine: sa.Engine, request_id: str, **changes: object) -> None:
    row: Row = {
        "id": request_id,
        "brand_id": "acme",
        "job": "meta_sync",
        "state": "succeeded",
        "trigger": "dagster",
        "requested_by": "test",
        "reason": "",
        "requested_at": LATER - timedelta(days=3000),
        "not_before": LATER - timedelta(days=3000),
        "priority": 0,
        "attempt": 1,
        "chain_id": request_id,
        "finished_at": LATER - timedelta(days=2000),
    }
    with write_transaction(engine) as connection:
        connection.execute(requests.insert().values(row | changes))


def add_resync(engine: sa.Engine, resync_id: str, *, state: str, finished_at: object) -> None:
    days = dict.fromkeys(("since", "until", "remaining_until"), date(2026, 1, 1))
    row: Row = {
        **days,
        "id": resync_id,
        "brand_id": "acme",
        "job": "meta_sync",
        "piece_days": 7,
        "state": state,
        "requested_by": "test",
        "reason": "",
        "requested_at": LATER - timedelta(days=3000),
        "finished_at": finished_at,
    }
    with write_transaction(engine) as connection:
        connection.execute(resyncs.insert().values(row))


def test_what_a_status_rests_on_stays_however_old_and_a_rebuild_gives_the_same(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(performance=succeed, creatives=succeed)
    success = run(performance=succeed, creatives=succeed)
    run(performance=fail)
    failure = run(performance=fail)
    other_brand = run(brand="globex", creatives=succeed)
    project(instance, engine)
    before = statuses(engine)
    kept = plan_retention(instance, engine, SETTINGS, now=LATER).kept_runs
    # The run that was projected last is not even looked at.
    assert kept == {NEWEST_SUCCESS: 1, NEWEST_ATTEMPT: 1}

    assert clear(instance, engine)[Part.RUNS] == 2
    kept_runs = {success.run_id, failure.run_id, other_brand.run_id}
    assert run_ids(instance) == values(engine, dataset_attempts.c.run_id) == kept_runs
    assert statuses(engine) == before

    rebuild(instance, engine)
    assert statuses(engine) == before
    assert values(engine, dataset_attempts.c.run_id) == kept_runs


def test_a_deleted_run_leaves_neither_events_nor_output_nor_files(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine, tmp_path: Path
) -> None:
    old = run(creatives=succeed)
    new = run(creatives=succeed)
    project(instance, engine)

    def traces(run_id: str) -> list[Path]:
        return list(tmp_path.rglob(f"*{run_id}*"))

    assert traces(old.run_id) != []
    clear(instance, engine)
    assert traces(old.run_id) == []
    assert instance.get_run_record_by_id(old.run_id) is None
    if engine.dialect.name == "postgresql":  # on SQLite they are in one of those files
        assert instance.all_logs(old.run_id) == []
    assert traces(new.run_id) != []
    assert instance.all_logs(new.run_id) != []


def test_runs_go_the_moment_they_are_older_than_the_limit(
    instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    old, _ = add_runs(instance, 2)
    project(instance, engine)
    record = instance.get_run_record_by_id(old)
    assert record is not None
    limit = record.update_timestamp + timedelta(days=30)
    assert clear(instance, engine, now=limit) == {}
    assert clear(instance, engine, now=limit + timedelta(microseconds=1)) == {Part.RUNS: 1}


def test_a_run_that_has_not_ended_and_one_not_yet_projected_stay(
    instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    add_runs(instance, 2)
    assert clear(instance, engine) == {}
    project(instance, engine)
    unfinished = add_runs(instance, 2, status=dg.DagsterRunStatus.STARTED)
    unfinished += add_runs(instance, 1, status=dg.DagsterRunStatus.STARTING)
    new = add_runs(instance, 1)
    assert clear(instance, engine) == {Part.RUNS: 1}
    project(instance, engine)
    clear(instance, engine)
    assert run_ids(instance) >= {*unfinished, *new}


def add_runs(
    instance: dg.DagsterInstance,
    count: int,
    *,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS,
) -> list[str]:
    """Runs of somebody's job, which did nothing."""
    ids = [str(uuid4()) for _ in range(count)]
    for run_id in ids:
        instance.add_run(dg.DagsterRun(job_name="theirs", run_id=run_id, status=status))
        instance.add_run_tags(run_id, {"team": "theirs"})  # stamps it to the microsecond, as a run
    return ids


def test_while_a_dataset_is_being_synced_its_earlier_attempts_stay(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    """Until the new attempt ends, the error shown is that of the one before."""
    success = run(creatives=succeed)
    failure = run(creatives=fail)
    run(performance=succeed)
    project(instance, engine)
    with write_transaction(engine) as connection:
        connection.execute(
            dataset_status.update()
            .where(dataset_status.c.dataset == "meta_ad_creatives")
            .values(last_attempt_run_id="in-progress", last_attempt_outcome=None)
        )
    plan = plan_retention(instance, engine, SETTINGS, now=LATER)
    assert plan.kept_runs == {BEING_SYNCED: 1, NEWEST_SUCCESS: 1}
    clear(instance, engine)
    assert {success.run_id, failure.run_id} <= run_ids(instance)
    assert {success.run_id, failure.run_id} <= values(engine, dataset_attempts.c.run_id)


@pytest.mark.parametrize("is_of_resync", [False, True])
def test_runs_and_attempts_of_what_has_not_ended_stay(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine, *, is_of_resync: bool
) -> None:
    first = run(creatives=succeed)
    run(creatives=succeed)
    project(instance, engine)
    if is_of_resync:
        add_resync(engine, "resync", state="running", finished_at=None)
        add_request(engine, "piece", resync_id="resync")
        with write_transaction(engine) as connection:
            of_first = dataset_attempts.c.run_id == first.run_id
            connection.execute(dataset_attempts.update().where(of_first).values(request_id="piece"))
    else:  # a new try of the first run's request waits
        add_request(engine, "retry", state="queued", finished_at=None, chain_id=first.run_id)
    assert plan_retention(instance, engine, SETTINGS, now=LATER).kept_runs == {OPEN: 1}
    clear(instance, engine)
    assert first.run_id in run_ids(instance)
    assert first.run_id in values(engine, dataset_attempts.c.run_id)
    assert values(engine, requests.c.id) >= {"piece" if is_of_resync else "retry"}


def test_attempts_outlive_their_runs_until_their_own_limit(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    old, new = run(creatives=succeed), run(creatives=succeed)
    project(instance, engine)
    soon = utcnow() + timedelta(days=31)
    assert clear(instance, engine, now=soon)[Part.RUNS] == 1
    assert values(engine, dataset_attempts.c.run_id) == {old.run_id, new.run_id}
    assert clear(instance, engine, now=soon + timedelta(days=60))[Part.ATTEMPTS] == 1
    assert values(engine, dataset_attempts.c.run_id) == {new.run_id}


def test_a_chain_of_requests_is_archived_as_a_whole_the_moment_all_of_it_is_old(
    instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    limit = LATER - timedelta(days=30)
    just_old = limit - timedelta(microseconds=1)
    for name, last_end in (("old", just_old), ("new", limit), ("active", None)):
        state = "succeeded" if last_end else "queued"
        add_request(engine, f"{name}-1", chain_id=name)
        add_request(engine, f"{name}-2", chain_id=name, finished_at=last_end, state=state)
    add_resync(engine, "resync", state="running", finished_at=None)
    add_request(engine, "piece", resync_id="resync")
    assert clear(instance, engine) == {Part.UNARCHIVED: 2}
    archived = sa.select(requests.c.id, requests.c.archived_at).where(
        requests.c.archived_at.is_not(None)
    )
    with engine.connect() as connection:
        found = {row.id: row.archived_at for row in connection.execute(archived)}
    assert found == {"old-1": LATER, "old-2": LATER}


def test_archived_requests_ended_resyncs_and_audit_entries_go_after_a_year(
    instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    limit = LATER - timedelta(days=365)
    just_old = limit - timedelta(microseconds=1)
    gone: Row = {"archived_at": LATER, "finished_at": just_old}
    add_request(engine, "old", **gone)
    add_request(engine, "new", **gone | {"finished_at": limit})
    add_request(engine, "of-resync", resync_id="referred", **gone | {"finished_at": limit})
    add_request(engine, "half-1", chain_id="half", **gone)
    add_request(engine, "half-2", chain_id="half", **gone | {"finished_at": limit})
    add_resync(engine, "ended", state="failed", finished_at=just_old)
    add_resync(engine, "new", state="failed", finished_at=limit)
    add_resync(engine, "referred", state="succeeded", finished_at=just_old)
    add_resync(engine, "running", state="running", finished_at=None)
    with write_transaction(engine) as connection:
        for at, target in ((just_old, "old"), (limit, "new")):
            audit.record(connection, at=at, actor="cli:a", action="brand.add", target=target)

    assert clear(instance, engine) == {Part.REQUESTS: 1, Part.RESYNCS: 1, Part.AUDIT_ENTRIES: 1}
    assert values(engine, requests.c.id) == {"new", "of-resync", "half-1", "half-2"}
    assert values(engine, resyncs.c.id) == {"new", "referred", "running"}
    assert values(engine, audit_log.c.target) == {"new", "history"}


def test_the_request_of_a_run_that_a_status_rests_on_stays(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    """Without it, a rebuild would take the run for one that a person has just started."""
    run(creatives=succeed)
    result = run(creatives=succeed)
    project(instance, engine)
    assert clear(instance, engine)[Part.UNARCHIVED] == 2
    assert clear(instance, engine) == {Part.REQUESTS: 1}
    assert values(engine, requests.c.run_id) == {result.run_id}


def test_nothing_goes_that_is_kept_for_ever(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(creatives=succeed)
    run(creatives=succeed)
    project(instance, engine)
    add_request(engine, "archived", archived_at=LATER)
    for_ever = Settings(
        retention_run_days=0,
        retention_attempt_days=0,
        retention_archive_days=0,
        retention_history_days=0,
    )
    assert clear(instance, engine, settings=for_ever) == {}


def test_what_an_interruption_leaves_goes_the_next_time(
    instance: dg.DagsterInstance, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    runs = add_runs(instance, 6)
    project(instance, engine)
    for number in range(5):
        add_request(engine, f"r{number}", archived_at=LATER)

    def interrupt(part: Part, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_retention(instance, engine, SETTINGS, actor="test", now=LATER, progress=interrupt)
    assert len(values(engine, requests.c.id)) == 3
    assert clear(instance, engine) == {Part.REQUESTS: 3, Part.RUNS: 5}
    assert run_ids(instance) == {runs[-1]}  # the last that was projected
    assert clear(instance, engine) == {}


def test_the_daily_job_tells_its_plan_and_applies_it(
    installation: Installation, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    job, schedule = build_retention()
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * *", "UTC")
    with write_transaction(engine) as connection:
        long_ago = utcnow() - timedelta(days=366)
        audit.record(connection, at=long_ago, actor="cli:a", action="brand.add", target="acme")
    result = job.execute_in_process(instance=instance, resources={"installation": installation})
    assert values(engine, audit_log.c.target) == {"acme", "globex", "history"}  # of this year
    said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "audit entries (older than 365 days): 1 to clear" in said
    assert "audit entries: 1 cleared" in said
