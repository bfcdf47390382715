"""The scorecard on figures that one can check by hand, and what holds for any figures."""

import json
import math
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analysis.creative_days import (
    AD_DAY_COLUMNS,
    CLASS_COLUMNS,
    CREATIVE_COLUMNS,
    AdDays,
    creative_keys,
)
from pipeline_assets.analysis.scorecard import LINKS, OUTPUT_COLUMNS, score_creatives
from pipeline_assets.analysis.scorecard_rules import MIN_IMPRESSIONS, SCORER_VERSION
from pipeline_assets.schemas import SCORECARD, ColumnType

UNTIL = date(2026, 11, 1)

Row = dict[str, Any]


def ad_day(ad_id: str, days_ago: int = 0, **figures: object) -> Row:
    zeros = dict.fromkeys(AD_DAY_COLUMNS, 0)
    place = {"ad_id": ad_id, "currency": "EUR", "date": UNTIL - timedelta(days_ago)}
    return {**zeros, **place, **figures}


def as_columns(days: list[Row]) -> AdDays:
    texts = {name: [str(day[name]) for day in days] for name in AD_DAY_COLUMNS[:3]}
    numbers = {name: [day[name] for day in days] for name in AD_DAY_COLUMNS[3:]}
    return {name: np.array(each, "object") for name, each in texts.items()} | {
        name: np.array(each, "float64") for name, each in numbers.items()
    }


def every_day(ad_id: str, days: Iterable[int], **figures: object) -> list[Row]:
    return [ad_day(ad_id, each, **figures) for each in days]


def ad(ad_id: str, **facts: object) -> Row:
    usual = {"media_type": "image", "image_hashes": [f"hash-{ad_id}"], "video_ids": []}
    return {"ad_id": ad_id, "ad_name": f"Ad {ad_id}", "creative_id": f"c{ad_id}", **usual, **facts}


def score(
    days: list[Row], ads: list[Row], classes: list[Row] | None = None, *, chunk_rows: int = 1_000
) -> list[Row]:
    chunks = [
        as_columns(days[start : start + chunk_rows]) for start in range(0, len(days), chunk_rows)
    ]
    scored = score_creatives(
        chunks,
        pd.DataFrame(ads, columns=list(CREATIVE_COLUMNS)),
        pd.DataFrame(classes or [], columns=list(CLASS_COLUMNS)),
        until=UNTIL,
    )
    return [{str(k): v for k, v in row.items()} for row in scored.to_dict("records")]


def score_one(days: list[Row], **facts: object) -> Row:
    (row,) = score(days, [ad("1", **facts)])
    return row


def cohort(**rates: list[int]) -> list[Row]:
    """Ads 1, 2, ... of 10,000 impressions each with these figures."""
    names = list(rates)
    rows = zip(*rates.values(), strict=True)
    usual = {"impressions": 10_000, "reach": 9_000, "spend": 100}
    return score(
        [
            ad_day(str(n), **{**usual, **dict(zip(names, row, strict=True))})
            for n, row in enumerate(rows)
        ],
        [ad(str(n), media_type="video", video_ids=[f"v{n}"]) for n in range(len(rates[names[0]]))],
    )


