"""Stock Dagster beside ours: what each says of four brands, and does after its host was killed.

`python -m benchmarks.control.stock [--watch-seconds 180]`

Both have the same brands and the same allowed age. Stock Dagster is asked what its own pages ask.
Its dagster.yaml is the examples of Dagster's documentation of run monitoring and run retries, but
looks after runs as often as ours does and tries only crashed runs again. Prints a Markdown table.
"""

import argparse
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import requests
import sqlalchemy as sa
from dagster_graphql import DagsterGraphQLClient

from benchmarks.control import stock_assets
from benchmarks.control.sessions import (
    Session,
    await_end_of,
    await_until,
    first_step_start,
    open_ours,
    open_stock,
    temporary_folder,
)
from pipeline_assets.cli.supervisor import HOST
from pipeline_assets.clock import utcnow
from pipeline_assets.control.requests import Request, Trigger, Wish, get_request, request_sync
from pipeline_assets.control.run_tags import PARTITION, REQUEST_ID
from pipeline_assets.control.status import DatasetState, read_states
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World

FRESH, OLD, FAILING, NEVER = "fresh", "old", stock_assets.FAILING, "never"
BRANDS = {
    FRESH: "synced a moment ago",
    OLD: "synced longer ago than allowed",
    FAILING: "its token has expired",
    NEVER: "never synced",
}
DATASET = "meta_ads_performance"
EVALUATION_SECONDS = 30  # how often Dagster's daemon judges freshness
REPORT_SECONDS = 0.02
HELD_SECONDS = 3_600  # longer than the benchmark takes

STOCK_CONFIGURATION = """
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  cancel_timeout_seconds: 180
  poll_interval_seconds: 20
run_retries:
  enabled: true
  max_retries: 3
  retry_on_asset_or_op_failure: false
telemetry:
  enabled: false
"""

_STATE = """
query ($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode {
      freshnessStatusInfo { freshnessStatus }
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses {
          materialized: materializedPartitions
          failed: failedPartitions
          missing: unmaterializedPartitions
        }
      }
    }
  }
  assetOrError(assetKey: {path: $path}) { ... on Asset { assetHealth { assetHealth } } }
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watch-seconds", type=int, default=180)
    watch_seconds = parser.parse_args().watch_seconds
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        ours = _open_ours(stack, folder)
        stock = _open_stock(stack, folder)
        rows = _compare_freshness(stock, ours)
        health = stock.read_state()["health"]
        rows.append(_compare_recovery(stack, stock, ours, watch_seconds=watch_seconds))
    print("| brand | stock Dagster | ours |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(f"\nStock Dagster's assetHealth of the asset: {health}")


class Stock:
    """A stock Dagster and what a person does and sees there."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._client = DagsterGraphQLClient(HOST, port_number=session.dagster.port)

    def launch(self, brand: str) -> str:
        """Start a run for a brand, as its UI does; returns the run's id."""
        return self._client.submit_job_execution(stock_assets.JOB, tags={PARTITION: brand})

    def await_runs(self, *run_ids: str) -> None:
        """Return when these runs have ended."""
        await_until(self.session, lambda: all(self.run(each).is_finished for each in run_ids))

    def run(self, run_id: str) -> dg.DagsterRun:
        """A run as it is now."""
        run = self.session.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def read_state(self) -> dict[str, Any]:
        """What the asset's page is told: freshness, health, and each partition's status."""
        body = {"query": _STATE, "variables": {"path": [stock_assets.DATASET]}}
        url = f"{self.session.dagster.url}/graphql"
        data: dict[str, Any] = requests.post(url, json=body, timeout=30).json()["data"]
        return {
            "freshness": data["assetNodeOrError"]["freshnessStatusInfo"]["freshnessStatus"],
            "health": data["assetOrError"]["assetHealth"],
            **data["assetNodeOrError"]["assetPartitionStatuses"],
        }


@dataclass(frozen=True)
class Ours:
    """Our installation and what a person does and sees there."""

    session: Session
    engine: sa.Engine
    simulator: SimulatorServer

    def request(self, brand: str) -> Request:
        """Ask for one dataset of a brand."""
        wish = Wish(
            brand_id=brand,
            job="meta_sync",
            datasets=(DATASET,),
            trigger=Trigger.MANUAL,
            requested_by="benchmark",
        )
        return request_sync(self.engine, wish, now=utcnow())[0]

    def await_requests(self, *stored: Request) -> None:
        """Return when these requests have ended."""
        await_end_of(self.session, self.engine, [request.id for request in stored])

    def see(self, request: Request) -> Request:
        """The request as it is now."""
        return get_request(self.engine, request.id)

    def read_states(self) -> dict[str, DatasetState]:
        """Each brand's state of the dataset."""
        states = read_states(self.engine, now=utcnow(), brand_ids=set(BRANDS))
        return {state.brand_id: state for state in states if state.dataset == DATASET}

    def runs_of(self, request: Request) -> list[dg.RunRecord]:
        """The runs that serve a request, the first one first."""
        filters = dg.RunsFilter(tags={REQUEST_ID: request.id})
        return list(self.session.instance.get_run_records(filters, ascending=True))


