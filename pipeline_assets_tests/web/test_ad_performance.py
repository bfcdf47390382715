"""The page "Ad performance" over HTTP: what it shows, what it hides, its CSV and its pictures."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa

from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import META_AD_CREATIVES, META_ADS_PERFORMANCE, SCORECARD
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, dataset_status
from pipeline_assets.web.background import Pulse

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/brands/acme/ad-performance"
NEEDED = ("meta_ads_performance", "meta_ad_creatives", "ad_thumbnails", "scorecard")
PNG = b"\x89PNG\r\n\x1a\n not much of a picture"
Store = Callable[..., None]


@pytest.fixture
def store(site: "Site") -> Store:
    """Stores a day of an ad so many days ago, from the values that matter."""

    def store(days_ago: int = 1, **values: object) -> None:
        counts = {
            column.name: None if column.nullable else 0 for column in META_ADS_PERFORMANCE.columns
        }
        row = counts | {
            "date": site.clock.now.date() - timedelta(days_ago),
            "ad_id": "1",
            "ad_name": "Summer sale",
            "impressions": 1000,
            "inline_link_clicks": 10,
            "spend": Decimal("50.00"),
            "purchases": Decimal(2),
            "purchase_value": Decimal(100),
            "currency": "EUR",
            "provisional": True,
        }
        put(site, "meta_ads_performance", **row | BRAND_ROW | values)

    return store


BRAND_ROW = {"brand_id": "acme", "ad_account_id": "act_1"}


def put(site: "Site", dataset: str, **values: object) -> None:
    row = {**BRAND_ROW, **values, "fetched_at": site.clock.now}
    with write_transaction(site.engine) as connection:
        connection.execute(sa.insert(DATASET_TABLES[dataset]).values(row))


@pytest.fixture
def fresh(site: "Site") -> Callable[..., None]:
    """Says when the page's datasets were synced last."""

    def fresh(hours_ago: float = 1, brand_id: str = "acme") -> None:
        at = site.clock.now - timedelta(hours=hours_ago)
        for dataset in NEEDED:
            site.store_status(brand_id, dataset, last_success_at=at)

    return fresh


