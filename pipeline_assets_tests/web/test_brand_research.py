"""The pages "Brand research" over HTTP: the media library and the landing pages of a brand."""

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import AD_ASSETS, LANDING_PAGES, META_AD_CREATIVES
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/brands/acme/brand-research"
PAGES = f"{PATH}/pages"
PNG = b"\x89PNG\r\n\x1a\n not much of a picture"
Put = Callable[..., None]


@pytest.fixture
def viewer(site: "Site") -> "Client":
    site.store_status("acme", "ad_assets")
    site.store_status("acme", "landing_pages")
    return site.person(Role.VIEWER)


@pytest.fixture
def put(site: "Site") -> Put:
    """Stores a creative's picture or video."""

    def put(media_id: str, creative_id: str, **values: Any) -> None:
        row = {"media_type": "image", "media_id": media_id, "creative_id": creative_id}
        site.store_rows(AD_ASSETS, row | {"state": "stored", "sha256": "a" * 64} | values)

    return put


def put_ad(site: "Site", ad_id: str, creative_id: str, **values: Any) -> None:
    row = {"ad_id": ad_id, "ad_name": f"Ad {ad_id}", "creative_id": creative_id}
    site.store_rows(META_AD_CREATIVES, row | values)


def tiles(page: str) -> list[str]:
    """What each tile of the gallery is called, in order."""
    return re.findall(r'<a class="tile[^>]*aria-label="([^"]+)"', page)


def titles(page: str) -> list[str]:
    """The landing pages in the table, in its order."""
    return re.findall(
        r'<th scope="row" class="sticky"><bdi class="clamp " title="[^"]*">([^<]*)</bdi>', page
    )


def test_a_picture_stands_there_once_with_all_of_its_ads(
    viewer: "Client", put: Put, site: "Site"
) -> None:
    put("m1", "k1", sha256=None, state="failed")
    put("m1", "k2", width=600, height=400)
    put("m2", "k2", media_type="video", sha256=None, poster_sha256="b" * 64, duration_seconds=9.6)
    for ad_id, creative_id in (("1", "k1"), ("2", "k2"), ("3", "k2")):
        put_ad(site, ad_id, creative_id)
    page = viewer.page(PATH, sort="ad_count")
    assert tiles(page) == ["Ad 1: picture · 600 × 400, in 3 ads", "Ad 2: ▶ video, 10 s, in 2 ads"]
    assert re.findall(r'<img src="/brands/acme/media/(\w)', page) == ["a", "b"]
    assert page.count('loading="lazy"') == 2


def test_kind_state_and_the_name_of_any_ad_find_pictures(
    viewer: "Client", put: Put, site: "Site"
) -> None:
    put("m1", "k1")
    put("m2", "k2", media_type="video", state="poster_only")
    put_ad(site, "1", "k1", ad_name="Summer")
    put_ad(site, "2", "k1", ad_name="Winter")
    assert tiles(viewer.page(PATH, q="wint")) == ["Summer: picture, in 2 ads"]
    assert tiles(viewer.page(PATH, media_type="video")) == ["m2: ▶ video, in 0 ads"]
    assert len(tiles(viewer.page(PATH, state="stored"))) == 1
    assert "No picture or video matches the filter" in viewer.page(PATH, q="autumn")


def test_the_newest_stand_first(viewer: "Client", put: Put, site: "Site") -> None:
    now = site.clock.now
    put("old", "k1", stored_at=now - timedelta(days=3), byte_count=9)
    put("new", "k2", stored_at=now, byte_count=5)
    put("not stored", "k3", stored_at=None)
    assert [tile.split(":")[0] for tile in tiles(viewer.page(PATH))] == ["new", "old", "not stored"]
    by_size = tiles(viewer.page(PATH, sort="byte_count"))
    assert [tile.split(":")[0] for tile in by_size] == ["old", "new", "not stored"]


