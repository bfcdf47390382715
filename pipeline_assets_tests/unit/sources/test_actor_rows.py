"""Rows of actors: whatever they call their fields and however they write dates and texts."""

from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.redaction import register_secret
from pipeline_assets.sources import amazon_reviews, library_ads
from pipeline_assets.sources.actor_rows import (
    UnreadableRowError,
    fold,
    plain_text,
    read_date,
    without_nul,
    without_secrets,
)

TODAY = date(2026, 11, 21)
DAY = date(2026, 1, 5)


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2026-01-05", DAY),
        ("2026-01-05T23:30:00.000Z", DAY),
        ("2026-01-05 07:00:00", DAY),
        ("2026-01-05T23:30:00-08:00", date(2026, 1, 6)),
        (1767596400, DAY),
        ("1767596400", DAY),
        (1767596400000, DAY),
        ("January 5, 2026", DAY),
        ("Jan 5, 2026", DAY),
        ("5 January 2026", DAY),
        ("5. Jan. 2026", DAY),
        ("Reviewed in the United States on January 5, 2026", DAY),
        ("Reviewed in the United Kingdom on 5 January 2026", DAY),
        ("March 3rd, 2025", date(2025, 3, 3)),
        ("5-Jan-2026", DAY),
        (datetime(2026, 1, 5, 12, tzinfo=UTC), DAY),
    ],
)
def test_a_date_is_read_in_any_notation(value: Any, day: date) -> None:
    assert read_date(value) == day


@pytest.mark.parametrize(
    "text",
    [
        "Rezension aus Deutschland vom 3. März 2025",
        "Rezension aus Deutschland vom 3. Ma\u0308rz 2025",
        "Avis laissé en France le 3 mars 2025",
        "Évalué au Canada le 3\xa0mars\xa02025",
        "Revisado en España el 3 de marzo de 2025",
        "Calificado en México el 3 de marzo del 2025",
        "Recensito in Italia il 3 marzo 2025",
        "Avaliado no Brasil em 3 de março de 2025",
        "Beoordeeld in Nederland op 3 maart 2025",
        "Recenserad i Sverige den 3 mars 2025",
        "Recenzja z Polski z 3 marca 2025",
        "Türkiye'de 3 Mart 2025 tarihinde değerlendirildi",
        "2025年3月3日に日本でレビュー済み",
        "２０２５年３月３日に日本でレビュー済み",
        "تمت المراجعة في مصر في 3 مارس 2025",
        "تمت المراجعة في المملكة العربية السعودية في ٣ مارس ٢٠٢٥",
    ],
)
def test_a_date_is_read_in_the_words_of_each_shop(text: str) -> None:
    assert read_date(text) == date(2025, 3, 3)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("le 1er décembre 2025", date(2025, 12, 1)),
        ("1º de fevereiro de 2025", date(2025, 2, 1)),
        ("29 lutego 2024", date(2024, 2, 29)),
        ("31 Aralık 2025", date(2025, 12, 31)),
        ("30 AGOSTO 2025", date(2025, 8, 30)),
    ],
)
def test_the_first_and_the_last_of_a_month_are_days_too(text: str, day: date) -> None:
    assert read_date(text) == day


@pytest.mark.parametrize(
    "value", ["yesterday", "", "32 January 2026", "Mayday 5, 2026 AD", "2025年13月3日", []]
)
def test_what_is_no_date_is_refused_with_the_value_seen(value: Any) -> None:
    with pytest.raises(ValueError, match="is no date"):
        read_date(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  a   b ", "a b"),
        ("Tom &amp; Jerry &lt;3", "Tom & Jerry <3"),
        ("one<br />two<br>three", "one\ntwo\nthree"),
        ("<p>one</p><p>two</p>", "one\ntwo"),
        ("one\n\n\n  two", "one\n\ntwo"),
        ("2 < 3 and 5 > 4", "2 < 3 and 5 > 4"),
        ("☕️ <b>bold</b>", "☕️ bold"),
        ("<br>", None),
        (" ", None),
        (12, None),
        (None, None),
    ],
)
def test_a_text_loses_its_markup_and_keeps_its_words(value: Any, text: str | None) -> None:
    assert plain_text(value) == text


