from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.schemas import META_ADS_PERFORMANCE
from pipeline_assets.sources.meta import DateWindow, performance_query, performance_row_parser

FETCHED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TODAY = date(2026, 11, 21)


def _parse(**row: Any) -> dict[str, Any]:
    parse = performance_row_parser(
        brand_id="acme", account_id="act_1", currency="EUR", today=TODAY, fetched_at=FETCHED
    )
    sent = {"ad_id": "23850000000000000001", "date_start": "2026-11-20"} | row
    (values,) = parse([sent])
    return dict(zip(META_ADS_PERFORMANCE.column_names, values, strict=True))


def _one(value: str) -> list[dict[str, str]]:
    return [{"action_type": "video_view", "value": value}]


def test_a_full_row_has_every_column_in_its_type() -> None:
    actions = [
        {"action_type": "landing_page_view", "value": "41"},
        {"action_type": "video_view", "value": "900"},
        {"action_type": "purchase", "value": "7"},
        {"action_type": "omni_purchase", "value": "8", "7d_click": "6"},
    ]
    values = [
        {"action_type": "purchase", "value": "70.5"},
        {"action_type": "omni_purchase", "value": "80.25"},
    ]
    found = _parse(
        ad_name="Ad",
        adset_id="2",
        adset_name="Set",
        campaign_id="3",
        campaign_name="Campaign",
        impressions="1000",
        reach="800",
        clicks="50",
        inline_link_clicks="45",
        spend="12.34",
        account_currency="USD",
        actions=actions,
        action_values=values,
        video_play_actions=_one("950"),
        video_thruplay_watched_actions=_one("300"),
        video_p25_watched_actions=_one("500"),
        video_p50_watched_actions=_one("400"),
        video_p75_watched_actions=_one("200"),
        video_p95_watched_actions=_one("100"),
        video_p100_watched_actions=_one("90"),
        attribution_setting="7d_click_1d_view",
        a_field_meta_adds_one_day="x",
    )
    assert found == {
        "brand_id": "acme",
        "ad_account_id": "act_1",
        "date": date(2026, 11, 20),
        "ad_id": "23850000000000000001",
        "ad_name": "Ad",
        "adset_id": "2",
        "adset_name": "Set",
        "campaign_id": "3",
        "campaign_name": "Campaign",
        "impressions": 1000,
        "reach": 800,
        "clicks": 50,
        "inline_link_clicks": 45,
        "spend": Decimal("12.34"),
        "currency": "USD",
        "purchases": Decimal(8),
        "purchase_value": Decimal("80.25"),
        "purchase_action_type": "omni_purchase",
        "landing_page_views": 41,
        "video_plays": 950,
        "video_3s_views": 900,
        "thruplays": 300,
        "p25": 500,
        "p50": 400,
        "p75": 200,
        "p95": 100,
        "p100": 90,
        "attribution_setting": "7d_click_1d_view",
        "provisional": True,
        "actions": actions,
        "action_values": values,
        "fetched_at": FETCHED,
    }


def test_a_figure_that_is_left_out_is_zero() -> None:
    found = _parse()
    assert found["impressions"] == found["clicks"] == found["p100"] == 0
    assert found["spend"] == found["purchases"] == found["purchase_value"] == Decimal(0)
    assert found["purchase_action_type"] is None
    assert found["currency"] == "EUR"
    assert found["actions"] is None


def test_reach_is_zero_without_impressions_and_unknown_where_meta_withholds_it() -> None:
    assert _parse()["reach"] == 0
    assert _parse(impressions="10")["reach"] is None
    assert _parse(impressions="10", reach="9")["reach"] == 9


@pytest.mark.parametrize(
    ("types", "chosen"),
    [
        (["purchase", "omni_purchase"], "omni_purchase"),
        (["offsite_conversion.fb_pixel_purchase", "purchase"], "purchase"),
        (["offsite_conversion.fb_pixel_purchase"], "offsite_conversion.fb_pixel_purchase"),
        (["link_click"], None),
    ],
)
def test_purchases_are_counted_by_one_action_type_and_never_summed(
    types: list[str], chosen: str | None
) -> None:
    actions = [{"action_type": name, "value": "3"} for name in types]
    found = _parse(actions=actions, action_values=[{"action_type": "other", "value": "9"}])
    assert found["purchase_action_type"] == chosen
    assert found["purchases"] == Decimal(3 if chosen else 0)
    assert found["purchase_value"] == Decimal(0)


@pytest.mark.parametrize(
    ("day", "provisional"), [("2026-10-24", False), ("2026-10-25", True), ("2026-11-21", True)]
)
def test_a_day_is_provisional_until_it_is_28_days_old(day: str, provisional: bool) -> None:
    assert _parse(date_start=day)["provisional"] is provisional


def test_odd_numbers_are_read_all_the_same() -> None:
    found = _parse(impressions=5, clicks="7.0", video_play_actions=[{"action_type": "video_view"}])
    assert (found["impressions"], found["clicks"], found["video_plays"]) == (5, 7, 0)


@pytest.mark.parametrize(
    "bad", [{"spend": "a lot"}, {"date_start": "soon"}, {"impressions": "many"}, {"actions": "no"}]
)
def test_a_row_that_cannot_be_read_names_the_account(bad: dict[str, Any]) -> None:
    with pytest.raises(SourceUnavailableError, match="act_1"):
        _parse(**bad)


def test_the_query_asks_for_all_that_the_rows_are_made_from() -> None:
    query = performance_query("act_1", DateWindow(date(2026, 11, 1), TODAY))
    assert query.row_key == ("ad_id", "date_start")
    assert {"account_currency", "attribution_setting", "actions", "spend"} <= set(query.fields)
