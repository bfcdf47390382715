import io
from collections.abc import Callable
from typing import Any

import av
import pytest
import requests
from PIL import Image

from pipeline_assets.simulator.cdn import ADDRESS_LIFE
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer

ACCOUNT = "act_1001"


def fetch(url: str) -> requests.Response:
    return requests.get(url, timeout=10)


def decode(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


@pytest.fixture
def image_url(client: Any) -> str:
    return str(client.data(f"{ACCOUNT}/adimages", fields="url")[0]["url"])


def test_every_image_decodes_to_the_size_it_is_listed_with(client: Any) -> None:
    formats = set()
    for listed in client.data(f"{ACCOUNT}/adimages", fields="url,width,height"):
        response = fetch(listed["url"])
        image = decode(response.content)
        assert image.size == (listed["width"], listed["height"])
        assert response.headers["Content-Type"] == f"image/{(image.format or '').lower()}"
        assert len(image.convert("RGB").getcolors(2**20) or []) > 50
        formats.add(image.format)
    assert formats == {"JPEG", "PNG", "WEBP"}


def test_thumbnails_have_the_size_that_was_asked(client: Any) -> None:
    creative = client.data(f"{ACCOUNT}/adcreatives", fields="thumbnail_url")[0]
    assert decode(fetch(creative["thumbnail_url"]).content).size == (64, 64)
    asked = {"thumbnail_width": 320, "thumbnail_height": 400, "fields": "thumbnail_url"}
    larger = client.get(creative["id"], **asked).json()
    assert decode(fetch(larger["thumbnail_url"]).content).size == (320, 400)


def test_a_video_decodes_moves_and_is_as_long_as_listed(client: Any) -> None:
    video = client.data(f"{ACCOUNT}/advideos", fields="source,length")[1]
    response = fetch(video["source"])
    assert response.headers["Content-Type"] == "video/mp4"
    with av.open(io.BytesIO(response.content)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(video["length"], abs=0.2)
    assert len(frames) == video["length"] * 8
    assert frames[0].tobytes() != frames[len(frames) // 2].tobytes()


def test_an_address_lives_for_four_and_a_half_days(image_url: str, clock: Any) -> None:
    clock.advance(ADDRESS_LIFE.total_seconds() - 1)
    assert fetch(image_url).status_code == 200
    clock.advance(1)
    response = fetch(image_url)
    assert (response.status_code, response.text) == (403, "URL signature expired")


def test_an_altered_address_is_refused(image_url: str) -> None:
    for old, new in (("oe=", "oe=7"), ("oh=00_", "oh=00_0"), ("?", "?stp=dst-jpg_p9x9&")):
        response = fetch(image_url.replace(old, new, 1))
        assert (response.status_code, response.text) == (403, "Bad URL hash")
    assert fetch(image_url.split("?", 1)[0]).status_code == 403


def test_a_new_reading_gives_a_new_address_of_the_same_file(client: Any, clock: Any) -> None:
    first = client.data(f"{ACCOUNT}/adimages", fields="url")[0]["url"]
    clock.advance(60)
    second = client.data(f"{ACCOUNT}/adimages", fields="url")[0]["url"]
    assert first != second
    assert first.split("?")[0] == second.split("?")[0]
    assert fetch(first).content == fetch(second).content


@pytest.fixture
def spoiled(server: SimulatorServer, image_url: str) -> Callable[..., requests.Response]:
    def fetch_with(kind: FaultKind, **more: Any) -> requests.Response:
        server.faults.add(Fault(kind=kind, account=ACCOUNT, count=1, **more))
        return fetch(image_url)

    return fetch_with


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        (FaultKind.CDN_EXPIRED, 403, "URL signature expired"),
        (FaultKind.CDN_ALTERED, 403, "Bad URL hash"),
        (FaultKind.CDN_MISSING, 404, "Not Found"),
    ],
)
def test_the_cdn_can_refuse_a_good_address(
    spoiled: Callable[..., requests.Response], kind: FaultKind, status: int, text: str
) -> None:
    response = spoiled(kind)
    assert (response.status_code, response.text) == (status, text)


def test_the_cdn_can_answer_something_that_is_no_good_image(
    spoiled: Callable[..., requests.Response],
) -> None:
    assert spoiled(FaultKind.CDN_HTML).headers["Content-Type"].startswith("text/html")
    cut = spoiled(FaultKind.CDN_CUT_IMAGE)
    assert len(cut.content) == int(cut.headers["Content-Length"])
    with pytest.raises(OSError, match="truncated"):
        decode(cut.content)
    assert len(spoiled(FaultKind.CDN_OVERSIZED, rows=3_000_000).content) == 3_000_000
    bomb = spoiled(FaultKind.CDN_BOMB).content
    assert len(bomb) < 60_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(bomb))


def test_the_cdn_can_drop_its_connection(spoiled: Callable[..., requests.Response]) -> None:
    with pytest.raises(requests.ConnectionError):
        spoiled(FaultKind.DROPPED_CONNECTION, endpoint=Endpoint.CDN)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        spoiled(FaultKind.BROKEN_BODY, endpoint=Endpoint.CDN)


def test_downloads_are_in_the_log(server: SimulatorServer, image_url: str) -> None:
    fetch(image_url)
    call = server.calls[-1]
    assert (call.endpoint, call.account, call.status) == (Endpoint.CDN, ACCOUNT, 200)
