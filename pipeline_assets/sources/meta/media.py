"""Fresh addresses of images, videos and thumbnails; the bytes are fetched elsewhere.

The addresses are signed and live for days: ask right before downloading.
Source: Meta Marketing API v26.0, "Ad Image", "Ad Video", "Ad Creative".
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from pipeline_assets.errors import AccessError, SourceRejectedError
from pipeline_assets.sources.meta.batch import BATCH_SIZE, BatchRead, BatchResult, fetch_batched
from pipeline_assets.sources.meta.client import GraphClient
from pipeline_assets.sources.meta.creatives import THUMBNAIL_PIXELS, describe_failure
from pipeline_assets.sources.meta.graph_failures import Json
from pipeline_assets.sources.meta.pages import fetch_as_pages
from pipeline_assets.sources.meta.paging import PageSize, fetch_pages

_IMAGE_FIELDS = "hash,url,permalink_url,width,height,name,status"
_VIDEO_FIELDS = "source,picture,length,title,status,thumbnails{uri,width,height,is_preferred}"
_VIDEOS_AT_ONCE = 100
_NO_SOURCE = "Meta gives no file of this video: the token lacks rights on its page"

FindPageIds = Callable[[AbstractSet[str]], Mapping[str, str]]
"""From ids of videos to the ids of their pages, as far as they are known."""


@dataclass(frozen=True)
class ImageAddress:
    """Where an image is now; `permalink_url` lasts, `url` expires. Sizes in pixels."""

    hash: str
    url: str | None
    permalink_url: str | None
    width: int | None
    height: int | None
    name: str | None
    status: str | None


@dataclass(frozen=True)
class VideoAddress:
    """Where a video and its poster are now.

    `source_url` is None when only the poster can be had; `problem` says why. `status` is ready,
    processing or error.
    """

    video_id: str
    source_url: str | None
    poster_url: str | None
    length_seconds: float | None
    title: str | None
    status: str | None
    problem: str | None = None


@dataclass(frozen=True)
class ThumbnailAddress:
    """Where a creative's thumbnail is now; `problem` says why there is none."""

    creative_id: str
    url: str | None
    problem: str | None = None


def fetch_image_addresses(
    client: GraphClient, account_id: str, hashes: Sequence[str]
) -> dict[str, ImageAddress]:
    """By hash; an image of another account is not found and so absent."""
    found: dict[str, ImageAddress] = {}
    for start in range(0, len(hashes), BATCH_SIZE):
        pages = fetch_pages(
            client,
            f"{account_id}/adimages",
            {"hashes": list(hashes[start : start + BATCH_SIZE]), "fields": _IMAGE_FIELDS},
            page_size=PageSize(BATCH_SIZE),
            account_id=account_id,
        )
        for row in (row for rows in pages for row in rows):
            if "hash" in row:
                found[row["hash"]] = _image(row)
    return found


def fetch_video_addresses(
    client: GraphClient,
    account_id: str,
    video_ids: Sequence[str],
    *,
    find_page_ids: FindPageIds = lambda _: {},
) -> dict[str, VideoAddress]:
    """By id, every one that was asked for.

    A video that gives no file is asked for again with its page's token, then looked for in the
    account's list of videos; where that gives none either, the poster remains. `find_page_ids` is
    called with the videos without a file, if there are any.
    """
    reads = [BatchRead(each, each, {"fields": _VIDEO_FIELDS}) for each in video_ids]
    found = {
        result.item_id: _video_result(result)
        for result in fetch_batched(client, reads, account_id=account_id)
    }
    if lacking := _without_file(found):
        _improve(found, _fetch_as_pages(client, account_id, find_page_ids(lacking)))
        _improve(found, _find_in_account(client, account_id, _without_file(found)))
    return found


def _without_file(found: Mapping[str, VideoAddress]) -> set[str]:
    return {key for key, video in found.items() if video.source_url is None}


