"""How far a fetch from a source has come: what the next attempt goes on from.

A position is the source's business: JSON that names, for example, a run that is paid for.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, select

from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import fetch_positions


def read_position(
    engine: Engine, *, brand_id: str, dataset: str, name: str
) -> dict[str, Any] | None:
    """The position as it was stored last; None when there is none."""
    statement = select(fetch_positions.c.position).where(_is_named(brand_id, dataset, name))
    with engine.connect() as connection:
        return connection.execute(statement).scalar_one_or_none()


def store_position(
    engine: Engine,
    *,
    brand_id: str,
    dataset: str,
    name: str,
    position: Mapping[str, Any],
    now: datetime,
) -> None:
    """Keep the position, in place of an earlier one of that name."""
    with write_transaction(engine) as connection:
        insert = dialect_insert(connection, fetch_positions).values(
            brand_id=brand_id,
            dataset=dataset,
            name=name,
            position=dict(position),
            updated_at=now,
        )
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["brand_id", "dataset", "name"],
                set_={
                    "position": insert.excluded.position,
                    "updated_at": insert.excluded.updated_at,
                },
            )
        )


def forget_position(engine: Engine, *, brand_id: str, dataset: str, name: str) -> None:
    """The next attempt begins anew; nothing happens where there is no position."""
    with write_transaction(engine) as connection:
        connection.execute(delete(fetch_positions).where(_is_named(brand_id, dataset, name)))


def _is_named(brand_id: str, dataset: str, name: str) -> ColumnElement[bool]:
    columns = fetch_positions.c
    return (columns.brand_id == brand_id) & (columns.dataset == dataset) & (columns.name == name)
