"""Rows of a dataset for storage tests."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline_assets.schemas import META_ADS_PERFORMANCE

ATTEMPT_AT = datetime(2026, 7, 25, 6, 0, tzinfo=UTC)

_PERFORMANCE = {
    "brand_id": "acme",
    "ad_account_id": "act_1",
    "date": date(2026, 7, 1),
    "ad_id": "1",
    "ad_name": "Summer sale",
    "impressions": 1000,
    "reach": None,
    "clicks": 10,
    "inline_link_clicks": 8,
    "spend": Decimal("12.34"),
    "currency": "EUR",
    "purchases": Decimal(2),
    "purchase_value": Decimal("99.90"),
    "landing_page_views": 5,
    "video_plays": 0,
    "video_3s_views": 0,
    "thruplays": 0,
    "p25": 0,
    "p50": 0,
    "p75": 0,
    "p95": 0,
    "p100": 0,
    "provisional": True,
    "actions": [{"action_type": "purchase", "value": "2"}],
    "fetched_at": ATTEMPT_AT,
}

MakeRow = Callable[..., tuple[Any, ...]]


@pytest.fixture(scope="session")
def performance_row() -> MakeRow:
    """Makes a row of META_ADS_PERFORMANCE from the values that matter."""

    def make(**values: object) -> tuple[Any, ...]:
        row = dict.fromkeys(META_ADS_PERFORMANCE.column_names) | _PERFORMANCE | values
        return tuple(row.values())

    return make
