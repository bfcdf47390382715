"""Dagster sensors: they start what is due and keep Dagster and our tables in step."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS, partition_changes
from pipeline_assets.control.run_tags import PARTITION_RANGE_END, PARTITION_RANGE_START
from pipeline_assets.resources.installation import Installation

if TYPE_CHECKING:
    from pipeline_assets.control.launching import Launch

# Dagster's sensor loop beats every 5 s and skips a sensor whose interval is not quite over. An
# interval of exactly so many beats would be missed by milliseconds half of the time.
_EACH_BEAT, _EACH_THIRD_BEAT, _EACH_SIXTH_BEAT = 4, 14, 29

_SLOTS_WITHOUT_LIMIT = 100
"""For an instance without a limit of runs: more at once would only wait for each other."""


@dg.sensor(
    name="sync_brands",
    minimum_interval_seconds=_EACH_SIXTH_BEAT,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"installation"},
    description="Makes Dagster's brand partitions equal to the registry's brands.",
)
def sync_brands(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """The command line does the same at once; this catches whatever changed otherwise."""
    from pipeline_assets.brands.registry import list_brand_ids  # noqa: PLC0415 - keeps imports light

    installation: Installation = context.resources.installation
    brand_ids = list_brand_ids(installation.engine)
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
    minimum_interval_seconds=_EACH_BEAT,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"installation"},
    description="Projects Dagster's event log into attempts and status per brand and dataset.",
)
def project_status(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """It starts no run; what it did stands in the reason."""
    from pipeline_assets.control.projector import project  # noqa: PLC0415 - keeps imports light
    from pipeline_assets.control.retries import policies_of  # noqa: PLC0415

    installation: Installation = context.resources.installation
    policies = policies_of(installation.settings)
    applied = project(context.instance, installation.engine, policies=policies)
    return dg.SkipReason(f"{applied} runs projected.")


@dg.sensor(
    name="recover_runs",
    minimum_interval_seconds=_EACH_THIRD_BEAT,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"installation"},
    description="Ends runs whose worker is gone, so that Dagster starts them again.",
)
def recover_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """After a killed host nothing else would: Dagster's default launcher cannot tell."""
    from pipeline_assets.clock import utcnow  # noqa: PLC0415 - keeps imports light
    from pipeline_assets.control.recovery import end_lost_runs  # noqa: PLC0415

    installation: Installation = context.resources.installation
    ended = end_lost_runs(context.instance, installation.engine, now=utcnow())
    if not ended:
        return dg.SkipReason("Every run's worker lives.")
    return dg.SkipReason(f"Ended because their worker is gone: {', '.join(ended)}.")


@dg.sensor(
    name="report_freshness",
    minimum_interval_seconds=_EACH_SIXTH_BEAT,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"installation"},
    description="Shows each brand's freshness here, as the check `fresh` of each dataset's asset.",
)
def report_freshness(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """It reports by itself, not through its result: it has to know what was surely stored."""
    from pipeline_assets.clock import utcnow  # noqa: PLC0415 - keeps imports light
    from pipeline_assets.control.fresh_checks import report_changes  # noqa: PLC0415

    installation: Installation = context.resources.installation
    reported = report_changes(context.instance, installation.engine, now=utcnow())
    return dg.SkipReason(f"{reported} changes of freshness reported.")


def build_sensors(
    jobs: Sequence[Any], assets: Sequence[dg.AssetsDefinition]
) -> Sequence[dg.SensorDefinition]:
    """All sensors, in the order of Dagster's page; `jobs` are those that requests start."""
    checks = {asset.key: [spec.key for spec in asset.check_specs] for asset in assets}
    return [
        _build_launch_requests(jobs, checks),
        project_status,
        recover_runs,
        report_freshness,
        sync_brands,
    ]


def _build_launch_requests(
    jobs: Sequence[Any], checks: Mapping[dg.AssetKey, Sequence[dg.AssetCheckKey]]
) -> dg.SensorDefinition:
    """`checks` are those that an asset evaluates itself: a run of some datasets executes them.

    Else Dagster would add all that there are, the check `fresh` too.
    """

    @dg.sensor(
        name="launch_requests",
        jobs=jobs,
        minimum_interval_seconds=_EACH_BEAT,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"installation"},
        description="Starts a run for every request that is due, the most urgent first.",
    )
    def launch_requests(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        from pipeline_assets.clock import utcnow  # noqa: PLC0415 - keeps imports light
        from pipeline_assets.control import dagster_log  # noqa: PLC0415
        from pipeline_assets.control.launching import choose_launches  # noqa: PLC0415

        installation: Installation = context.resources.installation
        chosen = choose_launches(
            installation.engine,
            now=utcnow(),
            slots=dagster_log.run_limit(context.instance) or _SLOTS_WITHOUT_LIMIT,
            default_app_id=installation.settings.meta_app_id,
        )
        if not chosen.launches:
            ended = f" {chosen.rejected_count} could not be." if chosen.rejected_count else ""
            return dg.SkipReason(f"No request is to be started.{ended}")
        known = context.instance.get_dynamic_partitions(BRAND_PARTITIONS)
        wanted = {brand_id for launch in chosen.launches for brand_id in launch.brand_ids}
        missing = sorted(wanted - set(known))
        places = {key: place for place, key in enumerate([*known, *missing])}
        return dg.SensorResult(
            run_requests=[run_request(launch, places) for launch in chosen.launches],
            # A brand added a moment ago: one unknown partition would fail all of the beat's runs.
            dynamic_partitions_requests=[dg.AddDynamicPartitionsRequest(BRAND_PARTITIONS, missing)]
            if missing
            else [],
        )

    def run_request(launch: "Launch", places: Mapping[str, int]) -> dg.RunRequest:
        keys = None if launch.datasets is None else [dg.AssetKey(key) for key in launch.datasets]
        return dg.RunRequest(
            run_key=launch.request_id,
            job_name=launch.job,
            partition_key=None if launch.is_across else launch.brand_ids[0],
            asset_selection=keys,
            asset_check_keys=None if keys is None else [c for key in keys for c in checks[key]],
            tags=launch.tags | (_range_tags(launch, places) if launch.is_across else {}),
            run_config=launch.run_config,
        )

    return launch_requests


def _range_tags(launch: "Launch", places: Mapping[str, int]) -> dict[str, str]:
    """The shortest range of partitions, in Dagster's order of them, that holds all the brands."""
    in_order = sorted(launch.brand_ids, key=places.__getitem__)
    return {PARTITION_RANGE_START: in_order[0], PARTITION_RANGE_END: in_order[-1]}
