"""The list of brands: the way to their pages, also for those who do not manage the pipeline."""

from typing import TYPE_CHECKING

from pipeline_assets.datasets import DATASETS, Source
from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site


def test_each_brand_of_ones_organizations_has_its_states_and_pages(site: "Site") -> None:
    site.store_status("acme", "meta_ads_performance")
    page = site.person(Role.VIEWER).get("/brands").text
    assert 'href="/brands/acme/ad-performance"' in page
    assert 'href="/brands/acme"' in page
    assert "rival" not in page
    row = page.partition('id="row-acme"')[2].partition("</tr>")[0]
    of_meta = [each for each in DATASETS.values() if each.source is Source.META]
    assert f"never</span> {len(of_meta) - 1}" in row
    assert "fresh</span> 1" in row


def test_a_search_finds_names_and_ids_and_says_when_nothing_matches(site: "Site") -> None:
    viewer = site.person(Role.VIEWER)
    assert 'id="row-globex"' not in viewer.get("/brands", params={"q": "ACME"}).text
    assert "No brand matches" in viewer.get("/brands", params={"q": "zzz"}).text


def test_where_the_pipeline_manager_is_hidden_people_begin_with_their_brands(
    site: "Site",
) -> None:
    set_feature(
        site.engine,
        "north",
        "pipeline_manager",
        is_shown=False,
        actor="test",
        now=site.clock.now,
    )
    viewer = site.person(Role.VIEWER)
    first = viewer.get("/")
    assert (first.status_code, first.headers["location"]) == (303, "/brands")
    page = viewer.get("/brands").text
    assert 'href="/brands/acme/ad-performance"' in page
    assert 'href="/brands/acme"' not in page
    assert viewer.get("/matrix").status_code == 404
