"""Nodes of the Graph with all their fields: what an ad account holds, its media and its page.

A node is a mapping of every field it has; `fields.project` cuts it down to what was asked. None is
a field without a value. Source: Meta Marketing API v26.0, references of the node types.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote

from pipeline_assets.simulator import cdn
from pipeline_assets.simulator.fields import Selection, cut, parse_fields, project
from pipeline_assets.simulator.insight_fields import ATTRIBUTION_SETTINGS, OBJECTIVES
from pipeline_assets.simulator.shops import landing_url
from pipeline_assets.simulator.world import (
    IMAGES_PER_CREATIVE,
    Account,
    Ad,
    AdKind,
    Creative,
    ObjectKind,
    TokenSpec,
)

Node = Mapping[str, Any]

DEFAULT_THUMBNAIL = (64, 64)
_LARGEST_THUMBNAIL = 1200
_CALLS_TO_ACTION = ("SHOP_NOW", "LEARN_MORE", "GET_OFFER")
_URL_TAGS = "utm_source=facebook&utm_campaign={{campaign.name}}&utm_content={{ad.id}}"


@dataclass(frozen=True)
class View:
    """Who is looking: when, from which address, with which thumbnails, with whose token.

    `check_story` is called before a creative's object_story_spec is shown and may refuse it.
    """

    base_url: str
    now: datetime
    cdn: cdn.Cdn
    check_story: Callable[[Creative], None]
    thumbnail: tuple[int, int] = DEFAULT_THUMBNAIL
    caller: TokenSpec | None = None

    def with_thumbnail(self, sizes: Mapping[str, str]) -> "View":
        """The same with the thumbnail size of these parameters or modifiers."""
        width, height = sizes.get("thumbnail_width", ""), sizes.get("thumbnail_height", "")
        if not width.isdecimal() and not height.isdecimal():
            return self
        either = width if width.isdecimal() else height
        size = (
            min(_LARGEST_THUMBNAIL, max(1, int(width if width.isdecimal() else either))),
            min(_LARGEST_THUMBNAIL, max(1, int(height if height.isdecimal() else either))),
        )
        return replace(self, thumbnail=size)

    def image(self, account: Account, index: int, size: tuple[int, int] | None = None) -> str:
        """A signed address of an image."""
        return self.cdn.image_url(self.base_url, account, index, now=self.now, size=size)


def graph_time(account: Account, day: date, *, minute: int = 0) -> str:
    """A moment of that day as Meta writes it: in the account's zone, offset without a colon."""
    moment = datetime.combine(day, time(9, minute % 60), tzinfo=account.zone)
    return moment.strftime("%Y-%m-%dT%H:%M:%S%z")


def _expand(node: Callable[[], Node], node_type: str) -> Callable[[Selection], Any]:
    """A field that is a node: only its id unless more is asked."""
    return lambda asked: project(asked, node(), node_type)


def account_node(account: Account, view: View) -> Node:
    """An ad account (docs: ad-account)."""
    offset = view.now.astimezone(account.zone).utcoffset() or timedelta()
    return {
        "id": account.id,
        "account_id": account.number,
        "name": account.spec.name,
        "account_status": 1,
        "currency": account.spec.currency,
        "timezone_name": account.spec.timezone,
        "timezone_offset_hours_utc": offset.total_seconds() / 3600,
        "amount_spent": "123456",
        "balance": "0",
        "business": {"id": f"90{account.number}", "name": account.spec.name.split()[0]},
        "created_time": graph_time(account, account.anchor - timedelta(days=1500)),
        "disable_reason": 0,
        "spend_cap": "0",
        "timezone_id": 1,
    }


def campaign_node(account: Account, index: int, view: View) -> Node:
    """A campaign (docs: ad-campaign-group)."""
    started = account.anchor - timedelta(days=account.spec.history_days)
    objective = OBJECTIVES[index % len(OBJECTIVES)][0]
    return {
        "id": account.object_id(ObjectKind.CAMPAIGN, index),
        "account": _expand(lambda: account_node(account, view), "AdAccount"),
        "account_id": account.number,
        "name": account.campaign_name(index),
        "objective": objective,
        "buying_type": "AUCTION",
        "status": "ACTIVE",
        "configured_status": "ACTIVE",
        "effective_status": "ACTIVE",
        "daily_budget": str(5000 + 500 * index),
        "created_time": graph_time(account, started),
        "updated_time": graph_time(account, started + timedelta(days=3)),
        "start_time": graph_time(account, started),
        "stop_time": None,
    }


