"""Dagster sensors: they keep Dagster and our tables in step."""

from collections.abc import Sequence

import dagster as dg

from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS, partition_changes
from pipeline_assets.resources.installation import Installation


@dg.sensor(
    name="sync_brands",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"installation"},
    description="Makes Dagster's brand partitions equal to the registry's brands.",
)
def sync_brands(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """The command line does the same at once; this catches whatever changed otherwise."""
    from pipeline_assets.brands.registry import list_brands  # noqa: PLC0415 - keeps imports light

    installation: Installation = context.resources.installation
    brand_ids = [brand.id for brand in list_brands(installation.engine)]
    changes = partition_changes(context.instance, brand_ids)
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if changes.add:
        requests.append(dg.AddDynamicPartitionsRequest(BRAND_PARTITIONS, list(changes.add)))
    if changes.delete:
        requests.append(dg.DeleteDynamicPartitionsRequest(BRAND_PARTITIONS, list(changes.delete)))
    if not requests:
        return dg.SkipReason(f"All {len(brand_ids)} brands are known.")
    return dg.SensorResult(dynamic_partitions_requests=requests)


@dg.sensor(
    name="project_status",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"installation"},
    description="Projects Dagster's event log into attempts and status per brand and dataset.",
)
def project_status(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """It starts no run; what it did stands in the reason."""
    from pipeline_assets.control.projector import project  # noqa: PLC0415 - keeps imports light

    installation: Installation = context.resources.installation
    applied = project(context.instance, installation.engine)
    return dg.SkipReason(f"{applied} runs projected.")


def build_sensors() -> Sequence[dg.SensorDefinition]:
    """All sensors, in the order of Dagster's page."""
    return [sync_brands, project_status]
