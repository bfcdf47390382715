"""`pipeline-assets setup`: everything that a fresh folder needs; harmless to run again."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import click
import yaml
from dotenv import dotenv_values

from pipeline_assets.brands.registry import list_brand_ids
from pipeline_assets.cli.installation import INSTANCE_FILE, open_dagster
from pipeline_assets.cli.output import json_option, print_json
from pipeline_assets.control.brand_partitions import sync_partitions
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import ENV_FILE, Settings, load_env_file

HOME_FOLDER = ".dagster"

_HEADER = f"# Written by `pipeline-assets setup` from {INSTANCE_FILE}: edit that one.\n"

_POSTGRES_STORAGE: Mapping[str, object] = {
    # By reference: the file on disk holds no password, and both storages always agree.
    "storage": {"postgres": {"postgres_url": {"env": "PIPELINE_DATABASE_URL"}}}
}


@click.command()
@json_option
def setup(*, as_json: bool) -> None:
    """Make this folder ready: `.env`, DAGSTER_HOME, the database and Dagster's storage.

    Run it again after an update or after changing PIPELINE_DATABASE_URL; it keeps all data.
    """
    installation = prepare()
    settings = installation.settings
    kind = "PostgreSQL" if _is_postgres(settings) else "SQLite"
    if as_json:
        print_json({"dagster_home": str(settings.dagster_home), "database": kind})
    else:
        click.echo(f"Ready: DAGSTER_HOME is {settings.dagster_home}, the database is {kind}.")


def prepare() -> Installation:
    """Do the set-up; returns the installation, migrated and known to Dagster.

    Raises:
        InvalidConfigError: this is not the project's folder, or a setting is wrong.
        PipelineError: the database cannot be used.
    """
    from pipeline_assets.storage.engine import build_engine  # noqa: PLC0415 - heavy
    from pipeline_assets.storage.migrations import upgrade  # noqa: PLC0415

    template = Path(INSTANCE_FILE)
    if not template.is_file():
        raise InvalidConfigError(
            f"There is no {INSTANCE_FILE} in {Path.cwd()}.",
            advice="Run the set-up in the project's own folder.",
        )
    try:
        settings = _write_files(template)
    except OSError as error:
        raise InvalidConfigError(
            f"{error.filename or Path.cwd()} cannot be written: {error.strerror}.",
            advice="Make it writable, free some room, or choose another DAGSTER_HOME.",
        ) from None
    engine = build_engine(settings.resolved_database_url())
    upgrade(engine)
    engine.dispose()
    installation = Installation(settings)
    with open_dagster(settings) as instance:
        sync_partitions(instance, list_brand_ids(installation.engine))
    return installation


def _write_files(template: Path) -> Settings:
    _write_env_file()
    settings = Settings.load()
    _refuse_vanished_home(settings.dagster_home)
    settings.dagster_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_instance_file(template, settings)
    return settings


def _refuse_vanished_home(home: Path) -> None:
    """A home elsewhere that is not there: the project was moved, and its data with it."""
    named_in_file = dotenv_values(ENV_FILE).get("DAGSTER_HOME") == str(home)
    if named_in_file and not home.exists() and Path.cwd() not in home.parents:
        raise InvalidConfigError(
            f"{ENV_FILE} names DAGSTER_HOME={home}, which is not there.",
            advice=f"If this folder was moved, delete that line from {ENV_FILE} and run the set-up "
            "again; if it is a new place, create the folder first.",
        )


def _write_env_file() -> None:
    """Write `.env` with DAGSTER_HOME, unless the file or the environment names one already."""
    load_env_file()
    if "DAGSTER_HOME" in os.environ:
        return
    home = str(Path(HOME_FOLDER).resolve())
    file = Path(ENV_FILE)
    before = file.read_text() if file.exists() else ""
    opening = "\n" if before and not before.endswith("\n") else ""
    quoted = home if shlex.quote(home) == home else "'" + home.replace("'", r"\'") + "'"
    with file.open("a") as env:
        env.write(f"{opening}DAGSTER_HOME={quoted}\n")
    os.environ["DAGSTER_HOME"] = home


def _write_instance_file(template: Path, settings: Settings) -> None:
    target = settings.dagster_home / INSTANCE_FILE
    if target.exists() and not target.read_text().startswith((_HEADER, template.read_text())):
        raise InvalidConfigError(
            f"{target} is another project's: the set-up would overwrite it.",
            advice="Choose another DAGSTER_HOME for this project, or move that file away.",
        )
    text = _HEADER + template.read_text()
    if _is_postgres(settings):
        text += "\n" + yaml.safe_dump(_POSTGRES_STORAGE)
    partial = target.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(target)  # readers never see half a file


def _is_postgres(settings: Settings) -> bool:
    return settings.resolved_database_url().startswith("postgres")
