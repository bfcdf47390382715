"""`pipeline-assets status`: brands x datasets, each with its state."""

from collections.abc import Collection, Sequence
from datetime import datetime

import click
from rich.table import Table

from pipeline_assets.brands.registry import get_brand, list_with_unreadable
from pipeline_assets.cli.installation import open_dagster, open_installation, tell_unreadable
from pipeline_assets.cli.output import console, json_option, print_json
from pipeline_assets.clock import utcnow
from pipeline_assets.control.projector import project
from pipeline_assets.control.projector import rebuild as rebuild_projection
from pipeline_assets.control.requests import RequestState
from pipeline_assets.control.retries import policies_of
from pipeline_assets.control.status import BrandOverview, DatasetState, read_overview, read_states
from pipeline_assets.datasets import DATASETS
from pipeline_assets.freshness.ages import age_text
from pipeline_assets.freshness.evaluate import State

MARKS = {
    State.FRESH: ("●", "green"),
    State.WARN: ("◐", "yellow"),
    State.STALE: ("○", "red"),
    State.FAILING: ("✗", "red"),
    State.NEVER: ("·", "dim"),
    State.NOT_CONFIGURED: ("-", "dim"),
}


@click.group(invoke_without_command=True)
@click.option("--brand", "brand_ids", multiple=True, help="Only this brand (repeatable).")
@click.option(
    "--state",
    "wanted",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="Only brands with a dataset in this state (repeatable).",
)
@json_option
@click.pass_context
def status(
    context: click.Context,
    *,
    brand_ids: tuple[str, ...],
    wanted: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tell for every brand and dataset how fresh it is, and if not, why.

    \b
    pipeline-assets status --state stale --state failing
    """
    if context.invoked_subcommand is not None:
        return
    installation = open_installation()
    engine = installation.engine  # first of all: it says best what is wrong with a database
    for brand_id in brand_ids:
        get_brand(engine, brand_id)  # an unknown one gets its clear error
    policies = policies_of(installation.settings)
    with open_dagster(installation.settings) as instance:
        project(instance, engine, policies=policies)
    now = utcnow()
    chosen = set(brand_ids) or None
    if wanted:
        chosen = _brands_in(read_overview(engine, now=now), wanted, among=chosen)
    states = read_states(engine, now=now, brand_ids=chosen)
    if not brand_ids:
        tell_unreadable(list_with_unreadable(engine)[1])
    if as_json:
        print_json([state.as_row() for state in states])
    elif states:
        print_matrix(states)
    elif wanted:
        click.echo(f"No brand has a dataset that is {' or '.join(wanted)}.")
    else:
        click.echo("No brand yet. `pipeline-assets brands add --help` shows how to add one.")


def _brands_in(
    overview: Sequence[BrandOverview], wanted: Collection[str], *, among: set[str] | None
) -> set[str]:
    """The brands, among these if any are given, with a dataset in one of the states."""
    return {
        brand.id
        for brand, _, cells in overview
        if (among is None or brand.id in among)
        and any(cell.state in wanted for cell in cells.values())
    }


@status.command()
@json_option
def rebuild(*, as_json: bool) -> None:
    """Throw attempts and status away and read them again from Dagster's event log."""
    installation = open_installation()
    engine = installation.engine
    with open_dagster(installation.settings) as instance:
        applied = rebuild_projection(instance, engine)
    if as_json:
        print_json({"runs": applied})
    else:
        click.echo(f"Status is rebuilt from {applied} runs.")


def print_matrix(states: Sequence[DatasetState]) -> None:
    """Print one row per brand and, below, what is wrong and what to do about it."""
    now = utcnow()
    cells = {(state.brand_id, state.dataset): state for state in states}
    datasets = list(dict.fromkeys(state.dataset for state in states))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("brand", overflow="fold")
    for dataset in datasets:
        table.add_column(DATASETS[dataset].title, overflow="fold")
    for brand_id in dict.fromkeys(state.brand_id for state in states):
        of_brand = [cells[brand_id, dataset] for dataset in datasets]
        paused = "\n[dim]paused[/]" if of_brand[0].is_paused else ""
        table.add_row(f"{brand_id}{paused}", *(_cell(state, now=now) for state in of_brand))
    output = console()
    output.print(table)
    for line in _problems(states):
        output.print(line, markup=False)


def _cell(state: DatasetState, *, now: datetime) -> str:
    mark, colour = MARKS[state.state]
    lines = [f"[{colour}]{mark} {state.state.value}[/]"]
    if state.age_seconds is not None:
        rows = "row" if state.records_affected == 1 else "rows"
        lines.append(f"{age_text(state.age_seconds)} · {state.records_affected or 0} {rows}")
    if state.error_class and state.state is not State.FAILING and not state.is_running:
        lines.append("last try failed")
    return "\n".join(filter(None, (*lines, _being_done(state, now=now))))


def _being_done(state: DatasetState, *, now: datetime) -> str:
    """What refreshes the data next, and when."""
    if state.is_running:
        return "syncing"
    if state.next_try_at is not None:
        return f"next try in {_until(state.next_try_at, now)}"
    if state.request_state is not None:
        return "syncing" if state.request_state is RequestState.RUNNING else "queued"
    if state.next_sync_at is not None:
        return f"next sync in {_until(state.next_sync_at, now)}"
    return ""


def _until(at: datetime, now: datetime) -> str:
    return age_text(max(0.0, (at - now).total_seconds()))


def _problems(states: Sequence[DatasetState]) -> list[str]:
    """Each distinct error of a brand once, with the datasets it keeps from being fresh."""
    problems: dict[tuple[str, ...], list[str]] = {}
    for state in states:
        if state.error_class:
            key = (
                state.brand_id,
                state.error_class,
                state.error_message or "",
                state.advice or "",
            )
            problems.setdefault(key, []).append(state.dataset)
    lines = []
    for (brand_id, error_class, message, advice), datasets in problems.items():
        lines += ["", f"{brand_id}: {error_class} in {', '.join(datasets)}", f"  {message}"]
        if advice:
            lines.append(f"  What to do: {advice}")
    return lines
