"""What the reader pages of a brand say when a sync has found nothing."""

from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.people.roles import Role
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from conftest import Site

ACTOR = {"actor": "some/actor", "token": "env:TOKEN_OF_TESTS"}
SOURCES: dict[str, Any] = {
    "meta": {"ad_accounts": ["act_1"], "token": "env:TOKEN_OF_TESTS"},
    "templates": {"search_terms": ["serum"]},
    "competitors": {"search_terms": ["serum"]},
    "reddit": {
        "client_id": "app",
        "client_secret": "env:SECRET_OF_TESTS",
        "username": "somebody",
        "subreddits": ["skin"],
        "search_terms": ["serum"],
    },
    "amazon": {"asins": ["B000000001"], "actor": ACTOR},
}


@pytest.mark.parametrize(
    ("path", "dataset"),
    [
        ("ad-performance", "meta_ads_performance"),
        ("amazon-reviews", "amazon_reviews"),
        ("brand-research", "ad_assets"),
        ("brand-research/pages", "landing_pages"),
        ("competitor-research", "competitor_ads"),
        ("congruence-insights", "congruence_analysis"),
        ("creations-review", "ad_creations"),
        ("hook-analysis", "ad_classifications"),
        ("reddit-research", "reddit_posts"),
        ("template-evaluation", "templates_scraped"),
    ],
)
def test_an_empty_page_says_that_the_sync_went_well_only_if_the_last_one_did(
    sqlite_site: "Site", path: str, dataset: str
) -> None:
    sqlite_site.add_brand("new", sources=SOURCES)
    sqlite_site.store_status("new", dataset)
    if path == "brand-research/pages":  # the page is about another one
        sqlite_site.store_status("new", "ad_assets")
    viewer = sqlite_site.person(Role.VIEWER)
    assert "The sync went well:" in viewer.get(f"/brands/new/{path}").text
    with write_transaction(sqlite_site.engine) as connection:
        is_it = dataset_status.c.dataset == dataset
        failed = {"error_class": "AccessError", "error_message": "No.", "advice": "Ask."}
        connection.execute(dataset_status.update().where(is_it).values(failed))
    page = viewer.get(f"/brands/new/{path}").text
    assert "The sync went well:" not in page
    assert "The last sync failed; as of the one that went well" in page
