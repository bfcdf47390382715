"""What a cell of the matrix says of the work to come, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline_assets.brands.registry import pause_brand
from pipeline_assets.control.status import DatasetState, read_overview, read_states
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.resources.installation import Installation
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import cadences, dataset_status, requests, run_heartbeats

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER, MUCH_LATER = NOW + timedelta(minutes=5), NOW + timedelta(hours=1)
PERFORMANCE, ASSETS = "meta_ads_performance", "ad_assets"


@pytest.fixture(autouse=True)
def _brands(installation: Installation) -> None:
    """The brands acme and globex."""


def insert(engine: sa.Engine, table: sa.Table, **values: Any) -> None:
    with write_transaction(engine) as connection:
        connection.execute(table.insert().values(values))


def ask(engine: sa.Engine, name: str, **values: Any) -> None:
    request = {
        "id": name,
        "chain_id": name,
        "brand_id": "acme",
        "job": "meta_sync",
        "state": "queued",
        "trigger": "manual",
        "requested_by": "cli",
        "reason": "",
        "requested_at": NOW,
        "not_before": NOW,
        "priority": 0,
        "attempt": 1,
    }
    insert(engine, requests, **(request | values))


def plan(engine: sa.Engine, job: str, at: datetime, **values: Any) -> None:
    cadence = {"brand_id": "acme", "job": job, "cron": "0 * * * *", "timezone": "UTC"}
    stamps = {"next_run_at": at, "checked_at": NOW, "updated_at": NOW, "updated_by": "cli"}
    insert(engine, cadences, **(cadence | stamps | values))


def cell(engine: sa.Engine, dataset: str, brand: str = "acme") -> DatasetState:
    states = read_states(engine, now=NOW)
    return next(s for s in states if (s.brand_id, s.dataset) == (brand, dataset))


def doing(engine: sa.Engine, dataset: str, brand: str = "acme") -> tuple[Any, ...]:
    state = cell(engine, dataset, brand)
    return state.request_id, state.request_state, state.next_try_at


def test_the_matrix_has_the_very_states_of_the_cells(engine: sa.Engine) -> None:
    hours = {"fresh": 1, "warn": 20, "stale": 24, "failing": 30}
    cells = zip(DATASETS, hours.items(), strict=False)
    for dataset, (name, age) in cells:
        insert(
            engine,
            dataset_status,
            brand_id="acme",
            dataset=dataset,
            last_success_at=NOW - timedelta(hours=age),
            error_class="SourceUnavailableError" if name == "failing" else None,
        )
    insert(engine, dataset_status, brand_id="globex", dataset=ASSETS, error_class="AccessError")
    insert(engine, dataset_status, brand_id="gone", dataset=ASSETS, last_success_at=NOW)
    matrix = {
        brand.id: {key: cell.state for key, cell in cells.items()}
        for brand, _, cells in read_overview(engine, now=NOW)
    }
    assert list(matrix) == ["acme", "globex"]
    assert [matrix["globex"][key] for key in JOBS["meta_sync"].datasets] == [
        "never",
        "never",
        "never",
        "failing",
        "never",
    ]
    assert {(s.brand_id, s.dataset): s.state for s in read_states(engine, now=NOW)} == {
        (brand, dataset): state
        for brand, states in matrix.items()
        for dataset, state in states.items()
    }
    assert matrix["acme"]["meta_ads_performance"] == "fresh"


def test_a_request_of_the_whole_job_is_each_datasets_and_of_no_other_brand(
    engine: sa.Engine,
) -> None:
    ask(engine, "a")
    assert doing(engine, PERFORMANCE) == doing(engine, ASSETS) == ("a", "queued", None)
    assert doing(engine, PERFORMANCE, "globex") == (None, None, None)


def test_a_request_of_some_datasets_is_theirs_alone_and_says_when_it_may_begin(
    engine: sa.Engine,
) -> None:
    ask(engine, "a", datasets=[ASSETS], not_before=LATER)
    assert doing(engine, ASSETS) == ("a", "queued", LATER)
    assert doing(engine, PERFORMANCE) == (None, None, None)


def test_of_several_requests_the_furthest_counts_and_then_the_one_that_begins_first(
    engine: sa.Engine,
) -> None:
    ask(engine, "late", not_before=MUCH_LATER)
    ask(engine, "soon", job="asset_download", not_before=LATER)
    assert doing(engine, ASSETS) == ("soon", "queued", LATER)
    ask(engine, "launched", trigger="dagster", state="launched")
    assert doing(engine, ASSETS) == ("launched", "launched", None)
    ask(engine, "running", trigger="dagster", state="running", not_before=LATER)
    assert doing(engine, ASSETS) == ("running", "running", None)


def test_what_has_ended_and_old_days_synced_again_say_nothing(engine: sa.Engine) -> None:
    ask(engine, "ended", state="succeeded")
    ask(engine, "piece", state="running", resync_id="r")
    ask(engine, "unknown", job="gone")
    assert doing(engine, PERFORMANCE) == (None, None, None)


def test_the_next_sync_is_the_soonest_of_any_job_that_has_the_dataset(engine: sa.Engine) -> None:
    plan(engine, "meta_sync", MUCH_LATER)
    plan(engine, "asset_download", LATER)
    plan(engine, "gone", NOW)
    assert cell(engine, ASSETS).next_sync_at == LATER
    assert cell(engine, PERFORMANCE).next_sync_at == MUCH_LATER
    assert cell(engine, PERFORMANCE, "globex").next_sync_at is None


def test_what_a_brand_has_not_configured_has_no_next_sync(engine: sa.Engine) -> None:
    plan(engine, "full_sync", LATER)
    assert cell(engine, PERFORMANCE).next_sync_at == LATER
    assert cell(engine, "reddit_posts").next_sync_at is None


def test_a_pause_takes_the_next_sync_away_while_it_lasts(engine: sa.Engine) -> None:
    plan(engine, "meta_sync", MUCH_LATER, paused_at=NOW, paused_until=None)
    plan(engine, "asset_download", LATER, paused_at=NOW, paused_until=NOW)
    assert cell(engine, PERFORMANCE).next_sync_at is None
    assert cell(engine, ASSETS).next_sync_at == LATER  # its pause is over
    pause_brand(engine, "acme", reason="sold", actor="test", now=NOW)
    assert cell(engine, ASSETS).next_sync_at is None


def test_progress_is_what_a_running_dataset_says_not_one_that_has_ended(engine: sa.Engine) -> None:
    process = {"host": "h", "boot_id": "b", "pid": 1, "process_started_at": NOW}
    running = {"stage": "downloading", "done": 3, "total": 9, "beat_at": LATER}
    for run, dataset, said in (
        ("old", ASSETS, {"stage": None, "beat_at": MUCH_LATER}),
        ("new", ASSETS, running),
        ("new", PERFORMANCE, {"stage": None, "beat_at": LATER}),
    ):
        names = {"run_id": run, "dataset": dataset, "brand_id": "acme"}
        insert(engine, run_heartbeats, **names, **process, **said)
    assert cell(engine, ASSETS).progress == running
    assert cell(engine, PERFORMANCE).progress is None
