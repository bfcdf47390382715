"""`pipeline-assets resync` and `resyncs`: old days synced again, and how far that is."""

from datetime import date, datetime
from typing import Any

import click

from pipeline_assets.brands.registry import get_brand
from pipeline_assets.cli.following import (
    EXIT_CODES,
    START_DAGSTER,
    Line,
    View,
    check_timeout,
    follow,
    lines_of,
    timeout_option,
    wait_option,
)
from pipeline_assets.cli.installation import actor, open_dagster, open_installation
from pipeline_assets.cli.output import json_option, print_json, print_table
from pipeline_assets.cli.requests import SHOWN_ID, progress_of, refresh
from pipeline_assets.clock import utcnow
from pipeline_assets.control.dagster_log import is_daemon_alive
from pipeline_assets.control.request_progress import RequestProgress
from pipeline_assets.control.requests import RequestState
from pipeline_assets.control.resyncs import (
    Resync,
    ResyncState,
    cancel_resync,
    find_resync_id,
    get_resync,
    list_resyncs,
    read_active_piece,
    start_resync,
)
from pipeline_assets.resources.installation import Installation

_BAR_WIDTH = 20


class _Day(click.ParamType[date]):
    """A day as people write it."""

    name = "day"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> date:
        """The day that the text names."""
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day such as 2026-01-31.", param, ctx)


@click.command()
@click.argument("brand_id", metavar="BRAND")
@click.option("--since", type=_Day(), required=True, metavar="DAY", help="First day: 2026-01-31.")
@click.option("--until", type=_Day(), required=True, metavar="DAY", help="Last day, included.")
@click.option("--job", default="meta_sync", show_default=True)
@click.option("--reason", default="", help="Why, for those who wonder.")
@wait_option
@timeout_option
@json_option
@click.pass_context
def resync(
    context: click.Context,
    *,
    brand_id: str,
    since: date,
    until: date,
    job: str,
    reason: str,
    is_waited_for: bool,
    timeout_seconds: float | None,
    as_json: bool,
) -> None:
    """Sync a brand's old days again, piece by piece, the newest first, behind today's syncs.

    A resync of the same days that stopped before its end goes on where it was. With --wait the exit
    code tells how it ended: 0 succeeded, 4 failed, 5 cancelled. See also `resyncs`.

    \b
    pipeline-assets resync acme --since 2026-01-01 --until 2026-03-31 --reason "late conversions"
    """
    check_timeout(timeout_seconds, is_waited_for=is_waited_for)
    installation = open_installation()
    now = utcnow()
    started = start_resync(
        installation.engine,
        brand_id=brand_id,
        job=job,
        since=since,
        until=until,
        actor=actor(),
        reason=reason,
        now=now,
    )
    told = _what_happened(started, now=now)
    if is_waited_for:
        click.echo(told, err=True)
        ended = _follow(installation, started, timeout_seconds)
        _print(ended, as_json=as_json)
        context.exit(EXIT_CODES[RequestState(ended.state)])
    with open_dagster(installation.settings) as instance:
        is_alive = is_daemon_alive(instance, now=utcnow())
    if as_json:
        print_json({**_row(started), "is_daemon_alive": is_alive})
        return
    click.echo(told)
    if not is_alive:
        click.echo(f"Dagster's daemon is not running: it waits until that is. {START_DAGSTER}")
    click.echo(_afterwards(started))


@click.group()
def resyncs() -> None:
    """Resyncs: long windows that are synced again, and how far they are."""


