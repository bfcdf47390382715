"""The rival's code in a stock Dagster: one asset, its partitions are brands, its own freshness."""

import os
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg

DATASET = "ad_performance"
JOB = "sync"
BRANDS = "brand"
FAILING = "failing"
HELD = "held"
"""As long as a file of this name is in DAGSTER_HOME, a run waits inside its asset."""
WINDOW = timedelta(minutes=2)
"""The allowed age; the shortest that Dagster accepts is one minute, judged every 30 s."""

brands = dg.DynamicPartitionsDefinition(name=BRANDS)


@dg.asset(
    partitions_def=brands,
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=WINDOW),
)
def ad_performance(context: dg.AssetExecutionContext) -> None:
    if context.partition_key == FAILING:
        raise PermissionError("The token has expired.")
    while Path(os.environ["DAGSTER_HOME"], HELD).exists():
        time.sleep(0.5)


defs = dg.Definitions(
    assets=[ad_performance],
    jobs=[dg.define_asset_job(JOB, dg.AssetSelection.assets(ad_performance))],
    executor=dg.in_process_executor,
)
"""The rival's code location."""
