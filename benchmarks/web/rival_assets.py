"""The rival's code location: an asset for each dataset of ours, each brand a partition of it."""

import dagster as dg

from pipeline_assets.datasets import DATASETS

PARTITIONS = "brand"


def _asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name, partitions_def=dg.DynamicPartitionsDefinition(name=PARTITIONS))
    def nothing() -> None: ...

    return nothing


defs = dg.Definitions(assets=[_asset(name) for name in DATASETS])
