"""Fetching the bytes behind many signed addresses into the media store, for any dataset.

An address that has expired is read again once, all of them together, before its item counts as bad.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_assets.assets.attempt import Attempt
from pipeline_assets.clock import utcnow
from pipeline_assets.errors import PipelineError

if TYPE_CHECKING:
    from pipeline_assets.sources.media_files import MediaFile

ItemKey = tuple[str, str]
"""(media_type, id): what an item is called within its dataset."""


@dataclass(frozen=True)
class StoredMedia:
    """Bytes that are in the media store, and what they turned out to be."""

    sha256: str
    content_type: str
    byte_count: int
    width: int
    height: int
    duration_seconds: float | None


@dataclass(frozen=True)
class MediaItem:
    """One picture or video to fetch; `url` None: only `refresh` knows the address."""

    key: ItemKey
    is_video: bool
    url: str | None


Fetched = dict[ItemKey, StoredMedia | PipelineError]
Refresh = Callable[[Sequence[ItemKey]], Mapping[ItemKey, str | PipelineError]]


def fetch_media(attempt: Attempt, items: Sequence[MediaItem], *, refresh: Refresh) -> Fetched:
    """Fetch and store every item; each ends as `StoredMedia` or as the error that stopped it.

    `refresh(keys)` reads addresses anew from the source. Concurrent; progress is told.

    Raises:
        PipelineError: what stops all of them (full storage, a dead token, a limit).
    """
    from pipeline_assets.sources.media_files import MediaExpiredError  # noqa: PLC0415

    results: Fetched = {}
    _download(attempt, [item for item in items if _has_live_address(item)], results)
    unread = [
        item
        for item in items
        if isinstance(results.get(item.key), MediaExpiredError) or item.key not in results
    ]
    addresses = refresh([item.key for item in unread]) if unread else {}
    again: list[MediaItem] = []
    for item in unread:
        address = addresses[item.key]
        if isinstance(address, str):
            again.append(replace(item, url=address))
        else:
            results[item.key] = address
    _download(attempt, again, results)
    return results


def _has_live_address(item: MediaItem) -> bool:
    from pipeline_assets.sources.signed_urls import signature_expires_at  # noqa: PLC0415

    if not item.url:
        return False
    expires_at = signature_expires_at(item.url)
    return expires_at is None or expires_at > utcnow()


def _download(attempt: Attempt, items: Sequence[MediaItem], results: Fetched) -> None:
    """Put what became of each item, all of which have an address, into `results`."""
    from pipeline_assets.sources.media_examination import MediaLimits  # noqa: PLC0415
    from pipeline_assets.sources.media_files import MediaDownloader  # noqa: PLC0415

    settings = attempt.installation.settings
    limits = MediaLimits(
        max_image_bytes=settings.max_image_bytes,
        max_video_bytes=settings.max_video_bytes,
        max_pixels=settings.max_media_pixels,
    )
    with (
        attempt.installation.public_http(attempt.brand) as http,
        MediaDownloader(http, limits=limits) as downloader,
    ):

        def fetch(item: MediaItem) -> StoredMedia:
            assert item.url is not None  # the caller chose items that have one
            load = downloader.fetch_video if item.is_video else downloader.fetch_image
            with load(item.url) as file:
                return _store(attempt, file)

        for item, result in downloader.download_all(
            items,
            fetch,
            concurrency=settings.download_concurrency,
            on_progress=lambda done: attempt.heartbeat.progress(done, len(items), "media fetched"),
        ):
            results[item.key] = result


def _store(attempt: Attempt, file: MediaFile) -> StoredMedia:
    stored = attempt.installation.media.put_file(file.path)
    return StoredMedia(
        sha256=stored.sha256,
        content_type=file.content_type,
        byte_count=file.byte_count,
        width=file.width,
        height=file.height,
        duration_seconds=file.duration_seconds,
    )
