"""Reads the datasets' rows, for one brand at a time."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, Engine, func, select

from pipeline_assets.schemas import ColumnType, TableSchema
from pipeline_assets.storage.tables import DATASET_TABLES

_FRAME_DTYPES = {
    ColumnType.TEXT: "str",
    ColumnType.INTEGER: "Int64",
    ColumnType.DECIMAL: "object",
    ColumnType.FLOAT: "float64",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.DATE: "object",
    ColumnType.TIMESTAMP: "datetime64[us, UTC]",
    ColumnType.JSON: "object",
}


def read_rows(
    engine: Engine,
    schema: TableSchema,
    *,
    brand_id: str,
    columns: Sequence[str] | None = None,
    where: Sequence[ColumnElement[bool]] = (),
) -> list[dict[str, Any]]:
    """A brand's rows as dicts, in the order of the key.

    `columns` picks some (default: all); `where` narrows, by conditions on the table's columns
    (`DATASET_TABLES[schema.name].c`). Money is Decimal, instants are aware UTC, JSON is decoded.
    """
    names, rows = _read(engine, schema, brand_id=brand_id, columns=columns, where=where)
    return [dict(zip(names, row, strict=True)) for row in rows]


def read_frame(
    engine: Engine,
    schema: TableSchema,
    *,
    brand_id: str,
    columns: Sequence[str] | None = None,
    where: Sequence[ColumnElement[bool]] = (),
) -> pd.DataFrame:
    """The rows of `read_rows` as a frame whose dtypes come from the schema, also when it is empty.

    Text is `str`, integers `Int64`, booleans `boolean`, instants `datetime64[us, UTC]`; Decimals,
    dates and JSON are objects.
    """
    names, rows = _read(engine, schema, brand_id=brand_id, columns=columns, where=where)
    frame = pd.DataFrame.from_records(rows, columns=list(names), coerce_float=False)
    types = {column.name: column.type for column in schema.columns}
    return frame.astype({name: _FRAME_DTYPES[types[name]] for name in names})


def count_rows(
    engine: Engine,
    schema: TableSchema,
    *,
    brand_id: str,
    where: Sequence[ColumnElement[bool]] = (),
) -> int:
    """How many rows a brand has, narrowed by `where` as in `read_rows`."""
    table = DATASET_TABLES[schema.name]
    statement = select(func.count()).select_from(table).where(table.c.brand_id == brand_id, *where)
    with engine.connect() as connection:
        return connection.execute(statement).scalar_one()


def _read(
    engine: Engine,
    schema: TableSchema,
    *,
    brand_id: str,
    columns: Sequence[str] | None,
    where: Sequence[ColumnElement[bool]],
) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    table = DATASET_TABLES[schema.name]
    names = schema.column_names if columns is None else columns
    statement = (
        select(*(table.c[name] for name in names))
        .where(table.c.brand_id == brand_id, *where)
        .order_by(*(table.c[name] for name in schema.key))
    )
    with engine.connect() as connection:
        return names, [tuple(row) for row in connection.execute(statement)]
