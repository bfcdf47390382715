"""The CDN: signed addresses that expire, and the bytes behind them.

An address is `/cdn/v/<type>/<account number>/<index>_<hash>_n.<ext>?stp=…&oh=<signature>&oe=<hex
expiry>`; thumbnails differ by `stp`. Expired answers 403 `URL signature expired`, altered
`Bad URL hash` (as fbcdn.net does; addresses live for 3 to 5 days).
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import md5, sha256
from urllib.parse import urlencode

from PIL import Image

from pipeline_assets.simulator import pictures, videos
from pipeline_assets.simulator.faults import CDN_FAULTS, Endpoint, Fault, FaultKind, Faults
from pipeline_assets.simulator.world import IMAGES_PER_CREATIVE, Account, World

ADDRESS_LIFE = timedelta(days=4, hours=12)

_PATH = re.compile(r"/cdn/v/t(\d+)[\d.-]*/(\d+)/(\d+)_[0-9a-f]+_n\.(jpg|png|webp|mp4)")
_STP = re.compile(r"dst-jpg_p(\d{1,4})x(\d{1,4})")
_FORMATS: Mapping[str, tuple[pictures.Format, str]] = {
    "jpg": ("JPEG", "image/jpeg"),
    "png": ("PNG", "image/png"),
    "webp": ("WEBP", "image/webp"),
}
_BUTTONS = ("Shop now", "Learn more", "Get offer")
_VIDEO_TYPE, _IMAGE_TYPE = "t42", "t45"


@dataclass(frozen=True)
class File:
    """An answer of the CDN; `padding` zero bytes follow the body (they are not kept in memory)."""

    status: int
    content_type: str
    body: bytes
    padding: int = 0


class Cdn:
    """Signs addresses for one world and serves what they name, as long as they live."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = f"{world.seed}:cdn".encode()

    def image_url(
        self,
        base_url: str,
        account: Account,
        index: int,
        *,
        now: datetime,
        size: tuple[int, int] | None = None,
    ) -> str:
        """A signed address of an image, in full or cut down to `size`."""
        extension = "jpg" if size else image_extension(index)
        name = f"{index}_{account.image_hash(index)[:12]}_n.{extension}"
        stp = f"dst-jpg_p{size[0]}x{size[1]}" if size else ""
        return self._sign(base_url, f"/cdn/v/t45.1600-4/{account.number}/{name}", stp, now)

    def video_url(self, base_url: str, account: Account, index: int, *, now: datetime) -> str:
        """A signed address of a video's MP4."""
        digest = md5(f"{account.id}:{index}:video".encode(), usedforsecurity=False).hexdigest()
        path = f"/cdn/v/t42.1790-2/{account.number}/{index}_{digest[:12]}_n.mp4"
        return self._sign(base_url, path, "", now)

    def _sign(self, base_url: str, path: str, stp: str, now: datetime) -> str:
        expiry = f"{int((now + ADDRESS_LIFE).timestamp()):x}"
        query = {"stp": stp} if stp else {}
        query |= {
            "_nc_cat": str(100 + len(path) % 12),
            "_nc_ohc": self._signature("cache", expiry)[:11],
            "oh": "00_" + self._signature(path, stp, expiry),
            "oe": expiry,
        }
        return f"{base_url}{path}?{urlencode(query)}"

    def _signature(self, *parts: str) -> str:
        return hmac.new(self._key, "|".join(parts).encode(), sha256).hexdigest()[:28]

    def account_of(self, path: str) -> str | None:
        """The account that a file belongs to."""
        match = _PATH.fullmatch(path)
        return f"act_{match[2]}" if match else None

    def serve(self, path: str, query: Mapping[str, str], *, now: datetime, faults: Faults) -> File:
        """The file at that address, or the refusal."""
        match = _PATH.fullmatch(path)
        account = self._world.accounts.get(f"act_{match[2]}") if match else None
        if match is None or account is None:
            return _refusal(404, "Not Found")
        fault = faults.take(CDN_FAULTS, account.id, Endpoint.CDN)
        if refusal := self._refuse(path, query, now, fault):
            return refusal
        file = _file(account, match[1], int(match[3]), match[4], query.get("stp", ""))
        return _spoil(file, fault) if fault else file

    def _refuse(
        self, path: str, query: Mapping[str, str], now: datetime, fault: Fault | None
    ) -> File | None:
        kind = fault.kind if fault else None
        stp, expiry = query.get("stp", ""), query.get("oe", "")
        signature = "00_" + self._signature(path, stp, expiry)
        if kind is FaultKind.CDN_MISSING:
            return _refusal(404, "Not Found")
        if kind is FaultKind.CDN_ALTERED or not hmac.compare_digest(
            query.get("oh", "").encode(), signature.encode()
        ):
            return _refusal(403, "Bad URL hash")
        if kind is FaultKind.CDN_EXPIRED or now.timestamp() >= int(expiry, 16):
            return _refusal(403, "URL signature expired")
        return None


