"""A real server on a real port, with two organizations and people of every role.

The loop beside the routes does not run: a test that needs it calls `site.background.beat()`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from fastapi import FastAPI
from pydantic import SecretStr

from pipeline_assets.brands.models import parse_brand, parse_organization
from pipeline_assets.brands.registry import add_brand, add_organization
from pipeline_assets.people import passwords
from pipeline_assets.people.roles import Role
from pipeline_assets.people.sign_in import sign_in
from pipeline_assets.people.tokens import create_token
from pipeline_assets.people.users import add_user
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import ColumnType, TableSchema
from pipeline_assets.settings import Settings
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, dataset_attempts, dataset_status
from pipeline_assets.web.app import build_app
from pipeline_assets.web.background import Background
from pipeline_assets.web.context import Context
from pipeline_assets.web.identity import CSRF_HEADER, SESSION_COOKIE

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
PASSWORD = "a password for tests"


@dataclass
class Clock:
    """The time that the server believes in."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **span: float) -> None:
        self.now += timedelta(**span)


class Client(httpx.Client):
    """Asks the server, as somebody or as nobody."""

    def page(self, path: str, **params: Any) -> str:
        """The HTML of a page that is there."""
        answer = self.get(path, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.text


@dataclass(frozen=True)
class Server:
    """A running server; `app.state.context` is what its routes work with."""

    app: FastAPI
    url: str


@dataclass
class Site:
    """The server and ways to ask it. Brands: `acme` and `globex` of north, `rival` of south."""

    installation: Installation
    clock: Clock
    url: str
    background: Background
    clients: list[Client] = field(default_factory=list)

    @property
    def engine(self) -> Any:
        return self.installation.engine

    def anonymous(self) -> Client:
        # Plain HTTP: loading certificates would take longer than all else.
        client = Client(base_url=self.url, timeout=20, verify=False)
        self.clients.append(client)
        return client

    def person(self, role: Role, organization: str = "north") -> Client:
        """A browser in which somebody with this role is signed in; changes carry the CSRF token."""
        email = f"{role}@{organization.replace('*', 'every')}.example"
        add_user(
            self.engine,
            email=email,
            name=f"{role} of {organization}",
            password=PASSWORD,
            roles={organization: role},
            actor="test",
            now=self.clock.now,
        )
        return self.browser(email)

    def browser(self, email: str) -> Client:
        session = sign_in(
            self.engine,
            email=email,
            password=PASSWORD,
            address="127.0.0.1",
            user_agent="tests",
            now=self.clock.now,
        )
        client = self.anonymous()
        client.cookies.set(SESSION_COOKIE, session.token)
        client.headers[CSRF_HEADER] = session.csrf_token
        return client

    def program(self, role: Role, organization: str = "north") -> Client:
        """A program with a token of this role."""
        _, secret = create_token(
            self.engine,
            name=f"{role}-{organization}",
            organization_id=organization,
            role=role,
            expires_at=None,
            actor="test",
            now=self.clock.now,
        )
        client = self.anonymous()
        client.headers["Authorization"] = f"Bearer {secret}"
        return client

    def add_brand(self, brand_id: str, organization: str = "north", **fields: Any) -> None:
        specified = {
            "id": brand_id,
            "organization_id": organization,
            "name": brand_id.title(),
            "timezone": "UTC",
            "sources": {"meta": {"ad_accounts": ["act_1"], "token": "env:TOKEN_OF_TESTS"}},
        } | fields
        add_brand(self.engine, parse_brand(specified), actor="test", now=self.clock.now)

    def store_status(self, brand_id: str, dataset: str, **values: Any) -> None:
        """A row of `dataset_status`; a success an hour ago unless told otherwise."""
        hour_ago = self.clock.now - timedelta(hours=1)
        row = {
            "brand_id": brand_id,
            "dataset": dataset,
            "organization_id": "south" if brand_id == "rival" else "north",
            "last_attempt_run_id": "run-1",
            "last_attempt_started_at": hour_ago,
            "last_attempt_ended_at": hour_ago,
            "last_attempt_outcome": "succeeded",
            "last_success_run_id": "run-1",
            "last_success_at": hour_ago,
            "records_affected": 12,
        } | values
        with write_transaction(self.engine) as connection:
            connection.execute(dataset_status.insert().values(row))

    def store_rows(
        self, schema: TableSchema, *rows: dict[str, Any], brand_id: str = "acme"
    ) -> None:
        """Rows of a dataset's table from the values that matter; the rest is empty or nothing."""
        nothing = {
            column.name: None if column.nullable else self._nothing(column.type)
            for column in schema.columns
        }
        full = [nothing | {"brand_id": brand_id, "ad_account_id": "act_1"} | row for row in rows]
        names = schema.column_names
        with write_transaction(self.engine) as connection:
            connection.execute(
                DATASET_TABLES[schema.name].insert(),
                [{name: row[name] for name in names} for row in full],
            )

    def _nothing(self, kind: ColumnType) -> object:
        now = self.clock.now
        return {
            ColumnType.TEXT: "",
            ColumnType.DATE: now.date(),
            ColumnType.TIMESTAMP: now,
            ColumnType.JSON: [],
            ColumnType.BOOLEAN: False,
        }.get(kind, 0)

    def store_attempt(self, brand_id: str, dataset: str, run_id: str, **values: Any) -> None:
        row = {"brand_id": brand_id, "dataset": dataset, "run_id": run_id} | values
        with write_transaction(self.engine) as connection:
            connection.execute(dataset_attempts.insert().values(row))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """All routes behind a real port, in turn for each test of a module.

    To put the routes together takes longer than most tests; what belongs to an installation is in
    the context alone.
    """
    app = build_app()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, lifespan="off", log_level="error", ws="none"
    )
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    yield Server(app, f"http://127.0.0.1:{socket.getsockname()[1]}")
    server.should_exit = True
    thread.join(timeout=20)
    assert not thread.is_alive()
    socket.close()


