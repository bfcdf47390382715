"""`pipeline-assets cadences`: when which job runs for which brand."""

import heapq
from datetime import UTC, datetime, tzinfo
from typing import Any

import click

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import list_brands
from pipeline_assets.cli.installation import actor, open_installation
from pipeline_assets.cli.instants import parse_instant
from pipeline_assets.cli.output import json_option, print_json, print_table
from pipeline_assets.clock import utcnow
from pipeline_assets.control.cadence_ticks import read_zone
from pipeline_assets.control.cadences import (
    Cadence,
    list_cadences,
    pause_cadence,
    resume_cadence,
    set_cadence,
    upcoming,
)
from pipeline_assets.control.targets import read_target
from pipeline_assets.errors import InvalidConfigError

_SHOWN_TIMES = 3


@click.group()
def cadences() -> None:
    """Cadences: when which job runs for which brand."""


@cadences.command("set")
@click.argument("brand_id", metavar="BRAND")
@click.argument("job")
@click.argument("cadence")
@click.option("--timezone", help="IANA time zone, such as Europe/Paris; the brand's if left out.")
@json_option
def set_(*, brand_id: str, job: str, cadence: str, timezone: str | None, as_json: bool) -> None:
    """Add or change a cadence; the first run is at its next time, not now.

    CADENCE is hourly, every_6_hours, daily (in the morning), twice_weekly (early on Monday and
    Thursday), weekly (on Monday after noon), or five cron fields: minute hour day month weekday.

    \b
    pipeline-assets cadences set acme meta_sync daily
    pipeline-assets cadences set acme meta_sync "30 6,14 * * mon-fri" --timezone Europe/Paris
    """
    changed = set_cadence(
        open_installation().engine,
        brand_id,
        job,
        cadence,
        timezone=timezone,
        actor=actor(),
        now=utcnow(),
    )
    _print_cadence(changed, as_json=as_json)


@cadences.command("list")
@click.option("--brand", "brand_id", metavar="BRAND", help="Only this brand's.")
@click.option("--organization", "organization_id", help="Only this organization's.")
@json_option
def list_(*, brand_id: str | None, organization_id: str | None, as_json: bool) -> None:
    """List the cadences, with what came of each one's last time.

    \b
    pipeline-assets cadences list --brand acme
    """
    engine = open_installation().engine
    organization_ids = [organization_id] if organization_id else None
    found = list_cadences(engine, organization_ids=organization_ids, brand_id=brand_id)
    if as_json:
        print_json([cadence.as_row() for cadence in found])
    elif found:
        now = utcnow()
        columns = ["brand_id", "job", "cadence", "cron", "next_run", "paused", "last_tick_result"]
        print_table(columns, [_list_row(cadence, now=now) for cadence in found])
    else:
        click.echo("No cadence. `pipeline-assets cadences set --help` shows how to add one.")


@cadences.command()
@click.argument("brand_id", metavar="BRAND")
@click.argument("job")
@click.option("--reason", required=True, help="Why, for those who wonder.")
@click.option("--until", help="When it resumes by itself: 2026-01-31 or 2026-01-31T08:00 (UTC).")
@json_option
def pause(*, brand_id: str, job: str, reason: str, until: str | None, as_json: bool) -> None:
    """Pause a cadence: its times go by without a run, until then or until it is resumed.

    \b
    pipeline-assets cadences pause acme meta_sync --reason "no budget" --until 2026-12-31
    """
    paused = pause_cadence(
        open_installation().engine,
        brand_id,
        job,
        reason=reason,
        until=parse_instant(until) if until else None,
        actor=actor(),
        now=utcnow(),
    )
    _print_cadence(paused, as_json=as_json)


@cadences.command()
@click.argument("brand_id", metavar="BRAND")
@click.argument("job")
@json_option
def resume(*, brand_id: str, job: str, as_json: bool) -> None:
    """End a cadence's pause; the next run is at its next time, not now.

    \b
    pipeline-assets cadences resume acme meta_sync
    """
    engine = open_installation().engine
    _print_cadence(
        resume_cadence(engine, brand_id, job, actor=actor(), now=utcnow()), as_json=as_json
    )


@cadences.command("next")
@click.argument("brand_id", metavar="[BRAND]", required=False)
@click.argument("job", required=False)
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True)
@json_option
def next_(*, brand_id: str | None, job: str | None, count: int, as_json: bool) -> None:
    """Show the next times, the soonest first: of all cadences, a brand's, or one.

    \b
    pipeline-assets cadences next acme meta_sync --count 3
    """
    engine = open_installation().engine
    now = utcnow()
    if brand_id is not None:
        read_target(engine, brand_id)  # refuses an unknown one
    brands = {brand.id: brand for brand in list_brands(engine)}
    ticks = (
        (at, cadence)
        for cadence in list_cadences(engine, brand_id=brand_id, job=job)
        for at in upcoming(cadence, now, count)
    )
    soonest = [
        {
            "brand_id": cadence.brand_id,
            "job": cadence.job,
            "local": _local(at, cadence.timezone),
            "timezone": cadence.timezone,
            "at": at,
            "is_paused": cadence.is_paused(at) or _is_paused(brands.get(cadence.brand_id), at),
        }
        for at, cadence in heapq.nsmallest(count, ticks, key=lambda tick: (tick[0], tick[1].target))
    ]
    if as_json:
        print_json(soonest)
    elif soonest:
        marked = [row | {"paused": "paused" if row["is_paused"] else None} for row in soonest]
        print_table(["brand_id", "job", "local", "at", "paused"], marked)
    else:
        click.echo("No cadence. `pipeline-assets cadences set --help` shows how to add one.")


def _is_paused(brand: Brand | None, at: datetime) -> bool:
    return brand is not None and brand.is_paused(at)


def _local(at: datetime, timezone: str) -> str:
    try:
        zone: tzinfo = read_zone(timezone)
    except InvalidConfigError:  # the list shows broken cadences too
        zone = UTC
    return at.astimezone(zone).strftime("%a %Y-%m-%d %H:%M %Z")


def _list_row(cadence: Cadence, *, now: datetime) -> dict[str, Any]:
    paused = cadence.paused_reason if cadence.is_paused(now) else None
    if paused and cadence.paused_until:
        paused = f"{paused} (until {cadence.paused_until:%Y-%m-%d %H:%M} UTC)"
    return cadence.as_row() | {
        "cadence": cadence.preset or "own",
        "next_run": _local(cadence.next_run_at, cadence.timezone),
        "paused": paused,
    }


def _print_cadence(cadence: Cadence, *, as_json: bool) -> None:
    row = cadence.as_row()
    times = upcoming(cadence, utcnow(), _SHOWN_TIMES)
    if as_json:
        print_json(row | {"upcoming": times})
        return
    row["upcoming"] = [_local(at, cadence.timezone) for at in times]
    print_table(["field", "value"], [{"field": key, "value": row[key]} for key in row])
