from datetime import timedelta

from pipeline_assets.datasets import DATASETS, JOBS, home_job
from pipeline_assets.schemas import SCHEMAS, ColumnType


def test_upstream_datasets_stand_before_those_that_read_them() -> None:
    seen: set[str] = set()
    for dataset in DATASETS.values():
        assert set(dataset.upstream) <= seen, dataset.key
        seen.add(dataset.key)


def test_companions_can_be_done_as_soon_as_the_dataset_that_reads_them() -> None:
    for dataset in DATASETS.values():
        for companion in dataset.companions:
            assert set(DATASETS[companion].upstream) <= set(dataset.upstream), dataset.key


def test_every_dataset_belongs_to_a_job_and_jobs_name_only_known_datasets() -> None:
    in_jobs = {key for job in JOBS.values() for key in job.datasets}
    assert in_jobs == set(DATASETS)


def test_a_lone_dataset_counts_as_the_first_job_that_has_it() -> None:
    assert home_job("ad_assets").name == "meta_sync"
    assert home_job("scorecard").name == "scorecard"


def test_a_dataset_warns_at_four_fifths_of_its_allowed_age() -> None:
    assert DATASETS["meta_ads_performance"].warn_after == timedelta(hours=19, minutes=12)
    assert DATASETS["ad_creations"].warn_after is None


def test_only_performance_is_fatal() -> None:
    assert [key for key, dataset in DATASETS.items() if dataset.fatal] == ["meta_ads_performance"]


def test_every_dataset_has_a_schema_and_its_key_names_its_columns() -> None:
    assert list(SCHEMAS) == list(DATASETS)
    for name, schema in SCHEMAS.items():
        columns = {column.name: column for column in schema.columns}
        assert len(columns) == len(schema.columns), f"{name} has a column twice"
        assert schema.key[0] == "brand_id"
        assert all(not columns[part].nullable for part in schema.key)
        assert set(schema.scope) <= set(columns)


def test_every_column_says_what_it_holds() -> None:
    for schema in SCHEMAS.values():
        for column in schema.columns:
            assert len(column.description) > 3, f"{schema.name}.{column.name}"


def test_performance_has_the_columns_that_readers_count_on() -> None:
    columns = {c.name: c.type for c in SCHEMAS["meta_ads_performance"].columns}
    promised = [
        "campaign_id",
        "campaign_name",
        "adset_id",
        "adset_name",
        "ad_name",
        "impressions",
        "reach",
        "clicks",
        "inline_link_clicks",
        "spend",
        "currency",
        "purchases",
        "purchase_value",
        "video_3s_views",
        "thruplays",
        "video_plays",
        "p25",
        "p50",
        "p75",
        "p95",
        "p100",
        "landing_page_views",
        "attribution_setting",
        "fetched_at",
        "provisional",
        "actions",
    ]
    assert set(promised) <= set(columns)
    assert columns["spend"] is ColumnType.DECIMAL
    assert SCHEMAS["meta_ads_performance"].key == ("brand_id", "ad_account_id", "date", "ad_id")
