"""Opens the database named by a URL, SQLite or PostgreSQL, with transactions that mean it.

An engine made here raises `errors.py`'s classes for a database that is missing, locked, full or
closed to us, whichever way it is used.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from pipeline_assets.errors import DatabaseUnavailableError, InvalidConfigError, PipelineError
from pipeline_assets.redaction import register_secret
from pipeline_assets.storage.column_types import decode_json, encode_json
from pipeline_assets.storage.failures import translate_driver_error

SQLITE_BUSY_TIMEOUT_SECONDS = 30.0
"""How long a writer waits for another process: longer than any write but a huge first sync's."""

_CONNECT_TIMEOUT_SECONDS = 5
"""How long to wait for a PostgreSQL host that does not answer at all."""

_MAX_OVERFLOW = 45
"""With the 5 that stay open as many as a server has threads, so that none waits for another."""

_WRITES = "pipeline_assets_writes"
_CURSORS = "pipeline_assets_cursors"


def build_engine(url: str) -> Engine:
    """An engine for `sqlite:///<file>`, `postgresql://…` or `postgres://…`; connects to nothing.

    Raises: InvalidConfigError for any other URL.
    """
    parsed = _parse_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    engine = create_engine(
        parsed,
        json_serializer=encode_json,
        json_deserializer=decode_json,
        hide_parameters=True,  # rows do not belong into logs
        pool_pre_ping=not is_sqlite,
        max_overflow=_MAX_OVERFLOW,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        if is_sqlite
        else {
            "options": "-c timezone=UTC",
            "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
        },  # the driver gives instants in the session's zone
    )
    if is_sqlite:
        file = _SqliteFile()
        event.listen(engine, "do_connect", file.check_present)
        event.listen(engine, "connect", file.note)
        event.listen(engine, "checkout", file.check_same)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "before_cursor_execute", _note_cursor)
        event.listen(engine, "reset", _close_cursors)
        event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _translate_error)
    return engine


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction that may write: committed at the end, rolled back by an error.

    On SQLite it takes the write lock at once (BEGIN IMMEDIATE): a transaction that reads first and
    writes later would fail as soon as another process wrote in between.
    """
    with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        yield connection


def dialect_insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT with `on_conflict_do_update` and `on_conflict_do_nothing`, on both databases."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidConfigError(  # the URL itself may hold a password
            "The database URL cannot be read.",
            advice="Write sqlite:////path/file.db, or postgresql://host/name with its user.",
        ) from error
    if parsed.password:
        register_secret(parsed.password)
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg2"}:
        return parsed.set(drivername="postgresql+psycopg2")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        if parsed.database in {None, "", ":memory:"}:
            raise InvalidConfigError(
                "The SQLite database URL names no file.",
                advice="Write it as sqlite:////path/file.db: several processes share the file.",
            )
        return parsed
    raise InvalidConfigError(
        f"{parsed.drivername} is not a database this can use.",
        advice="Use sqlite:////path/file.db, or postgresql://host/name with its user.",
    )


class _SqliteFile:
    """The database's file, which somebody may move away or replace while connections are open.

    They would go on with the file they have: nothing written would ever be found again.
    """

    def __init__(self) -> None:
        self._path: Path | None = None

    def check_present(self, *_: object) -> None:
        """Refuse to make an empty file where a database was.

        Raises: DatabaseUnavailableError.
        """
        if self._path is not None:
            _identity(self._path)

    def note(self, connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        """Remember which file the new connection has."""
        assert isinstance(connection, sqlite3.Connection)
        self._path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
        entry.info["file"] = _identity(self._path)

    def check_same(self, _: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
        """See that the connection's file is the one that the URL names; else connect anew.

        Raises: DatabaseUnavailableError when there is none.
        """
        if self._path is not None and entry.info["file"] != _identity(self._path):
            raise DisconnectionError("the database's file was replaced")


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DatabaseUnavailableError(
            f"The database file {path} is gone ({error.strerror}).",
            advice="Put it back, with its -wal file beside it; nothing has to be restarted.",
        ) from None
    return found.st_dev, found.st_ino


def _note_cursor(connection: Connection, cursor: DBAPICursor, *_: object) -> None:
    connection.info.setdefault(_CURSORS, WeakSet()).add(cursor)


def _close_cursors(_: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
    """End what was not read to its end, before somebody else gets the connection.

    A query that an error has broken off lives as long as the error is kept, a rollback does not end
    it, and all that time the connection sees the database as it was then, and can write no more.
    """
    for cursor in entry.info.get(_CURSORS, ()):
        cursor.close()


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None  # the driver begins nothing by itself: `_begin_sqlite` does
    cursor = connection.cursor()
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA page_size = 8192")  # rows with JSON of 2 KB would fill half a page
        _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")  # with WAL, a crash loses no consistency
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Once in a file's life; processes that do it at once are refused without waiting."""
    give_up_at = monotonic() + SQLITE_BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > give_up_at:
                raise
            sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _translate_error(context: ExceptionContext) -> PipelineError | None:
    if context.is_pre_ping or context.engine is None:  # the pool replaces the connection by itself
        return None
    return translate_driver_error(context.original_exception, context.engine.url)
