import hashlib
import io
import struct
import tempfile
import threading
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pipeline_assets.errors import (
    InvalidConfigError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
    StorageFullError,
)
from pipeline_assets.sources import media_files
from pipeline_assets.sources.media_examination import MediaLimits
from pipeline_assets.sources.media_files import (
    DownloadsStoppedError,
    MediaDownloader,
    MediaExpiredError,
    MediaGoneError,
    MediaRefusedError,
)
from pipeline_assets.sources.public_addresses import AddressRefusedError
from pipeline_assets.sources.public_http import BodyTooLargeError, PublicHttp
from pipeline_assets.sources.signed_urls import signature_expires_at, url_source_key

CUT_OFF_HEAD = b"HTTP/1.1 200 OK\r\n\r\n"  # neither a length nor chunks: the end is the end


def image_bytes(kind: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def animation_bytes(kind: str, frame_count: int) -> bytes:
    frames = [Image.new("RGB", (40, 30), (index * 9, 0, 0)) for index in range(frame_count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header claims a size and whose data is a bomb's start."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def video_bytes(
    kind: str = "mp4",
    *,
    size: tuple[int, int] = (64, 48),
    frame_count: int = 20,
    movflags: str = "+faststart",
) -> bytes:
    """Frames of a tenth of a second each; by default what is needed for playing comes first."""
    options = {"movflags": movflags} if kind in {"mp4", "mov"} else {}
    with tempfile.NamedTemporaryFile() as file:
        with av.open(file.name, "w", format=kind, options=options) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height = size
            for index in range(frame_count):
                picture = np.full((size[1], size[0], 3), index * 10 % 256, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(stream.encode())
        return Path(file.name).read_bytes()


def sound_bytes() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.fixture
def http(scripted_server):
    with PublicHttp(allow_private_hosts={scripted_server.host_and_port}) as http:
        yield http


@pytest.fixture
def downloads(http, tmp_path):
    """A downloader with small limits that never pauses; nothing may be left of it."""
    limits = MediaLimits(
        max_image_bytes=200_000, max_video_bytes=300_000, max_pixels=1_000_000, total_seconds=10
    )
    with MediaDownloader(
        http, folder=tmp_path, limits=limits, retry_pauses_seconds=(0, 0)
    ) as downloads:
        yield downloads
    assert list(tmp_path.iterdir()) == []


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# ---- what is accepted ----


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (image_bytes("JPEG"), "image/jpeg"),
        (image_bytes("JPEG", progressive=True), "image/jpeg"),
        (image_bytes("PNG"), "image/png"),
        (image_bytes("WEBP"), "image/webp"),
        (image_bytes("GIF"), "image/gif"),
        (animation_bytes("GIF", 5), "image/gif"),
        (animation_bytes("WEBP", 5), "image/webp"),
        (animation_bytes("PNG", 5), "image/png"),
        (animation_bytes("MPO", 2), "image/jpeg"),
    ],
)
def test_an_image_is_what_its_bytes_say(downloads, scripted_server, tmp_path, body, content_type):
    url = scripted_server.answers("/a.bmp", body, Content_Type="text/html")
    with downloads.fetch_image(url) as media:
        assert media.path.read_bytes() == body
        assert media.sha256 == hashlib.sha256(body).hexdigest()
        assert media.byte_count == len(body)
        assert (media.content_type, media.width, media.height) == (content_type, 40, 30)
        assert media.duration_seconds is None
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "content_type"), [("mp4", "video/mp4"), ("mov", "video/quicktime")]
)
def test_a_video_is_what_its_bytes_say(downloads, scripted_server, kind, content_type):
    body = video_bytes(kind)
    url = scripted_server.answers("/a", body, Content_Type="image/jpeg")
    with downloads.fetch_video(url) as media:
        assert media.sha256 == hashlib.sha256(body).hexdigest()
        assert (media.content_type, media.width, media.height) == (content_type, 64, 48)
        assert media.duration_seconds == pytest.approx(2.0, abs=0.05)
        assert media.byte_count == len(body)