def test_an_open_picture_shows_its_ads_the_active_ones_first(
    viewer: "Client", put: Put, site: "Site"
) -> None:
    put("m:1", "k1", error="It was cut off once")
    put("m:1", "k2")
    put("m2", "k3")
    put_ad(site, "1", "k1", effective_status="PAUSED", title="Now in blue")
    put_ad(site, "2", "k2", effective_status="ACTIVE")
    put_ad(site, "3", "k3")
    page = viewer.page(PATH, open="image:m:1")
    drawer = page.partition('<aside class="drawer"')[2].partition("</aside>")[0]
    assert re.findall(r"<li><b><bdi[^>]*>([^<]+)</bdi></b>", drawer) == ["Ad 2", "Ad 1"]
    assert "Now in blue" in drawer
    assert f'<img src="/brands/acme/media/{"a" * 64}"' in drawer
    assert "<h3>2 ads</h3>" in drawer


def test_an_open_video_can_be_played(viewer: "Client", put: Put, site: "Site") -> None:
    sha256 = site.installation.media.put_bytes(PNG).sha256
    put("v", "k1", media_type="video", sha256=sha256, content_type="video/mp4")
    page = viewer.page(PATH, open="video:v")
    assert f'<video controls preload="none" src="/brands/acme/media/{sha256}"' in page
    answer = viewer.get(f"/brands/acme/media/{sha256}")
    assert (answer.content, answer.headers["content-type"]) == (PNG, "video/mp4")
    policy = viewer.get(PATH).headers["content-security-policy"]
    assert "media-src 'self'" in policy


@pytest.mark.parametrize("name", ["image:nothing", "image", ":", "nonsense:m1", "<i>:x"])
def test_what_is_not_there_is_not_open(viewer: "Client", put: Put, name: str) -> None:
    put("m1", "k1")
    assert 'class="drawer"' not in viewer.page(PATH, open=name)


def test_another_brands_pictures_are_not_there(viewer: "Client", put: Put, site: "Site") -> None:
    put("m1", "k1", brand_id="globex")
    put("m2", "k1")
    put_ad(site, "1", "k1", brand_id="globex")
    assert tiles(viewer.page(PATH)) == ["m2: picture, in 0 ads"]
    assert 'class="drawer"' not in viewer.page(PATH, open="image:m1")


def test_withheld_pictures_leave_the_landing_pages_where_they_are(
    viewer: "Client", put: Put, site: "Site"
) -> None:
    put("m1", "k1")
    site.store_rows(LANDING_PAGES, {"url": "https://a.example", "title": "Shoes"})
    with write_transaction(site.engine) as connection:
        is_it = dataset_status.c.dataset == "ad_assets"
        connection.execute(sa.update(dataset_status).where(is_it).values(last_success_at=None))
    page = viewer.page(PATH, open="image:m1")
    assert "Pictures and videos are not shown" in page
    assert "media/aaaa" not in page
    assert viewer.get(f"{PATH}.csv").status_code == 409
    assert titles(viewer.page(PAGES)) == ["Shoes"]
    assert viewer.get(f"{PAGES}.csv").status_code == 200


def test_landing_pages_show_state_price_and_what_they_said_before(
    viewer: "Client", site: "Site"
) -> None:
    versions = [
        {
            "seen_at": "2026-03-09T08:00:00+00:00",
            "title": "Now",
            "price": "39.9",
            "currency": "EUR",
        },
        {"seen_at": "2026-03-01T08:00:00+00:00", "title": None, "price": None},
    ]
    site.store_rows(
        LANDING_PAGES,
        {"url": "https://a.example/x", "title": "Shoes", "state": "ok", "ad_count": 2}
        | {"price": Decimal("39.9"), "currency": "EUR", "versions": versions}
        | {"changed_at": site.clock.now - timedelta(hours=3), "read_at": site.clock.now},
        {"url": "ftp://a.example", "state": "refused", "error": "A private address", "ad_count": 1},
    )
    page = viewer.page(PAGES)
    assert titles(page) == ["Shoes", "no title"]
    assert "39.90" in page
    assert "read</span>" in page
    assert "refused</span>" in page
    assert "A private address" in page
    assert 'href="https://a.example/x" target="_blank" rel="noopener noreferrer"' in page
    assert 'href="ftp:' not in page
    assert "<b>2026-03-09 08:00</b>" in page
    assert "2 contents" in page
    assert "3 h ago" in page


