"""Rows that cannot be typed: few are shown, many mean that the source has changed."""

from typing import Any

import pytest

from pipeline_assets.assets.actor_runs import RowReader
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.sources.actor_rows import UnreadableRowError


def read_good(row: Any) -> str:
    if row == "bad":
        raise UnreadableRowError(["id"])
    return str(row)


def reader_of(bad: int, total: int) -> RowReader[str]:
    reader = RowReader("the actor a/b", read_good)
    found = reader.read_all(["bad"] * bad + ["good"] * (total - bad))
    assert found == [("good", "good")] * (total - bad)
    return reader


@pytest.mark.parametrize(
    ("bad", "total", "is_passed"), [(0, 0, True), (0, 9, True), (5, 100, True), (6, 100, False)]
)
def test_one_row_in_twenty_may_be_bad(bad: int, total: int, is_passed: bool) -> None:
    reader = reader_of(bad, total)
    reader.refuse_changed_schema()
    check = reader.check()
    assert check.is_passed is is_passed
    assert check.metadata == {
        "rows": total,
        "rejected": bad,
        "lacking": {"id": bad} if bad else {},
    }


def test_a_fifth_is_still_some_bad_rows_and_more_a_changed_source() -> None:
    reader_of(20, 100).refuse_changed_schema()
    with pytest.raises(InvalidConfigError, match=r"21 of 100 .*missing or wrong: id \(21\)") as e:
        reader_of(21, 100).refuse_changed_schema()
    assert "the actor a/b" in str(e.value)
    assert "kept" in str(e.value)


def test_rows_are_counted_over_all_pages_and_lose_what_cannot_be_stored() -> None:
    reader = RowReader("Meta's Ad Library", read_good)
    assert reader.read_all(["a\0b"]) == [("ab", "ab")]
    reader.read_all(["bad"])
    assert reader.metadata() == {
        "rows_sent": 2,
        "rows_rejected": 1,
        "fields_lacking": {"id": 1},
    }
