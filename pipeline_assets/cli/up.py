"""`pipeline-assets up`: an installation's processes, kept running until Ctrl-C."""

import signal
import time
from contextlib import suppress
from datetime import datetime

import click

from pipeline_assets.cli.installation import open_installation
from pipeline_assets.cli.processes import Processes, processes_of
from pipeline_assets.cli.supervisor import POLL_SECONDS, interrupted_by


@click.command()
@click.option("--web/--no-web", default=True, help="Serve our own pages too (default), or not.")
def up(*, web: bool) -> None:
    """Run Dagster's code server, daemon and webserver, and our pages, until Ctrl-C.

    What dies is started again: at once, then after 1, 2, 4 … 30 s. Ctrl-C, SIGTERM and a closed
    terminal stop everything in good order; a sync in progress has 30 s to end, and is taken up
    again at the next start. Each process writes to its own file in DAGSTER_HOME/process-logs.
    """
    installation = open_installation()
    installation.engine.dispose()  # opened to fail here and now, not in each process's log
    processes = processes_of(installation.settings, has_web=web, announce=announce)
    with interrupted_by(signal.SIGINT, signal.SIGTERM, signal.SIGHUP), processes:
        if processes.web_url:
            announce(f"Pages and API:    {processes.web_url}")
        announce(f"Dagster's web UI: {processes.url}")
        announce("Ready. Ctrl-C stops everything.")
        tend_until_interrupted(processes)
        announce("Stopping …")


def tend_until_interrupted(processes: Processes) -> None:
    """Start again what dies, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        while True:
            processes.tend()
            time.sleep(POLL_SECONDS)


def announce(line: str) -> None:
    """Tell one event on standard error, with its time."""
    with suppress(OSError):  # the terminal may be gone: what runs must go on, or end in order
        click.echo(f"{datetime.now().astimezone():%H:%M:%S} {line}", err=True)