def test_landing_pages_are_filtered_sorted_and_searched(viewer: "Client", site: "Site") -> None:
    site.store_rows(
        LANDING_PAGES,
        {"url": "https://a", "title": "A", "state": "ok", "price": Decimal(9), "language": "en"},
        {"url": "https://b", "title": "B", "state": "ok", "price": Decimal(10)},
        {"url": "https://c", "title": "C", "state": "blocked", "hero_text": "Free returns"},
    )
    assert titles(viewer.page(PAGES, sort="price")) == ["B", "A", "C"]
    assert titles(viewer.page(PAGES, state="blocked")) == ["C"]
    assert titles(viewer.page(PAGES, language="(none)")) == ["B", "C"]
    assert titles(viewer.page(PAGES, q="free RETURNS")) == ["C"]


def test_the_csvs_have_what_the_filters_find(viewer: "Client", put: Put, site: "Site") -> None:
    put("m1", "k1", media_type="video")
    put("m2", "k1")
    site.store_rows(LANDING_PAGES, {"url": "https://a", "title": "=A1", "price": Decimal("1.10")})
    answer = viewer.get(f"{PATH}.csv", params={"media_type": "video"})
    assert 'filename="brand-research_acme.csv"' in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["media_id"], row["ad_count"]) == ("m1", "0")
    answer = viewer.get(f"{PAGES}.csv")
    assert 'filename="brand-research-pages_acme.csv"' in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["title"], Decimal(row["price"])) == ("'=A1", Decimal("1.1"))


def test_nothing_stored_and_never_synced_are_told_apart(viewer: "Client", site: "Site") -> None:
    assert "No picture or video yet" in viewer.page(PATH)
    assert "No landing page yet" in viewer.page(PAGES)
    with write_transaction(site.engine) as connection:
        connection.execute(sa.delete(dataset_status))
    page = viewer.page(PAGES)
    assert "not shown" in page
    assert "pipeline-assets sync acme landing_page_scrape" in page


def test_whatever_was_read_is_text(viewer: "Client", put: Put, site: "Site", nasty: str) -> None:
    put(nasty, "k1", error=nasty)
    put_ad(site, "1", "k1", ad_name=nasty, body=nasty, effective_status=nasty)
    site.store_rows(
        LANDING_PAGES,
        {"url": f"https://x/{nasty}", "title": nasty, "h1": nasty, "error": nasty, "cta": nasty}
        | {"product_names": [nasty], "versions": [{"title": nasty}, {"seen_at": nasty}]}
        | {"host": nasty, "language": nasty, "discount": nasty, "state": nasty},
    )
    for page in (
        viewer.page(PATH),
        viewer.page(PAGES),
        viewer.page(PATH, open=f"image:{nasty[:100]}"),
    ):
        assert "<script>alert" not in page
        assert " style=" not in page


def test_an_address_that_means_nothing_is_refused_in_words(viewer: "Client") -> None:
    for path in (PATH, PAGES, f"{PATH}.csv", f"{PAGES}.csv"):
        for query in ("sort=error", "order=up", f"state={'x' * 10_000}", "page=x"):
            answer = viewer.get(f"{path}?{query}")
            assert answer.status_code == 422, query
            assert "bug" not in answer.text
    assert viewer.get(f"{PATH}?open={'x' * 10_000}").status_code == 422


def test_the_pages_are_not_there_where_their_organization_hides_them(
    site: "Site", viewer: "Client"
) -> None:
    now = site.clock.now
    set_feature(site.engine, "north", "brand_research", is_shown=False, actor="test", now=now)
    for path in (PATH, PAGES, f"{PATH}.csv", f"{PAGES}.csv"):
        assert viewer.get(path).status_code == 404
