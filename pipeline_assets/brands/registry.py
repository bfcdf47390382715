"""The table of brands and organizations: add, change, pause, find.

Nothing here deletes a brand, and nothing moves one to another organization: its history is there.
Every change names its `actor` (`cli:alice`) and is written to the audit log in its transaction.
"""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from sqlalchemy import Connection, Engine, insert, select, update

from pipeline_assets.brands.models import Brand, Organization, parse_brand
from pipeline_assets.datasets import DATASETS
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, organizations

Row = dict[str, Any]

UNREADABLE_YAML = (
    yaml.YAMLError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)
"""What `yaml.safe_load` raises: beside its own errors Python's, for a 2026-02-31 or `!!bool 7`."""

_PAUSE_COLUMNS = {"paused_at", "paused_reason", "paused_until"}
_BRAND_COLUMNS = [brands.c[name] for name in Brand.model_fields]


@dataclass(frozen=True)
class AppliedBrands:
    """The ids of the brands that were added, changed, or already as wanted; in the order given."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def add_organization(
    engine: Engine, organization: Organization, *, actor: str, now: datetime
) -> None:
    """Store a new organization.

    Raises: InvalidConfigError when its id is taken.
    """
    with write_transaction(engine) as connection:
        taken = select(organizations.c.id).where(organizations.c.id == organization.id)
        if connection.execute(taken).first():
            raise InvalidConfigError(
                f"There is an organization {organization.id} already.", advice="Choose another id."
            )
        connection.execute(insert(organizations).values(organization.model_dump()))
        audit.record(
            connection,
            at=now,
            actor=actor,
            action="organization.add",
            target=f"organization/{organization.id}",  # a brand may have the same slug
            organization_id=organization.id,
        )


def list_organizations(engine: Engine) -> list[Organization]:
    """All organizations, by id, as they were checked on the way in."""
    with engine.connect() as connection:
        rows = connection.execute(select(organizations)).mappings()
        found = [Organization.model_construct(**row) for row in rows]
    return sorted(found, key=lambda organization: organization.id)


def add_brand(engine: Engine, brand: Brand, *, actor: str, now: datetime) -> None:
    """Store a new brand.

    Raises: InvalidConfigError when its id is taken or its organization unknown.
    """
    with write_transaction(engine) as connection:
        if connection.execute(select(brands.c.id).where(brands.c.id == brand.id)).first():
            raise InvalidConfigError(
                f"There is a brand {brand.id} already.",
                advice="Choose another id, or change the brand by applying a brands file.",
            )
        _check_organizations(connection, [brand])
        _insert_brand(connection, brand, actor=actor, now=now)


def apply_brands(
    engine: Engine, wanted: Sequence[Brand], *, actor: str, now: datetime
) -> AppliedBrands:
    """Add the brands that are missing and change those that differ, all or nothing.

    Brands that are not named stay, and so does everybody's pause.

    Raises: InvalidConfigError for an id named twice, an unknown organization, and a brand of
    another organization.
    """
    doubled = [brand_id for brand_id, times in Counter(b.id for b in wanted).items() if times > 1]
    if doubled:
        raise InvalidConfigError(f"Named more than once: {', '.join(doubled)}.")
    added, changed, unchanged = [], [], []
    with write_transaction(engine) as connection:
        named = {brand.id for brand in wanted}
        stored = {row["id"]: row for row in read_rows(connection, brand_ids=named)}
        _check_organizations(connection, [brand for brand in wanted if brand.id not in stored])
        for brand in wanted:
            if brand.id not in stored:
                _insert_brand(connection, brand, actor=actor, now=now)
                added.append(brand.id)
            elif _change_brand(connection, brand, stored[brand.id], actor=actor, now=now):
                changed.append(brand.id)
            else:
                unchanged.append(brand.id)
    return AppliedBrands(tuple(added), tuple(changed), tuple(unchanged))


def list_brands(engine: Engine, *, organization_ids: Collection[str] | None = None) -> list[Brand]:
    """All brands, or those of these organizations, by id; as of `read_brands`."""
    with engine.connect() as connection:
        return read_brands(connection, organization_ids=organization_ids)


def list_brand_ids(engine: Engine) -> list[str]:
    """The ids of all brands, also of those that cannot be read, in order."""
    with engine.connect() as connection:
        return sorted(connection.execute(select(brands.c.id)).scalars())


def list_with_unreadable(
    engine: Engine, *, organization_ids: Collection[str] | None = None
) -> tuple[list[Brand], dict[str, InvalidConfigError]]:
    """The brands of `list_brands`, and what is wrong with each that it leaves aside, by its id."""
    with engine.connect() as connection:
        return parse_rows(read_rows(connection, organization_ids=organization_ids))


def read_brands(
    connection: Connection,
    *,
    organization_ids: Collection[str] | None = None,
    brand_ids: Collection[str] | None = None,
) -> list[Brand]:
    """All brands, those of these organizations, or these as far as they exist; by id.

    One whose row cannot be read is left aside: it harms no other. `list_with_unreadable` names it.
    """
    rows = read_rows(connection, organization_ids=organization_ids, brand_ids=brand_ids)
    return parse_rows(rows)[0]


def read_rows(
    connection: Connection,
    *,
    organization_ids: Collection[str] | None = None,
    brand_ids: Collection[str] | None = None,
) -> list[Row]:
    """What the registry holds of all brands, or of those in both sets; unchecked, by id."""
    statement = select(*_BRAND_COLUMNS)
    if organization_ids is not None:
        statement = statement.where(brands.c.organization_id.in_(organization_ids))
    if brand_ids is not None:
        statement = statement.where(brands.c.id.in_(brand_ids))
    found = [dict(row) for row in connection.execute(statement).mappings()]
    return sorted(found, key=itemgetter("id"))  # the databases' orders differ


def parse_rows(rows: Iterable[Row]) -> tuple[list[Brand], dict[str, InvalidConfigError]]:
    """The brands of these rows, and what is wrong with each that cannot be read, by its id."""
    readable, unreadable = [], {}
    for row in rows:
        try:
            readable.append(parse_row(row))
        except InvalidConfigError as error:
            unreadable[row["id"]] = error
    return readable, unreadable


def parse_row(row: Row) -> Brand:
    """The brand that a row of the registry describes.

    Raises: InvalidConfigError, with how to repair it.
    """
    try:
        return parse_brand(row)
    except InvalidConfigError as error:
        raise InvalidConfigError(
            f"{error} So it stands in the registry.",
            advice="Write the brand into a file as it shall be, and "
            "`pipeline-assets brands apply FILE`.",
        ) from None


class BrandSummary(NamedTuple):
    """What lists and judging freshness take of a brand.

    `sources` are the names of the configured ones, `windows` allowed ages in hours where they
    differ from the usual.
    """

    id: str
    organization_id: str
    name: str
    sources: frozenset[str]
    windows: Mapping[str, float]
    paused_at: datetime | None
    paused_until: datetime | None
    paused_reason: str | None

    def is_paused(self, now: datetime) -> bool:
        """Whether a person's pause holds at this instant; it ends at `paused_until` by itself."""
        return self.paused_at is not None and (self.paused_until is None or now < self.paused_until)


