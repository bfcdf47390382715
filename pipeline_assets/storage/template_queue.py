"""Reads the queue of templates across brands: what is decided of each, beside the ad that it is.

Everything is done in the database: an agency has tens of thousands of templates. What is put in
order and counted stands in `template_approvals`; the ads' long rows are read for one page alone,
unless a search or a source asks for all of them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pipeline_assets.storage.listing import contains
from pipeline_assets.storage.tables import DATASET_TABLES, brands

Row = Mapping[str, Any]

_APPROVALS = DATASET_TABLES["template_approvals"]
_ADS = DATASET_TABLES["templates_scraped"]
_IS_OF = (_ADS.c.brand_id == _APPROVALS.c.brand_id) & (
    _ADS.c.library_ad_id == _APPROVALS.c.template_id
)
_KEY = (_APPROVALS.c.brand_id, _APPROVALS.c.template_id)
_SEARCHED = (_APPROVALS.c.template_id, _ADS.c.page_name, _ADS.c.title, _ADS.c.body)
_FROM_AD = (
    *("source", "matched_by", "page_name", "title", "body", "titles", "bodies", "description"),
    *("preview_sha256", "started_on", "is_active", "days_running", "platforms", "languages"),
    *("eu_reach", "library_url", "first_seen_at"),
)
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class QueueFilter:
    """Templates of these brands, kept to what is not empty of the rest.

    `text` is looked for in the advertiser's name, headline, text and id, whatever its case.
    """

    brand_ids: Collection[str]
    brand_id: str = ""
    state: str = ""
    decided_by: str = ""
    source: str = ""
    text: str = ""


@dataclass(frozen=True)
class Group:
    """How many templates of a brand are in a state by somebody's decision."""

    brand_id: str
    state: str
    decided_by: str
    count: int


def count_queue(engine: sa.Engine, wanted: QueueFilter) -> Sequence[Group]:
    """The templates counted in groups, whatever `brand_id`, `state` and `decided_by` ask for."""
    by = (_APPROVALS.c.brand_id, _APPROVALS.c.state, _APPROVALS.c.decided_by)
    statement = _narrowed(sa.select(*by, sa.func.count()), wanted).group_by(*by)
    with engine.connect() as connection:
        return [Group(*row) for row in connection.execute(statement)]


def read_queue(
    engine: sa.Engine, wanted: QueueFilter, *, limit: int, offset: int = 0
) -> Sequence[Row]:
    """Some of the templates: those that wait for a person first, then by score, the highest first.

    Rows have the columns of template_approvals; of the ad (None when it is gone) what a person
    needs for deciding; and the brand's `approve_from` and `reject_below`.
    """
    with engine.connect() as connection:
        keys = connection.execute(_keys(wanted).limit(limit).offset(offset)).all()
        return _read(connection, keys)


def iterate_queue(engine: sa.Engine, wanted: QueueFilter) -> Iterator[Row]:
    """All of the templates in the same order, some hundreds in memory at a time."""
    with engine.connect() as connection:
        keys = connection.execute(_keys(wanted)).all()
        for start in range(0, len(keys), _ROWS_AT_ONCE):
            yield from _read(connection, keys[start : start + _ROWS_AT_ONCE])


def read_sources(engine: sa.Engine, brand_ids: Collection[str]) -> Sequence[str]:
    """Where these brands' templates come from, as the ads' `source` tells it."""
    actor = brands.c.sources["templates", "actor", "actor"].as_string()
    statement = sa.select(sa.func.coalesce(actor, "ad_library")).distinct()
    with engine.connect() as connection:
        return sorted(connection.execute(statement.where(brands.c.id.in_(brand_ids))).scalars())


def _keys(wanted: QueueFilter) -> sa.Select[Any]:
    waits = sa.case((_APPROVALS.c.state == "pending", 0), else_=1)
    score = _APPROVALS.c.score.desc().nulls_last()
    return _narrowed(sa.select(*_KEY), wanted, *_chosen(wanted)).order_by(waits, score, *_KEY)


def _chosen(wanted: QueueFilter) -> Iterator[sa.ColumnElement[bool]]:
    for name in ("brand_id", "state", "decided_by"):
        if value := getattr(wanted, name):
            yield _APPROVALS.c[name] == value


def _narrowed(
    statement: sa.Select[Any], wanted: QueueFilter, *conditions: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    statement = statement.where(_APPROVALS.c.brand_id.in_(wanted.brand_ids), *conditions)
    if not wanted.source and not wanted.text:
        return statement.select_from(_APPROVALS)
    if wanted.source:
        statement = statement.where(_ADS.c.source == wanted.source)
    if wanted.text:
        statement = statement.where(sa.or_(*(contains(each, wanted.text) for each in _SEARCHED)))
    return statement.select_from(_APPROVALS.outerjoin(_ADS, _IS_OF))


def _read(connection: sa.Connection, keys: Sequence[Any]) -> Sequence[Row]:
    """The rows of these keys, in their order; one that is gone meanwhile is left out."""
    if not keys:
        return ()
    own = (column for column in _APPROVALS.c if column.name != "fetched_at")
    thresholds = (
        brands.c.sources["templates", name].as_float().label(name)
        for name in ("approve_from", "reject_below")
    )
    # A join with the keys, since SQLite would read the whole table for `(a, b) IN (…)`.
    asked = (
        sa.values(*(sa.column(each.name, each.type) for each in _KEY), name="asked")
        .data([tuple(key) for key in keys])
        .cte("asked")
    )
    is_asked = sa.and_(*(asked.c[each.name] == each for each in _KEY))
    statement = (
        sa.select(*own, *(_ADS.c[name] for name in _FROM_AD), *thresholds)
        .join_from(asked, _APPROVALS, is_asked)
        .join(brands, brands.c.id == _APPROVALS.c.brand_id)
        .outerjoin(_ADS, _IS_OF)
    )
    found = {(row.brand_id, row.template_id): row for row in connection.execute(statement)}
    return [found[tuple(key)]._asdict() for key in keys if tuple(key) in found]
