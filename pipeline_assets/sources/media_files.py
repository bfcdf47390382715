"""Downloads images and videos of ads into temporary files and proves that they are what they claim.

Belongs here: getting the bytes whole and in time, what kind of media they are, and what a CDN's
signed address says. Does not: where media is kept (`storage`), which media an ad has
(`sources.meta`). Nothing of an answer is believed: neither its Content-Type nor its length, and no
file is named after an address.

Source: addresses on fbcdn.net are signed (`oh`) and end at `oe`, a Unix time in hexadecimal; a late
or altered one answers 403 with a text such as "URL signature expired" (Meta's CDN, as observed).
"""

import errno
import hashlib
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self, TypeVar
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import av
from PIL import Image, UnidentifiedImageError

from pipeline_assets.errors import (
    CredentialError,
    DatabaseUnavailableError,
    InvalidConfigError,
    PermanentError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
    StorageFullError,
    TransientError,
)
from pipeline_assets.sources.public_http import PublicHttp, PublicResponse, shown_url

Item = TypeVar("Item")
Result = TypeVar("Result")

# A header that announces more pixels than Pillow thinks safe is an error, not a note on stderr. For
# the whole process, because switching warnings on and off around a call is not thread safe.
warnings.simplefilter("error", Image.DecompressionBombWarning)


class MediaExpiredError(TransientError):
    """The address is no longer signed for (403): read a new one from its source, once."""


class MediaGoneError(PermanentError):
    """Nothing is at the address any more (404, 410)."""


class MediaRefusedError(PermanentError):
    """The bytes are no image or video of an allowed kind, broken, or of an unreasonable size."""


class DownloadsStoppedError(TransientError):
    """The downloader was told to stop before this file was complete."""


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


@dataclass(frozen=True, kw_only=True)
class MediaFile:
    """A proven media file; leaving its `with` block removes it.

    `content_type` is image/jpeg, image/png, image/webp, image/gif, video/mp4 or video/quicktime, as
    the bytes say. Width and height are pixels as stored, before any rotation that a viewer applies;
    `duration_seconds` is empty for images and where a video does not tell.
    """

    path: Path
    sha256: str
    content_type: str
    byte_count: int
    width: int
    height: int
    duration_seconds: float | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Removes the temporary file, if it is still there."""
        self.path.unlink(missing_ok=True)


# ---- what a file is ----


@dataclass(frozen=True)
class _Facts:
    content_type: str
    width: int
    height: int
    duration_seconds: float | None = None


class _NotMediaError(Exception):
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


def _examine_image(path: Path, limits: MediaLimits) -> _Facts:
    """The facts of an image whose pixels could be decoded. Raises: _NotMediaError."""
    with _decoding("an image"):
        try:
            image = Image.open(path, formats=_IMAGE_FORMATS)  # reads no more than the header
        except UnidentifiedImageError:
            what = _what_it_is(path)
            raise _NotMediaError(f"is {what}, not a JPEG, PNG, WebP or GIF image") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise _NotMediaError(
                f"has more than the {limits.max_pixels:,} pixels accepted"
            ) from None
        with image:
            facts = _Facts(_IMAGE_TYPES[image.format or ""], image.width, image.height)
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


def _examine_video(path: Path, limits: MediaLimits) -> _Facts:
    """The facts of a video whose first frame could be decoded. Raises: _NotMediaError."""
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
            raise _NotMediaError("has no picture, only sound or data")
        stream = container.streams.video[0]
        _check_pixels(stream.width, stream.height, limits)
        stream.codec_context.options = options
        if next(container.decode(stream), None) is None:
            raise _NotMediaError("is a video without a frame")
        duration_seconds = container.duration / av.time_base if container.duration else None
        _check_duration(duration_seconds, limits)
        return _Facts(content_type, stream.width, stream.height, duration_seconds)


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Whatever a decoder raises within, about bytes from anywhere, means that they are refused."""
    try:
        yield
    except _NotMediaError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise nearly every built-in error
        reason = str(getattr(error, "strerror", None) or error)[:120]
        raise _NotMediaError(f"is {what} that cannot be decoded ({reason})") from None


def _check_duration(duration_seconds: float | None, limits: MediaLimits) -> None:
    if (duration_seconds or 0) > limits.max_duration_seconds:
        raise _NotMediaError(
            f"lasts {duration_seconds:,.0f} seconds, longer than the "
            f"{limits.max_duration_seconds:,.0f} accepted"
        )


def _check_pixels(width: int, height: int, limits: MediaLimits) -> None:
    if width <= 0 or height <= 0:  # also what the video decoder makes of too large a size
        raise _NotMediaError(
            f"has no readable size, or more than the {limits.max_pixels:,} pixels accepted"
        )
    if width * height > limits.max_pixels:
        raise _NotMediaError(
            f"has {width:,} x {height:,} pixels; up to {limits.max_pixels:,} in all are accepted"
        )


