"""Runs per minute through the queue: many brands' requests beside a plain sensor's runs, in turns.

`python -m benchmarks.control.throughput [--runs 30] [--rounds 2]`

Ours is the lightest job, the classification of a brand that has no ads yet; the rival's asset does
nothing. One Dagster with our queue's settings and the default launcher serves both: each run costs
a new process, so this is mostly what Dagster itself takes on this machine.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import dagster as dg
import sqlalchemy as sa

from benchmarks.control import plain
from benchmarks.control.sessions import (
    Session,
    await_end_of,
    await_ended_runs,
    open_ours,
    temporary_folder,
)
from pipeline_assets.clock import utcnow
from pipeline_assets.control.requests import Trigger, Wish, store_wish
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

JOB = "ad_classification"


@dataclass(frozen=True)
class Turn:
    """`per_minute`: from the first run's start to the last one's end."""

    per_minute: float
    seconds: float
    """From the trigger to the last run's end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    brand_ids = [f"brand-{number:03}" for number in range(options.runs)]
    source = {"ad_accounts": ["act_1"], "token": "env:NONE"}  # classifying asks Meta nothing
    brands = [{"id": brand_id, "sources": {"meta": source}} for brand_id in brand_ids]
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        opened = open_ours(folder / "project", brands, beside="benchmarks.control.plain")
        session, engine = stack.enter_context(opened)
        _store_empty_sync(engine, brand_ids)
        stack.enter_context(session.dagster)
        turns: dict[str, Callable[[], Turn]] = {
            "plain sensor": lambda: _run_plain(session, options.runs),
            f"{JOB} requests": lambda: _run_ours(session, engine, brand_ids),
        }
        found: dict[str, list[Turn]] = {label: [] for label in turns}
        print(f"{'':28} {'round':>5} {'runs':>5} {'runs per minute':>16} {'trigger to end s':>17}")
        for number in range(1, options.rounds + 1):
            # Every second round in the other order: whoever comes first after the start is slower.
            for label, take in list(turns.items())[:: 1 if number % 2 else -1]:
                turn = take()
                found[label].append(turn)
                print(
                    f"{label:28} {number:5} {options.runs:5} {turn.per_minute:16.1f}"
                    f" {turn.seconds:17.1f}",
                    flush=True,
                )
    rival, ours = (statistics.median(t.per_minute for t in each) for each in found.values())
    print(f"median: plain {rival:.1f}, ours {ours:.1f} runs per minute, ratio {ours / rival:.2f}")


def _store_empty_sync(engine: sa.Engine, brand_ids: Sequence[str]) -> None:
    """As if Meta had been asked and had no ads: otherwise classifying is not tried."""
    row = {"dataset": "meta_ad_creatives", "last_success_at": utcnow()}
    with write_transaction(engine) as connection:
        connection.execute(
            dataset_status.insert(), [row | {"brand_id": brand_id} for brand_id in brand_ids]
        )


def _run_plain(session: Session, count: int) -> Turn:
    began = utcnow()
    plain.pull_triggers(session.home, [str(uuid4()) for _ in range(count)])
    filters = dg.RunsFilter(job_name=plain.JOB, created_after=began)
    return _turn(await_ended_runs(session, filters, count=count), began)


def _run_ours(session: Session, engine: sa.Engine, brand_ids: Sequence[str]) -> Turn:
    began = utcnow()
    with write_transaction(engine) as connection:  # at once: one beat of the sensor sees all
        request_ids = [
            store_wish(
                connection,
                Wish(brand_id=brand_id, job=JOB, trigger=Trigger.MANUAL, requested_by="benchmark"),
                now=began,
            ).request_id
            for brand_id in brand_ids
        ]
    filters = dg.RunsFilter(job_name=JOB, created_after=began)
    records = await_ended_runs(session, filters, count=len(brand_ids))
    await_end_of(session, engine, request_ids)  # the rival's turn begins when all is at rest
    return _turn(records, began)


def _turn(records: Sequence[dg.RunRecord], began: datetime) -> Turn:
    starts, ends = [r.start_time or 0 for r in records], [r.end_time or 0 for r in records]
    return Turn(
        per_minute=len(records) / (max(ends) - min(starts)) * 60,
        seconds=max(ends) - began.timestamp(),
    )


if __name__ == "__main__":
    main()