@pytest.fixture
def site(
    server: Server,
    database_url: str,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """The server on each kind of database, one test run for each."""
    with served(server, database_url, tmp_path, clock, monkeypatch) as site:
        yield site


@pytest.fixture
def sqlite_site(
    server: Server,
    sqlite_url: str,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """The server on SQLite alone, for what has nothing to do with the database."""
    with served(server, sqlite_url, tmp_path, clock, monkeypatch) as site:
        yield site


@pytest.fixture
def viewer(site: Site) -> Client:
    """A viewer's browser."""
    return site.person(Role.VIEWER)


@pytest.fixture
def nasty() -> str:
    """What somebody outside may have written: markup, turned letters, no end."""
    return "<script>alert(1)</script> \u202eevil\u202c 🎉 مرحبا " + "x" * 10_000


@contextmanager
def served(
    server: Server,
    database_url: str,
    folder: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """An installation of its own, with organizations and brands, which the server serves."""
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    cheapest = PasswordHasher.from_parameters(CHEAPEST)  # argon2's own profile for tests
    monkeypatch.setattr(passwords, "_HASHER", cheapest)
    installation = Installation(Settings(database_url=SecretStr(database_url)))
    background = Background(installation, now=clock)
    server.app.state.context = Context(installation, background, clock)
    site = Site(installation, clock, server.url, background)
    for organization in ("north", "south"):
        add_organization(
            site.engine,
            parse_organization({"id": organization, "name": organization.title()}),
            actor="test",
            now=clock.now,
        )
    for brand_id, organization in (("acme", "north"), ("globex", "north"), ("rival", "south")):
        site.add_brand(brand_id, organization)
    yield site
    for client in site.clients:
        client.close()
    background.stop()
    installation.engine.dispose()
