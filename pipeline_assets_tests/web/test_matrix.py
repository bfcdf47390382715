"""The freshness matrix: shares of the allowed age, order, filter, pages, and its exports."""

import csv
import io
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.registry import pause_brand
from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site

PERFORMANCE, CREATIVES, THUMBNAILS = "meta_ads_performance", "meta_ad_creatives", "ad_thumbnails"


def store_ages(site: "Site", brand_id: str, **hours_by_dataset: float) -> None:
    for dataset, hours in hours_by_dataset.items():
        at = site.clock.now - timedelta(hours=hours)
        site.store_status(brand_id, dataset, last_success_at=at)


def rows(page: httpx.Response) -> list[str]:
    assert page.status_code == 200
    return re.findall(r'<tr id="row-([^"]+)"', page.text)


def test_a_cell_tells_the_used_share_in_words_and_as_a_bar(site: "Site") -> None:
    store_ages(site, "acme", **{PERFORMANCE: 6, CREATIVES: 30})
    page = site.person(Role.VIEWER).get("/matrix").text
    label = "acme, Ad performance: fresh, 25 % of its allowed age used, synced 6 h ago"
    assert f'aria-label="{label}"' in page
    assert re.search(rf'class="heat fresh h5" id="cell-acme-{PERFORMANCE}"[^>]*>25 %</a>', page)
    assert re.search(rf'class="heat stale h20" id="cell-acme-{CREATIVES}"[^>]*>125 %</a>', page)
    assert re.search(rf'class="heat never h0" id="cell-acme-{THUMBNAILS}"[^>]*>never</a>', page)


def test_a_brands_own_window_is_what_counts(site: "Site") -> None:
    site.add_brand("own", windows={PERFORMANCE: 12})
    store_ages(site, "own", **{PERFORMANCE: 6})
    page = site.person(Role.VIEWER).get("/matrix").text
    assert re.search(rf'id="cell-own-{PERFORMANCE}"[^>]*>50 %</a>', page)


def test_the_worst_brand_comes_first_and_a_paused_one_last(site: "Site") -> None:
    site.add_brand("mild")
    everything = dict.fromkeys(
        (PERFORMANCE, CREATIVES, THUMBNAILS, "ad_assets", "ad_classifications"), 1
    )
    store_ages(site, "mild", **everything)
    store_ages(site, "globex", **everything | {CREATIVES: 100})
    store_ages(site, "acme", **everything | {CREATIVES: 900})
    pause_brand(site.engine, "acme", reason="Holidays", actor="test", now=site.clock.now)
    page = site.person(Role.VIEWER).get("/matrix")
    assert rows(page) == ["globex", "mild", "acme"]
    assert 'aria-label="acme, Ads and creatives: paused, stale' in page.text


@pytest.mark.parametrize(
    ("order", "expected"),
    [("", ["globex", "acme"]), ("desc", ["globex", "acme"]), ("asc", ["acme", "globex"])],
)
def test_a_datasets_column_sorts_by_its_share(
    site: "Site", order: str, expected: list[str]
) -> None:
    store_ages(site, "acme", **{PERFORMANCE: 2, CREATIVES: 200})
    store_ages(site, "globex", **{PERFORMANCE: 3})
    query = {"sort": PERFORMANCE} | ({"order": order} if order else {})
    page = site.person(Role.VIEWER).get("/matrix", params=query)
    assert rows(page) == expected
    assert page.text.count("aria-sort=") == 1
    assert f'aria-sort="{order or "desc"}ending"><a href="/matrix?sort={PERFORMANCE}' in page.text


def test_names_sort_both_ways(site: "Site") -> None:
    viewer = site.person(Role.VIEWER)
    assert rows(viewer.get("/matrix?sort=name")) == ["acme", "globex"]
    assert rows(viewer.get("/matrix?sort=name&order=desc")) == ["globex", "acme"]


def test_a_group_shows_its_datasets_alone(site: "Site") -> None:
    page = site.person(Role.VIEWER).get("/matrix?group=media").text
    assert f'id="cell-acme-{THUMBNAILS}"' in page
    assert f'id="cell-acme-{PERFORMANCE}"' not in page


def test_the_search_finds_ids_and_names_and_tells_when_it_finds_none(site: "Site") -> None:
    viewer = site.person(Role.VIEWER)
    assert rows(viewer.get("/matrix?q=ACM")) == ["acme"]
    nothing = viewer.get("/matrix?q=zzz").text
    assert "No brand matches" in nothing
    assert 'href="/matrix">Clear the filter' in nothing


def test_a_page_has_a_hundred_brands_and_a_poll_keeps_their_order(sqlite_site: "Site") -> None:
    for number in range(105):
        sqlite_site.add_brand(f"brand{number:03}")
    viewer = sqlite_site.person(Role.VIEWER)
    assert len(rows(viewer.get("/matrix?sort=name"))) == 100
    assert rows(viewer.get("/matrix?sort=name&page=2"))[-1] == "globex"
    poll = viewer.get("/matrix?rows=globex,acme,rival", headers={"HX-Request-Type": "partial"})
    assert rows(poll) == ["globex", "acme"]
    assert poll.text.lstrip().startswith('<main id="live"')


