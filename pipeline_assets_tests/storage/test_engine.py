"""Opening databases, transactions between processes, and what people are told when it fails."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any

import psycopg2
import pytest
from sqlalchemy import JSON, Engine, event, insert, select, text, type_coerce
from sqlalchemy.exc import IntegrityError

from pipeline_assets.errors import (
    DatabaseUnavailableError,
    InvalidConfigError,
    PipelineError,
    StorageFullError,
)
from pipeline_assets.storage import engine as engine_module
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.tables import organizations


def failure_of(url: str, statement: str = "SELECT 1") -> PipelineError:
    engine = build_engine(url)
    try:
        with pytest.raises(PipelineError) as caught, write_transaction(engine) as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
    assert "hunter22" not in f"{caught.value} {caught.value.advice} {caught.value.__cause__}"
    return caught.value


@pytest.fixture
def second_engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    yield engine
    engine.dispose()


def test_a_query_that_an_error_broke_off_keeps_nobody_from_writing(
    sqlite_url: str,
) -> None:
    engine, other = build_engine(sqlite_url), build_engine(sqlite_url)
    names = [{"id": f"o{number}", "name": "{broken"} for number in range(10)]
    with write_transaction(engine) as connection:
        connection.execute(insert(organizations), names)
    with pytest.raises(ValueError, match="JSON") as kept, engine.connect() as connection:
        list(connection.execute(select(type_coerce(organizations.c.name, JSON))))
    for each in (other, engine):
        with write_transaction(each) as connection:
            connection.execute(organizations.update().values(name="y"))
        each.dispose()
    assert kept.tb is not None, "it holds all that its frames hold"


def test_sqlite_is_set_up_for_several_processes(sqlite_url: str) -> None:
    engine = build_engine(sqlite_url)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "busy_timeout", "foreign_keys", "synchronous", "page_size")
        }
    engine.dispose()
    assert pragmas == {
        "journal_mode": "wal",
        "busy_timeout": 30_000,
        "foreign_keys": 1,
        "synchronous": 1,
        "page_size": 8192,
    }


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    # SQLite refuses the switch to WAL without waiting when another connection is amid it.
    def open_file(file: Path, barrier: threading.Barrier) -> str:
        engine = build_engine(f"sqlite:///{file}")
        barrier.wait()
        with write_transaction(engine) as connection:
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        engine.dispose()
        return str(mode)

    with ThreadPoolExecutor(8) as pool:
        for turn in range(15):
            barrier = threading.Barrier(8)
            opened = [pool.submit(open_file, tmp_path / f"{turn}.db", barrier) for _ in range(8)]
            assert [future.result() for future in opened] == ["wal"] * 8


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_uses_psycopg2(postgres_url: str, scheme: str) -> None:
    engine = build_engine(scheme + postgres_url[postgres_url.index("://") :])
    assert engine.url.drivername == "postgresql+psycopg2"
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://me:hunter22@host/db", "mysql is not a database this can use."),
        ("me:hunter22@host", "The database URL cannot be read."),
        ("postgresql://me:hunter22@host:port/db", "The database URL cannot be read."),
        ("sqlite://", "The SQLite database URL names no file."),
        ("sqlite:///:memory:", "The SQLite database URL names no file."),
    ],
)
def test_another_url_is_refused_with_what_is_possible(url: str, message: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        build_engine(url)
    assert str(caught.value) == message
    assert "sqlite:////path/file.db" in caught.value.advice


def write_and_fail(engine: Engine, *statements: str) -> None:
    with write_transaction(engine) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        raise ZeroDivisionError


def test_an_error_rolls_everything_back(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        write_and_fail(engine, "INSERT INTO organizations VALUES ('acme', 'Acme')")
    with engine.connect() as connection:
        assert connection.execute(select(organizations.c.id)).scalars().all() == ["default"]


def test_a_table_made_in_a_failed_transaction_is_gone(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        write_and_fail(engine, "CREATE TABLE halfway (id INTEGER)")
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE halfway (id INTEGER)")


def test_a_reader_sees_the_state_before_an_open_write(
    engine: Engine, second_engine: Engine
) -> None:
    with write_transaction(engine) as writer:
        writer.execute(insert(organizations).values(id="acme", name="Acme"))
        with second_engine.connect() as reader:
            assert reader.execute(select(organizations.c.id)).scalars().all() == ["default"]


def test_a_broken_constraint_stays_what_it_is(engine: Engine) -> None:
    with pytest.raises(IntegrityError), write_transaction(engine) as connection:
        connection.execute(insert(organizations).values(id="default", name="Twice"))


def test_two_processes_add_up_one_counter_without_losing_any(database_url: str) -> None:
    script = (
        "import sys\n"
        "from sqlalchemy import select, update\n"
        "from pipeline_assets.storage.engine import build_engine, write_transaction\n"
        "from pipeline_assets.storage.tables import organizations as table\n"
        "engine = build_engine(sys.argv[1])\n"
        "for _ in range(100):\n"
        "    with write_transaction(engine) as connection:\n"
        "        row = select(table.c.name).where(table.c.id == 'count').with_for_update()\n"
        "        count = int(connection.execute(row).scalar_one())\n"
        "        connection.execute(update(table).where(table.c.id == 'count')"
        ".values(name=str(count + 1)))\n"
        "engine.dispose()\n"
    )
    engine = build_engine(database_url)
    with write_transaction(engine) as connection:
        connection.execute(insert(organizations).values(id="count", name="0"))
    processes = [subprocess.Popen([sys.executable, "-c", script, database_url]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    with engine.connect() as connection:
        count = select(organizations.c.name).where(organizations.c.id == "count")
        assert connection.execute(count).scalar() == "200"
    engine.dispose()


def test_a_locked_file_is_named(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "SQLITE_BUSY_TIMEOUT_SECONDS", 0.05)
    file = sqlite_url.removeprefix("sqlite:///")
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    failure = failure_of(sqlite_url)
    holder.close()
    assert isinstance(failure, DatabaseUnavailableError)
    assert file in str(failure)
    assert "locked by another process" in str(failure)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    failure = failure_of(f"sqlite:///{tmp_path}/missing/a.db")
    assert isinstance(failure, InvalidConfigError)
    assert f"Create {tmp_path}/missing" in failure.advice


def test_a_folder_is_not_a_database_file(tmp_path: Path) -> None:
    failure = failure_of(f"sqlite:///{tmp_path}")
    assert isinstance(failure, InvalidConfigError)
    assert str(failure) == f"{tmp_path} is a folder, not a database file."


def test_another_kind_of_file_is_not_a_database(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no database " * 100)
    failure = failure_of(f"sqlite:///{file}")
    assert isinstance(failure, InvalidConfigError)
    assert str(failure) == f"The database file {file} is not a SQLite database."


def test_a_file_that_may_only_be_read_is_told(sqlite_url: str) -> None:
    file = sqlite_url.removeprefix("sqlite:///")
    failure = failure_of(f"sqlite:///file:{file}?mode=ro&uri=true", "CREATE TABLE x (id INTEGER)")
    assert isinstance(failure, InvalidConfigError)
    assert "may only be read" in str(failure)


def test_a_full_sqlite_disk_is_told_and_leaves_the_old_state(sqlite_url: str) -> None:
    engine = build_engine(sqlite_url)

    @event.listens_for(engine, "connect")
    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes what it has as the least

    with pytest.raises(StorageFullError, match="no room left"):
        write_and_fail(engine, "INSERT INTO organizations VALUES ('acme', zeroblob(1000000))")
    with engine.connect() as connection:
        assert connection.execute(select(organizations.c.id)).scalars().all() == ["default"]
    engine.dispose()


def test_a_full_postgresql_disk_is_told_and_leaves_the_old_state(
    postgres_server: Any, postgres_url: str
) -> None:
    engine = build_engine(postgres_url)
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE filling (id INTEGER)")
        path = connection.exec_driver_sql("SELECT pg_relation_filepath('filling')").scalar_one()
    engine.dispose()
    file = postgres_server.data_folder / path
    file.unlink()
    file.symlink_to("/dev/full")  # from here on every write to the table meets ENOSPC
    with pytest.raises(StorageFullError, match="no disk space left") as caught:
        write_and_fail(
            engine,
            "INSERT INTO organizations VALUES ('acme', 'Acme')",
            "INSERT INTO filling VALUES (1)",
        )
    assert "No space left on device" in str(caught.value)
    with engine.connect() as connection:
        assert connection.execute(select(organizations.c.id)).scalars().all() == ["default"]
    engine.dispose()


def test_a_server_that_is_not_there_can_be_tried_again() -> None:
    failure = failure_of("postgresql://me:hunter22@127.0.0.1:1/pipeline")
    assert isinstance(failure, DatabaseUnavailableError)
    assert "127.0.0.1:1/pipeline cannot be reached" in str(failure)
    assert "Connection refused" in str(failure)


def test_an_unknown_database_is_a_setting_to_correct(postgres_server: Any) -> None:
    failure = failure_of(postgres_server.url("nowhere"))
    assert isinstance(failure, InvalidConfigError)
    assert 'database "nowhere" does not exist' in str(failure)
    assert "PIPELINE_DATABASE_URL" in failure.advice


def test_a_connection_that_the_server_ended_can_be_tried_again(
    postgres_server: Any, postgres_url: str
) -> None:
    engine = build_engine(postgres_url)

    def end_all_connections() -> None:
        end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{}'"
        postgres_server.execute(end.format(engine.url.database))

    with engine.connect() as connection:
        end_all_connections()
        with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
            connection.execute(text("SELECT 1"))
    with engine.connect() as connection:  # heals by itself
        assert connection.execute(text("SELECT 1")).scalar() == 1
    end_all_connections()
    with engine.connect() as connection:  # a pooled connection is tried before it is given out
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_a_wrong_password_is_a_setting_to_correct_and_never_shown(
    postgres_server: Any, postgres_url: str
) -> None:
    folder: Path = postgres_server.data_folder
    run = postgres_server.execute
    access = (folder / "pg_hba.conf").read_text()
    role = f"guarded_{os.getpid()}"
    run(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    rule = f"local all {role} scram-sha-256\n"
    (folder / "pg_hba.conf").write_text(rule + access)
    run("SELECT pg_reload_conf()")
    url = postgres_url.replace("postgres:@", f"{role}:hunter22@")
    try:
        with suppress(psycopg2.OperationalError):
            while True:  # the server reads its new rules a moment later
                psycopg2.connect(url).close()
                sleep(0.01)
        failure = failure_of(url)
    finally:
        (folder / "pg_hba.conf").write_text(access)
        run("SELECT pg_reload_conf()")
        run(f"DROP ROLE {role}")
    assert isinstance(failure, InvalidConfigError)
    assert "password authentication failed" in str(failure)


def test_a_file_that_is_moved_away_is_missed_and_found_again(tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "a.db", tmp_path / "b.db"
    engine = build_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE words (word TEXT)")
        connection.exec_driver_sql("INSERT INTO words VALUES ('kept')")
    names = [f"{file}{end}" for end in ("", "-wal", "-shm")]
    moved = [f"{elsewhere}{end}" for end in ("", "-wal", "-shm")]
    for name, new in zip(names, moved, strict=True):
        if Path(name).exists():
            Path(name).rename(new)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailableError, match="is gone"), engine.connect():
            pass
    assert not file.exists(), "and no empty one takes its place"
    for name, new in zip(names, moved, strict=True):
        if Path(new).exists():
            Path(new).rename(name)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT word FROM words").scalar() == "kept"
    engine.dispose()


def test_a_file_that_takes_its_place_is_the_one_that_is_read(tmp_path: Path) -> None:
    file, copy = tmp_path / "a.db", tmp_path / "backup.db"
    for path, word in ((copy, "old"), (file, "new")):
        engine = build_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE words (word TEXT)")
            connection.exec_driver_sql(f"INSERT INTO words VALUES ('{word}')")  # noqa: S608
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("BEGIN")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT word FROM words").scalar() == "new"
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}").unlink(missing_ok=True)
    copy.rename(file)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT word FROM words").scalar() == "old"
    engine.dispose()
