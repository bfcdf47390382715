"""The page "Amazon reviews" over HTTP: stars by product and month, what is said, reviews, CSV."""

import csv
import html
import io
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.people.features import set_feature
from pipeline_assets.schemas import AMAZON_REVIEWS

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/brands/shoes/amazon-reviews"
SOURCE = {
    "asins": ["B0ABCDEFGH"],
    "country": "FR",
    "actor": {"actor": "somebody/amazon-reviews", "token": "env:TOKEN_OF_TESTS"},
}
Put = Callable[..., None]


@pytest.fixture
def site(sqlite_site: "Site") -> "Site":
    """A server whose brand's reviews have been read an hour ago."""
    sqlite_site.add_brand("shoes", sources={"amazon": SOURCE})
    sqlite_site.store_status("shoes", "amazon_reviews")
    return sqlite_site


@pytest.fixture
def put(site: "Site") -> Put:
    """Stores a review that says something, by `says` such as `{"pain": ["fell apart"]}`."""

    def put(review_id: str, rating: int = 5, *, says: Any = None, **values: Any) -> None:
        phrases = [{"kind": k, "text": text} for k, texts in (says or {}).items() for text in texts]
        row = {
            "brand_id": "shoes",
            "asin": "B0ABCDEFGH",
            "review_id": review_id,
            "rating": rating,
            "title": f"Review {review_id}",
            "reviewed_on": date(2026, 3, 1),
            "country": "FR",
            "phrases": phrases,
        }
        site.store_rows(AMAZON_REVIEWS, row | values)

    return put


def titles(page: str) -> list[str]:
    """The reviews in the table, in its order."""
    return re.findall(r'class="sticky"><a [^>]*><bdi[^>]*>([^<]*)</bdi>', page)


def products(page: str) -> list[list[str]]:
    """The words of each product's line."""
    table = page.partition('<table class="counted">')[2].partition("</table>")[0]
    return [re.sub(r"<[^>]+>", " ", line).split() for line in table.split("<tr>")[2:]]


def test_products_are_compared_by_the_stars_that_the_filters_find(
    viewer: "Client", put: Put
) -> None:
    for number, rating in enumerate((5, 5, 4, 1)):
        put(f"a{number}", rating, is_verified=rating > 1)
    put("b0", 2, asin="B0OTHER", product_title="Laces")
    page = viewer.page(PATH)
    assert products(page) == [
        [
            *("B0ABCDEFGH", "B0ABCDEFGH", "4", "3.75"),
            *("5★", "50", "%", "4★", "25", "%", "3★", "0", "%", "2★", "0", "%", "1★", "25", "%"),
        ],
        [
            *("Laces", "B0OTHER", "1", "2.00"),
            *("5★", "0", "%", "4★", "0", "%", "3★", "0", "%", "2★", "100", "%", "1★", "0", "%"),
        ],
    ]
    assert [line[2:4] for line in products(viewer.page(PATH, is_verified="yes"))] == [["3", "4.67"]]
    assert titles(viewer.page(PATH, rating="1")) == ["Review a3"]
    assert titles(viewer.page(PATH, asin="B0OTHER")) == ["Review b0"]
    assert titles(viewer.page(PATH, q="LACES")) == ["Review b0"]
    assert titles(viewer.page(PATH, sort="rating", order="asc"))[:2] == ["Review a3", "Review b0"]


def test_stars_are_followed_over_the_months(viewer: "Client", put: Put) -> None:
    put("a", 5, reviewed_on=date(2026, 3, 10))
    put("b", 2, reviewed_on=date(2026, 3, 1))
    put("c", 4, reviewed_on=date(2026, 2, 28))
    put("d", 1, reviewed_on=date(2025, 3, 31))
    put("e", 3, reviewed_on=date(2024, 3, 31))
    put("f", 3, reviewed_on=None)
    page = viewer.page(PATH)
    months = re.findall(r"<title>(\w+ 20\d\d: [^<]*review[^<]*)</title></circle>", page)
    assert months == [
        "March 2025: 1.00 stars of 1 review",
        "February 2026: 4.00 stars of 1 review",
        "March 2026: 3.50 stars of 2 reviews",
    ]
    assert "<title>April 2025: 0 reviews</title>" in page
    words = re.sub(r"<[^>]+>", "", page)
    assert "3.67 stars of 3 reviews since April 2025;" in words
    assert "before that 1.00 stars of 1 review." in words
    assert "1 review is older" in words


