"""Which pages an organization's people see: switches per organization, all shown by default."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select

from pipeline_assets.datasets import Reader
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.organizations import check_organization
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import feature_switches, organizations

FEATURES = ("pipeline_manager", *(reader.value for reader in Reader))
"""The pages that can be shown or hidden."""


@dataclass(frozen=True)
class FeatureSwitch:
    """Whether an organization sees a page, and who said so last; None: nobody has."""

    organization_id: str
    feature: str
    is_shown: bool = True
    updated_at: datetime | None = None
    updated_by: str | None = None


def hidden_features(engine: Engine, organization_ids: Collection[str] | None) -> frozenset[str]:
    """The features that each of these organizations (None: each there is) hides, in one query.

    Who belongs to two sees what one of them shows; who belongs to none sees nothing.
    """
    if organization_ids is not None and not organization_ids:
        return frozenset(FEATURES)
    among = select(organizations.c.id)
    if organization_ids is not None:
        among = among.where(organizations.c.id.in_(organization_ids))
    asked = among.subquery()
    table = feature_switches.c
    query = (
        select(table.feature)
        .join(asked, asked.c.id == table.organization_id)
        .where(table.is_shown.is_(False))
        .group_by(table.feature)
        .having(func.count() == select(func.count()).select_from(asked).scalar_subquery())
    )
    with engine.connect() as connection:
        return frozenset(connection.execute(query).scalars()).intersection(FEATURES)


def is_hidden(engine: Engine, organization_id: str, feature: str) -> bool:
    """Whether this organization hides this feature."""
    return feature in hidden_features(engine, [organization_id])


def organizations_with(
    engine: Engine, feature: str, organization_ids: Collection[str] | None
) -> frozenset[str]:
    """Those of these organizations (None: of all there are) that show the feature."""
    table = feature_switches.c
    hiding = select(table.organization_id).where(
        table.feature == feature, table.is_shown.is_(False)
    )
    query = select(organizations.c.id).where(organizations.c.id.not_in(hiding))
    if organization_ids is not None:
        query = query.where(organizations.c.id.in_(organization_ids))
    with engine.connect() as connection:
        return frozenset(connection.execute(query).scalars())


def list_features(
    engine: Engine, *, organization_ids: Collection[str] | None = None
) -> list[FeatureSwitch]:
    """A switch for every feature of all organizations, or of these; by organization's id."""
    table = feature_switches.c
    query = select(
        organizations.c.id, table.feature, table.is_shown, table.updated_at, table.updated_by
    ).join_from(
        organizations, feature_switches, table.organization_id == organizations.c.id, isouter=True
    )
    if organization_ids is not None:
        query = query.where(organizations.c.id.in_(organization_ids))
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    stored = {(row[0], row[1]): FeatureSwitch(*row) for row in rows}
    return [
        stored.get((organization_id, feature)) or FeatureSwitch(organization_id, feature)
        for organization_id in sorted({row[0] for row in rows})
        for feature in FEATURES
    ]


def set_feature(
    engine: Engine, organization_id: str, feature: str, *, is_shown: bool, actor: str, now: datetime
) -> FeatureSwitch:
    """Show a feature to an organization's people, or hide it from them.

    Raises: InvalidConfigError when the organization or the feature is unknown.
    """
    if feature not in FEATURES:
        raise InvalidConfigError(
            f"There is no feature {feature!r}.", advice=f"Use one of: {', '.join(FEATURES)}."
        )
    switch = FeatureSwitch(organization_id, feature, is_shown, now, actor)
    with write_transaction(engine) as connection:
        check_organization(connection, organization_id)
        insertion = dialect_insert(connection, feature_switches).values(asdict(switch))
        changed = {
            name: insertion.excluded[name] for name in ("is_shown", "updated_at", "updated_by")
        }
        key = ["organization_id", "feature"]
        connection.execute(insertion.on_conflict_do_update(index_elements=key, set_=changed))
        audit.record(
            connection,
            at=now,
            actor=actor,
            action="feature.set",
            target=f"feature/{feature}",  # a brand may have the same slug
            organization_id=organization_id,
            detail={"is_shown": is_shown},
        )
        return switch