def ad_names(page: str) -> list[str]:
    """The ads in the table, in its order."""
    body = page.partition('<table class="ads">')[2].partition("<tfoot>")[0]
    return re.findall(r'<div><bdi class="clamp " title="[^"]*">([^<]*)</bdi>', body)


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def test_the_page_shows_totals_charts_and_ads(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store(1)
    store(2, spend=Decimal("25.50"), provisional=False)
    page = viewer.page(PATH)
    assert ">Acme</bdi>" in page
    assert "<b>75.50</b>" in page  # spend
    assert "<b>2.65x</b>" in page  # 200 / 75.50
    assert ad_names(page) == ["Summer sale"]
    (data,) = re.findall(r"data-series='([^']*)'", page)
    series = json.loads(data)
    assert series["currency"] == "EUR"
    assert (series["days"][0], series["days"][-1]) == ("2026-02-10", "2026-03-09")
    assert series["figures"]["spend"][-3:] == [None, 25.5, 50.0]
    assert series["figures"]["roas"][-2:] == [round(100 / 25.5, 6), 2.0]
    assert series["figures"]["hook_rate"][-1] is None
    assert series["is_provisional"][-3:] == [False, False, True]
    assert "Hatched days are provisional" in page


def test_the_table_of_days_says_what_the_charts_show(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store(1)
    page = viewer.page(PATH, days="7")
    rows = re.findall(r'<tr><th scope="row">(\S+)</th><td>([^<]+)</td>(.*?)</tr>', page)
    assert [(day, state) for day, state, _ in rows][:2] == [
        ("2026-03-09", "provisional"),
        ("2026-03-08", "no rows"),
    ]
    assert len(rows) == 7
    assert re.findall(r">([^<>]+)</td>", rows[0][2]) == ["50.00", "2.00x", "1.00 %", "–"]


def test_changes_are_told_only_where_the_period_before_is_stored(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store(1, spend=Decimal(150))
    store(8, spend=Decimal(100))
    assert "are not all stored" in viewer.page(PATH, days="7")
    store(14, spend=Decimal(0), purchase_value=Decimal(0))
    page = viewer.page(PATH, days="7")
    assert "Changes are against the 7 days before, 2026-02-24 to 2026-03-02" in page
    assert "+50.0 %" in page  # spend: neither good nor bad
    assert re.search(r'change worse">.*▼.* -33\.3 % worse', page)  # ROAS from 1 to 0.67


def test_each_currency_has_its_own_series_and_totals(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store(1, spend=Decimal(10))
    store(1, ad_id="2", ad_account_id="act_2", currency="USD", spend=Decimal(20))
    page = viewer.page(PATH)
    found = [json.loads(data) for data in re.findall(r"data-series='([^']*)'", page)]
    assert [(each["currency"], each["figures"]["spend"][-1]) for each in found] == [
        ("EUR", 10.0),
        ("USD", 20.0),
    ]
    assert len(re.findall(r"All 1 ad<", page)) == 2


def test_a_click_on_a_header_sorts_and_a_second_one_turns_it_round(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    for name, spend, value in (("low", 10, 20), ("none", 0, 5), ("high", 10, 90)):
        store(ad_id=name, ad_name=name, spend=Decimal(spend), purchase_value=Decimal(value))
    page = viewer.page(PATH, sort="roas")
    assert ad_names(page) == ["high", "low", "none"]
    header = re.search(r'<th [^>]*aria-sort="descending"><a href="([^"]+)"[^>]*>([^<]+)', page)
    assert header is not None
    assert header[2].strip() == "ROAS"
    turned = viewer.page(html.unescape(header[1]))
    assert ad_names(turned) == ["low", "high", "none"]
    assert 'aria-sort="ascending"' in turned


def test_filters_keep_the_period_and_tell_how_to_get_rid_of_them(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store(ad_id="1", ad_name="Summer sale")
    store(ad_id="2", ad_name="Winter", campaign_id="c9", campaign_name="Cold")
    assert ad_names(viewer.page(PATH, q="winter")) == ["Winter"]
    assert ad_names(viewer.page(PATH, campaign="c9", media_type="", status="")) == ["Winter"]
    page = viewer.page(PATH, q="nothing like it", days="7")
    assert "No ad matches the filter" in page
    clear = re.search(r'href="([^"]+)#ads">Clear the filter', page)
    assert clear is not None
    assert html.unescape(clear[1]) == f"{PATH}?days=7"


def test_ads_come_fifty_a_page(viewer: "Client", store: Store, fresh: Callable[..., None]) -> None:
    fresh()
    for number in range(51):
        store(ad_id=f"{number:02}", ad_name=f"ad {number:02}")
    assert len(ad_names(viewer.page(PATH))) == 50
    second = viewer.page(PATH, page=2)
    assert ad_names(second) == ["ad 50"]
    assert "Page 2 of 2" in second
    assert "There is no page 3" in viewer.page(PATH, page=3)


def test_days_without_ads_lead_to_those_that_are_stored(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    assert "No ad has delivered yet" in viewer.page(PATH)
    store(100)
    page = viewer.page(PATH)
    assert "No ads in this period" in page
    link = re.search(r'href="([^"]+)"[^>]*>Show 2025-11-30 to 2025-11-30', page)
    assert link is not None
    assert ad_names(viewer.page(html.unescape(link[1]))) == ["Summer sale"]


@pytest.mark.parametrize("hours_ago", [None, 24.1])
def test_withheld_figures_stand_nowhere_and_the_page_says_why(
    viewer: "Client", store: Store, fresh: Callable[..., None], hours_ago: float | None
) -> None:
    store(spend=Decimal("77.77"))
    if hours_ago is not None:
        fresh(hours_ago)
    page = viewer.page(PATH)
    assert "The figures are not shown" in page
    assert "pipeline-assets sync acme" in page
    assert "77.77" not in page
    assert "data-series" not in page
    assert "Summer sale" not in page
    answer = viewer.get(f"{PATH}.csv")
    assert answer.status_code == 409
    assert "77.77" not in answer.text


def test_data_at_the_edge_of_its_allowed_age_is_shown(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    store(spend=Decimal("77.77"))
    fresh(23.9)
    assert "77.77" in viewer.page(PATH)


def test_a_poll_that_has_seen_what_stands_there_is_answered_with_nothing(
    viewer: "Client", store: Store, fresh: Callable[..., None], site: "Site"
) -> None:
    fresh()
    store()
    poll = re.search(r'<main [^>]*hx-get="([^"]+)"', viewer.page(PATH, days="7"))
    assert poll is not None
    url = html.unescape(poll[1])
    assert viewer.get(url).status_code == 204
    site.background.pulse = Pulse(trouble="The disk is full.")
    assert "The disk is full." in viewer.page(url)
    site.background.pulse = Pulse()
    with write_transaction(site.engine) as connection:
        connection.execute(sa.update(dataset_status).values(last_success_at=site.clock.now))
    page = viewer.page(url)
    assert "seen=" not in "".join(re.findall(r'<a [^>]*href="([^"]+)"', page))


def test_the_csv_is_exactly_the_filter_with_exact_figures(
    viewer: "Client", store: Store, fresh: Callable[..., None], site: "Site"
) -> None:
    fresh()
    store(ad_id="1", ad_name="Summer sale", spend=Decimal("0.1"), purchase_value=Decimal(1))
    store(ad_id="2", ad_name="Sommer", spend=Decimal("3.333333"))
    store(ad_id="3", ad_name="Winter")
    store(ad_id="4", ad_name="Refunds, mmerely", purchase_value=Decimal("-0.5"), spend=Decimal(0))
    put(site, "meta_ad_creatives", ad_id="2", status="ACTIVE", media_type="video")
    answer = viewer.get(f"{PATH}.csv", params={"q": "mmer", "days": "7"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="ad-performance_acme_2026-03-03_2026-03-09.csv"'
    )
    first, second, third = rows_of(answer)
    assert (first["ad_id"], first["spend"], first["status"]) == ("2", "3.333333", "ACTIVE")
    assert (second["ad_id"], second["spend"], second["roas"]) == ("1", "0.1", "10")
    assert (second["hook_rate"], second["link_ctr"]) == ("", "0.01")
    assert (third["purchase_value"], third["roas"]) == ("-0.5", "")
    assert (second["since"], second["provisional"]) == ("2026-03-03", "yes")


def test_all_pages_are_in_the_csv(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    for number in range(120):
        store(ad_id=f"{number:03}")
    assert len(rows_of(viewer.get(f"{PATH}.csv"))) == 120


def test_no_name_becomes_a_formula(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    names = ("=cmd|' /C calc'!A1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "1=1")
    for number, name in enumerate(names):
        store(ad_id=str(number), ad_name=name)
    text = viewer.get(f"{PATH}.csv").content.decode("utf-8-sig")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    assert [row["ad_name"] for row in rows] == [*(f"'{name}" for name in names[:-1]), "1=1"]


def test_whatever_names_hold_is_text(
    viewer: "Client", store: Store, fresh: Callable[..., None], nasty: str
) -> None:
    fresh()
    store(ad_name=nasty, adset_name=nasty, campaign_id="c", campaign_name=nasty, currency="<i>'")
    page = viewer.page(PATH, q="<script>", currency="<i>'")
    assert "<script>alert" not in page
    assert "<i>" not in page
    assert "🎉" in page
    (data,) = re.findall(r"data-series='([^']*)'", page)
    assert json.loads(data)["currency"] == "<i>'"
    assert " style=" not in page
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))


MEANINGLESS = (
    "days=3",
    "since=2026-03-01",
    "since=2026-03-02&until=2026-03-01",
    "since=0001-01-01&until=2026-03-01",
    "since=2020-01-01&until=2026-03-01",
    "since=2026-03-01&until=9999-12-31",
    "since=yesterday&until=today",
    "sort=ad_name",
    "order=up",
    "page=0",
    "page=99999999999999999999",
    "media_type=hologram",
    "q=%00",
    f"q={'x' * 201}",
)


def test_an_address_that_means_nothing_is_refused_in_words(
    viewer: "Client", fresh: Callable[..., None]
) -> None:
    fresh()
    for query in MEANINGLESS:
        for path in (PATH, f"{PATH}.csv"):
            answer = viewer.get(f"{path}?{query}")
            assert answer.status_code == 422, query
            assert "bug" not in answer.text


def test_a_brand_of_another_organization_looks_like_none(
    viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh(brand_id="rival")
    store(brand_id="rival")
    for suffix in ("ad-performance", "ad-performance.csv", f"media/{'a' * 64}"):
        forbidden = viewer.get(f"/brands/rival/{suffix}")
        unknown = viewer.get(f"/brands/nobody/{suffix}")
        assert (forbidden.status_code, unknown.status_code) == (404, 404)
        assert forbidden.text.replace("rival", "nobody") == unknown.text


def test_the_page_is_not_there_where_its_organization_hides_it(
    site: "Site", viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store()
    now = site.clock.now
    set_feature(site.engine, "north", "ad_performance", is_shown=False, actor="test", now=now)
    assert viewer.get(PATH).status_code == 404
    assert viewer.get(f"{PATH}.csv").status_code == 404


def test_a_token_that_reads_readiness_alone_sees_no_figures(
    site: "Site", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store()
    client = site.program(Role.EMBED)
    for path in (PATH, f"{PATH}.csv", f"/brands/acme/media/{'a' * 64}"):
        assert client.get(path).status_code in {403, 404}


def test_sync_now_is_there_for_those_who_may(
    site: "Site", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store()
    assert "Sync now" not in site.person(Role.VIEWER).page(PATH)
    assert 'hx-post="/brands/acme/sync"' in site.person(Role.OPERATOR).page(PATH)


def put_picture(site: "Site", *, content_type: str = "image/png") -> str:
    """Stores a thumbnail of the creative k1; returns its hash."""
    sha256 = site.installation.media.put_bytes(PNG).sha256
    put(site, "ad_thumbnails", creative_id="k1", sha256=sha256, content_type=content_type)
    return sha256


def test_a_thumbnail_is_shown_and_kept_by_the_browser(
    site: "Site", viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    store()
    sha256 = put_picture(site)
    put(site, "meta_ad_creatives", ad_id="1", creative_id="k1")
    source = re.search(
        r'<img class="thumb" src="([^"]+)" alt="" [^>]*loading="lazy"', viewer.page(PATH)
    )
    assert source is not None
    assert source[1] == f"/brands/acme/media/{sha256}"
    answer = viewer.get(source[1])
    assert answer.content == PNG
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_bytes_that_call_themselves_a_page_are_not_shown_as_one(
    site: "Site", viewer: "Client"
) -> None:
    sha256 = put_picture(site, content_type="text/html")
    answer = viewer.get(f"/brands/acme/media/{sha256}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_pictures_of_others_or_of_nobody_are_not_found(site: "Site") -> None:
    sha256 = put_picture(site)
    put(site, "ad_thumbnails", creative_id="k2", sha256="b" * 64, content_type="image/png")
    north, south = site.person(Role.VIEWER), site.person(Role.VIEWER, "south")
    assert north.get(f"/brands/acme/media/{sha256}").status_code == 200
    assert north.get(f"/brands/globex/media/{sha256}").status_code == 404
    assert south.get(f"/brands/rival/media/{sha256}").status_code == 404
    assert south.get(f"/brands/acme/media/{sha256}").status_code == 404
    assert north.get(f"/brands/acme/media/{'b' * 64}").status_code == 404  # its bytes are gone
    for name in ("c" * 64, sha256.upper(), "x", quote("../../x", safe="")):
        assert north.get(f"/brands/acme/media/{name}").status_code == 404


def put_scores(site: "Site", *, store: Store) -> None:
    """A winner that two ads show, a fatigued loser, and an ad that nothing is said of."""
    for ad_id, values in {
        "1": {"media_type": "video", "video_ids": ["v1"], "image_hashes": ["poster"]},
        "2": {"media_type": "video", "video_ids": ["v1", "v2"]},
        "3": {"media_type": "image", "image_hashes": ["h1"]},
        "4": {"media_type": "carousel", "image_hashes": ["h1"]},
    }.items():
        store(ad_id=ad_id, ad_name=f"ad {ad_id}", spend=Decimal(10 - int(ad_id)))
        creative = {"creative_id": f"k{ad_id}", "ad_id": ad_id}
        site.store_rows(META_AD_CREATIVES, creative | values)
    site.store_rows(
        SCORECARD,
        {"creative_key": "video:v1", "currency": "EUR", "label": "winner", "label_reason": "<b>"},
        {"creative_key": "video:v1", "currency": "USD", "label": "loser"},
        {
            "creative_key": "image:h1",
            "currency": "EUR",
            "label": "loser",
            "is_fatigued": True,
            "fatigue_reasons": ["CTR fell by 40 %"],
        },
    )
    loser_of_others = {"creative_key": "creative:k4", "currency": "EUR", "label": "loser"}
    site.store_rows(SCORECARD, loser_of_others, brand_id="globex")


def test_each_ad_has_the_result_of_its_creative_and_can_be_found_by_it(
    site: "Site", viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    put_scores(site, store=store)
    page = viewer.page(PATH)
    assert ad_names(page) == ["ad 1", "ad 2", "ad 3", "ad 4"]
    shown = re.findall(r'class="result (\w+)"|(no score)', page)
    assert [label or nothing for label, nothing in shown] == [
        *("winner", "winner", "loser", "no score"),
    ]
    assert "fatigued: <bdi" in page
    assert "CTR fell by 40 %" in page
    assert "<b></bdi>" not in page
    found = {"label=winner": ["ad 1", "ad 2"], "label=loser": ["ad 3"], "fatigued=yes": ["ad 3"]}
    for query, names in (found | {"label=winner&fatigued=yes": []}).items():
        filtered = viewer.page(f"{PATH}?{query}")
        assert ad_names(filtered) == names, query
        assert f"All {len(names)} ad" in filtered or not names
    answer = viewer.get(f"{PATH}.csv")
    assert [(row["label"], row["fatigued"]) for row in rows_of(answer)] == [
        ("winner", "no"),
        ("winner", "no"),
        ("loser", "yes"),
        ("", ""),
    ]
    assert viewer.get(f"{PATH}?label=best").status_code == 422


def test_results_that_are_too_old_stand_nowhere(
    site: "Site", viewer: "Client", store: Store, fresh: Callable[..., None]
) -> None:
    fresh()
    put_scores(site, store=store)
    too_old = site.clock.now - timedelta(days=8)
    with write_transaction(site.engine) as connection:
        is_scorecard = dataset_status.c.dataset == "scorecard"
        connection.execute(
            sa.update(dataset_status).where(is_scorecard).values(last_success_at=too_old)
        )
    page = viewer.page(PATH)
    assert ad_names(page) == ["ad 1", "ad 2", "ad 3", "ad 4"]
    assert "Results are not shown" in page
    assert 'class="result' not in page
    filtered = viewer.page(PATH, label="winner")
    assert "No ad matches the filter" in filtered
    assert "Results are not shown" in filtered
    assert {row["label"] for row in rows_of(viewer.get(f"{PATH}.csv"))} == {""}
