"""From the queue to the end: meta_sync of one demo brand beside a trivial run, taken in turns.

`python -m benchmarks.sync.run [--rounds 5]`, in the project's folder.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import dagster as dg
from dagster_graphql import DagsterGraphQLClient

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.cli.processes import LOCATION, Processes
from pipeline_assets.cli.setup import prepare
from pipeline_assets.cli.supervisor import HOST
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import sync_partitions
from pipeline_assets.control.run_tags import PARTITION
from pipeline_assets.simulator.demo import DEMO_BRANDS, build_demo_world
from pipeline_assets.simulator.server import SimulatorServer

MODULES = {LOCATION: "pipeline_assets.definitions", "trivial": "benchmarks.sync.trivial"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    project = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy("dagster.yaml", folder)
        os.chdir(folder)
        os.environ.pop("DAGSTER_HOME", None)
        os.environ["PYTHONPATH"] = str(project)
        brand = DEMO_BRANDS[0]
        with SimulatorServer(build_demo_world(utcnow().date())) as simulator:
            home = _prepare_home(folder, simulator.url)
            with Processes(home=home, modules=MODULES) as dagster:
                client = DagsterGraphQLClient(HOST, port_number=dagster.port)
                jobs = {
                    "trivial, 5 assets": ("trivial", "trivial", {}),
                    "meta_sync": ("meta_sync", "pipeline_assets", {PARTITION: brand.slug}),
                }
                with dg.DagsterInstance.get() as instance:
                    _measure(client, instance, jobs, rounds=rounds)


def _prepare_home(folder: Path, graph_url: str) -> Path:
    installation = prepare()
    brand = DEMO_BRANDS[0]
    token = folder / "token"
    token.write_text(brand.token)
    source = {
        "ad_accounts": list(brand.ad_accounts),
        "token": f"file:{token}",
        "graph_url": graph_url,
    }
    registered = {
        "id": brand.slug,
        "name": brand.name,
        "timezone": brand.timezone,
        "sources": {"meta": source},
    }
    add_brand(installation.engine, parse_brand(registered), actor="benchmark", now=utcnow())
    with dg.DagsterInstance.get() as instance:
        sync_partitions(instance, [brand.slug])
    return installation.settings.dagster_home


def _measure(
    client: DagsterGraphQLClient,
    instance: dg.DagsterInstance,
    jobs: dict[str, tuple[str, str, dict[str, str]]],
    *,
    rounds: int,
) -> None:
    print(f"{'run':20} {'round':>5} {'queue to start s':>17} {'queue to end s':>15}")
    totals: dict[str, list[float]] = {label: [] for label in jobs}
    for number in range(1, rounds + 1):
        for label, (job, location, tags) in jobs.items():
            run_id = client.submit_job_execution(
                job, repository_location_name=location, tags=dict(tags)
            )
            record = _await_end(instance, run_id)
            queued = record.create_timestamp.timestamp()
            start, end = (record.start_time or 0) - queued, (record.end_time or 0) - queued
            totals[label].append(end)
            print(f"{label:20} {number:5} {start:17.2f} {end:15.2f}", flush=True)
    medians = {label: statistics.median(seconds) for label, seconds in totals.items()}
    trivial, ours = medians.values()
    print(f"median: trivial {trivial:.2f} s, meta_sync {ours:.2f} s, ratio {ours / trivial:.2f}")


def _await_end(instance: dg.DagsterInstance, run_id: str) -> dg.RunRecord:
    while True:
        record = instance.get_run_record_by_id(run_id)
        if record is not None and record.dagster_run.is_finished:
            if not record.dagster_run.is_success:
                raise SystemExit(f"{record.dagster_run.job_name} ended {record.dagster_run.status}")
            return record
        time.sleep(0.1)


if __name__ == "__main__":
    main()