@pytest.mark.parametrize("movflags", ["frag_keyframe+empty_moov", "+default_base_moof"])
def test_a_video_may_be_in_fragments_or_have_its_index_at_the_end(
    downloads, scripted_server, movflags
):
    url = scripted_server.answers("/a", video_bytes(movflags=movflags))
    with downloads.fetch_video(url) as media:
        assert (media.content_type, media.width, media.height) == ("video/mp4", 64, 48)


def test_no_file_is_named_after_an_address(downloads, scripted_server, tmp_path):
    path = "/..%2F..%2F..%2Fescaped/con.jpg;x/%00evil.exe"
    scripted_server.answers(path, image_bytes("PNG"), Content_Disposition="attachment; filename=x")
    with downloads.fetch_image(scripted_server.url(path)) as media:
        assert media.path.parent.parent == tmp_path
        assert media.path.suffix == ""
        for word in ("evil", "con", "escaped", "exe"):
            assert word not in media.path.name
        assert files_in(tmp_path) == [media.path]


# ---- what is refused ----

HTML = b"\n  <!DOCTYPE html><html><body>Log in to continue</body></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (HTML, "is an HTML, SVG or XML text, not a JPEG, PNG, WebP or GIF image"),
        (b"\xef\xbb\xbf" + HTML, "HTML"),
        (SVG, "SVG"),
        (b'<?xml version="1.0"?>' + SVG, "SVG"),
        (b"", "is empty"),
        (b"Bad URL hash", "is of an unknown kind"),
        (b'{"error": "no"}', "is of an unknown kind"),
        (b"GIF89a/*<script>*/=alert(1)//", "cannot be decoded|is of an unknown kind"),
        (b"\xff\xd8\xff\xe0<script>alert(1)</script>", "cannot be decoded|is of an unknown kind"),
        (b"\x89PNG\r\n\x1a\n<html>", "cannot be decoded|is of an unknown kind"),
        (b"RIFF\x10\0\0\0WEBPVP8 <script>", "cannot be decoded|is of an unknown kind"),
        (b"%PDF-1.7\n", "is of an unknown kind"),
        (image_bytes("BMP"), "is of an unknown kind"),
        (image_bytes("TIFF"), "is of an unknown kind"),
        (image_bytes("ICO"), "is of an unknown kind"),
        (video_bytes(), "is of an unknown kind"),
    ],
)
def test_what_is_no_image_is_refused_whatever_its_header_says(
    downloads, scripted_server, tmp_path, body, words
):
    url = scripted_server.answers("/a.jpg", body, Content_Type="image/jpeg")
    with pytest.raises(MediaRefusedError, match=words) as caught:
        downloads.fetch_image(f"{url}?oh=signature")
    assert str(caught.value).startswith(url)
    assert "signature" not in str(caught.value)
    assert "/tmp" not in str(caught.value)  # noqa: S108 - a text, not a place
    assert files_in(tmp_path) == []
    assert len(scripted_server.paths) == 1  # another try would change nothing


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_an_image_that_was_cut_off_without_a_length_is_refused(downloads, scripted_server, kind):
    body = image_bytes(kind, (400, 300))
    for share in (0.3, 0.6, 0.9):
        answer = CUT_OFF_HEAD + body[: int(len(body) * share)]
        url = scripted_server.script("/a", lambda sock, answer=answer: sock.sendall(answer))
        with pytest.raises(MediaRefusedError, match="cannot be decoded"):
            downloads.fetch_image(url)


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (1001, 1000, "has 1,001 x 1,000 pixels; up to 1,000,000 in all are accepted"),
        (10_000, 10_000, "pixels"),  # above what Pillow warns of
        (40_000, 40_000, "pixels"),  # above what Pillow refuses
        (2**31 - 1, 2**31 - 1, "pixels"),
        (0, 10, "pixels|is of an unknown kind"),
    ],
)
def test_an_image_of_too_many_pixels_is_refused_by_its_header(
    downloads, scripted_server, width, height, words
):
    body = png_claiming(width, height)
    assert len(body) < 1000
    with pytest.raises(MediaRefusedError, match=words):
        downloads.fetch_image(scripted_server.answers("/a", body))


