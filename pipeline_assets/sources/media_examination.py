"""What a file really is: images and videos are decoded, nothing is believed.

Belongs here: allowed kinds, caps on pixels and duration, proof that a file is whole. Does not:
where it came from (`media_files.py`).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
from PIL import Image, UnidentifiedImageError

# A header that announces more pixels than Pillow thinks safe is an error, not a note on stderr. For
# the whole process, because switching warnings on and off around a call is not thread safe.
warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True, kw_only=True)
class MediaLimits:
    """What a file may measure. The defaults are Meta's own limits for ads, rounded up.

    `max_pixels` (width x height) is far above any ad and below what fills a small machine's memory;
    Pillow itself refuses images above 89 million. `total_seconds` is for one file with its retries.
    """

    max_image_bytes: int = 30_000_000
    max_video_bytes: int = 500_000_000
    max_pixels: int = 50_000_000
    max_duration_seconds: float = 241 * 60
    total_seconds: float = 300


@dataclass(frozen=True)
class MediaFacts:
    """What an examined file is: its kind by its bytes, pixels as stored, seconds of a video."""

    content_type: str
    width: int
    height: int
    duration_seconds: float | None = None


class NotMediaError(Exception):
    """Why a file is refused, as the rest of a sentence that starts with its address."""


_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_IMAGE_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with a second picture behind the first, as phones write it
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_MAX_FRAMES = 1_000  # enough proof; a bomb has millions of tiny ones
_MP4_BRANDS = frozenset(
    {b"isom", b"mp41", b"mp42", b"mp4v", b"avc1", b"dash", b"MSNV", b"M4V ", b"M4VH", b"M4VP"}
    | {b"iso%d" % version for version in range(2, 10)}
)
_QUICKTIME_BRAND = b"qt  "
_MAX_BOXES = 100_000  # four hours in fragments of two seconds are 15,000; a bomb has millions


def examine_image(path: Path, limits: MediaLimits) -> MediaFacts:
    """The facts of an image whose pixels could be decoded. Raises: NotMediaError."""
    with _decoding("an image"):
        try:
            image = Image.open(path, formats=_IMAGE_FORMATS)  # reads no more than the header
        except UnidentifiedImageError:
            what = _what_it_is(path)
            raise NotMediaError(f"is {what}, not a JPEG, PNG, WebP or GIF image") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise NotMediaError(
                f"has more than the {limits.max_pixels:,} pixels accepted"
            ) from None
        with image:
            facts = MediaFacts(_IMAGE_TYPES[image.format or ""], image.width, image.height)
            _decode_frames(image, limits)
            return facts


def _decode_frames(image: Image.Image, limits: MediaLimits) -> None:
    """Decodes a picture, or an animation's frames until `max_pixels` have been in all."""
    pixels_left = limits.max_pixels
    for index in range(_MAX_FRAMES):
        try:
            image.seek(index)
        except EOFError:  # that was the last one
            return
        _check_pixels(image.width, image.height, limits)  # each: frames may differ in size
        pixels_left -= image.width * image.height
        if pixels_left < 0:
            return
        image.load()


def examine_video(path: Path, limits: MediaLimits) -> MediaFacts:
    """The facts of a video whose first frame could be decoded. Raises: NotMediaError."""
    content_type = _check_boxes(path)
    # The format is given, so that no playlist or script is recognised that would make the decoder
    # read other files or addresses. `max_pixels` holds for what the stream says as well, which may
    # differ from what its container says.
    options = {"protocol_whitelist": "file", "max_pixels": str(limits.max_pixels), "threads": "1"}
    with (
        _decoding("a video"),
        av.open(str(path), mode="r", format="mp4", options=options) as container,
    ):
        if not container.streams.video:
            raise NotMediaError("has no picture, only sound or data")
        stream = container.streams.video[0]
        _check_pixels(stream.width, stream.height, limits)
        stream.codec_context.options = options
        if next(container.decode(stream), None) is None:
            raise NotMediaError("is a video without a frame")
        duration_seconds = container.duration / av.time_base if container.duration else None
        _check_duration(duration_seconds, limits)
        return MediaFacts(content_type, stream.width, stream.height, duration_seconds)


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Whatever a decoder raises within, about bytes from anywhere, means that they are refused."""
    try:
        yield
    except NotMediaError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise nearly every built-in error
        reason = str(getattr(error, "strerror", None) or error)[:120]
        raise NotMediaError(f"is {what} that cannot be decoded ({reason})") from None


def _check_duration(duration_seconds: float | None, limits: MediaLimits) -> None:
    if (duration_seconds or 0) > limits.max_duration_seconds:
        raise NotMediaError(
            f"lasts {duration_seconds:,.0f} seconds, longer than the "
            f"{limits.max_duration_seconds:,.0f} accepted"
        )


def _check_pixels(width: int, height: int, limits: MediaLimits) -> None:
    if width <= 0 or height <= 0:  # also what the video decoder makes of too large a size
        raise NotMediaError(
            f"has no readable size, or more than the {limits.max_pixels:,} pixels accepted"
        )
    if width * height > limits.max_pixels:
        raise NotMediaError(
            f"has {width:,} x {height:,} pixels; up to {limits.max_pixels:,} in all are accepted"
        )


def _check_boxes(path: Path) -> str:
    """The content type of an MP4 or QuickTime file whose boxes are all there.

    A file cut off by a server that gave no length still decodes its first frame; its last box then
    reaches beyond its end. Source: ISO/IEC 14496-12, object structure. Raises: NotMediaError.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        brand = head[8:12] if head[4:8] == b"ftyp" else b""
        if brand not in _MP4_BRANDS and brand != _QUICKTIME_BRAND:
            raise NotMediaError(f"is {_what_it_is(path)}, not an MP4 or QuickTime video")
        offset = 0
        for _ in range(_MAX_BOXES):
            length = _box_length(file, offset, size)
            if length < 8 or offset + length > size:
                raise NotMediaError(f"is a video cut off or broken at byte {offset:,}")
            offset += length
            if size - offset < 8:  # too short for a box: the end, or a writer's padding
                return "video/quicktime" if brand == _QUICKTIME_BRAND else "video/mp4"
    raise NotMediaError(f"is a video of more than {_MAX_BOXES:,} boxes")


def _box_length(file: BinaryIO, offset: int, size: int) -> int:
    file.seek(offset)
    header = file.read(16)
    length = int.from_bytes(header[:4])
    if length == 0:  # to the file's end
        return size - offset
    if length == 1:  # a long box: the length follows the type
        return int.from_bytes(header[8:16])
    return length


def _what_it_is(path: Path) -> str:
    """A guess for people at what was sent instead of media."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "empty"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "an HTML, SVG or XML text"
    return "of an unknown kind"
