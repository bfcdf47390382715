"""The reader pages in a real browser: by day, by night, on a phone, by keyboard, over polls."""

import io
import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from PIL import Image
from playwright.sync_api import Page, expect

from pipeline_assets.schemas import (
    AD_ASSETS,
    AD_CLASSIFICATIONS,
    AD_CREATIONS,
    AD_THUMBNAILS,
    AMAZON_REVIEWS,
    COMPETITOR_ADS,
    CONGRUENCE_ANALYSIS,
    LANDING_PAGES,
    META_AD_CREATIVES,
    REDDIT_POSTS,
    SCORECARD,
    TEMPLATE_APPROVALS,
    TEMPLATES_SCRAPED,
)
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from conftest import Visitor
    from web.conftest import Site

HOOKS = "/brands/acme/hook-analysis"
CONGRUENCE = "/brands/acme/congruence-insights"
RESEARCH = "/brands/acme/brand-research"
TEMPLATES = "/brands/sole/template-evaluation"
COMPETITORS = "/brands/runner/competitor-research?open=1"
REDDIT = "/brands/heard/reddit-research"
AMAZON = "/brands/heard/amazon-reviews"
CREATIONS = "/brands/drafted/creations-review"
NAME = f"Ad <b> مرحبا {'x' * 10_000}"
TAGS = {
    "hook_type": "offer",
    "messaging_angle": "value",
    "visual_format": "unknown",
    "asset_type": "ugc",
    "awareness_stage": "unknown",
    "emotion": "joy",
    "cta": "shop",
    "offer_type": "discount",
    "funnel_stage": "bottom",
    "media_type": "image",
}


@pytest.fixture
def site(operator: "Visitor") -> "Site":
    """Two creatives with everything that the pages show of them; all datasets fresh."""
    site = operator.site
    picture = io.BytesIO()
    Image.new("RGB", (60, 40), "teal").save(picture, "PNG")
    sha256 = site.installation.media.put_bytes(picture.getvalue()).sha256
    for number in (1, 2):
        creative = {"creative_id": f"k{number}"}
        stored = creative | {"sha256": sha256, "content_type": "image/png"}
        ad = {"ad_id": str(number), "ad_name": f"{number} {NAME}"}
        tags = {
            name: {"value": value, "confidence": 0.75, "evidence": ["“20 % off”"]}
            for name, value in TAGS.items()
        }
        site.store_rows(AD_CLASSIFICATIONS, creative | TAGS | {"tags": tags})
        site.store_rows(META_AD_CREATIVES, creative | ad | {"title": "20 % off", "body": NAME})
        site.store_rows(AD_THUMBNAILS, stored)
        site.store_rows(
            AD_ASSETS, stored | {"media_type": "image", "media_id": f"m{number}", "state": "stored"}
        )
        site.store_rows(
            SCORECARD,
            creative
            | {"creative_key": f"image:{number}", "currency": "EUR", "label": "winner"}
            | {"spend": Decimal(number), "purchase_value": Decimal(9), "impressions": 100},
        )
        site.store_rows(
            CONGRUENCE_ANALYSIS,
            creative
            | ad
            | {"url": f"https://shop.example/{number}", "page_state": "ok", "total": 5.5}
            | {"message": 3.0, "offer": 8.0, "is_capped": True, "mismatches": ["Another price"]}
            | {"evidence": {"offer": [NAME]}, "outcome": "page_suspect"}
            | {"link_ctr": 0.01 * number, "cvr": 0.02, "confidence": 0.5},
        )
        versions = [{"seen_at": "2026-03-09T08:00:00", "title": t, "price": "9"} for t in "ab"]
        site.store_rows(
            LANDING_PAGES,
            {"url": f"https://shop.example/{number}", "state": "ok", "title": NAME}
            | {"price": Decimal("9.90"), "currency": "EUR", "versions": versions}
            | {"changed_at": site.clock.now - timedelta(days=1)},
        )
    for dataset in (
        *("ad_classifications", "scorecard", "congruence_analysis"),
        *("landing_pages", "ad_assets"),
    ):
        site.store_status("acme", dataset)
    store_templates(site, sha256)
    store_competitors(site, sha256)
    store_voices(site)
    store_drafts(site, sha256)
    return site


def store_templates(site: "Site", sha256: str) -> None:
    """Templates of a brand of their own, in each state and not judged yet, and a draft."""
    site.add_brand("sole", sources={"templates": {"page_ids": ["1"], "countries": ["FR"]}})
    part = {"name": "days_running", "points": 12.5, "most": 30, "why": NAME}
    for number, state in enumerate(("approved", "pending", "rejected", "")):
        ad = {"library_ad_id": str(number), "page_name": NAME, "title": NAME, "days_running": 9}
        texts = {"titles": [NAME], "bodies": [NAME], "preview_sha256": sha256}
        site.store_rows(TEMPLATES_SCRAPED, ad | texts, brand_id="sole")
        if state:
            site.store_rows(
                TEMPLATE_APPROVALS,
                {"template_id": str(number), "state": state, "decided_by": f"user:{NAME}"}
                | {"reasons": [NAME, NAME], "score": 30.0 * number, "score_parts": [part]},
                brand_id="sole",
            )
    site.store_rows(AD_CREATIONS, {"template_id": "0", "review_state": "approved"}, brand_id="sole")
    for dataset in ("templates_scraped", "template_approvals", "ad_creations"):
        site.store_status("sole", dataset)


