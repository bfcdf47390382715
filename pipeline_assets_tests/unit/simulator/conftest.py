"""A fixed world on a fixed morning, served over HTTP, and a small client of it."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import requests

from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, AdKind, TokenSpec, World

NOW = datetime(2026, 11, 21, 15, 7, tzinfo=UTC)
TOKEN = "EAATestTokenThatSeesEverything00000001"
NARROW_TOKEN = "EAATestTokenThatSeesOneAccount00000002"
EXPIRED_TOKEN = "EAATestTokenThatExpiredYesterday000003"
ACCOUNT = "act_1001"
KINDS = tuple(AdKind)


class Clock:
    """Time that moves only when told; `monotonic` counts the same seconds."""

    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return (self.instant - NOW).total_seconds()

    def advance(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


def build_world(**changes: Any) -> World:
    first = {"kinds": KINDS, "ad_count": 14, "currency": "EUR", "timezone": "Europe/Paris"}
    return World(
        (
            AccountSpec(id=ACCOUNT, name="Acme Europe", **{**first, **changes}),
            AccountSpec(
                id="act_2002", name="Tokyo", currency="JPY", timezone="Asia/Tokyo", ad_count=5
            ),
        ),
        tokens=(
            TokenSpec(TOKEN),
            TokenSpec(NARROW_TOKEN, accounts=("act_2002",)),
            TokenSpec(EXPIRED_TOKEN, expires_at=NOW - timedelta(days=1)),
        ),
        anchor=date(2026, 11, 16),
    )


class Client:
    """Calls the Graph API with a token in the header and keeps its connection."""

    def __init__(self, server: SimulatorServer, token: str = TOKEN) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.session.get(f"{self.server.url}/v26.0/{path}", params=params, timeout=10)

    def post(self, path: str, **data: Any) -> requests.Response:
        return self.session.post(f"{self.server.url}/v26.0/{path}", data=data, timeout=10)

    def data(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of a list."""
        response = self.get(path, **params)
        rows: list[dict[str, Any]] = response.json()["data"]
        while next_url := response.json().get("paging", {}).get("next"):
            response = self.session.get(next_url, timeout=10)
            rows += response.json()["data"]
        return rows

    def error(self, path: str, **params: Any) -> tuple[int, int, int | None]:
        """HTTP status, code and subcode."""
        return self.read_error(self.get(path, **params))

    @staticmethod
    def read_error(response: requests.Response) -> tuple[int, int, int | None]:
        error = response.json()["error"]
        return response.status_code, error["code"], error.get("error_subcode")


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Makes the fixed world, its first account with other traits."""
    return build_world


@pytest.fixture
def connect(server: SimulatorServer) -> Iterator[Callable[..., Client]]:
    """Makes clients of a server (the fixed world's by default) and closes them."""
    clients = []

    def make(to: SimulatorServer | None = None, *, token: str = TOKEN) -> Client:
        clients.append(Client(to or server, token))
        return clients[-1]

    yield make
    for each in clients:
        each.session.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start_server(clock: Clock) -> Iterator[Callable[..., SimulatorServer]]:
    servers = []

    def start(world: World | None = None, **options: Any) -> SimulatorServer:
        server = SimulatorServer(
            world or build_world(), now=clock.now, monotonic=clock.monotonic, **options
        )
        servers.append(server.start())
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server: Callable[..., SimulatorServer]) -> SimulatorServer:
    return start_server()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect()
