"""The page "Amazon reviews" of a brand: how its products are rated, and what buyers say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any
from urllib.parse import quote

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.datasets import Reader
from pipeline_assets.schemas import AMAZON_REVIEWS
from pipeline_assets.sources.amazon_reviews import DOMAINS
from pipeline_assets.storage.json_lists import Held
from pipeline_assets.storage.listing import read_groups
from pipeline_assets.web.pages.reader_page import ReaderPage, View
from pipeline_assets.web.pages.voices import read_timeline, read_voices

router = APIRouter()

MONTHS = 24
STARS = (5, 4, 3, 2, 1)
KINDS = {
    "praise": "Praise",
    "pain": "Complaints",
    "desire": "Desires",
    "objection": "Objections",
    "question": "Questions",
}
_AMAZONS_ID = re.compile(r"R[A-Z0-9]{8,16}")

PAGE = ReaderPage(
    reader=Reader.AMAZON_REVIEWS,
    schema=AMAZON_REVIEWS,
    item="review",
    sort="reviewed_on",
    sortable=("reviewed_on", "rating", "helpful_votes", "title", "asin"),
    columns=tuple(name for name in AMAZON_REVIEWS.column_names if name != "raw"),
    searched=("title", "body", "product_title"),
    choices={
        "asin": "Product",
        "rating": "Stars",
        "kind": "Says",
        "is_verified": "Verified",
        "country": "Country",
    },
    held={"kind": Held("phrases", "kind")},
)


@router.get("/brands/{brand}/amazon-reviews", name="amazon_reviews")
def amazon_reviews(view: Annotated[View, Depends(PAGE.open)]) -> Response:
    """The page: stars of each product and over time, what is said most, and the reviews."""
    if view.is_seen() or view.is_withheld or not view.listing.total:
        return view.render("amazon_reviews.html")
    return view.render(
        "amazon_reviews.html",
        kinds=KINDS,
        stars=STARS,
        review_url=review_url,
        timeline=read_timeline(view, "reviewed_on", _months(view.now), mean_of="rating"),
        products=_read_products(view),
        voices=read_voices(
            view,
            newest_by="reviewed_on",
            link_columns=("asin", "review_id", "country"),
            link=review_url,
        ),
    )


@router.get("/brands/{brand}/amazon-reviews.csv", name="amazon_reviews_csv")
def amazon_reviews_csv(view: Annotated[View, Depends(PAGE.open_csv)]) -> StreamingResponse:
    """The reviews that the filters find."""
    return view.answer_csv()


def review_url(review: Mapping[str, Any]) -> str:
    """The review at Amazon; its product's page where the id is none of Amazon's own."""
    host = f"https://www.{DOMAINS.get(review['country'] or 'US', DOMAINS['US'])}"
    if _AMAZONS_ID.fullmatch(review["review_id"]):
        return f"{host}/gp/customer-reviews/{review['review_id']}"
    return f"{host}/dp/{quote(review['asin'], safe='')}"


def _months(now: datetime) -> list[date]:
    """The first days of the latest months, and of the next one."""
    running = now.year * 12 + now.month - 1
    numbers = range(running + 1 - MONTHS, running + 2)
    return [date(number // 12, number % 12 + 1, 1) for number in numbers]


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product's reviews; `star_counts` by their stars."""

    asin: str
    title: str | None
    star_counts: Mapping[int, int]

    @property
    def review_count(self) -> int:
        """All of them."""
        return sum(self.star_counts.values())

    @property
    def mean_stars(self) -> float:
        """Of all of them."""
        return sum(stars * count for stars, count in self.star_counts.items()) / self.review_count


def _read_products(view: View) -> Sequence[Product]:
    """The products of the reviews that the filters find, those with the most reviews first."""
    selection = view.selection()
    figures: dict[str, sa.ColumnElement[Any]] = {
        "review_count": sa.func.count(),
        "title": sa.func.max(selection.column("product_title")),
    }
    star_counts: dict[str, dict[int, int]] = {}
    titles: dict[str, str | None] = {}
    for row in read_groups(view.web.engine, selection, by=("asin", "rating"), figures=figures):
        star_counts.setdefault(row["asin"], {})[row["rating"]] = row["review_count"]
        titles[row["asin"]] = titles.get(row["asin"]) or row["title"]
    products = (
        Product(asin=asin, title=titles[asin], star_counts=counts)
        for asin, counts in star_counts.items()
    )
    return sorted(products, key=lambda each: (-each.review_count, each.asin))
