"""Notes when a session or a token was last used, without ever making its user wait for it."""

from sqlalchemy import Engine, Update

from pipeline_assets.errors import TransientError
from pipeline_assets.storage.engine import SQLITE_BUSY_TIMEOUT_SECONDS


def note_last_use(engine: Engine, statement: Update) -> None:
    """Execute an update of one row now, or drop it: the next request notes it again.

    Unlike `write_transaction` it does not wait for another writer: on SQLite a large sync may
    write for seconds, and every page and every program would stand still meanwhile.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        try:
            connection.execute(statement)
            connection.commit()
        except TransientError:  # locked, or no room: reading goes on
            connection.rollback()
        finally:
            if is_sqlite:  # others use the connection after us
                milliseconds = int(SQLITE_BUSY_TIMEOUT_SECONDS * 1000)
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")