def test_a_creative_shown_by_two_ads_is_one_row_with_the_figures_of_both() -> None:
    days = [
        ad_day(
            "1",
            1,
            impressions=3_000,
            reach=2_000,
            inline_link_clicks=60,
            spend=Decimal("10.10"),
            purchases=3,
            purchase_value=Decimal("90.30"),
            video_plays=2_900,
            video_3s_views=900,
            thruplays=180,
        ),
        ad_day(
            "2",
            0,
            impressions=1_000,
            reach=500,
            inline_link_clicks=40,
            spend=Decimal("20.20"),
            purchases=1,
            purchase_value=Decimal("31.20"),
            video_plays=980,
            video_3s_views=300,
            thruplays=120,
        ),
    ]
    shown = {"media_type": "video", "video_ids": ["v7"]}
    classes = [
        {"creative_id": "c1", "hook_type": "question", "messaging_angle": "pain"},
        {"creative_id": "c2", "hook_type": "offer", "messaging_angle": "value"},
    ]
    (row,) = score(days, [ad("1", **shown), ad("2", **shown)], classes)
    week = {"before": None, "after": 100 / 4_000, "change": None}
    assert row["change"]["link_ctr"] == week
    assert {name: row[name] for name in OUTPUT_COLUMNS if name != "change"} == {
        "creative_key": "video:v7",
        "currency": "EUR",
        "creative_id": "c2",
        "ad_name": "Ad 2",
        "media_type": "video",
        "hook_type": "offer",
        "messaging_angle": "value",
        "ad_count": 2,
        "since": date(2026, 10, 5),
        "until": date(2026, 11, 1),
        "impressions": 4_000,
        "spend": Decimal("30.30"),
        "spend_share": 1.0,
        "purchases": 4.0,
        "purchase_value": Decimal("121.50"),
        "roas": pytest.approx(121.5 / 30.3),
        "cpa": pytest.approx(30.3 / 4),
        "frequency": 1.6,
        "hook_rate": 0.3,
        "hold_rate": 0.25,
        "link_ctr": 0.025,
        "cvr": 0.04,
        "hook_percentile": 50.0,
        "hold_percentile": 50.0,
        "click_percentile": 50.0,
        "convert_percentile": 50.0,
        "confidence": "medium",
        "is_fatigued": False,
        "fatigue_reasons": [],
        "label": "middle",
        "label_reason": "ROAS 4.01, 1.75 to 8.00 with 80 % confidence: not surely better or worse "
        "than the brand's 4.01.",
        "weakest_link": None,
        "scorer_version": SCORER_VERSION,
    }


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"media_type": "image", "image_hashes": ["h1", "h2"]}, "image:h1"),
        ({"media_type": "video", "image_hashes": ["h1"], "video_ids": ["7", "8"]}, "video:7"),
        ({"media_type": "carousel", "image_hashes": ["h1"], "video_ids": ["7"]}, "creative:c1"),
        ({"media_type": "collection", "image_hashes": ["h1"]}, "creative:c1"),
        ({"media_type": "image", "image_hashes": []}, "creative:c1"),
        ({"media_type": None, "image_hashes": None, "video_ids": None}, "creative:c1"),
        ({"media_type": None, "image_hashes": ["h1"], "video_ids": None}, "image:h1"),
    ],
)
def test_a_creative_is_its_video_or_picture_and_a_carousel_its_own(facts: Row, key: str) -> None:
    assert list(creative_keys(pd.DataFrame([ad("1", **facts)]))) == [key]


def test_the_28_days_end_with_the_last_and_begin_27_days_before() -> None:
    days = [ad_day("1", ago, impressions=1_000) for ago in (-1, 0, 27, 28)]
    assert score_one(days)["impressions"] == 2_000


def test_ads_without_a_creative_are_left_out() -> None:
    days = [ad_day("1", impressions=1_000), ad_day("2", impressions=1), ad_day("3", impressions=1)]
    rows = score(days, [ad("1"), ad("2", creative_id=None)])
    assert [row["impressions"] for row in rows] == [1_000]


def test_nothing_to_score_gives_no_rows_but_all_columns() -> None:
    empty = score_creatives(
        [],
        pd.DataFrame([], columns=list(CREATIVE_COLUMNS)),
        pd.DataFrame([], columns=list(CLASS_COLUMNS)),
        until=UNTIL,
    )
    assert len(empty) == 0
    assert tuple(empty.columns) == OUTPUT_COLUMNS
    assert set(OUTPUT_COLUMNS) == set(SCORECARD.column_names) - {"brand_id", "fetched_at"}


def test_a_percentile_is_the_mean_rank_and_equal_rates_are_equal() -> None:
    rows = cohort(inline_link_clicks=[100, 200, 200, 400])
    assert [row["click_percentile"] for row in rows] == [12.5, 50, 50, 87.5]


