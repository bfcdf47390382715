"""`pipeline-assets organizations`: the tenants of this installation."""

import click

from pipeline_assets.brands import registry
from pipeline_assets.brands.models import parse_organization
from pipeline_assets.cli.installation import actor, open_installation
from pipeline_assets.cli.output import json_option, print_json, print_table
from pipeline_assets.clock import utcnow


@click.group()
def organizations() -> None:
    """Organizations: each owns brands; nobody sees another's."""


@organizations.command()
@click.argument("organization_id", metavar="SLUG")
@click.option("--name", help="Name for people; the slug if left out.")
@json_option
def add(*, organization_id: str, name: str | None, as_json: bool) -> None:
    """Add an organization."""
    organization = parse_organization({"id": organization_id, "name": name or organization_id})
    engine = open_installation().engine
    registry.add_organization(engine, organization, actor=actor(), now=utcnow())
    if as_json:
        print_json(organization.model_dump())
    else:
        click.echo(f"Added organization {organization.id}.")


@organizations.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the organizations."""
    found = registry.list_organizations(open_installation().engine)
    rows = [organization.model_dump() for organization in found]
    if as_json:
        print_json(rows)
    else:
        print_table(["id", "name"], rows)
