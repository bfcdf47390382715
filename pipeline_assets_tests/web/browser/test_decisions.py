"""Deciding of one template after another in a real browser, by keyboard and without JavaScript."""

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, Route, expect

from pipeline_assets.schemas import TEMPLATE_APPROVALS
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.tables import item_decisions

if TYPE_CHECKING:
    from conftest import Visitor
    from web.conftest import Site


@pytest.fixture
def site(operator: "Visitor") -> "Site":
    """Templates t1 to t6 that wait for a person, in this order."""
    site = operator.site
    site.add_brand("shoes", sources={"templates": {"page_ids": ["1"], "countries": ["FR"]}})
    site.store_status("shoes", "template_approvals")
    site.store_status("shoes", "templates_scraped")
    judged = {"state": "pending", "rule_state": "pending", "decided_by": "rules"}
    rows = [judged | {"template_id": f"t{n}", "score": 50.0 - n} for n in range(1, 7)]
    site.store_rows(TEMPLATE_APPROVALS, *rows, brand_id="shoes")
    return site


def decided(site: "Site") -> dict[str, tuple[str, str]]:
    columns = item_decisions.c
    with site.engine.connect() as connection:
        rows = connection.execute(sa.select(columns.item_id, columns.decision, columns.reason))
        return {item: (decision, reason) for item, decision, reason in rows}


def expect_focus(page: Page, template_id: str) -> None:
    expect(page.locator(f"[id='item-shoes/{template_id}']")).to_be_focused()


def test_templates_are_decided_by_keyboard_and_many_at_once(
    site: "Site", operator: "Visitor"
) -> None:
    page = operator.open("/template-queue?state=any")
    reason = page.get_by_label("Reason")
    page.get_by_label("Tick t6").check()
    page.get_by_role("button", name="Approve 1 ticked").click()
    expect(reason).to_be_focused()
    page.keyboard.type("First")
    page.keyboard.press("Enter")
    expect(page.locator("[id='item-shoes/t6']")).to_contain_text("approved")
    page.get_by_label("Tick t6").uncheck()
    page.get_by_label("Tick t1").check()
    reason.press("Enter")  # no button waits for the reason any more
    expect(page.get_by_role("button", name="Approve 1 ticked")).to_be_enabled()
    operator.open("/template-queue")
    cards, ticks = page.locator("[data-item]"), page.locator("input[name=item]:checked")
    cards.nth(2).get_by_role("checkbox").check()
    cards.nth(0).focus()
    page.keyboard.press('"')  # no key of a button, and none of CSS either
    page.keyboard.press("a")
    expect(reason).to_be_focused()
    assert decided(site) == {"t6": ("approved", "First")}, "not without a reason"
    page.keyboard.type("It fits")
    page.keyboard.press("Enter")
    expect(cards).to_have_count(4)
    expect_focus(page, "t2")
    page.keyboard.press("r")
    expect(cards).to_have_count(3)
    expect_focus(page, "t3")
    expect(reason).to_have_value("It fits")
    expect(ticks).to_have_value("shoes/t3")
    cards.nth(0).focus()
    page.keyboard.press("j")
    page.keyboard.press("x")
    reason.fill("Seen before")
    page.get_by_role("button", name="Reject 2 ticked").click()
    expect(cards).to_have_count(1)
    expect(ticks).to_have_count(0)
    expect(page.get_by_role("button", name="Reject 0 ticked")).to_be_disabled()
    assert decided(site) == {
        "t1": ("approved", "It fits"),
        "t2": ("rejected", "It fits"),
        "t3": ("rejected", "Seen before"),
        "t4": ("rejected", "Seen before"),
        "t6": ("approved", "First"),
    }


def test_fast_keys_decide_of_each_card_once(site: "Site", operator: "Visitor") -> None:
    page = operator.open("/template-queue")
    cards, busy = page.locator("[data-item]"), page.locator("[data-item][aria-busy=true]")
    page.get_by_label("Reason").fill("Quick")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/decisions/*", hold)
    cards.nth(0).focus()
    for key in "aaa":
        page.keyboard.press(key)
    expect_focus(page, "t4")
    for key in "kaka":
        page.keyboard.press(key)
    expect_focus(page, "t2")
    cards.nth(0).get_by_role("button", name="Reject").click()
    expect(busy).to_have_count(3)
    page.route("**/decisions/*", lambda route: route.continue_())
    held[0].continue_()
    expect(cards).to_have_count(3)
    expect(busy).to_have_count(0)
    page.route("**/decisions/*", lambda route: route.abort())
    cards.nth(0).focus()
    page.keyboard.press("a")
    expect(page.get_by_text("Nothing was changed.")).to_be_visible()
    expect_focus(page, "t5")
    expect(busy).to_have_count(0)
    page.route("**/decisions/*", lambda route: route.continue_())
    cards.nth(0).focus()
    for key in "rrrrr":
        page.keyboard.press(key)
    expect(cards).to_have_count(0)
    said = {name: decision for name, (decision, _) in decided(site).items()}
    assert said == dict.fromkeys(("t1", "t2", "t3"), "approved") | dict.fromkeys(
        ("t4", "t5", "t6"), "rejected"
    )
    decisions = read_audit(site.engine, target="shoes:template_approvals", limit=99)
    assert len(decisions) == 6


def test_templates_are_decided_without_javascript(
    site: "Site", operator: "Visitor", chromium: Browser
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.add_cookies(operator.page.context.cookies())
    page = context.new_page()
    page.goto(f"{site.url}/template-queue")
    page.get_by_label("Reason").fill("It fits")
    page.get_by_label("Reason").press("Enter")  # presses no button
    page.get_by_role("button", name="Approve", exact=True).first.click()
    expect(page.locator("[data-item]")).to_have_count(5)
    page.get_by_label("Tick t2").check()
    page.get_by_label("Reason").fill("Too bold")
    page.get_by_role("button", name="Reject ticked").click()
    expect(page.locator("[data-item]")).to_have_count(4)
    context.close()
    assert decided(site) == {"t1": ("approved", "It fits"), "t2": ("rejected", "Too bold")}
