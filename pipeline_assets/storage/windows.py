"""Writes the datasets' rows, "replace this brand's window" in one transaction, and reads them.

Writing the same rows again changes nothing, rows that vanished at the source vanish here, and a
reader sees the window before or after, never between. Everything that other packages need for
dataset rows is imported from here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Table,
    and_,
    delete,
    false,
    func,
    or_,
    select,
    true,
)

from pipeline_assets.schemas import ColumnType, TableSchema
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.reading import count_rows, read_frame, read_rows
from pipeline_assets.storage.spool import RowSpool
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.storage.window_guard import Scope, claim_windows

__all__ = [
    "RowSpool",
    "Scope",
    "WriteResult",
    "count_rows",
    "read_frame",
    "read_rows",
    "replace_rows",
]

Row = tuple[Any, ...]

_BATCH_ROWS = 500  # keeps a statement of PostgreSQL at about a megabyte


@dataclass(frozen=True)
class WriteResult:
    """What a write did: the rows now stored in its scopes, and the rows it removed there first."""

    written: int
    deleted: int


def replace_rows(
    engine: Engine,
    schema: TableSchema,
    *,
    brand_id: str,
    scopes: Sequence[Scope],
    chunks: Iterable[Sequence[Row]],
    attempt_started_at: datetime,
    run_id: str | None = None,
) -> WriteResult:
    """Make `chunks` the only rows of the brand in the scopes, all or nothing.

    Rows are tuples in the order of `schema.columns`; a key that comes twice is stored once, the
    last wins. The database is locked for other writers while `chunks` is read: rows that come
    over the network go through a `RowSpool` first.

    Raises: SupersededError when a later attempt has written an overlapping scope;
    DatabaseUnavailableError and StorageFullError; ValueError for a row of another brand or outside
    the scopes, and for a scope that the schema does not have.
    """
    _check_scopes(schema, scopes)
    table = DATASET_TABLES[schema.name]
    replaced = _rows_in(table, schema, brand_id=brand_id, scopes=scopes)
    with write_transaction(engine) as connection:
        claim_windows(
            connection,
            brand_id=brand_id,
            dataset=schema.name,
            scopes=scopes,
            attempt_started_at=attempt_started_at,
            run_id=run_id,
        )
        deleted = connection.execute(delete(table).where(replaced)).rowcount
        inserter = _Inserter(connection, schema, brand_id=brand_id, scopes=scopes)
        for chunk in chunks:
            for start in range(0, len(chunk), _BATCH_ROWS):
                inserter.insert(chunk[start : start + _BATCH_ROWS])
        written = connection.execute(
            select(func.count()).select_from(table).where(replaced)
        ).scalar_one()
    return WriteResult(written=written, deleted=deleted)


def _check_scopes(schema: TableSchema, scopes: Sequence[Scope]) -> None:
    for scope in scopes:
        if not set(scope.values) <= set(schema.scope):
            raise ValueError(f"{schema.name} has no scope {scope.describe()}")
        if (scope.since or scope.until) and schema.window_column is None:
            raise ValueError(f"{schema.name} has no window column for {scope.describe()}")


def _rows_in(
    table: Table, schema: TableSchema, *, brand_id: str, scopes: Sequence[Scope]
) -> ColumnElement[bool]:
    def condition(scope: Scope) -> ColumnElement[bool]:
        parts = [table.c[name] == value for name, value in scope.values.items()]
        if schema.window_column and scope.since:
            parts.append(table.c[schema.window_column] >= scope.since)
        if schema.window_column and scope.until:
            parts.append(table.c[schema.window_column] <= scope.until)
        return and_(true(), *parts)

    return (table.c.brand_id == brand_id) & or_(false(), *map(condition, scopes))


def _bind_processors(schema: TableSchema, dialect: Dialect) -> dict[int, Callable[[Any], Any]]:
    """By position, what turns a column's values into the driver's, where anything has to."""
    processors: dict[int, Callable[[Any], Any]] = {}
    for position, column in enumerate(schema.columns):
        column_type = DATASET_TABLES[schema.name].c[column.name].type
        processor = column_type.dialect_impl(dialect).bind_processor(dialect)
        if processor and column.type in {ColumnType.DATE, ColumnType.TIMESTAMP}:
            processor = lru_cache(maxsize=_BATCH_ROWS)(processor)  # a chunk repeats a few of them
        if processor:
            processors[position] = processor
    return processors


class _Inserter:
    """Inserts rows with the driver's own batches: Core's per-row dicts cost more than SQLite does.

    Values go through the same processors of the column types that Core uses.
    """

    def __init__(
        self,
        connection: Connection,
        schema: TableSchema,
        *,
        brand_id: str,
        scopes: Sequence[Scope],
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._brand_id = brand_id
        self._scopes = scopes
        positions = {name: position for position, name in enumerate(schema.column_names)}
        self._key_positions = [positions[name] for name in schema.key]
        self._place_columns = ("brand_id", *schema.scope, *filter(None, [schema.window_column]))
        self._place_positions = [positions[name] for name in self._place_columns]
        self._processors = _bind_processors(schema, connection.dialect)

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert rows, or update those whose key is there already."""
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        if len(columns) != len(self._schema.columns):
            raise ValueError(f"A row of {self._schema.name} has {len(columns)} values")
        self._check_places(set(zip(*(columns[at] for at in self._place_positions), strict=True)))
        keys = zip(*(columns[at] for at in self._key_positions), strict=True)
        for at, processor in self._processors.items():
            columns[at] = map(processor, columns[at])
        self._execute(list(dict(zip(keys, zip(*columns, strict=True), strict=True)).values()))

    def _check_places(self, places: set[Row]) -> None:
        """Refuse rows that the next attempt of the same scopes would not replace."""
        for place in places:
            values = dict(zip(self._place_columns, place, strict=True))
            day = values.get(self._schema.window_column or "")
            if values["brand_id"] != self._brand_id or not any(
                scope.contains(values, day) for scope in self._scopes
            ):
                raise ValueError(
                    f"A row of {self._schema.name} at {values} is outside of {self._brand_id}, "
                    + " and ".join(scope.describe() for scope in self._scopes)
                )

    def _execute(self, rows: list[Row]) -> None:
        if self._connection.dialect.name == "sqlite":
            self._connection.exec_driver_sql(self._upsert("?", 1), rows)
        else:
            values = tuple(chain.from_iterable(rows))
            self._connection.exec_driver_sql(self._upsert("%s", len(rows)), values)

    def _upsert(self, placeholder: str, row_count: int) -> str:
        quote = self._connection.dialect.identifier_preparer.quote
        names = [quote(name) for name in self._schema.column_names]
        keys = ", ".join(quote(name) for name in self._schema.key)
        row = f"({', '.join([placeholder] * len(names))})"
        updates = ", ".join(f"{name} = excluded.{name}" for name in names)
        return (  # names come from the schema, values are bound
            f"INSERT INTO {quote(self._schema.name)} ({', '.join(names)})"  # noqa: S608
            f" VALUES {', '.join([row] * row_count)}"
            f" ON CONFLICT ({keys}) DO UPDATE SET {updates}"
        )
