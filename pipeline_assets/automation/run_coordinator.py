"""Dagster's run queue with our limits for every run, also those started in Dagster's own UI.

Such runs carry no tags of ours, so the queue itself gives each run its lane (one run per brand and
job at a time) and the maximum runtime of its job for its brand. This is Dagster's documented hook
for adding tags.
"""

import logging
from datetime import timedelta
from functools import cached_property

from dagster import DagsterRun, QueuedRunCoordinator, SubmitRunContext

from pipeline_assets.control.run_tags import MAX_RUNTIME, PARTITION, job_of_run, lane_tags
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.redaction import redact
from pipeline_assets.resources.installation import Installation

_LOG = logging.getLogger(__name__)


class BrandRunCoordinator(QueuedRunCoordinator):
    """Queues runs; adds what a run lacks of lane and maximum runtime, and changes nothing else."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Tag the run, then queue it as Dagster does."""
        run = context.dagster_run
        missing = {k: v for k, v in self._limits_of(run).items() if k not in run.tags}
        if missing:
            self._instance.add_run_tags(run.run_id, missing)
        return super().submit_run(context)

    def _limits_of(self, run: DagsterRun) -> dict[str, str]:
        # A run of Dagster's asset job without a selection is one of all assets.
        dataset_keys = {key.to_user_string() for key in run.asset_selection or ()} or set(DATASETS)
        is_asset_job = run.job_name.startswith("__ASSET_JOB")
        job = job_of_run(run.job_name, dataset_keys if is_asset_job else set())
        if job is None:
            return {}
        brand_id = run.tags.get(PARTITION)
        if brand_id is None or MAX_RUNTIME in run.tags:
            return lane_tags(job, brand_id)
        return lane_tags(job, brand_id, self._max_runtime(brand_id, job))

    def _max_runtime(self, brand_id: str, job: str) -> timedelta | None:
        """The brand's own maximum runtime of the job; None, and a word in the log, if unknown."""
        from pipeline_assets.brands.registry import get_brand  # noqa: PLC0415 - keeps imports light

        try:
            return get_brand(self._installation.engine, brand_id).max_runtime(JOBS[job])
        except Exception as error:  # noqa: BLE001 - a run must be queued whatever our tables do
            _LOG.warning(
                "%s of brand %s gets the usual maximum runtime: %s",
                job,
                brand_id,
                redact(str(error)),
            )
            return None

    @cached_property
    def _installation(self) -> Installation:
        return Installation()
