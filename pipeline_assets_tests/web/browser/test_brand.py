"""The freshness matrix and a brand's page in a real browser."""

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import Page, expect

from pipeline_assets.control.cadences import set_cadence
from pipeline_assets.control.resyncs import start_resync

if TYPE_CHECKING:
    from conftest import Visitor

PERFORMANCE, CREATIVES = "meta_ads_performance", "meta_ad_creatives"


def refresh(page: Page) -> None:
    """Let the page bring itself up to date, and see that it has."""
    with page.expect_response(lambda answer: "/static/" not in answer.url):
        page.evaluate("poll()")


def store(visitor: "Visitor") -> None:
    site = visitor.site
    for hours, dataset, error in ((6, PERFORMANCE, None), (30, CREATIVES, "AccessError")):
        at = site.clock.now - timedelta(hours=hours)
        site.store_status("acme", dataset, last_success_at=at, error_class=error)
        site.store_attempt("acme", dataset, f"run-{hours}", began_at=at, outcome="succeeded")
        site.store_attempt("acme", dataset, f"bad-{hours}", began_at=at, outcome="failed")


def test_the_matrix_is_sorted_by_a_click_walked_by_keys_and_leads_to_the_brand(
    operator: "Visitor",
) -> None:
    store(operator)
    page = operator.open("/matrix")
    cell = page.locator(f"#cell-acme-{PERFORMANCE}")
    filled = cell.evaluate("e => getComputedStyle(e).backgroundImage")
    assert " 25%" in filled  # as much of the bar as of the allowed age
    page.get_by_role("columnheader", name="Ads and creatives").get_by_role("link").click()
    expect(page).to_have_url(re.compile(f"sort={CREATIVES}"))
    header = page.get_by_role("columnheader", name="Ads and creatives")
    expect(header).to_have_attribute("aria-sort", "descending")
    cell.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(f"#cell-acme-{CREATIVES}")).to_be_focused()
    refresh(page)
    expect(page.locator(f"#cell-acme-{CREATIVES}")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/brands/acme#{CREATIVES}$"))


def test_what_is_open_and_typed_on_a_brands_page_stays_in_a_refresh(operator: "Visitor") -> None:
    site = operator.site
    store(operator)
    set_cadence(site.engine, "acme", "meta_sync", "daily", actor="test", now=site.clock.now)
    page = operator.open("/brands/acme")
    page.get_by_text("Pause…").click()
    page.locator("#pause-menu").get_by_label("Reason").fill("Holi")
    page.locator("#cadence-meta_sync > summary").click()
    page.locator("#cadence-meta_sync").get_by_label("cron").fill("0 7 * * *")
    page.locator("#error-meta_ad_creatives > summary").click()
    refresh(page)
    expect(page.locator("#pause-menu").get_by_label("Reason")).to_have_value("Holi")
    cadence = page.locator("#cadence-meta_sync")
    expect(cadence.get_by_label("cron")).to_have_value("0 7 * * *")
    expect(cadence).to_contain_text("Wed 2026-03-11 07:00 UTC")
    cadence.get_by_role("button", name="Save").click()
    expect(cadence.locator("summary")).to_contain_text("At 07:00 every day (UTC)")
    page.locator("#pause-menu").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Pause…")).to_be_visible()


def test_a_sync_and_a_resync_are_started_seen_and_cancelled(operator: "Visitor") -> None:
    page = operator.open("/brands/acme")
    page.get_by_role("button", name="Sync now").click()
    expect(page.locator(f"#{PERFORMANCE}")).to_contain_text("queued")
    page.get_by_role("button", name="Cancel the sync").click()
    expect(page.locator(f"#{PERFORMANCE}")).not_to_contain_text("queued")
    form = page.locator("#resync-form")
    form.get_by_label("From").fill("2026-01-01")
    form.get_by_label("to", exact=True).fill("2026-03-01")
    form.get_by_role("button", name="Sync again").click()
    resync = page.locator(".resync")
    expect(resync).to_contain_text("0 of 60 days")
    resync.get_by_role("button", name="Cancel").click()
    expect(resync).to_contain_text("cancelled")


def test_both_are_accessible_by_day_by_night_and_on_a_narrow_screen(operator: "Visitor") -> None:
    site = operator.site
    store(operator)
    set_cadence(site.engine, "acme", "meta_sync", "daily", actor="test", now=site.clock.now)
    start_resync(
        site.engine,
        brand_id="acme",
        job="meta_sync",
        since=date(2026, 1, 1),
        until=date(2026, 3, 1),
        actor="test",
        now=site.clock.now,
    )
    page = operator.page
    for path in ("/matrix", "/brands/acme"):
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 800})
        operator.open(path)
        page.evaluate("document.querySelectorAll('main details').forEach(e => e.open = true)")
        operator.assert_accessible()
        page.emulate_media(color_scheme="dark")
        operator.assert_accessible()
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        operator.assert_accessible()
