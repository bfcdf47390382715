"""How assets are partitioned: by brand, the keys being the registry's slugs."""

import dagster as dg

from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS

brand_partitions = dg.DynamicPartitionsDefinition(name=BRAND_PARTITIONS)