def test_names_are_folded_and_what_is_empty_is_left_out() -> None:
    row = {
        "adArchiveID": "1",
        "page_id": None,
        "snapshot": {"Body Text": "", "is_x": False},
        "n": 0,
    }
    assert fold(row) == {"adarchiveid": "1", "snapshot": {"isx": 0}, "n": 0}
    assert fold({"pageID": None, "page_id": "2"}) == {"pageid": "2"}


def test_nothing_that_carries_a_token_is_kept() -> None:
    register_secret("apify_api_ASecretOfThisTest")
    row = {
        "ad_snapshot_url": "https://www.facebook.com/x?access_token=EAABsecretsecret",
        "urls": [{"url": "https://x.example/?a=1&access_token=abc&b=2"}],
        "note": "used apify_api_ASecretOfThisTest",
        "count": 3,
    }
    assert without_secrets(row) == {
        "urls": [{"url": "https://x.example/?a=1&access_token=[redacted]&b=2"}],
        "note": "used [redacted]",
        "count": 3,
    }


def test_what_cannot_be_stored_is_left_out_of_texts() -> None:
    assert without_nul({"a\0": ["b\0c", 1, None]}) == {"a": ["bc", 1, None]}


# Ads


def ad_row(**changes: Any) -> dict[str, Any]:
    row = {
        "adArchiveID": "1234567890",
        "pageID": "42",
        "pageName": "Lumen & Co",
        "startDate": 1767596400,
        "isActive": True,
        "publisherPlatform": ["FACEBOOK", "INSTAGRAM"],
        "snapshot": {"body": {"text": "Buy it"}, "title": "Now"},
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not ...}


def read_ad(**changes: Any) -> library_ads.LibraryAd:
    return library_ads.read_actor_row(ad_row(**changes), today=TODAY)


def test_a_row_of_the_usual_kind_is_read() -> None:
    ad = read_ad()
    assert (ad.library_ad_id, ad.page_id, ad.page_name) == ("1234567890", "42", "Lumen & Co")
    assert (ad.titles, ad.bodies) == (("Now",), ("Buy it",))
    assert (ad.started_on, ad.stopped_on, ad.is_active) == (DAY, None, True)
    assert ad.platforms == ("facebook", "instagram")


@pytest.mark.parametrize(
    "snapshot",
    [
        {"body": {"text": "Buy it"}},
        {"body": {"markup": {"__html": "Buy&nbsp;it"}}},
        {"body": "Buy it"},
        {"body": None, "cards": [{"body": "Buy it"}, {"body": "Buy it"}]},
    ],
)
def test_a_text_is_found_however_it_is_wrapped(snapshot: dict[str, Any]) -> None:
    assert read_ad(snapshot=snapshot).bodies == ("Buy it",)


def test_cards_add_texts_pictures_videos_and_the_first_link() -> None:
    image, video, poster = (f"https://cdn.example/{name}" for name in ("i.jpg", "v.mp4", "p.jpg"))
    ad = read_ad(
        snapshot={
            "title": "{{product.name}}",
            "images": [{"resized_image_url": "https://cdn.example/small.jpg"}],
            "videos": [{"video_sd_url": video, "video_preview_image_url": poster}],
            "cards": [
                {"title": "Card 1", "original_image_url": image, "link_url": "https://a.example/1"},
                {"title": "Card 2", "original_image_url": image, "link_url": "https://a.example/2"},
            ],
        }
    )
    assert ad.titles == ("Card 1", "Card 2"), "nobody sees a macro"
    assert ad.image_urls == ("https://cdn.example/small.jpg", image)
    assert (ad.video_urls, ad.poster_url) == ((video,), poster)
    assert ad.landing_url == "https://a.example/1"


