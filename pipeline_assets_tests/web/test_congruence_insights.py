"""The page "Congruence insights" over HTTP: what the pairs come to, each pair, and its CSV."""

import csv
import io
import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import (
    AD_THUMBNAILS,
    CONGRUENCE_ANALYSIS,
    LANDING_PAGES,
    META_AD_CREATIVES,
)
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from conftest import Client, Site

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
PATH = "/brands/acme/congruence-insights"
URL = "https://shop.example/a?b=c&d=<i>"
Put = Callable[..., None]


@pytest.fixture
def viewer(site: "Site") -> "Client":
    site.store_status("acme", "congruence_analysis")
    site.store_status("acme", "landing_pages")
    return site.person(Role.VIEWER)


@pytest.fixture
def put(site: "Site") -> Put:
    """Stores a judged pair, from the values that matter."""

    def put(ad_id: str, total: float | None = None, **values: Any) -> None:
        row = {
            "ad_id": ad_id,
            "ad_name": f"Ad {ad_id}",
            "url": URL,
            "creative_id": f"k{ad_id}",
            "page_state": "ok",
            "total": total,
            "outcome": "fine",
            "judge": "rules",
            "evidence": {},
        }
        site.store_rows(CONGRUENCE_ANALYSIS, row | values)

    return put


def names(page: str) -> list[str]:
    """The ads in the table, in its order."""
    return re.findall(
        r'<th scope="row" class="sticky"><bdi class="clamp " title="[^"]*">([^<]*)</bdi>', page
    )


def test_totals_are_counted_by_whole_points_with_those_that_have_a_severe_mismatch(
    viewer: "Client", put: Put
) -> None:
    for number, total in enumerate((0, 0.9, 5.99, 6, 9.99, 10)):
        mismatches = ["Another price", "Another language"] if total in {0.9, 6} else []
        put(str(number), total, is_capped=total == 6, mismatches=mismatches, message=total)
    put("dead", None, page_state="not_found")
    page = viewer.page(PATH)
    (label,) = re.findall(r'class="histogram" [^>]*aria-label="([^"]+)"', page)
    assert label == (
        "Pairs by total: 0 to 1: 2, 1 with a severe mismatch; 1 to 2: 0; 2 to 3: 0; 3 to 4: 0; "
        "4 to 5: 0; 5 to 6: 1; 6 to 7: 1, 1 with a severe mismatch; 7 to 8: 0; 8 to 9: 0; "
        "9 to 10: 2"
    )
    assert "<b>6</b> of 7 pairs could be judged" in page
    means = re.findall(r'<th scope="row">(\w+)</th>.*?class="number">([^<]+)<', page, re.DOTALL)
    assert means[:4] == [("Message", "5.5"), ("Offer", "–"), ("Visual", "–"), ("Tone", "–")]


def test_the_worst_pairs_stand_first_and_those_not_judged_last(viewer: "Client", put: Put) -> None:
    put("a", 7.5)
    put("b", None, page_state="blocked")
    put("c", 2)
    page = viewer.page(PATH)
    assert names(page) == ["Ad c", "Ad a", "Ad b"]
    assert "not judged" in page
    assert "blocked</span>" in page
    assert names(viewer.page(PATH, sort="total", order="desc")) == ["Ad a", "Ad c", "Ad b"]


def test_a_pair_shows_ad_and_page_side_by_side_with_what_was_compared(
    viewer: "Client", put: Put, site: "Site"
) -> None:
    evidence = {"offer": ["ad: 20 % off; page: none"], "visual": []}
    mismatch = "The ad says 20 % off, the page names no discount"
    put("1", 4, offer=1.25, is_capped=True, mismatches=[mismatch], evidence=evidence)
    site.store_rows(
        META_AD_CREATIVES, {"ad_id": "1", "title": "20 % off", "body": "Only this week"}
    )
    site.store_rows(AD_THUMBNAILS, {"creative_id": "k1", "sha256": "a" * 64})
    site.store_rows(
        LANDING_PAGES,
        {"url": URL, "title": "Shoes | Shop", "h1": "Shoes", "price": Decimal("49.9")},
        {"url": "https://other.example", "title": "Another page"},
    )
    page = viewer.page(PATH)
    for words in (
        "20 % off",
        "Only this week",
        "Shoes | Shop",
        "49.90",
        "ad: 20 % off; page: none",
    ):
        assert words in page
    assert f"✕ <bdi>{mismatch}</bdi>" in page
    assert "held down" in page
    assert f'src="/brands/acme/media/{"a" * 64}"' in page
    assert "Another page" not in page
    assert 'href="https://shop.example/a?b=c&amp;d=&lt;i&gt;"' in page


def test_the_chart_has_a_mark_for_each_pair_with_both_figures(viewer: "Client", put: Put) -> None:
    put("1", 5, link_ctr=0.02, cvr=0.01, outcome="page_suspect")
    put("2", 5, link_ctr=0.01, cvr=0.03, outcome="ad_suspect")
    put("3", 5, link_ctr=None, cvr=0.03, outcome="too_little_data")
    page = viewer.page(PATH)
    chart = page.partition('<svg class="quadrants"')[2].partition("</svg>")[0]
    assert re.findall(r'aria-label="(Ad [^"]+)"', chart) == [
        "Ad 1: page suspect, link CTR 2.00 %, CVR 1.00 %",
        "Ad 2: ad suspect, link CTR 1.00 %, CVR 3.00 %",
    ]
    counts = re.findall(r"</svg> <a [^>]*>([^:<]+)[^<]*</a> <b>(\d+)</b>", page)
    assert counts == [
        ("Page suspect", "1"),
        ("Ad suspect", "1"),
        ("Weak", "0"),
        ("Fine", "0"),
        ("Too little data", "1"),
    ]
    assert "No pair has figures yet" in viewer.page(PATH, outcome="too_little_data")


