"""`pipeline-assets status`: the matrix for people, the columns for programs, and the rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipeline_assets.datasets import DATASETS, JOBS, Source
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.settings import Settings
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World

if TYPE_CHECKING:
    from conftest import CommandLine

GOOD, EXPIRED = "EAAgoodTokenOfStatusTests0123", "EAAexpiredTokenOfStatusTests01"
COLUMNS = [
    *("brand_id", "organization_id", "dataset", "state", "age_seconds", "used_ratio"),
    *("stale_since", "is_running", "is_paused", "progress"),
    *("request_id", "request_state", "next_try_at", "next_sync_at", "last_success_at"),
    *("last_success_run_id", "last_attempt_started_at", "last_attempt_ended_at"),
    *("last_attempt_outcome", "last_attempt_run_id", "records_affected", "distinct_ads"),
    *("error_class", "error_message", "advice", "retry_after_seconds"),
]
CREATIVES = "meta_ad_creatives"

Cells = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorServer]:
    now = datetime.now(UTC)
    world = World(
        accounts=(AccountSpec(id="act_11", name="Paris", ad_count=4),),
        tokens=(TokenSpec(GOOD), TokenSpec(EXPIRED, expires_at=now - timedelta(days=1))),
        anchor=now.date(),
    )
    with SimulatorServer(world) as server:
        yield server


def add_brands(cli: CommandLine, simulator: SimulatorServer) -> None:
    cli.settings |= {"PIPELINE_GRAPH_URL": simulator.url, "GOOD": GOOD, "EXPIRED": EXPIRED}
    add = ("brands", "add", "--timezone", "UTC", "--no-cadences")
    cli.done(*add, "acme", "--ad-account", "act_11", "--token", "env:GOOD")
    cli.done(*add, "initech", "--ad-account", "act_11", "--token", "env:EXPIRED")
    cli.done(*add, "sourceless")


def sync_creatives(cli: CommandLine, brand_id: str) -> str:
    """Run the dataset in Dagster as it is set up in DAGSTER_HOME; returns the run's id."""
    with cli.environment(DAGSTER_HOME=str(cli.home)), dg.DagsterInstance.get() as instance:
        definitions = build_definitions(Installation(Settings.load()))
        return (
            definitions.resolve_job_def("meta_sync")
            .execute_in_process(
                instance=instance,
                partition_key=brand_id,
                asset_selection=[dg.AssetKey(CREATIVES)],
                raise_on_error=False,
            )
            .run_id
        )


def cells(cli: CommandLine, *options: str) -> Cells:
    rows = cli.done("status", "--json", *options).json
    assert all(list(row) == COLUMNS for row in rows)
    return {(row["brand_id"], row["dataset"]): row for row in rows}


def without_age(found: Cells) -> Cells:
    moving = ("age_seconds", "used_ratio")
    return {
        key: {name: value for name, value in row.items() if name not in moving}
        for key, row in found.items()
    }


def test_without_a_brand_the_status_says_how_to_add_one(cli: CommandLine) -> None:
    assert "brands add --help" in cli.done("status").out
    assert cli.done("status", "--json").json == []


def test_before_the_first_attempt_every_dataset_is_never_or_not_configured(
    cli: CommandLine, simulator: SimulatorServer
) -> None:
    add_brands(cli, simulator)
    found = cells(cli)
    assert list(found) == [
        (brand, dataset) for brand in ("acme", "initech", "sourceless") for dataset in SCHEMAS
    ]
    for (brand, dataset), row in found.items():
        has_it = brand != "sourceless" and DATASETS[dataset].source is Source.META
        assert row["state"] == ("never" if has_it else "not_configured"), (brand, dataset)
    assert found["acme", CREATIVES] == dict.fromkeys(COLUMNS) | {
        "brand_id": "acme",
        "organization_id": "default",
        "dataset": CREATIVES,
        "state": "never",
        "is_running": False,
        "is_paused": False,
    }