def image_size(index: int) -> tuple[int, int]:
    """Width and height of an image in full."""
    return pictures.SIZES[(index // IMAGES_PER_CREATIVE) % len(pictures.SIZES)]


def image_extension(index: int) -> str:
    """What an image is stored as: mostly JPEG, some PNG and WebP."""
    return ("jpg", "jpg", "png", "jpg", "webp")[index % 5]


def _refusal(status: int, text: str) -> File:
    return File(status, "text/plain", text.encode())


def _file(account: Account, type_: str, index: int, extension: str, stp: str) -> File:
    if type_ == _VIDEO_TYPE[1:] and extension == "mp4":
        picture = describe(account, index * IMAGES_PER_CREATIVE)
        return File(200, "video/mp4", _video(picture, account.video_seconds(index)))
    format_, content_type = _FORMATS.get(extension, _FORMATS["jpg"])
    thumbnail = _STP.fullmatch(stp)
    size = (int(thumbnail[1]), int(thumbnail[2])) if thumbnail else None
    return File(200, content_type, _image(describe(account, index), format_, size))


def describe(account: Account, index: int) -> pictures.Picture:
    """What the image with that index shows: the product and hook of its creative."""
    creative = account.creative(index // IMAGES_PER_CREATIVE)
    place = index % IMAGES_PER_CREATIVE
    product = creative.products[place % len(creative.products)]
    hook = creative.hooks[place % len(creative.hooks)]
    price = f"{account.spec.currency} {price_of(account, product.price)}"
    return pictures.Picture(
        size=image_size(index),
        palette=account.theme.palettes[index % len(account.theme.palettes)],
        brand=account.spec.name.split()[0],
        headline=hook.headline.format(product=product.name, price=price),
        badge=hook.badge.format(product=product.name, price=price),
        button=_BUTTONS[index % len(_BUTTONS)],
        shape=product.shape,
        mirrored=index % 2 == 1,
    )


def price_of(account: Account, price: int) -> int:
    """A product's price in whole units of the account's currency."""
    return price if account.minor_units == 100 else price * 150


@lru_cache(maxsize=512)
def _image(
    picture: pictures.Picture, format_: pictures.Format, size: tuple[int, int] | None
) -> bytes:
    image = pictures.draw(picture)
    return pictures.encode(_cover(image, size) if size else image, format_)


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of the image, scaled to fill `size`."""
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.resize(size, box=(left, top, left + width, top + height))


@lru_cache(maxsize=256)
def _video(picture: pictures.Picture, seconds: float) -> bytes:
    return videos.encode_video(picture, seconds=seconds)


def _spoil(file: File, fault: Fault) -> File:
    match fault.kind:
        case FaultKind.CDN_HTML:
            return File(200, "text/html; charset=utf-8", b"<!DOCTYPE html><title>Sorry</title>")
        case FaultKind.CDN_CUT_IMAGE:
            return File(200, file.content_type, file.body[: len(file.body) // 2])
        case FaultKind.CDN_OVERSIZED:
            size = fault.rows or 64 * 2**20
            return File(200, file.content_type, file.body, max(0, size - len(file.body)))
        case _:
            return File(200, "image/png", pictures.bomb())
