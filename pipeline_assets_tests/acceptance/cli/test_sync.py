"""`pipeline-assets sync` and everything that waits: with a real Dagster, and without any.

One Dagster serves all tests that need one; what they look at happens side by side in it.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.cli.processes import Processes
from pipeline_assets.clock import utcnow
from pipeline_assets.control.dagster_log import DAEMON_SILENCE
from pipeline_assets.datasets import JOBS
from pipeline_assets.simulator.faults import Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.tables import requests

if TYPE_CHECKING:
    from conftest import CommandLine

PROJECT = Path(__file__).parents[3]
COMMAND = Path(sys.executable).with_name("pipeline-assets")
TOKEN, EXPIRED = "EAAtokenOfTheSyncTests0123456789", "EAAexpiredTokenOfTheSyncTests0123"
ACCOUNTS = {"acme": "act_31", "globex": "act_32", "initech": "act_33", "umbrella": "act_34"}
HEALTHY, BAD_MEDIA, LOCKED_OUT, STUCK = ACCOUNTS
NO_MEDIA = Fault(kind=FaultKind.CDN_HTML, account=ACCOUNTS[BAD_MEDIA])
NO_REPORT = Fault(kind=FaultKind.REPORT_STUCK, account=ACCOUNTS[STUCK])
SECONDS = 300  # every wait ends as soon as what it waits for is there

Row = dict[str, Any]


@dataclass
class Started:
    """A command that runs, or has ended; its output goes to files."""

    process: subprocess.Popen[bytes]
    files: tuple[Path, Path]

    @property
    def out(self) -> str:
        return self.files[0].read_text()

    @property
    def err(self) -> str:
        return self.files[1].read_text()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def code(self) -> int:
        return self.process.wait(SECONDS)


@dataclass
class Installed:
    """A project's folder with Dagster running for it and a simulated Meta."""

    folder: Path
    settings: dict[str, str]
    simulator: SimulatorServer
    started: list[Started] = field(default_factory=list)

    def start(self, *arguments: str) -> Started:
        """Start a command."""
        name = self.folder / f"command-{len(self.started)}"
        files = (name.with_suffix(".out"), name.with_suffix(".err"))
        with files[0].open("wb") as out, files[1].open("wb") as err:
            process = subprocess.Popen(
                [COMMAND, *arguments],
                cwd=self.folder,
                env=without_settings() | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.started.append(Started(process, files))
        return self.started[-1]


def without_settings() -> dict[str, str]:
    """The environment without what it says to Dagster and us."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "PIPELINE_"))}


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def installed(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("project")
    home = folder / ".dagster"
    shutil.copytree(prepared_home, home)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    world = World(
        accounts=tuple(AccountSpec(id=each, name=each, ad_count=4) for each in ACCOUNTS.values()),
        tokens=(TokenSpec(TOKEN), TokenSpec(EXPIRED, expires_at=utcnow() - timedelta(days=1))),
        anchor=utcnow().date(),
    )
    faults = (NO_MEDIA, NO_REPORT)
    with SimulatorServer(world, report_seconds=0.02, faults=faults) as simulator:
        settings = {
            "DAGSTER_HOME": str(home),
            "PIPELINE_RETRY_BASE_SECONDS": "600",
            "PIPELINE_GRAPH_URL": simulator.url,
            "PIPELINE_ALLOW_PRIVATE_HOSTS": json.dumps([simulator.url.partition("://")[2]]),
            "SYNC_TOKEN": TOKEN,
            "SYNC_EXPIRED": EXPIRED,
        }
        register_brands(home)
        project = Installed(folder, settings, simulator)
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ.keys() - without_settings().keys():
                patch.delenv(name)
            for name, value in settings.items():
                patch.setenv(name, value)
            with Processes(home=home, folder=folder):
                yield project
                for each in project.started:
                    each.process.kill()  # all have ended, unless a test has failed
                    each.process.wait()


def register_brands(home: Path) -> None:
    engine = build_engine(f"sqlite:///{home / 'pipeline_assets.db'}")
    for brand, account in ACCOUNTS.items():
        token = "env:SYNC_EXPIRED" if brand == LOCKED_OUT else "env:SYNC_TOKEN"
        meta = {"ad_accounts": [account], "token": token}
        specified = {"id": brand, "name": brand, "timezone": "UTC", "sources": {"meta": meta}}
        add_brand(engine, parse_brand(specified), actor="test", now=utcnow())
    engine.dispose()


@pytest.fixture
def here(fresh: CommandLine, installed: Installed, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Commands within this process, in the folder of the running Dagster."""
    monkeypatch.chdir(installed.folder)
    fresh.settings |= installed.settings
    return fresh


@dataclass(frozen=True)
class Waited:
    """All the waiting commands of this module, started at once."""

    healthy: Started
    bad_media: Started
    locked_out: Started
    stuck: Started
    resync: Started


@pytest.fixture(scope="module")
def waited(installed: Installed) -> Waited:
    today = utcnow().date()
    window = (
        "--since",
        str(today - timedelta(days=60)),
        "--until",
        str(today - timedelta(days=31)),
    )
    return Waited(
        healthy=installed.start("sync", HEALTHY, "--reason", "tests", "--wait"),
        bad_media=installed.start("sync", BAD_MEDIA, "--wait", "--json"),
        locked_out=installed.start("sync", LOCKED_OUT, "--wait"),
        stuck=installed.start("sync", STUCK, "--dataset", "meta_ads_performance", "--wait"),
        resync=installed.start("resync", HEALTHY, *window, "--wait", "--json"),
    )


def test_a_sync_that_is_waited_for_shows_its_way_and_its_outcome(waited: Waited) -> None:
    assert waited.healthy.code == 0, waited.healthy.err
    out, err = waited.healthy.out, waited.healthy.err
    assert err.startswith(f"Queued meta_sync for {HEALTHY} (request ")
    assert f"{HEALTHY} meta_sync: running" in err
    for key in JOBS["meta_sync"].datasets:
        assert f" {key}: succeeded " in err
        (line,) = [line for line in out.split("\n") if line.startswith(f"{key} ")]
        assert line.split()[1] == "succeeded"
        assert int(line.split()[2]) > 0
    assert ": succeeded after " in out.rstrip("\n").split("\n")[-1]
    assert "Next try" not in out


def test_a_failure_that_no_try_can_mend_says_what_to_do_and_is_not_tried_again(
    waited: Waited,
) -> None:
    assert waited.locked_out.code == 4, waited.locked_out.err
    out = waited.locked_out.out
    assert "\nCredentialError in meta_ads_performance, meta_ad_creatives\n  Meta refuses" in out
    assert "\n  What to do: Make a new token" in out
    assert "Next try" not in out
    assert EXPIRED not in out + waited.locked_out.err


def test_a_wish_that_a_waiting_try_serves_hurries_it_and_history_shows_one_chain(
    installed: Installed, waited: Waited, here: CommandLine
) -> None:
    assert waited.bad_media.code == 3, waited.bad_media.err
    first = waited.bad_media.json
    failed = [each["dataset"] for each in first["progress"] if each["outcome"] == "failed"]
    assert failed == ["ad_thumbnails", "ad_assets"]
    wait = instant(first["retry"]["not_before"]) - instant(first["finished_at"])
    assert timedelta(seconds=540) <= wait <= timedelta(seconds=660)
    when = f"{instant(first['retry']['not_before']):%Y-%m-%d %H:%M:%S} UTC"
    shown = here.done("requests", "show", first["id"][:8]).out
    assert f"\nNext try at {when}, of ad_thumbnails, ad_assets (request " in shown

    installed.simulator.faults.clear()
    installed.simulator.faults.add(NO_REPORT)  # the stuck brand may not have begun yet
    second = here("sync", BAD_MEDIA, "--dataset", "ad_assets", "--wait")
    assert second.code == 0, second.err
    assert second.err.startswith(f"Was waiting for its next try at {when}: now it comes at once")
    assert "ad_assets: succeeded" in second.err
    (chain,) = here.done("history", "--brand", BAD_MEDIA, "--json").json
    assert (chain["chain_id"], chain["state"], chain["tries"]) == (first["id"], "succeeded", 2)
    assert set(chain["outcomes"].values()) == {"succeeded"}
    assert chain["error_class"] is None
    assert len(set(chain["run_ids"])) == 2


def test_a_running_sync_can_be_joined_left_and_cancelled(
    installed: Installed, waited: Waited, here: CommandLine
) -> None:
    def stuck_request() -> Row | None:
        stored = here.done("requests", "list", "--brand", STUCK, "--json").json
        return next((request for request in stored if request["state"] == "running"), None)

    request = wait_for(stuck_request)
    short = request["id"][:8]
    told = here.done("sync", STUCK).out
    assert told.startswith("Already running since ")
    assert f"(request {short})" in told
    assert "It has begun without meta_ad_creatives, ad_thumbnails" in told
    assert "daemon is not running" not in told

    timed_out = here("sync", STUCK, "--wait", "--timeout", "0.5", "--json")
    assert (timed_out.code, timed_out.out) == (1, "")
    assert f"Error: After 0.5 s request {short} has not ended; it goes on.\n" in timed_out.err

    left = installed.start("sync", STUCK, "--wait")
    wait_for(lambda: f"{STUCK} meta_sync: running" in left.err)
    left.process.send_signal(signal.SIGINT)
    assert (left.code, left.out) == (130, "")
    assert f"No longer waiting; request {short} goes on." in left.err
    assert f"`pipeline-assets requests cancel {short}` ends it." in left.err

    cancelled = here.done("requests", "cancel", request["id"][:6]).out
    assert cancelled.startswith(f"meta_sync for {STUCK} (request {short}) is ")
    assert "cancelled" in cancelled  # or being cancelled, when its run takes a moment to stop
    assert waited.stuck.code == 5, waited.stuck.err
    assert "cancelled after " in waited.stuck.out


def test_a_resync_that_is_waited_for_does_all_its_pieces(waited: Waited, here: CommandLine) -> None:
    assert waited.resync.code == 0, waited.resync.err
    ended = waited.resync.json
    assert (ended["state"], ended["done_days"], ended["total_days"]) == ("succeeded", 30, 30)
    assert ended["finished_at"] is not None
    assert "░░ 0 of 30 days\n" in waited.resync.err
    assert "██████████████████░░ 28 of 30 days\n" in waited.resync.err
    pieces = [
        (each["window_since"], each["window_until"], each["state"])
        for each in here.done("requests", "list", "--brand", HEALTHY, "--json").json
        if each["resync_id"] == ended["id"]
    ]
    first, until = ended["since"], ended["until"]
    middle = datetime.fromisoformat(until).date() - timedelta(days=27)
    assert pieces == [
        (first, str(middle - timedelta(days=1)), "succeeded"),
        (str(middle), until, "succeeded"),
    ]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def add_acme(cli: CommandLine) -> None:
    options = ("--timezone", "UTC", "--ad-account", "act_31", "--token", "env:SYNC_TOKEN")
    cli.done("brands", "add", "acme", *options)


def change_request(cli: CommandLine, **values: Any) -> None:
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    with write_transaction(engine) as connection:
        connection.execute(requests.update().values(values))
    engine.dispose()


def beat(cli: CommandLine, *, at: datetime) -> None:
    """Leave the sign of life of a daemon that runs, or ran, at an instant."""
    with cli.environment(DAGSTER_HOME=str(cli.home)), dg.DagsterInstance.get() as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), "SENSOR", None))