def _improve(found: dict[str, VideoAddress], again: Mapping[str, VideoAddress]) -> None:
    """Take over what a second chance gave; the first reason stands where it gave no file either."""
    for video_id, video in again.items():
        known = found[video_id]
        found[video_id] = replace(
            video,
            poster_url=video.poster_url or known.poster_url,
            problem=video.problem and known.problem,
        )


def fetch_thumbnail_addresses(
    client: GraphClient, account_id: str, creative_ids: Sequence[str]
) -> dict[str, ThumbnailAddress]:
    """By creative id, every one that was asked for."""
    params = {
        "fields": "thumbnail_url",
        "thumbnail_width": THUMBNAIL_PIXELS,
        "thumbnail_height": THUMBNAIL_PIXELS,
    }
    reads = [BatchRead(each, each, params) for each in creative_ids]
    return {
        result.item_id: _thumbnail(result)
        for result in fetch_batched(client, reads, account_id=account_id)
    }


def _fetch_as_pages(
    client: GraphClient, account_id: str, page_ids: Mapping[str, str]
) -> dict[str, VideoAddress]:
    """Those of the videos that their page lets us read."""
    reads = [
        (page_id, BatchRead(video_id, video_id, {"fields": _VIDEO_FIELDS}))
        for video_id, page_id in page_ids.items()
    ]
    return {
        result.item_id: _video(result.item_id, result.body)
        for result in fetch_as_pages(client, reads, account_id=account_id)
        if result.body is not None
    }


def _find_in_account(
    client: GraphClient, account_id: str, wanted: set[str]
) -> dict[str, VideoAddress]:
    """Those of the wanted videos that the account lists; reads on only while some are wanted."""
    found: dict[str, VideoAddress] = {}
    if not wanted:
        return found
    try:
        for rows in fetch_pages(
            client,
            f"{account_id}/advideos",
            {"fields": f"id,{_VIDEO_FIELDS}"},
            page_size=PageSize(_VIDEOS_AT_ONCE),
            account_id=account_id,
        ):
            found |= {row["id"]: _video(row["id"], row) for row in rows if row.get("id") in wanted}
            if len(found) == len(wanted):
                break
    except (AccessError, SourceRejectedError):
        pass  # the list is a second chance; the first answer's reason stands
    return found


def _image(row: Json) -> ImageAddress:
    return ImageAddress(
        hash=row["hash"],
        url=row.get("url"),
        permalink_url=row.get("permalink_url"),
        width=row.get("width"),
        height=row.get("height"),
        name=row.get("name"),
        status=row.get("status"),
    )


def _video_result(result: BatchResult) -> VideoAddress:
    if result.body is not None:
        return _video(result.item_id, result.body)
    assert result.failure is not None
    problem = describe_failure(result.failure, f"video {result.item_id}")
    return VideoAddress(result.item_id, None, None, None, None, None, problem)


def _video(video_id: str, row: Json) -> VideoAddress:
    source = row.get("source")
    status = row.get("status")
    return VideoAddress(
        video_id=video_id,
        source_url=source,
        poster_url=_poster(row),
        length_seconds=float(row["length"]) if "length" in row else None,
        title=row.get("title"),
        status=status.get("video_status") if isinstance(status, dict) else None,
        problem=None if source else _NO_SOURCE,
    )


def _poster(row: Json) -> str | None:
    """The preferred still, else the largest, else the small `picture`."""
    stills = [still for still in (row.get("thumbnails") or {}).get("data") or () if "uri" in still]
    best = max(
        stills,
        key=lambda still: (bool(still.get("is_preferred")), still.get("width") or 0),
        default=None,
    )
    return best["uri"] if best else row.get("picture")


def _thumbnail(result: BatchResult) -> ThumbnailAddress:
    if result.failure is not None:
        problem = describe_failure(result.failure, f"creative {result.item_id}")
        return ThumbnailAddress(result.item_id, None, problem)
    url = (result.body or {}).get("thumbnail_url")
    return ThumbnailAddress(result.item_id, url, None if url else "Meta gives it no thumbnail")
