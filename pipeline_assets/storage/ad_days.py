"""A brand's daily ad figures as the scorecard takes them: ad by ad in chunks, and added up by day.

Belongs here: which columns are read and how, so that a million ad-days fit into little memory. Does
not: what is made of them (`analysis/scorecard.py`).
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pipeline_assets.storage.exact_sums import amount_parts, join_amount
from pipeline_assets.storage.tables import DATASET_TABLES

_ROWS = DATASET_TABLES["meta_ads_performance"].c
_CHUNK_ROWS = 5_000  # a megabyte or two of Python's objects at a time, which stay in the cache

_AMOUNTS = ("spend", "purchases", "purchase_value")
_COUNTS = (
    "impressions",
    "reach",
    "inline_link_clicks",
    "video_plays",
    "video_3s_views",
    "thruplays",
)
_TEXTS = ("ad_id", "currency", "date")
_DAY_COUNTS = (*_COUNTS, "clicks", "landing_page_views")
_NEVER_NEGATIVE = (*_DAY_COUNTS, "spend", "purchases")


def read_ad_days(
    engine: sa.Engine, brand_id: str, *, since: date, until: date
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The rows of the period, some thousands at a time, in no order, as one moment saw them.

    By name, arrays of the same length: as str ad_id, currency, date (ISO 8601); as doubles, which
    hold 15 digits exactly, impressions, reach (NaN where Meta withholds it), inline_link_clicks,
    video_plays, video_3s_views, thruplays, spend, purchases, purchase_value.
    """
    statement = sa.select(
        _ROWS.ad_id,
        _ROWS.currency,
        sa.cast(_ROWS.date, sa.Text).label("date"),  # a million date objects take a second
        *(_ROWS[name] for name in _COUNTS),
        *(sa.cast(_ROWS[name], sa.Double).label(name) for name in _AMOUNTS),
    ).where(_ROWS.brand_id == brand_id, _ROWS.date.between(since, until))
    names = statement.selected_columns.keys()
    with engine.connect().execution_options(yield_per=_CHUNK_ROWS) as connection:
        for rows in connection.execute(statement).partitions():
            columns = zip(names, zip(*rows, strict=True), strict=True)
            yield {
                name: np.array(values, "object" if name in _TEXTS else "float64")
                for name, values in columns
            }


def read_day_totals(engine: sa.Engine, brand_id: str) -> list[dict[str, Any]]:
    """The totals of every stored day and currency, by date, as `scorecard_days` has them.

    Left out are brand_id and fetched_at; `negative_rows` is added: how many rows have a negative
    count, spend or number of purchases.
    """
    is_negative = sa.or_(*(_ROWS[name] < 0 for name in _NEVER_NEGATIVE))
    sums = {
        **{part: each for name in _AMOUNTS for part, each in amount_parts(_ROWS[name]).items()},
        **{name: _ROWS[name] for name in _DAY_COUNTS},
        "ad_count": sa.cast(_ROWS.impressions > 0, sa.Integer),  # an ad has one row a day
        "negative_rows": sa.case((is_negative, 1), else_=0),
    }
    statement = (
        sa.select(
            _ROWS.date,
            _ROWS.currency,
            sa.func.max(sa.cast(_ROWS.provisional, sa.Integer)).label("provisional"),
            *(sa.func.sum(each).label(name) for name, each in sums.items()),
        )
        .where(_ROWS.brand_id == brand_id)
        .group_by(_ROWS.date, _ROWS.currency)
        .order_by(_ROWS.date, _ROWS.currency)
    )
    with engine.connect() as connection:
        return [_day(row) for row in connection.execute(statement).mappings()]


def _day(row: sa.RowMapping) -> dict[str, Any]:
    return {
        "date": row["date"],
        "currency": row["currency"],
        "provisional": bool(row["provisional"]),
        "reach": None if row["reach"] is None else int(row["reach"]),
        **{name: int(row[name]) for name in _DAY_COUNTS if name != "reach"},
        **{name: int(row[name]) for name in ("ad_count", "negative_rows")},
        **{name: join_amount(row, name) for name in _AMOUNTS},
    }
