"""The Health page: cells, chips, search, order, pages, the drawer, and what hostile names do."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from pipeline_assets.brands.registry import pause_brand
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site

PERFORMANCE, ASSETS = "meta_ads_performance", "ad_assets"


def test_the_grid_shows_every_brands_cells_with_the_worst_brand_first(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE)
    old = site.clock.now - timedelta(hours=30)
    site.store_status("globex", PERFORMANCE, last_success_at=old)
    page = site.person(Role.VIEWER).get("/").text
    assert page.index('id="row-globex"') < page.index('id="row-acme"')
    assert 'aria-label="globex, Ad performance: stale, synced 30 h ago"' in page
    assert 'aria-label="acme, Ad performance: fresh, synced 60 min ago"' in page
    assert "rival" not in page
    assert 'data-trouble-count="1"' in page


def test_a_chip_counts_cells_and_shows_the_brands_that_have_one(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE)
    page = site.person(Role.VIEWER).get("/", params={"state": "fresh"}).text
    assert 'id="row-acme"' in page
    assert 'id="row-globex"' not in page


def test_a_failure_beside_fresh_data_is_marked_and_the_data_stays_fresh(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE, error_class="SourceUnavailableError")
    page = site.person(Role.VIEWER).get("/").text
    assert (
        'aria-label="acme, Ad performance: fresh, synced 60 min ago, the last attempt failed"'
        in page
    )


def test_a_paused_brand_is_paused_and_not_late(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE, last_success_at=site.clock.now - timedelta(days=9))
    pause_brand(site.engine, "acme", reason="Holidays", actor="test", now=site.clock.now)
    page = site.person(Role.VIEWER).get("/").text
    assert 'aria-label="acme, Ad performance: paused, stale, synced 9 d ago"' in page
    assert 'data-trouble-count="0"' in page


def test_the_drawer_tells_the_error_and_what_to_do_as_text(site: "Site") -> None:
    site.store_status(
        "acme",
        ASSETS,
        last_success_at=None,
        last_attempt_outcome="failed",
        error_class="CredentialError",
        error_message="<script>alert(1)</script>",
        advice="Make a new token.",
    )
    page = site.person(Role.OPERATOR).get("/", params={"open": f"acme:{ASSETS}"}).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "<b>What to do:</b> Make a new token." in page
    assert f"/assets/{ASSETS}?view=partitions&amp;partition=acme" in page


def test_a_poll_gets_the_live_part_alone_with_the_rows_in_the_order_they_had(
    site: "Site",
) -> None:
    viewer = site.person(Role.VIEWER)
    poll = viewer.get("/", params={"rows": "globex,acme"}, headers={"HX-Request-Type": "partial"})
    assert poll.text.lstrip().startswith('<main id="live"')
    assert poll.text.index('id="row-globex"') < poll.text.index('id="row-acme"')


def test_rows_of_another_organization_are_not_shown(site: "Site") -> None:
    assert "rival" not in site.person(Role.VIEWER).get("/", params={"rows": "rival"}).text.replace(
        "rows=rival", ""
    )


@pytest.mark.parametrize(
    "name",
    ["<b>bold</b>", "💄" * 50, "مرحبا بالعالم", "n" * 200],
    ids=["html", "emoji", "rtl", "long"],
)
def test_any_name_is_shown_as_text_and_kept_apart(site: "Site", name: str) -> None:
    site.add_brand("odd", name=name)
    page = site.person(Role.VIEWER).get("/").text
    assert 'id="row-odd"' in page
    assert "<b>bold" not in page
    if len(name) < 1000:
        assert name.replace("<", "&lt;").replace(">", "&gt;") in page


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "sort=random", f"q={'a' * 300}", "page=99999999999"]
)
def test_a_parameter_that_makes_no_sense_is_named(sqlite_site: "Site", query: str) -> None:
    answer = sqlite_site.person(Role.VIEWER).get(f"/?{query}")
    assert answer.status_code == 422
    assert f"{query.partition('=')[0]} cannot be used" in answer.text


def test_the_page_asks_five_times_whatever_the_number_of_brands(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    viewer.get("/")  # the session's last-seen time is written once a minute
    asked = []
    sa.event.listen(
        sqlite_site.engine, "before_cursor_execute", lambda *args: asked.append(args[2])
    )
    for number in range(60):
        sqlite_site.add_brand(f"more{number}")
    asked.clear()
    assert viewer.get("/").status_code == 200
    assert len([each for each in asked if each.startswith("SELECT")]) == 5


def test_without_any_brand_the_page_tells_how_to_add_one(sqlite_site: "Site") -> None:
    page = sqlite_site.person(Role.VIEWER, "*").get("/", params={"q": "zzz"}).text
    assert "No brand matches" in page
    assert "Clear the filter" in page
