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
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.cli.dagster_processes import DagsterDevelopment
from pipeline_assets.cli.setup import prepare
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import sync_partitions
from pipeline_assets.control.requests import Request, get_request
from pipeline_assets.errors import PipelineError

PROJECT = Path(__file__).parents[2]
OURS = "pipeline_assets.definitions"
TIMEOUT_SECONDS = 900  # every wait ends as soon as what it waits for is there


@dataclass(frozen=True)
class Session:
    """A Dagster of its own that runs once `dagster` is entered."""

    home: Path
    dagster: DagsterDevelopment
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
    _write_workspace(folder, OURS, *([beside] if beside else []))
    with chdir(folder):
        installation = prepare()
        home = installation.settings.dagster_home
        for brand in brands:
            parsed = parse_brand({"timezone": "UTC", "name": brand["id"], **brand})
            add_brand(installation.engine, parsed, actor="benchmark", now=utcnow())
        with _open_session(folder, home) as session:
            sync_partitions(session.instance, [brand["id"] for brand in brands])
            yield session, installation.engine


@contextmanager
def open_stock(folder: Path, *, module: str, configuration: str) -> Iterator[Session]:
    """A Dagster that has nothing of ours: `module` is its code, `configuration` its dagster.yaml."""
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(configuration)
    _write_workspace(folder, module)
    with _open_session(folder, home) as session:
        yield session


def _write_workspace(folder: Path, *modules: str) -> None:
    entries = [
        f"  - python_module: {{module_name: {module}, location_name: {location_of(module)}}}"
        for module in modules
    ]
    (folder / "workspace.yaml").write_text("\n".join(["load_from:", *entries]) + "\n")


def location_of(module: str) -> str:
    """What the code location of a module is called."""
    return "pipeline_assets" if module == OURS else module.rpartition(".")[2]


@contextmanager
def _open_session(folder: Path, home: Path) -> Iterator[Session]:
    dagster = DagsterDevelopment(home=home, folder=folder, preferred_port=0)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Session(home, dagster, instance)


def await_until[T](
    session: Session, find: Callable[[], T | None], *, timeout_seconds: float = TIMEOUT_SECONDS
) -> T:
    """What `find` finds, as soon as it finds something.

    Raises:
        PipelineError: it found nothing in time, or Dagster has ended.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (found := find()):
        session.dagster.raise_if_ended()
        if time.monotonic() > deadline:
            log = session.dagster.log_file.read_text(errors="replace")
            raise PipelineError(f"Nothing came within {timeout_seconds:.0f} s.\n{log[-4000:]}")
        time.sleep(0.2)
    return found
