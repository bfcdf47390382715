"""Our server as a process of its own, on a database of many brands, with somebody signed in."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import sqlalchemy as sa

from benchmarks.control.sessions import temporary_folder
from benchmarks.control.tables import temporary_postgres
from pipeline_assets.cli.processes import web_command
from pipeline_assets.clock import utcnow
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.errors import CredentialError, PipelineError
from pipeline_assets.people.roles import EVERY, Role
from pipeline_assets.people.tokens import create_token
from pipeline_assets.people.users import add_user
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.migrations import upgrade
from pipeline_assets.storage.tables import brands, dataset_status, requests

HOST = "127.0.0.1"
OUR_APP = "pipeline_assets.web.app:build_app"
COUNTING_APP = "benchmarks.web.app:build"

POLL = {"HX-Request": "true", "HX-Request-Type": "partial"}
"""What htmx sends when it asks for a page's live part alone."""

_EMAIL, _PASSWORD = "reader@agency.example", "a password for benchmarks"
_SOURCES = {"meta": {"ad_accounts": ["act_1"], "token": "env:NONE"}}


@dataclass(frozen=True)
class Answer:
    """What came back, and how long its last byte took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    milliseconds: float


class Browser:
    """One keep-alive connection to a server, by the cheapest client of the standard library."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=120)
        self.headers: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        """The answer, which must be a good one."""
        answer = self._ask("GET", path, None, headers)
        if answer.status not in {200, 304}:
            raise PipelineError(f"{path} was answered with {answer.status}: {answer.body[:300]!r}")
        return answer

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """The answer to a form."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, urlencode(fields).encode(), form | headers)

    def post_json(self, path: str, body: bytes) -> Answer:
        """The answer to a JSON body."""
        return self._ask("POST", path, body, {"Content-Type": "application/json"})

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        began = time.perf_counter()
        self._connection.request(method, path, body, {**self.headers, **headers})
        response = self._connection.getresponse()
        content = response.read()
        took = (time.perf_counter() - began) * 1_000
        return Answer(response.status, dict(response.getheaders()), content, took)


@dataclass(frozen=True)
class Server:
    """A running server's process and port."""

    process: subprocess.Popen[bytes]
    port: int

    def browse(self) -> Browser:
        """A browser that has not asked anything yet."""
        return Browser(self.port)

    def sign_in(self) -> Browser:
        """A browser in which the person whom `fill` has added is signed in."""
        browser = self.browse()
        answer = browser.post("/sign-in", {"email": _EMAIL, "password": _PASSWORD})
        if answer.status != 303:
            raise PipelineError(f"Signing in was answered with {answer.status}: {answer.body!r}")
        browser.headers["Cookie"] = answer.headers["set-cookie"].partition(";")[0]
        return browser

    @property
    def cpu_seconds(self) -> float:
        """What the process has used so far, all of its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_mb(self) -> float:
        """Memory that the process holds now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def databases() -> Iterator[Mapping[str, str]]:
    """Where new databases may be made, by kind; the environment holds no other settings."""
    with temporary_folder() as folder, temporary_postgres(folder) as postgres_url:
        folder.chmod(0o755)  # the PostgreSQL server is another user's
        yield {"SQLite": f"sqlite:///{folder}", "PostgreSQL": postgres_url}


