"""`pipeline-assets brands`: the registry from the command line."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline_assets.brands import registry
from pipeline_assets.brands.models import Brand, parse_brand
from pipeline_assets.cli.installation import actor, open_dagster, open_installation, tell_unreadable
from pipeline_assets.cli.instants import parse_instant
from pipeline_assets.cli.output import json_option, print_json, print_table
from pipeline_assets.clock import utcnow
from pipeline_assets.control.cadence_suggestions import set_suggested_cadences
from pipeline_assets.errors import InvalidConfigError, PipelineError
from pipeline_assets.resources.installation import Installation

_cadences_option = click.option(
    "--cadences/--no-cadences",
    "has_cadences",
    default=True,
    show_default=True,
    help="Set the usual cadences for what is new; `cadences list` shows them.",
)


@click.group()
def brands() -> None:
    """Brands: whose data is synced, from which accounts, with which token."""


@brands.command()
@click.argument("brand_id", metavar="SLUG")
@click.option("--name", help="Name for people; the slug if left out.")
@click.option("--timezone", required=True, help="IANA time zone, such as Europe/Paris.")
@click.option("--currency", help="ISO 4217 code, such as EUR.")
@click.option("--organization", "organization_id", default="default", show_default=True)
@click.option("--ad-account", "ad_accounts", multiple=True, help="Meta ad account (repeatable).")
@click.option("--token", help="Where the token is: env:NAME or file:/path, never the token itself.")
@click.option("--app-id", help="Meta app behind the token.")
@click.option("--app-secret", help="Where the app's secret is: env:NAME or file:/path.")
@click.option("--window", "windows", multiple=True, metavar="DATASET=HOURS", help="Allowed age.")
@click.option(
    "--max-runtime",
    "max_runtimes",
    multiple=True,
    metavar="JOB=MINUTES",
    help="How long a run of the job may take.",
)
@_cadences_option
@json_option
def add(
    *,
    brand_id: str,
    name: str | None,
    windows: tuple[str, ...],
    max_runtimes: tuple[str, ...],
    has_cadences: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Add a brand, with the usual cadences of the jobs that its sources allow.

    \b
    pipeline-assets brands add acme --name Acme --timezone Europe/Paris \\
        --ad-account act_1 --ad-account act_2 --token env:META_TOKEN_ACME
    """
    meta = {key: fields.pop(key) for key in ("ad_accounts", "token", "app_id", "app_secret")}
    given = {key: value for key, value in meta.items() if value not in {None, ()}}
    brand = parse_brand(
        {
            "id": brand_id,
            "name": name or brand_id,
            "windows": _parse_numbers(windows, "window", "DATASET=HOURS", "ad_thumbnails=72"),
            "max_runtime_minutes": _parse_numbers(
                max_runtimes, "maximum runtime", "JOB=MINUTES", "meta_sync=90"
            ),
            "sources": {"meta": given} if given else {},
            **fields,
        }
    )
    installation = open_installation()
    registry.add_brand(installation.engine, brand, actor=actor(), now=utcnow())
    if has_cadences:
        set_suggested_cadences(installation.engine, [brand], actor=actor(), now=utcnow())
    _tell_dagster(installation)
    _print_brand(registry.get_brand(installation.engine, brand.id), as_json=as_json)


@brands.command("list")
@click.option("--organization", "organization_id", help="Only this organization's.")
@json_option
def list_(*, organization_id: str | None, as_json: bool) -> None:
    """List the brands."""
    organization_ids = [organization_id] if organization_id else None
    found, unreadable = registry.list_with_unreadable(
        open_installation().engine, organization_ids=organization_ids
    )
    tell_unreadable(unreadable)
    rows = [_as_row(brand) for brand in found]
    if as_json:
        print_json(rows)
    elif rows:
        shown = [
            row | {"sources": sorted(brand.sources.configured)}
            for row, brand in zip(rows, found, strict=True)
        ]
        columns = ["id", "name", "organization_id", "timezone", "sources"]
        print_table([*columns, "ad_accounts", "paused_at"], shown)
    elif unreadable:
        click.echo("No brand can be read.")
    elif organization_id:
        click.echo(f"Organization {organization_id} has no brand.")
    else:
        click.echo("No brand yet. `pipeline-assets brands add --help` shows how to add one.")


@brands.command()
@click.argument("brand_id", metavar="SLUG")
@json_option
def show(*, brand_id: str, as_json: bool) -> None:
    """Show one brand."""
    _print_brand(registry.get_brand(open_installation().engine, brand_id), as_json=as_json)


