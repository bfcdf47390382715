"""The images and videos that a brand's creatives show."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from pipeline_assets.assets.attempt import Attempt, Outcome, dataset_asset
from pipeline_assets.assets.bad_items import BadItems
from pipeline_assets.assets.media_fetch import (
    Fetched,
    ItemKey,
    MediaItem,
    StoredMedia,
    fetch_media,
)
from pipeline_assets.assets.media_rows import (
    STORE_CHECK,
    Row,
    group_by_account,
    is_in_store,
    note_result,
    read_creatives,
    write_media_rows,
)
from pipeline_assets.errors import AccessError, PipelineError

if TYPE_CHECKING:
    from pipeline_assets.sources.meta import GraphClient

_IMAGE_HASH = re.compile(r"[0-9a-f]{32}")

POSTER_RETRY = timedelta(hours=24)
"""A video whose source Meta withholds is asked for again after this: rights change seldom."""


@dataset_asset("ad_assets", checks=(STORE_CHECK,))
def ad_assets(attempt: Attempt) -> Outcome:
    """Every image and video that a creative shows, as bytes in the media store.

    Source: Meta's image and video libraries and its CDN. What is stored is not fetched again. A
    video whose source Meta withholds, even from its page, is recorded as `poster_only`, with its
    poster.
    Check: every image and video is stored, but for one in twenty.
    """
    creatives = read_creatives(attempt)
    wanted = _wanted_media(creatives)
    stored = {
        (row["media_type"], row["media_id"]): row
        for row in attempt.read_rows()
        if _is_current(attempt, row)
    }
    missing = [key for key in wanted if key not in stored]
    library = _MediaLibrary(attempt, creatives, wanted)
    items = [MediaItem(key, is_video=key[0] == "video", url=None) for key in missing]
    fetched = fetch_media(attempt, items, refresh=library.read)
    posters = _fetch_posters(attempt, library, fetched)
    bad = BadItems("images and videos", total=len(wanted))
    rows: list[Row] = []
    for key, creative_ids in wanted.items():
        content = stored.get(key) or _media_row(attempt, key, fetched[key], posters.get(key), bad)
        rows.extend(
            {
                **content,
                "creative_id": creative_id,
                "ad_account_id": creatives[creative_id]["ad_account_id"],
                "fetched_at": attempt.started_at,
            }
            for creative_id in creative_ids
        )
    return write_media_rows(attempt, rows, bad, creatives, fetched)


class _MediaLibrary:
    """Reads the addresses of images by hash and of videos by id from Meta's libraries."""

    def __init__(
        self,
        attempt: Attempt,
        creatives: Mapping[str, Row],
        wanted: Mapping[ItemKey, Sequence[str]],
    ) -> None:
        self._attempt, self._creatives, self._wanted = attempt, creatives, wanted
        self.posters: dict[ItemKey, str | None] = {}
        self.withheld: dict[ItemKey, str] = {}

    def read(self, keys: Sequence[ItemKey]) -> dict[ItemKey, str | PipelineError]:
        """Addresses by key; a video without a source is noted in `withheld` as well."""
        images = [media_id for media_type, media_id in keys if media_type == "image"]
        videos = [media_id for media_type, media_id in keys if media_type == "video"]
        return {**self._read_images(images), **self._read_videos(videos)}

    def _read_images(self, hashes: Sequence[str]) -> dict[ItemKey, str | PipelineError]:
        from pipeline_assets.sources import meta  # noqa: PLC0415

        client = self._attempt.installation.graph_client(self._attempt.brand)
        found: dict[ItemKey, str | PipelineError] = {}
        for account_id, of_account in self._by_account("image", hashes).items():
            in_library = [media_id for media_id in of_account if _IMAGE_HASH.fullmatch(media_id)]
            answers = meta.fetch_image_addresses(client, account_id, in_library)
            for image_hash in of_account:
                key = ("image", image_hash)
                answer = answers.get(image_hash)
                found[key] = (answer.url if answer else None) or self._own_address(key)
        return found

    def _own_address(self, key: ItemKey) -> str | PipelineError:
        """The address on the creative itself: all there is for a picture of another account."""
        for creative_id in self._wanted[key]:
            if url := self._creatives[creative_id]["image_url"]:
                return str(url)
        return AccessError("The image is not in this ad account's library.")

    def _read_videos(self, video_ids: Sequence[str]) -> dict[ItemKey, str | PipelineError]:
        from pipeline_assets.sources import meta  # noqa: PLC0415

        client = self._attempt.installation.graph_client(self._attempt.brand)
        found: dict[ItemKey, str | PipelineError] = {}
        for account_id, of_account in self._by_account("video", video_ids).items():
            answers = meta.fetch_video_addresses(
                client,
                account_id,
                of_account,
                find_page_ids=partial(self._find_page_ids, client, account_id),
            )
            for video_id in of_account:
                key = ("video", video_id)
                answer = answers.get(video_id)
                problem = (answer and answer.problem) or "Meta names no source for the video."
                self.posters[key] = answer.poster_url if answer else None
                if answer and answer.source_url:
                    found[key] = answer.source_url
                else:
                    self.withheld[key] = problem
                    found[key] = AccessError(problem)
        return found

    def _find_page_ids(
        self, client: GraphClient, account_id: str, video_ids: Collection[str]
    ) -> dict[str, str]:
        """The page of each video: of a post that shows it, else of the first creative's."""
        from pipeline_assets.sources import meta  # noqa: PLC0415

        found: dict[str, str] = {}
        without_post: dict[str, str] = {}
        for video_id in video_ids:
            creative_ids = self._wanted["video", video_id]
            stories = (self._creatives[each]["object_story_id"] for each in creative_ids)
            if page_id := next(filter(None, map(meta.page_of_story, stories)), None):
                found[video_id] = page_id
            else:
                without_post[video_id] = creative_ids[0]
        asked = sorted(set(without_post.values()))
        pages = meta.fetch_page_ids(client, account_id, asked) if asked else {}
        return found | {v: pages[c] for v, c in without_post.items() if c in pages}

    def _by_account(self, media_type: str, ids: Iterable[str]) -> dict[str, list[str]]:
        first_creatives = {i: self._creatives[self._wanted[media_type, i][0]] for i in ids}
        return group_by_account(first_creatives, first_creatives)