@contextmanager
def new_database(url: str, name: str) -> Iterator[str]:
    """The address of a new database of this name."""
    if url.startswith("sqlite"):
        yield f"{url}/{name}.db"
        return
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    server.dispose()
    yield sa.make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def serve(database_url: str, *, app: str = COUNTING_APP) -> Iterator[Server]:
    """Our server on this database, started as `pipeline-assets up` does.

    Raises:
        PipelineError: it does not answer within a minute.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        (Path(home) / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        environment = {"DAGSTER_HOME": home, "PIPELINE_DATABASE_URL": database_url}
        with run_server(server_command(port, app), port, environment, folder=home) as server:
            yield server


def server_command(port: int, app: str) -> list[str]:
    """How `pipeline-assets up` starts our server, with this app in it."""
    return [app if part == OUR_APP else part for part in web_command(HOST, port)]


@contextmanager
def run_server(
    command: Sequence[str], port: int, environment: Mapping[str, str], *, folder: str
) -> Iterator[Server]:
    """A server's process in a folder without an `.env`, from its first answer on.

    Raises:
        PipelineError: it does not answer within a minute.
    """
    with tempfile.NamedTemporaryFile("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 60
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise PipelineError(f"No server: {Path(log.name).read_text()[-2_000:]}")
                time.sleep(0.1)
            yield Server(process, port)
        finally:
            process.terminate()
            process.wait(timeout=60)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def fill(database_url: str, *, brand_count: int) -> str:
    """Store brands with all that pages tell of them, and a person; returns a token that reads all.

    Seven of ten cells are fresh; of the others each state has its part. One brand in twenty is
    being synced.
    """
    now = utcnow()
    names = brand_names(brand_count)
    engine = build_engine(database_url)
    upgrade(engine)
    with write_transaction(engine) as connection:
        connection.execute(brands.insert(), [_brand(name, now) for name in names])
        connection.execute(
            dataset_status.insert(),
            [
                _status(name, dataset, number + place, now)
                for number, name in enumerate(names)
                for place, dataset in enumerate(DATASETS)
            ],
        )
        connection.execute(requests.insert(), [_request(name, now) for name in names[::20]])
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")
    add_reader(engine)
    _, secret = create_token(
        engine,
        name="benchmark",
        organization_id=EVERY,
        role=Role.EMBED,
        expires_at=None,
        actor="benchmark",
        now=now,
    )
    engine.dispose()
    return secret


def add_reader(engine: sa.Engine) -> None:
    """Add the person as whom `Server.sign_in` signs in."""
    add_user(
        engine,
        email=_EMAIL,
        name="Reader",
        password=_PASSWORD,
        roles={EVERY: Role.ADMIN},
        actor="benchmark",
        now=utcnow(),
    )


def poll_path(browser: Browser) -> str:
    """What the open Health page asks for again and again."""
    page = browser.get("/").body.decode()
    return page.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")


def brand_names(count: int) -> list[str]:
    """The ids of the brands that `fill` stores."""
    return [f"brand-{number:05}" for number in range(count)]


def _brand(name: str, now: datetime) -> dict[str, object]:
    return {
        "id": name,
        "organization_id": "default",
        "name": f"Brand {name[-5:]} Shoes & Bags",
        "timezone": "Europe/Paris",
        "sources": _SOURCES,
        "windows": {},
        "created_at": now,
        "updated_at": now,
    }


_AGES_OF_ALLOWED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.5, 0.3)
"""Share of the allowed age that cells have used, in turn; the last one's latest attempt failed."""


def _status(name: str, dataset: str, number: int, now: datetime) -> dict[str, object]:
    allowed = DATASETS[dataset].fail_after or timedelta(days=1)
    succeeded = now - allowed * _AGES_OF_ALLOWED[number % len(_AGES_OF_ALLOWED)]
    is_failed = number % len(_AGES_OF_ALLOWED) == len(_AGES_OF_ALLOWED) - 1
    return {
        "brand_id": name,
        "dataset": dataset,
        "organization_id": "default",
        "last_attempt_run_id": f"run-{name}",
        "last_attempt_started_at": succeeded,
        "last_attempt_ended_at": now - timedelta(minutes=9) if is_failed else succeeded,
        "last_attempt_outcome": "failed" if is_failed else "succeeded",
        "last_success_run_id": f"run-{name}",
        "last_success_at": succeeded,
        "records_affected": 1_000,
        "error_class": CredentialError.__name__ if is_failed else None,
        "error_message": "Meta refuses the token: it has expired." if is_failed else None,
        "advice": "Make a new token." if is_failed else None,
    }


def _request(name: str, now: datetime) -> dict[str, object]:
    return {
        "id": f"request-{name}",
        "organization_id": "default",
        "brand_id": name,
        "job": "meta_sync",
        "datasets": list(JOBS["meta_sync"].datasets),
        "state": "running",
        "trigger": "schedule",
        "requested_by": "schedule",
        "reason": "",
        "requested_at": now,
        "not_before": now,
        "priority": 0,
        "attempt": 1,
        "chain_id": f"request-{name}",
        "run_id": f"now-{name}",
        "started_at": now,
    }


def percentile(found: Sequence[float], share: float) -> float:
    """The value below which this share of the found ones lies; of the found ones, the next one."""
    return sorted(found)[min(len(found) - 1, int(len(found) * share))]


def python_module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module."""
    return [sys.executable, "-m", name, *arguments]
