"""Lists of a dataset's rows as people look through them: narrowed, searched, sorted, cut, counted.

Everything is done in the database, because a brand may have more rows than a page should read.
Belongs here: what holds for every dataset. Does not: which columns a page shows (`web/pages/`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from pipeline_assets.schemas import TableSchema
from pipeline_assets.storage.json_lists import Held, items_of, text_of
from pipeline_assets.storage.tables import DATASET_TABLES

BRAND = sa.bindparam("brand_id", type_=sa.Text())
"""Stands for the listing's brand in the queries of `Beside`."""

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What another table, or a query, knows of each row: at most one of its rows for each of ours.

    `rows` has the columns `on`, named as in the listed table, and is narrowed to the brand: by its
    column `brand_id`, or by itself with `BRAND`. `columns`: name in the listing -> column of
    `rows`; None where it knows nothing, and everywhere when it `is_withheld`.
    """

    rows: sa.FromClause
    on: tuple[str, ...]
    columns: Mapping[str, str]
    is_withheld: bool = False


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which rows of a brand, with which columns (None: all of the schema), in which order.

    `text` is looked for in the columns `searched`, whatever its case (SQLite: all of lower or upper
    case, or as it stands). Without `sort` the order is the key's; rows without a value come last
    either way. `where`, `searched` and `sort` may name columns of `besides`, which are read along.
    """

    schema: TableSchema
    brand_id: str
    columns: tuple[str, ...] | None = None
    besides: tuple[Beside, ...] = ()
    where: tuple[sa.ColumnElement[bool], ...] = ()
    text: str = ""
    searched: tuple[str, ...] = ()
    sort: str = ""
    is_descending: bool = False

    def column(self, name: str) -> sa.ColumnElement[Any]:
        """A column of the listing, for a condition.

        Raises:
            KeyError: there is none of this name.
        """
        for beside in self.besides:
            if name in beside.columns:
                return beside.rows.c[beside.columns[name]]
        return DATASET_TABLES[self.schema.name].c[name]


@dataclass(frozen=True)
class Listing:
    """Some rows as dicts (JSON decoded, money Decimal, instants aware UTC), and how many in all."""

    rows: Sequence[Mapping[str, Any]] = field(default=())
    total: int = 0


def read_listing(
    engine: sa.Engine, selection: Selection, *, limit: int, offset: int = 0
) -> Listing:
    """A page of the rows. Rows that sort alike stand in the order of the key, on every page."""
    statement = _rows(selection).limit(limit).offset(offset)
    count = _narrowed(sa.select(sa.func.count()), selection, [])
    parameters = {"brand_id": selection.brand_id}
    with engine.connect() as connection:
        total = connection.execute(count, parameters).scalar_one()
        rows = connection.execute(statement, parameters).mappings().all() if total else ()
    return Listing([dict(row) for row in rows], total)


def iterate_listing(engine: sa.Engine, selection: Selection) -> Iterator[Mapping[str, Any]]:
    """All rows, in the listing's order, read while they are taken.

    An iterator that is not read to its end is to be closed.
    """
    parameters = {"brand_id": selection.brand_id}
    with engine.connect().execution_options(yield_per=_ROWS_AT_ONCE) as connection:
        for row in connection.execute(_rows(selection), parameters).mappings():
            yield dict(row)


def count_values(engine: sa.Engine, selection: Selection, column: str) -> dict[Any, int]:
    """The values of a column in the selected rows, None among them, and the rows of each.

    The most frequent first, then by value; None last.
    """
    value = selection.column(column)
    statement = _narrowed(sa.select(value, sa.func.count()), selection, [value])
    return _counts(engine, statement, value, selection.brand_id)


