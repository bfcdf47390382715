"""Ads and their creatives as rows of `meta_ad_creatives`: what is listed, what is read, what fails.

Belongs here: the calls and the row. Does not: what a creative's shape means (`creative_parsing`).
Source: Meta Marketing API v26.0, "Ad" and "Ad Creative".
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipeline_assets.errors import TransientError
from pipeline_assets.schemas import META_AD_CREATIVES
from pipeline_assets.sources.meta import creative_parsing
from pipeline_assets.sources.meta.ad_statuses import AD_STATUSES
from pipeline_assets.sources.meta.batch import BatchRead, BatchResult, fetch_batched
from pipeline_assets.sources.meta.client import GraphClient
from pipeline_assets.sources.meta.graph_failures import GraphFailure, Json, error_for
from pipeline_assets.sources.meta.pages import fetch_as_pages
from pipeline_assets.sources.meta.paging import PageSize, fetch_pages

Row = tuple[Any, ...]

THUMBNAIL_PIXELS = 480  # Meta's default of 64 is too small to tell anything
_ADS_AT_ONCE = 100  # two batches of creatives, so a chunk of rows stays small
_AD_FIELDS = (
    "id,name,adset_id,campaign_id,status,effective_status,created_time,updated_time,creative{id}"
)
_STORY_SPEC = "object_story_spec"
_CREATIVE_FIELDS = (
    "id",
    "name",
    "title",
    "body",
    "object_type",
    "call_to_action_type",
    "image_hash",
    "image_url",
    "video_id",
    "thumbnail_url",
    "object_story_id",
    "effective_object_story_id",
    "instagram_permalink_url",
    _STORY_SPEC,
    "asset_feed_spec",
    "link_url",
    "object_url",
    "template_url",
    "template_url_spec",
    "url_tags",
    "product_set_id",
)
_SPEC_TROUBLE = frozenset({(100, 2446211), (100, 1443048)})


@dataclass(frozen=True)
class Ad:
    """An ad as listed; `creative_id` is None when it shows none."""

    ad_id: str
    name: str | None
    adset_id: str | None
    campaign_id: str | None
    status: str | None
    effective_status: str | None
    created_at: datetime | None
    updated_at: datetime | None
    creative_id: str | None


@dataclass(frozen=True)
class CreativeRead:
    """A creative as Meta sent it, or in words why it, or its post, cannot be read."""

    creative_id: str
    body: Json | None
    error: str | None = None


@dataclass(frozen=True)
class CreativeChunk:
    """Rows of ads whose creatives were read, and the ads whose stored rows are still right."""

    rows: list[Row]
    unchanged: list[Ad]


def fetch_ads(client: GraphClient, account_id: str) -> Iterator[list[Ad]]:
    """Every ad of the account, archived and deleted ones too, in pages."""
    pages = fetch_pages(
        client,
        f"{account_id}/ads",
        {"fields": _AD_FIELDS, "effective_status": list(AD_STATUSES)},
        page_size=PageSize(_ADS_AT_ONCE),
        account_id=account_id,
    )
    for rows in pages:
        yield [_parse_ad(row) for row in rows]


def fetch_creatives(
    client: GraphClient, account_id: str, creative_ids: Sequence[str]
) -> Iterator[CreativeRead]:
    """Each creative once, in no particular order; one that cannot be read comes with its error.

    A creative whose story Meta itself finds invalid is read again without it. One that names no
    destination carries its post (`creative_parsing.POST`) where its page lets us read it.
    """
    boosted: list[CreativeRead] = []
    for creative in _fetch_creatives_alone(client, account_id, creative_ids):
        if creative.body and creative_parsing.needs_post(creative.body):
            boosted.append(creative)
        else:
            yield creative
    yield from _fetch_posts(client, account_id, boosted)


def _fetch_creatives_alone(
    client: GraphClient, account_id: str, creative_ids: Sequence[str]
) -> Iterator[CreativeRead]:
    broken: list[str] = []
    reads = [_creative_read(each, _CREATIVE_FIELDS) for each in creative_ids]
    for result in fetch_batched(client, reads, account_id=account_id):
        if result.failure and (result.failure.code, result.failure.subcode) in _SPEC_TROUBLE:
            broken.append(result.item_id)
        else:
            yield _as_creative(result)
    fields = [name for name in _CREATIVE_FIELDS if name != _STORY_SPEC]
    reads = [_creative_read(each, fields) for each in broken]
    for result in fetch_batched(client, reads, account_id=account_id):
        yield _as_creative(result)


def _fetch_posts(
    client: GraphClient, account_id: str, boosted: Sequence[CreativeRead]
) -> Iterator[CreativeRead]:
    """The creatives with their posts, each post read once."""
    story_of = {each.creative_id: creative_parsing.story_id(each.body or {}) for each in boosted}
    params = {"fields": creative_parsing.POST_FIELDS}
    reads = [
        (page_id, BatchRead(story_id, story_id, params))
        for story_id in dict.fromkeys(story_of.values())
        if story_id and (page_id := creative_parsing.page_of_story(story_id))
    ]
    posts = {
        result.item_id: result for result in fetch_as_pages(client, reads, account_id=account_id)
    }
    for creative in boosted:
        yield _with_post(creative, posts.get(story_of[creative.creative_id] or ""))


def _with_post(creative: CreativeRead, post: BatchResult | None) -> CreativeRead:
    """The creative with its post; a hiccup is its error, so that it is read again next time.

    A post that is closed to us is none: the row then has no destination.
    """
    if post is None:
        return creative
    if post.failure is None:
        return replace(creative, body={**(creative.body or {}), creative_parsing.POST: post.body})
    error = error_for(post.failure, subject=f"post {post.item_id}")
    return replace(creative, error=str(error)) if isinstance(error, TransientError) else creative


def fetch_creative_rows(
    client: GraphClient,
    account_id: str,
    *,
    brand_id: str,
    fetched_at: datetime,
    known: AbstractSet[tuple[str, datetime]] = frozenset(),
) -> Iterator[CreativeChunk]:
    """All ads of the account in chunks; `known` holds (creative_id, ad_updated_at) stored already.

    Ads that are known are not read again but come as `unchanged`: their status may still differ
    (see `refresh_row`), and the addresses in their stored rows grow old.
    """
    for ads in fetch_ads(client, account_id):
        unchanged = [
            ad
            for ad in ads
            if ad.creative_id and ad.updated_at and (ad.creative_id, ad.updated_at) in known
        ]
        skipped = {ad.ad_id for ad in unchanged}
        changed = [ad for ad in ads if ad.ad_id not in skipped]
        wanted = list(dict.fromkeys(ad.creative_id for ad in changed if ad.creative_id))
        reads = {each.creative_id: each for each in fetch_creatives(client, account_id, wanted)}
        rows = [
            creative_row(
                ad,
                reads.get(ad.creative_id or ""),
                brand_id=brand_id,
                account_id=account_id,
                fetched_at=fetched_at,
            )
            for ad in changed
        ]
        yield CreativeChunk(rows, unchanged)


def creative_row(
    ad: Ad,
    creative: CreativeRead | None,
    *,
    brand_id: str,
    account_id: str,
    fetched_at: datetime,
) -> Row:
    """The ad's row in the order of `META_AD_CREATIVES.columns`.

    `creative` is None for an ad without one; one that could not be read leaves its columns empty
    and its error in `error`.
    """
    values: dict[str, object] = dict.fromkeys(META_AD_CREATIVES.column_names)
    values.update(_ad_values(ad))
    values.update(brand_id=brand_id, ad_account_id=account_id, fetched_at=fetched_at)
    if creative is not None:
        values["error"] = creative.error
        values.update(_creative_values(creative.body) if creative.body else {})
    return tuple(values.values())


def refresh_row(stored_row: Sequence[object], ad: Ad, *, fetched_at: datetime) -> Row:
    """The stored row (in the schema's order) with what the listing says of the ad now."""
    values = dict(zip(META_AD_CREATIVES.column_names, stored_row, strict=True))
    values.update(_ad_values(ad))
    values["fetched_at"] = fetched_at
    return tuple(values.values())


def describe_failure(failure: GraphFailure, subject: str) -> str:
    """Why one item could not be read, for its `error` column."""
    return str(error_for(failure, subject=subject))


def _ad_values(ad: Ad) -> dict[str, object]:
    return {
        "ad_id": ad.ad_id,
        "ad_name": ad.name,
        "adset_id": ad.adset_id,
        "campaign_id": ad.campaign_id,
        "status": ad.status,
        "effective_status": ad.effective_status,
        "ad_created_at": ad.created_at,
        "ad_updated_at": ad.updated_at,
        "creative_id": ad.creative_id,
    }


def _creative_values(body: Json) -> dict[str, object]:
    titles = creative_parsing.titles(body)
    bodies = creative_parsing.bodies(body)
    urls = creative_parsing.destination_urls(body)
    return {
        "creative_name": body.get("name"),
        "object_type": body.get("object_type"),
        "media_type": creative_parsing.media_type(body),
        "title": titles[0] if titles else None,
        "body": bodies[0] if bodies else None,
        "titles": titles,
        "bodies": bodies,
        "call_to_action_type": creative_parsing.call_to_action(body),
        "destination_url": urls[0] if urls else None,
        "destination_urls": urls,
        "image_hashes": creative_parsing.image_hashes(body),
        "video_ids": creative_parsing.video_ids(body),
        "image_url": body.get("image_url"),
        "thumbnail_url": body.get("thumbnail_url"),
        "object_story_id": body.get("effective_object_story_id") or body.get("object_story_id"),
        "instagram_permalink_url": body.get("instagram_permalink_url"),
        "url_tags": body.get("url_tags"),
    }


def _creative_read(creative_id: str, fields: Sequence[str]) -> BatchRead:
    return BatchRead(
        creative_id,
        creative_id,
        {
            "fields": ",".join(fields),
            "thumbnail_width": THUMBNAIL_PIXELS,
            "thumbnail_height": THUMBNAIL_PIXELS,
        },
    )


def _as_creative(result: BatchResult) -> CreativeRead:
    if result.failure is None:
        return CreativeRead(result.item_id, result.body)
    error = describe_failure(result.failure, f"creative {result.item_id}")
    return CreativeRead(result.item_id, None, error)


def _parse_ad(row: Json) -> Ad:
    creative = row.get("creative")
    return Ad(
        ad_id=str(row["id"]),
        name=row.get("name"),
        adset_id=row.get("adset_id"),
        campaign_id=row.get("campaign_id"),
        status=row.get("status"),
        effective_status=row.get("effective_status"),
        created_at=_instant(row.get("created_time")),
        updated_at=_instant(row.get("updated_time")),
        creative_id=creative.get("id") if isinstance(creative, dict) else None,
    )


def _instant(value: object) -> datetime | None:
    """Meta's `2026-01-02T03:04:05-0500` in UTC."""
    return datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else None