@pytest.mark.parametrize(("impressions", "place"), [(999, None), (1_000, 50.0), (1_001, 50.0)])
def test_it_takes_1000_impressions_to_have_a_place(impressions: int, place: float | None) -> None:
    assert score_one([ad_day("1", impressions=impressions)])["click_percentile"] == place


@pytest.mark.parametrize(("clicks", "place"), [(99, None), (100, 50.0)])
def test_it_takes_100_clicks_to_have_a_place_by_conversion(
    clicks: int, place: float | None
) -> None:
    row = score_one([ad_day("1", impressions=9_000, inline_link_clicks=clicks, purchases=5)])
    assert row["cvr"] == 5 / clicks
    assert row["convert_percentile"] == place


def test_rates_have_no_currency_and_spend_has() -> None:
    days = [
        ad_day("1", impressions=10_000, inline_link_clicks=100, spend=30),
        ad_day("2", impressions=10_000, inline_link_clicks=200, spend=10),
        ad_day("3", impressions=10_000, inline_link_clicks=300, spend=9_000, currency="JPY"),
    ]
    rows = score(days, [ad("1"), ad("2"), ad("3")])
    found = [(row["currency"], row["spend_share"], row["click_percentile"]) for row in rows]
    assert found == [
        ("EUR", 0.75, pytest.approx(100 / 6)),
        ("EUR", 0.25, 50),
        ("JPY", 1, pytest.approx(500 / 6)),
    ]


def test_a_picture_has_no_hook_though_meta_counts_plays_of_it() -> None:
    row = score_one([ad_day("1", impressions=9_000, video_plays=500, video_3s_views=300)])
    assert [row[n] for n in ("hook_rate", "hold_rate", "hook_percentile", "weakest_link")] == [
        None
    ] * 4
    assert row["change"]["hook_rate"] == {"before": None, "after": None, "change": None}


def test_reach_that_meta_withholds_does_not_raise_the_frequency() -> None:
    days = [
        ad_day("1", 0, impressions=3_000, reach=1_500),
        ad_day("1", 1, impressions=9_000, reach=None),
    ]
    assert score_one(days)["frequency"] == 2


def test_the_chain_breaks_at_the_first_link_under_a_quarter() -> None:
    rows = cohort(
        video_plays=[9_000] * 5,
        video_3s_views=[3_000, 3_000, 3_000, 3_000, 1_000],
        thruplays=[900, 900, 900, 900, 300],
        inline_link_clicks=[100, 200, 200, 200, 200],
        purchases=[9, 18, 2, 18, 18],
    )
    assert [row["weakest_link"] for row in rows] == ["click", None, "convert", None, "hook"]


@pytest.mark.parametrize(
    ("clicks", "confidence"),
    [(39, "low"), (40, "medium"), (167, "medium"), (168, "high")],
)
def test_confidence_is_how_narrow_the_interval_of_the_ctr_is(clicks: int, confidence: str) -> None:
    row = score_one([ad_day("1", impressions=100_000, inline_link_clicks=clicks)])
    ratio, count, z = clicks / 100_000, 100_000, 1.96
    half = z * math.sqrt(ratio * (1 - ratio) / count + z**2 / (4 * count**2))
    width = half / (ratio + z**2 / (2 * count))
    assert row["confidence"] == confidence
    assert (width <= 0.15, width <= 0.30) == (confidence == "high", confidence != "low")


def test_the_last_week_is_set_against_the_week_before() -> None:
    days = [
        ad_day("1", 6, impressions=1_000, inline_link_clicks=30, spend=20, purchase_value=50),
        ad_day("1", 7, impressions=1_000, inline_link_clicks=20, spend=10, purchase_value=40),
        ad_day("1", 13, impressions=1_000, inline_link_clicks=20, spend=6, purchases=2),
        ad_day("1", 14, impressions=9_000, inline_link_clicks=900, spend=900),
    ]
    assert score_one(days)["change"] == {
        "hook_rate": {"before": None, "after": None, "change": None},
        "hold_rate": {"before": None, "after": None, "change": None},
        "link_ctr": {"before": 0.02, "after": 0.03, "change": pytest.approx(0.5)},
        "cvr": {"before": 0.05, "after": 0, "change": -1},
        "spend": {"before": 16, "after": 20, "change": 0.25},
        "roas": {"before": 2.5, "after": 2.5, "change": 0},
    }


