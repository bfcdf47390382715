"""What a creative says and where it leads, from the many shapes that Meta keeps it in.

Pure functions on the creative as read. Belongs here: destinations, texts, media. Does not: calls.
Source: Meta Marketing API v26.0, "Ad Creative", "Object story spec" and "Asset feed spec".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

from pipeline_assets.sources.meta.graph_failures import Json

_SHIM_HOSTS = frozenset({"l.facebook.com", "lm.facebook.com", "l.instagram.com"})
_NO_PAGE_HOSTS = frozenset(
    {"fb.me", "m.me", "fb.com", "apps.apple.com", "itunes.apple.com", "play.google.com"}
)
"""Forms, Messenger, instant experiences and app shops: a click ends there, not on a page."""
_OWN_HOSTS = ("facebook.com", "instagram.com")
_STORY_ID = re.compile(r"(\d+)_\d+")
_STORY_PARTS = ("link_data", "video_data", "photo_data", "text_data", "template_data")

POST = "post"
"""Where a creative that boosts a post carries that post, once it has been read."""
POST_FIELDS = "message,attachments{title,unshimmed_url,url},call_to_action"


def story_id(creative: Json) -> str | None:
    """The post that the ad shows, `<page>_<post>`."""
    for name in ("effective_object_story_id", "object_story_id"):
        if page_of_story(found := _text(creative.get(name))):
            return found
    return None


def page_of_story(story: str | None) -> str | None:
    """The page part of `<page>_<post>`."""
    match = _STORY_ID.fullmatch(story or "")
    return match[1] if match else None


def page_id(creative: Json) -> str | None:
    """The page in whose name the ad speaks."""
    spec = _object(creative.get("object_story_spec"))
    return page_of_story(story_id(creative)) or _text(spec.get("page_id")) or None


def needs_post(creative: Json) -> bool:
    """Whether only its post can tell where a click leads."""
    return (
        story_id(creative) is not None
        and not _opens_form_or_app(creative)
        and next(_raw_destinations(creative), None) is None
    )


def destination_urls(creative: Json) -> list[str]:
    """Every web page a click can lead to, the main one first, with `url_tags` appended.

    Meta's click shims are unwrapped and macros (`{{ad.name}}`) stay as they are. Empty for lead
    forms, apps, Messenger and boosted posts that could not be read.
    """
    if _opens_form_or_app(creative):
        return []
    tags = _text(creative.get("url_tags"))
    urls = []
    for url in _raw_destinations(creative):
        page = _unwrap(url)
        if _is_web_page(page):
            urls.append(_append_tags(page, tags))
    return _unique(urls)


def _raw_destinations(creative: Json) -> Iterator[str]:
    """All addresses in the order in which they count."""
    story = _object(creative.get("object_story_spec"))
    link_data = _object(story.get("link_data"))
    template = _object(story.get("template_data"))
    feed = _object(creative.get("asset_feed_spec"))
    candidates = [
        *_link_and_action(link_data),
        *(
            url
            for child in _objects(link_data.get("child_attachments"))
            if not _is_form_or_app(_action_value(child))
            for url in _link_and_action(child)
        ),
        _action_value(_object(story.get("video_data"))).get("link"),
        *_link_and_action(template),
        *(each.get("website_url") for each in _objects(feed.get("link_urls"))),
        _object(_object(creative.get("template_url_spec")).get("web")).get("url"),
        creative.get("template_url"),
        creative.get("object_url"),
        creative.get("link_url"),
        *(_link_of(attachment) for attachment in _links_of_post(creative)),
        _action_value(_post(creative)).get("link"),
    ]
    return (url for url in candidates if isinstance(url, str) and url)


def _opens_form_or_app(creative: Json) -> bool:
    """Whether the button, or each card's, leads to a form or app: no link is a page's then."""
    story, feed = _story_and_feed(creative)
    values = [
        *(_action_value(part) for part in (*story.values(), _post(creative))),
        *(_object(each.get("value")) for each in _objects(feed.get("call_to_actions"))),
    ]
    cards = [_is_form_or_app(_action_value(card)) for card in _children(creative)]
    return any(map(_is_form_or_app, values)) or (bool(cards) and all(cards))


def _is_form_or_app(action_value: Json) -> bool:
    """Whether a click opens a lead form or an app: the link beside it is no page then."""
    return bool(action_value.get("lead_gen_form_id") or action_value.get("app_link"))


def _link_and_action(part: Json) -> tuple[object, object]:
    """The part's link and its button's."""
    return part.get("link"), _action_value(part).get("link")


def _action_value(part: Json) -> Json:
    return _object(_object(part.get("call_to_action")).get("value"))


def _post(creative: Json) -> Json:
    return _object(creative.get(POST))


def _links_of_post(creative: Json) -> list[Json]:
    """The attachments that lead somewhere: a photo's or video's leads to itself on Facebook."""
    attachments = _objects(_object(_post(creative).get("attachments")).get("data"))
    return [each for each in attachments if not _is_metas_own(_unwrap(_link_of(each)))]


def _link_of(attachment: Json) -> str:
    return _text(attachment.get("unshimmed_url")) or _text(attachment.get("url"))


def _is_metas_own(url: str) -> bool:
    parts = _split(url)
    host = (parts and parts.hostname) or ""
    return any(host == own or host.endswith(f".{own}") for own in _OWN_HOSTS)


def _unwrap(url: str) -> str:
    """The address behind one of Meta's click shims."""
    parts = _split(url)
    if parts is None or parts.hostname not in _SHIM_HOSTS:
        return url
    return parse_qs(parts.query).get("u", [url])[0]