def store_competitors(site: "Site", sha256: str) -> None:
    """Ads of two advertisers for a brand of its own: one that runs, its copy, one that ended."""
    site.add_brand("runner", sources={"competitors": {"page_ids": ["1"]}})
    site.store_status("runner", "competitor_ads")
    began = site.clock.now.date() - timedelta(days=90)
    texts = {"title": NAME, "body": NAME, "titles": [NAME], "bodies": [NAME, "Another"]}
    ad = texts | {"started_on": began, "preview_sha256": sha256, "library_url": "https://a.example"}
    for number, values in (
        ("1", {"page_name": "Globex", "is_active": True, "days_running": 91}),
        ("2", {"page_name": "Globex", "duplicate_of": "1", "days_running": 9}),
        ("3", {"page_name": NAME, "days_running": 9}),
    ):
        row = ad | {"library_ad_id": number} | values
        site.store_rows(COMPETITOR_ADS, row, brand_id="runner")


def store_voices(site: "Site") -> None:
    """Posts and reviews of a brand of their own that say something of every kind."""
    reddit = {"client_id": "a", "client_secret": "env:S", "username": "a"}
    reddit |= {"subreddits": ["running"], "search_terms": ["shoes"]}
    amazon = {"asins": ["B0ABCDEFGH"], "actor": {"actor": "a/b", "token": "env:T"}}
    site.add_brand("heard", sources={"reddit": reddit, "amazon": amazon})
    kinds = ("pain", "desire", "objection", "praise", "question")
    for number in (1, 5):
        phrases = [{"kind": kind, "text": f"{number} {NAME}"} for kind in kinds]
        text = {"title": f"{number} {NAME}", "body": NAME, "phrases": phrases}
        post = {"post_id": f"t3_{number}", "subreddit": NAME, "permalink": "https://a.example"}
        about = {"flair": NAME, "matched_terms": ["shoes"], "is_nsfw": True, "upvote_ratio": 0.5}
        site.store_rows(REDDIT_POSTS, text | post | about, brand_id="heard")
        review = {"asin": "B0ABCDEFGH", "review_id": f"R00000000{number}", "rating": number}
        bought = {"reviewed_on": site.clock.now.date(), "product_title": NAME, "variant": NAME}
        site.store_rows(AMAZON_REVIEWS, text | review | bought, brand_id="heard")
    for dataset in ("reddit_posts", "amazon_reviews"):
        site.store_status("heard", dataset)


def store_drafts(site: "Site", sha256: str) -> None:
    """Drafts of a brand of its own, in each state, with long texts everywhere."""
    site.add_brand("drafted", sources={"templates": {"page_ids": ["1"], "countries": ["FR"]}})
    site.store_status("drafted", "ad_creations", metadata={"missing": NAME})
    why = {"why": NAME}
    lineage = {
        "template": why | {"page_name": NAME},
        "hook": why | {"creative_id": "k1", "creative_key": "image:1", "ad_name": NAME},
        "product": {"name": NAME, "price": "9.9", "currency": "EUR", "discount": NAME},
        "phrases": [why | {"phrase": NAME}],
        "texts": [why | {"field": "headline", "source": "pattern", "text": NAME}],
        "language": "en",
        "language_note": NAME,
        "picture": why | {"is_headline_whole": False, "left_out": NAME},
    }
    texts = dict.fromkeys(("headline", "primary_text", "description", "product_name"), NAME)
    pictures = [
        {"ratio": ratio, "width": width, "height": height, "sha256": sha256}
        for ratio, width, height in (("1:1", 60, 60), ("9:16", 60, 107), ("1.91:1", 120, 63))
    ]
    for state in ("draft", "approved", "rejected"):
        row = texts | {"draft_id": state, "review_state": state, "review_reason": NAME}
        row |= {"reviewed_by": NAME, "reviewed_at": None if state == "draft" else site.clock.now}
        row |= {"product_url": f"https://{NAME}", "lineage": lineage, "pictures": pictures}
        site.store_rows(AD_CREATIONS, row, brand_id="drafted")


