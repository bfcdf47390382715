"""Rate budgets shared by processes: the newest usage, the longest block."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from pipeline_assets.storage.rate_budgets import RateBudgetTable
from pipeline_assets.storage.tables import rate_budgets

NOON = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def record(engine: Engine, blocked_until: datetime | None, reason: str, usage: float = 50) -> None:
    RateBudgetTable(engine).record(
        "account:act_1",
        usage_pct=usage,
        detail={"acc_id_util_pct": usage},
        blocked_until=blocked_until,
        reason=reason,
    )


def stored(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(rate_budgets)).one()


def test_only_blocked_keys_are_read(engine: Engine) -> None:
    record(engine, NOON, "limit")
    table = RateBudgetTable(engine)
    table.record("app:1", usage_pct=10, detail={}, blocked_until=None, reason="")
    found = table.read_blocked_until(["account:act_1", "app:1", "app:2"])
    assert found == {"account:act_1": NOON}
    assert found["account:act_1"].tzinfo is UTC
    assert table.read_blocked_until([]) == {}


def test_the_newest_usage_stands(engine: Engine) -> None:
    record(engine, None, "", usage=90)
    record(engine, None, "", usage=30)
    assert (stored(engine).usage_pct, stored(engine).detail) == (30, {"acc_id_util_pct": 30})


@pytest.mark.parametrize(
    ("blocked_until", "expected"),
    [
        (None, (NOON, "first")),
        (NOON - HOUR, (NOON, "first")),
        (NOON, (NOON, "second")),
        (NOON + HOUR, (NOON + HOUR, "second")),
    ],
)
def test_a_block_is_made_longer_but_never_shorter(
    engine: Engine, blocked_until: datetime | None, expected: tuple[datetime, str]
) -> None:
    record(engine, NOON, "first")
    record(engine, blocked_until, "second")
    assert (stored(engine).blocked_until, stored(engine).reason) == expected


def test_a_first_block_joins_a_known_usage(engine: Engine) -> None:
    record(engine, None, "")
    record(engine, NOON, "limit")
    assert (stored(engine).blocked_until, stored(engine).reason) == (NOON, "limit")
