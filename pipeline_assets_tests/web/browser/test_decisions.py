"""Deciding of templates and drafts in a real browser, by keyboard and without JavaScript."""

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, Route, expect

from pipeline_assets.schemas import AD_CREATIONS, TEMPLATE_APPROVALS
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, dataset_status, item_decisions

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
    expect(page.get_by_label("Tick t6")).not_to_be_checked()
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


@pytest.fixture
def drafted(site: "Site") -> "Site":
    """Drafts d1 and d2 that wait for a person, in this order."""
    site.store_status("shoes", "ad_creations")
    lineage = {
        "template": {"page_name": "Other", "why": "approved"},
        "hook": {"creative_id": "c1", "ad_name": "Ad", "why": "winner"},
        "product": dict.fromkeys(("name", "price", "currency", "discount")),
        "phrases": [],
        "texts": [],
        "language": "en",
        "language_note": None,
        "picture": {"why": "a plain ground", "is_headline_whole": True, "left_out": None},
    }
    row = {"review_state": "draft", "lineage": lineage}
    rows = [row | {"draft_id": name, "headline": f"Old {name}"} for name in ("d1", "d2")]
    site.store_rows(AD_CREATIONS, *rows, brand_id="shoes")
    return site


def redraft(site: "Site", draft_id: str) -> None:
    """As a sync does."""
    site.clock.pass_by(minutes=1)
    table = DATASET_TABLES["ad_creations"]
    changed = {"headline": f"New {draft_id}", "drafted_at": site.clock.now}
    synced = dataset_status.update().where(dataset_status.c.dataset == "ad_creations")
    with write_transaction(site.engine) as connection:
        connection.execute(table.update().where(table.c.draft_id == draft_id).values(changed))
        connection.execute(synced.values(last_success_at=site.clock.now))


def test_a_draft_is_not_decided_by_what_was_meant_for_the_one_before(
    drafted: "Site", operator: "Visitor"
) -> None:
    page = operator.open("/brands/shoes/creations-review")
    cards, ticks = page.locator("[data-item]"), page.locator("input[name=item]:checked")
    cards.nth(0).get_by_role("checkbox").check()
    cards.nth(1).get_by_role("checkbox").check()
    cards.nth(0).focus()
    page.keyboard.press("a")  # which asks for the reason
    redraft(drafted, "d1")
    page.keyboard.type("Good")
    expect(cards.nth(0)).to_contain_text("New d1")
    expect(ticks).to_have_count(1)
    page.keyboard.press("Enter")
    cards.nth(0).focus()
    page.route("**/brands/shoes/creations-review*", lambda route: route.abort())  # no poll
    redraft(drafted, "d2")
    page.keyboard.press("j")
    page.keyboard.press("r")
    expect(page.get_by_text("1 has changed since you saw it: look again.")).to_be_visible()
    assert decided(drafted) == {}
    page.unroute("**/brands/shoes/creations-review*")
    expect(cards.nth(1)).to_contain_text("New d2")
    cards.nth(1).focus()
    page.keyboard.press("r")
    expect(cards.nth(1)).to_contain_text("Rejected by")
    assert decided(drafted) == {"d2": ("rejected", "Good")}


def test_a_draft_that_has_changed_is_not_decided_without_javascript(
    drafted: "Site", operator: "Visitor", chromium: Browser
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.add_cookies(operator.page.context.cookies())
    page = context.new_page()
    page.goto(f"{drafted.url}/brands/shoes/creations-review")
    redraft(drafted, "d1")
    for name in ("Old d1", "Old d2"):
        page.get_by_label(f"Tick the draft “{name}”").check()
    page.get_by_label("Why").fill("Good")
    page.get_by_role("button", name="Approve the ticked").click()
    said = "1 approved. 1 has changed since you saw it: look again."
    expect(page.get_by_text(said)).to_be_visible()
    page.goto(f"{drafted.url}/brands/shoes/creations-review")
    expect(page.locator("[data-item]").nth(0)).to_contain_text("New d1")
    context.close()
    assert decided(drafted) == {"d2": ("approved", "Good")}