@pytest.mark.parametrize(
    ("low_days", "low_clicks", "is_fatigued"),
    [
        (9, 80, True),  # the weeks that end with the last three days are all low
        (8, 80, False),  # the third last still has a better day
        (9, 81, False),  # 19 % under
    ],
)
def test_a_ctr_20_pct_under_its_peak_for_three_days_is_fatigue(
    low_days: int, low_clicks: int, is_fatigued: bool
) -> None:
    days = [
        *every_day("1", range(low_days, 28), impressions=10_000, inline_link_clicks=100),
        *every_day("1", range(low_days), impressions=10_000, inline_link_clicks=low_clicks),
    ]
    row = score_one(days)
    assert row["is_fatigued"] is is_fatigued
    reason = (
        "Link CTR at least 20 % under its peak for 3 days: 0.80 % in the last 7 days, 1.00 % at "
        "best."
    )
    assert row["fatigue_reasons"] == is_fatigued * [reason]


@pytest.mark.parametrize(("daily_clicks", "is_fatigued"), [(42, False), (43, True)])
def test_a_ctr_that_chance_may_have_moved_is_no_fatigue(
    daily_clicks: int, is_fatigued: bool
) -> None:
    days = [
        *every_day("1", range(9, 28), impressions=4_000, inline_link_clicks=daily_clicks),
        *every_day("1", range(9), impressions=4_000, inline_link_clicks=20),
    ]
    assert score_one(days)["is_fatigued"] is is_fatigued  # 294 and 301 clicks a week


@pytest.mark.parametrize(
    ("reach", "is_fatigued"), [(1_000, False), (999, True), (0, False), (None, False)]
)
def test_a_frequency_above_3_5_in_the_last_week_is_fatigue(
    reach: int | None, is_fatigued: bool
) -> None:
    row = score_one(every_day("1", range(7), impressions=3_500, reach=reach))
    assert row["fatigue_reasons"] == is_fatigued * [
        "Frequency of at least 3.50 in the last 7 days, above 3.5."
    ]


@pytest.mark.parametrize(("spend", "is_fatigued"), [("11.51", True), ("11.49", False)])
def test_a_cost_per_click_up_15_pct_for_three_days_is_fatigue(
    spend: str, is_fatigued: bool
) -> None:
    usual = {"impressions": 10_000, "inline_link_clicks": 100}
    days = [
        *every_day("1", range(9, 28), spend=10, **usual),
        *every_day("1", range(9), spend=Decimal(spend), **usual),
    ]
    row = score_one(days)
    assert row["is_fatigued"] is is_fatigued
    assert row["fatigue_reasons"] == is_fatigued * [
        "Cost per link click at least 15 % up for 3 days: 0.12 EUR in the last 7 days, 0.10 before."
    ]


def label(days: list[Row]) -> dict[str, tuple[str, str]]:
    ids = sorted({day["ad_id"] for day in days})
    return {
        row["creative_id"][1:]: (row["label"], row["label_reason"])
        for row in score(days, [ad(each) for each in ids])
    }


