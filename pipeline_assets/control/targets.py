"""Whom a request or a cadence is for: one brand, or all brands of an organization at once.

Where a brand's slug stands otherwise, `*<organization>` stands for all of its brands: no slug
begins with `*`. So one wish, one lane and one line of the audit log are what they are for a brand.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import (
    Row,
    get_brand,
    list_organizations,
    parse_row,
    parse_rows,
    read_rows,
)
from pipeline_assets.control.run_tags import ALL_BRANDS
from pipeline_assets.datasets import DATASETS, Job
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.tables import brands


def all_brands_id(organization_id: str) -> str:
    """What stands for all brands of an organization: `*default`."""
    return f"{ALL_BRANDS}{organization_id}"


def organization_of(target_id: str) -> str | None:
    """The organization whose brands this stands for; None for one brand, or brands of several."""
    return target_id.removeprefix(ALL_BRANDS) if is_all_brands(target_id) else None


def is_all_brands(target_id: str) -> bool:
    """Whether this stands for all brands of one organization."""
    return target_id.startswith(ALL_BRANDS) and target_id != ALL_BRANDS


def in_words(target_id: str) -> str:
    """Whom this stands for, for people: the brand's slug, or which brands."""
    if target_id == ALL_BRANDS:
        return "several brands"
    organization_id = organization_of(target_id)
    return f"all brands of {organization_id}" if organization_id else target_id


def read_owners(connection: sa.Connection, target_ids: Collection[str]) -> dict[str, str]:
    """The organization of each target, as far as it exists; also of brands that cannot be read."""
    found = {each: owner for each in target_ids if (owner := organization_of(each)) is not None}
    query = sa.select(brands.c.id, brands.c.organization_id).where(
        brands.c.id.in_(set(target_ids) - found.keys())
    )
    return found | {row.id: row.organization_id for row in connection.execute(query)}


class Choice(NamedTuple):
    """The brands that a run takes, and those that it leaves out with why."""

    brand_ids: tuple[str, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class AllBrands:
    """All brands of an organization, wherever one brand may stand; `brands` by id."""

    organization_id: str
    brands: tuple[Brand, ...]
    unreadable: tuple[str, ...] = ()
    """The ids of further brands, whose rows cannot be read."""

    @property
    def id(self) -> str:
        """What stands in tables and tags where a brand's slug stands otherwise."""
        return all_brands_id(self.organization_id)

    @property
    def timezone(self) -> str:
        """The zone of most of its brands, UTC for none."""
        zones = Counter(brand.timezone for brand in self.brands)
        return min(zones, key=lambda zone: (-zones[zone], zone), default="UTC")

    def configured_for(self, job: Job) -> list[Brand]:
        """Its brands that have every source of the job's datasets."""
        sources = {DATASETS[key].source for key in job.datasets}
        return [brand for brand in self.brands if all(map(brand.sources.has, sources))]

    def left_out(
        self, job: Job, *, now: datetime, among: Collection[str] | None = None
    ) -> dict[str, str]:
        """The brands that a run of the job passes over, each with why.

        Those that it would take but for their pause, and those that cannot be read.
        """
        paused = {
            brand.id: f"it is paused: {brand.paused_reason}"
            for brand in self.configured_for(job)
            if brand.is_paused(now)
        }
        broken = dict.fromkeys(
            self.unreadable, "it cannot be read, and `pipeline-assets brands list` says why"
        )
        return {
            brand_id: reason
            for brand_id, reason in sorted((paused | broken).items())
            if among is None or brand_id in among
        }

    def choose(self, job: Job, *, now: datetime, among: Collection[str] | None = None) -> Choice:
        """The brands that a run of the job takes now; `among` keeps it to some.

        Raises:
            InvalidConfigError: it is none.
        """
        left_out = self.left_out(job, now=now, among=among)
        chosen = tuple(
            brand.id
            for brand in self.configured_for(job)
            if brand.id not in left_out and (among is None or brand.id in among)
        )
        if not chosen:
            paused = [each for each in left_out if each not in self.unreadable]
            found = {"paused": paused, "not to be read": self.unreadable}
            because = "; ".join(f"{', '.join(ids)} {how}" for how, ids in found.items() if ids)
            raise InvalidConfigError(
                f"Organization {self.organization_id} has no brand that {job.name} could work on "
                f"now{because and f' ({because})'}.",
                advice="Resume a brand." if paused else "Configure its source for a brand.",
            )
        return Choice(chosen, left_out)


Target = Brand | AllBrands
"""One brand, or all of an organization's."""


def read_target(
    engine: sa.Engine, target_id: str, *, organization_ids: Collection[str] | None = None
) -> Target:
    """The brand, or all brands of `*<organization>`; of one of these organizations when given.

    Raises:
        InvalidConfigError: there is none; one of another organization looks the same.
    """
    organization_id = organization_of(target_id)
    if organization_id is None:
        return get_brand(engine, target_id, organization_ids=organization_ids)
    known = {each.id for each in list_organizations(engine)}
    if organization_ids is not None:
        known &= set(organization_ids)
    if organization_id not in known:
        raise InvalidConfigError(
            f"There is no organization {organization_id!r}.",
            advice="`pipeline-assets organizations list` shows all.",
        )
    with engine.connect() as connection:
        return read_targets(connection, [target_id])[target_id]


def read_targets(connection: sa.Connection, target_ids: Collection[str]) -> dict[str, Target]:
    """These targets by id; an organization may be empty.

    A brand that does not exist, or cannot be read, has none: it harms no other.
    """
    found = {}
    for target_id, rows in read_target_rows(connection, target_ids).items():
        try:
            found[target_id] = parse_target(target_id, rows)
        except InvalidConfigError:
            continue
    return found


def read_target_rows(
    connection: sa.Connection, target_ids: Collection[str]
) -> dict[str, Sequence[Row]]:
    """What the registry holds of each target's brands, unchecked; a target may have none."""
    organizations = {each: organization_of(each) for each in target_ids}
    brand_ids = {each for each, organization_id in organizations.items() if organization_id is None}
    found: dict[str, list[Row]] = {each: [] for each in target_ids}
    for row in read_rows(connection, brand_ids=brand_ids) if brand_ids else ():
        found[row["id"]].append(row)
    wanted = set(filter(None, organizations.values()))
    for row in read_rows(connection, organization_ids=wanted) if wanted else ():
        found[all_brands_id(row["organization_id"])].append(row)
    return dict(found)


def parse_target(target_id: str, rows: Sequence[Row]) -> Target:
    """The target that these rows of the registry describe, checked.

    Of all brands of an organization, one whose row cannot be read is left aside: it harms no other.

    Raises:
        InvalidConfigError: the one brand does not exist or cannot be read.
    """
    organization_id = organization_of(target_id)
    if organization_id is None:
        if not rows:
            raise InvalidConfigError(
                f"There is no brand {target_id!r}.",
                advice="`pipeline-assets brands list` shows all.",
            )
        return parse_row(rows[0])
    readable, unreadable = parse_rows(rows)
    return AllBrands(
        organization_id=organization_id, brands=tuple(readable), unreadable=tuple(unreadable)
    )