def _open_ours(stack: ExitStack, folder: Path) -> Ours:
    tokens = {brand: f"EAAToken{brand}OfTheBenchmark0123456789" for brand in BRANDS}
    accounts = {brand: f"act_{21 + number}" for number, brand in enumerate(BRANDS)}
    world = World(
        accounts=tuple(AccountSpec(id=each, name=each, ad_count=4) for each in accounts.values()),
        tokens=tuple(
            TokenSpec(
                token,
                accounts=(accounts[brand],),
                expires_at=utcnow() - timedelta(days=1) if brand == FAILING else None,
            )
            for brand, token in tokens.items()
        ),
        anchor=utcnow().date(),
    )
    simulator = stack.enter_context(SimulatorServer(world, report_seconds=REPORT_SECONDS))
    brands = []
    for brand, token in tokens.items():
        file = folder / f"{brand}.token"
        file.write_text(token)
        source = {
            "ad_accounts": [accounts[brand]],
            "token": f"file:{file}",
            "graph_url": simulator.url,
        }
        windows = {DATASET: stock_assets.WINDOW / timedelta(hours=1)}
        brands.append({"id": brand, "sources": {"meta": source}, "windows": windows})
    session, engine = stack.enter_context(open_ours(folder / "project", brands))
    stack.enter_context(session.dagster)
    return Ours(session, engine, simulator)


def _open_stock(stack: ExitStack, folder: Path) -> Stock:
    opened = open_stock(
        folder / "stock",
        module="benchmarks.control.stock_assets",
        configuration=STOCK_CONFIGURATION,
    )
    session = stack.enter_context(opened)
    session.instance.add_dynamic_partitions(stock_assets.BRANDS, list(BRANDS))
    stack.enter_context(session.dagster)
    return Stock(session)


def _compare_freshness(stock: Stock, ours: Ours) -> list[tuple[str, ...]]:
    _sync(stock, ours, OLD)
    time.sleep(stock_assets.WINDOW.total_seconds())
    _sync(stock, ours, FRESH, FAILING)
    time.sleep(EVALUATION_SECONDS + 5)
    seen, states = stock.read_state(), ours.read_states()
    return [
        (f"`{brand}`: {case}", _tell_stock(seen, brand), _tell(states[brand]))
        for brand, case in BRANDS.items()
    ]


def _sync(stock: Stock, ours: Ours, *brands: str) -> None:
    """Run the brands in both, at the same time; return when all have ended."""
    run_ids = [stock.launch(brand) for brand in brands]
    stored = [ours.request(brand) for brand in brands]
    stock.await_runs(*run_ids)
    ours.await_requests(*stored)


def _tell_stock(seen: dict[str, Any], brand: str) -> str:
    """What stock Dagster's pages show: the asset's freshness, the brand's partition."""
    status = next(each for each in ("failed", "materialized", "missing") if brand in seen[each])
    return f"asset {seen['freshness']}; partition {status}"


def _tell(state: DatasetState) -> str:
    """A state as our pages put it into words."""
    parts = [f"**{state.state.value}**"]
    if state.age_seconds is not None:
        parts.append(f"{state.age_seconds:.0f} s old")
    if state.stale_since is not None:
        parts.append(f"too old since {state.stale_since:%H:%M:%S} UTC")
    if state.error_class is not None:
        parts.append(f"{state.error_class}: {state.error_message} {state.advice or ''}".strip())
    return "; ".join(parts)


def _compare_recovery(
    stack: ExitStack, stock: Stock, ours: Ours, *, watch_seconds: int
) -> tuple[str, ...]:
    held = stock.session.home / stock_assets.HELD
    held.touch()
    ours.simulator.report_seconds = HELD_SECONDS
    run_id, request = stock.launch(FRESH), ours.request(FRESH)
    await_until(stock.session, lambda: first_step_start(stock.session, run_id))
    await_until(ours.session, lambda: _has_begun(ours, request))
    sessions = (ours.session, stock.session)
    for session in sessions:
        _kill_host(session)
    held.unlink()  # whoever starts the work again will be done at once
    ours.simulator.report_seconds = REPORT_SECONDS
    restarts = []
    for session in sessions:
        restarts.append(utcnow())
        stack.enter_context(session.dagster)
    deadline = max(restarts) + timedelta(seconds=watch_seconds)
    while utcnow() < deadline:
        if stock.run(run_id).is_finished and not ours.see(request).state.is_active:
            break
        time.sleep(1)
    return (
        "host killed while a run was STARTED, then started again",
        _tell_run(stock, run_id, since=restarts[1]),
        _tell_request(ours, ours.see(request), since=restarts[0]),
    )


def _has_begun(ours: Ours, request: Request) -> bool:
    runs = ours.runs_of(request)
    return bool(runs) and first_step_start(ours.session, runs[0].dagster_run.run_id) is not None


def _tell_run(stock: Stock, run_id: str, *, since: datetime) -> str:
    record = stock.session.instance.get_run_record_by_id(run_id)
    assert record is not None
    status = record.dagster_run.status.value
    if record.end_time is None:
        watched = (utcnow() - since).total_seconds()
        return f"the run: still {status} {watched:.0f} s after the restart"
    return f"the run: {status} {record.end_time - since.timestamp():.0f} s after the restart"


def _tell_request(ours: Ours, request: Request, *, since: datetime) -> str:
    runs = [
        f"run {number} {record.dagster_run.status.value} at {end - since.timestamp():.0f} s"
        for number, record in enumerate(ours.runs_of(request), 1)
        if (end := record.end_time) is not None
    ]
    seconds = ((request.finished_at or utcnow()) - since).total_seconds()
    still = "still " if request.state.is_active else ""
    state = f"the request: {still}{request.state.value} {seconds:.0f} s after the restart"
    return "; ".join([*runs, state])


def _kill_host(session: Session) -> None:
    """End every process of a session as a power cut does: none sees another one end."""
    processes = list(_processes(session.home))
    for each in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(each)
    session.dagster.stop()  # there is nothing left to stop: it notes that


def _processes(home: Path) -> Iterable[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or somebody else's
            if process.environ().get("DAGSTER_HOME") == str(home):
                yield process


if __name__ == "__main__":
    main()
