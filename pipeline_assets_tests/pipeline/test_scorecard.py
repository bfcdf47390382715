"""The job `scorecard` after `meta_sync`, against the simulator, on both databases."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.analysis.creative_days import creative_keys, first_day
from pipeline_assets.clock import utcnow
from pipeline_assets.control.projector import project
from pipeline_assets.control.status import read_states
from pipeline_assets.definitions import build_definitions
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import TABLES
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.storage.windows import Scope, read_frame, read_rows, replace_rows

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Sync = Callable[..., dg.ExecuteInProcessResult]
Score = Callable[[], dg.ExecuteInProcessResult]
HaveSynced = Callable[..., None]
Row = dict[str, Any]

CHECKS = {"no_figure_is_negative", "spend_is_that_of_all_ads", "most_hooks_are_known"}


@pytest.fixture
def score(installation: Installation, instance: dg.DagsterInstance) -> Score:
    """Run the job `scorecard` for acme."""

    def run() -> dg.ExecuteInProcessResult:
        definitions = build_definitions(Installation(installation.settings))
        return definitions.resolve_job_def("scorecard").execute_in_process(
            instance=instance, partition_key="acme", raise_on_error=False
        )

    return run


def rows_of(engine: sa.Engine, name: str) -> list[Row]:
    return read_rows(engine, TABLES[name], brand_id="acme")


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Of our own checks those that did not pass, with what they say."""
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert found.keys() >= CHECKS
    return {name: found[name].description or "" for name in CHECKS if not found[name].passed}


def add_up(rows: Iterable[Row], *names: str) -> list[Any]:
    rows = list(rows)
    return [sum(row[name] or 0 for row in rows) for name in names]


@BOTH_DATABASES
def test_creatives_and_days_add_up_to_what_the_sync_stored(
    sync: Sync, score: Score, engine: sa.Engine, instance: dg.DagsterInstance
) -> None:
    assert sync("meta_ads_performance", "meta_ad_creatives", "ad_classifications").success
    result = score()
    assert result.success
    assert failed_checks(result) == {}
    ad_days = rows_of(engine, "meta_ads_performance")
    scored, days = rows_of(engine, "scorecard"), rows_of(engine, "scorecard_days")

    until = max(row["date"] for row in ad_days)
    assert {(row["since"], row["until"]) for row in scored} == {(first_day(until), until)}
    assert {row["currency"] for row in scored} == {"EUR", "USD"}
    for currency in ("EUR", "USD"):
        ours = [row for row in scored if row["currency"] == currency]
        theirs = [row for row in ad_days if row["currency"] == currency]
        recent = [row for row in theirs if row["date"] >= first_day(until)]
        names = ("spend", "purchase_value", "impressions", "purchases")
        assert add_up(ours, *names) == add_up(recent, *names)
        assert sum(row["spend_share"] for row in ours) == pytest.approx(1)

        stored = [row for row in days if row["currency"] == currency]
        assert {row["date"] for row in stored} == {row["date"] for row in theirs}
        for day in stored:
            of_day = [row for row in theirs if row["date"] == day["date"]]
            names = (
                *("impressions", "reach", "clicks", "inline_link_clicks", "spend", "purchases"),
                *("purchase_value", "landing_page_views", "video_plays", "video_3s_views"),
                "thruplays",
            )
            assert add_up([day], *names) == add_up(of_day, *names)
            assert day["ad_count"] == len(of_day)
            assert day["provisional"] is any(row["provisional"] for row in of_day)

    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["records"].value == len(scored)
    assert metadata["distinct_ads"].value == len({row["ad_id"] for row in ad_days})
    project(instance, engine)
    states = {each.dataset: each for each in read_states(engine, now=utcnow())}
    assert states["scorecard"].state is State.FRESH


def test_a_creatives_row_is_what_its_ads_and_its_classification_say(
    sync: Sync, score: Score, engine: sa.Engine
) -> None:
    sync("meta_ads_performance", "meta_ad_creatives", "ad_classifications")
    score()
    ads = read_frame(engine, TABLES["meta_ad_creatives"], brand_id="acme")
    by_ad = dict(zip(ads["ad_id"], creative_keys(ads), strict=True))
    spend: dict[str, Decimal] = defaultdict(Decimal)
    ad_days = rows_of(engine, "meta_ads_performance")
    since = first_day(max(row["date"] for row in ad_days))
    for row in [row for row in ad_days if row["date"] >= since]:
        spend[by_ad[row["ad_id"]]] += row["spend"]
    hooks = {row["creative_id"]: row["hook_type"] for row in rows_of(engine, "ad_classifications")}
    scored = rows_of(engine, "scorecard")
    assert {row["creative_key"]: row["spend"] for row in scored} == spend
    for row in scored:
        assert row["hook_type"] == hooks[row["creative_id"]]
        assert row["creative_id"] in set(ads["creative_id"])
        has_video = row["creative_key"].startswith("video:")
        assert (row["hook_rate"] is not None) == has_video
        assert row["label"] in {"winner", "middle", "loser", "too_early"}
        assert row["label_reason"].endswith(".")
    assert {row["creative_key"].partition(":")[0] for row in scored} >= {"video", "image"}