def adset_node(account: Account, index: int, view: View) -> Node:
    """An ad set (docs: ad-campaign)."""
    campaign_index = index // 2
    started = account.anchor - timedelta(days=account.spec.history_days)
    setting = ATTRIBUTION_SETTINGS[index % len(ATTRIBUTION_SETTINGS)]
    return {
        "id": account.object_id(ObjectKind.ADSET, index),
        "account_id": account.number,
        "campaign_id": account.object_id(ObjectKind.CAMPAIGN, campaign_index),
        "campaign": _expand(lambda: campaign_node(account, campaign_index, view), "Campaign"),
        "name": account.adset_name(index),
        "status": "ACTIVE",
        "configured_status": "ACTIVE",
        "effective_status": "ACTIVE",
        "optimization_goal": OBJECTIVES[campaign_index % len(OBJECTIVES)][1],
        "billing_event": "IMPRESSIONS",
        "attribution_spec": _attribution_spec(setting),
        "targeting": {"geo_locations": {"countries": list(account.spec.countries)}},
        "created_time": graph_time(account, started),
        "updated_time": graph_time(account, started + timedelta(days=3)),
        "start_time": graph_time(account, started),
        "end_time": None,
        "daily_budget": None,
    }


def _attribution_spec(setting: str) -> list[dict[str, Any]]:
    words = setting.split("_")
    return [
        {"event_type": f"{kind.upper()}_THROUGH", "window_days": int(days[:-1])}
        for days, kind in zip(words[::2], words[1::2], strict=True)
    ]


def ad_node(ad: Ad, view: View) -> Node:
    """An ad (docs: adgroup)."""
    account = ad.account
    return {
        "id": ad.id,
        "account_id": account.number,
        "name": ad.name,
        "adset_id": account.object_id(ObjectKind.ADSET, ad.adset_index),
        "adset": _expand(lambda: adset_node(account, ad.adset_index, view), "AdSet"),
        "campaign_id": account.object_id(ObjectKind.CAMPAIGN, ad.campaign_index),
        "campaign": _expand(lambda: campaign_node(account, ad.campaign_index, view), "Campaign"),
        "status": ad.status,
        "configured_status": ad.status,
        "effective_status": ad.status,
        "created_time": graph_time(account, ad.starts, minute=ad.index),
        "updated_time": graph_time(account, ad.updated_date, minute=ad.index),
        "creative": _ad_creative(ad, view),
        "conversion_domain": account.spec.landing_host,
        "preview_shareable_link": f"https://fb.me/adspreview/{ad.id[-9:]}",
        "tracking_specs": None,
    }


def _ad_creative(ad: Ad, view: View) -> Callable[[Selection], Any]:
    def show(asked: Selection) -> dict[str, Any]:
        sized = view.with_thumbnail(asked.modifiers)
        return project(
            asked, creative_node(ad.account.creative(ad.creative_index), sized), "AdCreative"
        )

    return show


def creative_node(creative: Creative, view: View) -> Node:
    """A creative (docs: ad-creative); which texts and links it has depends on its kind."""
    account, image = creative.account, creative.image_indexes[0]
    is_post = creative.kind is AdKind.BOOSTED_POST
    is_single_image = creative.kind in {AdKind.IMAGE, AdKind.LEAD_FORM}
    is_video, is_dynamic = creative.kind is AdKind.VIDEO, creative.kind is AdKind.DYNAMIC
    return {
        **dict.fromkeys(_UNUSED_CREATIVE_FIELDS),
        "id": creative.id,
        "account_id": account.number,
        "name": f"{creative.products[0].name} {graph_time(account, account.anchor)[:10]}",
        "title": _headline(creative, 0) if is_single_image or is_video else None,
        "body": None if is_dynamic else _body(creative, 0),
        "status": "ACTIVE",
        "object_type": "VIDEO" if is_video else "STATUS" if is_post else "SHARE",
        "call_to_action_type": None if is_post or is_dynamic else _call_to_action(creative),
        "image_hash": account.image_hash(image) if is_single_image else None,
        "image_url": view.image(account, image) if is_single_image or is_video else None,
        "video_id": creative.video_id if is_video else None,
        "thumbnail_url": view.image(account, image, view.thumbnail),
        "thumbnail_id": None,
        "object_story_id": _story_id(creative) if is_post else None,
        "effective_object_story_id": _story_id(creative) if creative.has_post else None,
        "instagram_permalink_url": f"https://www.instagram.com/p/S{creative.id[-9:]}/",
        "instagram_user_id": f"17841{account.number:0>12}",
        "object_story_spec": lambda asked: _show_story(creative, view, asked),
        "asset_feed_spec": _asset_feed(creative, view) if is_dynamic else None,
        "url_tags": None if is_post or creative.kind is AdKind.LEAD_FORM else _URL_TAGS,
        "degrees_of_freedom_spec": {"creative_features_spec": {}},
    }