@resyncs.command("list")
@click.option("--brand", "brand_id", metavar="BRAND", help="Only this brand's.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_(*, brand_id: str | None, limit: int, as_json: bool) -> None:
    """List resyncs, the newest first.

    \b
    pipeline-assets resyncs list --brand acme
    """
    engine = open_installation().engine
    if brand_id is not None:
        get_brand(engine, brand_id)  # refuses an unknown one
    rows = [_row(each) for each in list_resyncs(engine, brand_id=brand_id, limit=limit)]
    if as_json:
        print_json(rows)
    elif rows:
        columns = ["id", "brand_id", "job", "since", "until", "state", "done", "requested_by"]
        print_table([*columns, "requested_at", "error_message"], [_shown(row) for row in rows])
    else:
        click.echo("No resync. `pipeline-assets resync --help` shows how to begin one.")


@resyncs.command()
@click.argument("resync_id", metavar="ID")
@json_option
def show(*, resync_id: str, as_json: bool) -> None:
    """Show one resync and what the piece under way is at.

    ID may be the first six characters or more.

    \b
    pipeline-assets resyncs show 5d0c4b2a
    """
    installation = open_installation()
    found = find_resync_id(installation.engine, resync_id)
    refresh(installation)
    _print(get_resync(installation.engine, found), as_json=as_json)
    piece = None if as_json else _piece(installation, found)
    for line in lines_of(piece) if piece else []:
        click.echo(" ".join(filter(None, (f"{line.subject}:", line.doing, line.count))))


@resyncs.command()
@click.argument("resync_id", metavar="ID")
@json_option
def cancel(*, resync_id: str, as_json: bool) -> None:
    """Cancel a resync and the piece under way; what is done stays.

    ID may be the first six characters or more. The same `resync` goes on where it stopped.

    \b
    pipeline-assets resyncs cancel 5d0c4b2a
    """
    installation = open_installation()
    found = find_resync_id(installation.engine, resync_id)
    cancelled = cancel_resync(installation.engine, found, actor=actor(), now=utcnow())
    refresh(installation)  # stops the piece's run without waiting for the sensor
    _print(cancelled, as_json=as_json)


def _what_happened(started: Resync, *, now: datetime) -> str:
    what = f"{_describe(started)}, {_days(started)} done"
    if started.requested_at != now:
        return f"Already under way, asked for by {started.requested_by}: {what}."
    return f"Goes on: {what}." if started.done_days else f"Started: {what}."


def _describe(each: Resync) -> str:
    window = f"{each.since} to {each.until}"
    return f"{each.job} for {each.brand_id}, {window} (resync {each.id[:SHOWN_ID]})"


def _days(each: Resync) -> str:
    return f"{each.done_days} of {each.total_days} days"


def _afterwards(each: Resync) -> str:
    short = each.id[:SHOWN_ID]
    return (
        f"`pipeline-assets resyncs show {short}` tells how far it is, "
        f"`pipeline-assets resyncs cancel {short}` ends it."
    )


def _follow(installation: Installation, started: Resync, timeout_seconds: float | None) -> Resync:
    def look() -> View:
        current = get_resync(installation.engine, started.id)
        is_over = current.state is not ResyncState.RUNNING
        piece = None if is_over else _piece(installation, started.id)
        total = Line(f"{current.since} to {current.until}", _bar(current), _days(current))
        return View([total, *(lines_of(piece) if piece else [])], is_last=is_over)

    with open_dagster(installation.settings) as instance:
        follow(
            installation,
            instance,
            look,
            what=f"resync {started.id[:SHOWN_ID]}",
            afterwards=_afterwards(started),
            timeout_seconds=timeout_seconds,
        )
    return get_resync(installation.engine, started.id)


def _bar(each: Resync) -> str:
    filled = _BAR_WIDTH * each.done_days // each.total_days
    return "█" * filled + "░" * (_BAR_WIDTH - filled)


def _piece(installation: Installation, resync_id: str) -> RequestProgress | None:
    piece = read_active_piece(installation.engine, resync_id)
    return progress_of(installation, piece.id) if piece else None


def _row(each: Resync) -> dict[str, Any]:
    return {**vars(each), "done_days": each.done_days, "total_days": each.total_days}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    done = f"{row['done_days']} of {row['total_days']} days"
    return {**row, "id": row["id"][:SHOWN_ID], "done": done}


def _print(each: Resync, *, as_json: bool) -> None:
    row = _row(each)
    if as_json:
        print_json(row)
    else:
        print_table(["field", "value"], [{"field": key, "value": row[key]} for key in row])
