"""Schedules in a real browser: the preview while typing, ticks that stay, and narrow and dark."""

from typing import TYPE_CHECKING

from playwright.sync_api import Page, expect

from pipeline_assets.control.cadences import list_cadences, set_cadence

if TYPE_CHECKING:
    from conftest import Visitor

ACME, GLOBEX = "acme:meta_sync", "globex:meta_sync"


def refresh(page: Page) -> None:
    """Let the page bring itself up to date, and see that it has."""
    with page.expect_response(lambda answer: "rows=" in answer.url):
        page.evaluate("poll()")


def test_typing_a_cadence_shows_its_times_before_it_is_saved(operator: "Visitor") -> None:
    page = operator.open("/schedules")
    page.locator(f"[id='row-{ACME}']").get_by_role("link", name="set one").click()
    drawer = page.get_by_role("complementary")
    expect(drawer).to_contain_text("daily: at 07:")
    drawer.get_by_label("cron").fill("30 2 * * *")
    drawer.get_by_label("Time zone").fill("Europe/Paris")
    expect(drawer.get_by_label("custom")).to_be_checked()
    expect(drawer).to_contain_text("Wed 2026-03-11 02:30 CET")
    expect(drawer).to_contain_text("On 2026-03-29 the clock in Europe/Paris jumps")
    refresh(page)
    expect(drawer.get_by_label("cron")).to_have_value("30 2 * * *")
    expect(drawer.get_by_label("custom")).to_be_checked()
    expect(drawer).to_contain_text("Wed 2026-03-11 02:30 CET")
    assert list_cadences(operator.site.engine) == []
    drawer.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("Saving starts no run.")
    expect(page.locator(f"[id='row-{ACME}']")).to_contain_text("At 02:30 every day (Europe/Paris)")
    page.locator(f"[id='row-{ACME}']").get_by_role("link", name="Change").click()
    page.locator(f"[id='row-{GLOBEX}']").get_by_role("link", name="set one").click()
    expect(drawer.get_by_label("daily")).to_be_checked()  # nothing of the other one is left
    expect(drawer.get_by_label("cron")).to_have_value("")


def test_bulk_buttons_count_the_ticked_rows_and_act_on_those_alone(operator: "Visitor") -> None:
    site = operator.site
    site.add_brand("third")
    page = operator.open("/schedules")
    page.get_by_text("Change the ticked rows").click()
    bulk = page.locator("#bulk")
    expect(bulk.get_by_role("button", name="Set 0 cadences")).to_be_disabled()
    page.get_by_label("Tick all rows of this page").check()
    expect(bulk.get_by_role("button", name="Set 3 cadences")).to_be_enabled()
    page.get_by_label(f"Tick {GLOBEX}").uncheck()
    refresh(page)
    expect(page.get_by_label(f"Tick {ACME}")).to_be_checked()
    bulk.get_by_label("weekly").check()
    expect(bulk).to_contain_text("for acme:meta_sync, the first of those ticked")
    page.get_by_label(f"Tick {ACME}").uncheck()
    expect(bulk).to_contain_text("weekly: at 13:")
    expect(bulk).not_to_contain_text("the first of those ticked")  # one is left
    page.get_by_label(f"Tick {ACME}").check()
    bulk.get_by_role("button", name="Set 2 cadences").click()
    expect(page.locator("#toasts")).to_contain_text("2 cadences are set.")
    assert [each.target for each in list_cadences(site.engine)] == [ACME, "third:meta_sync"]
    bulk.get_by_label("Reason").fill("Holidays")
    bulk.get_by_role("button", name="Pause 2 cadences").click()
    expect(page.locator("#toasts")).to_contain_text("2 cadences are paused.")
    expect(page.locator(f"[id='row-{ACME}']")).to_contain_text("Holidays")
    bulk.get_by_role("button", name="Resume 2 cadences").click()
    expect(page.locator("#toasts")).to_contain_text("2 cadences go on.")
    assert [each.paused_at for each in list_cadences(site.engine)] == [None, None]


def test_a_schedule_is_paused_until_a_time_and_goes_on(operator: "Visitor") -> None:
    site = operator.site
    set_cadence(site.engine, "acme", "meta_sync", "daily", actor="test", now=site.clock.now)
    page = operator.open(f"/schedules?open={ACME}")
    drawer = page.get_by_role("complementary")
    drawer.get_by_label("Reason").fill("Holidays")
    drawer.get_by_label("until").fill("2026-03-12T08:00")
    drawer.get_by_role("button", name="Pause").click()
    expect(drawer).to_contain_text("Holidays")
    (paused,) = list_cadences(site.engine)
    assert str(paused.paused_until) == "2026-03-12 08:00:00+00:00"
    drawer.get_by_role("button", name="Resume").click()
    expect(page.locator("#toasts")).to_contain_text("acme:meta_sync goes on.")


def test_it_is_accessible_by_day_by_night_and_on_a_narrow_screen(operator: "Visitor") -> None:
    site = operator.site
    set_cadence(site.engine, "acme", "meta_sync", "30 2 * * *", actor="test", now=site.clock.now)
    page = operator.open(f"/schedules?open={ACME}")
    page.get_by_text("Change the ticked rows").click()
    operator.assert_accessible()
    page.emulate_media(color_scheme="dark")
    operator.assert_accessible()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    operator.assert_accessible()