_UNUSED_CREATIVE_FIELDS = (
    "actor_id",
    "effective_instagram_media_id",
    "link_url",
    "object_id",
    "object_url",
    "product_set_id",
    "source_instagram_media_id",
    "template_url",
    "template_url_spec",
)


def _show_story(creative: Creative, view: View, asked: Selection) -> Any:
    view.check_story(creative)
    story = _story_spec(creative, view)
    return cut(story, asked) if story else None


def _story_spec(creative: Creative, view: View) -> dict[str, Any] | None:
    account = creative.account
    page = {"page_id": account.object_id(ObjectKind.PAGE, 0)}
    match creative.kind:
        case AdKind.BOOSTED_POST:
            return None
        case AdKind.VIDEO:
            return {**page, "video_data": _video_data(creative, view)}
        case AdKind.DYNAMIC:
            return page
        case _:
            return {**page, "link_data": _link_data(creative, view)}


def _video_data(creative: Creative, view: View) -> dict[str, Any]:
    link = _link(creative, 0, view)
    return {
        "video_id": creative.video_id,
        "title": _headline(creative, 0),
        "message": _body(creative, 0),
        "image_url": view.image(creative.account, creative.image_indexes[0]),
        "call_to_action": {"type": _call_to_action(creative), "value": {"link": link}},
    }


def _link_data(creative: Creative, view: View) -> dict[str, Any]:
    account = creative.account
    link = _link(creative, 0, view)
    data: dict[str, Any] = {
        "link": link,
        "name": _headline(creative, 0),
        "message": _body(creative, 0),
        "image_hash": account.image_hash(creative.image_indexes[0]),
        "call_to_action": {"type": _call_to_action(creative), "value": {"link": link}},
    }
    if creative.kind is AdKind.LEAD_FORM:
        form = account.object_id(ObjectKind.FORM, creative.index)
        data |= {
            "link": "http://fb.me/",
            "call_to_action": {"type": "SIGN_UP", "value": {"lead_gen_form_id": form}},
        }
    if creative.kind is AdKind.CAROUSEL:
        del data["image_hash"]
        data["child_attachments"] = [
            {
                "link": (card_link := _link(creative, place, view)),
                "name": creative.products[place].name,
                "image_hash": account.image_hash(image),
                "call_to_action": {"type": "SHOP_NOW", "value": {"link": card_link}},
            }
            for place, image in enumerate(creative.image_indexes)
        ]
    return data


def _asset_feed(creative: Creative, view: View) -> dict[str, Any]:
    account = creative.account
    return {
        "images": [{"hash": account.image_hash(image)} for image in creative.image_indexes],
        "videos": [
            {
                "video_id": creative.video_id,
                "thumbnail_url": view.image(account, creative.image_indexes[0]),
            }
        ],
        "titles": [{"text": _headline(creative, place)} for place in range(3)],
        "bodies": [{"text": _body(creative, place)} for place in range(3)],
        "link_urls": [
            {
                "website_url": _link(creative, place, view),
                "display_url": account.spec.landing_host,
            }
            for place in range(2)
        ],
        "call_to_action_types": [_call_to_action(creative)],
        "ad_formats": ["AUTOMATIC_FORMAT"],
    }


def _headline(creative: Creative, place: int) -> str:
    return _fill(creative, creative.hooks[place].headline)


def _body(creative: Creative, place: int) -> str:
    return _fill(creative, creative.hooks[place].body)


def _fill(creative: Creative, text: str) -> str:
    product, account = creative.products[0], creative.account
    price = f"{account.spec.currency} {cdn.price_of(account, product.price)}"
    return text.format(product=product.name, price=price)