def test_the_page_asks_five_times_whatever_the_number_of_brands(sqlite_site: "Site") -> None:
    for number in range(60):
        sqlite_site.add_brand(f"more{number}")
    viewer = sqlite_site.person(Role.VIEWER)
    viewer.get("/matrix")
    asked: list[str] = []
    sa.event.listen(
        sqlite_site.engine, "before_cursor_execute", lambda *args: asked.append(args[2])
    )
    assert viewer.get("/matrix").status_code == 200
    assert len([each for each in asked if each.startswith("SELECT")]) == 5


def read_csv(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))


def test_the_csv_holds_all_that_match_in_their_order(site: "Site") -> None:
    store_ages(site, "acme", **{PERFORMANCE: 6})
    for number in range(120):
        site.add_brand(f"zz{number:03}")
    answer = site.person(Role.VIEWER).get(f"/matrix.csv?sort={PERFORMANCE}&order=asc&group=meta")
    found = read_csv(answer)
    assert len(found) == 122
    assert found[0] == {
        "brand_id": "acme",
        "name": "Acme",
        "organization_id": "north",
        "is_paused": "no",
        f"{PERFORMANCE}_state": "fresh",
        f"{PERFORMANCE}_used_pct": "25.0",
        f"{PERFORMANCE}_last_success_at": "2026-03-10T06:00:00Z",
        f"{CREATIVES}_state": "never",
        f"{CREATIVES}_used_pct": "",
        f"{CREATIVES}_last_success_at": "",
    }
    assert answer.headers["content-disposition"] == (
        'attachment; filename="freshness_2026-03-10T1200Z.csv"'
    )


def test_no_name_becomes_a_formula_in_a_spreadsheet(sqlite_site: "Site") -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", 'a,b\n"c', "plain"]
    for number, name in enumerate(names):
        sqlite_site.add_brand(f"odd{number}", name=name)
    found = read_csv(sqlite_site.person(Role.VIEWER).get("/matrix.csv?q=odd&sort=name"))
    shown = {row["brand_id"]: row["name"] for row in found}
    assert [shown[f"odd{number}"] for number in range(len(names))] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@SUM(A1)",
        'a,b\n"c',
        "plain",
    ]


def test_the_json_holds_all_that_match(site: "Site") -> None:
    store_ages(site, "acme", **{PERFORMANCE: 6})
    answer = site.person(Role.VIEWER).get("/matrix.json?q=acme&group=meta")
    assert answer.json() == {
        "checked_at": "2026-03-10T12:00:00Z",
        "brands": [
            {
                "brand_id": "acme",
                "name": "Acme",
                "organization_id": "north",
                "is_paused": False,
                "datasets": {
                    PERFORMANCE: {
                        "state": "fresh",
                        "used_pct": 25.0,
                        "last_success_at": "2026-03-10T06:00:00Z",
                    },
                    CREATIVES: {"state": "never", "used_pct": None, "last_success_at": None},
                },
            }
        ],
    }


def test_an_export_without_any_match_is_whole(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    assert read_csv(viewer.get("/matrix.csv?q=zzz")) == []
    assert viewer.get("/matrix.json?q=zzz").json()["brands"] == []


@pytest.mark.parametrize("path", ["/matrix", "/matrix.csv", "/matrix.json"])
def test_other_organizations_brands_are_in_no_export_and_nobody_else_gets_one(
    site: "Site", path: str
) -> None:
    viewer = site.person(Role.VIEWER)
    assert "rival" not in viewer.get(path).text
    assert "rival" in site.person(Role.VIEWER, "south").get(path).text
    assert site.anonymous().get(path).status_code == 303
    assert site.program(Role.EMBED).get(path).status_code == 403
    set_feature(
        site.engine, "north", "pipeline_manager", is_shown=False, actor="t", now=site.clock.now
    )
    assert viewer.get(path).status_code == 404


def test_a_parameter_that_makes_no_sense_is_refused(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    nonsense = ("sort=nothing", "group=nothing", "order=up", f"q={'a' * 10_000}", "q=%00")
    for path in ("/matrix", "/matrix.csv", "/matrix.json"):
        for query in nonsense:
            assert viewer.get(f"{path}?{query}").status_code == 422, (path, query[:20])
    assert viewer.get("/matrix?page=0").status_code == 422


def test_any_name_is_shown_as_text(sqlite_site: "Site") -> None:
    for number, name in enumerate(("<b>bold</b>", "💄" * 50, "مرحبا بالعالم", "n" * 200)):
        sqlite_site.add_brand(f"odd{number}", name=name)
    page = sqlite_site.person(Role.VIEWER).get("/matrix?q=odd")
    assert len(rows(page)) == 4
    assert "&lt;b&gt;bold&lt;/b&gt;" in page.text
    assert "<b>bold" not in page.text


def test_without_any_brand_the_page_tells_how_to_add_one(sqlite_site: "Site") -> None:
    with sqlite_site.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM brands"))
    assert "pipeline-assets brands add" in sqlite_site.person(Role.VIEWER).get("/matrix").text
