"""A brand's stored pictures and videos, under the hash of their bytes: they never change."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from pipeline_assets.storage.ad_performance import find_media_type
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import ViewedBrand
from pipeline_assets.web.problems import not_found

router = APIRouter()

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN_TYPES = {"image/jpeg", "image/png", "image/webp", "image/gif", "video/mp4"}
_CHUNK_BYTES = 1 << 16


@router.get("/brands/{brand}/media/{sha256}", name="media")
def media(web: Web, brand: ViewedBrand, sha256: str) -> StreamingResponse:
    """The bytes, if they are this brand's.

    The bytes came from outside: they are shown as the picture or video that they were stored as,
    or else only handed over, and never run.
    """
    if not _SHA256.fullmatch(sha256):
        raise not_found("such picture")
    content_type = find_media_type(web.engine, brand.id, sha256)
    if content_type is None:
        raise not_found("such picture")
    try:
        file = web.installation.media.open(sha256)
    except FileNotFoundError:
        raise not_found("such picture") from None
    is_shown = content_type in _SHOWN_TYPES
    return StreamingResponse(
        _read(file),
        media_type=content_type if is_shown else "application/octet-stream",
        headers={
            "Cache-Control": "private, max-age=31536000, immutable",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": "inline" if is_shown else "attachment",
        },
    )


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
