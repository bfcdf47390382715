"""Renders a draft as a picture: its product behind, headline and button on a card before it.

Belongs here: ratios, what Meta's own controls cover, and fitting and drawing text. Does not: which
picture (`assets/ad_creations.py`), the words. Pure: the same input gives the same bytes.

The font is DejaVu Sans Condensed Bold (its licence beside it): Latin, Greek, Cyrillic, Arabic and
more, no Chinese, Japanese, Korean, Indic scripts or Thai. What it cannot draw is left out and told.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps, ImageStat, features

RENDERER_VERSION = "1"
"""Changes whenever the same input would give another picture."""

FONT_PATH = Path(__file__).with_name("fonts") / "DejaVuSansCondensed-Bold.ttf"

MIN_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3, level AA."""

Color = tuple[int, int, int]

_WHITE: Color = (255, 255, 255)
_CARD_CONTRAST = 7.0  # of white on the card; level AAA leaves room to spare
_SMALLEST_FONT = 12
_LINE_HEIGHT = 1.2
_GLYPHLESS = "\U0010fffe"  # a noncharacter: every font draws its sign for "missing" here
_COMPRESSION = 3  # of zlib: higher ones take twice the time for a twentieth of the bytes


class Box(NamedTuple):
    """Pixels from left and top; right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.bottom - self.top


class Ratio(Enum):
    """The shapes that Meta shows: width and height, and what must stay free at each edge.

    `free` is left, top, right, bottom as parts of the width or height. At 9:16 Meta's controls
    cover the top 14 % and the bottom 35 % (reels; stories less); elsewhere it is a margin.
    """

    SQUARE = ("1:1", 1080, 1080, (0.05, 0.05, 0.05, 0.05))
    PORTRAIT = ("4:5", 1080, 1350, (0.05, 0.05, 0.05, 0.05))
    STORY = ("9:16", 1080, 1920, (0.06, 0.14, 0.06, 0.35))
    LANDSCAPE = ("1.91:1", 1200, 628, (0.04, 0.06, 0.04, 0.06))

    def __init__(
        self, label: str, width: int, height: int, free: tuple[float, float, float, float]
    ) -> None:
        self.label, self.width, self.height = label, width, height
        left, top, right, bottom = free
        self.safe_box = Box(
            round(width * left),
            round(height * top),
            round(width * (1 - right)),
            round(height * (1 - bottom)),
        )


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A rendered PNG. `is_headline_whole` is false when letters of it could not be drawn."""

    ratio: Ratio
    png: bytes
    is_headline_whole: bool


@dataclass(frozen=True)
class _Fitted:
    """Text cut into lines that fit a width, and the font for them."""

    lines: tuple[str, ...]
    font: ImageFont.FreeTypeFont

    @property
    def line_height(self) -> int:
        return round(self.font.size * _LINE_HEIGHT)

    @property
    def height(self) -> int:
        return self.line_height * len(self.lines)

    @property
    def width(self) -> int:
        return max((_width(line, self.font) for line in self.lines), default=0)


def render(
    headline: str, button: str, *, background: Image.Image | None, seed: str
) -> list[Picture]:
    """The draft in every ratio.

    `background` (RGB) is cropped to cover; without one there is a calm ground whose colours follow
    from `seed`. Headline and button lie on a card within the safe zone, white and dark with a
    contrast of at least 7:1.
    """
    text, left_out = drawable_text(headline)
    is_whole = not any(unicodedata.category(each)[0] in "LMN" for each in left_out)
    shown = text if is_whole else ""  # half a word is worse than none
    return [
        Picture(
            ratio=ratio,
            png=_png(_compose(ratio, shown, button, background, seed)),
            is_headline_whole=is_whole and _headline(ratio, shown) is not None,
        )
        for ratio in Ratio
    ]


def open_background(data: bytes) -> Image.Image | None:
    """The first frame of a stored picture, upright and in RGB; None when it cannot be read."""
    try:
        with Image.open(BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError):  # what Pillow's readers raise of broken files
        return None
    ground = Image.new("RGBA", upright.size, (*_WHITE, 255))
    return Image.alpha_composite(ground, upright).convert("RGB")


