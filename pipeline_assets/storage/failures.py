"""Drivers' and the disk's errors as one clear sentence each, in the classes of `errors.py`.

An error that says nothing about the database's or disk's state (a broken constraint, wrong SQL) is
left as it is: its caller or its author has to act.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from sqlalchemy import URL

from pipeline_assets.errors import (
    DatabaseUnavailableError,
    InvalidConfigError,
    PipelineError,
    StorageFullError,
)
from pipeline_assets.redaction import redact

FREE_SPACE = "Free some space there; the next try goes on."
_CHECK_URL = "Correct PIPELINE_DATABASE_URL."


def describe_database(url: URL) -> str:
    """Where a database is, for people: a file's path, or host and name; never user or password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    host = url.host or url.query.get("host") or "the local socket"
    port = f":{url.port}" if url.port else ""
    return f"{host}{port}/{url.database}"


def translate_driver_error(error: BaseException, url: URL) -> PipelineError | None:
    """What a person can be told of a driver's error; None when it is not about the database."""
    if isinstance(error, sqlite3.Error):
        return _translate_sqlite(error, Path(url.database or ""))
    if isinstance(error, psycopg2.Error):
        return _translate_postgresql(error, url)
    return None


# By primary result code: the class, what is the matter with the file, and what to do.
_SQLITE: dict[int, tuple[type[PipelineError], str, str]] = {
    sqlite3.SQLITE_BUSY: (
        DatabaseUnavailableError,
        "is kept locked by another process for too long",
        "Look for a stuck process that writes to it; the next try goes on.",
    ),
    sqlite3.SQLITE_FULL: (StorageFullError, "finds no room left on its disk", FREE_SPACE),
    sqlite3.SQLITE_READONLY: (
        InvalidConfigError,
        "may only be read",
        "Let this user write to the file and to its folder.",
    ),
    sqlite3.SQLITE_NOTADB: (InvalidConfigError, "is not a SQLite database", _CHECK_URL),
    sqlite3.SQLITE_CORRUPT: (InvalidConfigError, "is damaged", "Restore it from a backup."),
    sqlite3.SQLITE_IOERR: (
        DatabaseUnavailableError,
        "cannot be used because its disk reports an error",
        "Check the disk and its free space; the next try goes on.",
    ),
}


def _translate_sqlite(error: sqlite3.Error, file: Path) -> PipelineError | None:
    primary_code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the other bits say details
    if primary_code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(file)
    if primary_code not in _SQLITE:
        return None
    error_class, matter, advice = _SQLITE[primary_code]
    return error_class(f"The database file {file} {matter}.", advice=advice)


def _cannot_open(file: Path) -> PipelineError:
    if not file.parent.is_dir():
        return InvalidConfigError(
            f"The folder of the database file {file} does not exist.",
            advice=f"Create {file.parent}, or correct PIPELINE_DATABASE_URL.",
        )
    if file.is_dir():
        return InvalidConfigError(f"{file} is a folder, not a database file.", advice=_CHECK_URL)
    return InvalidConfigError(
        f"The database file {file} cannot be opened.",
        advice="Let this user read and write the file and its folder.",
    )


# What PostgreSQL says when it refuses a connection; there is no SQLSTATE to go by then.
_REFUSED_LOGINS = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    "does not exist",  # a role or database; a missing socket says "No such file"
)


def _translate_postgresql(error: psycopg2.Error, url: URL) -> PipelineError | None:
    where = describe_database(url)
    said = redact(str(error).strip().partition("\n")[0])
    code = error.pgcode
    if code is None:
        return _translate_lost_connection(error, where, said)
    if code == "53100":
        return StorageFullError(
            f"The PostgreSQL server of {where} has no disk space left ({said}).", advice=FREE_SPACE
        )
    if code in {"28000", "28P01", "3D000", "42501", "25006"}:  # login, database, rights, read-only
        return InvalidConfigError(
            f"PostgreSQL refuses this at {where}: {said}.",
            advice="Correct PIPELINE_DATABASE_URL or the rights of its user.",
        )
    # Lost connections, exhausted resources, locks and deadlocks, a server going down, disk errors.
    if code[:2] in {"08", "53", "58"} or code[:3] == "57P" or code in {"40001", "40P01", "55P03"}:
        return DatabaseUnavailableError(
            f"The PostgreSQL database {where} could not serve this ({said}).",
            advice="Check the server; the next try goes on.",
        )
    return None


def _translate_lost_connection(
    error: psycopg2.Error, where: str, said: str
) -> PipelineError | None:
    if not isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return None
    if any(refusal in said for refusal in _REFUSED_LOGINS):
        return InvalidConfigError(
            f"PostgreSQL refuses the connection to {where}: {said}.",
            advice="Correct user, password or database name in PIPELINE_DATABASE_URL.",
        )
    return DatabaseUnavailableError(
        f"The PostgreSQL database {where} cannot be reached ({said}).",
        advice="Check that the server runs and that PIPELINE_DATABASE_URL names it.",
    )


@contextmanager
def disk_errors(place: str) -> Iterator[None]:
    """Turn a full or closed disk at `place` into StorageFullError or InvalidConfigError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageFullError(
                f"There is no room left in {place} ({error.strerror}).", advice=FREE_SPACE
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}:
            raise InvalidConfigError(
                f"{place} cannot be written ({error.strerror}).",
                advice="Let this user write there, or name another place.",
            ) from error
        raise
