from typing import Any

import pytest

from pipeline_assets.sources.meta import creative_parsing as parsing


def _story(**parts: Any) -> dict[str, Any]:
    return {"object_story_spec": {"page_id": "1", **parts}}


def _button(**value: Any) -> dict[str, Any]:
    return {"type": "SHOP_NOW", "value": value}


SHOP = "https://shop.example/p"
CAROUSEL = _story(
    link_data={
        "link": SHOP,
        "child_attachments": [
            {"link": f"{SHOP}/1", "name": "One", "image_hash": "h1"},
            {"call_to_action": _button(link=f"{SHOP}/2"), "video_id": "v2", "image_hash": "h2"},
        ],
    }
)


def _cards(*cards: dict[str, Any]) -> dict[str, Any]:
    return _story(link_data={"link": SHOP, "child_attachments": list(cards)})


FORM_CARD = {"link": f"{SHOP}/form", "call_to_action": _button(lead_gen_form_id="9")}
APP_CARD = {"link": f"{SHOP}/app", "call_to_action": _button(app_link="app://x")}
FEED: dict[str, Any] = {
    "asset_feed_spec": {
        "titles": [{"text": "T1"}, {"text": "T2"}],
        "bodies": [{"text": "B1"}, {"text": "B2"}],
        "images": [{"hash": "h1"}, {"hash": "h2"}],
        "videos": [{"video_id": "v1"}],
        "link_urls": [{"website_url": f"{SHOP}/a"}, {"website_url": f"{SHOP}/b"}],
        "call_to_action_types": ["LEARN_MORE"],
    }
}


@pytest.mark.parametrize(
    ("creative", "expected"),
    [
        (_story(link_data={"link": SHOP}), [SHOP]),
        (_story(link_data={"call_to_action": _button(link=SHOP)}), [SHOP]),
        (
            _story(link_data={"link": SHOP, "call_to_action": _button(link=f"{SHOP}/x")}),
            [SHOP, f"{SHOP}/x"],
        ),
        (CAROUSEL, [SHOP, f"{SHOP}/1", f"{SHOP}/2"]),
        (_story(video_data={"call_to_action": _button(link=SHOP)}), [SHOP]),
        (_story(template_data={"link": SHOP}), [SHOP]),
        (_story(template_data={"call_to_action": _button(link=SHOP)}), [SHOP]),
        (FEED, [f"{SHOP}/a", f"{SHOP}/b"]),
        ({"template_url_spec": {"web": {"url": SHOP}}}, [SHOP]),
        ({"template_url": SHOP}, [SHOP]),
        ({"object_url": SHOP, "link_url": f"{SHOP}/l"}, [SHOP, f"{SHOP}/l"]),
        ({"effective_object_story_id": "1_2", "object_type": "STATUS"}, []),
        (_story(link_data={"link": "https://fb.me/", "call_to_action": _button()}), []),
        (
            _story(link_data={"link": SHOP, "call_to_action": _button(lead_gen_form_id="9")}),
            [],
        ),
        (_story(video_data={"call_to_action": _button(app_link="app://x", link=SHOP)}), []),
        (_cards({"link": f"{SHOP}/1"}, APP_CARD, FORM_CARD), [SHOP, f"{SHOP}/1"]),
        (_cards(FORM_CARD, APP_CARD), []),
        ({"object_url": "https://apps.apple.com/app/id1"}, []),
        ({"link_url": "https://[half"}, []),
        ({"link_url": "{{product.url}}"}, []),
        ({"object_story_spec": "not an object", "asset_feed_spec": None}, []),
    ],
)
def test_destinations_come_in_the_order_in_which_they_count(
    creative: dict[str, Any], expected: list[str]
) -> None:
    assert parsing.destination_urls(creative) == expected


