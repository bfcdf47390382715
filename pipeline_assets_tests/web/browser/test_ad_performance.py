"""Ad performance in a real browser: charts, their crosshair, and what a poll leaves as it was."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from pipeline_assets.schemas import META_ADS_PERFORMANCE
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, dataset_status

if TYPE_CHECKING:
    from conftest import Visitor
    from web.conftest import Site

PATH = "/brands/acme/ad-performance"
NEEDED = ("meta_ads_performance", "meta_ad_creatives", "ad_thumbnails", "scorecard")


@pytest.fixture
def page(operator: "Visitor") -> Page:
    """The page of a brand with two ads of ten days, yesterday's still provisional."""
    store_ads(operator.site)
    for dataset in NEEDED:
        operator.site.store_status("acme", dataset)
    return operator.open(PATH)


def store_ads(site: "Site") -> None:
    counts = {
        column.name: None if column.nullable else 0 for column in META_ADS_PERFORMANCE.columns
    }
    rows = [
        counts
        | {
            "brand_id": "acme",
            "ad_account_id": "act_1",
            "date": site.clock.now.date() - timedelta(day),
            "ad_id": str(ad),
            "ad_name": f"Ad {ad} <b> {'x' * 10_000}",
            "impressions": 1000,
            "inline_link_clicks": 10 * ad,
            "spend": Decimal("12.50"),
            "currency": "EUR",
            "purchases": Decimal(1),
            "purchase_value": Decimal(25),
            "video_plays": 500,
            "video_3s_views": 250,
            "provisional": day == 1,
            "fetched_at": site.clock.now,
        }
        for day in range(1, 11)
        for ad in (1, 2)
    ]
    with write_transaction(site.engine) as connection:
        connection.execute(sa.insert(DATASET_TABLES["meta_ads_performance"]), rows)


def sync(site: "Site", *, hours_ago: float) -> None:
    at = site.clock.now - timedelta(hours=hours_ago)
    with write_transaction(site.engine) as connection:
        connection.execute(sa.update(dataset_status).values(last_success_at=at))


def test_the_crosshair_tells_the_values_of_a_day_in_all_charts_at_once(page: Page) -> None:
    plot = page.locator(".plot .u-over")
    expect(plot).to_have_count(4)
    box = plot.first.bounding_box()
    assert box is not None
    plot.first.hover(position={"x": box["width"] - 3, "y": 20})
    legends = page.locator(".u-legend")
    expect(legends.nth(0)).to_contain_text("2026-03-09 (provisional)")
    expect(legends.nth(0)).to_contain_text("25 EUR")
    expect(legends.nth(1)).to_contain_text("2x")
    expect(legends.nth(2)).to_contain_text("1.5%")
    expect(legends.nth(3)).to_contain_text("25%")


def test_a_poll_hides_withheld_figures_and_brings_them_back(
    page: Page, operator: "Visitor"
) -> None:
    charts = page.locator(".plot canvas")
    expect(charts).to_have_count(4)
    sync(operator.site, hours_ago=30)
    page.evaluate("poll()")
    expect(page.get_by_role("heading", name="The figures are not shown")).to_be_visible()
    expect(charts).to_have_count(0)
    sync(operator.site, hours_ago=0)
    page.evaluate("poll()")
    expect(charts).to_have_count(4)


def test_a_poll_leaves_the_open_table_and_the_charts_as_they_are(
    page: Page, operator: "Visitor"
) -> None:
    page.get_by_text("The same by day, as a table").click()
    page.evaluate("window.canvas = document.querySelector('.plot canvas')")
    expect(page.get_by_role("region", name="Figures by day")).to_be_visible()
    sync(operator.site, hours_ago=5)
    page.evaluate("poll()")
    expect(page.get_by_text("synced 5 h ago")).to_be_visible()
    expect(page.get_by_role("region", name="Figures by day")).to_be_visible()
    assert page.evaluate("window.canvas.isConnected")


def test_sorting_and_periods_change_the_address_and_the_page_in_place(page: Page) -> None:
    ads = page.locator("table.ads tbody tr")
    page.get_by_role("link", name="CTR (link)").click()
    expect(page.get_by_role("columnheader", name="CTR (link)")).to_have_attribute(
        "aria-sort", "descending"
    )
    expect(ads.first).to_contain_text("Ad 2")
    page.get_by_role("link", name="7 days").click()
    expect(page).to_have_url(re.compile(r"days=7"))
    expect(page.get_by_text("2026-03-03 to 2026-03-09, days of")).to_be_visible()
    expect(page.locator(".plot canvas")).to_have_count(4)
    page.get_by_role("searchbox").fill("ad 1")
    page.get_by_role("button", name="Filter").click()
    expect(ads).to_have_count(1)
    expect(page).to_have_url(re.compile(r"days=7&sort=link_ctr&q=ad\+1"))


def test_sync_now_is_queued_and_the_banner_tells_it(page: Page) -> None:
    page.get_by_role("button", name="Sync now").click()
    expect(page.locator("#toasts")).to_contain_text("Sync of acme is queued.")
    expect(page.get_by_role("status", name="Freshness of")).to_contain_text("queued to refresh")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_accessible_and_as_wide_as_the_window(
    page: Page, operator: "Visitor", scheme: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    expect(page.locator(".plot canvas")).to_have_count(4)
    operator.assert_accessible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_server_that_was_away_is_back_as_soon_as_it_answers_that_nothing_has_changed(
    page: Page, operator: "Visitor"
) -> None:
    page.context.set_offline(True)
    page.evaluate("poll()")
    expect(page.locator("#connection")).to_be_visible()
    page.context.set_offline(False)
    page.evaluate("poll()")
    expect(page.locator("#connection")).to_be_hidden()
