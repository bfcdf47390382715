"""The command line in a project folder of its own, in this process or as one of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipeline_assets.cli.main import run
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS

PROJECT = Path(__file__).parents[3]
COMMAND = Path(sys.executable).with_name("pipeline-assets")


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and all that it wrote to its two streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which has to be JSON as a whole."""
        return json.loads(self.out)


class CommandLine:
    """Runs commands in `folder`; `settings` are what the shell has exported."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.settings: dict[str, str] = {}
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Outcome:
        """Run a command in this process, with a fresh process's environment."""
        self._capsys.readouterr()
        with self.environment():
            code = run(arguments)
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    def done(self, *arguments: str) -> Outcome:
        """Run a command that has to succeed."""
        outcome = self(*arguments)
        assert (outcome.code, outcome.err) == (0, "")
        return outcome

    def refused(self, *arguments: str) -> str:
        """Run a command that has to fail as a person should see it; returns what it says."""
        outcome = self(*arguments)
        assert outcome.code == 1, outcome
        assert outcome.out == ""
        message, _, advice = outcome.err.removesuffix("\n").partition("\n")
        assert message.startswith("Error: ")
        assert message.endswith(".")
        assert "\n" not in advice
        assert "bug" not in message
        return outcome.err

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        """Start a command as a process of its own."""
        with self.environment():
            return subprocess.Popen([COMMAND, *arguments], cwd=self.folder, **streams)

    @property
    def home(self) -> Path:
        """The folder that is, or would become, DAGSTER_HOME."""
        return Path(self.settings.get("DAGSTER_HOME", self.folder / ".dagster"))

    def partitions(self) -> set[str]:
        """The brands that Dagster knows."""
        with self.environment(DAGSTER_HOME=str(self.home)), dg.DagsterInstance.get() as instance:
            return set(instance.get_dynamic_partitions(BRAND_PARTITIONS))

    @contextmanager
    def environment(self, **more: str) -> Iterator[None]:
        """The environment as the shell has it; what a command changes in it ends with it."""
        before = dict(os.environ)
        for name in before:
            if name.startswith(("DAGSTER_", "PIPELINE_")):
                del os.environ[name]
        os.environ.update(self.settings | more)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture
def fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """A project's folder, in which nothing has been done yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    monkeypatch.chdir(folder)
    return CommandLine(folder, capsys)


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAGSTER_HOME as the set-up leaves it, on SQLite; to be copied."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copy(PROJECT / "dagster.yaml", folder)
    names = [name for name in os.environ if name.startswith(("DAGSTER_", "PIPELINE_"))]
    environment = {name: value for name, value in os.environ.items() if name not in names}
    subprocess.run([COMMAND, "setup"], check=True, cwd=folder, env=environment, capture_output=True)
    return folder / ".dagster"


@pytest.fixture
def cli(fresh: CommandLine, prepared_home: Path, tmp_path: Path) -> CommandLine:
    """A project's folder that is set up, on SQLite."""
    shutil.copytree(prepared_home, tmp_path / "home")
    fresh.settings["DAGSTER_HOME"] = str(tmp_path / "home")
    return fresh


@pytest.fixture(params=["sqlite", "postgresql"])
def on_each_database(
    request: pytest.FixtureRequest, fresh: CommandLine, tmp_path: Path
) -> Iterator[CommandLine]:
    """A project's folder that is set up, one test run for each database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("cli")
        return
    with request.getfixturevalue("postgres_server").fresh_database("template0") as url:
        fresh.settings["PIPELINE_DATABASE_URL"] = url
        fresh.done("setup")
        yield fresh
