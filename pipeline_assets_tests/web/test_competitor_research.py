"""The page "Competitor research" over HTTP: the timeline, the ads with their copies, the CSV."""

import csv
import io
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import yaml

from pipeline_assets.brands.models import Sources
from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import COMPETITOR_ADS
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/brands/shop/competitor-research"
LIBRARY = "https://www.facebook.com/ads/library/?id="


def sign_in(site: "Site") -> "Client":
    """A viewer of `shop`, a brand whose competitors' ads are fresh; today is 10 March 2026."""
    sources = {"competitors": {"page_ids": ["1"]}}
    site.add_brand("shop", sources=sources)
    site.store_status("shop", "competitor_ads")
    return site.person(Role.VIEWER)


def put(
    site: "Site",
    library_ad_id: str,
    began: str | None = "2026-03-01",
    last: str | None = None,
    **values: Any,
) -> None:
    """An ad of `shop`; it is still running unless it has a last day."""
    first = date.fromisoformat(began) if began else None
    ended = date.fromisoformat(last) if last else site.clock.now.date()
    row = {
        "library_ad_id": library_ad_id,
        "page_name": "Globex",
        "title": f"Ad {library_ad_id}",
        "source": "ad_library",
        "started_on": first,
        "stopped_on": ended if last else None,
        "is_active": last is None,
        "days_running": (ended - first).days + 1 if first else None,
        "library_url": f"{LIBRARY}{library_ad_id}",
    }
    site.store_rows(COMPETITOR_ADS, row | values, brand_id=values.get("brand_id", "shop"))


def cells(row: str) -> list[str]:
    """The texts of a table's row, one for each cell."""
    found = re.findall(r"<t[hd][ >].*?</t[hd]>", row, re.DOTALL)
    return [" ".join(re.sub(r"<title>.*?</title>|<[^>]+>", " ", cell).split()) for cell in found]


def ads(page: str) -> list[list[str]]:
    """What the table says of each ad: ad, advertiser, how long, from when to when, copies."""
    return [cells(row)[:5] for row in re.findall(r'<tr id="ad-.*?</tr>', page, re.DOTALL)]


def timeline(page: str) -> list[list[str]]:
    """The timeline's rows: an advertiser with its sums, or an ad, its bar, its days, its end."""
    table = page.partition('<table class="timeline">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr.*?</tr>", table.partition("</thead>")[2], re.DOTALL)
    return [[text for text in cells(row) if text] for row in rows]


def bars(page: str) -> list[tuple[str, ...]]:
    """Kind, place and width of each bar, in per cent."""
    return re.findall(r'<rect class="([\w-]+)" x="([\d.]+)%" width="([\d.]+)%"', page)


def test_an_ad_and_its_copies_are_one_that_ran_when_any_of_them_did(site: "Site") -> None:
    viewer = sign_in(site)
    put(site, "100", "2026-01-01", "2026-01-10", languages=["en", "fr"], image_urls=["https://a"])
    put(
        site, "101", "2026-02-01", duplicate_of="100", page_name="Initech", image_urls=["https://b"]
    )
    put(site, "200", "2026-02-09", "2026-02-28", video_urls=["https://v"], languages=["de"])
    put(site, "300", None, title=None, body="Words", page_name=None, source="some/actor")
    put(site, "900", "2025-01-01", brand_id="acme")
    page = viewer.page(PATH)
    assert ads(page) == [
        [
            "no picture Ad 100",
            "Globex and 1 other page",
            "69 days running",
            "since 1 Jan 2026",
            "1",
        ],
        ["no picture Ad 200 ▶ video", "Globex", "20 days ended", "9 Feb 2026 – 28 Feb 2026", "–"],
        ["no picture Words", "not known", "– running", "–", "–"],
    ]
    assert timeline(page) == [
        ["Globex 2 ads and 1 copy, 1 running, 1 begun in the last 30 days"],
        ["Ad 100", "69 days", "still running"],
        ["Ad 200", "20 days", "28 Feb 2026"],
    ]
    assert "3 ads and 1 copy: an ad and its copies are one row." in page
    # The axis has the 69 days from 1 January to 10 March.
    assert bars(page) == [("is-running", "0.00", "100.00"), ("has-ended", "56.52", "28.99")]
    assert re.findall(r"<text[^>]*>([^<]+)</text>", page) == ["Jan 2026", "Feb 2026", "Mar 2026"]

    def found(**params: Any) -> list[str]:
        return [each[0].split()[3] for each in ads(viewer.page(PATH, **params)) if "Ad" in each[0]]

    assert found(is_active="yes") == ["100"]
    assert found(is_active="no") == ["200"]
    assert found(language="fr") == ["100"]
    assert found(media="video") == ["200"]
    assert found(page_name="Globex", sort="started_on") == ["200", "100"]
    assert found(q="initech") == ["100"]  # who runs only the copy
    assert found(q="101") == ["100"]
    assert len(ads(viewer.page(PATH, page_name="(none)", source="some/actor"))) == 1
    assert "No ad matches the filter" in viewer.page(PATH, q="nothing like it")

    opened = viewer.page(PATH, open="100").partition("<aside")[2]
    assert f'href="{LIBRARY}101" target="_blank" rel="noopener noreferrer"' in opened
    assert "1 copy" in opened
    assert "Initech" in opened
    assert "<aside" not in viewer.page(PATH, open="900")

    answer = viewer.get(f"{PATH}.csv", params={"page_name": "Globex"})
    assert 'filename="competitor-research_shop.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    columns = ("library_ad_id", "is_active", "days_running", "copy_count", "languages", "media")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("100", "yes", "69", "1", "en | fr", "picture"),
        ("200", "no", "20", "0", "de", "video"),
    ]
    assert sorted(rows[0]["library_ad_ids"].split(" | ")) == ["100", "101"]
    assert rows[0]["started_on"] == "2026-01-01"


