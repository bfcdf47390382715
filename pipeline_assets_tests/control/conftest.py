"""A small installation around a test's own asset functions: real database, real Dagster."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.assets.attempt import Attempt, Outcome, dataset_asset
from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
Compute = Callable[[Attempt], Outcome]


@pytest.fixture
def installation(database_url: str, engine: sa.Engine, tmp_path: Path) -> Installation:
    settings = Settings(database_url=database_url, media_url=str(tmp_path / "media"))
    for brand_id in ("acme", "globex"):
        source = {"ad_accounts": ["act_1"], "token": "env:NOT_SET_ANYWHERE"}
        brand = {"id": brand_id, "name": brand_id, "timezone": "UTC", "sources": {"meta": source}}
        add_brand(engine, parse_brand(brand), now=NOW)
    return Installation(settings)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme", "globex"])
        yield instance


@pytest.fixture
def run(
    installation: Installation, instance: dg.DagsterInstance
) -> Callable[..., dg.ExecuteInProcessResult]:
    """`run(performance=…, creatives=…, thumbnails=…)`: those datasets in one run of meta_sync."""
    keys = {
        "performance": "meta_ads_performance",
        "creatives": "meta_ad_creatives",
        "thumbnails": "ad_thumbnails",
    }

    def run_job(*, brand: str = "acme", **computes: Compute) -> dg.ExecuteInProcessResult:
        assets: list[Any] = [
            dataset_asset(keys[name], check="fine")(compute) for name, compute in computes.items()
        ]
        definitions = dg.Definitions(
            assets=assets,
            jobs=[dg.define_asset_job("meta_sync", dg.AssetSelection.all())],
            resources={"installation": installation},
            executor=dg.in_process_executor,
        )
        job = definitions.resolve_job_def("meta_sync")
        return job.execute_in_process(instance=instance, partition_key=brand, raise_on_error=False)

    return run_job
