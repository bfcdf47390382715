"""`pipeline-assets audit`: who changed what, and when."""

import click

from pipeline_assets.cli.installation import open_installation
from pipeline_assets.cli.output import json_option, print_json, print_table
from pipeline_assets.storage.audit import read_audit


@click.command()
@click.option("--target", help="Only what concerns this brand, or brand:job.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def audit(*, target: str | None, limit: int, as_json: bool) -> None:
    """Tell who changed what: brands, cadences, requests; the newest first.

    \b
    pipeline-assets audit --target acme
    """
    rows = [
        entry.as_row()
        for entry in read_audit(open_installation().engine, target=target, limit=limit)
    ]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(["at", "actor", "action", "target", "detail"], rows)
    elif target:
        click.echo(f"Nothing of {target} has been changed yet.")
    else:
        click.echo("Nothing has been changed yet.")
