"""How soon the Health page tells what is so: from Sync now to "syncing", from the end to "fresh".

`python -m benchmarks.web.truth [--rounds 3]`

A whole installation: Dagster's processes, our server, a simulated Graph API, one brand. The click
is the page's own form. The live part is asked for ten times a second; a page that somebody looks at
asks every 3 s, and at once after a click.
"""

import argparse
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import dagster as dg
import sqlalchemy as sa

from benchmarks.control.launch import BRAND, bench_brand, bench_world
from benchmarks.control.sessions import (
    TIMEOUT_SECONDS,
    Session,
    await_end_of,
    open_ours,
    spread,
    temporary_folder,
)
from benchmarks.web.site import (
    OUR_APP,
    POLL,
    Browser,
    add_reader,
    free_port,
    run_server,
    server_command,
)
from pipeline_assets.control.requests import list_requests
from pipeline_assets.datasets import JOBS
from pipeline_assets.errors import PipelineError
from pipeline_assets.simulator.server import SimulatorServer

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Sync:
    """Seconds of one sync: three after the click, the last after the run's end in Dagster's log."""

    to_queued: float
    to_syncing: float
    to_end: float
    end_to_fresh: float


_TITLES = {
    "to_queued": 'click to "queued"',
    "to_syncing": 'click to "syncing"',
    "to_end": "click to the run's end",
    "end_to_fresh": 'the run\'s end to "fresh"',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        simulator = stack.enter_context(SimulatorServer(bench_world(), report_seconds=0.02))
        opened = open_ours(folder / "project", [bench_brand(folder, simulator.url)])
        session, engine = stack.enter_context(opened)
        stack.enter_context(session.dagster)
        add_reader(engine)
        port = free_port()
        command, environment = server_command(port, OUR_APP), {"DAGSTER_HOME": str(session.home)}
        server = stack.enter_context(
            run_server(command, port, environment, folder=str(folder / "project"))
        )
        browser = server.sign_in()
        _sync(session, engine, browser)  # no file is in memory yet
        syncs = [_sync(session, engine, browser) for _ in range(rounds)]
    print(f"{'':28}s, median of {rounds} (lowest to highest)")
    for name, title in _TITLES.items():
        print(f"{title:28}{spread([getattr(each, name) for each in syncs])}")


def _sync(session: Session, engine: sa.Engine, browser: Browser) -> Sync:
    page = browser.get("/").body.decode()
    token = page.partition('"X-CSRF-Token": "')[2].partition('"')[0]
    path = f"/brands/{BRAND}/sync"
    began = time.time()
    clicked = browser.post(path, {"job": "meta_sync"}, **POLL, **{"X-CSRF-Token": token})
    if clicked.status != 204:
        raise PipelineError(f"Sync now was answered with {clicked.status}: {clicked.body!r}")
    queued = _await(browser, lambda cells: any(_is_active(cell) for cell in cells))
    syncing = _await(browser, lambda cells: any("syncing" in cell for cell in cells))
    fresh = _await(
        browser, lambda cells: all(": fresh" in cell and not _is_active(cell) for cell in cells)
    )
    (request,) = list_requests(engine, brand_ids=[BRAND], limit=1)
    await_end_of(session, engine, [request.id])
    record = session.instance.get_run_record_by_id(request.run_id or "")
    assert record is not None
    assert record.dagster_run.status is dg.DagsterRunStatus.SUCCESS
    ended = record.end_time or 0.0
    return Sync(queued - began, syncing - began, ended - began, fresh - ended)


def _is_active(cell: str) -> bool:
    return cell.endswith(("queued", "syncing"))


def _await(browser: Browser, is_seen: Callable[[list[str]], bool]) -> float:
    """When the page's live part first said so."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not is_seen(_cells(browser)):
        if time.monotonic() > deadline:
            raise PipelineError(f"The page said {_cells(browser)} for {TIMEOUT_SECONDS} s.")
        time.sleep(_LOOK_SECONDS)
    return time.time()


def _cells(browser: Browser) -> list[str]:
    """What the brand's cells of the job say to a screen reader."""
    live = browser.get("/", **POLL).body.decode()
    return [
        match[1]
        for dataset in JOBS["meta_sync"].datasets
        if (match := re.search(rf'id="cell-{BRAND}-{dataset}".*?aria-label="([^"]*)"', live))
    ]


if __name__ == "__main__":
    main()