def _check_boxes(path: Path) -> str:
    """The content type of an MP4 or QuickTime file whose boxes are all there.

    A file cut off by a server that gave no length still decodes its first frame; its last box then
    reaches beyond its end. Source: ISO/IEC 14496-12, object structure. Raises: _NotMediaError.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        brand = head[8:12] if head[4:8] == b"ftyp" else b""
        if brand not in _MP4_BRANDS and brand != _QUICKTIME_BRAND:
            raise _NotMediaError(f"is {_what_it_is(path)}, not an MP4 or QuickTime video")
        offset = 0
        for _ in range(_MAX_BOXES):
            length = _box_length(file, offset, size)
            if length < 8 or offset + length > size:
                raise _NotMediaError(f"is a video cut off or broken at byte {offset:,}")
            offset += length
            if size - offset < 8:  # too short for a box: the end, or a writer's padding
                return "video/quicktime" if brand == _QUICKTIME_BRAND else "video/mp4"
    raise _NotMediaError(f"is a video of more than {_MAX_BOXES:,} boxes")


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


# ---- downloading ----


_FATAL_ERRORS = (StorageFullError, CredentialError, RateLimitedError, DatabaseUnavailableError)
"""Errors that every further file would meet as well, or that make things worse when ignored."""


class MediaDownloader:
    """Downloads media files, from many threads at once if wanted.

    A context manager: its temporary files lie in a folder of their own inside `folder` (the
    system's for temporary files if none is given), which is removed at the end with all that is
    still in it. Failures that may pass within seconds are tried again after `retry_pauses_seconds`.
    """

    def __init__(
        self,
        http: PublicHttp,
        *,
        folder: Path | None = None,
        limits: MediaLimits | None = None,
        retry_pauses_seconds: Sequence[float] = (0.5, 2),
    ) -> None:
        self._http = http
        self._folder = folder
        self._limits = limits or MediaLimits()
        self._retry_pauses_seconds = tuple(retry_pauses_seconds)
        self._stopped = threading.Event()
        self._own_folder: Path | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        try:
            folder = tempfile.TemporaryDirectory(prefix="media-", dir=self._folder)
        except OSError as error:
            raise _write_error(error) from error
        self._own_folder = Path(self._closing.enter_context(folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._closing.close()  # first the threads that still write, then their folder

    def fetch_image(self, url: str) -> MediaFile:
        """A JPEG, PNG, WebP or GIF image, decoded once to prove it.

        Raises: MediaExpiredError, MediaGoneError, MediaRefusedError, BodyTooLargeError,
        AddressRefusedError, SourceRejectedError, SourceUnavailableError, RateLimitedError,
        StorageFullError.
        """
        return self._fetch(url, self._limits.max_image_bytes, _examine_image)

    def fetch_video(self, url: str) -> MediaFile:
        """An MP4 or QuickTime video, its first frame decoded to prove it.

        Raises: as `fetch_image`.
        """
        return self._fetch(url, self._limits.max_video_bytes, _examine_video)

    def download_all(
        self,
        items: Iterable[Item],
        fetch: Callable[[Item], Result],
        *,
        concurrency: int,
        on_progress: Callable[[int], None],
    ) -> Iterator[tuple[Item, Result | PipelineError]]:
        """Each item with what `fetch` made of it, or with its error, as they come.

        `fetch` runs in `concurrency` threads and uses this downloader; no more items than that are
        taken ahead of the reader. `on_progress` gets the number of items done.

        Raises: what would hit all further items too (a full disk, a limit or a token of the source,
        the database) and bugs. Then, and when its reader stops early, downloads under way are
        broken off and the downloader is not usable again.
        """
        waiting = iter(items)
        running: dict[Future[Result], Item] = {}
        executor = ThreadPoolExecutor(concurrency, thread_name_prefix="media")
        self._closing.callback(executor.shutdown, cancel_futures=True)
        done_count = 0
        try:
            while True:
                for item in islice(waiting, concurrency - len(running)):
                    running[executor.submit(fetch, item)] = item
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                future = finished.pop()
                item = running.pop(future)
                outcome = _outcome(future)
                done_count += 1
                on_progress(done_count)
                yield item, outcome
        finally:
            if running:
                self._stopped.set()
            executor.shutdown(cancel_futures=True)

    def _fetch(
        self, url: str, max_bytes: int, examine: Callable[[Path, MediaLimits], _Facts]
    ) -> MediaFile:
        path = self._new_path()
        try:
            sha256, byte_count = self._download(url, path, max_bytes)
            facts = examine(path, self._limits)
        except _NotMediaError as refusal:
            path.unlink(missing_ok=True)
            raise MediaRefusedError(f"{shown_url(url)} {refusal}.") from None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return MediaFile(
            path=path,
            sha256=sha256,
            content_type=facts.content_type,
            byte_count=byte_count,
            width=facts.width,
            height=facts.height,
            duration_seconds=facts.duration_seconds,
        )

    def _new_path(self) -> Path:
        if self._own_folder is None:
            raise RuntimeError("a MediaDownloader is used inside its `with` block")
        try:
            with tempfile.NamedTemporaryFile(dir=self._own_folder, delete=False) as file:
                return Path(file.name)
        except OSError as error:
            raise _write_error(error) from error

    def _download(self, url: str, path: Path, max_bytes: int) -> tuple[str, int]:
        """Writes the whole body into `path`, with short retries: its sha256 and size."""
        deadline = time.monotonic() + self._limits.total_seconds
        for pause_seconds in self._retry_pauses_seconds:
            try:
                return self._download_once(url, path, max_bytes, deadline)
            except SourceUnavailableError:
                if time.monotonic() + pause_seconds >= deadline:
                    raise
                self._stopped.wait(pause_seconds)
        return self._download_once(url, path, max_bytes, deadline)

    def _download_once(
        self, url: str, path: Path, max_bytes: int, deadline: float
    ) -> tuple[str, int]:
        self._check_not_stopped(url)
        with self._http.open(url, total_seconds=deadline - time.monotonic()) as response:
            _check_status(response)
            digest, byte_count = hashlib.sha256(), 0
            with _writing(path) as write:
                for chunk in response.chunks(max_bytes=max_bytes):
                    self._check_not_stopped(url)
                    write(chunk)
                    digest.update(chunk)
                    byte_count += len(chunk)
        return digest.hexdigest(), byte_count

    def _check_not_stopped(self, url: str) -> None:
        if self._stopped.is_set():
            raise DownloadsStoppedError(f"{shown_url(url)} was not downloaded to its end.")


def _outcome(future: "Future[Result]") -> Result | PipelineError:
    """What an item came to. Raises: fatal errors and bugs."""
    try:
        return future.result()
    except _FATAL_ERRORS:
        raise
    except PipelineError as error:
        return error


def _check_status(response: PublicResponse) -> None:
    """Returns for 200; raises what any other status means for a media file."""
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    said = f"{shown_url(response.url)} answered {status}"
    if status == HTTPStatus.FORBIDDEN:
        raise MediaExpiredError(f"{said}: its signature has expired or does not fit.")
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise MediaGoneError(f"{said}: the file is no longer there.")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait_seconds = response.headers.get("Retry-After", "")
        raise RateLimitedError(
            f"{said}: too many requests.",
            retry_after_seconds=float(wait_seconds) if _DIGITS.fullmatch(wait_seconds) else None,
        )
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise SourceRejectedError(f"{said}.")
    raise SourceUnavailableError(f"{said}.")


_DIGITS = re.compile(r"[0-9]{1,6}")


@contextmanager
def _writing(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A function that writes to the file, emptied first; raises StorageFullError without room.

    Unbuffered, so that a full disk shows where the bytes are written and nowhere else.
    """
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise _write_error(error) from error
    with file:

        def write(chunk: bytes) -> None:
            try:
                left = memoryview(chunk)
                while left:
                    left = left[file.write(left) :]
            except OSError as error:
                raise _write_error(error) from error

        yield write


def _write_error(error: OSError) -> PipelineError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFullError(
            f"No room for temporary media files ({error.strerror}).",
            advice="Free some space on the disk of the folder for temporary files.",
        )
    return InvalidConfigError(
        f"Temporary media files cannot be written ({error}).",
        advice="Name a folder for temporary files that exists and may be written to.",
    )


# ---- what a signed address says ----

_SIGNED_BY = frozenset({"oe", "oh"})
_VOLATILE = frozenset({"oe", "oh", "stp", "ccb", "edm", "efg", "fbclid"})


def url_source_key(url: str) -> str:
    """What an address names, the same however often it is signed anew, on whatever host.

    Of a signed CDN address that is the path: its query holds signature, expiry, size (`stp`) and
    routing. Of any other, the path with its query less such parameters, in a fixed order.
    """
    try:
        parts = urlsplit(url)
        parameters = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return url  # no address at all: as it is, it names itself
    names = {name for name, _ in parameters}
    if names & _SIGNED_BY:
        return parts.path
    lasting = sorted(
        (name, value)
        for name, value in parameters
        if name not in _VOLATILE and not name.startswith("_nc_")
    )
    return f"{parts.path}?{urlencode(lasting)}" if lasting else parts.path


def signature_expires_at(url: str) -> datetime | None:
    """When a signed CDN address stops working; None when it does not say."""
    try:
        expiries = parse_qs(urlsplit(url).query).get("oe", [])
        return datetime.fromtimestamp(int(expiries[0], 16), UTC) if expiries else None
    except (ValueError, OverflowError, OSError):
        return None
