import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pipeline_assets.simulator.metrics import Metrics, add_up
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import World

NOW = datetime(2026, 11, 21, 15, 7, tzinfo=UTC)
ACCOUNT = "act_1001"
WINDOW = {"since": "2026-11-01", "until": "2026-11-20"}
ALL_STATUSES = [
    {
        "field": "ad.effective_status",
        "operator": "IN",
        "value": ["ACTIVE", "PAUSED", "ARCHIVED", "DELETED"],
    }
]
ADDITIVE = ("impressions", "clicks", "inline_link_clicks", "spend")


def sums(rows: list[dict[str, Any]]) -> dict[str, Decimal]:
    total: Counter[str] = Counter()
    for row in rows:
        for name in ADDITIVE:
            total[name] += Decimal(row.get(name, "0"))  # type: ignore[assignment]
        for action in row.get("actions", []):
            total[action["action_type"]] += Decimal(action["value"])  # type: ignore[assignment]
        for value in row.get("action_values", []):
            total["value " + value["action_type"]] += Decimal(value["value"])  # type: ignore[assignment]
    return dict(total)  # type: ignore[arg-type]


def insights(client: Any, object_id: str = ACCOUNT, **params: Any) -> list[dict[str, Any]]:
    fields = ",".join((*ADDITIVE, "actions", "action_values"))
    defaults = {"fields": fields, "time_range": json.dumps(WINDOW), "limit": 500}
    return client.data(f"{object_id}/insights", **{**defaults, **params})


@pytest.mark.parametrize("level", ["campaign", "adset", "ad"])
@pytest.mark.parametrize("increment", ["1", "7", "monthly", "all_days"])
def test_every_level_and_step_adds_up_to_the_account(
    client: Any, level: str, increment: str
) -> None:
    rows = insights(
        client, level=level, time_increment=increment, filtering=json.dumps(ALL_STATUSES)
    )
    assert sums(rows) == sums(insights(client))
    assert sums(rows)["purchase"] > 10


@pytest.mark.parametrize(
    "breakdowns",
    ["age", "gender", '["age","gender"]', "country", "publisher_platform", "device_platform"],
)
def test_every_breakdown_adds_up_to_the_account(client: Any, breakdowns: str) -> None:
    rows = insights(client, breakdowns=breakdowns)
    assert sums(rows) == sums(insights(client))
    assert len(rows) > 1


def test_rows_are_what_the_world_says(client: Any, server: SimulatorServer) -> None:
    rows = insights(client, level="ad", time_increment="1", fields="ad_id,impressions,spend,reach")
    assert len(rows) > 150
    for row in rows:
        truth = server.world.metrics(
            ACCOUNT, row["ad_id"], date.fromisoformat(row["date_start"]), now=NOW
        )
        assert truth is not None
        assert (row["impressions"], row["reach"]) == (str(truth.impressions), str(truth.reach))
        assert Decimal(row["spend"]) == Decimal(truth.spend) / 100


def test_deleted_ads_are_in_totals_but_only_listed_when_asked_for(client: Any) -> None:
    by_default = {row["ad_id"] for row in insights(client, level="ad", fields="ad_id")}
    asked = {
        row["ad_id"]
        for row in insights(client, level="ad", fields="ad_id", filtering=json.dumps(ALL_STATUSES))
    }
    (deleted,) = asked - by_default
    assert insights(client, deleted, level="ad", fields="ad_id,impressions")[0]["ad_id"] == deleted
    archived = json.dumps(
        [{"field": "ad.effective_status", "operator": "IN", "value": ["ARCHIVED"]}]
    )
    (row,) = insights(client, level="ad", fields="ad_id", filtering=archived)
    assert row["ad_id"] in by_default


def test_numbers_are_strings_and_zeros_are_absent(client: Any) -> None:
    rows = insights(client, level="ad", time_increment="1", fields="impressions,spend,actions,ctr")
    assert all(isinstance(row["impressions"], str) for row in rows)
    values = [action["value"] for row in rows for action in row["actions"]]
    assert all(isinstance(value, str) and value != "0" for value in values)
    with_purchase = [
        row for row in rows if "purchase" in {each["action_type"] for each in row["actions"]}
    ]
    assert 0 < len(with_purchase) < len(rows)
    assert any("unlisted_metric" in row for row in rows)


