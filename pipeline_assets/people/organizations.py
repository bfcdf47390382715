"""Whose things are: checks of organization ids that people and programs are bound to."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.roles import EVERY
from pipeline_assets.storage.tables import organizations


def check_organization(connection: Connection, organization_id: str) -> None:
    """Make sure that there is this organization.

    Raises: InvalidConfigError when there is none.
    """
    _refuse_unknown({organization_id} - _existing(connection))


def check_scopes(
    connection: Connection, scopes: Collection[str], *, among: Collection[str] | None = None
) -> None:
    """Make sure that each is EVERY or an organization that exists; one of `among`, if given.

    Raises: InvalidConfigError naming the first that is not; those that others may know look alike.
    """
    known = {EVERY, *_existing(connection)}
    _refuse_unknown(set(scopes) - (known if among is None else known.intersection(among)))


def only_organization(roles: Mapping[str, object]) -> str | None:
    """The one organization that roles are bound to, in whose audit log they belong; else None."""
    return next(iter(roles)) if len(roles) == 1 and EVERY not in roles else None


def _existing(connection: Connection) -> set[str]:
    return set(connection.execute(select(organizations.c.id)).scalars())


def _refuse_unknown(organization_ids: set[str]) -> None:
    if organization_ids:
        raise InvalidConfigError(
            f"There is no organization {min(organization_ids)!r}.",
            advice="pipeline-assets organizations list shows all.",
        )
