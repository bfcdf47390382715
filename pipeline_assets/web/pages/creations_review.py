"""The page "Creations review" of a brand: the ads drafted for it, for people to decide on.

Nothing is published by it: people copy an approved draft's texts, and download its pictures.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.analysis.drafting_texts import (
    FALLBACK_LANGUAGE,
    MAX_DESCRIPTION,
    MAX_HEADLINE,
    MAX_PRIMARY_TEXT,
    load_patterns,
    written_amount,
)
from pipeline_assets.control.item_decisions import read_last_reasons, read_tag
from pipeline_assets.datasets import Reader
from pipeline_assets.schemas import AD_CREATIONS
from pipeline_assets.storage.listing import BRAND, Beside
from pipeline_assets.storage.tables import DATASET_TABLES, dataset_status
from pipeline_assets.web.pages.reader_page import ReaderPage, Text, View, words

router = APIRouter()

LIMITS = {
    "primary_text": MAX_PRIMARY_TEXT,
    "headline": MAX_HEADLINE,
    "description": MAX_DESCRIPTION,
}
"""Characters that Meta shows whole."""

STATES = {"draft": "To review", "approved": "Approved", "rejected": "Rejected"}

_ORDERS = {
    "turn": "To review first",
    "drafted_at": "Newest",
    "reviewed_at": "Last reviewed",
}
_MOST_REASONS = 10
_ADVERTISER_CHARACTERS = 80


def _turns() -> Beside:
    """Of each draft its place in the review, and its template as people know it.

    Drafts come first, then approved ones, then rejected ones: each by product.
    """
    drafts = DATASET_TABLES["ad_creations"].c
    places = {state: f"{place} " for place, state in enumerate(STATES)}
    advertiser = drafts.lineage["template", "page_name"].as_string()
    named = sa.func.substr(advertiser, 1, _ADVERTISER_CHARACTERS) + " · " + drafts.template_id
    rows = (
        sa.select(
            drafts.draft_id,
            (sa.case(places, value=drafts.review_state) + drafts.product_name).label("turn"),
            sa.func.coalesce(named, drafts.template_id).label("template"),
        )
        .where(drafts.brand_id == BRAND)
        .group_by(drafts.brand_id, drafts.draft_id)  # the key: of one row each
        .subquery("turns")
    )
    return Beside(rows=rows, on=("draft_id",), columns={n: n for n in ("turn", "template")})


def _templates() -> Beside:
    """Where the Ad Library shows each draft's template."""
    templates = DATASET_TABLES["templates_scraped"].c
    rows = (
        sa.select(templates.library_ad_id.label("template_id"), templates.library_url)
        .where(templates.brand_id == BRAND)
        .group_by(templates.brand_id, templates.library_ad_id)  # the key: of one row each
        .subquery("templates")
    )
    return Beside(rows=rows, on=("template_id",), columns={"library_url": "library_url"})


def _pages() -> Beside:
    """What each product costs by its page today."""
    pages = DATASET_TABLES["landing_pages"].c
    rows = (
        sa.select(pages.url.label("product_url"), pages.price, pages.currency)
        .where(pages.brand_id == BRAND, pages.state == "ok")
        .group_by(pages.brand_id, pages.url)  # the key: of one row each
        .subquery("pages")
    )
    columns = {"page_price": "price", "page_currency": "currency"}
    return Beside(rows=rows, on=("product_url",), columns=columns)


PAGE = ReaderPage(
    reader=Reader.CREATIONS_REVIEW,
    schema=AD_CREATIONS,
    item="draft",
    sort="turn",
    is_descending=False,
    sortable=tuple(_ORDERS),
    besides={
        "ad_creations": _turns(),
        "templates_scraped": _templates(),
        "landing_pages": _pages(),
    },
    searched=("headline", "primary_text", "description", "product_name", "template"),
    choices={
        "review_state": "State",
        "product_name": "Product",
        "hook_type": "Hook",
        "template": "Template",
    },
    csv=(
        *("draft_id", "review_state", "reviewed_by", "reviewed_at", "review_reason"),
        *("product_name", "product_url", "headline", "primary_text", "description", "cta"),
        *("hook_type", "creative_key", "template", "library_url", "drafted_at", "drafter"),
        *("drafter_version", "pictures", "lineage"),
    ),
)


@router.get("/brands/{brand}/creations-review", name="creations_review")
def creations_review(view: Annotated[View, Depends(PAGE.open)], ratio: Text = "") -> Response:
    """The drafts as ads would look, in one ratio or in all, with where each comes from."""
    template, engine, brand_ids = "creations_review.html", view.web.engine, [view.brand.id]
    reviews = read_tag(engine, brand_ids=brand_ids, dataset=view.dataset)
    if view.is_seen(reviews) or view.is_withheld:
        return view.render(template, state=reviews)
    pictures = [each for row in view.listing.rows for each in row["pictures"]]
    return view.render(
        template,
        state=reviews,
        states=STATES,
        counts=_count_states(view),
        orders=_ORDERS,
        limits=LIMITS,
        ratio=ratio,
        ratios=list(dict.fromkeys(each["ratio"] for each in pictures)),
        button_words=_button_words,
        host_of=_host_of,
        written=lambda price: written_amount(Decimal(price)),
        new_price=_new_price,
        reasons=read_last_reasons(
            engine, brand_ids=brand_ids, dataset=view.dataset, limit=_MOST_REASONS
        ),
        missing=_read_missing(view),
    )


@router.get("/brands/{brand}/creations-review.csv", name="creations_review_csv")
def creations_review_csv(view: Annotated[View, Depends(PAGE.open_csv)]) -> StreamingResponse:
    """The drafts that the filters find, with what people decided."""
    return view.answer_csv()


def _count_states(view: View) -> Mapping[str, int]:
    """The drafts that all filters but the one by state find, by state."""
    by_state = next(each for each in view.filters if each.name == "review_state")
    found = {option.value: option.count for option in by_state.options}
    return {state: found.get(state, 0) for state in STATES}


def _read_missing(view: View) -> str | None:
    """Why the last sync drafted nothing new, in its own words; None when it did."""
    stored = dataset_status.c
    found = sa.select(stored.metadata).where(
        stored.brand_id == view.brand.id, stored.dataset == view.dataset
    )
    with view.web.engine.connect() as connection:
        told = connection.execute(found).scalar()
    missing = (told or {}).get("missing")
    return missing if isinstance(missing, str) else None


def _host_of(url: str) -> str:
    """What an ad shows above its headline."""
    return url.partition("://")[2].partition("/")[0]


def _button_words(row: Mapping[str, Any]) -> str:
    """What Meta writes on the draft's button, in the draft's language."""
    patterns = load_patterns()
    of_language = patterns.get(row["lineage"]["language"], patterns[FALLBACK_LANGUAGE])
    return str(of_language["buttons"].get(row["cta"], words(row["cta"]).capitalize()))


def _new_price(row: Mapping[str, Any]) -> str | None:
    """What the product's page says now, where that is not the price that the draft knows."""
    before, price, currency = row["lineage"]["product"], row["page_price"], row["page_currency"]
    if None in {before["price"], price, currency}:
        return None
    if (Decimal(before["price"]), before["currency"]) == (price, currency):
        return None
    return f"{written_amount(price)} {currency}"