def test_an_image_of_just_the_accepted_pixels_is_decoded(downloads, scripted_server):
    url = scripted_server.answers("/a", image_bytes("PNG", (1000, 1000)))
    with downloads.fetch_image(url) as media:
        assert media.width * media.height == 1_000_000


def test_a_later_frame_of_too_many_pixels_is_refused_before_it_is_decoded(
    downloads, scripted_server
):
    small, big = Image.new("RGB", (40, 30)), Image.new("RGB", (1001, 1000))
    buffer = io.BytesIO()
    small.save(buffer, "MPO", save_all=True, append_images=[big])
    with pytest.raises(MediaRefusedError, match="has 1,001 x 1,000 pixels"):
        downloads.fetch_image(scripted_server.answers("/a", buffer.getvalue()))


@pytest.mark.parametrize(("good_count", "accepted"), [(999, False), (1000, True)])
def test_of_an_animation_of_countless_frames_a_thousand_are_decoded(
    downloads, scripted_server, good_count, accepted
):
    head = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff"
    frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x4c\x01\0"
    too_large = frame.replace(b"\x01\0\x01\0", b"\xff\x7f\xff\x7f")
    body = head + frame * good_count + too_large + b"\x3b"
    url = scripted_server.answers("/a", body)
    if accepted:
        assert downloads.fetch_image(url).width == 1
    else:
        with pytest.raises(MediaRefusedError, match="pixels"):
            downloads.fetch_image(url)


def test_the_frames_of_an_animation_are_decoded_until_the_pixels_are_used_up(
    http, scripted_server, tmp_path
):
    body = animation_bytes("GIF", 20)
    broken_at_its_end = body[:-200] + b"\xff" * 200
    url = scripted_server.answers("/a", broken_at_its_end)
    generous = MediaLimits(max_pixels=40 * 30 * 20)
    with (
        MediaDownloader(http, folder=tmp_path, limits=generous) as downloads,
        pytest.raises(MediaRefusedError, match="cannot be decoded"),
    ):
        downloads.fetch_image(url)
    sparing = MediaLimits(max_pixels=40 * 30 * 5)
    with MediaDownloader(http, folder=tmp_path, limits=sparing) as downloads:
        assert downloads.fetch_image(url).content_type == "image/gif"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (HTML, "is an HTML, SVG or XML text, not an MP4 or QuickTime video"),
        (b"", "is empty"),
        (image_bytes("JPEG"), "is of an unknown kind"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "is of an unknown kind"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "is of an unknown kind"),
        (video_bytes("matroska"), "is of an unknown kind"),
        (video_bytes("avi"), "is of an unknown kind"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 12, "is of an unknown kind"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 12, "cannot be decoded"),
        (b"\0\0\0\x18ftypisom#EXTM3U\nfile:", "cannot be decoded"),
        (video_bytes().replace(b"moov", b"none"), "cannot be decoded"),
        (video_bytes().replace(b"stsd", b"free"), "cannot be decoded|no picture"),
        (sound_bytes(), "has no picture"),
        (video_bytes(size=(1200, 1000), frame_count=1), "more than the 1,000,000 pixels"),
    ],
)
def test_what_is_no_video_is_refused_whatever_its_header_says(
    downloads, scripted_server, tmp_path, body, words
):
    url = scripted_server.answers("/a.mp4", body, Content_Type="video/mp4")
    with pytest.raises(MediaRefusedError, match=words):
        downloads.fetch_video(url)
    assert files_in(tmp_path) == []


def test_a_video_of_countless_boxes_is_refused(http, scripted_server, tmp_path):
    body = b"\0\0\0\x18ftypisom" + b"\0" * 12 + b"\0\0\0\x08free" * 110_000
    url = scripted_server.answers("/a", body)
    with (
        MediaDownloader(http, folder=tmp_path) as downloads,
        pytest.raises(MediaRefusedError, match="more than 100,000 boxes"),
    ):
        downloads.fetch_video(url)