def test_praise_and_complaints_lead_to_their_reviews(viewer: "Client", put: Put) -> None:
    put("R0ABCDEFGH", says={"praise": ["the best shoes ever"]})
    put("R0ABCDEFGI", 1, says={"pain": ["it fell apart quickly"]}, country="GB")
    put("own-id", 1, says={"pain": ["it fell apart so quickly"]}, country=None)
    page = viewer.page(PATH)
    assert "Complaints</a></h3>" in page
    assert 'href="https://www.amazon.fr/gp/customer-reviews/R0ABCDEFGH"' in page
    assert 'href="https://www.amazon.co.uk/gp/customer-reviews/R0ABCDEFGI"' in page
    assert 'href="https://www.amazon.com/dp/B0ABCDEFGH"' in page
    assert titles(viewer.page(PATH, kind="praise")) == ["Review R0ABCDEFGH"]


def test_the_csv_is_what_the_filters_find_without_what_was_sent(viewer: "Client", put: Put) -> None:
    put("a", 1, title="+1", is_verified=True)
    put("b", 5)
    answer = viewer.get(f"{PATH}.csv", params={"rating": "1"})
    assert 'filename="amazon-reviews_shoes.csv"' in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["title"], row["rating"], row["is_verified"]) == ("'+1", "1", "yes")
    assert "raw" not in row


def test_whatever_was_written_is_text(viewer: "Client", put: Put, nasty: str) -> None:
    texts = ("asin", "product_title", "title", "body", "country", "language", "variant", "error")
    put(nasty, **dict.fromkeys(texts, nasty), says={"pain": [nasty, "words of my own"]})
    put("a", title=None, body=None)
    page = viewer.page(PATH) + viewer.page(PATH, asin=nasty[:200], q="<u>")
    assert "Without a headline" in page
    assert "<script>alert" not in page
    assert "<u>" not in page
    assert " style=" not in page


def test_an_address_that_means_nothing_is_refused_in_words(viewer: "Client") -> None:
    for path in (PATH, f"{PATH}.csv"):
        for query in ("sort=raw", "rating=five", f"asin={'x' * 10_000}", "is_verified=maybe"):
            answer = viewer.get(f"{path}?{query}")
            assert answer.status_code == 422, query
            assert "bug" not in answer.text


def test_no_reviews_no_sync_no_source_and_no_page_are_told_apart(
    site: "Site", viewer: "Client", put: Put
) -> None:
    assert "No review yet" in viewer.page(PATH)
    put("a", says={"pain": ["it fell apart quickly"]}, brand_id="globex")
    assert "No review yet" in viewer.page(PATH)
    put("a", says={"pain": ["it fell apart quickly"]})
    assert "No review matches the filter" in viewer.page(PATH, q="nothing like it")
    bare = html.unescape(viewer.page("/brands/acme/amazon-reviews"))
    assert "Not configured for this brand" in bare
    assert "asins: [" in bare
    site.add_brand("late", sources={"amazon": SOURCE})
    month_ago = site.clock.now - timedelta(days=30)
    site.store_status("late", "amazon_reviews", last_success_at=month_ago)
    put("a", says={"pain": ["it fell apart quickly"]}, brand_id="late")
    late = viewer.page("/brands/late/amazon-reviews")
    assert "The reviews are not shown" in late
    assert "fell apart" not in late
    assert viewer.get("/brands/late/amazon-reviews.csv").status_code == 409
    now = site.clock.now
    set_feature(site.engine, "north", "amazon_reviews", is_shown=False, actor="test", now=now)
    assert viewer.get(PATH).status_code == viewer.get(f"{PATH}.csv").status_code == 404
