"""Meta's own Python SDK reads the simulator and gets what the world says."""

import time
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.adcreative import AdCreative
from facebook_business.adobjects.adreportrun import AdReportRun
from facebook_business.adobjects.advideo import AdVideo
from facebook_business.adobjects.campaign import Campaign
from facebook_business.adobjects.user import User
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from pipeline_assets.simulator.faults import Fault, FaultKind
from pipeline_assets.simulator.metrics import Metrics, add_up
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import Account

ACCOUNT = "act_1001"
TOKEN = "EAATestTokenThatSeesEverything00000001"
STATUSES = ["ACTIVE", "PAUSED", "ARCHIVED", "DELETED"]
WINDOW = {"since": "2026-11-01", "until": "2026-11-20"}
DAYS = [date(2026, 11, 1) + timedelta(days=each) for each in range(20)]

# The SDK warns of its own fields; here only its reading matters.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:facebook_business")


@pytest.fixture
def api(server: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FacebookAdsApi]:
    monkeypatch.setattr(FacebookSession, "GRAPH", server.url)
    app = server.world.app
    session = FacebookSession(app_id=app.id, app_secret=app.secret, access_token=TOKEN)
    yield FacebookAdsApi(session, api_version="v26.0")
    session.requests.close()


@pytest.fixture
def account(api: FacebookAdsApi) -> AdAccount:
    return AdAccount(ACCOUNT, api=api)


@pytest.fixture
def world_account(server: SimulatorServer) -> Account:
    return server.world.accounts[ACCOUNT]


def truth(server: SimulatorServer, ad_id: str) -> Metrics:
    found = [server.world.metrics(ACCOUNT, ad_id, day, now=server.now()) for day in DAYS]
    return add_up(each for each in found if each)


def test_it_finds_the_accounts_of_the_token(api: FacebookAdsApi) -> None:
    accounts = User("me", api=api).get_ad_accounts(fields=["name", "currency"])
    assert [(each["id"], each["currency"]) for each in accounts] == [
        ("act_1001", "EUR"),
        ("act_2002", "JPY"),
    ]


def test_it_pages_through_all_ads(account: AdAccount, world_account: Account) -> None:
    ads = account.get_ads(
        fields=["name", "effective_status", "creative", "adset_id", "campaign_id"],
        params={"effective_status": STATUSES, "limit": 4, "summary": True},
    )
    assert ads.total() == len(world_account.ads)
    assert [(ad["id"], ad["name"], ad["effective_status"]) for ad in ads] == [
        (ad.id, ad.name, ad.status) for ad in world_account.ads
    ]


def test_it_reads_creatives_and_videos(
    api: FacebookAdsApi, account: AdAccount, world_account: Account
) -> None:
    creatives = list(
        account.get_ad_creatives(
            fields=["thumbnail_url", "video_id", "object_story_spec"],
            params={"thumbnail_width": 200, "thumbnail_height": 200, "limit": 5},
        )
    )
    assert len(creatives) == len(world_account.creative_indexes)
    assert requests.get(creatives[0]["thumbnail_url"], timeout=5).status_code == 200
    one = AdCreative(creatives[2]["id"], api=api).api_get(fields=["object_story_spec"])
    cards = one["object_story_spec"]["link_data"]["child_attachments"]
    assert cards[0]["name"] == "Daily Mineral SPF 50"
    videos = [AdVideo(each["video_id"], api=api) for each in creatives if "video_id" in each]
    sources = [video.api_get(fields=["source", "length"]) for video in videos]
    assert [("source" in video) for video in sources] == [False, True, True]


def test_it_reads_insights_at_once(account: AdAccount, server: SimulatorServer) -> None:
    rows = list(
        account.get_insights(
            fields=["ad_id", "impressions", "spend", "actions"],
            params={
                "level": "ad",
                "time_range": WINDOW,
                "limit": 3,
                "filtering": [
                    {"field": "ad.effective_status", "operator": "IN", "value": STATUSES}
                ],
            },
        )
    )
    assert len(rows) == 14
    for row in rows:
        expected = truth(server, row["ad_id"])
        assert row["impressions"] == str(expected.impressions)
        assert Decimal(row["spend"]) == Decimal(expected.spend) / 100
        purchases = [a["value"] for a in row["actions"] if a["action_type"] == "omni_purchase"]
        assert purchases == ([str(expected.purchases)] if expected.purchases else [])


def test_it_reads_insights_from_a_report_run(
    account: AdAccount, api: FacebookAdsApi, clock: Any
) -> None:
    params = {"level": "ad", "time_increment": 1, "time_range": WINDOW}
    fields = ["ad_id", "impressions", "date_start"]
    run = account.get_insights_async(fields=fields, params=params)
    clock.advance(1)
    state = AdReportRun(run["report_run_id"], api=api).api_get()
    assert (state["async_status"], state["async_percent_completion"]) == ("Job Completed", 100)
    rows = [dict(row) for row in state.get_result(params={"limit": 40})]
    at_once = account.get_insights(fields=fields, params={**params, "limit": 500})
    assert rows == [dict(row) for row in at_once]
    assert len(rows) > 150


def test_it_reads_campaigns_in_a_batch(api: FacebookAdsApi, account: AdAccount) -> None:
    ids = [campaign["id"] for campaign in account.get_campaigns()]
    names: list[str] = []
    failures: list[str] = []
    batch = api.new_batch()
    for campaign_id in [*ids, "404"]:
        Campaign(campaign_id, api=api).api_get(
            fields=["name"],
            batch=batch,
            success=lambda answer: names.append(answer.json()["name"]),
            failure=lambda answer: failures.append(answer.error().api_error_code()),
        )
    batch.execute()
    assert names == ["Acme Europe | Sales 1", "Acme Europe | Traffic 2"]
    assert failures == [100]


def test_it_understands_our_errors(account: AdAccount, server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.ACCOUNT_LIMIT, account=ACCOUNT, count=1, seconds=15))
    with pytest.raises(FacebookRequestError) as caught:
        account.get_insights(fields=["spend"])
    error = caught.value
    assert (error.api_error_code(), error.api_error_subcode()) == (17, 2446079)
    assert error.http_status() == 400
    assert '"reset_time_duration": 15' in error.http_headers()["x-ad-account-usage"]


def test_a_page_of_500_rows_is_quick(account: AdAccount) -> None:
    start = time.perf_counter()
    rows = account.get_insights(
        fields=["ad_id", "impressions", "spend", "actions"],
        params={"level": "ad", "time_increment": 1, "date_preset": "last_90d", "limit": 500},
    )
    assert len(rows) == 500
    # About 40 ms on a quiet machine: ten times that is a fault, not a busy neighbour.
    assert time.perf_counter() - start < 2
