"""The instance that dagster.yaml makes: its queue gives every run its limits."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import dagster as dg
import pytest
import yaml
from sqlalchemy import Engine

from pipeline_assets.automation.run_coordinator import BrandRunCoordinator
from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import add_brand

INSTANCE_FILE = Path(__file__).parents[3] / "dagster.yaml"
DECLARED: dict[str, Any] = yaml.safe_load(INSTANCE_FILE.read_text())


NOW = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """One without an installation: a DAGSTER_HOME in which there is no database."""
    with dg.instance_for_test(overrides=DECLARED) as instance:
        yield instance


@pytest.fixture
def installed(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """One with a database in which acme's runs of meta_sync may take 90 minutes."""
    runtimes = {"meta_sync": 90.0}
    acme = Brand(id="acme", name="Acme", timezone="UTC", max_runtime_minutes=runtimes)
    add_brand(engine, acme, actor="test", now=NOW)
    monkeypatch.setenv("PIPELINE_DATABASE_URL", database_url)
    with dg.instance_for_test(overrides=DECLARED) as instance:
        yield instance


def submit(
    instance: dg.DagsterInstance,
    *,
    job: str = "__ASSET_JOB",
    datasets: tuple[str, ...] = (),
    tags: dict[str, str] | None = None,
) -> dg.DagsterRun:
    """Hand a run to the queue as Dagster's webserver does; what the queue makes of it."""
    run = dg.DagsterRun(
        job_name=job,
        run_id=str(uuid4()),
        # Only runs of a code location may enter the queue: these have left it already. The tests
        # with a real `dagster dev` see that real runs get there.
        status=dg.DagsterRunStatus.STARTED,
        tags=tags or {},
        asset_selection=frozenset(map(dg.AssetKey, datasets)) or None,
    )
    instance.add_run(run)
    workspace = cast("Any", None)  # the queue looks at the run alone
    return instance.run_coordinator.submit_run(dg.SubmitRunContext(run, workspace))


def test_a_run_of_the_asset_page_gets_the_lane_and_the_maximum_runtime_of_its_home_job(
    instance: dg.DagsterInstance,
) -> None:
    run = submit(instance, datasets=("ad_assets",), tags={"dagster/partition": "acme"})
    assert run.tags == {
        "dagster/partition": "acme",
        "pipeline/lane": "acme:meta_sync",
        "dagster/max_runtime": "7200",
    }


def test_a_run_of_a_job_gets_those_of_its_job(instance: dg.DagsterInstance) -> None:
    run = submit(instance, job="ad_classification", tags={"dagster/partition": "acme"})
    assert run.tags["pipeline/lane"] == "acme:ad_classification"
    assert run.tags["dagster/max_runtime"] == "3600"


@pytest.mark.parametrize(
    ("job", "datasets", "seconds"),
    [
        ("meta_sync", (), "5400"),
        ("__ASSET_JOB", ("ad_assets",), "5400"),
        ("asset_download", (), "7200"),
    ],
)
def test_a_brands_own_maximum_runtime_comes_before_the_jobs(
    installed: dg.DagsterInstance, job: str, datasets: tuple[str, ...], seconds: str
) -> None:
    run = submit(installed, job=job, datasets=datasets, tags={"dagster/partition": "acme"})
    assert run.tags["dagster/max_runtime"] == seconds


def test_a_run_that_names_its_maximum_runtime_keeps_it_though_its_brand_has_another(
    installed: dg.DagsterInstance,
) -> None:
    said = {"dagster/partition": "acme", "dagster/max_runtime": "60"}
    run = submit(installed, job="meta_sync", tags=said)
    assert run.tags["dagster/max_runtime"] == "60"


