"""A real Dagster on a fresh installation: what holds for runs that were not started by us."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.cli.processes import LOCATION
from pipeline_assets.clock import utcnow
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.storage.tables import dataset_status
from pipeline_assets.storage.windows import read_rows

if TYPE_CHECKING:
    from conftest import Session

BIN = Path(sys.executable).parent
DATASET = "meta_ads_performance"
SECONDS = 200  # every wait ends as soon as what it waits for is there

Row = dict[str, Any]

_LAUNCH = """
mutation ($execution: ExecutionParams!) {
  launchRun(executionParams: $execution) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
  }
}"""
_RUN = """
query ($id: ID!) {
  runOrError(runId: $id) {
    ... on Run { status startTime endTime jobName tags { key value } }
  }
}"""
_PARTITIONS = """
query ($dataset: String!) {
  assetNodeOrError(assetKey: {path: [$dataset]}) { ... on AssetNode { partitionKeys } }
}"""


def launch_as_the_asset_page_does(session: "Session", brand: str) -> str:
    """A run of one asset for one brand; its id. The page sends no tag but the partition's."""
    selector = {
        "repositoryLocationName": LOCATION,
        "repositoryName": "__repository__",
        "jobName": "__ASSET_JOB",
        "assetSelection": [{"path": [DATASET]}],
    }
    tags = [{"key": "dagster/partition", "value": brand}]
    answer = session.ask(
        _LAUNCH,
        execution={
            "selector": selector,
            "mode": "default",
            "runConfigData": "{}",
            "executionMetadata": {"tags": tags},
        },
    )
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def read_run(session: "Session", run_id: str) -> Row:
    found: Row = session.ask(_RUN, id=run_id)
    return {**found, "tags": {tag["key"]: tag["value"] for tag in found["tags"]}}


