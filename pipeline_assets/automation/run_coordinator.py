"""Dagster's run queue with our limits for every run, also those started in Dagster's own UI.

Such runs carry no tags of ours, so the queue itself gives each run its lane (one run per brand and
job at a time) and its job's maximum runtime. This is Dagster's documented hook for adding tags.
"""

from dagster import DagsterRun, QueuedRunCoordinator, SubmitRunContext

from pipeline_assets.control.run_tags import (
    PARTITION,
    job_of_run,
    lane_tags,
)
from pipeline_assets.schemas import SCHEMAS


class BrandRunCoordinator(QueuedRunCoordinator):
    """Queues runs; adds what a run lacks of lane and maximum runtime, and changes nothing else."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Tag the run, then queue it as Dagster does."""
        run = context.dagster_run
        missing = {k: v for k, v in _limits_of(run).items() if k not in run.tags}
        if missing:
            self._instance.add_run_tags(run.run_id, missing)
        return super().submit_run(context)


def _limits_of(run: DagsterRun) -> dict[str, str]:
    # A run of Dagster's asset job without a selection is one of all assets.
    dataset_keys = {key.to_user_string() for key in run.asset_selection or ()} or set(SCHEMAS)
    is_asset_job = run.job_name.startswith("__ASSET_JOB")
    job = job_of_run(run.job_name, dataset_keys if is_asset_job else set())
    if job is None:
        return {}
    return lane_tags(job, run.tags.get(PARTITION))
