"""The job `meta_sync` in this process, against the simulator over real HTTP and a real database."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, AdKind, TokenSpec, World
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

TOKEN = "EAAPlantedTokenOfTheTests0123456789abcdef"  # searched for in everything that is written
PARIS, ANGELES = "act_11", "act_12"

Sync = Callable[..., dg.ExecuteInProcessResult]
HaveSynced = Callable[..., None]


@pytest.fixture(scope="session")
def world() -> World:
    return World(
        accounts=(
            AccountSpec(
                id=PARIS, name="Paris", currency="EUR", timezone="Europe/Paris", ad_count=9
            ),
            AccountSpec(
                id=ANGELES,
                name="Los Angeles",
                currency="USD",
                timezone="America/Los_Angeles",
                ad_count=8,
                kinds=(AdKind.IMAGE, AdKind.VIDEO, AdKind.BOOSTED_POST, AdKind.LEAD_FORM),
            ),
        ),
        tokens=(TokenSpec(TOKEN),),
        anchor=utcnow().date(),
    )


@pytest.fixture
def simulator(world: World) -> Iterator[SimulatorServer]:
    with SimulatorServer(world, report_seconds=0.02) as server:
        yield server


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    return file


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """SQLite; where it matters what stores the rows, a test asks for both (`BOTH_DATABASES`)."""
    fixtures = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}
    return str(request.getfixturevalue(fixtures[getattr(request, "param", "sqlite")]))


@pytest.fixture
def installation(
    database_url: str,
    engine: sa.Engine,
    tmp_path: Path,
    simulator: SimulatorServer,
    token_file: Path,
) -> Installation:
    settings = Settings(
        database_url=database_url,
        media_url=str(tmp_path / "media"),
        graph_url=simulator.url,
        allow_private_hosts=(simulator.url.removeprefix("http://"),),
        rate_limit_max_wait_seconds=2,
    )
    source = {"ad_accounts": [PARIS, ANGELES], "token": f"file:{token_file}"}
    brand = {"id": "acme", "name": "Acme", "timezone": "UTC", "sources": {"meta": source}}
    add_brand(engine, parse_brand(brand), actor="test", now=datetime(2026, 1, 1, tzinfo=UTC))
    return Installation(settings)


@pytest.fixture
def instance(request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    """Dagster's log in memory, several times as fast as files; where those matter, a test asks."""
    is_in_files = getattr(request, "param", None) == "files"
    with dg.instance_for_test() if is_in_files else dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme"])
        yield instance


@pytest.fixture
def have_synced(engine: sa.Engine) -> HaveSynced:
    """`have_synced("scorecard", …)`: as if these had been synced well, for tests that store rows.

    What is made from a dataset is not tried before.
    """

    def store(*datasets: str, brand_id: str = "acme") -> None:
        row = {"brand_id": brand_id, "last_success_at": utcnow()}
        with write_transaction(engine) as connection:
            connection.execute(
                dataset_status.insert(), [row | {"dataset": dataset} for dataset in datasets]
            )

    return store


@pytest.fixture
def sync(installation: Installation, instance: dg.DagsterInstance) -> Sync:
    """`sync()` runs meta_sync for acme; `sync("ad_assets")` only that dataset of it.

    `haste`: how many times faster than in reality clients wait between tries and polls.
    """

    def run(
        *datasets: str, window: tuple[str, str] | None = None, haste: float = 1
    ) -> dg.ExecuteInProcessResult:
        # As in production: a process per run, so nothing is remembered from the run before.
        worker = Installation(
            installation.settings, sleep=lambda seconds: time.sleep(seconds / haste)
        )
        definitions = build_definitions(worker)
        config = {}
        if window:
            since, until = window
            config = {"ops": {"meta_ads_performance": {"config": {"since": since, "until": until}}}}
        job = definitions.resolve_job_def("meta_sync")
        if datasets:  # with their own checks alone, as the sensor `launch_requests` asks for them
            assets = [definitions.resolve_assets_def(dg.AssetKey(name)) for name in datasets]
            job = job.get_subset(
                asset_selection={asset.key for asset in assets},
                asset_check_selection={spec.key for asset in assets for spec in asset.check_specs},
            )
        return job.execute_in_process(
            instance=instance, partition_key="acme", run_config=config, raise_on_error=False
        )

    return run
