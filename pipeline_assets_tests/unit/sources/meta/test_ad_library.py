"""The Ad Library API: few calls, no token, and its refusals in words."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pipeline_assets.errors import AccessError, CredentialError
from pipeline_assets.sources.actor_rows import UnreadableRowError
from pipeline_assets.sources.meta.ad_library import (
    fetch_library_ads,
    reaches_only_political_ads,
    read_library_row,
    search_by_page,
    search_by_words,
)
from pipeline_assets.sources.meta.client import GraphClient

SERUM = search_by_words("serum")


@pytest.mark.parametrize(
    ("countries", "only_political"),
    [(["US"], True), (["US", "CA"], True), (["US", "IE"], False), (["GB"], False), (["CH"], True)],
)
def test_commercial_ads_are_found_in_the_eu_and_the_uk(
    countries: list[str], only_political: bool
) -> None:
    assert reaches_only_political_ads(countries) is only_political


def test_a_search_asks_for_no_page_before_it_is_used(
    client: GraphClient, graph: Any, reply: Callable[..., Any]
) -> None:
    more = {"cursors": {"after": "QQ"}, "next": "https://graph.example/next?access_token=x"}
    graph.replies += [
        reply({"data": [{"id": "1"}, {"id": "2"}], "paging": more}),
        reply({"data": [{"id": "3"}, {"id": "4"}], "paging": more | {"cursors": {"after": "RR"}}}),
    ]
    pages = fetch_library_ads(client, SERUM, countries=["DE"], ads_at_once=3)
    assert next(pages) == [{"id": "1"}, {"id": "2"}]
    (asked,) = graph.calls
    assert asked.path == "ads_archive"
    assert asked.params["limit"] == "3"
    assert asked.params["ad_reached_countries"] == '["DE"]'
    assert (asked.params["ad_active_status"], asked.params["search_terms"]) == ("ACTIVE", "serum")
    assert "snapshot" not in asked.params["fields"]
    assert "search_page_ids" not in asked.params
    assert next(pages) == [{"id": "3"}, {"id": "4"}]
    assert len(graph.calls) == 2


def test_an_advertiser_is_asked_for_by_its_page(
    client: GraphClient, graph: Any, reply: Callable[..., Any]
) -> None:
    graph.replies.append(reply({"data": []}))
    pages = fetch_library_ads(client, search_by_page("42"), countries=["DE"], ads_at_once=3)
    assert list(pages) == []
    (asked,) = graph.calls
    assert asked.params["search_page_ids"] == '["42"]'
    assert not {"search_terms", "search_type"} & set(asked.params)


def test_an_unconfirmed_identity_is_told_what_to_do(
    client: GraphClient, graph: Any, make_error: Callable[..., Any]
) -> None:
    graph.replies.append(make_error(10, 2332002))
    with pytest.raises(AccessError, match="10/2332002") as caught:
        list(fetch_library_ads(client, SERUM, countries=["DE"], ads_at_once=3))
    assert "facebook.com/ID" in caught.value.advice
    assert "`actor`" in caught.value.advice


def test_a_dead_token_is_a_dead_token(
    client: GraphClient, graph: Any, make_error: Callable[..., Any]
) -> None:
    graph.replies.append(make_error(190, 463))
    with pytest.raises(CredentialError):
        list(fetch_library_ads(client, SERUM, countries=["DE"], ads_at_once=3))


def test_a_row_of_the_library_is_read() -> None:
    ad = read_library_row(
        {
            "id": "1234567890",
            "page_id": "42",
            "page_name": "Lumen &amp; Co",
            "ad_creative_bodies": ["Buy it", "Buy it", "Or not"],
            "ad_creative_link_captions": ["lumen.example"],
            "ad_delivery_start_time": "2026-01-05",
            "ad_delivery_stop_time": "2026-02-05",
            "eu_total_reach": 1200,
            "publisher_platforms": ["FACEBOOK"],
        }
    )
    assert (ad.page_name, ad.bodies, ad.titles) == ("Lumen & Co", ("Buy it", "Or not"), ())
    assert (ad.started_on, ad.stopped_on) == (date(2026, 1, 5), date(2026, 2, 5))
    assert (ad.display_domain, ad.eu_reach, ad.platforms) == ("lumen.example", 1200, ("facebook",))


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"page_id": "42"}, ["id"]),
        ({"id": "1"}, ["page_id"]),
        (
            {"id": "1", "page_id": "42", "ad_delivery_start_time": "soon"},
            ["ad_delivery_start_time"],
        ),
        ("text", ["the row, which is no object"]),
    ],
)
def test_a_row_that_is_no_ad_is_refused_with_what_it_lacks(row: Any, fields: list[str]) -> None:
    with pytest.raises(UnreadableRowError) as caught:
        read_library_row(row)
    assert caught.value.fields == fields
