"""The ads' figures: ratios of sums, periods, and series that keep currencies apart."""

from datetime import date
from decimal import Decimal

import pytest

from pipeline_assets.analysis.ad_figures import (
    FIGURES,
    Day,
    Period,
    Sums,
    build_series,
    last_days,
    relative_change,
)

NOTHING: Sums = {
    "spend": Decimal(0),
    "purchases": Decimal(0),
    "purchase_value": Decimal(0),
    "impressions": 0,
    "inline_link_clicks": 0,
    "video_impressions": 0,
    "hooked_views": 0,
    "video_3s_views": 0,
    "thruplays": 0,
}
MARCH = Period(date(2026, 3, 2), date(2026, 3, 4))


def day(number: int, currency: str = "EUR", *, provisional: bool = False, **sums: object) -> Day:
    return Day(date(2026, 3, number), currency, provisional, {**NOTHING, **sums})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spend", "200.50"),
        ("impressions", "40000"),
        ("inline_link_clicks", "500"),
        ("purchases", "10"),
        ("purchase_value", "802"),
        ("roas", "4"),
        ("link_ctr", "0.0125"),
        ("cpm", "5.0125"),
        ("cpc", "0.401"),
        ("cpa", "20.05"),
        ("aov", "80.2"),
        ("cvr", "0.02"),
        ("hook_rate", "0.3"),
        ("hold_rate", "0.25"),
    ],
)
def test_each_figure_is_what_its_meaning_says(name: str, expected: str) -> None:
    sums = {
        "spend": Decimal("200.50"),
        "purchases": Decimal(10),
        "purchase_value": Decimal(802),
        "impressions": 40_000,
        "inline_link_clicks": 500,
        "video_impressions": 10_000,
        "hooked_views": 3_000,
        "video_3s_views": 3_200,
        "thruplays": 800,
    }
    assert FIGURES[name].of(sums) == Decimal(expected)


def test_every_figure_is_tested_above() -> None:
    assert len(FIGURES) == 14


@pytest.mark.parametrize("name", [name for name, each in FIGURES.items() if each.denominator])
def test_a_ratio_without_a_denominator_is_none(name: str) -> None:
    assert FIGURES[name].of(NOTHING) is None


@pytest.mark.parametrize(
    ("value", "before", "expected"),
    [("3", "2", "0.5"), ("0", "2", "-1"), ("3", "0", None), (None, "2", None), ("3", None, None)],
)
def test_a_change_is_a_share_of_what_was(
    value: str | None, before: str | None, expected: str | None
) -> None:
    def number(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    assert relative_change(number(value), number(before)) == number(expected)


def test_the_last_days_end_before_today() -> None:
    assert last_days(7, today=date(2026, 3, 8)) == Period(date(2026, 3, 1), date(2026, 3, 7))


def test_the_period_before_ends_where_this_one_begins() -> None:
    assert MARCH.before == Period(date(2026, 2, 27), date(2026, 3, 1))
    assert MARCH.before.day_count == MARCH.day_count == 3


def test_a_series_has_every_day_of_the_period_and_none_for_those_without_rows() -> None:
    second = day(2, spend=Decimal(5))
    fourth = day(4, spend=Decimal(7), provisional=True)
    (series,) = build_series([second, fourth], MARCH)
    assert series.days == (
        (date(2026, 3, 2), second),
        (date(2026, 3, 3), None),
        (date(2026, 3, 4), fourth),
    )
    assert series.is_provisional
    assert not build_series([second], MARCH)[0].is_provisional


def test_totals_are_of_the_period_and_those_before_of_the_period_before() -> None:
    (series,) = build_series(
        [
            day(1, spend=Decimal(100), impressions=1),
            day(2, spend=Decimal("5.10"), impressions=2),
            day(4, spend=Decimal("7.20"), impressions=3),
        ],
        MARCH,
    )
    assert series.totals == {**NOTHING, "spend": Decimal("12.30"), "impressions": 5}
    assert series.totals_before == {**NOTHING, "spend": Decimal(100), "impressions": 1}


def test_a_ratio_of_a_period_is_one_of_sums_and_no_mean_of_ratios() -> None:
    (series,) = build_series(
        [
            day(2, spend=Decimal(1), purchase_value=Decimal(10)),
            day(3, spend=Decimal(99), purchase_value=Decimal(90)),
        ],
        MARCH,
    )
    assert FIGURES["roas"].of(series.totals) == 1


def test_currencies_are_series_of_their_own_the_one_with_most_impressions_first() -> None:
    found = build_series(
        [
            day(1, "CHF", impressions=9),  # before the period only
            day(2, "EUR", impressions=1, spend=Decimal(5)),
            day(2, "JPY", impressions=2, spend=Decimal(500)),
        ],
        MARCH,
    )
    assert [(each.currency, each.totals["spend"]) for each in found] == [("JPY", 500), ("EUR", 5)]
    assert found[0].totals_before is None
