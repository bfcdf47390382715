from datetime import timedelta

import pytest

from pipeline_assets.control.run_tags import job_of_run, lane_tags


@pytest.mark.parametrize(
    ("job_name", "datasets", "job"),
    [
        ("meta_sync", set(), "meta_sync"),
        ("asset_download", {"ad_assets"}, "asset_download"),
        ("__ASSET_JOB", {"ad_assets"}, "meta_sync"),
        ("__ephemeral_asset_job__", {"ad_classifications"}, "meta_sync"),
        ("__ASSET_JOB", {"scorecard"}, "scorecard"),
        ("__ASSET_JOB", {"scorecard", "meta_ads_performance"}, "meta_sync"),
        ("__ASSET_JOB", {"somebody_elses_table", "scorecard"}, "scorecard"),
        ("__ASSET_JOB", {"somebody_elses_table"}, None),
        ("somebody_elses_job", set(), None),
    ],
)
def test_a_run_counts_as_the_job_of_its_name_or_else_of_its_first_dataset(
    job_name: str, datasets: set[str], job: str | None
) -> None:
    assert job_of_run(job_name, datasets) == job


def test_a_lane_is_of_one_brand_and_one_job_and_the_runtime_is_in_whole_seconds() -> None:
    assert lane_tags("meta_sync", "acme") == {
        "pipeline/lane": "acme:meta_sync",
        "dagster/max_runtime": "7200",
    }
    assert lane_tags("scorecard", "acme")["pipeline/lane"] == "acme:scorecard"
    assert lane_tags("scorecard", "acme")["dagster/max_runtime"] == "1800"


def test_a_brands_own_maximum_runtime_comes_before_the_jobs_and_is_never_none_at_all() -> None:
    tags = lane_tags("meta_sync", "acme", timedelta(minutes=90))
    assert tags == {"pipeline/lane": "acme:meta_sync", "dagster/max_runtime": "5400"}
    # Dagster takes 0 for no limit.
    assert lane_tags("meta_sync", "acme", timedelta(milliseconds=1))["dagster/max_runtime"] == "1"


def test_a_run_over_several_brands_has_a_lane_of_its_own_for_each_job() -> None:
    assert lane_tags("meta_sync", None)["pipeline/lane"] == "*:meta_sync"