def materialize(
    session: "Session", brand: str, config: Row | None = None
) -> subprocess.CompletedProcess[str]:
    """`dagster asset materialize` in the project's folder, as `make` has prepared it."""
    command = [BIN / "dagster", "asset", "materialize", "--select", DATASET]
    command += ["--partition", brand]
    command += ["--config-json", json.dumps(config)] if config else []
    module = {"DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME": "pipeline_assets.definitions"}
    return subprocess.run(
        command,
        check=False,
        cwd=session.folder,
        env={**os.environ, **module},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def days_of(session: "Session", brand: str) -> set[date]:
    """The days that the brand's performance table has rows of."""
    return {row["date"] for row in read_rows(session.engine, SCHEMAS[DATASET], brand_id=brand)}


class _AnotherDagster(BaseHTTPRequestHandler):
    """Answers the question whether its code is loaded as Dagster does."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = {"data": {"repositoriesOrError": {"nodes": [{"name": "theirs"}]}}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing on standard error."""


@contextmanager
def another_dagster(port: int) -> Iterator[None]:
    """Somebody else's Dagster, which has taken the port."""
    with ThreadingHTTPServer(("127.0.0.1", port), _AnotherDagster) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def installation(open_session: Callable[..., Any]) -> Iterator["Session"]:
    with open_session("acme", "globex") as session:
        yield session


@pytest.fixture(scope="module")
def taken_port(installation: "Session") -> Iterator[int]:
    """The port that was free when it was chosen, and is not any more."""
    port = installation.dagster.port
    with another_dagster(port):
        yield port


@pytest.fixture(scope="module")
def session(installation: "Session", taken_port: int) -> Iterator["Session"]:
    with installation.dagster:
        yield installation


@pytest.fixture(scope="module")
def known_brands(session: "Session") -> list[str]:
    def keys() -> list[str]:
        return sorted(session.ask(_PARTITIONS, dataset=DATASET)["partitionKeys"])

    session.wait_for(keys)
    return keys()


@dataclass(frozen=True)
class SideBySide:
    """Two runs of one brand and one of another, launched in this order at once."""

    first: Row
    second: Row
    other: Row
    second_while_the_others_ran: Row
    second_id: str


@pytest.fixture(scope="module")
def runs(session: "Session", known_brands: list[str]) -> SideBySide:
    assert known_brands
    session.gate.close()
    ids = [launch_as_the_asset_page_does(session, brand) for brand in ("acme", "acme", "globex")]

    def both_brands_await_a_report() -> bool:
        return all(session.reports_begun(brand) for brand in ("acme", "globex"))

    # The other brand's run came last into the queue: when it runs, the queue has passed the second.
    session.wait_for(both_brands_await_a_report)
    waiting = read_run(session, ids[1])
    session.gate.open()
    ended = {"SUCCESS", "FAILURE", "CANCELED"}
    session.wait_for(lambda: all(read_run(session, each)["status"] in ended for each in ids))
    first, second, other = (read_run(session, each) for each in ids)
    return SideBySide(first, second, other, waiting, ids[1])


def test_a_port_that_another_program_took_meanwhile_is_left_to_it(
    session: "Session", taken_port: int
) -> None:
    assert session.dagster.port != taken_port
    assert session.ask("{ version }") == dg.__version__


def test_a_brand_that_is_only_in_the_database_becomes_a_partition_by_itself(
    known_brands: list[str],
) -> None:
    assert known_brands == ["acme", "globex"]


def test_a_run_without_any_tag_of_ours_gets_its_lane_and_its_maximum_runtime(
    runs: SideBySide,
) -> None:
    for run, brand in ((runs.first, "acme"), (runs.second, "acme"), (runs.other, "globex")):
        assert run["status"] == "SUCCESS"
        assert run["jobName"] == "__ASSET_JOB"
        assert run["tags"]["pipeline/lane"] == f"{brand}:meta_sync"
        assert run["tags"]["dagster/max_runtime"] == "7200"


def test_a_brands_second_run_waits_in_the_queue_while_another_brands_runs(
    runs: SideBySide,
) -> None:
    assert runs.second_while_the_others_ran["status"] == "QUEUED"
    assert runs.second["startTime"] >= runs.first["endTime"]
    assert runs.other["startTime"] < runs.first["endTime"]
    assert runs.first["startTime"] < runs.other["endTime"]


def test_the_status_table_follows_without_anybody_asking(
    session: "Session", runs: SideBySide
) -> None:
    def success_of_the_second_run() -> sa.Row[Any] | None:
        query = sa.select(dataset_status).where(
            dataset_status.c.brand_id == "acme",
            dataset_status.c.last_success_run_id == runs.second_id,
        )
        with session.engine.connect() as connection:
            return connection.execute(query).one_or_none()

    session.wait_for(success_of_the_second_run)
    status = success_of_the_second_run()
    assert status is not None
    assert (status.dataset, status.last_attempt_outcome) == (DATASET, "succeeded")
    rows = read_rows(session.engine, SCHEMAS[DATASET], brand_id="acme")
    assert status.records_affected == len(rows) > 0


def test_plain_dagster_materializes_a_brand_and_the_config_is_its_window(
    session: "Session", runs: SideBySide
) -> None:
    assert runs
    before = days_of(session, "globex")
    today = utcnow().date()
    since, until = today - timedelta(days=60), today - timedelta(days=51)
    window = {"since": since.isoformat(), "until": until.isoformat()}
    result = materialize(session, "globex", {"ops": {DATASET: {"config": window}}})
    assert result.returncode == 0, result.stderr
    assert days_of(session, "globex") - before == {since + timedelta(days=n) for n in range(10)}
    assert before <= days_of(session, "globex")
    result = materialize(session, "globex")
    assert result.returncode == 0, result.stderr
    assert "ASSET_MATERIALIZATION" in result.stderr


def test_plain_dagster_refuses_a_brand_that_is_not_there_by_its_name(
    session: "Session", known_brands: list[str]
) -> None:
    assert "umbrella" not in known_brands
    result = materialize(session, "umbrella")
    assert result.returncode != 0
    assert "umbrella" in result.stderr