def test_without_dagster_a_wish_is_stored_and_says_how_to_start_it(cli: CommandLine) -> None:
    add_acme(cli)
    told = cli.done("sync", "acme", "--reason", "new campaign").out
    (request,) = cli.done("requests", "list", "--json").json
    assert (request["state"], request["job"], request["trigger"]) == (
        "queued",
        "meta_sync",
        "manual",
    )
    assert (request["reason"], request["datasets"]) == ("new campaign", None)
    assert request["requested_by"].startswith("cli")
    short = request["id"][:8]
    assert told.startswith(f"Queued meta_sync for acme (request {short}).\n")
    assert "Dagster's daemon is not running: it waits until that is. Start everything with" in told
    assert f"`pipeline-assets requests show {short}`" in told
    assert f"`pipeline-assets requests cancel {short}`" in told

    again = cli.done("sync", "acme", "meta_sync", "--json").json
    assert (again["id"], again["is_new"], again["is_daemon_alive"]) == (request["id"], False, False)
    assert again["waits_for"] == "Dagster to start it"


def test_with_a_daemon_it_says_what_it_waits_for(cli: CommandLine) -> None:
    add_acme(cli)
    beat(cli, at=utcnow())
    assert "\nIt waits for Dagster to start it.\n" in cli.done("sync", "acme").out
    told = cli.done("sync", "acme", "ad_classification").out
    assert "\nIt waits for 1 before it.\n" in told
    assert cli.done("sync", "acme", "ad_classification").out.startswith("Already queued since ")
    told = cli.done("sync", "acme", "full_sync").out  # acme has not configured all of it
    assert "begun without" not in told


