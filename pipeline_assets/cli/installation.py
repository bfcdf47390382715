"""What commands share: the installation of this folder, and Dagster's instance."""

import os
from typing import TYPE_CHECKING

from pipeline_assets.errors import DatabaseUnavailableError
from pipeline_assets.redaction import redact
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg


def open_installation() -> Installation:
    """The installation that the environment and `.env` describe.

    Raises:
        InvalidConfigError: a setting is wrong, or the set-up has not been done.
    """
    settings = Settings.load()
    _ = settings.dagster_home  # says what to do when it is missing
    return Installation(settings)


def open_dagster() -> "dg.DagsterInstance":
    """Dagster's instance of DAGSTER_HOME.

    Raises:
        DatabaseUnavailableError: its storage cannot be opened.
    """
    import dagster as dg  # noqa: PLC0415 - a second that commands without Dagster need not wait

    try:
        return dg.DagsterInstance.get()
    except Exception as error:  # noqa: BLE001 - a storage's driver may raise anything
        first_line = str(error).strip().split("\n")[0]
        raise DatabaseUnavailableError(
            redact(
                f"Dagster's instance in {os.environ['DAGSTER_HOME']} cannot be opened: {first_line}"
            ),
            advice="Run `pipeline-assets setup`; it says what is wrong with the database.",
        ) from None