def test_a_run_of_an_unknown_brand_gets_the_jobs_maximum_runtime(
    installed: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    run = submit(installed, job="meta_sync", tags={"dagster/partition": "nobody"})
    assert run.tags["dagster/max_runtime"] == "7200"
    assert "There is no brand 'nobody'." in caplog.text


def test_a_run_is_queued_though_the_database_cannot_be_read_and_the_log_says_why(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pipeline_assets"):
        run = submit(instance, job="meta_sync", tags={"dagster/partition": "acme"})
    assert run.tags["dagster/max_runtime"] == "7200"
    said = [r.getMessage() for r in caplog.records if r.name.startswith("pipeline_assets")]
    assert len(said) == 1
    assert said[0].startswith(
        "meta_sync of brand acme gets the usual maximum runtime: The database"
    )


def test_a_run_over_several_brands_shares_one_lane_for_all_of_them(
    instance: dg.DagsterInstance,
) -> None:
    brands = {
        "dagster/asset_partition_range_start": "acme",
        "dagster/asset_partition_range_end": "globex",
    }
    run = submit(instance, datasets=("ad_assets",), tags=brands)
    assert run.tags["pipeline/lane"] == "*:meta_sync"


def test_what_a_run_says_itself_stays(instance: dg.DagsterInstance) -> None:
    said = {"dagster/partition": "acme", "dagster/max_runtime": "60", "pipeline/lane": "mine"}
    assert submit(instance, job="meta_sync", tags=said).tags == said
    partly = {"dagster/partition": "acme", "dagster/max_runtime": "60"}
    run = submit(instance, job="meta_sync", tags=partly)
    assert run.tags == {**partly, "pipeline/lane": "acme:meta_sync"}


def test_a_run_of_other_code_stays_as_it_is(instance: dg.DagsterInstance) -> None:
    run = submit(instance, datasets=("somebody_elses_table",), tags={"team": "theirs"})
    assert run.tags == {"team": "theirs"}


def test_the_queue_is_ours_looks_every_second_and_lets_one_run_of_a_lane_go_at_a_time(
    instance: dg.DagsterInstance,
) -> None:
    queue = instance.run_coordinator
    assert isinstance(queue, BrandRunCoordinator)
    assert queue.dequeue_interval_seconds == 1
    limits = queue.get_run_queue_config()
    assert limits.max_concurrent_runs == 10
    assert limits.tag_concurrency_limits == [
        {"key": "pipeline/lane", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    ]


def test_dagster_retries_runs_whose_worker_crashed_and_no_others(
    instance: dg.DagsterInstance,
) -> None:
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 2
    assert not instance.run_retries_retry_on_asset_or_op_failure


def test_dagster_watches_runs_and_ends_those_over_their_time(
    instance: dg.DagsterInstance,
) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_poll_interval_seconds == 20
    assert instance.run_monitoring_start_timeout_seconds == 180
    assert instance.run_monitoring_max_runtime_seconds == 4 * 3600
    assert DECLARED["run_monitoring"]["cancel_timeout_seconds"] == 180
    assert DECLARED["run_monitoring"]["free_slots_after_run_end_seconds"] == 60


@pytest.mark.parametrize("kind", ["SCHEDULE", "SENSOR"])
def test_dagster_forgets_the_ticks_of_which_there_are_thousands_a_day(
    instance: dg.DagsterInstance, kind: str
) -> None:
    from dagster._core.definitions.run_request import InstigatorType  # noqa: PLC0415 - not public

    days = instance.get_tick_retention_settings(InstigatorType[kind])
    assert {status.value: count for status, count in days.items()} == {
        "SKIPPED": 1,
        "SUCCESS": 7,
        "FAILURE": 30,
        "STARTED": 30,
    }


def test_dagster_sends_no_telemetry_and_evaluates_sensors_side_by_side(
    instance: dg.DagsterInstance,
) -> None:
    assert not instance.telemetry_enabled
    assert DECLARED["telemetry"] == {"enabled": False}  # the tests' instances turn it off anyway
    assert DECLARED["sensors"] == {"use_threads": True, "num_workers": 4}