def test_figures_of_nothing_are_drawn(viewer: "Client", put: Put) -> None:
    put("1", 0, link_ctr=0.0, cvr=0.0, outcome="weak")
    assert "Ad 1: weak, link CTR 0.00 %, CVR 0.00 %" in viewer.page(PATH)


@BOTH_DATABASES
def test_a_severe_mismatch_is_one_whether_or_not_it_changes_the_total(
    viewer: "Client", put: Put
) -> None:
    put("dear", 6, is_capped=True, mismatches=["Another price", "No discount"])
    put("foreign", 0, mismatches=["Another language"])
    put("gone", None, page_state="not_found", mismatches=["The page is gone"])
    put("fine", 6)
    page = viewer.page(PATH)
    text = re.sub("<[^>]+>", "", page)
    assert "3 have a severe mismatch" in text
    assert "at 6 or lower; 1 of them could not be judged." in text
    assert "0 to 1: 1, 1 with a severe mismatch" in text
    assert "6 to 7: 2, 1 with a severe mismatch" in text
    assert page.count("held down") == 1
    assert re.findall(r">(yes|no) \((\d)\)<", page) == [("yes", "3"), ("no", "1")]
    wanted = {"has_severe_mismatch": "yes"}
    assert names(viewer.page(PATH, **wanted)) == ["Ad foreign", "Ad dear", "Ad gone"]
    found = viewer.get(f"{PATH}.csv").content.decode("utf-8-sig")
    severe = {
        row["ad_id"]: row["has_severe_mismatch"] for row in csv.DictReader(io.StringIO(found))
    }
    assert severe == {"foreign": "yes", "dear": "yes", "fine": "no", "gone": "yes"}


def test_outcome_state_and_mismatch_filter_pairs_and_charts(viewer: "Client", put: Put) -> None:
    put("1", 5, outcome="page_suspect", mismatches=["Another price"])
    put("2", 6, outcome="page_suspect")
    put("3", None, outcome="weak", page_state="needs_js")
    assert names(viewer.page(PATH, outcome="page_suspect", has_severe_mismatch="yes")) == ["Ad 1"]
    assert names(viewer.page(PATH, has_severe_mismatch="no")) == ["Ad 2", "Ad 3"]
    page = viewer.page(PATH, page_state="needs_js")
    assert names(page) == ["Ad 3"]
    assert "<b>0</b> of 1 pairs could be judged" in page
    assert "No ad and page pair matches the filter" in viewer.page(PATH, q="nothing like it")
    assert names(viewer.page(PATH, q="ad 2")) == ["Ad 2"]


def test_the_csv_has_what_the_filters_find(viewer: "Client", put: Put, site: "Site") -> None:
    put("1", 5.25, mismatches=["=1+1"], is_capped=True)
    put("2", 5)
    site.store_rows(LANDING_PAGES, {"url": URL, "h1": "@SUM(A1)"})
    answer = viewer.get(f"{PATH}.csv", params={"has_severe_mismatch": "yes"})
    assert answer.status_code == 200
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["ad_id"], row["total"], row["is_capped"]) == ("1", "5.25", "yes")
    assert row["has_severe_mismatch"] == "yes"
    assert (row["mismatches"], row["page_h1"]) == ("'=1+1", "'@SUM(A1)")


def test_withheld_scores_stand_nowhere(viewer: "Client", put: Put, site: "Site") -> None:
    put("1", 7.77)
    with write_transaction(site.engine) as connection:
        is_it = dataset_status.c.dataset == "congruence_analysis"
        connection.execute(sa.update(dataset_status).where(is_it).values(last_success_at=None))
    page = viewer.page(PATH)
    assert "The scores are not shown" in page
    assert "Ad 1" not in page
    assert viewer.get(f"{PATH}.csv").status_code == 409


def test_no_pair_is_told_from_no_match(viewer: "Client") -> None:
    assert "No ad leads to a page yet" in viewer.page(PATH)


def test_whatever_was_read_is_text(viewer: "Client", put: Put, site: "Site", nasty: str) -> None:
    values = {"evidence": {"message": [nasty]}, "mismatches": [nasty], "outcome": nasty}
    put("1", 5, ad_name=nasty, url=f"javascript:{nasty}", page_state=nasty, **values)
    put("2", 5, ad_name=None, link_ctr=0.1, cvr=0.1, evidence=["no mapping"], mismatches=[{"a": 1}])
    site.store_rows(
        LANDING_PAGES, {"url": URL, "title": nasty, "hero_text": nasty, "discount": nasty}
    )
    site.store_rows(META_AD_CREATIVES, {"ad_id": "2", "title": nasty, "body": nasty})
    page = viewer.page(PATH)
    assert "<script>alert" not in page
    assert 'href="javascript:' not in page
    assert " style=" not in page


def test_an_address_that_means_nothing_is_refused_in_words(viewer: "Client") -> None:
    for query in (
        "has_severe_mismatch=maybe",
        "sort=evidence",
        f"outcome={'x' * 10_000}",
        "page=-1",
    ):
        for path in (PATH, f"{PATH}.csv"):
            answer = viewer.get(f"{path}?{query}")
            assert answer.status_code == 422, query
            assert "bug" not in answer.text


def test_the_page_is_not_there_where_its_organization_hides_it(
    site: "Site", viewer: "Client"
) -> None:
    now = site.clock.now
    set_feature(site.engine, "north", "congruence_insights", is_shown=False, actor="test", now=now)
    assert viewer.get(PATH).status_code == 404
    assert viewer.get(f"{PATH}.csv").status_code == 404
