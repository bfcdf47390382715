import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pipeline_assets.schemas import META_AD_CREATIVES
from pipeline_assets.sources.meta import (
    Ad,
    GraphClient,
    ImageAddress,
    VideoAddress,
    fetch_creative_rows,
    fetch_image_addresses,
    fetch_thumbnail_addresses,
    fetch_video_addresses,
    refresh_row,
)

Make = Callable[..., Any]
FETCHED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UPDATED = datetime(2026, 1, 2, 8, 4, 5, tzinfo=UTC)


def _listed(number: int, creative_id: str | None) -> dict[str, Any]:
    ad: dict[str, Any] = {
        "id": f"{number}",
        "name": f"Ad {number}",
        "adset_id": "20",
        "campaign_id": "30",
        "status": "ACTIVE",
        "effective_status": "ARCHIVED",
        "created_time": "2026-01-01T00:00:00+0000",
        "updated_time": "2026-01-02T03:04:05-0500",
    }
    return ad | ({"creative": {"id": creative_id}} if creative_id else {})


def _error(code: int, subcode: int | None = None) -> dict[str, Any]:
    return {"error": {"message": "x", "code": code, "error_subcode": subcode}}


def _asked(call: Any) -> list[tuple[str, dict[str, str]]]:
    parts = [urlsplit(each["relative_url"]) for each in json.loads(call.params["batch"])]
    return [(part.path.removeprefix("v26.0/"), dict(parse_qsl(part.query))) for part in parts]


def _items(bodies: list[Any]) -> list[dict[str, Any]]:
    return [
        {"code": 400 if "error" in body else 200, "headers": [], "body": json.dumps(body)}
        for body in bodies
    ]


def _rows(client: GraphClient, **more: Any) -> tuple[dict[str, dict[str, Any]], list[Ad]]:
    rows, unchanged = {}, []
    for chunk in fetch_creative_rows(client, "act_1", brand_id="acme", fetched_at=FETCHED, **more):
        for row in chunk.rows:
            named = dict(zip(META_AD_CREATIVES.column_names, row, strict=True))
            rows[named["ad_id"]] = named
        unchanged += chunk.unchanged
    return rows, unchanged