def read_summaries(
    connection: Connection, *, organization_ids: Collection[str] | None = None
) -> dict[str, BrandSummary]:
    """Every brand's summary by its id, in that order, as it was checked on the way in.

    Checking a thousand brands again takes longer than all else that a page needs of them. Windows
    of datasets that are no more are left out.
    """
    statement = select(*(brands.c[name] for name in BrandSummary._fields))
    if organization_ids is not None:
        statement = statement.where(brands.c.organization_id.in_(organization_ids))
    summaries = (BrandSummary(*row) for row in connection.execute(statement).all())
    return {
        brand.id: brand._replace(
            sources=frozenset(name for name, source in brand.sources.items() if source),  # type: ignore[attr-defined]
            windows={key: hours for key, hours in brand.windows.items() if key in DATASETS},
        )
        for brand in sorted(summaries, key=itemgetter(0))
    }


def get_brand(
    engine: Engine, brand_id: str, *, organization_ids: Collection[str] | None = None
) -> Brand:
    """The brand with this id, of one of these organizations when some are given.

    Raises: InvalidConfigError when there is none; a brand of another organization looks the same.
    """
    with engine.connect() as connection:
        return _read_brand(connection, brand_id, organization_ids=organization_ids)


def pause_brand(
    engine: Engine,
    brand_id: str,
    *,
    reason: str,
    until: datetime | None = None,
    actor: str,
    now: datetime,
) -> Brand:
    """Pause a brand until an instant, or until it is resumed; a second pause replaces the first.

    Raises: InvalidConfigError when the brand is unknown or `until` is over.
    """
    if until is not None and until <= now:
        raise InvalidConfigError(
            f"Brand {brand_id} cannot be paused until {until.isoformat()}: that is over.",
            advice="Give a time to come, or none to pause until somebody resumes the brand.",
        )
    with write_transaction(engine) as connection:
        brand = _read_brand(connection, brand_id)
        _set_pause(connection, brand_id, at=now, reason=reason, until=until, now=now)
        detail = {"reason": reason, "until": until}
        _record(connection, "brand.pause", brand, actor=actor, now=now, detail=detail)
        return _read_brand(connection, brand_id)


