"""A brand's Meta data, end to end: what Meta says, our tables hold; what it breaks, we survive."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.control.projector import project
from pipeline_assets.control.requests import list_requests
from pipeline_assets.control.status import DatasetState, read_states
from pipeline_assets.datasets import JOBS
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.storage.tables import DATASET_TABLES, METADATA
from pipeline_assets.storage.windows import read_rows

TOKEN = "EAAPlantedTokenOfTheTests0123456789abcdef"
PARIS, ANGELES = "act_11", "act_12"
BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

ALL = JOBS["meta_sync"].datasets

Row = dict[str, Any]
Sync = Callable[..., dg.ExecuteInProcessResult]


def rows_of(engine: sa.Engine, dataset: str) -> list[Row]:
    return read_rows(engine, SCHEMAS[dataset], brand_id="acme")


def states_of(instance: dg.DagsterInstance, engine: sa.Engine) -> dict[str, DatasetState]:
    project(instance, engine)
    found = read_states(engine, now=utcnow())
    return {state.dataset: state for state in found if state.dataset in ALL}


def failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    checks = result.get_asset_check_evaluations()
    return [f"{check.check_name}: {check.description}" for check in checks if not check.passed]


def metadata_of(result: dg.ExecuteInProcessResult, dataset: str) -> Row:
    (event,) = result.asset_materializations_for_node(dataset)
    return {key: value.value for key, value in event.metadata.items()}


@BOTH_DATABASES
def test_a_healthy_brand_is_fresh_in_every_dataset_and_every_check_passes(
    sync: Sync, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    result = sync()
    assert result.success
    assert failed_checks(result) == []
    states = states_of(instance, engine)
    assert {key: state.state for key, state in states.items()} == dict.fromkeys(ALL, State.FRESH)
    for key in ALL:
        stored = len(rows_of(engine, key))
        assert states[key].records_affected == stored > 0, key
        metadata = metadata_of(result, key)
        assert metadata["records"] == metadata["dagster/partition_row_count"] == stored
        names = [column.name for column in metadata["dagster/column_schema"].columns]
        assert names == list(SCHEMAS[key].column_names)


@BOTH_DATABASES
def test_performance_holds_what_meta_says_for_each_ad_and_day(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    sync("meta_ads_performance")
    rows = {
        (r["ad_account_id"], r["ad_id"], r["date"]): r
        for r in rows_of(engine, "meta_ads_performance")
    }
    now = utcnow()
    expected = 0
    for account_id, zone in ((PARIS, "Europe/Paris"), (ANGELES, "America/Los_Angeles")):
        today = now.astimezone(ZoneInfo(zone)).date()
        for ad in simulator.world.accounts[account_id].ads:
            for age in range(28):
                day = today - timedelta(days=age)
                truth = simulator.world.metrics(account_id, ad.id, day, now=now)
                row = rows.get((account_id, ad.id, day))
                if truth is None or age == 0:  # today's figures move while we look
                    continue
                assert row is not None, (account_id, ad.id, day)
                assert row["impressions"] == truth.impressions
                assert row["spend"] == Decimal(truth.spend) / 100
                assert row["clicks"] == truth.clicks
                assert row["currency"] == ("EUR" if account_id == PARIS else "USD")
                assert row["provisional"] is True
                expected += 1
    assert expected > 300
    assert {day for _, _, day in rows} >= {today - timedelta(days=n) for n in range(1, 28)}


def test_rows_and_distinct_ads_are_two_different_numbers(sync: Sync, engine: sa.Engine) -> None:
    result = sync("meta_ads_performance")
    rows = rows_of(engine, "meta_ads_performance")
    metadata = metadata_of(result, "meta_ads_performance")
    assert metadata["records"] == len(rows)
    assert metadata["distinct_ads"] == len({row["ad_id"] for row in rows}) < len(rows)


@BOTH_DATABASES
def test_syncing_again_changes_no_figure_and_fetches_no_picture_twice(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    sync()
    before = {key: len(rows_of(engine, key)) for key in ALL}
    hashes = [row["sha256"] for row in rows_of(engine, "ad_thumbnails")]
    simulator.reset()
    result = sync()
    assert {key: len(rows_of(engine, key)) for key in ALL} == before
    assert [row["sha256"] for row in rows_of(engine, "ad_thumbnails")] == hashes
    paths = Counter(call.endpoint for call in simulator.calls)
    assert paths[Endpoint.CDN] == 0
    assert paths[Endpoint.CREATIVE] == 0, "unchanged creatives are not read again"
    assert metadata_of(result, "ad_classifications")["classified"] == 0
    assert metadata_of(result, "ad_assets")["fetched"] == 0


@BOTH_DATABASES
def test_a_window_syncs_history_and_leaves_other_days_alone(sync: Sync, engine: sa.Engine) -> None:
    sync("meta_ads_performance")
    recent = {row["date"] for row in rows_of(engine, "meta_ads_performance")}
    today = utcnow().date()
    since, until = today - timedelta(days=60), today - timedelta(days=50)
    result = sync("meta_ads_performance", window=(since.isoformat(), until.isoformat()))
    assert result.success
    days = {row["date"] for row in rows_of(engine, "meta_ads_performance")}
    assert days - recent == {since + timedelta(days=n) for n in range(11)}
    assert recent <= days
    old = [r for r in rows_of(engine, "meta_ads_performance") if r["date"] <= until]
    assert not any(row["provisional"] for row in old)


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (("2026-01-31", "2026-01-01"), "after its end"),
        (("yesterday", "2026-01-01"), "not two dates"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(
    sync: Sync,
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    window: tuple[str, str],
    reason: str,
) -> None:
    assert not sync("meta_ads_performance", window=window).success
    project(instance, engine)
    (request,) = list_requests(engine)
    assert request.error_class == "InvalidConfigError"
    assert reason in (request.error_message or "")


def test_a_dead_token_costs_one_call_and_names_the_account(
    sync: Sync, instance: dg.DagsterInstance, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.TOKEN_EXPIRED))
    assert not sync().success
    assert len(simulator.calls) == 1
    states = states_of(instance, engine)
    for key in ("meta_ads_performance", "meta_ad_creatives"):
        assert states[key].error_class == "CredentialError"
        assert PARIS in (states[key].error_message or "")
        assert states[key].advice
    assert states["ad_thumbnails"].last_attempt_outcome == "skipped"
    assert rows_of(engine, "meta_ads_performance") == []


@BOTH_DATABASES
def test_a_token_that_dies_on_the_way_leaves_the_stored_rows_as_they_were(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    sync()
    before = {key: rows_of(engine, key) for key in ALL}
    simulator.faults.add(Fault(kind=FaultKind.TOKEN_EXPIRED, after_calls=4))
    assert not sync().success
    assert rows_of(engine, "meta_ads_performance") == before["meta_ads_performance"]


@BOTH_DATABASES
def test_a_forbidden_account_does_not_stop_the_brands_other_one(
    sync: Sync, instance: dg.DagsterInstance, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.FORBIDDEN, account=ANGELES))
    result = sync()
    assert result.success  # what could be read flows on …
    for key in ALL:
        assert {row["ad_account_id"] for row in rows_of(engine, key)} == {PARIS}, key
    states = states_of(instance, engine)
    for key in ("meta_ads_performance", "meta_ad_creatives"):  # … and nobody is told all is well
        assert states[key].state is State.FAILING
        assert states[key].error_class == "AccessError"
        assert ANGELES in (states[key].error_message or "")
        assert states[key].last_success_at is None
    assert states["ad_thumbnails"].state is State.FRESH


def test_an_account_that_is_limited_for_seconds_is_waited_for(
    sync: Sync, instance: dg.DagsterInstance, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    simulator.faults.add(
        Fault(
            kind=FaultKind.ACCOUNT_LIMIT,
            account=PARIS,
            endpoint=Endpoint.REPORT_START,
            count=1,
            seconds=1,
        )
    )
    assert sync("meta_ads_performance").success
    assert states_of(instance, engine)["meta_ads_performance"].state is State.FRESH


def test_a_longer_limit_ends_the_attempt_with_the_time_to_come_back_and_nobody_calls_before(
    sync: Sync, instance: dg.DagsterInstance, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.INSIGHTS_LIMIT, minutes=7))
    assert not sync("meta_ads_performance").success
    state = states_of(instance, engine)["meta_ads_performance"]
    assert state.error_class == "RateLimitedError"
    assert 6 * 60 < (state.retry_after_seconds or 0) <= 7 * 60
    simulator.faults.clear()
    simulator.reset()
    assert not sync("meta_ads_performance").success  # another process: the block is in the table
    assert not [
        c for c in simulator.calls if c.endpoint in (Endpoint.INSIGHTS, Endpoint.REPORT_START)
    ]
    assert sync("meta_ad_creatives").success  # the limit is of insights alone


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind=FaultKind.HTML_ERROR, count=1),
        Fault(kind=FaultKind.HTML_OK, count=1),
        Fault(kind=FaultKind.TRUNCATED_JSON, count=1),
        Fault(kind=FaultKind.BROKEN_BODY, count=1),
        Fault(kind=FaultKind.DROPPED_CONNECTION, count=1),
        Fault(kind=FaultKind.ERROR_IN_OK, count=1),
        Fault(kind=FaultKind.EMPTY_PAGE, count=1),
        Fault(kind=FaultKind.REPORT_RACE, count=1),
        Fault(kind=FaultKind.REPORT_FAILED, count=1),
        Fault(kind=FaultKind.REPORT_SKIPPED, count=1),
        Fault(kind=FaultKind.REPORT_SUMMARY_RACE, count=1),
        Fault(kind=FaultKind.PAGE_TOO_BIG, rows=40),
        Fault(kind=FaultKind.TOO_MANY_ROWS, rows=30),
        Fault(kind=FaultKind.REPORT_TOO_LARGE, rows=30),
        Fault(kind=FaultKind.FIELD_FAILS, field="video_p95_watched_actions", account=PARIS),
    ],
    ids=lambda fault: fault.kind.value,
)
def test_no_row_is_lost_or_doubled_whatever_meta_does(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer, fault: Fault
) -> None:
    sync("meta_ads_performance")
    expected = _figures(rows_of(engine, "meta_ads_performance"))
    simulator.faults.add(fault)
    result = sync("meta_ads_performance", haste=50)
    assert result.success
    assert _figures(rows_of(engine, "meta_ads_performance")) == expected
    assert failed_checks(result) == []


def _figures(rows: list[Row]) -> list[tuple[Any, ...]]:
    """What must not change; today's figures move by the minute and stay out."""
    yesterday = utcnow().date() - timedelta(days=2)
    names = ("ad_account_id", "date", "ad_id", "impressions", "spend", "purchases", "p25")
    return [tuple(row[name] for name in names) for row in rows if row["date"] <= yesterday]


