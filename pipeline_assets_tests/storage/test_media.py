"""The media store: content names, whole objects only, nothing outside its root."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline_assets.errors import InvalidConfigError, StorageFullError
from pipeline_assets.storage.media import MediaStore, StoredMedia

DATA = b"\xff\xd8 not really a picture"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "file URL", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    urls = {
        "folder": str(tmp_path / "media"),
        "file URL": f"file://{tmp_path}/media",
        "memory": f"memory://{uuid4().hex}",
    }
    return MediaStore(urls[request.param])


def test_bytes_and_files_are_stored_under_their_hash(store: MediaStore, tmp_path: Path) -> None:
    assert not store.has(SHA256)
    assert store.put_bytes(DATA) == StoredMedia(sha256=SHA256, byte_count=len(DATA))
    assert store.has(SHA256)
    with store.open(SHA256) as file:
        assert file.read() == DATA
    source = tmp_path / "source.mp4"
    source.write_bytes(DATA * 200_000)
    stored = store.put_file(source)
    assert stored.byte_count == len(DATA) * 200_000
    with store.open(stored.sha256) as file:
        assert hashlib.sha256(file.read()).hexdigest() == stored.sha256
    assert source.exists()


def test_the_name_is_two_digits_and_the_hash(tmp_path: Path) -> None:
    MediaStore(str(tmp_path)).put_bytes(DATA)
    files = [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()]
    assert files == [f"{SHA256[:2]}/{SHA256}"]


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    store = MediaStore(str(tmp_path))
    store.put_bytes(DATA)
    before = (tmp_path / SHA256[:2] / SHA256).stat()
    assert store.put_bytes(DATA).sha256 == SHA256
    after = (tmp_path / SHA256[:2] / SHA256).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_is_not_there_is_not_found(store: MediaStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.open(SHA256)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../etc/passwd",
        "/etc/passwd",
        SHA256.upper(),
        SHA256[:-1],
        SHA256 + "\n",
        f"../{SHA256}",
    ],
)
def test_only_a_sha256_is_a_name(store: MediaStore, name: str) -> None:
    for use in (store.has, store.open):
        with pytest.raises(ValueError, match="is not a sha256"):
            use(name)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    store = MediaStore(str(tmp_path / "media"))
    source = tmp_path / "source"
    source.write_bytes(b"x" * 200_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageFullError, match="no room left"):
            store.put_bytes(b"x" * 100_000)
        with pytest.raises(StorageFullError, match="no room left"):
            store.put_file(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file for file in (tmp_path / "media").rglob("*") if file.is_file()] == []


def test_a_killed_writer_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    # The source is a pipe that never ends: the writer is killed amid the copy.
    os.mkfifo(tmp_path / "endless")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline_assets.storage.media import _publish_local\n"
        "def write(name):\n"
        "    with open(sys.argv[2], 'rb') as source, open(name, 'wb', 0) as target:\n"
        "        target.write(source.read(3))\n"
        "        source.read()\n"
        "_publish_local(Path(sys.argv[1]), write)\n"
    )
    final = tmp_path / "media" / "ab" / "final"
    writer = subprocess.Popen([sys.executable, "-c", script, final, tmp_path / "endless"])
    with (tmp_path / "endless").open("wb", buffering=0) as endless:
        endless.write(b"abc")
        while [file.stat().st_size for file in final.parent.glob(".incoming-*")] != [3]:
            time.sleep(0.005)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    assert not final.exists()


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="nowhere://x is not a place for media"):
        MediaStore("nowhere://x")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidConfigError, match="cannot be written"):
        MediaStore(str(tmp_path / "file")).put_bytes(DATA)