def test_after_attempts_the_status_tells_what_is_fresh_and_why_the_rest_is_not(
    on_each_database: CommandLine, simulator: SimulatorServer
) -> None:
    cli = on_each_database
    started = datetime.now(UTC)
    add_brands(cli, simulator)
    runs = {brand: sync_creatives(cli, brand) for brand in ("acme", "initech")}

    found = cells(cli)
    fresh, failing = found["acme", CREATIVES], found["initech", CREATIVES]
    assert (fresh["state"], fresh["last_attempt_outcome"]) == ("fresh", "succeeded")
    assert fresh["last_success_run_id"] == fresh["last_attempt_run_id"] == runs["acme"]
    assert fresh["records_affected"] > 0
    assert 0 <= fresh["age_seconds"] < (datetime.now(UTC) - started).total_seconds()
    assert fresh["last_success_at"].endswith("Z")
    assert started < datetime.fromisoformat(fresh["last_success_at"]) < datetime.now(UTC)
    assert (failing["state"], failing["last_attempt_outcome"]) == ("failing", "failed")
    assert failing["last_attempt_run_id"] == runs["initech"]
    assert (failing["last_success_at"], failing["records_affected"]) == (None, None)
    assert failing["error_class"] == "CredentialError"
    assert "expired" in failing["error_message"]
    assert "Make a new token" in failing["advice"]

    told = cli.done("status").out
    assert "● fresh" in told
    assert f"· {fresh['records_affected']} rows" in told
    assert "✗ failing" in told
    assert f"\ninitech: CredentialError in {CREATIVES}\n  {failing['error_message']}\n" in told
    assert f"  What to do: {failing['advice']}\n" in told
    assert EXPIRED not in told

    before = without_age(cells(cli))
    assert cli.done("status", "rebuild", "--json").json == {"runs": 2}
    assert cli.done("status", "rebuild").out == "Status is rebuilt from 2 runs.\n"
    assert without_age(cells(cli)) == before


def test_the_status_of_chosen_brands_has_no_other(
    cli: CommandLine, simulator: SimulatorServer
) -> None:
    add_brands(cli, simulator)
    assert {brand for brand, _ in cells(cli, "--brand", "acme")} == {"acme"}
    both = cells(cli, "--brand", "acme", "--brand", "initech")
    assert {brand for brand, _ in both} == {"acme", "initech"}
    told = cli.done("status", "--brand", "acme").out
    assert "acme" in told
    assert "initech" not in told


def test_only_brands_with_a_dataset_in_a_state_that_is_asked_for_are_shown(
    cli: CommandLine, simulator: SimulatorServer
) -> None:
    add_brands(cli, simulator)
    assert {brand for brand, _ in cells(cli, "--state", "never")} == {"acme", "initech"}
    chosen = cells(cli, "--state", "never", "--brand", "acme", "--brand", "sourceless")
    assert {brand for brand, _ in chosen} == {"acme"}
    told = cli.done("status", "--state", "stale", "--state", "failing").out
    assert told == "No brand has a dataset that is stale or failing.\n"
    assert cli("status", "--state", "rotten").code == 2


def test_a_paused_brand_is_marked(cli: CommandLine, simulator: SimulatorServer) -> None:
    add_brands(cli, simulator)
    cli.done("brands", "pause", "acme", "--reason", "sold")
    assert cells(cli)["acme", CREATIVES]["is_paused"] is True
    assert cells(cli)["initech", CREATIVES]["is_paused"] is False
    assert cli.done("status").out.count("paused") == 1


def test_a_cell_tells_what_is_being_done_about_it(cli: CommandLine) -> None:
    options = ("--timezone", "UTC", "--ad-account", "act_11", "--token", "env:GOOD")
    cli.done("brands", "add", "acme", "--no-cadences", *options)
    cli.done("cadences", "set", "acme", "meta_sync", "hourly")
    (cadence,) = cli.done("cadences", "list", "--json").json
    synced = JOBS["meta_sync"].datasets
    found = cells(cli)
    assert {row["next_sync_at"] for (_, key), row in found.items() if key in synced} == {
        cadence["next_run_at"]
    }
    assert {row["next_sync_at"] for (_, key), row in found.items() if key not in synced} == {None}
    assert {row["request_id"] for row in found.values()} == {None}
    assert cli.done("status").out.count("next sync in ") == len(synced)

    request = cli.done("sync", "acme", "--dataset", CREATIVES, "--json").json
    found = cells(cli)
    asked = found["acme", CREATIVES]
    assert (asked["request_id"], asked["request_state"]) == (request["id"], "queued")
    assert asked["next_try_at"] is None
    assert found["acme", "ad_assets"]["request_id"] is None
    told = cli.done("status").out
    assert told.count("queued") == 1
    assert told.count("next sync in ") == len(synced) - 1

    cli.done("brands", "pause", "acme", "--reason", "sold")
    assert {row["next_sync_at"] for row in cells(cli).values()} == {None}


def test_no_word_is_cut_however_long_the_slug(cli: CommandLine) -> None:
    cli.done("brands", "add", "a" * 63, "--timezone", "UTC")
    told = cli.done("status").out
    assert "a" * 63 in told
    assert told.count("not_configured") == len(SCHEMAS)
    assert "…" not in told


def test_an_empty_log_rebuilds_to_nothing(cli: CommandLine) -> None:
    assert cli.done("status", "rebuild", "--json").json == {"runs": 0}
