"""`pipeline-assets history`: what was wished, by whom, and what came of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from pipeline_assets.cli.installation import open_installation
from pipeline_assets.cli.instants import parse_instant
from pipeline_assets.cli.output import console, json_option, print_json
from pipeline_assets.cli.requests import SHOWN_ID, duration_text, refresh, state_option
from pipeline_assets.clock import utcnow
from pipeline_assets.control.history import Chain, read_history
from pipeline_assets.control.requests import RequestState, Trigger
from pipeline_assets.control.targets import read_target
from pipeline_assets.freshness.ages import age_text

MARKS = {
    RequestState.QUEUED: ("·", "dim"),
    RequestState.LAUNCHED: ("·", "dim"),
    RequestState.RUNNING: ("▶", "cyan"),
    RequestState.SUCCEEDED: ("●", "green"),
    RequestState.PARTIAL: ("◐", "yellow"),
    RequestState.FAILED: ("✗", "red"),
    RequestState.CANCELLED: ("-", "dim"),
}

_ADVISED = 3  # more would push the table out of sight
_ERROR_WIDTH = 100  # the first sentence or so; `requests show` has the rest


@click.command()
@click.option(
    "--brand", "brand_ids", multiple=True, metavar="BRAND", help="Only this (repeatable)."
)
@click.option("--job", help="Only this job's.")
@state_option
@click.option("--since", help="Only what was wished since: 2026-01-31 or 2026-01-31T08:00 (UTC).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@json_option
def history(
    *,
    brand_ids: tuple[str, ...],
    job: str | None,
    states: tuple[str, ...],
    since: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Tell what ran for whom and what came of it, the newest first; all tries of a wish are one.

    \b
    pipeline-assets history --brand acme --state failed --state partial --since 2026-01-31
    """
    installation = open_installation()
    for brand_id in brand_ids:
        read_target(installation.engine, brand_id)  # an unknown one gets its clear error
    since_at = parse_instant(since) if since else None
    refresh(installation)
    chains = read_history(
        installation.engine,
        brand_ids=brand_ids or None,
        job=job,
        states=[RequestState(state) for state in states] or None,
        since=since_at,
        limit=limit,
    )
    if as_json:
        print_json([chain.as_row() for chain in chains])
    elif chains:
        _print_chains(chains)
    elif brand_ids or job or states or since:
        click.echo("Nothing in the history is like that.")
    else:
        click.echo("Nothing has run yet. `pipeline-assets sync BRAND` begins.")


def _print_chains(chains: Sequence[Chain]) -> None:
    now = utcnow()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("id", "when", "brand", "job", "by", "tries", "outcome", "took", "records"):
        table.add_column(column)
    table.add_column("what went wrong", overflow="fold")
    for chain in chains:
        table.add_row(*_cells(chain, now=now))
    output = console()
    output.print(table)
    for line in _advice(chains):
        output.print(line, markup=False)


def _cells(chain: Chain, *, now: datetime) -> list[Text]:
    mark, colour = MARKS[chain.state]
    cells: list[Any] = [
        chain.chain_id[:SHOWN_ID],
        f"{chain.requested_at:%Y-%m-%d %H:%M:%S} UTC",
        chain.brand_id,
        chain.job,
        _by(chain),
        chain.tries,
        Text(f"{mark} {_outcome(chain, now=now)}", style=colour),
        duration_text(chain.started_at, chain.finished_at),
        chain.records if chain.outcomes else "-",
        _went_wrong(chain),
    ]
    return [cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells]


def _by(chain: Chain) -> str:
    if chain.resync_id is not None:
        return f"resync, {chain.requested_by}"
    if chain.trigger in {Trigger.MANUAL, Trigger.SCHEDULE}:
        return chain.requested_by
    return (
        chain.trigger
        if chain.requested_by == chain.trigger
        else (f"{chain.trigger}, {chain.requested_by}")
    )


def _outcome(chain: Chain, *, now: datetime) -> str:
    if chain.next_try_at is None or chain.state is not RequestState.QUEUED:
        return chain.state.value
    wait = (chain.next_try_at - now).total_seconds()
    return f"next try in {age_text(wait)}" if wait > 0 else "next try is due"


def _went_wrong(chain: Chain) -> str:
    if chain.error_class is None:
        return ""
    text = f"{chain.error_class}: {' '.join((chain.error_message or '').split())}"
    return text if len(text) <= _ERROR_WIDTH else f"{text[: _ERROR_WIDTH - 1]}…"


def _advice(chains: Sequence[Chain]) -> list[str]:
    """The newest distinct pieces of advice, with whom they are for."""
    advised: dict[tuple[str, str | None, str], None] = {}
    for chain in chains:
        if chain.advice:
            advised.setdefault((chain.brand_id, chain.error_class, chain.advice))
    lines = []
    for brand_id, error_class, advice in list(advised)[:_ADVISED]:
        lines += ["", f"{brand_id}: {error_class}", f"  What to do: {advice}"]
    return lines
