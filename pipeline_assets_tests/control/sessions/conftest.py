"""Real installations: a folder set up as for a person, Dagster, a Graph API to sync from."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.cli.processes import Processes
from pipeline_assets.clock import utcnow
from pipeline_assets.simulator.faults import Endpoint
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World
from pipeline_assets.storage.engine import build_engine

PROJECT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
TOKEN = "EAATokenOfTheTestsWithDagster0123456789"
SECONDS = 240  # every wait ends as soon as what it waits for is there

Row = dict[str, Any]


class Gate:
    """The clock of the simulator's report runs: while it is closed, no report gets ready."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self.open()

    def close(self) -> None:
        self._closed_at = time.monotonic()
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    def now(self) -> float:
        return time.monotonic() if self._is_open.is_set() else self._closed_at


@dataclass(frozen=True)
class Session:
    """An installation whose Dagster runs while `dagster` has been entered.

    `accounts` are the brands' ad accounts, one each. Nobody has told Dagster of the brands.
    """

    folder: Path
    home: Path
    engine: sa.Engine
    dagster: Processes
    simulator: SimulatorServer
    gate: Gate
    accounts: Mapping[str, str] = field(default_factory=dict)

    def ask(self, query: str, **variables: Any) -> Any:
        """The one field of a GraphQL answer."""
        body = {"query": query, "variables": variables}
        answer = requests.post(f"{self.dagster.url}/graphql", json=body, timeout=30).json()
        assert "errors" not in answer, answer["errors"]
        (value,) = answer["data"].values()
        return value

    def wait_for(self, condition: Callable[[], Any], *, without_dagster: bool = False) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            if not without_dagster:
                self.dagster.tend()
            assert time.monotonic() < deadline, self.last_words()
            time.sleep(0.2)

    def last_words(self) -> str:
        """The end of what each of its processes has written."""
        files = sorted(self.dagster.logs.glob("*.log"))
        return "\n".join(f"{file.name}:\n{file.read_text()[-3000:]}" for file in files)

    def reports_begun(self, brand: str) -> int:
        """How many reports the Graph API was asked to prepare for a brand."""
        account = self.accounts[brand]
        calls = self.simulator.calls
        return sum(c.endpoint is Endpoint.REPORT_START and c.account == account for c in calls)


@contextmanager
def _open_session(
    folder: Path, *, brands: Collection[str], edit: Callable[[str], str]
) -> Iterator[Session]:
    for name in ("dagster.yaml", "workspace.yaml"):
        (folder / name).write_text((PROJECT / name).read_text())
    configuration = folder / "dagster.yaml"
    configuration.write_text(edit(configuration.read_text()))
    (folder / "token").write_text(TOKEN)
    subprocess.run([BIN / "pipeline-assets", "setup"], check=True, cwd=folder, capture_output=True)
    home = folder / ".dagster"
    engine = build_engine(f"sqlite:///{home / 'pipeline_assets.db'}")
    gate = Gate()
    accounts = {brand: f"act_{21 + number}" for number, brand in enumerate(brands)}
    specified = tuple(AccountSpec(id=each, name=each, ad_count=4) for each in accounts.values())
    world = World(accounts=specified, tokens=(TokenSpec(TOKEN),), anchor=utcnow().date())
    with SimulatorServer(world, monotonic=gate.now, report_seconds=0.02) as simulator:
        for brand, account in accounts.items():
            source = {
                "ad_accounts": [account],
                "token": f"file:{folder / 'token'}",
                "graph_url": simulator.url,
            }
            data = {"id": brand, "name": brand, "timezone": "UTC", "sources": {"meta": source}}
            add_brand(engine, parse_brand(data), actor="test", now=utcnow())
        dagster = Processes(home=home, folder=folder)
        yield Session(folder, home, engine, dagster, simulator, gate, accounts)
    engine.dispose()


@pytest.fixture(scope="module")
def open_session(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`with open_session("acme", edit=…) as session`: `edit` changes the text of dagster.yaml."""

    def open_it(*brands: str, edit: Callable[[str], str] = lambda text: text) -> Any:
        return _open_session(tmp_path_factory.mktemp("project"), brands=brands, edit=edit)

    return open_it