def test_only_impressions_and_spend_without_fields(client: Any) -> None:
    (row,) = client.data(f"{ACCOUNT}/insights")
    assert set(row) - {"unlisted_metric"} == {"impressions", "spend", "date_start", "date_stop"}
    assert (row["date_start"], row["date_stop"]) == ("2026-10-22", "2026-11-20")


def test_only_video_ads_have_video_figures(client: Any, server: SimulatorServer) -> None:
    rows = insights(client, level="ad", fields="ad_id,video_play_actions,actions")
    ads = {ad.id: ad for ad in server.world.accounts[ACCOUNT].ads}
    for row in rows:
        is_video = ads[row["ad_id"]].kind in {"video", "dynamic"}
        types = {action["action_type"] for action in row["actions"]}
        assert ("video_play_actions" in row) == is_video == ("video_view" in types)


def test_windows_that_meta_ended_are_silently_absent(client: Any) -> None:
    rows = insights(client, action_attribution_windows='["1d_view","7d_click","7d_view"]')
    purchase = next(each for each in rows[0]["actions"] if each["action_type"] == "purchase")
    assert set(purchase) == {"action_type", "value", "1d_view", "7d_click"}
    assert int(purchase["1d_view"]) + int(purchase["7d_click"]) == int(purchase["value"])


def test_yen_have_no_decimals_and_the_day_is_tokyos(client: Any) -> None:
    (row,) = client.data(
        "act_2002/insights", date_preset="yesterday", fields="spend,account_currency"
    )
    assert row["date_start"] == "2026-11-21"
    assert row["spend"].isdecimal()
    assert row["account_currency"] == "JPY"


@pytest.mark.parametrize(
    ("preset", "since", "until"),
    [
        ("today", "2026-11-21", "2026-11-21"),
        ("yesterday", "2026-11-20", "2026-11-20"),
        ("last_7d", "2026-11-14", "2026-11-20"),
        ("this_month", "2026-11-01", "2026-11-21"),
        ("last_month", "2026-10-01", "2026-10-31"),
        ("last_week_mon_sun", "2026-11-09", "2026-11-15"),
        ("maximum", "2023-10-21", "2026-11-21"),
    ],
)
def test_presets_are_days_of_the_account(client: Any, preset: str, since: str, until: str) -> None:
    (row,) = client.data(f"{ACCOUNT}/insights", date_preset=preset)
    assert (row["date_start"], row["date_stop"]) == (since, until)


def test_totals_reach_back_37_months_and_no_day_more(client: Any) -> None:
    last = {"since": "2023-10-21", "until": "2026-11-01"}
    beyond = {"since": "2023-10-20", "until": "2026-11-01"}
    assert client.get(f"{ACCOUNT}/insights", time_range=json.dumps(last)).status_code == 200
    assert client.error(f"{ACCOUNT}/insights", time_range=json.dumps(beyond)) == (400, 3018, None)


def test_reach_broken_down_is_withheld_beyond_13_months_but_not_from_async_runs(
    start_server: Callable[..., SimulatorServer],
    make_world: Callable[..., World],
    connect: Callable[..., Any],
    clock: Any,
) -> None:
    client = connect(start_server(make_world(history_days=600)))
    asked = {"fields": "reach,frequency,impressions", "breakdowns": "age"}

    def rows(since: str) -> list[dict[str, Any]]:
        window = json.dumps({"since": since, "until": "2026-11-01"})
        return client.data(f"{ACCOUNT}/insights", time_range=window, **asked)

    assert "reach" not in rows("2025-10-20")[0]
    assert "frequency" not in rows("2025-10-20")[0]
    assert "reach" in rows("2025-10-21")[0]
    window = json.dumps({"since": "2025-10-20", "until": "2026-11-01"})
    run = client.post(f"{ACCOUNT}/insights", time_range=window, **asked).json()["report_run_id"]
    clock.advance(1)
    assert "reach" in client.data(f"{run}/insights")[0]


def test_breakdowns_that_need_an_opt_in_answer_nothing_without_an_error(client: Any) -> None:
    response = client.get(f"{ACCOUNT}/insights", breakdowns="frequency_value")
    assert (response.status_code, response.json()) == (200, {"data": []})


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"breakdowns": "age,country"}, (500, 2, 1504041)),
        ({"breakdowns": "shoe_size"}, (400, 100, None)),
        ({"fields": "impressions,shoe_size"}, (400, 100, None)),
        ({"level": "planet"}, (400, 100, None)),
        ({"time_range": "yesterday"}, (400, 100, None)),
        ({"time_range": '{"since":"2026-11-02","until":"2026-11-01"}'}, (400, 100, None)),
        ({"time_increment": "91"}, (400, 100, None)),
        ({"limit": "0"}, (400, 100, None)),
        ({"after": "nonsense"}, (400, 100, None)),
        (
            {"filtering": '[{"field":"ad.creative_id","operator":"IN","value":["1"]}]'},
            (400, 100, None),
        ),
    ],
)
def test_a_wrong_question_gets_metas_code(
    client: Any, params: dict[str, str], expected: tuple[int, int, int | None]
) -> None:
    assert client.error(f"{ACCOUNT}/insights", **params) == expected