PAGES = (
    HOOKS,
    CONGRUENCE,
    RESEARCH,
    f"{RESEARCH}?open=image:m1",
    f"{RESEARCH}/pages",
    TEMPLATES,
    COMPETITORS,
    REDDIT,
    AMAZON,
    CREATIONS,
    "/template-queue?state=any",
)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_by_day_by_night_and_on_a_phone(
    site: "Site", operator: "Visitor", path: str
) -> None:
    page = operator.open(path)
    expect(page.locator("main img, main .landing-pages, main .timeline").first).to_be_attached()
    page.evaluate("document.querySelectorAll('main details').forEach(e => e.open = true)")
    operator.assert_accessible()
    page.emulate_media(color_scheme="dark")
    operator.assert_accessible()
    page.set_viewport_size({"width": 390, "height": 800})
    operator.assert_accessible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("width", [1280, 1440, 390])
def test_no_button_of_a_draft_sticks_out_of_its_card(
    site: "Site", operator: "Visitor", width: int
) -> None:
    page = operator.open(CREATIONS)
    page.set_viewport_size({"width": width, "height": 800})
    expect(page.get_by_role("button", name="Copy the headline").first).to_be_visible()
    outside = page.evaluate(
        """[...document.querySelectorAll(".drafts .card")].flatMap((card) => {
          const room = card.getBoundingClientRect().right
            - parseFloat(getComputedStyle(card).paddingRight) + 0.5;
          return [...card.querySelectorAll("button")]
            .filter((each) => each.getBoundingClientRect().right > room)
            .map((each) => `${each.textContent} ${each.getBoundingClientRect().right - room}`);
        })"""
    )
    assert outside == []


def sync(site: "Site", *, hours_ago: float) -> None:
    at = site.clock.now - timedelta(hours=hours_ago)
    with write_transaction(site.engine) as connection:
        connection.execute(sa.update(dataset_status).values(last_success_at=at))


@pytest.mark.parametrize("path", [HOOKS, CONGRUENCE, f"{RESEARCH}/pages"])
def test_a_poll_leaves_open_what_is_open(site: "Site", operator: "Visitor", path: str) -> None:
    page = operator.open(path)
    first = page.locator("table.reader details").first
    first.locator("summary").press("Enter")
    expect(first).to_have_attribute("open", "")
    page.evaluate("window.row = document.querySelector('table.reader details')")
    sync(site, hours_ago=5)
    page.evaluate("poll()")
    expect(page.get_by_text("synced 5 h ago")).to_be_visible()
    expect(first).to_have_attribute("open", "")
    assert page.evaluate("window.row.isConnected")


def test_hooks_are_compared_filtered_and_sorted_by_keyboard(
    site: "Site", operator: "Visitor"
) -> None:
    page = operator.open(HOOKS)
    page.get_by_role("link", name="Angle", exact=True).first.press("Enter")
    expect(page.get_by_role("heading", name="By angle", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile("by=messaging_angle"))
    page.locator(".heatmap a").press("Enter")
    expect(page).to_have_url(re.compile("hook_type=offer&messaging_angle=value"))
    spend = page.locator("table.reader").get_by_role("link", name="Spend")
    spend.press("Enter")
    expect(page.get_by_role("columnheader", name="Spend").last).to_have_attribute(
        "aria-sort", "ascending"
    )
    expect(page.locator("table.reader tbody tr").first).to_contain_text("1 Ad")
    page.keyboard.press("/")
    page.keyboard.type("2 ad")
    page.keyboard.press("Enter")
    expect(page.locator("table.reader tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("by=messaging_angle.*q=2\\+ad"))


def test_marks_of_the_chart_lead_to_their_ad(site: "Site", operator: "Visitor") -> None:
    page = operator.open(CONGRUENCE)
    expect(page.locator("svg.quadrants a")).to_have_count(2)
    page.locator("svg.quadrants a").last.click()
    expect(page).to_have_url(re.compile("q=2#rows"))
    page.get_by_role("link", name="Page suspect: many click, few buy").press("Enter")
    expect(page).to_have_url(re.compile("outcome=page_suspect"))


def test_a_picture_opens_beside_the_gallery_and_escape_closes_it(
    site: "Site", operator: "Visitor"
) -> None:
    page = operator.open(RESEARCH)
    page.locator("a.tile").first.press("Enter")
    drawer = page.locator("aside.drawer")
    expect(drawer.get_by_role("heading", name="1 ad")).to_be_visible()
    assert shown_width(page, "aside.drawer img") == 60
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)


def shown_width(page: Page, selector: str) -> int:
    expect(page.locator(selector)).to_have_js_property("complete", True)
    return int(page.locator(selector).evaluate("image => image.naturalWidth"))


def test_sync_now_is_queued_for_the_chosen_job(site: "Site", operator: "Visitor") -> None:
    page = operator.open(CONGRUENCE)
    page.get_by_label("Job").select_option("landing_page_scrape")
    page.get_by_role("button", name="Sync now").click()
    expect(page.locator("#toasts")).to_contain_text("Sync of acme is queued.")
    expect(page.get_by_role("status", name="Freshness of")).to_contain_text("queued to refresh")
