"""Reading sums of ad figures: exact, by day and by ad, sorted, filtered and paged by SQL."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from pipeline_assets.analysis.creative_days import creative_keys
from pipeline_assets.storage.ad_performance import (
    AdFilter,
    AdOrder,
    AdSums,
    find_media_type,
    read_ads,
    read_daily_sums,
    read_statuses,
    read_stored_days,
    read_totals,
)
from pipeline_assets.storage.column_types import Timestamp
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES

FETCHED_AT = datetime(2026, 7, 25, 6, 0, tzinfo=UTC)
JULY = {"since": date(2026, 7, 1), "until": date(2026, 7, 31)}
SHA = "a" * 64
MakeRow = Callable[..., tuple[Any, ...]]
Store = Callable[..., None]


@pytest.fixture
def store(engine: sa.Engine, performance_row: MakeRow) -> Store:
    """Stores a day of an ad, from the values that matter."""
    table = DATASET_TABLES["meta_ads_performance"]

    def store(day: int = 1, **values: object) -> None:
        row = performance_row(**{"date": date(2026, 7, day), **values})
        with write_transaction(engine) as connection:
            connection.execute(sa.insert(table).values(row))

    return store


def put(engine: sa.Engine, dataset: str, **values: object) -> None:
    row = {"brand_id": "acme", "ad_account_id": "act_1", "fetched_at": FETCHED_AT, **values}
    with write_transaction(engine) as connection:
        connection.execute(sa.insert(DATASET_TABLES[dataset]).values(row))


def put_empty(engine: sa.Engine, dataset: str, **values: object) -> None:
    """A row whose other columns are as empty as they may be."""
    nothing = {sa.JSON: [], Timestamp: FETCHED_AT, sa.Text: "", sa.Boolean: False}
    table = DATASET_TABLES[dataset]
    needed = {
        column.name: nothing[type(column.type)]
        for column in table.columns
        if not column.nullable and column.name not in values
    }
    row = needed | {"brand_id": "acme"} | values
    with write_transaction(engine) as connection:
        connection.execute(sa.insert(table).values(row))


def ads(engine: sa.Engine, *, order: AdOrder | None = None, **kwargs: Any) -> list[AdSums]:
    wanted = AdFilter(**{k: kwargs.pop(k) for k in list(kwargs) if k not in {"limit", "offset"}})
    return list(read_ads(engine, "acme", **JULY, wanted=wanted, order=order or AdOrder(), **kwargs))


def ids(found: list[AdSums]) -> list[str]:
    return [ad.ad_id for ad in found]


def test_a_day_adds_up_its_ads_and_accounts_exactly(engine: sa.Engine, store: Store) -> None:
    for number in range(10):  # in doubles 0.1 ten times is not 1
        store(
            ad_id=str(number),
            ad_account_id=f"act_{number % 2}",
            spend=Decimal("0.1"),
            purchases=Decimal("0.000001"),
            purchase_value=Decimal("99999999.99"),
            impressions=7,
        )
    (day,) = read_daily_sums(engine, "acme", **JULY)
    assert (day.date, day.currency) == (date(2026, 7, 1), "EUR")
    assert day.sums["spend"] == Decimal(1)
    assert day.sums["purchases"] == Decimal("0.00001")
    assert day.sums["purchase_value"] == Decimal("999999999.90")
    assert day.sums["impressions"] == 70


def test_a_shops_nonsense_breaks_no_sum(engine: sa.Engine, store: Store) -> None:
    for ad_id in ("1", "2"):  # the time of the order sent as its value, 10,000 times
        store(ad_id=ad_id, purchase_value=Decimal(17_000_000_000_000_000))
    store(ad_id="3", purchase_value=Decimal("-0.5"))
    (day,) = read_daily_sums(engine, "acme", **JULY)
    assert day.sums["purchase_value"] == Decimal("33999999999999999.5")
    assert ids(ads(engine, order=AdOrder(numerator="purchase_value"))) == ["1", "2", "3"]


def test_only_rows_with_video_plays_count_for_the_hook_rate(
    engine: sa.Engine, store: Store
) -> None:
    store(ad_id="1", impressions=1000, video_plays=0, video_3s_views=5)
    store(ad_id="2", impressions=100, video_plays=60, video_3s_views=30, thruplays=10)
    (day,) = read_daily_sums(engine, "acme", **JULY)
    assert day.sums["video_impressions"] == 100
    assert day.sums["hooked_views"] == 30
    assert (day.sums["video_3s_views"], day.sums["thruplays"]) == (35, 10)


def test_currencies_are_never_added(engine: sa.Engine, store: Store) -> None:
    store(ad_id="1", currency="EUR", spend=Decimal(1))
    store(ad_id="2", currency="USD", spend=Decimal(2))
    days = read_daily_sums(engine, "acme", **JULY)
    assert [(day.currency, day.sums["spend"]) for day in days] == [("EUR", 1), ("USD", 2)]
    totals = read_totals(engine, "acme", **JULY, wanted=AdFilter())
    assert [(t.currency, t.ad_count, t.sums["spend"]) for t in totals] == [
        ("EUR", 1, 1),
        ("USD", 1, 2),
    ]


def test_a_day_is_provisional_when_any_of_its_rows_is(engine: sa.Engine, store: Store) -> None:
    store(1, ad_id="1", provisional=False)
    store(1, ad_id="2", provisional=True)
    store(2, ad_id="1", provisional=False)
    days = read_daily_sums(engine, "acme", **JULY)
    assert [day.is_provisional for day in days] == [True, False]


def test_a_period_includes_its_first_and_last_day_and_nobody_elses_rows(
    engine: sa.Engine, store: Store
) -> None:
    for day in range(1, 6):
        store(day)
    store(3, brand_id="globex")
    days = read_daily_sums(engine, "acme", since=date(2026, 7, 2), until=date(2026, 7, 4))
    assert [day.date.day for day in days] == [2, 3, 4]
    assert [day.sums["impressions"] for day in days] == [1000] * 3


def test_the_stored_days_are_the_first_and_the_last_of_the_brand(
    engine: sa.Engine, store: Store
) -> None:
    for day in (9, 3, 5):
        store(day)
    store(1, brand_id="globex")
    assert read_stored_days(engine, "acme") == (date(2026, 7, 3), date(2026, 7, 9))
    assert read_stored_days(engine, "initech") is None


def test_an_ad_is_one_row_with_its_latest_names_and_what_is_known_of_it(
    engine: sa.Engine, store: Store
) -> None:
    store(1, ad_name="Old name", provisional=False, spend=Decimal("1.10"))
    store(9, ad_name="New name", campaign_name="Summer", campaign_id="c1", spend=Decimal("2.20"))
    put(
        engine,
        "meta_ad_creatives",
        ad_id="1",
        status="ACTIVE",
        effective_status="CAMPAIGN_PAUSED",
        media_type="video",
        creative_id="k1",
    )
    put(engine, "ad_thumbnails", creative_id="k1", sha256=SHA)
    put(engine, "ad_classifications", creative_id="k1", **CLASSES)
    put(engine, "ad_thumbnails", creative_id="k1", brand_id="globex", sha256="b" * 64)
    (ad,) = ads(engine)
    assert ad.ad_name == "New name"
    assert (ad.campaign_id, ad.campaign_name) == ("c1", "Summer")
    assert (ad.status, ad.media_type, ad.thumbnail_sha256) == ("CAMPAIGN_PAUSED", "video", SHA)
    assert (ad.hook_type, ad.messaging_angle, ad.funnel_stage) == ("question", "pain", "top")
    assert ad.sums["spend"] == Decimal("3.30")
    assert (ad.last_date, ad.is_provisional) == (date(2026, 7, 9), True)


def test_an_ad_of_which_nothing_else_is_known_is_shown_all_the_same(
    engine: sa.Engine, store: Store
) -> None:
    store(ad_name=None)
    (ad,) = ads(engine)
    assert (ad.ad_name, ad.status, ad.media_type) == (None, None, "unknown")
    assert (ad.creative_id, ad.thumbnail_sha256, ad.hook_type) == (None, None, None)


CLASSES = {
    "media_type": "video",
    "asset_type": "ugc",
    "visual_format": "talking_head",
    "hook_type": "question",
    "messaging_angle": "pain",
    "awareness_stage": "unaware",
    "emotion": "joy",
    "cta": "shop",
    "offer_type": "none",
    "funnel_stage": "top",
    "tags": {},
    "content_hash": "x",
    "classifier": "rules",
    "classifier_version": "1",
    "taxonomy_version": "1",
    "classified_at": FETCHED_AT,
}


def test_ads_are_sorted_by_a_ratio_and_those_without_one_come_last_either_way(
    engine: sa.Engine, store: Store
) -> None:
    for ad_id, spend, value in (("1", 2, 3), ("2", 3, 1), ("3", 0, 9), ("4", 1, 1)):
        store(ad_id=ad_id, spend=Decimal(spend), purchase_value=Decimal(value))
    by_roas = AdOrder(numerator="purchase_value", denominator="spend")
    assert ids(ads(engine, order=by_roas)) == ["1", "4", "2", "3"]
    rising = AdOrder(numerator="purchase_value", denominator="spend", is_descending=False)
    assert ids(ads(engine, order=rising)) == ["2", "4", "1", "3"]


def test_ratios_of_counts_are_not_cut_off_to_whole_numbers(engine: sa.Engine, store: Store) -> None:
    for ad_id, clicks in (("1", 10), ("2", 30), ("3", 20)):
        store(ad_id=ad_id, impressions=1000, inline_link_clicks=clicks)
    by_ctr = AdOrder(numerator="inline_link_clicks", denominator="impressions")
    assert ids(ads(engine, order=by_ctr)) == ["2", "3", "1"]


def test_pages_follow_each_other_without_gap_or_repeat_among_equals(
    engine: sa.Engine, store: Store
) -> None:
    for number in range(7, 0, -1):
        store(ad_id=str(number), ad_account_id=f"act_{number % 2}")
    pages = [ids(ads(engine, limit=3, offset=offset)) for offset in (0, 3, 6, 9)]
    assert pages == [["1", "2", "3"], ["4", "5", "6"], ["7"], []]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"text": "SALE"}, ["1"]),
        ({"text": "prospecting"}, ["2"]),
        ({"text": "brand"}, ["1", "2"]),
        ({"text": "über"}, ["2"]),
        ({"text": "100%"}, ["2"]),
        ({"text": "_"}, []),
        ({"text": "' OR 1=1 --"}, []),
        ({"campaign": "c1"}, ["1"]),
        ({"campaign": "b"}, ["1", "2"]),
        ({"status": "PAUSED"}, ["2"]),
        ({"media_type": "video"}, ["1"]),
        ({"media_type": "unknown"}, ["2"]),
        ({"currency": "USD"}, ["2"]),
        ({"currency": "USD", "media_type": "video"}, []),
    ],
)
def test_filters_narrow_rows_and_totals_alike(
    engine: sa.Engine, store: Store, wanted: dict[str, str], found: list[str]
) -> None:
    store(ad_id="1", ad_name="Summer sale", campaign_name="Brand A", campaign_id="c1")
    store(
        ad_id="2",
        ad_name="100% ÜBER",
        adset_name="Prospecting",
        campaign_name="Brand B",
        campaign_id="c2",
        currency="USD",
    )
    put(engine, "meta_ad_creatives", ad_id="1", status="ACTIVE", media_type="video")
    put(engine, "meta_ad_creatives", ad_id="2", status="PAUSED")
    assert ids(ads(engine, **wanted)) == found
    totals = read_totals(engine, "acme", **JULY, wanted=AdFilter(**wanted))
    assert sum(each.ad_count for each in totals) == len(found)
    assert sum(each.sums["impressions"] for each in totals) == 1000 * len(found)


def test_a_filter_looks_at_the_latest_name_and_keeps_all_days(
    engine: sa.Engine, store: Store
) -> None:
    store(1, ad_name="Old", impressions=1)
    store(2, ad_name="New", impressions=2)
    assert ads(engine, text="old") == []
    (ad,) = ads(engine, text="new")
    assert ad.sums["impressions"] == 3


def test_a_brand_without_rows_has_no_days_ads_or_totals(engine: sa.Engine) -> None:
    assert read_daily_sums(engine, "acme", **JULY) == []
    assert ads(engine) == []
    assert read_totals(engine, "acme", **JULY, wanted=AdFilter()) == []


def test_the_statuses_to_choose_from_are_those_of_the_brands_ads(engine: sa.Engine) -> None:
    put(engine, "meta_ad_creatives", ad_id="1", status="ACTIVE", effective_status="PAUSED")
    put(engine, "meta_ad_creatives", ad_id="2", status="ACTIVE")
    put(engine, "meta_ad_creatives", ad_id="3")
    put(engine, "meta_ad_creatives", ad_id="4", brand_id="globex", status="DELETED")
    assert read_statuses(engine, "acme") == ["ACTIVE", "PAUSED"]


def test_a_brand_has_the_media_of_its_thumbnails_and_assets_and_no_other(
    engine: sa.Engine,
) -> None:
    asset = {"creative_id": "k1", "media_type": "video", "media_id": "9", "state": "stored"}
    put(engine, "ad_thumbnails", creative_id="k1", sha256=SHA, content_type="image/webp")
    put(
        engine,
        "ad_assets",
        **asset,
        sha256="b" * 64,
        content_type="video/mp4",
        poster_sha256="c" * 64,
    )
    put_empty(engine, "templates_scraped", library_ad_id="1", preview_sha256="1" * 64)
    put_empty(engine, "competitor_ads", library_ad_id="2", preview_sha256="2" * 64)
    pictures = [{"ratio": "1:1", "sha256": "3" * 64}, {"ratio": "9:16", "sha256": "4" * 64}]
    put_empty(engine, "ad_creations", draft_id="d1", pictures=pictures)
    assert find_media_type(engine, "acme", SHA) == "image/webp"
    assert find_media_type(engine, "acme", "b" * 64) == "video/mp4"
    assert find_media_type(engine, "acme", "c" * 64) == "image/jpeg"
    assert find_media_type(engine, "acme", "d" * 64) is None
    assert find_media_type(engine, "acme", "1" * 64) == "image/jpeg"
    assert find_media_type(engine, "acme", "2" * 64) == "image/jpeg"
    assert find_media_type(engine, "acme", "4" * 64) == "image/png"
    assert find_media_type(engine, "globex", "4" * 64) is None
    assert find_media_type(engine, "globex", SHA) is None


SHOWN: tuple[dict[str, Any], ...] = (
    {"media_type": "video", "video_ids": ["v1", "v2"], "image_hashes": ["h1"]},
    {"media_type": "video", "video_ids": [], "image_hashes": ["h2"]},
    {"media_type": "image", "video_ids": None, "image_hashes": ["h'3"]},
    {"media_type": "image", "video_ids": None, "image_hashes": None},
    {"media_type": None, "video_ids": ["4"], "image_hashes": []},
    {"media_type": "carousel", "video_ids": ["v5"], "image_hashes": ["h5"]},
    {"media_type": "collection", "video_ids": None, "image_hashes": ["h6"]},
)


def test_an_ads_creative_is_the_one_that_the_scorecard_names(
    engine: sa.Engine, store: Store
) -> None:
    shown = [row | {"creative_id": f"k{number}"} for number, row in enumerate(SHOWN)]
    keys = list(creative_keys(pd.DataFrame(shown, dtype="object")))
    scores = []
    for number, (row, key) in enumerate(zip(shown, keys, strict=True)):
        store(ad_id=str(number))
        put(engine, "meta_ad_creatives", ad_id=str(number), **row)
        scores.append(NO_FIGURES | {"brand_id": "acme", "creative_key": key, "label_reason": key})
    theirs = NO_FIGURES | {"brand_id": "globex", "creative_key": key, "label_reason": "theirs"}
    with write_transaction(engine) as connection:
        connection.execute(sa.insert(DATASET_TABLES["scorecard"]), [*scores, theirs])
    found = sorted(ads(engine), key=lambda ad: ad.ad_id)
    assert [ad.score.label_reason if ad.score else None for ad in found] == keys
    assert len(ads(engine, label="middle")) == len(SHOWN)
    assert ads(engine, label="winner") == ads(engine, is_fatigued=True) == []


NO_FIGURES: dict[str, Any] = {
    "creative_id": "k",
    "currency": "EUR",
    "label": "middle",
    "media_type": "image",
    "ad_count": 1,
    "since": date(2026, 7, 1),
    "until": date(2026, 7, 28),
    "impressions": 0,
    "spend": Decimal(0),
    "purchase_value": Decimal(0),
    "confidence": "low",
    "change": {},
    "is_fatigued": False,
    "fatigue_reasons": [],
    "scorer_version": "1",
    "fetched_at": FETCHED_AT,
}
