"""The simulated Ad Library: other advertisers' ads, and its limits."""

from typing import Any

import pytest
import requests

from pipeline_assets.simulator import library_copy
from pipeline_assets.simulator.server import SimulatorServer

PAGE = "100200300400500"
IN_GERMANY: dict[str, Any] = {"ad_reached_countries": '["DE"]', "search_page_ids": f'["{PAGE}"]'}


def test_the_running_ads_of_a_page_come_in_pages(client: Any, clock: Any) -> None:
    ads = library_copy.ads_of_page(PAGE, clock.now().date())
    fields = "id,page_id,ad_creative_bodies,eu_total_reach,ad_delivery_stop_time"
    rows = client.data("ads_archive", **IN_GERMANY, fields=fields, limit=3)
    assert [row["id"] for row in rows] == [ad.id for ad in ads]
    assert len(rows) > 3
    assert rows[0]["ad_creative_bodies"] == [ads[0].body]
    assert rows[0]["eu_total_reach"] == ads[0].eu_reach
    assert "ad_delivery_stop_time" not in rows[0], "it runs"


def test_the_snapshots_address_carries_the_token(client: Any) -> None:
    rows = client.data("ads_archive", **IN_GERMANY, fields="ad_snapshot_url")
    token = client.session.headers["Authorization"].removeprefix("Bearer ")
    assert all(f"access_token={token}" in row["ad_snapshot_url"] for row in rows)


def test_a_term_finds_ads_of_several_pages_that_speak_of_it(client: Any) -> None:
    asked = {"ad_reached_countries": "FR", "search_terms": "serum"}
    rows = client.data("ads_archive", **asked, fields="page_id,ad_creative_bodies", limit=50)
    assert len({row["page_id"] for row in rows}) == 3
    assert all("serum" in row["ad_creative_bodies"][0] for row in rows)


@pytest.mark.parametrize(
    "search", [{"search_page_ids": '["0123456789"]'}, {"search_terms": "Nothing of the kind"}]
)
def test_what_does_not_exist_has_no_ads(client: Any, search: dict[str, str]) -> None:
    asked = {"ad_reached_countries": "FR", **search}
    assert client.get("ads_archive", **asked).json() == {"data": []}


def test_commercial_ads_are_found_in_the_eu_and_uk_alone(client: Any) -> None:
    asked = {**IN_GERMANY, "ad_reached_countries": '["US"]'}
    assert client.get("ads_archive", **asked).json() == {"data": []}


@pytest.mark.parametrize(
    "params",
    [
        {"search_terms": "serum"},
        {"ad_reached_countries": '["DE"]'},
        {"ad_reached_countries": '["DE"]', "search_page_ids": str(list(range(11)))},
        {"ad_reached_countries": '["DE"]', "search_terms": "x" * 101},
        {**IN_GERMANY, "fields": "image_url"},
    ],
)
def test_what_the_library_does_not_take_is_an_error(client: Any, params: dict[str, Any]) -> None:
    assert client.error("ads_archive", **params)[:2] == (400, 100)


def test_a_picture_is_where_its_address_says(server: SimulatorServer, clock: Any) -> None:
    today = clock.now().date()
    (ad, *_) = library_copy.ads_of_page(PAGE, today)
    answer = requests.get(library_copy.picture_url(server.url, ad, today=today), timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
    assert answer.content[:3] == b"\xff\xd8\xff"
    missing = requests.get(f"{server.url}/library-media/..%2Fsecret_n.jpg", timeout=10)
    assert missing.status_code == 404