@BOTH_DATABASES
def test_scoring_again_changes_nothing_but_the_time(
    sync: Sync, score: Score, engine: sa.Engine, have_synced: HaveSynced
) -> None:
    have_synced("ad_classifications")
    sync("meta_ads_performance", "meta_ad_creatives")
    score()
    before = [rows_of(engine, name) for name in ("scorecard", "scorecard_days")]
    assert score().success
    after = [rows_of(engine, name) for name in ("scorecard", "scorecard_days")]
    for rows in (*before, *after):
        assert rows
        for row in rows:
            del row["fetched_at"]
    assert after == before


def test_a_brand_without_figures_has_an_empty_scorecard(
    score: Score, engine: sa.Engine, have_synced: HaveSynced
) -> None:
    have_synced("meta_ads_performance", "ad_classifications")
    result = score()
    assert result.success
    assert failed_checks(result) == {}
    assert rows_of(engine, "scorecard") == rows_of(engine, "scorecard_days") == []


def test_spend_of_ads_without_a_creative_fails_the_check(
    sync: Sync, score: Score, engine: sa.Engine
) -> None:
    sync("meta_ads_performance", "meta_ad_creatives", "ad_classifications")
    ads = DATASET_TABLES["meta_ad_creatives"]
    with engine.begin() as connection:
        connection.execute(
            ads.update().where(ads.c.ad_account_id == "act_11").values(creative_id=None)
        )
    result = score()
    assert result.success
    failed = failed_checks(result)
    assert failed.keys() == {"spend_is_that_of_all_ads"}
    assert failed["spend_is_that_of_all_ads"].startswith(
        "Spend does not add up: creatives 0 of ads "
    )
    assert failed["spend_is_that_of_all_ads"].endswith(" EUR.")
    assert {row["currency"] for row in rows_of(engine, "scorecard")} == {"USD"}


@pytest.mark.parametrize("column", ["spend", "thruplays", "reach"])
def test_a_negative_figure_of_any_stored_day_fails_the_check(
    sync: Sync, score: Score, engine: sa.Engine, column: str
) -> None:
    sync("meta_ads_performance", "meta_ad_creatives", "ad_classifications")
    table = DATASET_TABLES["meta_ads_performance"]
    old = rows_of(engine, "meta_ads_performance")[0]
    old |= {"date": old["date"] - timedelta(days=90), column: type(old[column])(-1)}
    replace_rows(
        engine,
        TABLES["meta_ads_performance"],
        brand_id="acme",
        scopes=[Scope(since=old["date"], until=old["date"])],
        chunks=[[tuple(old[column.name] for column in table.columns)]],
        attempt_started_at=utcnow(),
    )
    failed = failed_checks(score())
    assert failed == {
        "no_figure_is_negative": "A count or the spend is negative in rows: 1, the first of "
        f"{old['date']} {old['currency']}."
    }


def test_creatives_that_nobody_has_classified_fail_the_check(
    sync: Sync, score: Score, engine: sa.Engine, have_synced: HaveSynced
) -> None:
    have_synced("ad_classifications")
    sync("meta_ads_performance", "meta_ad_creatives")
    failed = failed_checks(score())
    count = len(rows_of(engine, "scorecard"))
    assert failed == {"most_hooks_are_known": f"{count} of {count} creatives lack a known hook."}


@BOTH_DATABASES
def test_a_shops_nonsense_of_a_value_does_not_lose_the_scorecard(
    sync: Sync, score: Score, engine: sa.Engine
) -> None:
    sync("meta_ads_performance", "meta_ad_creatives", "ad_classifications")
    table = DATASET_TABLES["meta_ads_performance"]
    nonsense = Decimal("9999999999999.99")  # 15 digits; a sum of them has more than SQLite stores
    with engine.begin() as connection:
        connection.execute(table.update().values(purchase_value=nonsense))
    assert failed_checks(score()) == {}
    ad_days = rows_of(engine, "meta_ads_performance")
    (stored,) = add_up(rows_of(engine, "scorecard_days"), "purchase_value")
    assert stored == pytest.approx(nonsense * len(ad_days), rel=Decimal("1e-14"))