def test_a_field_that_meta_cannot_deliver_is_dropped_and_reported(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    simulator.faults.add(
        Fault(kind=FaultKind.FIELD_FAILS, field="video_p95_watched_actions", account=PARIS)
    )
    metadata = metadata_of(sync("meta_ads_performance", haste=50), "meta_ads_performance")
    assert metadata["fields_dropped"] == {PARIS: ["video_p95_watched_actions"]}


def test_pictures_are_the_bytes_that_the_cdn_served_under_their_hash(
    sync: Sync, engine: sa.Engine, installation: Installation
) -> None:
    sync()
    for row in rows_of(engine, "ad_thumbnails"):
        with installation.media.open(row["sha256"]) as file:
            assert len(file.read()) == row["byte_count"]
        assert row["width"] >= 200, "the default of 64 pixels is too small to judge an ad"
    states = Counter(row["state"] for row in rows_of(engine, "ad_assets"))
    assert states["failed"] == 0
    assert states["stored"] > states["poster_only"] > 0
    for row in rows_of(engine, "ad_assets"):
        if row["state"] == "poster_only":
            assert installation.media.has(row["poster_sha256"])
            assert row["error"]
        elif row["media_type"] == "video":
            assert row["content_type"] == "video/mp4"
            assert row["duration_seconds"] > 0


def test_bytes_that_were_lost_from_the_store_are_fetched_again(
    sync: Sync, engine: sa.Engine, installation: Installation, tmp_path: Path
) -> None:
    sync()
    lost = rows_of(engine, "ad_thumbnails")[0]["sha256"]
    (tmp_path / "media" / lost[:2] / lost).unlink()
    result = sync("ad_thumbnails")
    assert metadata_of(result, "ad_thumbnails")["fetched"] == 1
    assert installation.media.has(lost)


def test_expired_addresses_are_read_again_once(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    sync("meta_ad_creatives")
    simulator.faults.add(Fault(kind=FaultKind.CDN_EXPIRED, count=3))
    result = sync("ad_thumbnails")
    assert result.success
    assert [row for row in rows_of(engine, "ad_thumbnails") if row["error"]] == []


def test_one_bad_picture_is_noted_on_its_row_and_more_than_a_fifth_fail_the_dataset(
    sync: Sync, instance: dg.DagsterInstance, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    sync("meta_ad_creatives")
    simulator.faults.add(Fault(kind=FaultKind.CDN_HTML, count=1))
    result = sync("ad_thumbnails")
    assert result.success
    (bad,) = [row for row in rows_of(engine, "ad_thumbnails") if row["error"]]
    assert bad["sha256"] is None
    assert metadata_of(result, "ad_thumbnails")["bad_items"] == 1
    before = rows_of(engine, "ad_assets")
    simulator.faults.clear()
    simulator.faults.add(Fault(kind=FaultKind.CDN_HTML))
    assert not sync("ad_assets").success
    assert states_of(instance, engine)["ad_assets"].error_class == "TooManyBadItemsError"
    assert rows_of(engine, "ad_assets") == before


@pytest.mark.parametrize(
    "kind",
    [FaultKind.CDN_MISSING, FaultKind.CDN_CUT_IMAGE, FaultKind.CDN_OVERSIZED, FaultKind.CDN_BOMB],
)
def test_what_is_no_whole_picture_of_reasonable_size_is_not_stored(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer, kind: FaultKind
) -> None:
    sync("meta_ad_creatives")
    simulator.faults.add(Fault(kind=kind, count=1, rows=40_000_000))
    assert sync("ad_thumbnails").success
    bad = [row for row in rows_of(engine, "ad_thumbnails") if row["error"]]
    assert [row["sha256"] for row in bad] == [None]


def test_classifications_carry_evidence_and_versions_for_every_creative(
    sync: Sync, engine: sa.Engine
) -> None:
    sync()
    rows = rows_of(engine, "ad_classifications")
    creatives = {r["creative_id"] for r in rows_of(engine, "meta_ad_creatives") if r["creative_id"]}
    assert {row["creative_id"] for row in rows} == creatives
    for row in rows:
        assert row["classifier"] == "rules"
        assert row["classifier_version"]
        assert row["taxonomy_version"]
        assert row["tags"]["hook_type"]["value"] == row["hook_type"]
        assert 0 <= row["tags"]["hook_type"]["confidence"] <= 1
    assert any(row["tags"]["hook_type"]["evidence"] for row in rows)


@BOTH_DATABASES
@pytest.mark.parametrize("instance", ["files"], indirect=True)
def test_the_token_is_in_no_table_log_event_or_file(
    sync: Sync,
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    simulator: SimulatorServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    token_file: Path,
) -> None:
    runs = [sync()]
    for fault in (
        Fault(kind=FaultKind.DROPPED_CONNECTION),
        Fault(kind=FaultKind.TOKEN_EXPIRED),
        Fault(kind=FaultKind.HTML_ERROR),
    ):
        simulator.faults.clear()
        simulator.faults.add(fault)
        runs.append(sync(haste=50))
    project(instance, engine)
    written = "".join(capfd.readouterr())
    for run in runs:
        written += "".join(str(entry) for entry in instance.all_logs(run.run_id))
    with engine.connect() as connection:
        for table in [*DATASET_TABLES.values(), *_control_tables()]:
            written += str(connection.execute(sa.select(table)).all())
    assert "acme" in written
    assert TOKEN not in written
    for file in [*tmp_path.rglob("*"), *Path(instance.root_directory).rglob("*")]:
        if file.is_file() and file != token_file:
            assert TOKEN.encode() not in file.read_bytes(), file


def _control_tables() -> list[sa.Table]:
    return [table for table in METADATA.tables.values() if table.name not in DATASET_TABLES]