def test_a_winner_surely_beats_the_brands_roas_with_the_median_spend() -> None:
    usual = {"impressions": 10_000, "spend": 100}
    found = label(
        [
            ad_day("1", **usual, purchases=40, purchase_value=400),
            ad_day("2", **usual, purchases=20, purchase_value=200),
            ad_day("3", **usual, purchases=5, purchase_value=50),
            ad_day("4", **usual, purchases=0, purchase_value=0),
            ad_day("5", impressions=10_000, spend=20, purchases=15, purchase_value=150),
            ad_day("6", impressions=10_000, spend=5, purchases=0),
            ad_day("7", impressions=999, spend=100, purchases=20, purchase_value=200),
            ad_day("8", impressions=10_000, spend=0, purchases=5, purchase_value=50),
        ]
    )
    assert {name: found[name][0] for name in found} == {
        "1": "winner",
        "2": "middle",
        "3": "loser",
        "4": "loser",
        "5": "middle",
        "6": "too_early",
        "7": "too_early",
        "8": "too_early",
    }
    # The brand: 1,050 EUR of value for 525 EUR.
    assert found["1"][1] == (
        "ROAS 4.00, 3.21 to 4.94 with 80 % confidence: better than the brand's 2.00, with "
        "100.00 EUR spent, at least the median creative's 100.00."
    )
    assert found["4"][1] == (
        "ROAS 0.00, 0.00 to 0.23 with 80 % confidence: worse than the brand's 2.00."
    )
    assert found["5"][1].endswith(
        "better than the brand's 2.00, but it has spent 20.00 EUR, less than the median "
        "creative's 100.00."
    )
    assert found["6"][1] == "5.00 EUR bring 1.0 purchases at the brand's average; it takes 3."
    assert found["7"][1] == "999 impressions; it takes 1,000."
    assert found["8"][1] == "Nothing was spent on it."


def test_purchases_without_a_value_are_judged_by_their_cost() -> None:
    usual = {"impressions": 10_000, "spend": 100}
    found = label(
        [
            ad_day("1", **usual, purchases=40),
            ad_day("2", **usual, purchases=20),
            ad_day("3", **usual, purchases=0),
        ]
    )
    assert found["1"][0] == "winner"
    assert found["1"][1] == (
        "Cost per purchase: 2.50 EUR, 2.02 EUR to 3.11 EUR with 80 % confidence: better than the "
        "brand's 5.00 EUR, with 100.00 EUR spent, at least the median creative's 100.00."
    )
    assert found["2"][0] == "middle"
    assert found["3"][0] == "loser"
    assert found["3"][1] == (
        "Cost per purchase: unknown, 43.87 EUR or more with 80 % confidence: worse than the "
        "brand's 5.00 EUR."
    )


def test_a_part_of_a_purchase_has_a_cost_too() -> None:
    usual = {"impressions": 10_000, "spend": 100}
    days = [ad_day("1", **usual, purchases=Decimal("0.1")), ad_day("2", **usual, purchases=20)]
    assert label(days)["1"][1].startswith(
        "Cost per purchase: 1,000.00 EUR, 40.78 EUR to any amount with 80 % confidence: worse than"
    )


def test_a_brand_without_purchases_is_told_that_nothing_can_be_compared() -> None:
    assert label([ad_day("1", impressions=10_000, spend=500)]) == {
        "1": ("too_early", "The brand has no purchases in EUR to compare with.")
    }


def test_labels_compare_within_a_currency_only() -> None:
    usual = {"impressions": 10_000, "purchases": 40}
    days = [
        ad_day("1", **usual, spend=100, purchase_value=400),
        ad_day("2", **usual, spend=100_000, purchase_value=100_000, currency="JPY"),
    ]
    assert {name: each[0] for name, each in label(days).items()} == {"1": "middle", "2": "middle"}


def test_amounts_add_up_exactly() -> None:
    cents = [ad_day("1", ago, spend=Decimal("0.10"), purchases=1) for ago in range(28)]
    nonsense = ad_day("1", 0, purchase_value=Decimal("9999999999.99"))
    row = score_one([*cents, *[nonsense] * 3])
    assert row["spend"] == Decimal("2.80")
    assert row["purchase_value"] == Decimal("29999999999.97")


COUNTS = st.integers(0, 10**6)
AMOUNTS = st.decimals(0, 10**6, places=2) | st.sampled_from([Decimal(0), Decimal("0.000001")])