def test_a_card_that_is_none_costs_the_others_nothing() -> None:
    ad = read_ad(snapshot={"cards": [{"title": "Card 1"}, "oops", {"title": "Card 3"}]})
    assert (ad.titles, ad.problem) == (("Card 1", "Card 3"), None)


def test_cards_that_are_no_list_are_left_out_and_named() -> None:
    ad = read_ad(snapshot={"body": "Buy it", "cards": "oops"})
    assert (ad.bodies, ad.problem) == (("Buy it",), "Left out as unreadable: cards 'oops'.")


@pytest.mark.parametrize(
    ("changes", "is_active", "stopped_on"),
    [
        ({"isActive": True, "endDate": "2026-11-20"}, True, None),
        ({"isActive": False, "endDate": "2026-11-20"}, False, date(2026, 11, 20)),
        ({"isActive": ..., "endDate": "2026-11-20"}, False, date(2026, 11, 20)),
        ({"isActive": ..., "endDate": "2026-11-21"}, True, None),
        ({"isActive": ...}, True, None),
    ],
)
def test_an_ad_has_an_end_only_when_it_has_ended(
    changes: dict[str, Any], is_active: bool, stopped_on: date | None
) -> None:
    ad = read_ad(**changes)
    assert (ad.is_active, ad.stopped_on) == (is_active, stopped_on)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"adArchiveID": ...}, ["adArchiveID"]),
        ({"adArchiveID": "not a number"}, ["adArchiveID"]),
        ({"adArchiveID": 1.5e15}, ["adArchiveID"]),
        ({"adArchiveID": "1 2", "startDate": "some day"}, ["adArchiveID"]),
        ({"pageID": ..., "pageName": ...}, ["pageID or pageName"]),
        ({"snapshot": {}}, ["snapshot with a text, picture or video"]),
        ({"snapshot": {"images": [{"url": "no address"}]}}, None),
    ],
)
def test_a_row_that_is_no_ad_is_refused_with_what_it_lacks(
    changes: dict[str, Any], fields: list[str] | None
) -> None:
    with pytest.raises(UnreadableRowError) as caught:
        read_ad(**changes)
    assert caught.value.fields == (fields or ["snapshot with a text, picture or video"])


def test_a_lesser_field_that_cannot_be_read_is_left_out_and_named() -> None:
    ad = read_ad(isActive="perhaps", startDate="n/a", languages={"a": 1}, endDate="2026-11-20")
    assert (ad.started_on, ad.stopped_on, ad.is_active) == (None, date(2026, 11, 20), False)
    assert ad.languages == ()
    assert ad.problem == (
        "Left out as unreadable: isActive 'perhaps', languages {'a': 1}, startDate 'n/a'."
    )
    assert read_ad().problem is None


def test_where_a_field_is_told_twice_the_readable_one_counts() -> None:
    ad = read_ad(startDate="n/a", startDateFormatted="2026-01-05")
    assert ad.started_on == DAY
    assert ad.problem == "Left out as unreadable: startDate 'n/a'."


@pytest.mark.parametrize(
    ("told", "is_active"),
    [("ACTIVE", True), ("Inactive", False), ("true", True), (1, True), (False, False)],
)
def test_a_flag_is_read_in_words_too(told: Any, is_active: bool) -> None:
    ad = read_ad(isActive=told)
    assert (ad.is_active, ad.problem) == (is_active, None)


