"""The check `fresh` inside Dagster: each brand's result, reported on changes and kept apart."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.assets.attempt import ROW_COUNT_CHECK, Attempt, Check, Outcome, dataset_asset
from pipeline_assets.assets.checks import build_fresh_checks
from pipeline_assets.automation.jobs import build_jobs
from pipeline_assets.automation.sensors import report_freshness
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.control.dagster_log import Failure, RunState
from pipeline_assets.control.fresh_checks import FreshCheck, check_freshness, report_changes
from pipeline_assets.control.projector import project
from pipeline_assets.datasets import JOBS
from pipeline_assets.definitions import defs
from pipeline_assets.freshness import FRESH_CHECK
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.settings import Settings
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, reported_freshness

META_SYNC = JOBS["meta_sync"].datasets
PERFORMANCE, THUMBNAILS = "meta_ads_performance", "ad_thumbnails"
EXPIRED = Failure("CredentialError", "The token has expired.", advice="Write a new one.")
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def report(loop: Any, instance: dg.DagsterInstance, **more: int) -> int:
    return report_changes(instance, loop.engine, now=loop.now, **more)


def results(
    instance: dg.DagsterInstance, brand_id: str, dataset: str = PERFORMANCE
) -> list[dg.AssetCheckEvaluation]:
    """Every result of a brand that Dagster keeps, the newest first."""
    found = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(dataset), FRESH_CHECK), limit=1000
    )
    evaluations = [each.event.dagster_event.asset_check_evaluation_data for each in found]
    return [each for each in evaluations if each.partition == brand_id]


def said(evaluation: Any) -> tuple[bool, str]:
    return evaluation.passed, evaluation.metadata["state"].value


def latest(loop: Any, instance: dg.DagsterInstance, brand_id: str = "acme") -> tuple[bool, str]:
    report(loop, instance)
    return said(results(instance, brand_id)[0])


def test_each_brands_freshness_is_kept_apart(loop: Any, instance: dg.DagsterInstance) -> None:
    loop.apply(loop.run(brand_id="acme"))
    failed = {PERFORMANCE: EXPIRED}
    loop.apply(loop.run(brand_id="globex", state=RunState.FAILED, fails=failed))
    report(loop, instance)
    (acme,), (globex,) = results(instance, "acme"), results(instance, "globex")
    assert (said(acme), said(globex)) == ((True, "fresh"), (False, "failing"))
    assert (acme.description, acme.severity) == (
        "2026-11-21 12:00 UTC: Ad performance synced just now.",
        WARN,
    )
    assert globex.severity is ERROR
    assert globex.description == (
        "2026-11-21 12:00 UTC: Ad performance failed a minute ago: The token has expired; "
        "never synced. Write a new one."
    )
    assert {name: value.value for name, value in acme.metadata.items()} == {
        "state": "fresh",
        "last_success": loop.now.timestamp(),
        "allowed_age_hours": 24.0,
        "see": "pipeline-assets status --brand acme",
    }
    assert globex.metadata["error_class"].value == "CredentialError"
    assert globex.metadata["what_to_do"].value == "Write a new one."


def test_only_changes_are_reported(loop: Any, instance: dg.DagsterInstance) -> None:
    loop.apply(loop.run())
    assert report(loop, instance) == 5
    loop.pass_time(hours=1)
    assert report(loop, instance) == 0
    loop.pass_time(hours=24 * 0.8 - 1)
    assert latest(loop, instance) == (True, "warn")
    assert results(instance, "acme")[0].severity is WARN
    loop.pass_time(hours=24 * 0.2)
    assert latest(loop, instance) == (False, "stale")
    assert results(instance, "acme")[0].severity is ERROR
    assert report(loop, instance) == 0


def test_newer_data_is_a_change_and_a_run_has_one_result(
    loop: Any, instance: dg.DagsterInstance
) -> None:
    for run_id in ("first", "second"):
        loop.apply(loop.run(run_id=run_id))
        assert report(loop, instance) == 5
        loop.pass_time(hours=24 * 0.8)
        assert report(loop, instance) > 0
    assert [said(each)[1] for each in results(instance, "acme")] == ["warn", "warn"]


def test_another_error_is_a_change_too(loop: Any, instance: dg.DagsterInstance) -> None:
    loop.apply(loop.run())
    report(loop, instance)
    for failure in (EXPIRED, Failure("AccessError", "No rights.")):
        loop.pass_time(minutes=1)
        loop.apply(loop.run(state=RunState.FAILED, fails={PERFORMANCE: failure}))
        assert latest(loop, instance) == (True, "fresh")
        assert results(instance, "acme")[0].metadata["error_class"].value == failure.error_class
        assert report(loop, instance) == 0


def test_what_never_was_there_gets_no_result(loop: Any, instance: dg.DagsterInstance) -> None:
    assert report(loop, instance) == 0


def test_a_source_that_is_taken_away_is_told_without_alarm(
    loop: Any, instance: dg.DagsterInstance
) -> None:
    loop.apply(loop.run())
    report(loop, instance)
    with write_transaction(loop.engine) as connection:
        connection.execute(brands.update().where(brands.c.id == "acme").values(sources={}))
    assert latest(loop, instance) == (False, "not_configured")
    assert results(instance, "acme")[0].severity is WARN
    assert report(loop, instance) == 0


def test_many_changes_are_reported_in_parts_those_that_contradict_dagster_first(
    loop: Any, instance: dg.DagsterInstance
) -> None:
    loop.apply(loop.run(brand_id="acme", datasets=[PERFORMANCE]))
    assert report(loop, instance) == 1
    loop.pass_time(hours=24)
    loop.apply(loop.run(brand_id="globex"))
    assert report(loop, instance, limit=1) == 1
    assert said(results(instance, "acme")[0]) == (False, "stale")
    assert results(instance, "globex") == []
    assert [report(loop, instance, limit=2) for _ in range(4)] == [2, 2, 1, 0]


class _CrashError(Exception):
    pass


def test_a_crash_in_between_repeats_results_and_loses_none(
    loop: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for brand_id in ("acme", "globex", "rival"):
        loop.apply(loop.run(brand_id=brand_id))
    reported: list[str] = []
    store = instance.report_dagster_event

    def crash_at_the_seventh(event: dg.DagsterEvent, run_id: str) -> None:
        if len(reported) == 6:
            raise _CrashError
        reported.append(run_id)
        store(event, run_id)

    monkeypatch.setattr(instance, "report_dagster_event", crash_at_the_seventh)
    with pytest.raises(_CrashError):
        report(loop, instance)
    monkeypatch.undo()
    assert report(loop, instance) == 15
    for brand_id in ("acme", "globex", "rival"):
        assert all(said(results(instance, brand_id, key)[0])[0] for key in META_SYNC)
    assert report(loop, instance) == 0


def test_the_table_remembers_what_was_reported(loop: Any, instance: dg.DagsterInstance) -> None:
    loop.apply(loop.run(datasets=[PERFORMANCE], run_id="r"))
    report(loop, instance)
    with loop.engine.connect() as connection:
        (row,) = connection.execute(sa.select(reported_freshness)).all()
    assert tuple(row) == ("acme", PERFORMANCE, "fresh - r", loop.now)


def test_a_question_is_one_query_for_all_datasets_of_a_brand(loop: Any) -> None:
    loop.apply(loop.run())
    checks = check_freshness(loop.engine, "acme", [PERFORMANCE, THUMBNAILS], now=loop.now)
    assert all(isinstance(check, FreshCheck) and check.is_passed for check in checks)
    assert [check.dataset for check in checks] == [PERFORMANCE, THUMBNAILS]


# In Dagster


def test_the_sensor_reports_and_starts_no_run(
    loop: Any, instance: dg.DagsterInstance, database_url: str
) -> None:
    loop.apply(loop.run())
    installation = Installation(Settings(database_url=database_url))
    with dg.build_sensor_context(
        instance=instance, resources={"installation": installation}
    ) as context:
        ticks = [report_freshness.evaluate_tick(context) for _ in range(2)]
    assert [tick.skip_message for tick in ticks] == [
        "5 changes of freshness reported.",
        "0 changes of freshness reported.",
    ]
    assert [tick.run_requests for tick in ticks] == [[], []]
    assert len(results(instance, "acme")) == 1
    assert instance.get_run_records() == []


def test_every_dataset_has_the_check_for_each_brand_and_no_job_of_ours_executes_it() -> None:
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    for key in SCHEMAS:
        spec = graph.get_check_spec(dg.AssetCheckKey(dg.AssetKey(key), FRESH_CHECK))
        assert spec.partitions_def == dg.DynamicPartitionsDefinition(name=BRAND_PARTITIONS)
        assert not spec.blocking
    for job in defs.resolve_all_job_defs():
        nodes = {node.name for node in job.nodes}
        checks = {f"{key}_{FRESH_CHECK}" for key in SCHEMAS} & nodes
        # Dagster shows only checks that some job can execute: that of its own asset page.
        assert checks == (set() if not job.name.startswith("__") else nodes & checks)


def _store_one(attempt: Attempt) -> Outcome:
    return Outcome(records=1, distinct_ads=1, checks={"fine": Check(True, "Fine.")})


@pytest.fixture
def definitions(loop: Any, database_url: str) -> dg.Definitions:
    """All datasets with little to do, with our real jobs and checks."""
    return dg.Definitions(
        assets=[dataset_asset(key, checks=("fine",))(_store_one) for key in SCHEMAS],
        asset_checks=build_fresh_checks(),
        jobs=build_jobs(),
        resources={"installation": Installation(Settings(database_url=database_url))},
        executor=dg.in_process_executor,
    )


@pytest.mark.parametrize("chosen", [None, [PERFORMANCE]], ids=["all", "some"])
def test_a_sync_neither_executes_nor_plans_the_check(
    definitions: dg.Definitions, instance: dg.DagsterInstance, chosen: list[str] | None
) -> None:
    instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme"])
    job = definitions.resolve_job_def("meta_sync")
    if chosen:  # as the daemon makes of the sensor's run request
        job = job.get_subset(
            asset_selection={dg.AssetKey(key) for key in chosen},
            asset_check_selection={
                dg.AssetCheckKey(dg.AssetKey(key), name)
                for key in chosen
                for name in ("fine", ROW_COUNT_CHECK)
            },
        )
    run = job.execute_in_process(instance=instance, partition_key="acme")
    evaluated = [each.check_name for each in run.get_asset_check_evaluations()]
    assert evaluated == ["fine", ROW_COUNT_CHECK] * len(chosen or META_SYNC)
    assert results(instance, "acme") == []


def test_a_run_of_dagsters_asset_page_executes_it_on_what_it_has_just_stored(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme"])
    run = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, partition_key="acme", asset_selection=[dg.AssetKey(PERFORMANCE)]
    )
    (fresh,) = [e for e in run.get_asset_check_evaluations() if e.check_name == FRESH_CHECK]
    assert (fresh.partition, said(fresh)) == ("acme", (True, "fresh"))
    assert (fresh.description or "").endswith(" UTC: Ad performance synced just now.")


def statuses(instance: dg.DagsterInstance) -> dict[str | None, str]:
    """Each brand's status as Dagster's page of the check shows it; without those it forgot."""
    key = dg.AssetCheckKey(dg.AssetKey(PERFORMANCE), FRESH_CHECK)
    found = instance.event_log_storage.get_asset_check_partition_info([key])
    return {i.partition_key: i.latest_execution_status.value for i in found if i.is_current}


def test_dagster_takes_a_result_for_one_about_the_brands_latest_data(
    definitions: dg.Definitions, loop: Any, instance: dg.DagsterInstance
) -> None:
    def sync(brand_id: str) -> None:
        job.execute_in_process(instance=instance, partition_key=brand_id)

    def tell(**after: int) -> int:
        project(instance, loop.engine, policies=loop.policies)
        loop.now = datetime.now(UTC) + timedelta(**after)
        return report(loop, instance)

    instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme", "globex"])
    job = definitions.resolve_job_def("meta_sync")
    sync("acme")
    sync("globex")
    assert tell() == 10
    assert statuses(instance) == {"acme": "SUCCEEDED", "globex": "SUCCEEDED"}
    assert tell(hours=30) > 0
    assert statuses(instance) == {"acme": "FAILED", "globex": "FAILED"}
    sync("globex")
    assert statuses(instance) == {"acme": "FAILED"}, "globex has newer data"
    assert tell() == 7, "two of acme's were too old, and all five of globex are newer"
    assert statuses(instance) == {"acme": "SUCCEEDED", "globex": "SUCCEEDED"}