@pytest.mark.parametrize("missing_count", [1, 100, 2000])
def test_a_video_that_was_cut_off_without_a_length_is_refused(
    downloads, scripted_server, missing_count
):
    answer = CUT_OFF_HEAD + video_bytes(frame_count=200)[:-missing_count]
    url = scripted_server.script("/a", lambda sock: sock.sendall(answer))
    with pytest.raises(MediaRefusedError, match="cut off or broken"):
        downloads.fetch_video(url)


def test_a_video_that_claims_fewer_pixels_than_its_stream_has_is_not_decoded(
    downloads, scripted_server
):
    body = video_bytes(size=(1200, 1000), frame_count=1)
    size, claimed = struct.pack(">HH", 1200, 1000), struct.pack(">HH", 64, 48)
    assert body.count(size) == 1
    with pytest.raises(MediaRefusedError):
        downloads.fetch_video(scripted_server.answers("/a", body.replace(size, claimed)))


@pytest.mark.parametrize(("max_seconds", "accepted"), [(1.9, False), (2.1, True)])
def test_a_video_may_last_as_long_as_the_limit(
    http, scripted_server, tmp_path, max_seconds, accepted
):
    url = scripted_server.answers("/a", video_bytes())
    limits = MediaLimits(max_duration_seconds=max_seconds)
    with MediaDownloader(http, folder=tmp_path, limits=limits) as downloads:
        if accepted:
            assert downloads.fetch_video(url).duration_seconds == pytest.approx(2.0, abs=0.05)
        else:
            with pytest.raises(MediaRefusedError, match="lasts 2 seconds"):
                downloads.fetch_video(url)


# ---- answers other than a whole file ----


@pytest.mark.parametrize(
    ("status", "error", "try_count"),
    [
        (403, MediaExpiredError, 1),
        (404, MediaGoneError, 1),
        (410, MediaGoneError, 1),
        (400, SourceRejectedError, 1),
        (204, SourceUnavailableError, 3),
        (500, SourceUnavailableError, 3),
        (503, SourceUnavailableError, 3),
    ],
)
def test_each_status_says_what_to_do(downloads, scripted_server, status, error, try_count):
    url = scripted_server.answers("/a", b"" if status == 204 else b"URL signature expired", status)
    with pytest.raises(error, match=f"/a answered {status}") as caught:
        downloads.fetch_image(f"{url}?oh=signature")
    assert type(caught.value) is error
    assert len(scripted_server.paths) == try_count


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("soon", None), ("-1", None)])
def test_a_rate_limit_carries_its_wait(downloads, scripted_server, header, seconds):
    url = scripted_server.answers("/a", b"", 429, Retry_After=header)
    with pytest.raises(RateLimitedError) as caught:
        downloads.fetch_image(url)
    assert caught.value.retry_after_seconds == seconds


def test_a_blip_is_over_with_the_next_try_and_leaves_nothing_in_the_file(
    downloads, scripted_server
):
    body = image_bytes("PNG")
    cut_off = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"x" * 5000
    url = scripted_server.script(
        "/a",
        lambda sock: sock.sendall(cut_off),
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
    )
    with downloads.fetch_image(url) as media:
        assert media.path.read_bytes() == body
        assert media.byte_count == len(body)
    assert len(scripted_server.paths) == 3


def test_a_body_shorter_than_its_length_is_no_file(downloads, scripted_server, tmp_path):
    body = image_bytes("JPEG")
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1) + body
    url = scripted_server.script("/a", lambda sock: sock.sendall(answer))
    with pytest.raises(SourceUnavailableError, match="broke off"):
        downloads.fetch_image(url)
    assert len(scripted_server.paths) == 3
    assert files_in(tmp_path) == []


