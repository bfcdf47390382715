"""Brands with many ad-days for the scorecard's benchmark, made inside the database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.datasets import DATASETS
from pipeline_assets.schemas import TABLES, ColumnType
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.migrations import upgrade
from pipeline_assets.storage.tables import DATASET_TABLES, dataset_status

_UNTIL = date(2026, 11, 1)
_NOW = datetime(2026, 11, 2, tzinfo=UTC)
_ACTIONS = [{"action_type": f"action_{number}", "value": "17"} for number in range(8)]
_HOOKS = 5


@dataclass(frozen=True)
class Case:
    """A brand with as many creatives, an ad each, on as many days."""

    creatives: int
    days: int

    @property
    def brand_id(self) -> str:
        """Its slug."""
        return f"brand-{self.creatives}-{self.days}"

    def __str__(self) -> str:
        return f"{self.creatives:,} creatives x {self.days} days"


def fill(url: str, cases: Iterable[Case]) -> None:
    """Migrate the database and add the brands with their ads, tags and daily figures."""
    engine = build_engine(url)
    upgrade(engine)
    source = {"ad_accounts": ["act_1"], "token": "env:NONE"}
    for case in cases:
        brand = {"id": case.brand_id, "name": "B", "timezone": "UTC", "sources": {"meta": source}}
        add_brand(engine, parse_brand(brand), actor="benchmark", now=_NOW)
        with write_transaction(engine) as connection:
            _insert(connection, "meta_ad_creatives", case, {})
            _insert(connection, "ad_classifications", case, {})
            for ago in range(case.days):
                day = {"date": sa.literal(_UNTIL - timedelta(ago), sa.Date)}
                _insert(connection, "meta_ads_performance", case, day)
            connection.execute(
                dataset_status.insert(),
                [
                    {"brand_id": case.brand_id, "dataset": key, "last_success_at": _NOW}
                    for key in DATASETS["scorecard"].upstream
                ],
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def _insert(
    connection: sa.Connection, name: str, case: Case, values: Mapping[str, sa.ColumnElement[Any]]
) -> None:
    """A row for each number from 0 on, of which all of its values follow."""
    numbers = sa.select(sa.literal(0).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n + 1 < case.creatives))
    known = {**_values(case, numbers.c.n), **values}
    columns = {
        column.name: known.get(column.name, _FILLINGS[column.type])
        for column in TABLES[name].columns
    }
    rows = sa.select(*(each.label(name) for name, each in columns.items())).select_from(numbers)
    connection.execute(sa.insert(DATASET_TABLES[name]).from_select(list(columns), rows))


def _values(case: Case, n: sa.ColumnElement[int]) -> dict[str, sa.ColumnElement[Any]]:
    id_number = 120_200_000_000_000_000 + n
    impressions = 1_500 + n % 997 * 10
    plays = sa.case((n % 2 == 0, impressions - 100), else_=0)
    cents = sa.cast(1_000 + n % 4_999, sa.Numeric)
    return {
        "brand_id": sa.literal(case.brand_id),
        "ad_id": sa.cast(id_number, sa.Text),
        "creative_id": sa.cast(id_number, sa.Text),
        "media_type": sa.case((n % 2 == 0, "video"), else_="image"),
        "hook_type": "hook_" + sa.cast(n % _HOOKS, sa.Text),
        "impressions": impressions,
        "reach": impressions - n % 400,
        "clicks": 40 + n % 71,
        "inline_link_clicks": 20 + n % 53,
        "spend": cents / 100,
        "currency": sa.case((n % 3 == 0, "EUR"), else_="USD"),
        "purchases": n % 4,
        "purchase_value": n % 4 * cents / 50,
        "video_plays": plays,
        "video_3s_views": plays // (2 + n % 3),
        "thruplays": plays // (6 + n % 7),
        "image_hashes": sa.null(),  # then each creative id is a creative
        "video_ids": sa.null(),
        "error": sa.null(),
    }


_FILLINGS: dict[ColumnType, sa.ColumnElement[Any]] = {
    ColumnType.TEXT: sa.literal("A name of usual length"),
    ColumnType.INTEGER: sa.literal(7),
    ColumnType.DECIMAL: sa.literal(7),
    ColumnType.FLOAT: sa.literal(0.5),
    ColumnType.BOOLEAN: sa.literal(True),
    ColumnType.DATE: sa.literal(_UNTIL, sa.Date),
    ColumnType.TIMESTAMP: sa.literal(_NOW, DATASET_TABLES["scorecard"].c.fetched_at.type),
    ColumnType.JSON: sa.literal(_ACTIONS, sa.JSON),
}
