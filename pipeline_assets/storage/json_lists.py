"""What the JSON lists of a column hold, as SQL that both databases know."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


@dataclass(frozen=True)
class Held:
    """What is looked for in a column of JSON lists: their texts, or the `key` of their objects."""

    column: str
    key: str = ""


def items_of(column: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
    """The items of each row's list, as a table to join to the row."""
    return _Items(column).table_valued("value")


def text_of(items: sa.TableValuedAlias, key: str = "") -> sa.ColumnElement[Any]:
    """Each item's text, or that under a key of it."""
    if key:
        return items.c.value.op("->>", return_type=sa.Text())(key)
    return _ItemText(items.c.value)


def holds(column: sa.ColumnElement[Any], text: str | None, key: str = "") -> sa.ColumnElement[bool]:
    """Whether the row's list has an item with this text; None: whether it has no item."""
    items = items_of(column)
    if text is None:
        return ~sa.exists(sa.select(sa.literal(1)).select_from(items))
    has_text = text_of(items, key) == text
    return sa.exists(sa.select(sa.literal(1)).select_from(items).where(has_text))


class _Items(FunctionElement[Any]):
    name = "items"
    inherit_cache = True


class _ItemText(FunctionElement[str]):
    name = "item_text"
    inherit_cache = True
    type = sa.Text()


@compiles(_Items, "sqlite")
def _sqlite_items(element: _Items, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Items, "postgresql")
def _postgresql_items(element: _Items, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements({compiler.process(element.clauses, **options)})"


@compiles(_ItemText, "sqlite")
def _sqlite_text(element: _ItemText, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_ItemText, "postgresql")
def _postgresql_text(element: _ItemText, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)} #>> '{{}}')"
