"""`pipeline-assets retention`: what of the history would be cleared, and clearing it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline_assets.cli.installation import actor, open_dagster, open_installation
from pipeline_assets.cli.output import json_option, print_json, print_table, progress_console
from pipeline_assets.clock import utcnow
from pipeline_assets.control.retention import (
    Expired,
    Part,
    RetentionPlan,
    apply_retention,
    plan_retention,
)


@click.command()
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without, nothing changes.")
@json_option
def retention(*, is_applied: bool, as_json: bool) -> None:
    """Tell what of the history is old enough to be cleared; --apply clears it.

    The job `retention` does the same every night. The settings PIPELINE_RETENTION_* say how old is
    old enough. What a status rests on stays, however old it is.
    """
    installation = open_installation()
    settings, engine, now = installation.settings, installation.engine, utcnow()
    with open_dagster(settings) as instance:
        plan = plan_retention(instance, engine, settings, now=now)
        expired = plan.expired
        if is_applied:
            with _progress(plan.expired) as tell:
                expired = apply_retention(
                    instance, engine, settings, actor=actor(), now=now, progress=tell
                )
    if as_json:
        print_json({"is_applied": is_applied, "expired": expired, "kept_runs": plan.kept_runs})
    else:
        _print(expired, plan, is_applied=is_applied)


@contextmanager
def _progress(planned: Sequence[Expired]) -> Iterator[Callable[[Part, int], None]]:
    console = progress_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks = {
            item.part: progress.add_task(item.part, total=item.count)
            for item in planned
            if item.count
        }

        def tell(part: Part, done: int) -> None:
            if part in tasks:  # what has grown old since the plan is not worth a bar
                progress.update(tasks[part], completed=done)

        yield tell


def _print(expired: Sequence[Expired], plan: RetentionPlan, *, is_applied: bool) -> None:
    verb = "cleared" if is_applied else "would clear"
    rows = [
        {
            "what": item.part,
            "older than": f"{item.days} days" if item.days else "(kept for ever)",
            verb: str(item.count),
        }
        for item in expired
    ]
    print_table(["what", "older than", verb], rows)
    for reason, count in plan.kept_runs.items():
        click.echo(f"{count} old {'run stays' if count == 1 else 'runs stay'}: {reason}.")
    if not is_applied and any(item.count for item in expired):
        click.echo("Nothing has changed. `pipeline-assets retention --apply` does it.")
