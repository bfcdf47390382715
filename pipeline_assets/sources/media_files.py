"""Downloads images and videos of ads into temporary files that are what they claim to be.

Belongs here: getting the bytes whole and in time. Does not: what a file is
(`media_examination.py`), where media is kept (`storage`), which media an ad has (`sources.meta`).
Nothing of an answer is believed: neither its Content-Type nor its length, and no file is named
after an address.
"""

import errno
import hashlib
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

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
from pipeline_assets.sources.media_examination import (
    MediaFacts,
    MediaLimits,
    NotMediaError,
    examine_image,
    examine_video,
)
from pipeline_assets.sources.public_http import PublicHttp, PublicResponse, shown_url

Item = TypeVar("Item")
Result = TypeVar("Result")


class MediaExpiredError(TransientError):
    """The address is no longer signed for (403): read a new one from its source, once."""


class MediaGoneError(PermanentError):
    """Nothing is at the address any more (404, 410)."""


class MediaRefusedError(PermanentError):
    """The bytes are no image or video of an allowed kind, broken, or of an unreasonable size."""


class DownloadsStoppedError(TransientError):
    """The downloader was told to stop before this file was complete."""


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
        return self._fetch(url, self._limits.max_image_bytes, examine_image)

    def fetch_video(self, url: str) -> MediaFile:
        """An MP4 or QuickTime video, its first frame decoded to prove it.

        Raises: as `fetch_image`.
        """
        return self._fetch(url, self._limits.max_video_bytes, examine_video)

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
        self, url: str, max_bytes: int, examine: Callable[[Path, MediaLimits], MediaFacts]
    ) -> MediaFile:
        path = self._new_path()
        try:
            sha256, byte_count = self._download(url, path, max_bytes)
            facts = examine(path, self._limits)
        except NotMediaError as refusal:
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
