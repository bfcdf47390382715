"""One run of the job `scorecard`; prints its seconds and CPU seconds."""

import logging
import sys
import time

import dagster as dg

import pipeline_assets.analysis.scorecard
import pipeline_assets.storage.ad_days  # noqa: F401 - what the rival imports beforehand, too
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings


def main() -> None:
    url, brand_id = sys.argv[1:]
    logging.disable()
    installation = Installation(Settings(database_url=url))
    job = build_definitions(installation).resolve_job_def("scorecard")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, [brand_id])
        began, cpu_began = time.perf_counter(), time.process_time()
        job.execute_in_process(instance=instance, partition_key=brand_id)
        seconds = time.perf_counter() - began
        sys.stdout.write(f"{seconds} {time.process_time() - cpu_began}\n")


if __name__ == "__main__":
    main()