@st.composite
def brands(draw: st.DrawFn) -> tuple[list[Row], list[Row], list[Row]]:
    """Ad-days, ads and classes as no shop would have them, but the database may."""
    ids = [str(n) for n in range(draw(st.integers(1, 8)))]
    lists = st.none() | st.lists(st.sampled_from(["a", "b"]), max_size=2)
    ads = [
        {
            "ad_id": each,
            "ad_name": draw(st.none() | st.text(max_size=3)),
            "creative_id": draw(st.none() | st.sampled_from(["c1", "c2", "c3", "c4"])),
            "media_type": draw(
                st.none() | st.sampled_from(["image", "video", "carousel", "unknown"])
            ),
            "image_hashes": draw(lists),
            "video_ids": draw(lists),
        }
        for each in ids
    ]
    places = st.tuples(st.sampled_from([*ids, "nobody's"]), st.integers(-2, 30))
    days = [
        {
            "ad_id": ad_id,
            "currency": draw(st.sampled_from(["EUR", "JPY"])),
            "date": UNTIL - timedelta(ago),
            **{name: draw(COUNTS) for name in AD_DAY_COLUMNS[3:9]},
            "reach": draw(st.none() | COUNTS),
            **{name: draw(AMOUNTS) for name in AD_DAY_COLUMNS[9:]},
        }
        for ad_id, ago in draw(st.lists(places, unique=True, max_size=25))
    ]
    known = draw(st.lists(st.sampled_from(["c1", "c2", "c3", "c9"]), unique=True))
    hooks = st.none() | st.sampled_from(["question", "unknown"])
    classes = [
        {"creative_id": each, "hook_type": draw(hooks), "messaging_angle": draw(hooks)}
        for each in known
    ]
    return days, ads, classes


def is_of_type(value: object, column_type: ColumnType) -> bool:
    if column_type is ColumnType.JSON:
        json.dumps(value, allow_nan=False)
        return True
    types = {
        ColumnType.TEXT: str,
        ColumnType.INTEGER: int,
        ColumnType.DECIMAL: Decimal,
        ColumnType.FLOAT: float,
        ColumnType.BOOLEAN: bool,
        ColumnType.DATE: date,
    }
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, types[column_type])


@settings(max_examples=30, deadline=None)
@given(brands())
def test_what_is_stored_fits_its_columns_whatever_the_figures(
    brand: tuple[list[Row], list[Row], list[Row]],
) -> None:
    columns = {column.name: column for column in SCORECARD.columns}
    for row in score(*brand):
        for name, value in row.items():
            column = columns[name]
            is_empty = column.nullable and value is None
            assert is_empty or is_of_type(value, column.type), (name, value)


@settings(max_examples=30, deadline=None)
@given(brands())
def test_shares_add_up_to_one_and_percentiles_follow_the_rates(
    brand: tuple[list[Row], list[Row], list[Row]],
) -> None:
    rows = score(*brand)
    for currency in {row["currency"] for row in rows}:
        shares = [row["spend_share"] for row in rows if row["currency"] == currency]
        if None not in shares:
            assert math.isclose(sum(shares), 1)
    for link, rate in LINKS.items():
        ranked = sorted(
            (row[rate], row[f"{link}_percentile"])
            for row in rows
            if row[f"{link}_percentile"] is not None
        )
        places = [place for _, place in ranked]
        assert all(0 < place < 100 for place in places)
        assert places == sorted(places)
        for (low, low_place), (high, high_place) in pairwise(ranked):
            assert (low == high) == (low_place == high_place)
    assert all(
        row["click_percentile"] is None for row in rows if row["impressions"] < MIN_IMPRESSIONS
    )


@settings(max_examples=30, deadline=None)
@given(brands(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_neither_the_order_of_rows_nor_the_size_of_chunks_matters(
    brand: tuple[list[Row], list[Row], list[Row]], random: Any, chunk_rows: int
) -> None:
    expected = score(*brand)
    shuffled = tuple(random.sample(rows, len(rows)) for rows in brand)
    assert score(*shuffled, chunk_rows=chunk_rows) == expected


@settings(max_examples=30, deadline=None)
@given(brands())
def test_every_unit_of_spend_of_a_known_creative_is_in_a_row(
    brand: tuple[list[Row], list[Row], list[Row]],
) -> None:
    days, ads, _ = brand
    known = {each["ad_id"] for each in ads if each["creative_id"]}
    spent = sum(
        day["spend"]
        for day in days
        if day["ad_id"] in known and 0 <= (UNTIL - day["date"]).days < 28
    )
    assert sum(row["spend"] for row in score(*brand)) == spent
