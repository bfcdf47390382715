"""Meta's own Python SDK and our sync read the same account: both must hold the same."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from pipeline_assets.clock import utcnow
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import World
from pipeline_assets.storage.windows import read_rows

TOKEN = "EAAPlantedTokenOfTheTests0123456789abcdef"
PARIS, ANGELES = "act_11", "act_12"
STATUSES = ["ACTIVE", "PAUSED", "ARCHIVED", "DELETED", "CAMPAIGN_PAUSED", "ADSET_PAUSED"]
# They overlap, so one of them counts: the widest that a row has.
PURCHASE_TYPES = (
    "omni_purchase",
    "purchase",
    "offsite_conversion.fb_pixel_purchase",
    "onsite_conversion.purchase",
    "app_custom_event.fb_mobile_purchase",
)

Row = dict[str, Any]
Sync = Callable[..., dg.ExecuteInProcessResult]

# The SDK warns of its own fields; here only its reading matters.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:facebook_business")


@pytest.fixture
def simulator(world: World) -> Iterator[SimulatorServer]:
    """One instant for both readers: today's figures stand still."""
    instant = utcnow()
    with SimulatorServer(world, now=lambda: instant, report_seconds=0.02) as server:
        yield server


@pytest.fixture
def api(simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FacebookAdsApi]:
    monkeypatch.setattr(FacebookSession, "GRAPH", simulator.url)
    app = simulator.world.app
    session = FacebookSession(app_id=app.id, app_secret=app.secret, access_token=TOKEN)
    yield FacebookAdsApi(session, api_version="v26.0")
    session.requests.close()


def deleted_ads(simulator: SimulatorServer) -> set[str]:
    accounts = simulator.world.accounts.values()
    return {ad.id for account in accounts for ad in account.ads if ad.status == "DELETED"}


def purchases_of(actions: list[Row]) -> Decimal:
    by_type = {action["action_type"]: action["value"] for action in actions}
    return Decimal(next((by_type[name] for name in PURCHASE_TYPES if name in by_type), 0))


def test_performance_holds_the_rows_that_the_sdk_reads_and_no_other(
    sync: Sync, engine: sa.Engine, api: FacebookAdsApi, simulator: SimulatorServer
) -> None:
    (stored,) = sync("meta_ads_performance").asset_materializations_for_node("meta_ads_performance")
    expected = {}
    for account_id in (PARIS, ANGELES):
        since, until = stored.metadata["windows"].value[account_id].split(" to ")
        for row in AdAccount(account_id, api=api).get_insights(
            fields=["ad_id", "impressions", "spend", "clicks", "actions"],
            params={
                "level": "ad",
                "time_increment": 1,
                "time_range": {"since": since, "until": until},
                "filtering": [
                    {"field": "ad.effective_status", "operator": "IN", "value": STATUSES}
                ],
                "limit": 500,
            },
        ):
            expected[account_id, row["ad_id"], date.fromisoformat(row["date_start"])] = (
                int(row["impressions"]),
                Decimal(row["spend"]),
                int(row.get("clicks", 0)),
                purchases_of(row.get("actions", [])),
            )
    rows = read_rows(engine, SCHEMAS["meta_ads_performance"], brand_id="acme")
    ours = {
        (row["ad_account_id"], row["ad_id"], row["date"]): (
            row["impressions"],
            row["spend"],
            row["clicks"],
            row["purchases"],
        )
        for row in rows
    }
    assert ours == expected
    assert len(rows) == len(ours) > 300
    assert sum(purchases for *_, purchases in ours.values()) > 0
    assert deleted_ads(simulator) <= {ad_id for _, ad_id, _ in ours}


def test_creatives_hold_the_ads_that_the_sdk_lists_and_no_other(
    sync: Sync, engine: sa.Engine, api: FacebookAdsApi, simulator: SimulatorServer
) -> None:
    sync("meta_ad_creatives")
    fields = ["name", "status", "effective_status", "adset_id", "campaign_id", "creative"]
    expected = {
        (account_id, ad["id"]): (
            ad["name"],
            ad["status"],
            ad["effective_status"],
            ad["adset_id"],
            ad["campaign_id"],
            ad["creative"]["id"],
        )
        for account_id in (PARIS, ANGELES)
        for ad in AdAccount(account_id, api=api).get_ads(
            fields=fields, params={"effective_status": STATUSES, "limit": 5}
        )
    }
    names = ("ad_name", "status", "effective_status", "adset_id", "campaign_id", "creative_id")
    rows = read_rows(engine, SCHEMAS["meta_ad_creatives"], brand_id="acme")
    ours = {
        (row["ad_account_id"], row["ad_id"]): tuple(row[name] for name in names) for row in rows
    }
    assert ours == expected
    assert len(rows) == sum(len(account.ads) for account in simulator.world.accounts.values())
    assert deleted_ads(simulator) <= {ad_id for _, ad_id in ours}
