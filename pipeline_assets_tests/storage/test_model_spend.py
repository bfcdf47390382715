from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal

import sqlalchemy as sa

from pipeline_assets.storage.model_spend import read_spent_usd, record_call
from pipeline_assets.storage.tables import model_spend

MONDAY, TUESDAY = date(2026, 11, 2), date(2026, 11, 3)


def spend(
    engine: sa.Engine,
    cost: str,
    *,
    brand_id: str = "acme",
    day: date = MONDAY,
    model: str = "openai:small",
) -> None:
    record_call(
        engine,
        brand_id=brand_id,
        day=day,
        model=model,
        input_tokens=100,
        output_tokens=10,
        cost_usd=Decimal(cost),
    )


def test_nothing_is_spent_at_first(engine: sa.Engine) -> None:
    assert read_spent_usd(engine, brand_id="acme", day=MONDAY) == 0


def test_all_models_of_the_brand_and_day_add_up_exactly(engine: sa.Engine) -> None:
    for _ in range(3):
        spend(engine, "0.1")
    spend(engine, "0.0000014", model="openai:big")
    spend(engine, "5", brand_id="globex")
    spend(engine, "7", day=TUESDAY)
    assert read_spent_usd(engine, brand_id="acme", day=MONDAY) == Decimal("0.300001")


def test_calls_and_tokens_are_counted_by_model(engine: sa.Engine) -> None:
    spend(engine, "0.1")
    spend(engine, "0.2")
    with engine.connect() as connection:
        (row,) = connection.execute(sa.select(model_spend))
    assert (row.calls, row.input_tokens, row.output_tokens) == (2, 200, 20)
    assert row.cost_usd == Decimal("0.3")


def test_calls_of_several_runs_at_once_are_all_counted(engine: sa.Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: spend(engine, "0.01"), range(20)))
    assert read_spent_usd(engine, brand_id="acme", day=MONDAY) == Decimal("0.2")
