"""Dagster jobs, one per job of the catalogue."""

import warnings
from typing import Any

import dagster as dg

from pipeline_assets.assets.checks import fresh_check_keys
from pipeline_assets.datasets import JOBS

# A job of one brand's may hold datasets that another job does for all brands at once. Dagster warns
# that it takes one partition for a run of it: just what such a job wants.
warnings.filterwarnings("ignore", message="Asset job .* materializes assets with varying Backfill")


def build_jobs() -> list[Any]:
    """Build them; each runs in one process, because a process per step costs 3 s a step.

    They leave out the check `fresh`: what a sync brought is judged when it stands in the status.
    They carry no maximum runtime: a brand may have its own, which the run queue adds.

    (What `define_asset_job` returns has no public name to annotate with.)
    """
    fresh_checks = dg.AssetSelection.checks(*fresh_check_keys())
    return [
        dg.define_asset_job(
            name=job.name,
            selection=dg.AssetSelection.assets(*job.datasets) - fresh_checks,
            description=f"{job.title}: {', '.join(job.datasets)}.",
            executor_def=dg.in_process_executor,
        )
        for job in JOBS.values()
    ]
