"""Following work that Dagster does elsewhere until it ends: what `--wait` shows and how it ends."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline_assets.cli.output import progress_console
from pipeline_assets.clock import utcnow
from pipeline_assets.control.dagster_log import is_daemon_alive
from pipeline_assets.control.projector import project
from pipeline_assets.control.request_progress import RequestProgress
from pipeline_assets.control.requests import RequestState
from pipeline_assets.control.retries import policies_of
from pipeline_assets.control.targets import is_all_brands
from pipeline_assets.errors import PipelineError
from pipeline_assets.resources.installation import Installation

if TYPE_CHECKING:
    import dagster as dg

EXIT_CODES = {
    RequestState.SUCCEEDED: 0,
    RequestState.PARTIAL: 3,
    RequestState.FAILED: 4,
    RequestState.CANCELLED: 5,
}
"""What a command that waited ends with."""

START_DAGSTER = "Start everything with `pipeline-assets up` in the project's folder."

_BEAT_SECONDS = 0.7
_COUNTS_EVERY = timedelta(seconds=10)  # a log needs no line for each of 5,000 images

wait_option = click.option("--wait", "is_waited_for", is_flag=True, help="Wait until it has ended.")
timeout_option = click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --wait: wait no longer than this; the work goes on.",
)


@dataclass(frozen=True)
class Line:
    """One thing to show: what is it about, what is it at, and how much of that is done."""

    subject: str
    doing: str
    count: str = ""


@dataclass(frozen=True)
class View:
    """What to show now, and whether it is the last view."""

    lines: Sequence[Line]
    is_last: bool


def check_timeout(timeout_seconds: float | None, *, is_waited_for: bool) -> None:
    """Refuse `--timeout` that is no number or without `--wait`, as the command line's fault."""
    if timeout_seconds is not None and not math.isfinite(timeout_seconds):
        raise click.UsageError("--timeout must be a number of seconds.")
    if timeout_seconds is not None and not is_waited_for:
        raise click.UsageError("--timeout needs --wait.")


def follow(
    installation: Installation,
    instance: "dg.DagsterInstance",
    look: Callable[[], View],
    *,
    what: str,
    afterwards: str,
    timeout_seconds: float | None,
) -> None:
    """Show the views on standard error until the last one; the tables are kept current meanwhile.

    `what` names the work and `afterwards` says how to follow or cancel it, for whoever stops
    waiting: that ends nothing but the waiting.

    Raises:
        PipelineError: Dagster's daemon does not run, or the time is over.
    """
    policies = policies_of(installation.settings)
    deadline = time.monotonic() + (timeout_seconds if timeout_seconds is not None else float("inf"))
    try:
        with _display() as show:
            while True:
                project(instance, installation.engine, policies=policies)
                view = look()
                show(view.lines)
                if view.is_last:
                    return
                if not is_daemon_alive(instance, now=utcnow()):
                    raise PipelineError(
                        f"Dagster's daemon is not running: {what} waits until it is.",
                        advice=f"{START_DAGSTER} {afterwards}",
                    )
                if time.monotonic() > deadline:
                    raise PipelineError(
                        f"After {timeout_seconds:g} s {what} has not ended; it goes on.",
                        advice=afterwards,
                    )
                time.sleep(_BEAT_SECONDS)
    except KeyboardInterrupt:
        click.echo(f"\nNo longer waiting; {what} goes on. {afterwards}", err=True)
        raise


def lines_of(progress: RequestProgress) -> list[Line]:
    """What a request is at: itself first, then each dataset that it has begun."""
    request = progress.request
    doing = request.state.value
    if progress.waits_for:
        doing += f", waits for {progress.waits_for}"
    if progress.blocked_until is not None:
        doing += f", waits for a rate limit until {progress.blocked_until:%H:%M:%S} UTC"
    lines = [Line(f"{request.brand_id} {request.job}", doing)]
    for each in progress.datasets:
        what = each.dataset
        if is_all_brands(request.brand_id):
            what = f"{each.brand_id} {what}"
        if each.outcome is not None:
            records = f"{each.records} records" if each.records is not None else ""
            lines.append(Line(what, each.outcome, records))
        elif each.stage is not None:
            lines.append(Line(what, each.stage, count_text(each.done, each.total)))
    return lines


def count_text(done: int | None, total: int | None) -> str:
    """How much is done, such as `12 of 40`; empty before anything is."""
    if total:
        return f"{done or 0} of {total}"
    return str(done) if done else ""


def _display() -> AbstractContextManager[Callable[[Sequence[Line]], None]]:
    console = progress_console()
    return _LiveTable() if console.is_terminal else nullcontext(_Log())


class _LiveTable:
    """On a terminal: one table that changes, and goes away at the end."""

    def __init__(self) -> None:
        self._live = Live(console=progress_console(), transient=True)

    def __enter__(self) -> Callable[[Sequence[Line]], None]:
        self._live.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _show(self, lines: Sequence[Line]) -> None:
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for line in lines:
            table.add_row(Text(line.subject), Text(line.doing), Text(line.count))
        self._live.update(table)


class _Log:
    """Elsewhere: a line with its time for each change."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Line, datetime]] = {}

    def __call__(self, lines: Iterable[Line]) -> None:
        now = utcnow()
        for line in lines:
            before, at = self._said.get(line.subject, (None, now))
            is_news = before is None or before.doing != line.doing
            if is_news or (before != line and now - at >= _COUNTS_EVERY):
                parts = (f"{now:%H:%M:%S}", f"{line.subject}:", line.doing, line.count)
                click.echo(" ".join(filter(None, parts)), err=True)
                self._said[line.subject] = (line, now)
