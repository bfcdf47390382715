"""Keeps media bytes under the hash of their content, in a folder or any place fsspec reaches.

The only names are `<first two digits>/<sha256>`: nothing that a source says becomes a path.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.redaction import redact
from pipeline_assets.storage.failures import disk_errors

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredMedia:
    """Bytes in the store: the name they have there, and their number."""

    sha256: str
    byte_count: int


class MediaStore:
    """A content-addressed store; `url` is a folder's path or an fsspec URL such as s3://bucket/x.

    An object is there whole or not at all, however a writer ends, and is never written twice.

    Raises: InvalidConfigError for a URL that fsspec cannot use or a folder closed to us;
    StorageFullError when there is no room.
    """

    def __init__(self, url: str) -> None:
        self._place = redact(url)
        try:
            self._filesystem, self._root = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise InvalidConfigError(
                f"{self._place} is not a place for media: {redact(str(error))}.",
                advice="Set PIPELINE_MEDIA_URL to a folder, or install what its kind of URL needs.",
            ) from error

    def put_file(self, path: Path) -> StoredMedia:
        """Store a file's bytes; the file itself stays where it is."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            stored = StoredMedia(sha256=sha256, byte_count=file.tell())
        self._publish(sha256, lambda name: self._filesystem.put_file(str(path), name))
        return stored

    def put_bytes(self, data: bytes) -> StoredMedia:
        """Store bytes."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._publish(sha256, lambda name: self._filesystem.pipe_file(name, data))
        return StoredMedia(sha256=sha256, byte_count=len(data))

    def has(self, sha256: str) -> bool:
        """Whether the store holds the bytes with this hash (64 lower-case hex digits)."""
        name = self._name(sha256)
        with disk_errors(self._place):
            return bool(self._filesystem.exists(name))

    def open(self, sha256: str) -> BinaryIO:
        """The stored bytes as a readable file, to be closed by the caller.

        Raises: FileNotFoundError when the store does not hold them.
        """
        name = self._name(sha256)
        with disk_errors(self._place):
            return cast("BinaryIO", self._filesystem.open(name, "rb"))

    def _name(self, sha256: str) -> str:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is not a sha256 in 64 lower-case hex digits")
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def _publish(self, sha256: str, write: Callable[[str], None]) -> None:
        if self.has(sha256):
            return
        name = self._name(sha256)
        with disk_errors(self._place):
            if isinstance(self._filesystem, LocalFileSystem):
                _publish_local(Path(name), write)
            else:
                write(name)  # an object store shows an upload when it is complete


def _publish_local(path: Path, write: Callable[[str], None]) -> None:
    """Write beside the final place, flush to the disk, rename: half a file is never seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_name(f".incoming-{uuid4().hex}")
    try:
        write(str(incoming))
        with incoming.open("rb") as file:
            os.fsync(file.fileno())
        incoming.replace(path)
    finally:
        incoming.unlink(missing_ok=True)
