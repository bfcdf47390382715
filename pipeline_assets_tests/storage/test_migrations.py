"""The migrations: what they make, run at once by many, and on databases of another version."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, column, inspect, select, table

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.migrations import VERSION_TABLE, check_revision, upgrade
from pipeline_assets.storage.tables import METADATA, organizations


def test_a_migrated_database_has_exactly_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
        found = {key: inspect(connection).get_pk_constraint(key) for key in METADATA.tables}
    assert {name: key["constrained_columns"] for name, key in found.items()} == {
        name: [column.name for column in table.primary_key]
        for name, table in METADATA.tables.items()
    }


def test_the_default_organization_is_there_and_the_revision_fits(engine: Engine) -> None:
    check_revision(engine)
    with engine.connect() as connection:
        assert connection.execute(select(organizations)).all() == [("default", "Default")]


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        connection.execute(organizations.insert().values(id="acme", name="Acme"))
    upgrade(engine)
    with engine.connect() as connection:
        assert set(connection.execute(select(organizations.c.id)).scalars()) == {"default", "acme"}


def test_several_processes_may_migrate_the_same_empty_database(empty_database_url: str) -> None:
    script = (
        "import sys\n"
        "from pipeline_assets.storage.engine import build_engine\n"
        "from pipeline_assets.storage.migrations import upgrade\n"
        "engine = build_engine(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "upgrade(engine)\n"
    )
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, empty_database_url],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert errors == ["", "", ""]
    assert [process.returncode for process in processes] == [0, 0, 0]
    engine = build_engine(empty_database_url)
    check_revision(engine)
    engine.dispose()


def test_a_database_not_migrated_yet_is_told_from_a_ready_one(empty_database_url: str) -> None:
    engine = build_engine(empty_database_url)
    with pytest.raises(InvalidConfigError, match="has no tables of ours yet") as caught:
        check_revision(engine)
    engine.dispose()
    assert caught.value.advice == "Run pipeline-assets setup."


@pytest.mark.parametrize("action", [check_revision, upgrade])
def test_a_database_of_newer_code_is_left_alone(
    engine: Engine, action: Callable[[Engine], None]
) -> None:
    with write_transaction(engine) as connection:
        connection.execute(
            table(VERSION_TABLE, column("version_num")).update(), {"version_num": "9999"}
        )
    with pytest.raises(InvalidConfigError, match="made by a newer version") as caught:
        action(engine)
    assert "9999" in str(caught.value)
    assert "restore a backup" in caught.value.advice


def test_dagsters_own_revision_table_in_the_same_database_is_left_alone(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('dagsters')")
    upgrade(engine)
    check_revision(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM alembic_version").all() == [("dagsters",)]
