"""What Dagster is told of the catalogue, and what loading it costs."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipeline_assets.assets import ad_analysis, meta_ads
from pipeline_assets.assets.attempt import ROW_COUNT_CHECK
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.definitions import defs
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import SCHEMAS

HEAVY = ("sqlalchemy", "pandas", "requests", "PIL", "av")
WATCHED_CALLS = ("socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen")


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def checks_of(key: str) -> list[dg.AssetCheckSpec]:
    assets_def = defs.resolve_assets_def(dg.AssetKey(key))
    return [check for check in assets_def.check_specs if check.asset_key == dg.AssetKey(key)]


def test_the_assets_are_just_the_datasets(
    specs: dict[str, dg.AssetSpec],
) -> None:
    assert set(specs) == set(DATASETS)


@pytest.mark.parametrize("key", DATASETS)
def test_an_asset_says_what_the_catalogue_says(specs: dict[str, dg.AssetSpec], key: str) -> None:
    spec, dataset = specs[key], DATASETS[key]
    assert spec.group_name == dataset.group
    assert spec.kinds == set(dataset.kinds)
    assert list(spec.owners) == ["team:ad-data"]
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == set(dataset.upstream)
    assert spec.partitions_def == dg.DynamicPartitionsDefinition(name=BRAND_PARTITIONS)


@pytest.mark.parametrize("key", DATASETS)
def test_an_assets_freshness_windows_are_the_catalogues(
    specs: dict[str, dg.AssetSpec], key: str
) -> None:
    dataset = DATASETS[key]
    if dataset.fail_after is None:
        assert specs[key].freshness_policy is None
        return
    assert specs[key].freshness_policy == dg.FreshnessPolicy.time_window(
        fail_window=dataset.fail_after, warn_window=dataset.warn_after
    )


@pytest.mark.parametrize("key", DATASETS)
def test_an_assets_columns_are_those_of_its_schema(
    specs: dict[str, dg.AssetSpec], key: str
) -> None:
    metadata = specs[key].metadata
    shown = [
        (column.name, column.type, column.description, column.constraints.nullable)
        for column in metadata["dagster/column_schema"].columns
    ]
    declared = [(c.name, c.type.value, c.description, c.nullable) for c in SCHEMAS[key].columns]
    assert shown == declared
    assert metadata["dagster/table_name"] == key
    assert metadata["key_columns"] == ", ".join(SCHEMAS[key].key)


@pytest.mark.parametrize("key", DATASETS)
def test_an_assets_description_is_its_docstring_and_names_its_readers(
    specs: dict[str, dg.AssetSpec], key: str
) -> None:
    description = specs[key].description or ""
    for part in ("\nSource: ", "\nCheck: "):  # at a line's beginning: indented, it shows as code
        assert part in description
    readers = ", ".join(reader.value for reader in DATASETS[key].readers)
    assert f"\n\nRead by: {readers}. " in description
    assert "freshness here means any brand" in description, "the policy's meaning is no brand's"
    assert inspect.cleandoc(description) == description


@pytest.mark.parametrize("key", DATASETS)
def test_an_assets_checks_have_results_for_each_brand_and_say_what_they_check(key: str) -> None:
    *own, row_count = checks_of(key)
    assert own
    assert row_count.name == ROW_COUNT_CHECK
    for check in (*own, row_count):
        assert check.partitions_def == dg.DynamicPartitionsDefinition(name=BRAND_PARTITIONS)
        assert not check.blocking
    assert all("Check: " in (check.description or "") for check in own)


def test_the_checks_are_named_by_what_holds_when_they_pass() -> None:
    names = {key: [check.name for check in checks_of(key)][:-1] for key in DATASETS}
    assert {key: names[key] for key in JOBS["meta_sync"].datasets} == {
        "meta_ads_performance": ["spend_matches_account_total"],
        "meta_ad_creatives": ["ads_have_readable_creatives"],
        "ad_thumbnails": ["media_are_in_the_store"],
        "ad_assets": ["media_are_in_the_store"],
        "ad_classifications": ["most_hooks_are_recognised", "language_model_answered"],
    }


def test_a_window_can_be_given_where_rows_have_dates_and_nowhere_else() -> None:
    def config_of(definition: dg.AssetsDefinition) -> set[str]:
        schema: Any = definition.op.config_schema.config_type
        return set(getattr(schema, "fields", None) or ())

    assert config_of(meta_ads.meta_ads_performance) == {"since", "until"}
    assert config_of(ad_analysis.ad_classifications) == set()


def test_the_jobs_are_the_catalogues_and_the_cleaning_up() -> None:
    names = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert names == {*JOBS, "retention"}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_refreshes_its_datasets_in_one_process(name: str) -> None:
    job = defs.resolve_job_def(name)
    # Dagster wants ops' and jobs' names unique together: an op gives way.
    names = {f"{key}_dataset" if key in JOBS else key for key in JOBS[name].datasets}
    assert {node.name for node in job.nodes} == names
    assert job.executor_def is dg.in_process_executor
    assert "dagster/max_runtime" not in job.tags  # the run queue adds it: a brand may have its own
    assert job.partitions_def == dg.DynamicPartitionsDefinition(name=BRAND_PARTITIONS)


def test_dagster_can_load_every_job_together() -> None:
    loaded = {job.name for job in defs.get_repository_def().get_all_jobs()}
    assert loaded >= {*JOBS, "retention", "__ASSET_JOB"}


def test_only_what_does_all_brands_in_one_run_takes_a_range_of_partitions_at_once() -> None:
    policies = {key: defs.resolve_assets_def(dg.AssetKey(key)).backfill_policy for key in DATASETS}
    across = {key for job in JOBS.values() if job.across_brands for key in job.datasets}
    assert {key for key, policy in policies.items() if policy is not None} == across


def test_runs_of_the_asset_page_use_one_process_too() -> None:
    assert defs.resolve_implicit_global_asset_job_def().executor_def is dg.in_process_executor


def test_the_sensors_run_without_anybody_switching_them_on() -> None:
    sensors = {sensor.name: sensor for sensor in defs.sensors or ()}
    assert {name: s.minimum_interval_seconds for name, s in sensors.items()} == {
        "launch_requests": 4,
        "project_status": 4,
        "recover_runs": 14,
        "report_freshness": 29,
        "sync_brands": 29,
    }
    for sensor in sensors.values():
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_the_schedules_run_without_anybody_switching_them_on() -> None:
    schedules = {schedule.name: schedule for schedule in defs.schedules or ()}
    assert {name: each.cron_schedule for name, each in schedules.items()} == {
        "cadences": "* * * * *",
        "retention_daily": "30 3 * * *",
    }
    for schedule in schedules.values():
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
        assert schedule.execution_timezone == "UTC"


def test_everything_that_is_defined_can_be_loaded_together() -> None:
    dg.Definitions.validate_loadable(defs)


def test_the_installation_is_no_configurable_resource_whose_values_dagster_would_show() -> None:
    resource = (defs.resources or {})["installation"]
    assert isinstance(resource, Installation)
    assert not isinstance(resource, dg.ConfigurableResource)


_LOOK = f"""
import json, sys
import dagster  # what it does itself is not ours
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event in {WATCHED_CALLS} else None)
import pipeline_assets.definitions
heavy = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps({{"heavy": heavy, "calls": calls}}))
"""


@pytest.fixture(scope="module")
def load() -> Callable[[], dict[str, list[str]]]:
    def load_elsewhere(folder: Path = Path("/")) -> dict[str, list[str]]:
        """Load the definitions in a process without any setting."""
        ours = ("DAGSTER_", "PIPELINE_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        done = subprocess.run(
            [sys.executable, "-c", _LOOK],
            check=True,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        found: dict[str, list[str]] = json.loads(done.stdout)
        return found

    return load_elsewhere


def test_loading_the_definitions_needs_no_setting_opens_nothing_and_stays_light(
    load: Callable[..., dict[str, list[str]]], tmp_path: Path
) -> None:
    assert load(tmp_path) == {"heavy": [], "calls": []}
    assert list(tmp_path.iterdir()) == []