@pytest.mark.parametrize(
    ("url", "tags", "expected"),
    [
        (SHOP, "utm_source=fb", f"{SHOP}?utm_source=fb"),
        (f"{SHOP}?a=1#top", "?utm_campaign={{campaign.id}}",
         f"{SHOP}?a=1&utm_campaign={{{{campaign.id}}}}#top"),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Fshop.example%2Fp%3Fa%3D1&h=AT0x", "b=2",
         f"{SHOP}?a=1&b=2"),
        ("https://evil.example/l.php?u=https%3A%2F%2Fshop.example%2Fp", "",
         "https://evil.example/l.php?u=https%3A%2F%2Fshop.example%2Fp"),
    ],
)  # fmt: skip
def test_tags_are_appended_and_shims_unwrapped(url: str, tags: str, expected: str) -> None:
    assert parsing.destination_urls({"link_url": url, "url_tags": tags}) == [expected]


@pytest.mark.parametrize(
    ("creative", "titles", "bodies"),
    [
        ({"title": "T", "body": "B"}, ["T"], ["B"]),
        (_story(link_data={"name": "T", "message": "B"}), ["T"], ["B"]),
        (_story(video_data={"title": "T", "message": "B"}), ["T"], ["B"]),
        (_story(template_data={"name": "T", "message": "B"}), ["T"], ["B"]),
        (_story(photo_data={"caption": "B"}), [], ["B"]),
        ({"title": "T2", "body": "B1"} | FEED, ["T2", "T1"], ["B1", "B2"]),
        (CAROUSEL, ["One"], []),
        ({}, [], []),
    ],
)
def test_texts_are_found_wherever_meta_keeps_them(
    creative: dict[str, Any], titles: list[str], bodies: list[str]
) -> None:
    assert parsing.titles(creative) == titles
    assert parsing.bodies(creative) == bodies


@pytest.mark.parametrize(
    ("creative", "media_type", "hashes", "videos"),
    [
        ({"image_hash": "h"}, "image", ["h"], []),
        ({"image_url": "https://x/i.jpg"}, "image", [], []),
        ({"object_type": "PHOTO"}, "image", [], []),
        (_story(photo_data={"image_hash": "h"}), "image", ["h"], []),
        ({"video_id": "v", "image_hash": "poster"}, "video", [], ["v"]),
        (_story(video_data={"video_id": "v", "image_hash": "poster"}), "video", [], ["v"]),
        ({"object_type": "VIDEO"}, "video", [], []),
        (CAROUSEL, "carousel", ["h1", "h2"], ["v2"]),
        (FEED, "video", ["h1", "h2"], ["v1"]),
        ({"asset_feed_spec": {"ad_formats": ["CAROUSEL_IMAGE"]}}, "carousel", [], []),
        ({"asset_feed_spec": {"ad_formats": ["COLLECTION"]}}, "collection", [], []),
        (_story(link_data={"collection_thumbnails": [{}]}), "collection", [], []),
        ({"product_set_id": "9"}, "carousel", [], []),
        (_story(template_data={"format_option": "single_image"}), "image", [], []),
        (_story(template_data={"format_option": "collection_video"}), "collection", [], []),
        ({"object_type": "POST_DELETED"}, "unknown", [], []),
    ],
)
def test_media_is_told_by_what_a_creative_is_made_of(
    creative: dict[str, Any], media_type: str, hashes: list[str], videos: list[str]
) -> None:
    assert parsing.media_type(creative) == media_type
    assert parsing.image_hashes(creative) == hashes
    assert parsing.video_ids(creative) == videos


@pytest.mark.parametrize(
    ("creative", "expected"),
    [
        ({"call_to_action_type": "BUY_NOW"} | FEED, "BUY_NOW"),
        (_story(video_data={"call_to_action": _button()}), "SHOP_NOW"),
        (FEED, "LEARN_MORE"),
        ({}, None),
    ],
)
def test_the_button_is_found(creative: dict[str, Any], expected: str | None) -> None:
    assert parsing.call_to_action(creative) == expected