def count_held(engine: sa.Engine, selection: Selection, held: Held) -> dict[str | None, int]:
    """The same of what the selected rows' lists hold; None: rows whose list is empty.

    A row counts once for each text, however often its list has it.
    """
    key, table = selection.schema.key, DATASET_TABLES[selection.schema.name].c
    columns = [*(table[name] for name in key), selection.column(held.column).label("held")]
    # Joined with the items at once, SQLite would go through all rows of `besides` for each of ours.
    narrowed = _narrowed(sa.select(*columns), selection, columns).cte("narrowed")
    rows = narrowed.prefix_with("MATERIALIZED")
    items = items_of(rows.c.held)
    value = text_of(items, held.key).label("value")
    each = sa.select(*(rows.c[name] for name in key), value).select_from(rows)
    found = each.outerjoin(items, sa.true()).distinct().subquery()
    statement = sa.select(found.c.value, sa.func.count())
    return _counts(engine, statement, found.c.value, selection.brand_id)


def _counts(
    engine: sa.Engine, statement: sa.Select[Any], value: sa.ColumnElement[Any], brand_id: str
) -> dict[Any, int]:
    count = sa.func.count().desc()
    ordered = statement.group_by(value).order_by(value.is_(None), count, value)
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(ordered, {"brand_id": brand_id})}


def read_groups(
    engine: sa.Engine,
    selection: Selection,
    *,
    by: Sequence[str],
    figures: Mapping[str, sa.ColumnElement[Any]],
) -> list[Mapping[str, Any]]:
    """The selected rows put together by columns: a dict of `by` and `figures` for each group.

    `figures` are aggregates of the listing's columns. In the order of the groups' values.
    """
    groups = [selection.column(name).label(name) for name in by]
    aggregates = [figure.label(name) for name, figure in figures.items()]
    columns = [*groups, *aggregates]
    statement = _narrowed(sa.select(*columns), selection, columns)
    statement = statement.group_by(*groups).order_by(*groups)
    with engine.connect() as connection:
        found = connection.execute(statement, {"brand_id": selection.brand_id})
        return [dict(row) for row in found.mappings()]


def contains(column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
    """Whether the column's text has this one in it, whatever its case."""
    # SQLite folds the case of ASCII letters only.
    variants = {text}
    if not text.isascii():
        variants |= {text.lower(), text.upper(), text.capitalize()}
    return sa.or_(*(column.icontains(variant, autoescape=True) for variant in sorted(variants)))


def _rows(selection: Selection) -> sa.Select[Any]:
    table = DATASET_TABLES[selection.schema.name]
    own = selection.columns if selection.columns is not None else selection.schema.column_names
    others = [name for beside in selection.besides for name in beside.columns]
    columns = [*(table.c[name] for name in own), *(selection.column(n).label(n) for n in others)]
    keys = [table.c[name] for name in selection.schema.key]
    statement = _narrowed(sa.select(*columns), selection, columns)
    if not selection.sort:
        return statement.order_by(*keys)
    by = selection.column(selection.sort)
    by = sa.func.lower(by) if isinstance(by.type, sa.Text) else by
    ordered = by.desc() if selection.is_descending else by.asc()
    return statement.order_by(ordered.nulls_last(), *keys)


def _narrowed(
    statement: sa.Select[Any], selection: Selection, columns: Sequence[sa.ColumnElement[Any]]
) -> sa.Select[Any]:
    """The statement on the selected rows; only those tables stand beside whose columns it reads."""
    table = DATASET_TABLES[selection.schema.name]
    conditions = [table.c.brand_id == BRAND, *selection.where]
    if selection.text:
        found = (contains(selection.column(name), selection.text) for name in selection.searched)
        conditions.append(sa.or_(*found))
    read = _tables_of([*columns, *conditions])
    source: sa.FromClause = table
    for beside in selection.besides:
        if beside.rows not in read:
            continue
        theirs = beside.rows.c
        same = [theirs[name] == table.c[name] for name in beside.on]
        same += [theirs.brand_id == BRAND] if "brand_id" in theirs else []
        same += [sa.false()] if beside.is_withheld else []
        source = source.outerjoin(beside.rows, sa.and_(*same))
    return statement.select_from(source).where(*conditions)


def _tables_of(expressions: Sequence[sa.ColumnElement[Any]]) -> set[Any]:
    parts = (part for each in expressions for part in visitors.iterate(each))
    return {part.table for part in parts if isinstance(part, sa.ColumnClause)}