def test_the_timeline_shares_its_bars_among_the_advertisers(sqlite_site: "Site") -> None:
    viewer = sign_in(sqlite_site)
    began = date(2020, 5, 5)
    for number in range(30):
        first = (began + timedelta(days=number)).isoformat()
        put(sqlite_site, f"1{number:02}", first, page_name="Early")
    for number in range(1, 10):
        put(sqlite_site, f"2{number}", f"2026-03-0{number}", page_name=f"Page {number}")
    page = viewer.page(PATH)
    assert "The 8 of 10 advertisers" in page
    rows = timeline(page)
    assert rows[0] == ["Early 30 ads, 30 running, 0 begun in the last 30 days"]
    assert [row[0] for row in rows[1:5]] == [
        *("Ad 100", "Ad 101", "Ad 102"),
        "Page 1 1 ad, 1 running, 1 begun in the last 30 days",
    ]
    assert [month for _, month in re.findall(r'<text x="([\d.]+)%"[^>]*>([^<]+)</text>', page)] == [
        f"Jan {year}" for year in range(2021, 2026)
    ]
    (row,) = timeline(viewer.page(PATH, page_name="Page 9"))[1:]
    assert row == ["Ad 29", "2 days", "still running"]
    assert len(timeline(viewer.page(PATH, page_name="Early"))) == 1 + 24


def test_no_source_no_sync_no_ad_and_old_ads_are_told_apart(sqlite_site: "Site") -> None:
    viewer = sign_in(sqlite_site)
    assert "No ad yet" in viewer.page(PATH)
    put(sqlite_site, "100", title="Secret of old")
    at = sqlite_site.clock.now - timedelta(hours=168.1)
    with write_transaction(sqlite_site.engine) as connection:
        connection.execute(sa.update(dataset_status).values(last_success_at=at))
    page = viewer.page(PATH, open="100")
    assert "The ads are not shown" in page
    assert "pipeline-assets sync shop competitor_scrape" in page
    assert "Secret of old" not in page
    assert "YAML" not in page
    assert viewer.get(f"{PATH}.csv").status_code == 409
    with write_transaction(sqlite_site.engine) as connection:
        connection.execute(sa.delete(dataset_status))
    assert "it comes by itself with the first sync" in viewer.page(PATH)

    page = viewer.page("/brands/acme/competitor-research")
    assert "Not configured for this brand" in page
    snippet = re.search(r'<pre class="log yaml"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert snippet is not None
    configured = Sources.model_validate(yaml.safe_load(snippet[1].replace("&#34;", '"')))
    assert configured.configured == {"competitors"}


def test_whatever_an_ad_says_is_text_and_no_link_leads_off_the_web(
    sqlite_site: "Site", nasty: str
) -> None:
    viewer = sign_in(sqlite_site)
    texts = ("page_name", "title", "body", "description", "cta", "display_domain", "matched_by")
    lists = ("titles", "bodies", "platforms", "languages", "image_urls")
    values: dict[str, Any] = dict.fromkeys((*texts, "source", "error"), nasty)
    values |= {name: [nasty] for name in lists}
    values |= {"landing_url": "javascript:alert(1)", "library_url": "javascript:alert(2)"}
    put(sqlite_site, "100", **values)
    put(sqlite_site, "101", duplicate_of="100", page_name=nasty, library_url="data:text/html,x")
    put(sqlite_site, "200", title="=1+1", landing_url="https://shop.example/a")
    for page in (viewer.page(PATH), viewer.page(PATH, open="100"), viewer.page(PATH, q="<script>")):
        assert "<script>alert" not in page
        assert " style=" not in page
        assert 'href="javascript' not in page
        assert 'href="data' not in page
    link = 'href="https://shop.example/a" target="_blank" rel="noopener noreferrer"'
    assert link in viewer.page(PATH)
    lines = viewer.get(f"{PATH}.csv").content.decode("utf-8-sig")
    assert "'=1+1" in lines
    for path in (PATH, f"{PATH}.csv"):
        for query in ("sort=title", "is_active=perhaps", "page=x", f"language={'x' * 10_000}"):
            answer = viewer.get(f"{path}?{query}")
            assert answer.status_code == 422, query
            assert "bug" not in answer.text
    assert viewer.get(f"{PATH}?open={'x' * 10_000}").status_code == 422
    assert "<aside" not in viewer.page(PATH, open="مرحبا")


@pytest.mark.parametrize("suffix", ["", ".csv"])
def test_the_page_is_not_there_where_its_organization_hides_it(
    sqlite_site: "Site", suffix: str
) -> None:
    viewer = sign_in(sqlite_site)
    now = sqlite_site.clock.now
    for is_shown, status_code in ((True, 200), (False, 404)):
        set_feature(
            sqlite_site.engine,
            "north",
            "competitor_research",
            is_shown=is_shown,
            actor="test",
            now=now,
        )
        assert viewer.get(PATH + suffix).status_code == status_code