def _fetch_posters(attempt: Attempt, library: _MediaLibrary, fetched: Fetched) -> Fetched:
    """Posters of the videos whose source is withheld, by the video's key."""
    items = [
        MediaItem(key, is_video=False, url=library.posters[key])
        for key in library.withheld
        if not isinstance(fetched[key], StoredMedia)
    ]

    def reread(keys: Sequence[ItemKey]) -> dict[ItemKey, str | PipelineError]:
        library.read(keys)
        nothing = AccessError("Meta names no poster either.")
        return {key: library.posters[key] or nothing for key in keys}

    return fetch_media(attempt, items, refresh=reread)


def _media_row(
    attempt: Attempt,
    key: ItemKey,
    result: StoredMedia | PipelineError,
    poster: StoredMedia | PipelineError | None,
    bad: BadItems,
) -> Row:
    row: Row = {
        **dict.fromkeys(attempt.schema.column_names),
        "brand_id": attempt.brand.id,
        "media_type": key[0],
        "media_id": key[1],
        "state": "failed",
    }
    if isinstance(poster, StoredMedia):
        row |= {
            "state": "poster_only",
            "poster_sha256": poster.sha256,
            "stored_at": attempt.started_at,
            "error": str(result),
        }
        return row
    note_result(attempt, row, result, bad, name=" ".join(key))
    if isinstance(result, StoredMedia):
        row["state"] = "stored"
    return row


def _wanted_media(creatives: Mapping[str, Row]) -> dict[ItemKey, list[str]]:
    """Every image and video, with the creatives that show it in the order of their ids.

    A boosted post's picture has no hash: the part of its address that names the file stands for it.
    """
    from pipeline_assets.sources.signed_urls import url_source_key  # noqa: PLC0415

    wanted: dict[ItemKey, list[str]] = {}
    for creative_id, creative in creatives.items():
        keys = [("image", image_hash) for image_hash in creative["image_hashes"] or ()]
        keys += [("video", video_id) for video_id in creative["video_ids"] or ()]
        if not keys and creative["image_url"]:
            keys = [("image", url_source_key(creative["image_url"]))]
        for key in dict.fromkeys(keys):
            wanted.setdefault(key, []).append(creative_id)
    return wanted


def _is_current(attempt: Attempt, row: Row) -> bool:
    if row["state"] == "stored":
        return is_in_store(attempt, row["sha256"])
    is_recent = row["stored_at"] and attempt.started_at - row["stored_at"] < POSTER_RETRY
    return row["state"] == "poster_only" and bool(is_recent)
