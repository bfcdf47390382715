"""Real Dagsters in temporary folders: our installation, a rival beside it, and what their runs did.

Nothing of the caller's own installation is read or written.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.cli.processes import Processes
from pipeline_assets.cli.setup import prepare
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import sync_partitions
from pipeline_assets.control.requests import Request, get_request
from pipeline_assets.errors import PipelineError

PROJECT = Path(__file__).parents[2]
OURS = "pipeline_assets.definitions"
TIMEOUT_SECONDS = 900  # every wait ends as soon as what it waits for is there

Found = TypeVar("Found")


@dataclass(frozen=True)
class Session:
    """A Dagster of its own that runs once `dagster` is entered."""

    home: Path
    dagster: Processes
    instance: dg.DagsterInstance


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for everything that the benchmark makes; the environment holds no settings then."""
    for name in [name for name in os.environ if name.startswith(("PIPELINE_", "DAGSTER_"))]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = str(PROJECT)  # for the rivals' code, which is not installed
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def open_ours(
    folder: Path, brands: Sequence[Mapping[str, Any]], *, beside: str | None = None
) -> Iterator[tuple[Session, sa.Engine]]:
    """Our installation with these brands, set up as a person does; `beside`: a rival's module."""
    folder.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", folder)
    with chdir(folder):
        installation = prepare()
        home = installation.settings.dagster_home
        for brand in brands:
            parsed = parse_brand({"timezone": "UTC", "name": brand["id"], **brand})
            add_brand(installation.engine, parsed, actor="benchmark", now=utcnow())
        modules = [OURS, *([beside] if beside else [])]
        with _open_session(folder, home, modules) as session:
            sync_partitions(session.instance, [brand["id"] for brand in brands])
            yield session, installation.engine


@contextmanager
def open_stock(folder: Path, *, module: str, configuration: str) -> Iterator[Session]:
    """A Dagster without anything of ours: its code's module and its dagster.yaml."""
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(configuration)
    with _open_session(folder, home, [module]) as session:
        yield session


@contextmanager
def _open_session(folder: Path, home: Path, modules: Sequence[str]) -> Iterator[Session]:
    dagster = Processes(home=home, folder=folder, modules={each: each for each in modules})
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Session(home, dagster, instance)


def await_until(session: Session, find: Callable[[], Found | None]) -> Found:
    """What `find` finds, as soon as it finds something.

    Raises:
        PipelineError: it found nothing in time, or Dagster has ended.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (found := find()):
        session.dagster.raise_if_ended()
        if time.monotonic() > deadline:
            raise PipelineError(
                f"Nothing came within {TIMEOUT_SECONDS} s.",
                advice=f"What the processes have written is in {session.dagster.logs}.",
            )
        time.sleep(0.2)
    return found


def await_ended_runs(
    session: Session, filters: dg.RunsFilter, *, count: int
) -> Sequence[dg.RunRecord]:
    """The runs that the filters describe, once there are so many and all have succeeded.

    Raises:
        PipelineError: one ended otherwise, or it takes too long.
    """

    def ended() -> Sequence[dg.RunRecord] | None:
        records = session.instance.get_run_records(filters)
        is_over = len(records) == count and all(each.dagster_run.is_finished for each in records)
        return records if is_over else None

    records = await_until(session, ended)
    for record in records:
        if not record.dagster_run.is_success:
            run = record.dagster_run
            raise PipelineError(f"Run {run.run_id} of {run.job_name} ended {run.status.value}.")
    return records


def await_end_of(session: Session, engine: sa.Engine, request_ids: Sequence[str]) -> list[Request]:
    """The requests, once the projector has ended them all."""

    def ended() -> list[Request] | None:
        requests = [get_request(engine, each) for each in request_ids]
        return None if any(request.state.is_active for request in requests) else requests

    return await_until(session, ended)


def first_step_start(session: Session, run_id: str) -> datetime | None:
    """When a run's first step started, as its log says; None: none has."""
    page = session.instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.STEP_START, limit=1
    )
    if not page.records:
        return None
    return datetime.fromtimestamp(page.records[0].event_log_entry.timestamp, UTC)


def spread(seconds: Sequence[float]) -> str:
    """Median and range, for a table."""
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
