"""Other advertisers' ads found now and before become one set of rows."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pipeline_assets.assets.library_rows import (
    UNKNOWN_SEARCH,
    FoundAd,
    find_clashes,
    merge_ads,
    share_ads,
)
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.sources.library_ads import LibraryAd

NOW = datetime(2026, 11, 21, 15, tzinfo=UTC)
Row = dict[str, Any]

AD = LibraryAd(
    library_ad_id="1",
    page_id="42",
    page_name="Lumen & Co",
    titles=("Now",),
    bodies=("Buy it",),
    description=None,
    display_domain="lumen.example",
    landing_url=None,
    cta=None,
    image_urls=("https://cdn.example/v/1_n.jpg?oh=00_a&oe=6b077680",),
    video_urls=(),
    poster_url=None,
    started_on=date(2026, 11, 1),
    stopped_on=None,
    is_active=True,
    platforms=("facebook",),
    languages=("en",),
    eu_reach=None,
)


def found(ad_id: str = "1", *, matched_by: str = "page:42", **changes: Any) -> FoundAd:
    ad = replace(AD, library_ad_id=ad_id, **changes)
    return FoundAd(ad, {"id": ad_id}, source="ad_library", matched_by=matched_by)


def merge(
    *ads: FoundAd,
    stored: dict[str, Row] | None = None,
    now: datetime = NOW,
    searches: Collection[str] = ("page:42", "page:43", "term:serum"),
    unfinished: Collection[str] = (),
) -> dict[str, Row]:
    return merge_ads(
        ads,
        stored or {},
        brand_id="acme",
        now=now,
        searches={*searches},
        unfinished={*unfinished},
    )


def test_a_row_has_every_column_of_both_datasets() -> None:
    (row,) = merge(found()).values()
    for dataset in ("templates_scraped", "competitor_ads"):
        assert tuple(row) == SCHEMAS[dataset].column_names


def test_the_first_search_that_finds_an_ad_has_found_it() -> None:
    rows = merge(found(matched_by="page:42"), found(matched_by="term:serum"))
    assert [row["matched_by"] for row in rows.values()] == ["page:42"]


def test_an_ad_found_again_keeps_when_it_was_first_seen() -> None:
    before = merge(found(), now=NOW - timedelta(days=3))
    (row,) = merge(found(), stored=before).values()
    assert (row["first_seen_at"], row["last_seen_at"]) == (NOW - timedelta(days=3), NOW)


@pytest.mark.parametrize(
    ("age", "is_kept"),
    [
        (timedelta(days=180, seconds=-1), True),
        (timedelta(days=180), True),
        (timedelta(days=180, seconds=1), False),
    ],
)
def test_an_ad_that_is_gone_is_remembered_for_half_a_year(age: timedelta, is_kept: bool) -> None:
    rows = merge(stored=merge(found(), now=NOW - age))
    assert bool(rows) is is_kept
    assert not any(row["is_active"] for row in rows.values())
    assert all(row["last_seen_at"] == NOW - age for row in rows.values())


@pytest.mark.parametrize(
    ("unfinished", "running"),
    [
        ((), set()),
        (("page:42",), {"1", "4"}),
        (("page:43",), {"3", "4"}),
        (("page:42", "page:43", "term:serum"), {"1", "3", "4"}),
    ],
)
def test_of_an_ad_whose_search_was_not_finished_nothing_is_known(
    unfinished: tuple[str, ...], running: set[str]
) -> None:
    before = merge(
        found("1"),
        found("2", is_active=False),
        found("3", matched_by="page:43"),
        found("4", matched_by=UNKNOWN_SEARCH),
        now=NOW - timedelta(days=1),
    )
    rows = merge(stored=before, unfinished=unfinished)
    assert set(rows) == {"1", "2", "3", "4"}
    assert {ad_id for ad_id, row in rows.items() if row["is_active"]} == running


def test_ads_of_a_search_that_is_no_longer_wanted_go_unless_another_finds_them() -> None:
    before = merge(
        found("1"),
        found("2", matched_by="page:43"),
        found("3", matched_by="page:43"),
        found("4", matched_by=UNKNOWN_SEARCH),
    )
    rows = merge(found("3", matched_by="page:42"), stored=before, searches=["page:42"])
    assert {ad_id: row["matched_by"] for ad_id, row in rows.items()} == {
        "3": "page:42",
        "1": "page:42",
        "4": "actor",
    }


@pytest.mark.parametrize(
    ("started_on", "stopped_on", "days"),
    [
        (date(2026, 11, 21), None, 1),
        (date(2026, 11, 1), None, 21),
        (date(2026, 11, 1), date(2026, 11, 2), 2),
        (date(2026, 12, 1), None, 0),
        (None, None, None),
    ],
)
def test_the_days_of_delivery_include_the_first_and_the_last(
    started_on: date | None, stopped_on: date | None, days: int | None
) -> None:
    (row,) = merge(found(started_on=started_on, stopped_on=stopped_on)).values()
    assert row["days_running"] == days


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bodies": ("  BUY it ",)},
        {"image_urls": ("https://other.example/v/1_n.jpg?oh=00_b&oe=7b077680",)},
        {"page_id": "43", "started_on": date(2026, 11, 2)},
    ],
)
def test_a_copy_names_the_oldest_ad_with_its_content(changes: Row) -> None:
    rows = merge(found("2", **changes), found("1"), found("3"))
    assert {ad_id: row["duplicate_of"] for ad_id, row in rows.items()} == {
        "1": None,
        "2": "1",
        "3": "1",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"bodies": ("Buy two",)},
        {"titles": ()},
        {"image_urls": ("https://cdn.example/v/2_n.jpg",)},
        {"video_urls": ("https://cdn.example/v/1.mp4",)},
    ],
)
def test_other_words_pictures_or_videos_are_another_ad(changes: Row) -> None:
    assert merge(found(), found("2", **changes))["2"]["duplicate_of"] is None


def test_ads_that_show_nothing_are_no_copies_of_each_other() -> None:
    empty: Row = {"titles": (), "bodies": (), "image_urls": ()}
    rows = merge(found("1", **empty), found("2", **empty))
    assert [row["duplicate_of"] for row in rows.values()] == [None, None]


def test_a_copy_whose_original_is_forgotten_becomes_the_original() -> None:
    gone = merge(found("1"), now=NOW - timedelta(days=181))
    rows = merge(found("2"), stored=gone)
    assert {ad_id: row["duplicate_of"] for ad_id, row in rows.items()} == {"2": None}


def test_a_clash_is_an_id_with_several_contents() -> None:
    assert find_clashes([found("1"), found("1"), found("2")]) == []
    assert find_clashes([found("1"), found("1", bodies=("Other",)), found("2")]) == ["1"]


def test_ads_are_shared_out_by_their_ids_and_repeated_ones_stay() -> None:
    ads = [found("1"), found("1"), found("2"), found("3"), found("1")]
    kept, rest = share_ads(ads, 2)
    assert [each.ad.library_ad_id for each in kept] == ["1", "1", "2", "1"]
    assert [each.ad.library_ad_id for each in rest] == ["3"]


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (1, (1, 0, 0)),
        (3, (1, 1, 1)),
        (5, (2, 1, 2)),
        (7, (3, 1, 3)),
        (8, (4, 1, 3)),
        (11, (7, 1, 3)),
        (99, (7, 1, 3)),
    ],
)
def test_what_a_search_does_not_need_of_its_share_goes_to_the_others(
    count: int, shares: tuple[int, int, int]
) -> None:
    sizes = {"page:42": 7, "page:43": 1, "term:serum": 3}
    ads = [
        found(f"{search}-{number}", matched_by=search)
        for search, size in sizes.items()
        for number in range(size)
    ]
    kept, rest = share_ads(ads, count)
    counts = Counter(each.matched_by for each in kept)
    assert tuple(counts[search] for search in sizes) == shares
    assert len(kept) + len(rest) == len(ads)
