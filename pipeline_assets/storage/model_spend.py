"""What language models cost a brand, by day in UTC: asked before a call, told after one."""

from datetime import date
from decimal import Decimal

from sqlalchemy import Engine, and_, select

from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import model_spend

_EXACT = Decimal("0.000001")
"""A millionth of a dollar: less than a token costs anywhere, and exact in every database."""


def read_spent_usd(engine: Engine, *, brand_id: str, day: date) -> Decimal:
    """What all models together have cost the brand on that day."""
    spent = select(model_spend.c.cost_usd).where(
        model_spend.c.brand_id == brand_id, model_spend.c.day == day
    )
    with engine.connect() as connection:
        # Added up here: SQLite would do so in floating point.
        return sum(connection.execute(spent).scalars(), Decimal(0))


def record_call(
    engine: Engine,
    *,
    brand_id: str,
    day: date,
    model: str,
    input_tokens: int,
    output_tokens: int,
    cost_usd: Decimal,
) -> None:
    """Add a call to what the model has cost on that day; the cost is rounded to 0.000001."""
    row = {"brand_id": brand_id, "day": day, "model": model}
    named = and_(*(model_spend.c[name] == value for name, value in row.items()))
    nothing = {"calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": Decimal(0)}
    with write_transaction(engine) as connection:
        connection.execute(
            dialect_insert(connection, model_spend).values(row | nothing).on_conflict_do_nothing()
        )
        known = connection.execute(select(model_spend).where(named).with_for_update()).one()
        connection.execute(
            model_spend.update()
            .where(named)
            .values(
                calls=known.calls + 1,
                input_tokens=known.input_tokens + input_tokens,
                output_tokens=known.output_tokens + output_tokens,
                # Not in SQL: SQLite would add in floating point.
                cost_usd=known.cost_usd + cost_usd.quantize(_EXACT),
            )
        )
