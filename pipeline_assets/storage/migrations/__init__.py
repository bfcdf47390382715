"""Brings a database to the revision that this code needs, and tells when it is not there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.failures import describe_database

VERSION_TABLE = "pipeline_assets_revision"
"""Not Alembic's usual name: Dagster's own tables may live in the same database and use that."""

_POSTGRESQL_LOCK = 7_203_911_845  # an arbitrary number, the same for everybody who migrates


def upgrade(engine: Engine) -> None:
    """Migrate to the newest revision, in one transaction; does nothing when already there.

    Processes that do it at once wait for each other.

    Raises: InvalidConfigError for a database that a newer version of this code has migrated.
    """
    with write_transaction(engine) as connection:  # SQLite's write lock serialises by itself
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})")
        scripts = ScriptDirectory.from_config(_config())
        revision = _known_revision(connection, scripts)
        if revision != scripts.get_current_head():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def check_revision(engine: Engine) -> None:
    """Return when the database is at the revision that this code needs.

    Raises: InvalidConfigError for one not migrated yet, and for one migrated by newer code.
    """
    scripts = ScriptDirectory.from_config(_config())
    with engine.connect() as connection:
        revision = _known_revision(connection, scripts)
    if revision != scripts.get_current_head():
        state = "has no tables of ours yet" if revision is None else "is of an older version"
        raise InvalidConfigError(
            f"The database {describe_database(engine.url)} {state}.",
            advice="Run pipeline-assets setup.",
        )


def _config() -> Config:
    config = Config()
    # Alembic's options treat % as the start of a reference.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _known_revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    revision = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE}
    ).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if revision is not None and revision not in known:
        raise InvalidConfigError(
            f"The database {describe_database(connection.engine.url)} was made by a newer version"
            f" of pipeline-assets (its revision {revision} is unknown here).",
            advice="Install that version, or restore a backup made before the upgrade.",
        )
    return revision
