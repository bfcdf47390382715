import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline_assets.sources.meta.graph_failures import GraphFailure
from pipeline_assets.sources.meta.rate_budget import RateBudget, Usage

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def budget(store: Any) -> RateBudget:
    return RateBudget(store, app_id="", now=lambda: NOW)


def _headers(**by_name: object) -> dict[str, str]:
    return {name.replace("_", "-"): json.dumps(value) for name, value in by_name.items()}


def _business(owner: str, minutes: float, usage: str = "ads_insights") -> dict[str, object]:
    entry = {"type": usage, "call_count": 50, "estimated_time_to_regain_access": minutes}
    return {owner: [entry]}


def test_all_four_headers_are_read_into_one_reading_a_key(budget: RateBudget, store: Any) -> None:
    headers = _headers(
        x_app_usage={"call_count": 28, "total_cputime": 30, "total_time": 25},
        x_ad_account_usage={"acc_id_util_pct": 9.67, "reset_time_duration": 100},
        x_business_use_case_usage=_business("1", 0),
        x_fb_ads_insights_throttle={"app_id_util_pct": 31, "acc_id_util_pct": 60},
    )
    budget.note_headers(headers, "act_1")
    assert sorted(store.written) == [
        ("account:act_1", 9.67, None),
        ("account:act_1:ads_insights", 60.0, None),
        ("app:default", 31.0, None),
    ]


def test_only_what_moved_by_a_point_is_written(budget: RateBudget, store: Any) -> None:
    for pct in (10.0, 10.9, 9.2, 11.0, 11.5):
        budget.note_headers(_headers(x_app_usage={"call_count": pct}), None)
    assert [pct for _, pct, _ in store.written] == [10.0, 11.0]


def test_minutes_of_the_business_header_block_even_after_a_success(budget: RateBudget) -> None:
    budget.note_headers(_headers(x_business_use_case_usage=_business("1", 19)), "act_1")
    assert budget.find_block("act_1", Usage.ADS_INSIGHTS) == (
        "account:act_1:ads_insights",
        NOW + timedelta(minutes=19),
    )
    assert budget.find_block("act_1", Usage.ADS_MANAGEMENT) is None
    assert budget.find_block("act_2", Usage.ADS_INSIGHTS) is None


def test_a_business_id_in_the_header_counts_for_the_account_that_was_asked(
    budget: RateBudget,
) -> None:
    budget.note_headers(_headers(x_business_use_case_usage=_business("777", 2)), "act_1")
    assert budget.find_block("act_1", Usage.ADS_INSIGHTS) is not None


def test_another_accounts_entry_counts_for_that_account(budget: RateBudget) -> None:
    header = _business("1", 0) | _business("2", 3)
    budget.note_headers(_headers(x_business_use_case_usage=header), "act_1")
    assert budget.find_block("act_1", Usage.ADS_INSIGHTS) is None
    assert budget.find_block("act_2", Usage.ADS_INSIGHTS) is not None


@pytest.mark.parametrize(("pct", "seconds"), [(99.9, None), (100, 100)])
def test_an_account_is_blocked_for_the_headers_seconds_once_it_is_used_up(
    budget: RateBudget, pct: float, seconds: int | None
) -> None:
    header = {"acc_id_util_pct": pct, "reset_time_duration": 100}
    budget.note_headers(_headers(x_ad_account_usage=header), "act_1")
    block = budget.find_block("act_1", Usage.ADS_MANAGEMENT)
    expected = ("account:act_1", NOW + timedelta(seconds=seconds)) if seconds else None
    assert block == expected


@pytest.mark.parametrize(
    ("code", "subcode", "key", "seconds"),
    [
        (4, None, "app:default", 300),
        (341, None, "app:default", 300),
        (17, 2446079, "account:act_1", 300),
        (32, None, "account:act_1", 300),
        (613, 1487742, "account:act_1", 300),
        (613, None, "account:act_1", 3600),
        (613, 1996, "account:act_1", 21600),
        (80000, 2446079, "account:act_1:ads_insights", 300),
    ],
)
def test_each_limit_code_blocks_what_it_is_about(
    budget: RateBudget, code: int, subcode: int | None, key: str, seconds: int
) -> None:
    failure = GraphFailure(status=400, code=code, subcode=subcode)
    budget.note_limit(failure, "act_1", Usage.ADS_INSIGHTS)
    block = budget.find_block("act_1", Usage.ADS_INSIGHTS)
    assert block == (key, NOW + timedelta(seconds=seconds))


def test_full_access_is_blocked_for_a_minute_only(budget: RateBudget) -> None:
    tier = {"acc_id_util_pct": 1, "ads_api_access_tier": "standard_access"}
    budget.note_headers(_headers(x_fb_ads_insights_throttle=tier), "act_1")
    budget.note_limit(GraphFailure(status=400, code=17), "act_1", Usage.ADS_INSIGHTS)
    block = budget.find_block("act_1", Usage.ADS_INSIGHTS)
    assert block == ("account:act_1", NOW + timedelta(seconds=60))


def test_a_late_answer_does_not_lift_a_block(budget: RateBudget) -> None:
    budget.note_headers(_headers(x_business_use_case_usage=_business("1", 19)), "act_1")
    quiet = _business("1", 0)
    quiet["1"][0]["call_count"] = 3  # type: ignore[index]
    budget.note_headers(_headers(x_business_use_case_usage=quiet), "act_1")
    assert budget.find_block("act_1", Usage.ADS_INSIGHTS) is not None


def test_broken_headers_are_ignored(budget: RateBudget, store: Any) -> None:
    budget.note_headers({"x-app-usage": "{", "x-business-use-case-usage": '{"1": 5}'}, "act_1")
    budget.note_headers({"x-ad-account-usage": '{"acc_id_util_pct": "many"}'}, "act_1")
    assert all(pct == 0.0 and block is None for _, pct, block in store.written)
