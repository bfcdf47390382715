"""Datasets that other advertisers, shops and their customers fill, against the simulator."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import apply_brands
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.datasets import home_job
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import World

APIFY_TOKEN = "apify_api_PlantedTokenOfTheTests0123456789"  # searched for in all that is written

Gather = Callable[..., dg.ExecuteInProcessResult]


class Clock:
    """The simulator's: the real one, moved on by what a test says."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utcnow() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(world: World, clock: Clock) -> Iterator[SimulatorServer]:
    with SimulatorServer(world, now=clock) as server:
        yield server


@pytest.fixture
def apify_token_file(tmp_path: Path) -> Path:
    file = tmp_path / "apify_token"
    file.write_text(APIFY_TOKEN)
    return file


@pytest.fixture
def make_actor(apify_token_file: Path) -> Callable[..., dict[str, Any]]:
    """An actor's configuration, by its name."""

    def make(name: str, **run_input: Any) -> dict[str, Any]:
        return {"actor": name, "token": f"file:{apify_token_file}", "input": run_input}

    return make


@pytest.fixture
def settings(database_url: str, tmp_path: Path, simulator: SimulatorServer) -> Settings:
    return Settings(
        database_url=database_url,
        media_url=str(tmp_path / "media"),
        graph_url=simulator.url,
        apify_url=simulator.url,
        allow_private_hosts=(simulator.url.removeprefix("http://"),),
        rate_limit_max_wait_seconds=2,
    )


@pytest.fixture
def configure(engine: sa.Engine) -> Callable[[Mapping[str, Any]], None]:
    """Make `acme` a brand with just these sources."""

    def apply(sources: Mapping[str, Any], **more: Any) -> None:
        brand = {"id": "acme", "name": "Acme", "timezone": "UTC", "sources": sources, **more}
        apply_brands(
            engine, [parse_brand(brand)], actor="test", now=datetime(2026, 1, 1, tzinfo=UTC)
        )

    return apply


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme"])
        yield instance


@pytest.fixture
def gather(settings: Settings, instance: dg.DagsterInstance) -> Gather:
    """`gather("competitor_ads")` runs that dataset's job for acme, waits twenty times shorter."""

    def run(dataset: str) -> dg.ExecuteInProcessResult:
        # As in production: a process per run, so nothing is remembered from the run before.
        worker = Installation(settings, sleep=lambda seconds: time.sleep(seconds / 20))
        job = build_definitions(worker).resolve_job_def(home_job(dataset).name)
        return job.execute_in_process(instance=instance, partition_key="acme", raise_on_error=False)

    return run


@pytest.fixture
def failure_of() -> Callable[[dg.ExecuteInProcessResult], tuple[str, str, dict[str, Any]]]:
    """A failed run's error class, message and further metadata."""

    def read(result: dg.ExecuteInProcessResult) -> tuple[str, str, dict[str, Any]]:
        assert not result.success
        (event,) = [each for each in result.all_events if each.is_step_failure]
        failure = event.step_failure_data.user_failure_data
        assert failure is not None
        metadata = {name: value.value for name, value in failure.metadata.items()}
        return metadata.pop("error_class"), failure.description or "", metadata

    return read


@pytest.fixture
def metadata_of() -> Callable[[dg.ExecuteInProcessResult, str], dict[str, Any]]:
    def read(result: dg.ExecuteInProcessResult, dataset: str) -> dict[str, Any]:
        (event,) = result.asset_materializations_for_node(dataset)
        return {name: value.value for name, value in event.metadata.items()}

    return read


@pytest.fixture
def checks_of() -> Callable[[dg.ExecuteInProcessResult], dict[str, dg.AssetCheckEvaluation]]:
    def read(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
        return {each.check_name: each for each in result.get_asset_check_evaluations()}

    return read
