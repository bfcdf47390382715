"""What commands share: the installation of this folder, and Dagster's instance."""

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from sqlalchemy.exc import DatabaseError, OperationalError

from pipeline_assets.errors import DatabaseUnavailableError, InvalidConfigError
from pipeline_assets.redaction import redact
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import dagster as dg

INSTANCE_FILE = "dagster.yaml"


def actor() -> str:
    """Who acts when a command is given, as the audit log names them."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "cli"


def _storage_block(file: "Path") -> str:
    """The part of a dagster.yaml below its line `storage:`, as text; empty without one."""
    return file.read_text().partition("\nstorage:")[2]


def open_installation() -> Installation:
    """The installation that the environment and `.env` describe.

    Raises:
        InvalidConfigError: a setting is wrong, or the set-up has not been done.
    """
    settings = Settings.load()
    if not (settings.dagster_home / INSTANCE_FILE).is_file():
        raise InvalidConfigError(
            f"DAGSTER_HOME is {settings.dagster_home}, where no set-up has been done yet.",
            advice="Run `pipeline-assets setup` in the project's folder.",
        )
    _check_same_database(settings)
    return Installation(settings)


def _check_same_database(settings: Settings) -> None:
    """Dagster's storage and our tables belong together: PostgreSQL for both or for neither."""
    is_set_up = "PIPELINE_DATABASE_URL" in _storage_block(settings.dagster_home / INSTANCE_FILE)
    is_set = settings.resolved_database_url().startswith("postgres")
    if is_set_up and not is_set:
        raise InvalidConfigError(
            "This installation uses PostgreSQL, but PIPELINE_DATABASE_URL is not set here.",
            advice="Set it, for example in .env; or run `pipeline-assets setup` to use SQLite.",
        )
    if is_set and not is_set_up:
        raise InvalidConfigError(
            "PIPELINE_DATABASE_URL names a PostgreSQL that this installation is not set up for.",
            advice="Run `pipeline-assets setup`.",
        )


def tell_unreadable(unreadable: Mapping[str, InvalidConfigError]) -> None:
    """Name on standard error the brands that cannot be read, if any, and what to do about it."""
    for error in unreadable.values():
        click.echo(redact(f"Left aside: {error}\n{error.advice}"), err=True)


@contextmanager
def open_dagster(settings: Settings) -> "Iterator[dg.DagsterInstance]":
    """Dagster's instance of DAGSTER_HOME, while the `with` block lasts.

    Raises:
        DatabaseUnavailableError: its storage cannot be opened, or fails later on.
    """
    import dagster as dg  # noqa: PLC0415 - a second that commands without Dagster need not wait

    try:
        instance = dg.DagsterInstance.get()
    except Exception as error:  # noqa: BLE001 - a storage's driver may raise anything
        raise _unavailable(settings.dagster_home, error) from None
    with instance:
        try:
            yield instance
        except DatabaseError as error:
            # Its subclasses but one tell of wrong statements, not of the database's state; our own
            # engine's errors have become PipelineErrors already.
            if type(error) not in {DatabaseError, OperationalError}:
                raise
            raise _unavailable(settings.dagster_home, error.orig or error) from None


def _unavailable(home: "Path", error: BaseException) -> DatabaseUnavailableError:
    first_line = str(error).strip().partition("\n")[0]
    return DatabaseUnavailableError(
        redact(
            f"Dagster's storage ({home / INSTANCE_FILE} says where) cannot be used: {first_line}"
        ),
        advice="Check that nothing keeps it locked, then run `pipeline-assets setup`.",
    )
