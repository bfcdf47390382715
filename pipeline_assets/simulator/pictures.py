"""Draws pictures that look like ads: a product, a headline, a price badge and a button.

Pure: the same description gives the same bytes. Faulty images (far too many pixels) are made here
as well.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

Format = Literal["JPEG", "PNG", "WEBP"]

SIZES = ((600, 600), (640, 800), (540, 960), (764, 400))
"""Width and height of Meta's usual placements: square, 4:5, story, link."""

_Block = tuple[tuple[int, int, int, int], int, bool | None]
"""Left, top, right, bottom about the centre; radius of corners; in ink (None: in white)."""

_BAG: tuple[_Block, ...] = (((-13, -20, 13, 20), 2, False), ((-13, -20, 13, -14), 1, True))
_LABEL: _Block = ((-7, -2, 7, 6), 1, None)
_SHAPES: dict[str, tuple[_Block, ...]] = {
    "bottle": (((-4, -24, 4, -12), 1, True), ((-10, -14, 10, 24), 4, False)),
    "jar": (((-15, -10, 15, 16), 4, False), ((-16, -16, 16, -8), 2, True)),
    "tube": (((-8, -22, 8, 18), 5, False), ((-5, 16, 5, 24), 1, True)),
    "can": (((-9, -20, 9, 20), 3, False), ((-9, -20, 9, -16), 2, True)),
    "cup": (((8, -8, 20, 8), 6, True), ((-14, -12, 14, 14), 5, False)),
    "shoe": (
        ((-22, -2, 22, 10), 6, False),
        ((-22, -14, -2, 6), 6, False),
        ((-23, 8, 23, 13), 2, True),
    ),
}

BOMB_SIDE = 20_000
"""Side of the picture that is small in bytes and huge in memory: 400 million pixels."""


@dataclass(frozen=True)
class Picture:
    """What a picture shows; colours are hex (background, accent, ink)."""

    size: tuple[int, int]
    palette: tuple[str, str, str]
    brand: str
    headline: str
    badge: str
    button: str
    shape: str
    mirrored: bool


def draw(picture: Picture) -> Image.Image:
    """The picture in RGB, `size` wide and high."""
    background, accent, ink = picture.palette
    width, height = picture.size
    image = Image.new("RGB", picture.size, background)
    pen = ImageDraw.Draw(image)
    unit = min(width, height) / 100
    wide = width > height * 1.4
    product_x = width * (0.75 if wide else 0.5)
    product_y = height * (0.48 if wide else 0.62)
    if wide and picture.mirrored:
        product_x = width - product_x
    pen.ellipse(_box(product_x, product_y, 30 * unit), fill=_mixed(background, accent, 0.25))
    draw_product(pen, picture.shape, (product_x, product_y), unit, accent=accent, ink=ink)
    text_left = width * 0.5 if wide and picture.mirrored else 6 * unit
    text_width = width * 0.5 if wide else width - 12 * unit
    _draw_headline(
        pen, picture.headline, (text_left, 14 * unit), width=text_width, unit=unit, ink=ink
    )
    pen.text((text_left, 5 * unit), picture.brand.upper(), fill=accent, font=_font(5 * unit))
    if picture.badge:
        _draw_badge(pen, picture.badge, (product_x + 22 * unit, product_y - 22 * unit), unit, ink)
    _draw_button(pen, picture.button, (text_left, height - 15 * unit), unit, accent)
    return image


def draw_product(
    pen: ImageDraw.ImageDraw,
    shape: str,
    centre: tuple[float, float],
    unit: float,
    *,
    accent: str,
    ink: str,
) -> None:
    """One product about its centre; a shape that is not in `_SHAPES` is a bag."""
    x, y = centre

    for (left, top, right, low), radius, in_ink in (*_SHAPES.get(shape, _BAG), _LABEL):
        fill = "#ffffff" if in_ink is None else ink if in_ink else accent
        pen.rounded_rectangle(
            (x + left * unit, y + top * unit, x + right * unit, y + low * unit),
            radius=radius * unit,
            fill=fill,
        )


def encode(image: Image.Image, format_: Format) -> bytes:
    """The picture as a file of that format."""
    buffer = io.BytesIO()
    image.save(buffer, format_, quality=82) if format_ != "PNG" else image.save(buffer, "PNG")
    return buffer.getvalue()


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """A valid PNG of 20,000 x 20,000 pixels in about 50 kB."""
    deflate = zlib.compressobj(9)
    row = bytes(1 + BOMB_SIDE // 8)  # one filter byte, then one bit per pixel
    data = b"".join(deflate.compress(row * 500) for _ in range(BOMB_SIDE // 500)) + deflate.flush()
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


@lru_cache(maxsize=32)
def _font_of_size(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return _font_of_size(max(4, round(size)))


def _box(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return (x - radius, y - radius, x + radius, y + radius)


def _mixed(first: str, second: str, share: float) -> str:
    """The colour that is `share` (0-1) of the way from the first to the second."""
    pairs = [(int(first[at : at + 2], 16), int(second[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(low + (high - low) * share):02x}" for low, high in pairs)


def _draw_headline(
    pen: ImageDraw.ImageDraw,
    text: str,
    at: tuple[float, float],
    *,
    width: float,
    unit: float,
    ink: str,
) -> None:
    font, line, lines = _font(8.5 * unit), "", []
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and pen.textlength(longer, font=font) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    pen.multiline_text(at, "\n".join([*lines, line]), fill=ink, font=font, spacing=2 * unit)


def _draw_badge(
    pen: ImageDraw.ImageDraw, text: str, centre: tuple[float, float], unit: float, ink: str
) -> None:
    pen.ellipse(_box(*centre, 12 * unit), fill="#ffd23f")
    pen.text(centre, text, fill=ink, font=_font(min(6.5, 30 / len(text)) * unit), anchor="mm")


def _draw_button(
    pen: ImageDraw.ImageDraw, text: str, at: tuple[float, float], unit: float, accent: str
) -> None:
    x, y = at
    font = _font(5.5 * unit)
    width = pen.textlength(text, font=font) + 10 * unit
    pen.rounded_rectangle((x, y, x + width, y + 11 * unit), radius=5 * unit, fill=accent)
    pen.text((x + width / 2, y + 5.5 * unit), text, fill="#ffffff", font=font, anchor="mm")