def resume_brand(engine: Engine, brand_id: str, *, actor: str, now: datetime) -> Brand:
    """End a brand's pause; nothing happens to one that is not paused.

    Raises: InvalidConfigError when the brand is unknown.
    """
    with write_transaction(engine) as connection:
        brand = _read_brand(connection, brand_id)
        if brand.paused_at is None:
            return brand
        _set_pause(connection, brand_id, at=None, reason=None, until=None, now=now)
        _record(connection, "brand.resume", brand, actor=actor, now=now)
        return _read_brand(connection, brand_id)


def load_brands_file(path: Path) -> list[Brand]:
    """The brands of a YAML file: a list under `brands`, each as in `parse_brand`.

    Raises: InvalidConfigError naming the file, the brand and the field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, *UNREADABLE_YAML) as error:
        raise InvalidConfigError(
            f"The brands file {path} cannot be read: {_reason(error)}."
        ) from error
    if not isinstance(content, dict) or set(content) != {"brands"}:
        raise InvalidConfigError(f"The brands file {path} must hold `brands:` and nothing else.")
    if not isinstance(content["brands"], list):
        raise InvalidConfigError(f"`brands:` in {path} must be a list.")
    return [
        _parse_entry(path, number, entry) for number, entry in enumerate(content["brands"], start=1)
    ]


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, yaml.YAMLError):
        return str(error).partition("\n")[0]
    return "a value in it is not the date or number that it looks like"


def _parse_entry(path: Path, number: int, entry: object) -> Brand:
    if not isinstance(entry, dict):
        raise InvalidConfigError(f"{path}: entry {number} of `brands:` must hold id, name, ….")
    try:
        return parse_brand(entry)
    except InvalidConfigError as error:
        raise InvalidConfigError(f"{path}, entry {number}: {error}", advice=error.advice) from error


def _read_brand(
    connection: Connection, brand_id: str, *, organization_ids: Collection[str] | None = None
) -> Brand:
    statement = select(*_BRAND_COLUMNS).where(brands.c.id == brand_id)
    row = connection.execute(statement).mappings().first()
    if row and (organization_ids is None or row["organization_id"] in organization_ids):
        return parse_row(dict(row))
    known = [each["id"] for each in read_rows(connection, organization_ids=organization_ids)]
    close = difflib.get_close_matches(brand_id, known, n=3)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise InvalidConfigError(
        f"There is no brand {brand_id!r}.",
        advice=f"{hint}pipeline-assets brands list shows all.",
    )


def _insert_brand(connection: Connection, brand: Brand, *, actor: str, now: datetime) -> None:
    values = _to_row(brand) | brand.model_dump(include=_PAUSE_COLUMNS)
    connection.execute(insert(brands).values(values | {"created_at": now, "updated_at": now}))
    _record(connection, "brand.add", brand, actor=actor, now=now)


def _change_brand(
    connection: Connection, brand: Brand, stored: Row, *, actor: str, now: datetime
) -> bool:
    """Bring a stored brand to what is wanted, apart from its pause; False when it is already."""
    if brand.organization_id != stored["organization_id"]:
        raise InvalidConfigError(
            f"Brand {brand.id} belongs to organization {stored['organization_id']},"
            f" not to {brand.organization_id}.",
            advice="Choose another id: a brand does not move, its history would move with it.",
        )
    try:
        before = _to_row(parse_row(stored))
    except InvalidConfigError:  # applying it is how it is repaired
        before = stored
    after = _to_row(brand)
    changed = [name for name in after if after[name] != before[name]]
    if not changed:
        return False
    values = after | {"updated_at": now}
    connection.execute(update(brands).where(brands.c.id == brand.id).values(values))
    _record(connection, "brand.change", brand, actor=actor, now=now, detail={"fields": changed})
    return True


def _check_organizations(connection: Connection, new: Iterable[Brand]) -> None:
    known = set(connection.execute(select(organizations.c.id)).scalars())
    for brand in new:
        if brand.organization_id not in known:
            raise InvalidConfigError(
                f"Brand {brand.id}: there is no organization {brand.organization_id!r}.",
                advice="Add it with `pipeline-assets organizations add`, or correct "
                "organization_id.",
            )


def _to_row(brand: Brand) -> Row:
    return brand.model_dump(mode="json", exclude=_PAUSE_COLUMNS)


def _set_pause(
    connection: Connection,
    brand_id: str,
    *,
    at: datetime | None,
    reason: str | None,
    until: datetime | None,
    now: datetime,
) -> None:
    connection.execute(
        update(brands)
        .where(brands.c.id == brand_id)
        .values(paused_at=at, paused_reason=reason, paused_until=until, updated_at=now)
    )


def _record(
    connection: Connection,
    action: str,
    brand: Brand,
    *,
    actor: str,
    now: datetime,
    detail: Mapping[str, object] | None = None,
) -> None:
    audit.record(
        connection,
        at=now,
        actor=actor,
        action=action,
        target=brand.id,
        organization_id=brand.organization_id,
        detail=detail,
    )