def test_filters_narrow_the_rows(client: Any, server: SimulatorServer) -> None:
    ads = server.world.accounts[ACCOUNT].ads

    def ids(field: str, operator: str, value: Any) -> set[str]:
        filtering = json.dumps([{"field": field, "operator": operator, "value": value}])
        rows = insights(client, level="ad", fields="ad_id", filtering=filtering)
        return {row["ad_id"] for row in rows}

    assert ids("ad.id", "IN", [ads[1].id, ads[4].id]) == {ads[1].id, ads[4].id}
    campaign = insights(client, level="campaign", fields="campaign_id")[1]["campaign_id"]
    assert ids("campaign.id", "IN", [campaign]) == {
        ad.id for ad in ads if ad.campaign_index == 1 and ad.status != "DELETED"
    }
    updated = int(datetime(2026, 11, 14, tzinfo=UTC).timestamp())
    fresh = ids("ad.updated_time", "GREATER_THAN", updated)
    assert fresh == {
        ad.id for ad in ads if ad.updated_date >= date(2026, 11, 14) and ad.status != "DELETED"
    }
    assert 0 < len(fresh) < len(ads)
    assert ids("impressions", "GREATER_THAN", 10**9) == set()


def test_pages_end_without_next_and_hold_every_row_once(client: Any) -> None:
    everything = insights(client, level="ad", time_increment="1", fields="ad_id")
    paged = insights(client, level="ad", time_increment="1", fields="ad_id", limit=7)
    assert paged == everything
    last = client.get(f"{ACCOUNT}/insights", level="ad", limit=500).json()["paging"]
    assert set(last) == {"cursors"}
    assert last["cursors"]["after"].endswith("ZD")


def test_next_carries_the_token_only_when_it_was_a_parameter(client: Any) -> None:
    in_header = client.get(f"{ACCOUNT}/insights", level="ad", limit=2).json()["paging"]["next"]
    token = client.session.headers.pop("Authorization").removeprefix("Bearer ")
    as_param = client.get(f"{ACCOUNT}/insights", level="ad", limit=2, access_token=token)
    assert token not in in_header
    assert f"access_token={token}" in as_param.json()["paging"]["next"]


def test_time_ranges_give_one_row_each(client: Any) -> None:
    ranges = [WINDOW, {"since": "2026-10-01", "until": "2026-10-31"}]
    rows = client.data(f"{ACCOUNT}/insights", time_ranges=json.dumps(ranges))
    assert [row["date_start"] for row in rows] == ["2026-11-01", "2026-10-01"]


def test_reach_of_many_days_is_less_than_their_sum_and_no_less_than_the_best_day(
    client: Any,
) -> None:
    (whole,) = insights(client, fields="reach,impressions")
    days = insights(client, fields="reach", time_increment="1")
    reaches = [int(day["reach"]) for day in days]
    assert max(reaches) <= int(whole["reach"]) < sum(reaches)
    assert int(whole["reach"]) <= int(whole["impressions"])


def test_a_campaigns_own_insights_are_its_row_of_the_account(client: Any) -> None:
    row = insights(client, level="campaign", fields="campaign_id,impressions")[0]
    own = insights(client, row["campaign_id"], fields="campaign_id,impressions")
    assert own[0]["impressions"] == row["impressions"]


def test_account_totals_are_the_sum_of_the_world(client: Any, server: SimulatorServer) -> None:
    account = server.world.accounts[ACCOUNT]
    days = [date(2026, 11, 1) + timedelta(days=each) for each in range(20)]
    truth: Metrics = add_up(
        found for ad in account.ads for day in days if (found := account.metrics(ad, day, now=NOW))
    )
    (row,) = insights(client)
    assert row["impressions"] == str(truth.impressions)
    assert Decimal(row["spend"]) == Decimal(truth.spend) / 100
