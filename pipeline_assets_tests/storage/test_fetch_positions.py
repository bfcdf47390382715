"""Positions of fetches: the newest stands, each name has its own."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select

from pipeline_assets.storage.fetch_positions import (
    forget_position,
    read_position,
    store_position,
)
from pipeline_assets.storage.tables import fetch_positions

NOON = datetime(2026, 7, 25, 12, tzinfo=UTC)
PLACE: dict[str, Any] = {"brand_id": "acme", "dataset": "amazon_reviews", "name": "apify_run"}


def test_there_is_none_before_one_is_stored(engine: Engine) -> None:
    assert read_position(engine, **PLACE) is None


def test_the_position_stored_last_is_read_back(engine: Engine) -> None:
    store_position(engine, **PLACE, position={"run_id": "r1"}, now=NOON)
    later = NOON + timedelta(hours=1)
    store_position(engine, **PLACE, position={"run_id": "r2", "pages": [1, 2]}, now=later)
    assert read_position(engine, **PLACE) == {"run_id": "r2", "pages": [1, 2]}
    with engine.connect() as connection:
        assert connection.execute(select(fetch_positions.c.updated_at)).scalar_one() == later


def test_each_brand_dataset_and_name_has_its_own(engine: Engine) -> None:
    others = [PLACE | {key: "another"} for key in PLACE]
    for number, place in enumerate([PLACE, *others]):
        store_position(engine, **place, position={"number": number}, now=NOON)
    forget_position(engine, **PLACE)
    assert read_position(engine, **PLACE) is None
    assert [read_position(engine, **place) for place in others] == [
        {"number": 1},
        {"number": 2},
        {"number": 3},
    ]


def test_forgetting_what_is_not_there_is_no_error(engine: Engine) -> None:
    forget_position(engine, **PLACE)
    assert read_position(engine, **PLACE) is None
