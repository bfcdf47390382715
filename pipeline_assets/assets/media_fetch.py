"""Fetching the bytes behind many signed addresses into the media store, for any dataset.

An address that has expired is read again once, all of them together, before its item counts as bad.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_assets.assets.attempt import Attempt
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
    from pipeline_assets.clock import utcnow  # noqa: PLC0415
    from pipeline_assets.sources.media_files import (  # noqa: PLC0415
        MediaDownloader,
        MediaExpiredError,
        MediaLimits,
        signature_expires_at,
    )

    settings = attempt.installation.settings
    limits = MediaLimits(
        max_image_bytes=settings.max_image_bytes,
        max_video_bytes=settings.max_video_bytes,
        max_pixels=settings.max_media_pixels,
    )

    def is_expired(url: str) -> bool:
        expires_at = signature_expires_at(url)
        return expires_at is not None and expires_at <= utcnow()

    results: Fetched = {}
    usable = [item for item in items if item.url and not is_expired(item.url)]
    with (
        attempt.installation.public_http(attempt.brand) as http,
        MediaDownloader(http, limits=limits) as downloader,
    ):

        def download(batch: Sequence[MediaItem]) -> None:
            def fetch(item: MediaItem) -> StoredMedia:
                assert item.url is not None  # callers choose items that have one
                load = downloader.fetch_video if item.is_video else downloader.fetch_image
                with load(item.url) as file:
                    return _store(attempt, file)

            already = len(items) - len(batch)
            for item, result in downloader.download_all(
                batch,
                fetch,
                concurrency=settings.download_concurrency,
                on_progress=lambda done: attempt.heartbeat.progress(
                    already + done, len(items), "media fetched"
                ),
            ):
                results[item.key] = result

        download(usable)
        unread = [
            item
            for item in items
            if item.key not in results or isinstance(results[item.key], MediaExpiredError)
        ]
        addresses = refresh([item.key for item in unread]) if unread else {}
        again: list[MediaItem] = []
        for item in unread:
            address = addresses[item.key]
            if isinstance(address, str):
                again.append(MediaItem(item.key, item.is_video, address))
            else:
                results[item.key] = address
        download(again)
    return results


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
