"""The asset check `fresh` of every dataset: how fresh a brand's data is, told inside Dagster.

The sensor `report_freshness` reports it without a run. Dagster shows only checks that some run can
execute, so these can be; our jobs leave them out, because a sync's own run must not judge itself.
"""

import warnings

import dagster as dg

from pipeline_assets.assets.partitions import brand_partitions
from pipeline_assets.datasets import DATASETS
from pipeline_assets.freshness import FRESH_CHECK
from pipeline_assets.resources.installation import Installation


def build_fresh_checks() -> list[dg.AssetChecksDefinition]:
    """The check of each dataset, per brand."""
    return [_build(key) for key in DATASETS]


def fresh_check_keys() -> list[dg.AssetCheckKey]:
    """Their keys, for jobs to leave out."""
    return [dg.AssetCheckKey(dg.AssetKey(key), FRESH_CHECK) for key in DATASETS]


def _build(key: str) -> dg.AssetChecksDefinition:
    with warnings.catch_warnings():
        # Partitioned checks are a preview of Dagster; the contract test of the log covers them.
        warnings.simplefilter("ignore", category=dg.PreviewWarning)

        @dg.asset_check(
            asset=key,
            name=FRESH_CHECK,
            description=f"{DATASETS[key].title}: is the brand's data young enough to use? "
            "Reported when it changes; executing it asks again.",
            partitions_def=brand_partitions,
            required_resource_keys={"installation"},
        )
        def fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            from pipeline_assets.clock import utcnow  # noqa: PLC0415 - keeps imports light
            from pipeline_assets.control.fresh_checks import check_freshness  # noqa: PLC0415
            from pipeline_assets.control.projector import project  # noqa: PLC0415
            from pipeline_assets.control.retries import policies_of  # noqa: PLC0415

            installation: Installation = context.resources.installation
            # What this run has materialized just now counts.
            project(
                context.instance, installation.engine, policies=policies_of(installation.settings)
            )
            checks = check_freshness(
                installation.engine, context.partition_key, [key], now=utcnow()
            )
            return checks[0].as_result()

    return fresh