def test_only_the_datasets_that_are_named_are_asked_for(cli: CommandLine) -> None:
    add_acme(cli)
    options = ("--dataset", "ad_assets", "--dataset", "ad_thumbnails")
    assert cli.done("sync", "acme", *options, "--json").json["datasets"] == [
        "ad_thumbnails",
        "ad_assets",
    ]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"state": "running", "started_at": datetime(2026, 7, 25, 14, 3, tzinfo=UTC)},
         "Already running since 2026-07-25 14:03:00 UTC, asked for by cli"),
        ({"state": "launched"}, "Already launched, asked for by cli"),
        ({"attempt": 2, "not_before": datetime(2036, 7, 25, 14, 3, tzinfo=UTC)},
         "Was waiting for its next try at 2036-07-25 14:03:00 UTC: now it comes at once"),
        ({"not_before": datetime(2036, 7, 25, 14, 3, tzinfo=UTC)},
         "Was waiting for 2036-07-25 14:03:00 UTC to begin: now it comes at once"),
    ],
)  # fmt: skip
def test_a_wish_that_is_there_already_tells_how_it_is(
    cli: CommandLine, state: Row, told: str
) -> None:
    add_acme(cli)
    first = cli.done("sync", "acme", "--json").json
    change_request(cli, **state)
    again = cli.done("sync", "acme").out
    assert again.startswith(told)
    assert f"(request {first['id'][:8]})" in again