@brands.command()
@click.argument("brand_id", metavar="SLUG")
@click.option("--reason", required=True, help="Why, for those who wonder.")
@click.option("--until", help="When it resumes by itself: 2026-01-31 or 2026-01-31T08:00 (UTC).")
@json_option
def pause(*, brand_id: str, reason: str, until: str | None, as_json: bool) -> None:
    """Pause a brand: say that it shall not be synced, why, and until when."""
    if not reason.strip():
        raise InvalidConfigError("The reason is empty.", advice="Say why, for those who wonder.")
    paused = registry.pause_brand(
        open_installation().engine,
        brand_id,
        reason=reason,
        until=parse_instant(until) if until else None,
        actor=actor(),
        now=utcnow(),
    )
    _print_brand(paused, as_json=as_json)


@brands.command()
@click.argument("brand_id", metavar="SLUG")
@json_option
def resume(*, brand_id: str, as_json: bool) -> None:
    """End a brand's pause."""
    engine = open_installation().engine
    resumed = registry.resume_brand(engine, brand_id, actor=actor(), now=utcnow())
    _print_brand(resumed, as_json=as_json)


@brands.command()
@click.argument("file", type=click.Path(path_type=Path))
@_cadences_option
@json_option
def apply(*, file: Path, has_cadences: bool, as_json: bool) -> None:
    """Add and change brands as a YAML file says: all of them, or none when one is wrong.

    Jobs that a brand's sources allow now, and did not before, get their usual cadences.

    \b
    brands:
      - id: acme
        name: Acme
        timezone: Europe/Paris
        sources:
          meta: {ad_accounts: [act_1, act_2], token: "env:META_TOKEN_ACME"}
        windows: {meta_ads_performance: 12}
        max_runtime_minutes: {meta_sync: 90}
    """
    installation = open_installation()
    wanted = registry.load_brands_file(file)
    before = registry.list_brands(installation.engine)
    applied = registry.apply_brands(installation.engine, wanted, actor=actor(), now=utcnow())
    cadences = []
    if has_cadences:
        cadences = set_suggested_cadences(
            installation.engine, wanted, before=before, actor=actor(), now=utcnow()
        )
    _tell_dagster(installation)
    if as_json:
        print_json(asdict(applied) | {"cadences": cadences})
        return
    for word in ("added", "changed", "unchanged"):
        for brand_id in getattr(applied, word):
            click.echo(f"{word:10} {brand_id}")
    if cadences:
        click.echo(f"New cadences: {len(cadences)}; pipeline-assets cadences list shows them.")


@brands.command()
@click.argument("brand_id", metavar="SLUG")
@json_option
@click.pass_context
def test(context: click.Context, *, brand_id: str, as_json: bool) -> None:
    """Ask Meta whether the brand's token works and reaches its accounts; exit code 1 if not."""
    from pipeline_assets.sources.meta import check_access  # noqa: PLC0415 - only needed here

    installation = open_installation()
    brand = registry.get_brand(installation.engine, brand_id)
    client = installation.graph_client(brand)
    assert brand.sources.meta is not None  # graph_client has refused a brand without it
    findings = check_access(client, brand.sources.meta.ad_accounts)
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            click.echo(f"{'ok ' if finding.ok else 'BAD'} {finding.subject}: {finding.message}")
            if finding.advice and not finding.ok:
                click.echo(f"    What to do: {finding.advice}")
    context.exit(0 if all(finding.ok for finding in findings) else 1)


def _tell_dagster(installation: Installation) -> None:
    """Bring Dagster's partitions up to date at once; the sensor would do it within 30 s."""
    from pipeline_assets.control.brand_partitions import sync_partitions  # noqa: PLC0415 - heavy

    brand_ids = registry.list_brand_ids(installation.engine)
    try:
        with open_dagster(installation.settings) as instance:
            sync_partitions(instance, brand_ids)
    except PipelineError as error:
        click.echo(f"Note: {error} The sensor sync_brands will make up for it.", err=True)


def _parse_numbers(
    texts: tuple[str, ...], what: str, pattern: str, example: str
) -> dict[str, float]:
    numbers = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            numbers[name] = float(number)
        except ValueError:
            raise InvalidConfigError(
                f"The {what} {text!r} is not {pattern}.", advice=f"For example: {example}."
            ) from None
    return numbers


def _as_row(brand: Brand) -> dict[str, Any]:
    row = brand.model_dump()
    row["ad_accounts"] = list(brand.sources.meta.ad_accounts) if brand.sources.meta else []
    return row


def _print_brand(brand: Brand, *, as_json: bool) -> None:
    row = _as_row(brand)
    if as_json:
        print_json(row)
        return
    for name in ("sources", "ad_accounts"):
        del row[name]
    row |= _in_one_level(brand.sources.model_dump(exclude_none=True))
    print_table(["field", "value"], [{"field": key, "value": row[key]} for key in row])


def _in_one_level(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The sources' fields as `templates.actor.token`; of an actor's input the names alone."""
    rows: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, Mapping):
            rows[prefix + name] = value
        elif name == "input":  # somebody may have put a secret there
            rows[prefix + name] = list(value)
        else:
            rows |= _in_one_level(value, f"{prefix}{name}.")
    return rows