def test_an_endless_body_is_cut_at_the_limit_of_its_kind(downloads, scripted_server, tmp_path):
    url = scripted_server.script("/a", scripted_server.trickle(CUT_OFF_HEAD, b"x" * 50_000))
    with pytest.raises(BodyTooLargeError, match="200,000 bytes"):
        downloads.fetch_image(url)
    with pytest.raises(BodyTooLargeError, match="300,000 bytes"):
        downloads.fetch_video(url)
    assert files_in(tmp_path) == []


def test_a_trickle_ends_with_the_time_of_the_file_and_is_not_tried_again(
    http, scripted_server, tmp_path
):
    url = scripted_server.script("/a", scripted_server.trickle(CUT_OFF_HEAD, b"x"))
    limits = MediaLimits(total_seconds=0.3)
    started = time.monotonic()
    with (
        MediaDownloader(http, folder=tmp_path, limits=limits) as downloads,
        pytest.raises(SourceUnavailableError, match="too slowly"),
    ):
        downloads.fetch_image(url)
    assert time.monotonic() - started < 2
    assert len(scripted_server.paths) == 1


def test_media_is_only_read_from_public_addresses(downloads, scripted_server):
    for url in (
        "http://169.254.169.254/latest",
        scripted_server.answers("/a", b"", 302, Location="http://[::1]/"),
    ):
        with pytest.raises(AddressRefusedError):
            downloads.fetch_image(url)


def test_a_full_disk_is_told_as_such():
    full_device = Path("/dev/full")
    with (
        pytest.raises(StorageFullError, match="No room"),
        media_files._writing(full_device) as write,
    ):
        write(b"bytes")


def test_a_folder_that_is_not_there_is_an_error_of_the_configuration(http, tmp_path):
    with (
        pytest.raises(InvalidConfigError, match="cannot be written"),
        MediaDownloader(http, folder=tmp_path / "missing"),
    ):
        pass


def test_files_left_behind_go_with_their_downloader(http, scripted_server, tmp_path):
    url = scripted_server.answers("/a", image_bytes("PNG"))
    with MediaDownloader(http, folder=tmp_path) as downloads:
        media = downloads.fetch_image(url)
        assert media.path.exists()
    assert list(tmp_path.iterdir()) == []
    media.remove()


# ---- many files ----


def test_every_item_comes_with_its_file_or_its_error(downloads, scripted_server):
    bodies = {f"/{number}": image_bytes("PNG", (10 + number, 10)) for number in range(20)}
    urls = [scripted_server.answers(path, body) for path, body in bodies.items()]
    urls += [
        scripted_server.answers("/expired", b"", 403),
        scripted_server.answers("/html", HTML),
        scripted_server.answers("/gone", b"", 404),
    ]
    progress: list[int] = []
    outcomes = dict(
        downloads.download_all(
            urls, downloads.fetch_image, concurrency=4, on_progress=progress.append
        )
    )
    assert progress == list(range(1, 24))
    for path, body in bodies.items():
        assert outcomes[scripted_server.url(path)].sha256 == hashlib.sha256(body).hexdigest()
    assert isinstance(outcomes[scripted_server.url("/expired")], MediaExpiredError)
    assert isinstance(outcomes[scripted_server.url("/html")], MediaRefusedError)
    assert isinstance(outcomes[scripted_server.url("/gone")], MediaGoneError)


def test_no_more_items_are_taken_than_the_reader_has_room_for(downloads):
    taken: list[int] = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    outcomes = downloads.download_all(
        items(), lambda number: number, concurrency=3, on_progress=lambda _: None
    )
    assert taken == []
    for read_count, _ in enumerate(outcomes, 1):
        assert len(taken) <= read_count + 3 - 1
    assert len(taken) == 50


