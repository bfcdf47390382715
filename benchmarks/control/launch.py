"""From "Sync now" to the first asset's step, beside a plain sensor's launch, in turns.

`python -m benchmarks.control.launch [--rounds 9]`

Both wait for a sensor's beat (5 s), for the queue and for the run's new process. One Dagster serves
both, so that they share its daemon and the machine's minutes; each trigger comes at a random moment
of the beat.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import dagster as dg
import sqlalchemy as sa

from benchmarks.control import plain
from benchmarks.control.sessions import (
    Session,
    await_end_of,
    await_ended_runs,
    first_step_start,
    open_ours,
    spread,
    temporary_folder,
)
from pipeline_assets.clock import utcnow
from pipeline_assets.control.requests import Trigger, Wish, request_sync
from pipeline_assets.control.run_tags import REQUEST_ID
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World

BRAND, ACCOUNT, TOKEN = "acme", "act_21", "EAATokenOfTheBenchmark0123456789"
BEAT_SECONDS = 5


@dataclass(frozen=True)
class Launch:
    """Seconds after the trigger."""

    to_run: float
    """Until the run was created: what the sensor takes."""
    to_step: float
    """Until its first step started: what a person waits for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        simulator = stack.enter_context(SimulatorServer(bench_world(), report_seconds=0.02))
        brand = bench_brand(folder, simulator.url)
        opened = open_ours(folder / "project", [brand], beside="benchmarks.control.plain")
        session, engine = stack.enter_context(opened)
        stack.enter_context(session.dagster)
        _measure(
            {
                "plain sensor": lambda: _launch_plain(session),
                "Sync now": lambda: _sync_now(session, engine),
            },
            rounds=rounds,
        )


def bench_world() -> World:
    account = AccountSpec(id=ACCOUNT, name=ACCOUNT, ad_count=4)
    return World(accounts=(account,), tokens=(TokenSpec(TOKEN),), anchor=utcnow().date())


def bench_brand(folder: Path, graph_url: str) -> dict[str, object]:
    token = folder / "token"
    token.write_text(TOKEN)
    source = {"ad_accounts": [ACCOUNT], "token": f"file:{token}", "graph_url": graph_url}
    return {"id": BRAND, "sources": {"meta": source}}


def _measure(launchers: Mapping[str, Callable[[], Launch]], *, rounds: int) -> None:
    chance = random.Random(7)
    found: dict[str, list[Launch]] = {label: [] for label in launchers}
    print(f"{'launch':14} {'round':>5} {'to run s':>9} {'to first step s':>16}")
    for number in range(rounds + 1):
        for label, launch in launchers.items():
            time.sleep(chance.uniform(0, BEAT_SECONDS))
            seconds = launch()
            if number == 0:  # Dagster has only just started, and no file is in memory
                continue
            found[label].append(seconds)
            print(
                f"{label:14} {number:5} {seconds.to_run:9.2f} {seconds.to_step:16.2f}", flush=True
            )
    print(f"\nmedian of {rounds} (lowest to highest), seconds")
    for label, launches in found.items():
        to_run, to_step = [e.to_run for e in launches], [e.to_step for e in launches]
        print(f"{label:14} to run {spread(to_run)}, to first step {spread(to_step)}")
    rival, ours = (statistics.median(e.to_step for e in each) for each in found.values())
    print(f"Sync now takes {ours - rival:+.1f} s beside the plain sensor, ratio {ours / rival:.2f}")


def _launch_plain(session: Session) -> Launch:
    name, began = str(uuid4()), utcnow()
    plain.pull_triggers(session.home, [name])
    return _await_launch(session, {plain.TRIGGER: name}, began)


def _sync_now(session: Session, engine: sa.Engine) -> Launch:
    wish = Wish(brand_id=BRAND, job="meta_sync", trigger=Trigger.MANUAL, requested_by="benchmark")
    began = utcnow()
    request, _ = request_sync(engine, wish, now=began)
    launch = _await_launch(session, {REQUEST_ID: request.id}, began)
    await_end_of(session, engine, [request.id])  # else the next wish would join it
    return launch


def _await_launch(session: Session, tags: Mapping[str, str], began: datetime) -> Launch:
    """Read the launch off the log once its run has ended, so that nothing disturbs the next."""
    (record,) = await_ended_runs(session, dg.RunsFilter(tags=tags), count=1)
    started = first_step_start(session, record.dagster_run.run_id)
    assert started is not None
    return Launch(
        to_run=(record.create_timestamp - began).total_seconds(),
        to_step=(started - began).total_seconds(),
    )


if __name__ == "__main__":
    main()