def test_ads_of_every_status_get_a_row_with_what_their_creative_says(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    body = {
        "id": "50",
        "name": "Creative",
        "object_type": "SHARE",
        "thumbnail_url": "https://cdn/t.jpg",
        "effective_object_story_id": "1_2",
        "url_tags": "utm=1",
        "object_story_spec": {
            "link_data": {
                "link": "https://shop.example/",
                "name": "Title",
                "message": "Body",
                "image_hash": "h",
                "call_to_action": {"type": "SHOP_NOW"},
            }
        },
    }
    graph.replies = [reply({"data": [_listed(1, "50"), _listed(2, None)]}), reply(_items([body]))]
    rows, unchanged = _rows(client)
    assert {"ARCHIVED", "DELETED", "ACTIVE"} <= set(
        json.loads(graph.calls[0].params["effective_status"])
    )
    ((path, params),) = _asked(graph.calls[1])
    assert path == "50"
    assert (params["thumbnail_width"], params["thumbnail_height"]) == ("480", "480")
    assert rows["1"] == {
        "brand_id": "acme",
        "ad_account_id": "act_1",
        "ad_id": "1",
        "ad_name": "Ad 1",
        "adset_id": "20",
        "campaign_id": "30",
        "status": "ACTIVE",
        "effective_status": "ARCHIVED",
        "ad_created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "ad_updated_at": UPDATED,
        "creative_id": "50",
        "creative_name": "Creative",
        "object_type": "SHARE",
        "media_type": "image",
        "title": "Title",
        "body": "Body",
        "titles": ["Title"],
        "bodies": ["Body"],
        "call_to_action_type": "SHOP_NOW",
        "destination_url": "https://shop.example/?utm=1",
        "destination_urls": ["https://shop.example/?utm=1"],
        "image_hashes": ["h"],
        "video_ids": [],
        "image_url": None,
        "thumbnail_url": "https://cdn/t.jpg",
        "object_story_id": "1_2",
        "instagram_permalink_url": None,
        "url_tags": "utm=1",
        "error": None,
        "fetched_at": FETCHED,
    }
    assert rows["2"]["creative_id"] is None
    assert rows["2"]["error"] is None
    assert unchanged == []


def test_an_invalid_story_is_left_out_and_an_unreadable_creative_becomes_a_bad_item(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    listed = [_listed(n, f"5{n}") for n in (1, 2, 3)]
    graph.replies = [
        reply({"data": listed}),
        reply(_items([_error(100, 2446211), _error(100, 1443048), _error(100, 33)])),
        reply(_items([{"id": "51", "title": "One"}, {"id": "52", "title": "Two"}])),
    ]
    rows, _ = _rows(client)
    reread = _asked(graph.calls[2])
    assert [path for path, _ in reread] == ["51", "52"]
    assert all("object_story_spec" not in params["fields"] for _, params in reread)
    assert [rows[n]["title"] for n in "12"] == ["One", "Two"]
    assert "100/33" in rows["3"]["error"]
    assert rows["3"]["ad_name"] == "Ad 3"
    assert rows["3"]["creative_id"] == "53"


def test_creatives_that_are_known_are_not_read_again_and_shared_ones_only_once(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [
        reply({"data": [_listed(1, "51"), _listed(2, "52"), _listed(3, "52")]}),
        reply(_items([{"id": "52", "body": "B"}])),
    ]
    rows, unchanged = _rows(client, known={("51", UPDATED)})
    assert [ad.ad_id for ad in unchanged] == ["1"]
    assert [path for path, _ in _asked(graph.calls[1])] == ["52"]
    assert rows["2"]["body"] == rows["3"]["body"] == "B"


def test_where_all_is_known_no_creative_is_read(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [reply({"data": [_listed(1, "51")]})]
    assert _rows(client, known={("51", UPDATED)})[0] == {}
    assert len(graph.calls) == 1


def test_a_stored_row_takes_on_what_the_listing_says_now() -> None:
    names = META_AD_CREATIVES.column_names
    stored = dict.fromkeys(names, None) | {"ad_id": "1", "title": "Kept", "status": "ACTIVE"}
    ad = Ad("1", "New name", "2", "3", "PAUSED", "PAUSED", None, UPDATED, "50")
    found = dict(
        zip(names, refresh_row(list(stored.values()), ad, fetched_at=FETCHED), strict=True)
    )
    assert found["title"] == "Kept"
    assert (found["status"], found["ad_name"]) == ("PAUSED", "New name")
    assert found["fetched_at"] == FETCHED


def test_images_are_asked_for_by_fifty_hashes_and_those_of_others_stay_absent(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    hashes = [f"{n:032x}" for n in range(51)]
    image = {"hash": hashes[0], "url": "https://cdn/i", "width": 10, "height": 20}
    graph.replies = [reply({"data": [image]}), reply({"data": []})]
    found = fetch_image_addresses(client, "act_1", hashes)
    assert found == {hashes[0]: ImageAddress(hashes[0], "https://cdn/i", None, 10, 20, None, None)}
    assert [len(json.loads(call.params["hashes"])) for call in graph.calls] == [50, 1]


def test_a_video_gives_its_file_and_its_best_still(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    stills = [
        {"uri": "https://cdn/large", "width": 900},
        {"uri": "https://cdn/chosen", "width": 300, "is_preferred": True},
    ]
    body = {
        "id": "7",
        "source": "https://cdn/v.mp4",
        "length": 15.5,
        "title": "V",
        "status": {"video_status": "ready"},
        "picture": "https://cdn/small",
        "thumbnails": {"data": stills},
    }
    graph.replies = [reply(_items([body]))]
    found = fetch_video_addresses(client, "act_1", ["7"])
    assert found == {
        "7": VideoAddress("7", "https://cdn/v.mp4", "https://cdn/chosen", 15.5, "V", "ready")
    }


def test_videos_without_a_file_are_looked_for_in_the_account_and_else_keep_their_poster(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [
        reply(
            _items(
                [
                    {"id": "1", "picture": "https://cdn/p1"},
                    _error(10),
                    {"id": "3", "picture": "https://cdn/p3"},
                ]
            )
        ),
        reply({"data": [{"id": "2", "source": "https://cdn/2"}, {"id": "3", "title": "T"}]}),
    ]
    found = fetch_video_addresses(client, "act_1", ["1", "2", "3"])
    assert graph.calls[1].path == "act_1/advideos"
    assert (found["1"].source_url, found["1"].poster_url) == (None, "https://cdn/p1")
    assert found["1"].problem is not None
    assert (found["2"].source_url, found["2"].problem) == ("https://cdn/2", None)
    assert (found["3"].poster_url, found["3"].title) == ("https://cdn/p3", "T")


def test_a_closed_list_of_videos_leaves_the_first_reason(
    graph: Any, client: GraphClient, reply: Make, make_error: Make
) -> None:
    graph.replies = [reply(_items([_error(283)])), make_error(200)]
    found = fetch_video_addresses(client, "act_1", ["1"])
    assert found["1"].source_url is None
    assert "283" in (found["1"].problem or "")


def test_thumbnails_come_fresh_or_with_the_reason_why_not(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [reply(_items([{"thumbnail_url": "https://cdn/t"}, {}, _error(100, 33)]))]
    found = fetch_thumbnail_addresses(client, "act_1", ["1", "2", "3"])
    assert found["1"].url == "https://cdn/t"
    assert found["2"].problem == "Meta gives it no thumbnail"
    assert "100/33" in (found["3"].problem or "")
    assert _asked(graph.calls[0])[0][1]["thumbnail_width"] == "480"
