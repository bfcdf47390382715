"""`pipeline-assets up` as a service manager runs it: what dies comes back, and nothing is left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.cli.supervisor import free_port, interrupted_by
from pipeline_assets.clock import utcnow
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World
from pipeline_assets.storage.engine import build_engine

PROJECT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("pipeline-assets")
TOKEN = "EAATokenOfTheTestsOfUp0123456789"
SECONDS = 240  # every wait ends as soon as what it waits for is there
PROCESSES = ("code server", "Dagster daemon", "Dagster webserver", "web")


def without_settings() -> dict[str, str]:
    """The environment without what it says to Dagster and us."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "PIPELINE_"))}


class Up:
    """`pipeline-assets up` in a folder; `processes` are all that descend from it, itself apart."""

    def __init__(self, folder: Path, *arguments: str, settings: Mapping[str, str]) -> None:
        self.folder, self.home = folder, folder / ".dagster"
        self.environment = {**without_settings(), **settings}
        self._said = folder / "said"
        # Tests may run as a shell's background job: it would inherit that Ctrl-C is ignored.
        with self._said.open("wb") as said, interrupted_by(signal.SIGINT):
            self.process = subprocess.Popen(
                [COMMAND, "up", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd=folder,
                env=self.environment,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_for(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def pids(self, name: str) -> list[int]:
        """The processes that one has had so far, the newest last."""
        return [int(pid) for pid in re.findall(rf" {name}: started, process (\d+)", self.said)]

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("DAGSTER_HOME") != str(self.home):
                    continue
                if process.status() != psutil.STATUS_ZOMBIE and process.pid != self.process.pid:
                    found.append(process)
            except psutil.Error:  # somebody else's, or gone meanwhile
                continue
        return found

    def url(self, name: str) -> str:
        found = re.search(rf"{name}: +(http://\S+)", self.said)
        assert found is not None, self.said
        return found[1]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Another command in the same folder."""
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def started(folder: Path, *arguments: str, **settings: str) -> Iterator[Up]:
    up = Up(folder, *arguments, settings=settings)
    try:
        yield up
    finally:
        for process in [*up.processes(), up.process]:  # none, unless a test has failed
            process.kill()
        up.process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that is set up, with one brand to sync."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dagster.yaml", "workspace.yaml"):
        (folder / name).write_bytes((PROJECT / name).read_bytes())
    environment = without_settings()
    subprocess.run([COMMAND, "setup"], check=True, cwd=folder, env=environment, capture_output=True)
    (folder / "token").write_text(TOKEN)
    account = AccountSpec(id="act_41", name="act_41", ad_count=4)
    world = World(accounts=(account,), tokens=(TokenSpec(TOKEN),), anchor=utcnow().date())
    with SimulatorServer(world, report_seconds=0.02) as simulator:
        source = {
            "ad_accounts": [account.id],
            "token": f"file:{folder / 'token'}",
            "graph_url": simulator.url,
        }
        data = {"id": "acme", "name": "acme", "timezone": "UTC", "sources": {"meta": source}}
        engine = build_engine(f"sqlite:///{folder / '.dagster' / 'pipeline_assets.db'}")
        add_brand(engine, parse_brand(data), actor="test", now=utcnow())
        engine.dispose()
        yield folder


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Up]:
    with started(folder, PIPELINE_WEB_PORT=str(free_port(0))) as up:
        up.wait_for(lambda: "Ready." in up.said)
        yield up


def is_served(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def test_it_prints_addresses_that_answer_and_the_processes(up: Up) -> None:
    assert is_served(f"{up.url('Pages and API')}/healthz")
    assert up.url("Pages and API").endswith(f":{up.environment['PIPELINE_WEB_PORT']}")
    assert is_served(f"{up.url('Dagster.s web UI')}/server_info")
    assert {pid for name in PROCESSES for pid in up.pids(name)} <= {
        process.pid for process in up.processes()
    }


@pytest.mark.parametrize("name", PROCESSES)
def test_a_sync_that_was_asked_for_when_one_was_killed_succeeds(up: Up, name: str) -> None:
    killed = up.pids(name)[-1]
    os.kill(killed, signal.SIGKILL)
    sync = up.start("sync", "acme", "--dataset", "meta_ad_creatives", "--wait")
    output, _ = sync.communicate(timeout=SECONDS)
    assert sync.returncode == 0, output.decode() + up.said
    up.wait_for(lambda: up.pids(name)[-1] != killed)
    assert f" {name}: was ended by SIGKILL after " in up.said
    up.wait_for(lambda: is_served(f"{up.url('Pages and API')}/healthz"))
    up.wait_for(lambda: is_served(f"{up.url('Dagster.s web UI')}/server_info"))


def test_a_second_one_is_refused_while_it_runs(up: Up) -> None:
    before = up.said
    second = up.start("up")
    output, _ = second.communicate(timeout=SECONDS)
    assert up.said == before
    assert second.returncode == 1
    assert b"is running for" in output


def test_after_the_deaths_doctor_finds_daemon_and_sensors_well(up: Up) -> None:
    def wrong() -> set[str]:
        output, _ = up.start("doctor", "--json").communicate(timeout=SECONDS)
        answers = json.loads(output)
        return {each["name"] for each in answers if each["is_ok"] is False}

    up.wait_for(lambda: not wrong() & {"daemon", "automation", "projection", "requests"})


def test_what_a_killed_one_left_running_is_ended_by_the_next_which_ends_everything(
    up: Up, folder: Path
) -> None:
    up.process.kill()
    up.process.wait()
    left = {process.pid for process in up.processes()}
    assert {up.pids(name)[-1] for name in PROCESSES} <= left
    with started(folder, "--no-web") as again:
        again.wait_for(lambda: "Ready." in again.said)
        assert not left & {process.pid for process in again.processes()}
        assert again.pids("web") == []
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(SECONDS) == 0
        assert again.processes() == []
        assert again.said.rstrip().endswith("Stopping …")
        for file in (again.home / "process-logs").glob("*.log"):
            assert "Traceback" not in file.read_text() or "previous" in file.name, file


def test_a_process_that_cannot_start_ends_it_with_the_end_of_its_output(folder: Path) -> None:
    with started(folder, "--no-web", PYTHONPATH=str(folder / "broken")) as up:
        assert up.process.wait(SECONDS) == 1
        assert up.processes() == []
    assert "Error: code server ended by itself:" in up.said
    assert "No definitions today." in up.said
    assert f"All of its output is in {up.home}/process-logs/code-server.log." in up.said


def test_plain_dagster_dev_finds_our_code_too(folder: Path) -> None:
    port = free_port(0)
    settings = {"DAGSTER_HOME": str(folder / ".dagster")}
    with (
        (folder / "dev.log").open("wb") as log,
        interrupted_by(signal.SIGINT),
        subprocess.Popen(
            [COMMAND.with_name("dagster"), "dev", "--port", str(port)],
            cwd=folder,
            env={**without_settings(), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as dev,
    ):
        deadline = time.monotonic() + SECONDS
        fields = "nodes { location { name } }"
        query = f"{{ repositoriesOrError {{ ... on RepositoryConnection {{ {fields} }} }} }}"
        nodes = None
        while not nodes:
            assert dev.poll() is None, (folder / "dev.log").read_text()
            assert time.monotonic() < deadline, (folder / "dev.log").read_text()
            with suppress(requests.ConnectionError):
                url = f"http://127.0.0.1:{port}/graphql"
                answer = requests.post(url, json={"query": query}, timeout=60).json()
                nodes = answer["data"]["repositoriesOrError"]["nodes"]
            time.sleep(0.2)
        dev.send_signal(signal.SIGINT)
    assert [node["location"]["name"] for node in nodes] == ["pipeline_assets"]


@pytest.fixture(scope="module", autouse=True)
def broken_module(folder: Path) -> None:
    """Something that the definitions import and that fails, for who looks there first."""
    broken = folder / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys\nif 'grpc' in sys.argv: sys.exit('No definitions today.')\n"
    )