def _link(creative: Creative, place: int, view: View) -> str:
    return landing_url(creative, place, base_url=view.base_url)


def _call_to_action(creative: Creative) -> str:
    if creative.kind is AdKind.LEAD_FORM:
        return "SIGN_UP"
    return _CALLS_TO_ACTION[creative.index % len(_CALLS_TO_ACTION)]


def _story_id(creative: Creative) -> str:
    account = creative.account
    page = account.object_id(ObjectKind.PAGE, 0)
    return f"{page}_{account.object_id(ObjectKind.POST, creative.index)}"


def image_node(account: Account, index: int, view: View) -> Node:
    """An image of the library (docs: ad-image); its id is account and hash."""
    width, height = cdn.image_size(index)
    hash_ = account.image_hash(index)
    return {
        "id": f"{account.number}:{hash_}",
        "account_id": account.number,
        "hash": hash_,
        "name": f"{hash_[:8]}.{cdn.image_extension(index)}",
        "status": "ACTIVE",
        "width": width,
        "height": height,
        "original_width": width,
        "original_height": height,
        "url": view.image(account, index),
        "url_128": view.image(account, index, (128, 128)),
        "permalink_url": f"https://www.facebook.com/ads/image/?d={hash_}",
        "created_time": graph_time(account, account.anchor - timedelta(days=60)),
        "updated_time": graph_time(account, account.anchor - timedelta(days=60)),
    }


def video_node(account: Account, index: int, view: View) -> Node:
    """A video (docs: video); `source` is missing, without an error, where rights are missing.

    Who calls with the page's token has them all.
    """
    poster = index * IMAGES_PER_CREATIVE
    width, height = cdn.image_size(poster)
    calls_as_page = view.caller is not None and view.caller.is_page
    has_source = calls_as_page or index not in account.sourceless_videos
    return {
        "id": account.object_id(ObjectKind.VIDEO, index),
        "title": _headline(account.creative(index), 0),
        "description": None,
        "length": account.video_seconds(index),
        "source": view.cdn.video_url(view.base_url, account, index, now=view.now)
        if has_source
        else None,
        "picture": view.image(account, poster),
        "permalink_url": f"/{account.object_id(ObjectKind.PAGE, 0)}/videos/{index}/",
        "created_time": graph_time(account, account.anchor - timedelta(days=60)),
        "updated_time": graph_time(account, account.anchor - timedelta(days=60)),
        "status": {"video_status": "ready"},
        "format": None,
        "thumbnails": {
            "data": [
                {
                    "id": f"{account.object_id(ObjectKind.VIDEO, index)}0",
                    "uri": view.image(account, poster),
                    "width": width,
                    "height": height,
                    "is_preferred": True,
                }
            ]
        },
    }


def page_node(account: Account, view: View) -> Node:
    """The account's page (docs: page), with the token for whoever asks."""
    assert view.caller is not None  # the graph lets nobody come here without
    name = account.spec.name.split()[0]
    return {
        "id": account.object_id(ObjectKind.PAGE, 0),
        "name": name,
        "category": "Shopping & retail",
        "link": f"https://www.facebook.com/{name}",
        "access_token": view.caller.of_page(account.id).value,
    }


def post_node(creative: Creative, view: View) -> Node:
    """A post of the page (docs: page-post); a video's attachment leads to itself."""
    account, link, id_ = creative.account, _link(creative, 0, view), _story_id(creative)
    permalink = f"https://www.facebook.com/{id_.replace('_', '/posts/')}"
    is_video = creative.kind is AdKind.VIDEO
    attachment = {
        "title": _headline(creative, 0),
        "type": "video_inline" if is_video else "share",
        "unshimmed_url": permalink if is_video else link,
        "url": permalink if is_video else f"https://l.facebook.com/l.php?u={quote(link, '')}&h=AT0",
    }
    return {
        "id": id_,
        "message": _body(creative, 0),
        "created_time": graph_time(account, account.anchor - timedelta(days=60)),
        "permalink_url": permalink,
        "attachments": {"data": [attachment]},
        "call_to_action": {"type": "SHOP_NOW", "value": {"link": link}},
    }


def read_selection(params: Mapping[str, str], *, default: str = "id") -> Selection:
    """What the `fields` parameter asks for; `default` when it is not given."""
    return parse_fields(params.get("fields") or default)