def contrast_ratio(one: Color, other: Color) -> float:
    """WCAG's contrast of two sRGB colours, 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def drawable_text(text: str) -> tuple[str, str]:
    """What of the text the font can draw, and the characters that are left out."""
    plain = unicodedata.normalize("NFC", text)
    kept: list[str] = []
    left_out: list[str] = []
    for character in plain:
        (kept if _can_draw(character) else left_out).append(character)
    return " ".join("".join(kept).split()), "".join(left_out)


@cache
def _can_draw(character: str) -> bool:
    if character.isspace():
        return True
    if unicodedata.category(character) in {"Cc", "Cf", "Cn", "Co", "Cs"}:
        return False
    if unicodedata.bidirectional(character) in {"R", "AL"} and not features.check("fribidi"):
        return False  # letters of Arabic would stand apart and the wrong way round
    font = _font(40)
    return bytes(font.getmask(character)) != bytes(font.getmask(_GLYPHLESS))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT_PATH, size)


def _compose(
    ratio: Ratio, headline: str, button: str, background: Image.Image | None, seed: str
) -> Image.Image:
    size = (ratio.width, ratio.height)
    if background is None:
        image = _calm_ground(size, seed)
    else:
        image = ImageOps.fit(background, size, Image.Resampling.BICUBIC)
    _draw_card(image, ratio, headline, button)
    return image


def _calm_ground(size: tuple[int, int], seed: str) -> Image.Image:
    """A soft gradient between two neighbouring hues."""
    hue = hashlib.sha256(seed.encode()).digest()[0]
    top = Image.new("HSV", (1, 1), (hue, 70, 235)).convert("RGB").getpixel((0, 0))
    bottom = Image.new("HSV", (1, 1), ((hue + 20) % 256, 120, 185)).convert("RGB").getpixel((0, 0))
    return ImageOps.colorize(Image.linear_gradient("L").resize(size), top, bottom)  # type: ignore[arg-type]


def _draw_card(image: Image.Image, ratio: Ratio, headline: str, button: str) -> None:
    """Draw the card as high as its text needs, at the bottom of the safe zone."""
    unit = min(ratio.width, ratio.height)
    padding = unit // 22
    words = _headline(ratio, headline)
    label = fit_text(button, width=_text_width(ratio) // 2, height=unit // 14, largest=unit // 22)
    assert label is not None, f"a button's words are few: {button!r}"
    button_size = (label.width + 2 * padding, label.height + padding)
    text_height = words.height + padding if words else 0
    safe = ratio.safe_box
    card = Box(
        safe.left,
        safe.bottom - text_height - button_size[1] - 2 * padding,
        safe.left + _text_width(ratio) + 2 * padding,
        safe.bottom,
    )
    color = _card_color(image, card)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(_inclusive(card), radius=padding, fill=color)
    inside = Box(card.left + padding, card.top + padding, card.right - padding, card.bottom)
    is_from_right = _is_from_right(headline)
    if words:
        _draw_lines(draw, words, inside, _WHITE, is_from_right=is_from_right)
    left = inside.right - button_size[0] if is_from_right else inside.left
    top = inside.top + text_height
    place = Box(left, top, left + button_size[0], top + button_size[1])
    draw.rounded_rectangle(_inclusive(place), radius=button_size[1] // 2, fill=_WHITE)
    at = Box(place.left + padding, place.top + padding // 2, place.right, place.bottom)
    _draw_lines(draw, label, at, color, is_from_right=False)


def _inclusive(box: Box) -> tuple[int, int, int, int]:
    """As Pillow's shapes want it: with the last pixel inside."""
    return box.left, box.top, box.right - 1, box.bottom - 1


def _text_width(ratio: Ratio) -> int:
    """How wide the card's text may be: all of the safe zone, half of a wide picture."""
    padding = min(ratio.width, ratio.height) // 22
    is_wide = ratio.width > ratio.height
    return (ratio.safe_box.width // 2 if is_wide else ratio.safe_box.width) - 2 * padding


def _headline(ratio: Ratio, text: str) -> _Fitted | None:
    unit = min(ratio.width, ratio.height)
    return fit_text(
        text, width=_text_width(ratio), height=ratio.safe_box.height // 3, largest=unit // 10
    )


def fit_text(text: str, *, width: int, height: int, largest: int) -> _Fitted | None:
    """The text as large as fits, whole words on each line; None when it does not fit at all.

    Pixels; `largest` is the font's size to begin with.
    """
    words = text.split()
    if not words:
        return None
    for size in range(largest, _SMALLEST_FONT - 1, -2):
        font = _font(size)
        lines = _wrap(words, font, width)
        if lines is not None:
            fitted = _Fitted(lines, font)
            if fitted.height <= height and all(_is_low(line, font) for line in lines):
                return fitted
    return None


def _wrap(words: Sequence[str], font: ImageFont.FreeTypeFont, width: int) -> tuple[str, ...] | None:
    """The words on as few lines as hold them; None when a word is wider than a line."""
    lines: list[str] = []
    for word in words:
        if _width(word, font) > width:
            return None
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _width(longer, font) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(lines)


def _width(line: str, font: ImageFont.FreeTypeFont) -> int:
    """Pixels that it takes, what leans out at either side included."""
    left, _, right, _ = font.getbbox(line)
    return int(max(right, font.getlength(line)) - min(left, 0)) + 1


def _is_low(line: str, font: ImageFont.FreeTypeFont) -> bool:
    """Whether marks piled up on letters do not reach beyond the card's padding."""
    _, top, _, bottom = font.getbbox(line)
    slack = font.size / 5
    return top >= -slack and bottom <= font.size * _LINE_HEIGHT + slack


def _draw_lines(
    draw: ImageDraw.ImageDraw, text: _Fitted, box: Box, color: Color, *, is_from_right: bool
) -> None:
    top = box.top
    for line in text.lines:
        left = box.right - _width(line, text.font) if is_from_right else box.left
        draw.text((left - min(text.font.getbbox(line)[0], 0), top), line, color, text.font)
        top += text.line_height


def _is_from_right(text: str) -> bool:
    """Whether the text's first letter belongs to a script that runs from right to left."""
    kinds = (unicodedata.bidirectional(each) for each in text)
    return next((kind != "L" for kind in kinds if kind in {"L", "R", "AL"}), False)


def _card_color(image: Image.Image, card: Box) -> Color:
    """The mean colour of what the card covers, darkened until white stands out on it."""
    mean = ImageStat.Stat(image.crop(card)).mean
    red, green, blue = (int(each) for each in mean)
    color = (red, green, blue)
    while contrast_ratio(color, _WHITE) < _CARD_CONTRAST:
        color = (color[0] * 9 // 10, color[1] * 9 // 10, color[2] * 9 // 10)
    return color


def _luminance(color: Color) -> float:
    """WCAG's relative luminance, 0-1."""
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4
        for each in (part / 255 for part in color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()