@pytest.mark.parametrize("row", [None, "text", 7, ["list"]])
def test_what_is_no_object_is_no_row(row: Any) -> None:
    with pytest.raises(UnreadableRowError):
        library_ads.read_actor_row(row, today=TODAY)
    with pytest.raises(UnreadableRowError):
        amazon_reviews.read_actor_row(row, asins=["B0ABCDEFGH"])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["adArchiveID", "snapshot", "body", "title", "images", "videos", "cards", "pageID",
                 "startDate", "isActive", "asin", "reviewId", "ratingScore", "text", "date",
                 "variant", "helpful", "markup", "__html", "languages", "country"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(row=_JSON)
def test_whatever_an_actor_sends_is_read_or_refused(row: Any) -> None:
    without_secrets(row)
    with suppress(UnreadableRowError):
        assert library_ads.read_actor_row(row, today=TODAY).library_ad_id.isdecimal()
    with suppress(UnreadableRowError):
        review = amazon_reviews.read_actor_row(row, asins=["B0ABCDEFGH"])
        assert review is None or 1 <= review.rating <= 5


def test_the_actors_searches_are_shared_out_evenly() -> None:
    run_input = library_ads.build_actor_input(["1", "2"], ["cold brew"], ["DE"], 100)
    assert [each["url"] for each in run_input["startUrls"]] == [
        f"https://www.facebook.com/ads/library/?active_status=active&ad_type=all&country=DE&{tail}"
        for tail in (
            "search_type=page&view_all_page_id=1",
            "search_type=page&view_all_page_id=2",
            "search_type=keyword_unordered&q=cold+brew",
        )
    ]
    assert (run_input["resultsLimit"], run_input["count"]) == (34, 100)


# Reviews


def review_row(**changes: Any) -> dict[str, Any]:
    row = {
        "asin": "B0ABCDEFGH",
        "reviewId": "R1ABCDEFGHIJKL",
        "ratingScore": 4,
        "reviewTitle": "Good",
        "reviewDescription": "It works.",
        "date": "2026-01-05",
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not ...}


def read_review(**changes: Any) -> amazon_reviews.Review:
    review = amazon_reviews.read_actor_row(review_row(**changes), asins=["B0ABCDEFGH"])
    assert review is not None
    return review


@pytest.mark.parametrize(
    ("stars", "rating"),
    [
        (5, 5),
        (4.0, 4),
        ("3", 3),
        ("4.0 out of 5 stars", 4),
        ("1,0 von 5 Sternen", 1),
        ("5つ星のうち4.0", 4),
        ("5つ星のうち4", 4),
        ("5 yıldız üzerinden 4,0", 4),
        ("5.0 out of 5 stars", 5),
        ("1 out of 5", 1),
        ("5 out of 5 stars, 1 rating", 5),
    ],
)
def test_stars_are_read_in_any_notation(stars: Any, rating: int) -> None:
    assert read_review(ratingScore=stars).rating == rating


@pytest.mark.parametrize(
    ("told", "votes"),
    [
        (12, 12),
        ("12", 12),
        ("1,204", 1204),
        ("12 people found this helpful", 12),
        ("One person found this helpful", 1),
        ("Helpful", 0),
        (None, 0),
    ],
)
def test_helpful_votes_are_read_in_any_notation(told: Any, votes: int) -> None:
    assert read_review(reviewReaction=told).helpful_votes == votes


@pytest.mark.parametrize(
    ("changes", "country"),
    [
        ({"countryCode": "DE"}, "DE"),
        ({"country": "United Kingdom"}, "GB"),
        ({"reviewedIn": "Reviewed in the United States on January 5, 2026"}, "US"),
        ({"date": "Reviewed in Canada on January 5, 2026"}, "CA"),
        ({"reviewedIn": "Reviewed in Atlantis on January 5, 2026"}, None),
        ({}, None),
    ],
)
def test_the_country_is_told_or_read_from_the_words(
    changes: dict[str, Any], country: str | None
) -> None:
    review = read_review(**changes)
    assert review.country == country
    assert review.reviewed_on == DAY


@pytest.mark.parametrize(
    ("changes", "country", "problem"),
    [
        ({"reviewedIn": "Reviewed in Germany"}, "DE", None),
        ({"date": "Reviewed in the United States"}, "US", None),
        (
            {"reviewedIn": "Reviewed in Germany on May 32, 2026"},
            "DE",
            "Left out as unreadable: reviewedIn 'Reviewed in Germany on May 32, 2026'.",
        ),
    ],
)
def test_words_that_tell_no_day_still_tell_the_country(
    changes: dict[str, Any], country: str, problem: str | None
) -> None:
    review = read_review(**{"date": ..., **changes})
    assert (review.country, review.reviewed_on, review.problem) == (country, None, problem)


BADGES = (
    "Verified Purchase",
    "Verifizierter Kauf",
    "Achat vérifié",
    "Compra verificada",
    "Acquisto verificato",
    "Geverifieerde aankoop",
    "Verifierat köp",
    "Zweryfikowany zakup",
    "Potwierdzony zakup",
    "Doğrulanmış Alışveriş",
    "Amazonで購入",
    "عملية شراء معتمدة",
)


@pytest.mark.parametrize(
    ("told", "is_verified", "problem"),
    [
        (True, True, None),
        *((badge, True, None) for badge in BADGES),
        ("Unverified", False, "Left out as unreadable: isVerified 'Unverified'."),
        ("Achat non vérifié", False, "Left out as unreadable: isVerified 'Achat non vérifié'."),
        ("false", False, None),
        ("perhaps", False, "Left out as unreadable: isVerified 'perhaps'."),
    ],
)
def test_a_badge_is_as_good_as_a_flag(told: Any, is_verified: bool, problem: str | None) -> None:
    review = read_review(isVerified=told)
    assert (review.is_verified, review.problem) == (is_verified, problem)


@pytest.mark.parametrize(
    ("told", "variant"),
    [
        ("Size: Large", "Size: Large"),
        (["Size: Large", "Colour: Sand"], "Size: Large; Colour: Sand"),
        ([{"key": "Size", "value": "Large"}], "Size: Large"),
        ({"Size": "Large", "Colour": "Sand"}, "size: Large; colour: Sand"),
    ],
)
def test_a_variant_is_one_text(told: Any, variant: str) -> None:
    assert read_review(variant=told).variant == variant


def test_an_id_is_found_in_the_reviews_address() -> None:
    url = "https://www.amazon.com/gp/customer-reviews/R2QWERTYUIOP/ref=cm_cr?ASIN=B0ABCDEFGH"
    assert read_review(reviewId=..., reviewUrl=url).review_id == "R2QWERTYUIOP"


def test_a_variants_review_counts_for_the_product_that_was_asked_for() -> None:
    row = review_row(asin="B0OTHERONE", productOriginalAsin="B0ABCDEFGH")
    review = amazon_reviews.read_actor_row(row, asins=["B0ABCDEFGH"])
    assert review is not None
    assert review.asin == "B0ABCDEFGH"


def test_another_products_review_is_none_of_ours() -> None:
    assert amazon_reviews.read_actor_row(review_row(), asins=["B0OTHERONE"]) is None


def test_a_date_that_cannot_be_read_is_the_reviews_trouble_alone() -> None:
    review = read_review(date="vor drei Tagen")
    assert review.reviewed_on is None
    assert "'vor drei Tagen'" in (review.problem or "")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"reviewId": ...}, ["reviewId"]),
        ({"asin": ...}, ["asin"]),
        ({"ratingScore": ...}, ["ratingScore"]),
        ({"ratingScore": 0}, ["ratingScore"]),
        ({"ratingScore": "many"}, ["ratingScore"]),
        ({"ratingScore": "10"}, ["ratingScore"]),
        ({"reviewTitle": ..., "reviewDescription": ...}, ["reviewDescription"]),
        ({"asin": ..., "reviewId": ...}, ["asin", "reviewId"]),
    ],
)
def test_a_row_that_is_no_review_is_refused_with_what_it_lacks(
    changes: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(UnreadableRowError) as caught:
        read_review(**changes)
    assert caught.value.fields == fields


@pytest.mark.parametrize(
    ("country", "address"),
    [("DE", "https://www.amazon.de/dp/B0ABCDEFGH"), ("NO", "https://www.amazon.com/dp/B0ABCDEFGH")],
)
def test_products_are_asked_for_at_their_countrys_marketplace(country: str, address: str) -> None:
    run_input = amazon_reviews.build_actor_input(["B0ABCDEFGH"], country, 50)
    assert run_input["productUrls"] == [{"url": address}]
    assert (run_input["asins"], run_input["maxReviews"]) == (["B0ABCDEFGH"], 50)
