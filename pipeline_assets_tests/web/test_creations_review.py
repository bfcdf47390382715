"""The page "Creations review" over HTTP: drafts as ads, their lineage, decisions, CSV."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import AD_CREATIONS, LANDING_PAGES, TEMPLATES_SCRAPED
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, dataset_status

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/brands/lumen/creations-review"
HTMX = {"HX-Request": "true"}
PICTURES = {"1:1": (1080, 1080), "9:16": (1080, 1920)}
Put = Callable[..., None]


def add_lumen(site: "Site") -> "Site":
    """A brand with templates, whose drafts are fresh."""
    site.add_brand("lumen", sources={"templates": {"search_terms": ["serum"]}})
    site.store_status("lumen", "ad_creations", metadata={})
    return site


@pytest.fixture
def lumen(sqlite_site: "Site") -> "Site":
    return add_lumen(sqlite_site)


@pytest.fixture
def put() -> Put:
    """Stores a draft; `lineage` replaces parts of a whole one."""

    def put(site: "Site", draft_id: str, **values: Any) -> None:
        product = values.get("product_name", "Dew Serum")
        lineage = {
            "template": {"page_name": "Lumen", "why": "approved by rules, score 82"},
            "hook": {
                "creative_key": "image:1",
                "creative_id": "c1",
                "ad_name": "Ad 1",
                "why": "winner, confidence high",
            },
            "product": {"name": product, "price": "34", "currency": "EUR", "discount": None},
            "phrases": [{"phrase": "dry by noon", "why": "12 posts or reviews say so"}],
            "texts": [{"field": "headline", "text": "Meet it", "source": "pattern", "why": "W"}],
            "language": "en",
            "language_note": None,
            "picture": {"why": "a plain ground", "is_headline_whole": True, "left_out": None},
        }
        row = {
            "draft_id": draft_id,
            "template_id": "t1",
            "product_name": product,
            "product_url": "https://shop.example/serum",
            "hook_type": "question",
            "headline": f"Headline {draft_id}",
            "primary_text": f"Text of {draft_id}",
            "description": "From 34 EUR",
            "cta": "SHOP_NOW",
            "pictures": [
                {"ratio": ratio, "width": width, "height": height, "sha256": ratio[0] * 64}
                for ratio, (width, height) in PICTURES.items()
            ],
            "review_state": "draft",
            "drafter": "rules",
            "drafter_version": "1.0.0",
        }
        lineage |= values.pop("lineage", {})
        site.store_rows(AD_CREATIONS, row | {"lineage": lineage} | values, brand_id="lumen")

    return put


def cards(page: str) -> list[str]:
    """The drafts on the page, in its order."""
    return re.findall(r'<li class="card draft [^"]*" data-item id="item-([^"@]+)@', page)


def decide(client: "Client", decision: str, *items: str, reason: str = "Fits us") -> str:
    form = {"decision": decision, "item": list(items), "reason": reason}
    answer = client.post("/decisions/ad_creations", data=form, headers=HTMX)
    assert answer.status_code < 400, answer.text
    return answer.text


def test_a_draft_looks_as_the_ad_would_and_tells_where_it_comes_from(
    lumen: "Site", put: Put
) -> None:
    put(lumen, "d1", headline="H" * 43, product_url="https://shop.example/serum?a=1&b=2")
    put(lumen, "d2", cta="MAKE_TEA", lineage={"language": "de"}, description=None, hook_type=None)
    put(lumen, "d3", product_url="javascript:alert(1)", pictures=[], lineage={"phrases": []})
    library = "https://www.facebook.com/ads/library/?id=t1"
    lumen.store_rows(
        TEMPLATES_SCRAPED, {"library_ad_id": "t1", "library_url": library}, brand_id="lumen"
    )
    page = lumen.person(Role.VIEWER).page(PATH)
    first, second, third = page.split("data-item")[1:]
    assert f'{"H" * 40}<mark title="Meta cuts it here">HHH</mark>' in first
    assert "43/40 <b>over</b>" in first
    assert "10/125" in first
    assert "11/30" in first
    assert 'data-copies="headline-d1"' in first
    assert '<span class="cta">Shop now</span>' in first
    assert '<span class="cta">Make tea</span>' in second
    assert 'data-copies="description-d2"' not in second
    assert re.findall(r'src="/brands/lumen/media/(\w)\w+" width="(\d+)" height="(\d+)"', first) == [
        ("1", "1080", "1080"),
        ("9", "1080", "1920"),
    ]
    assert re.findall(r'download="([^"]+)"', first) == [
        "lumen_d1_1080x1080.png",
        "lumen_d1_1080x1920.png",
    ]
    links = [html.unescape(link) for link in re.findall(r'href="([^"]+)"', first)]
    assert (
        "/brands/lumen/brand-research/pages?q=https%3A%2F%2Fshop.example%2Fserum%3Fa%3D1%26b%3D2"
        in (links)
    )
    assert "/brands/lumen/hook-analysis?q=c1" in links
    assert "/brands/lumen/template-evaluation?q=t1" in links
    assert library in links
    for words in ("score 82", "confidence high", "dry by noon", "12 posts or reviews say so"):
        assert words in first
    assert "no picture" in third
    assert "Customers" not in third
    assert 'href="javascript' not in page
    assert "Nothing is published" in page


def test_a_headline_that_no_picture_shows_is_told(lumen: "Site", put: Put) -> None:
    told = "</span>No picture shows the headline</span>: the font has no <bdi>美容</bdi>"
    put(lumen, "d1")
    viewer = lumen.person(Role.VIEWER)
    assert "No picture shows" not in viewer.page(PATH)
    picture = {"why": "a plain ground", "is_headline_whole": False, "left_out": "美容"}
    put(lumen, "d2", pictures=[], lineage={"picture": picture})
    assert told in viewer.page(PATH).partition('id="item-d2@')[2]


def test_only_the_pictures_of_the_chosen_ratio_are_shown(lumen: "Site", put: Put) -> None:
    put(lumen, "d1")
    viewer = lumen.person(Role.VIEWER)
    for ratio, shown in (("9:16", ["9:16"]), ("", ["1:1", "9:16"]), ("3:2", ["1:1", "9:16"])):
        page = viewer.page(PATH, ratio=ratio)
        assert re.findall(r'data-ratio="([^"]+)"', page) == shown
    assert '<input type="hidden" name="ratio" value="9:16">' in viewer.page(PATH, ratio="9:16")


def test_those_to_review_come_first_and_decisions_show_at_once(site: "Site", put: Put) -> None:
    add_lumen(site)
    put(site, "d1", product_name="B")
    put(site, "d2", product_name="A")
    put(site, "d3", product_name="A", template_id="t2")
    operator = site.person(Role.OPERATOR)
    page = operator.page(PATH)
    assert cards(page) == ["d2", "d3", "d1"]
    poll = re.search(r'<main [^>]*hx-get="([^"]+)"', page)
    assert poll is not None
    url = html.unescape(poll[1])
    assert operator.get(url).status_code == 204
    decide(operator, "approved", "lumen/d2")
    site.clock.pass_by(seconds=1)
    decide(operator, "rejected", "lumen/d1", reason="<i>Not</i> true")
    page = operator.page(url)
    assert cards(page) == ["d3", "d2", "d1"]
    assert chips(page) == {"All": 3, "To review": 1, "Approved": 1, "Rejected": 1}
    assert "&lt;i&gt;Not&lt;/i&gt; true" in page
    assert "operator@north.example" in page
    assert re.findall(r'<option value="([^"]+)"></option>', page)[-2:] == [
        "&lt;i&gt;Not&lt;/i&gt; true",
        "Fits us",
    ]
    assert re.findall(r'name="one" value="(\w+) lumen@[^/]+/d2"', page) == ["rejected", "draft"]
    assert cards(operator.page(PATH, review_state="draft")) == ["d3"]
    assert cards(operator.page(PATH, template="Lumen · t2")) == ["d3"]
    assert cards(operator.page(PATH, product_name="A", sort="drafted_at")) == ["d2", "d3"]
    assert cards(operator.page(PATH, q="text of D3")) == ["d3"]
    assert "No draft matches the filter" in operator.page(PATH, q="no such words")
    decide(operator, "approved", "lumen/d3")
    assert "All drafts are reviewed" in operator.page(PATH, review_state="draft")
    decide(operator, "draft", "lumen/d1", "lumen/d2", "lumen/d3")
    assert cards(operator.page(PATH)) == ["d2", "d3", "d1"]


def test_people_decide_of_what_they_saw_and_not_of_what_a_sync_made_of_it(
    site: "Site", put: Put
) -> None:
    add_lumen(site)
    for draft_id in ("d1", "d2"):
        put(site, draft_id, product_name=draft_id, drafted_at=site.clock.now)
    operator, program = site.person(Role.OPERATOR), site.program(Role.OPERATOR)
    page = operator.page(PATH)
    ticked = re.findall(r'name="item" value="([^"]+)"', page)
    assert len(ticked) == 2
    drafts = DATASET_TABLES["ad_creations"]
    seen_at = site.clock.now
    again = {"headline": "Now for 99 EUR", "drafted_at": seen_at + timedelta(microseconds=1)}
    with write_transaction(site.engine) as connection:  # as a sync does
        connection.execute(drafts.update().where(drafts.c.draft_id == "d1").values(again))
    for decision in ("approved", "rejected", "draft"):
        one = {"one": f"{decision} {ticked[0]}", "reason": "Good"}
        answer = operator.post("/decisions/ad_creations", data=one, headers=HTMX)
        assert answer.status_code == 204
        assert json.loads(answer.headers["HX-Trigger"])["told"]["text"] == (
            "Nothing was decided. 1 has changed since you saw it: look again."
        )
    both = {"decision": "approved", "item": ticked, "reason": "Good"}
    answer = operator.post("/decisions/ad_creations", data=both, headers=HTMX)
    assert json.loads(answer.headers["HX-Trigger"])["told"]["text"] == (
        "1 approved. 1 has changed since you saw it: look again."
    )
    path = "/api/v1/brands/lumen/creations/d1/decision"
    asked = {"decision": "approved", "reason": "Good"}
    answer = program.post(path, json=asked | {"drafted_at": seen_at.isoformat()})
    assert (answer.status_code, answer.json()["error"]) == (
        409,
        {
            "code": "conflict",
            "message": "The draft 'd1' of brand lumen has changed since it was shown.",
            "advice": "Look at it again, and decide of what it says now.",
        },
    )
    states = sa.select(drafts.c.draft_id, drafts.c.review_state)
    with site.engine.connect() as connection:
        assert dict(connection.execute(states).tuples().all()) == {"d1": "draft", "d2": "approved"}
    decide(
        operator, "approved", *re.findall(r'name="item" value="([^"]+/d1)"', operator.page(PATH))
    )
    with site.engine.connect() as connection:
        assert dict(connection.execute(states).tuples().all()) == {
            "d1": "approved",
            "d2": "approved",
        }
    again_at = again["drafted_at"].isoformat()
    answer = program.post(path, json=asked | {"decision": "draft", "drafted_at": again_at})
    assert (answer.status_code, answer.json()["review_state"]) == (200, "draft")
    assert datetime.fromisoformat(answer.json()["drafted_at"]) == again["drafted_at"]
    assert program.post(path, json=asked).json()["review_state"] == "approved"


def chips(page: str) -> dict[str, int]:
    found = page.partition('<ul class="chips" aria-label="State">')[2].partition("</ul>")[0]
    each = re.findall(r"<li>(.*?)<b>(\d+)</b>", found)
    return {re.sub(r"<[^>]+>", "", label).strip(): int(count) for label, count in each}


def test_who_may_only_look_sees_no_button_but_all_else(lumen: "Site", put: Put) -> None:
    put(lumen, "d1")
    page = lumen.person(Role.VIEWER).page(PATH)
    assert cards(page) == ["d1"]
    assert 'id="decide"' not in page
    assert 'form="decide"' not in page


def test_without_drafts_the_page_says_why(lumen: "Site") -> None:
    viewer = lumen.person(Role.VIEWER)
    assert "there was nothing to draft from" in viewer.page(PATH)
    why = "Nothing new is drafted: no template is approved."
    with write_transaction(lumen.engine) as connection:
        connection.execute(sa.update(dataset_status).values(metadata={"missing": why}))
    page = viewer.page(PATH)
    assert why in page
    assert 'href="/template-queue?brand=lumen"' in page
    assert "max_drafts: 12" in viewer.page("/brands/acme/creations-review")


def test_the_csv_has_what_the_filters_find_and_no_text_is_a_formula(
    lumen: "Site", put: Put
) -> None:
    put(lumen, "d1", headline="=cmd()")
    put(lumen, "d2", hook_type="offer")
    viewer = lumen.person(Role.VIEWER)
    answer = viewer.get(f"{PATH}.csv", params={"hook_type": "question", "ratio": "1:1"})
    assert answer.headers["content-disposition"] == (
        'attachment; filename="creations-review_lumen.csv"'
    )
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
    assert (row["draft_id"], row["headline"], row["template"]) == ("d1", "'=cmd()", "Lumen · t1")
    assert '"why":"winner, confidence high"' in row["lineage"]


def test_drafts_that_no_sync_stands_for_are_shown_nowhere(lumen: "Site", put: Put) -> None:
    put(lumen, "d1", headline="Words of before")
    with write_transaction(lumen.engine) as connection:
        connection.execute(sa.update(dataset_status).values(last_success_at=None))
    viewer = lumen.person(Role.VIEWER)
    page = viewer.page(PATH)
    assert "The drafts are not shown" in page
    assert "Words of before" not in page
    assert viewer.get(f"{PATH}.csv").status_code == 409


def test_a_price_that_the_products_page_no_longer_has_is_told(lumen: "Site", put: Put) -> None:
    for number, price in enumerate((None, "34", "12.125")):
        url = f"https://shop.example/{number}"
        known = {"name": "Serum", "price": price, "currency": "EUR", "discount": None}
        put(lumen, f"d{number}", product_url=url, lineage={"product": known})
        page = {"url": url, "state": "ok", "price": Decimal("34.00"), "currency": "EUR"}
        lumen.store_rows(LANDING_PAGES, page, brand_id="lumen")
    page = lumen.person(Role.VIEWER).page(PATH)
    assert re.findall(r"now ([^<]+) on its page", page) == ["34.00 EUR"]
    assert "now 34.00 EUR" in page.partition('id="item-d2@')[2]
    assert "12.125 <bdi>EUR</bdi>" in page


def test_whatever_drafts_hold_is_text_and_no_address_breaks_the_page(
    lumen: "Site", put: Put, nasty: str
) -> None:
    put(
        lumen,
        "d1",
        **dict.fromkeys(("headline", "primary_text", "description", "product_name"), nasty),
        **dict.fromkeys(("hook_type", "cta", "review_state", "review_reason"), nasty),
        reviewed_by=nasty,
        reviewed_at=lumen.clock.now,
        lineage={
            "template": {"page_name": nasty, "why": nasty},
            "hook": {"creative_key": nasty, "creative_id": nasty, "ad_name": None, "why": nasty},
            "phrases": [{"phrase": nasty, "why": nasty}],
            "language": nasty,
        },
    )
    client = lumen.person(Role.OPERATOR)
    page = client.page(PATH)
    assert "<script>alert" not in page
    assert " style=" not in page
    long = "x" * 10_000
    for query in (f"ratio={long}", f"template={long}", "sort=lineage", "q=%00", "page=0"):
        answer = client.get(f"{PATH}?{query}")
        assert answer.status_code == 422, query
        assert "bug" not in answer.text


def test_the_page_is_not_there_where_its_organization_hides_it(lumen: "Site", put: Put) -> None:
    put(lumen, "d1")
    viewer = lumen.person(Role.VIEWER)
    assert f'href="{PATH}"' in viewer.page("/brands/lumen")
    now = lumen.clock.now
    set_feature(lumen.engine, "north", "creations_review", is_shown=False, actor="test", now=now)
    for path in (PATH, f"{PATH}.csv"):
        assert viewer.get(path).status_code == 404