def _is_web_page(url: str) -> bool:
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    return parts.hostname not in _NO_PAGE_HOSTS


def _split(url: str) -> SplitResult | None:
    """The address in parts; None for what is none, such as half an IPv6 address."""
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _append_tags(url: str, tags: str) -> str:
    tags = tags.lstrip("?&")
    if not tags:
        return url
    parts = urlsplit(url)
    query = f"{parts.query}&{tags}" if parts.query else tags
    return urlunsplit(parts._replace(query=query))


def titles(creative: Json) -> list[str]:
    """All headlines, the main one first; a boosted post's only where the creative has none."""
    story, feed = _story_and_feed(creative)
    own = _unique(
        [
            _text(creative.get("title")),
            _text(story.get("link_data", {}).get("name")),
            _text(story.get("video_data", {}).get("title")),
            _text(story.get("template_data", {}).get("name")),
            *(_text(each.get("text")) for each in _objects(feed.get("titles"))),
            *(_text(child.get("name")) for child in _children(creative)),
        ]
    )
    return own or _unique(_text(each.get("title")) for each in _links_of_post(creative))


def bodies(creative: Json) -> list[str]:
    """All primary texts, the main one first; a boosted post's only where the creative has none."""
    story, feed = _story_and_feed(creative)
    own = _unique(
        [
            _text(creative.get("body")),
            *(_text(story[name].get("message")) for name in _STORY_PARTS),
            _text(story["photo_data"].get("caption")),
            *(_text(each.get("text")) for each in _objects(feed.get("bodies"))),
        ]
    )
    return own or _unique([_text(_post(creative).get("message"))])


def call_to_action(creative: Json) -> str | None:
    """The button's type, such as SHOP_NOW."""
    story, feed = _story_and_feed(creative)
    candidates = [
        creative.get("call_to_action_type"),
        *(_object(story[name].get("call_to_action")).get("type") for name in _STORY_PARTS),
        *_list(feed.get("call_to_action_types")),
        _object(_post(creative).get("call_to_action")).get("type"),
    ]
    return next((each for each in candidates if isinstance(each, str) and each), None)


def image_hashes(creative: Json) -> list[str]:
    """Hashes of every image that is shown; a video's poster is not one of them."""
    story, feed = _story_and_feed(creative)
    found = [
        *(story[name].get("image_hash") for name in ("link_data", "photo_data", "template_data")),
        *(child.get("image_hash") for child in _children(creative)),
        *(each.get("hash") for each in _objects(feed.get("images"))),
    ]
    if not video_ids(creative):
        found.insert(0, creative.get("image_hash"))
    return _unique(_text(each) for each in found)


def video_ids(creative: Json) -> list[str]:
    """Ids of every video that is shown."""
    story, feed = _story_and_feed(creative)
    return _unique(
        [
            _text(creative.get("video_id")),
            _text(story["video_data"].get("video_id")),
            _text(story["link_data"].get("video_id")),
            *(_text(child.get("video_id")) for child in _children(creative)),
            *(_text(each.get("video_id")) for each in _objects(feed.get("videos"))),
        ]
    )


def media_type(creative: Json) -> str:
    """`image`, `video`, `carousel`, `collection` or `unknown`, by what it is made of."""
    if _is_collection(creative):
        return "collection"
    if _is_carousel(creative):
        return "carousel"
    if video_ids(creative) or creative.get("object_type") == "VIDEO":
        return "video"
    return "image" if _has_image(creative) else "unknown"


def _is_collection(creative: Json) -> bool:
    story, feed = _story_and_feed(creative)
    return (
        "COLLECTION" in _list(feed.get("ad_formats"))
        or _text(story["template_data"].get("format_option")).startswith("collection")
        or bool(story["link_data"].get("collection_thumbnails"))
    )


def _is_carousel(creative: Json) -> bool:
    """Cards, or a catalogue's products: those stand side by side unless one is asked for."""
    story, feed = _story_and_feed(creative)
    formats = _list(feed.get("ad_formats"))
    if len(_children(creative)) > 1 or any(str(each).startswith("CAROUSEL") for each in formats):
        return True
    from_catalogue = bool(story["template_data"] or creative.get("product_set_id"))
    return from_catalogue and not _shows_one_product(story["template_data"])


def _shows_one_product(template: Json) -> bool:
    return _text(template.get("format_option")).startswith("single")


def _has_image(creative: Json) -> bool:
    story, _ = _story_and_feed(creative)
    return bool(
        image_hashes(creative)
        or creative.get("image_url")
        or story["link_data"].get("picture")
        or creative.get("object_type") == "PHOTO"
        or _shows_one_product(story["template_data"])
    )


def _story_and_feed(creative: Json) -> tuple[dict[str, Json], Json]:
    """The story's parts, each an object even when absent, and the asset feed."""
    story = _object(creative.get("object_story_spec"))
    parts = {name: _object(story.get(name)) for name in _STORY_PARTS}
    return parts, _object(creative.get("asset_feed_spec"))


def _children(creative: Json) -> list[Json]:
    """The cards of a carousel, of the advertiser's own or of a template."""
    story = _object(creative.get("object_story_spec"))
    return [
        child
        for name in ("link_data", "template_data")
        for child in _objects(_object(story.get(name)).get("child_attachments"))
    ]


def _object(value: object) -> Json:
    return dict(value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: object) -> list[Json]:
    return [each for each in _list(value) if isinstance(each, dict)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _unique(texts: Iterable[str]) -> list[str]:
    """Those that are not empty, each once, in order."""
    return list(dict.fromkeys(text for text in texts if text))
