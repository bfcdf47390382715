"""`pipeline-assets doctor`: is this installation well, and if not, what to do."""

from collections.abc import Sequence
from contextlib import ExitStack

import click
import dagster as dg

from pipeline_assets.cli.installation import open_dagster, open_installation
from pipeline_assets.cli.output import json_option, print_json, progress_console
from pipeline_assets.clock import utcnow
from pipeline_assets.control.health import HealthCheck, check_health
from pipeline_assets.definitions import defs
from pipeline_assets.errors import PipelineError

_MARKS = {True: "ok ", False: "BAD", None: " - "}


@click.command()
@click.option("--offline", "is_offline", is_flag=True, help="Leave the brands' sources out.")
@json_option
@click.pass_context
def doctor(context: click.Context, *, is_offline: bool, as_json: bool) -> None:
    """Examine the installation; exit code 1 when something is wrong.

    \b
    Database, Dagster's storage and daemon, sensors and schedules, waiting requests, disks, clocks,
    and every brand's token and accounts.
    """
    with progress_console().status("Looking …"):
        checks = _examine(is_offline=is_offline)
    if as_json:
        print_json(checks)
    else:
        _print(checks)
    context.exit(1 if any(check.is_ok is False for check in checks) else 0)


def _examine(*, is_offline: bool) -> list[HealthCheck]:
    try:
        installation = open_installation()
    except PipelineError as error:
        return [HealthCheck("settings", False, str(error), error.advice)]
    names = [each.name for each in (*(defs.sensors or ()), *(defs.schedules or ()))]
    with ExitStack() as stack:
        dagster: dg.DagsterInstance | PipelineError
        try:
            dagster = stack.enter_context(open_dagster(installation.settings))
        except PipelineError as error:
            dagster = error
        return check_health(
            installation, dagster, automation=names, now=utcnow(), is_offline=is_offline
        )


def _print(checks: Sequence[HealthCheck]) -> None:
    for check in checks:
        click.echo(f"{_MARKS[check.is_ok]} {check.name}: {check.detail}")
        if check.is_ok is False and check.fix:
            click.echo(f"    What to do: {check.fix}")
