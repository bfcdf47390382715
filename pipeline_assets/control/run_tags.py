"""The run tags that tie a Dagster run to a brand and a job."""

import math
from datetime import timedelta

from pipeline_assets.datasets import DATASETS, JOBS, home_job

LANE = "pipeline/lane"
"""`<brand>:<job>`; dagster.yaml allows one run per value at a time."""

REQUEST_ID = "pipeline/request_id"
"""The stored request that a run serves."""

MAX_RUNTIME = "dagster/max_runtime"
PARTITION = "dagster/partition"
PARTITION_RANGE_START = "dagster/asset_partition_range_start"
PARTITION_RANGE_END = "dagster/asset_partition_range_end"

ALL_BRANDS = "*"
"""Stands for the brand of a run over several brands; before an organization's id, for all of its.
"""


def job_of_run(job_name: str, dataset_keys: set[str]) -> str | None:
    """The catalogue's job that a run counts as, None for a run that is not ours.

    A run from Dagster's asset page or CLI has a made-up job name: it counts as the home job of the
    first of its datasets.
    """
    if job_name in JOBS:
        return job_name
    for key in DATASETS:
        if key in dataset_keys:
            return home_job(key).name
    return None


def lane_tags(job: str, brand: str | None, max_runtime: timedelta | None = None) -> dict[str, str]:
    """The tags that limit a run: its lane and its maximum runtime in whole seconds.

    `max_runtime` is the brand's own for the job; without it the catalogue's counts.
    """
    runtime = max_runtime or JOBS[job].max_runtime
    # Rounded up: Dagster takes 0 for no limit at all.
    runtime_seconds = math.ceil(runtime.total_seconds())
    return {LANE: f"{brand or ALL_BRANDS}:{job}", MAX_RUNTIME: str(runtime_seconds)}