def test_a_full_disk_ends_all_downloads_at_once(http, scripted_server, tmp_path):
    slow = scripted_server.script("/slow", scripted_server.trickle(CUT_OFF_HEAD, b"x"))
    stopped: list[BaseException] = []
    under_way = threading.Barrier(4)
    taken: list[str] = []

    def fetch(url: str) -> None:
        taken.append(url)
        under_way.wait(5)
        if url == "full":
            raise StorageFullError("No room.")
        try:
            downloads.fetch_image(url)
        except DownloadsStoppedError as error:
            stopped.append(error)
            raise

    started = time.monotonic()
    limits = MediaLimits(total_seconds=10)
    with MediaDownloader(http, folder=tmp_path, limits=limits) as downloads:
        urls = ["full", slow, slow, slow, *["never"] * 100]
        outcomes = downloads.download_all(urls, fetch, concurrency=4, on_progress=lambda _: None)
        with pytest.raises(StorageFullError):
            list(outcomes)
        assert taken.count("never") == 0
        assert len(stopped) == 3
    assert time.monotonic() - started < 3
    assert list(tmp_path.iterdir()) == []


def test_a_bug_in_the_work_on_an_item_is_not_taken_for_a_bad_item(downloads):
    def fetch(_: int) -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        list(downloads.download_all([1], fetch, concurrency=2, on_progress=lambda _: None))


def test_a_reader_that_breaks_leaves_no_thread_and_no_file(http, scripted_server, tmp_path):
    url = scripted_server.answers("/a", image_bytes("PNG"))
    slow = scripted_server.script("/slow", scripted_server.trickle(CUT_OFF_HEAD, b"x"))

    def read_one_and_break(downloads: MediaDownloader) -> None:
        for _ in downloads.download_all(
            [url, slow, slow], downloads.fetch_image, concurrency=3, on_progress=lambda _: None
        ):
            raise OSError("the reader's own trouble")

    started = time.monotonic()
    with (
        pytest.raises(OSError, match="own trouble"),
        MediaDownloader(http, folder=tmp_path, limits=MediaLimits(total_seconds=10)) as downloads,
    ):
        read_one_and_break(downloads)
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - started < 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("media")]


# ---- signed addresses ----

SIGNED = (
    "https://scontent-fra3-1.xx.fbcdn.net/v/t45.1600-4/123_456_n.jpg"
    "?stp=dst-jpg_p64x64&_nc_cat=1&ccb=1-7&_nc_sid=890911&oh=00_Abc&oe=68F0A1B2"
)
SIGNED_AGAIN = (
    "https://scontent-ams2-1.xx.fbcdn.net/v/t45.1600-4/123_456_n.jpg"
    "?_nc_ohc=xyz&stp=dst-jpg_p600x600&oh=00_Def&oe=68F5FFFF&new_parameter=1"
)


def test_a_signed_address_is_known_by_what_it_names():
    assert url_source_key(SIGNED) == "/v/t45.1600-4/123_456_n.jpg"
    assert url_source_key(SIGNED) == url_source_key(SIGNED_AGAIN)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://cdn.test/image?id=7&size=2", "/image?id=7&size=2"),
        ("https://other.test/image?size=2&id=7", "/image?id=7&size=2"),
        ("https://cdn.test/image?id=8&_nc_cat=1&stp=x", "/image?id=8"),
        ("https://cdn.test/a.jpg", "/a.jpg"),
        ("https://cdn.test/a.jpg#part", "/a.jpg"),
        ("", ""),
        ("http://[broken", "http://[broken"),
    ],
)
def test_an_unsigned_address_is_known_by_its_path_and_lasting_parameters(url, key):
    assert url_source_key(url) == key


def test_a_signed_address_says_when_it_expires():
    assert signature_expires_at(SIGNED) == datetime(2025, 10, 16, 7, 41, 38, tzinfo=UTC)


@pytest.mark.parametrize(
    "query", ["", "?oe=", "?oe=soon", "?oe=-1x", "?oe=" + "F" * 30, "?oh=68F0A1B2"]
)
def test_an_address_without_a_readable_expiry_says_nothing(query):
    assert signature_expires_at(f"https://cdn.test/a.jpg{query}") is None
    assert signature_expires_at("http://[broken?oe=68F0A1B2") is None
