"""Health in a real browser: signing in, the grid's keys, the drawer, sharing, dark and narrow."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import BrowserContext, expect

from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Visitor
    from web.conftest import Site

PERFORMANCE, CREATIVES = "meta_ads_performance", "meta_ad_creatives"


def test_somebody_signs_in_goes_where_they_wanted_to_and_out_again(
    sqlite_site: "Site", window: BrowserContext
) -> None:
    sqlite_site.person(Role.VIEWER)
    page = window.new_page()
    page.goto(f"{sqlite_site.url}/?state=never")
    page.get_by_label("Email").fill("viewer@north.example")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill("a password for tests")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{sqlite_site.url}/?state=never")
    expect(page.get_by_role("heading", name="Health")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{sqlite_site.url}/sign-in")
    page.goto(sqlite_site.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_cell_opens_its_drawer_from_which_a_sync_is_queued_and_cancelled(
    operator: "Visitor",
) -> None:
    operator.site.store_status("acme", PERFORMANCE, error_class="CredentialError", advice="New!")
    page = operator.open("/")
    page.locator(f"#cell-acme-{PERFORMANCE}").click()
    drawer = page.get_by_role("complementary")
    expect(drawer).to_contain_text("What to do: New!")
    expect(page).to_have_url(re.compile(rf"open=acme%3A{PERFORMANCE}"))
    drawer.get_by_role("button", name="Sync now").click()
    expect(page.locator("#toasts")).to_contain_text("Sync of acme is queued.")
    expect(page.locator(f"#cell-acme-{PERFORMANCE}")).to_contain_text("queued")
    expect(drawer).to_be_visible()  # the refresh has left it open
    drawer.get_by_role("button", name="Cancel").click()
    expect(page.locator("#toasts")).to_contain_text("1 cancelled.")
    expect(page.locator(f"#cell-acme-{PERFORMANCE}")).not_to_contain_text("queued")
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)


def test_the_keyboard_moves_in_the_grid_and_keeps_its_place_in_a_refresh(
    operator: "Visitor",
) -> None:
    page = operator.open("/?sort=name")
    first = page.locator(f"#cell-acme-{PERFORMANCE}")
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator(f"#cell-globex-{CREATIVES}")).to_be_focused()
    with page.expect_response(lambda answer: "/static/" not in answer.url):
        page.evaluate("poll()")
    expect(page.locator(f"#cell-globex-{CREATIVES}")).to_be_focused()
    page.keyboard.press("Home")
    expect(page.locator(f"#cell-globex-{PERFORMANCE}")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_contain_text("Ad performance")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.get_by_role("searchbox").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_a_filter_is_in_the_address_and_shows_the_same_to_whom_it_is_sent(
    operator: "Visitor",
) -> None:
    operator.site.store_status("acme", PERFORMANCE)
    page = operator.open("/")
    page.get_by_role("link", name=re.compile("fresh")).first.click()
    expect(page.locator("#row-globex")).to_have_count(0)
    shared = page.url
    assert "state=fresh" in shared
    page.goto(shared)
    expect(page.locator("#row-acme")).to_be_visible()
    expect(page.locator("#row-globex")).to_have_count(0)


def test_trouble_shows_in_the_title_and_icon_and_a_server_that_is_away_in_a_bar(
    operator: "Visitor", window: BrowserContext
) -> None:
    old = operator.site.clock.now - timedelta(days=3)
    operator.site.store_status("acme", PERFORMANCE, last_success_at=old)
    page = operator.open("/")
    expect(page).to_have_title(re.compile(r"^\(1\) Health"))
    assert "icon-trouble" in str(page.locator("link[rel=icon]").get_attribute("href"))
    window.set_offline(True)
    page.evaluate("poll()")
    expect(page.locator("#connection")).to_be_visible()
    expect(page.locator("#row-acme")).to_be_visible()  # what was known stays
    window.set_offline(False)
    page.evaluate("poll()")
    expect(page.locator("#connection")).to_be_hidden()


def test_it_is_accessible_by_day_by_night_and_on_a_narrow_screen(operator: "Visitor") -> None:
    for age, dataset in ((1, PERFORMANCE), (20, CREATIVES)):
        at = operator.site.clock.now - timedelta(hours=age)
        operator.site.store_status("acme", dataset, last_success_at=at, error_class="AccessError")
    page = operator.open(f"/?open=acme:{CREATIVES}")
    operator.assert_accessible()
    by_day = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != by_day
    operator.assert_accessible()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.get_by_role("complementary")).to_be_in_viewport()
    operator.assert_accessible()