def test_waiting_without_dagster_ends_at_once_and_the_request_stays(cli: CommandLine) -> None:
    add_acme(cli)
    waited = cli("sync", "acme", "--wait", "--json")
    (request,) = cli.done("requests", "list", "--json").json
    assert (waited.code, waited.out, request["state"]) == (1, "", "queued")
    short = request["id"][:8]
    assert f"Error: Dagster's daemon is not running: request {short} waits until it is.\n" in (
        waited.err
    )
    assert "Start everything with `pipeline-assets up`" in waited.err


def test_waiting_ends_when_the_daemon_has_fallen_silent(cli: CommandLine) -> None:
    add_acme(cli)
    beat(cli, at=utcnow() - DAEMON_SILENCE + timedelta(seconds=3))
    began = time.monotonic()
    waited = cli("sync", "acme", "--wait")
    assert (waited.code, waited.out) == (1, "")
    assert "acme meta_sync: queued, waits for Dagster to start it\n" in waited.err
    assert "Error: Dagster's daemon is not running" in waited.err
    assert time.monotonic() - began > 0.7  # not at the first look


def test_on_a_terminal_one_table_is_kept_current(cli: CommandLine) -> None:
    add_acme(cli)
    beat(cli, at=utcnow())
    ours, terminal = pty.openpty()
    process = cli.start("sync", "acme", "--wait", stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = b""
    while b"waits for Dagster" not in shown:
        shown += os.read(ours, 4096)
    assert b"acme meta_sync  queued, waits for Dagster" in shown
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # which is how a terminal ends
        while True:
            shown += os.read(ours, 4096)
    out, _ = process.communicate(timeout=SECONDS)
    os.close(ours)
    assert (process.returncode, out) == (130, b"")
    assert b"No longer waiting; request " in shown
    assert cli.done("requests", "list", "--json").json[0]["state"] == "queued"


def test_what_cannot_be_synced_is_refused_with_what_can(cli: CommandLine) -> None:
    add_acme(cli)
    cli.done("brands", "add", "sourceless", "--timezone", "UTC")
    assert "Did you mean acme?" in cli.refused("sync", "acmee")
    assert "Did you mean meta_sync?" in cli.refused("sync", "acme", "metasync")
    assert "has no source reddit" in cli.refused("sync", "acme", "reddit_research")
    refusal = cli.refused("sync", "acme", "--dataset", "scorecard")
    assert "'scorecard' is not a dataset of meta_sync.\nIts datasets are meta_ads" in refusal
    assert "has no source meta" in cli.refused("sync", "sourceless")
    assert cli.done("requests", "list", "--json").json == []
    wrong = cli("sync", "acme", "--timeout", "5")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--timeout needs --wait." in wrong.err
