"""Renders a draft as a picture: a picture of its product whole, and the headline beside it.

Belongs here: ratios, what Meta's own controls cover, and fitting and drawing text. Does not: which
picture (`assets/draft_pictures.py`), the words. Pure: the same input gives the same bytes.

The font is DejaVu Sans Condensed Bold (its licence beside it): Latin, Greek, Cyrillic, Arabic and
more, no Chinese, Japanese, Korean, Indic scripts or Thai. A headline with letters that it
lacks is left out and told.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps, ImageStat, features

RENDERER_VERSION = "2"
"""Changes whenever the same input would give another picture."""

FONT_PATH = Path(__file__).with_name("fonts") / "DejaVuSansCondensed-Bold.ttf"

Color = tuple[int, int, int]

_WHITE: Color = (255, 255, 255)
_CONTRAST = 7.0  # of white on what is below it: WCAG 2.2, success criterion 1.4.6, level AAA
_SMALLEST_FONT = 12
_LINE_HEIGHT = 1.2
_GLYPHLESS = "\U0010fffe"  # a noncharacter: every font draws its sign for "missing" here
_JOINERS = frozenset("\u200c\u200d")  # invisible; without them Persian and others are misspelt
_ONE_LOOK = dict.fromkeys(range(0xFE00, 0xFE10))  # they ask for another look of what they follow
_HUES_ALIKE = 16  # of 256 around the circle
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

    @property
    def unit(self) -> int:
        """The shorter side, which sizes of text follow, in pixels."""
        return min(self.width, self.height)

    @property
    def padding(self) -> int:
        """Pixels between words and their card's edge, and between card and picture."""
        return self.unit // 22

    @property
    def is_wide(self) -> bool:
        """Whether words stand beside the picture, not below it."""
        return self.width > self.height


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A rendered PNG. `is_headline_whole` is false when it lacks the headline."""

    ratio: Ratio
    png: bytes
    is_headline_whole: bool


@dataclass(frozen=True)
class _Fitted:
    """Text cut into lines that fit a width, and the font for them."""

    lines: tuple[str, ...]
    font: ImageFont.FreeTypeFont

    @cached_property
    def rise(self) -> int:
        """Pixels by which marks, as of vocalised Arabic, stand above the font's ascent."""
        return int(max(0, *(-self.font.getbbox(line)[1] for line in self.lines)))

    @cached_property
    def line_height(self) -> int:
        lowest = int(max(self.font.getbbox(line)[3] for line in self.lines))
        return max(round(self.font.size * _LINE_HEIGHT), self.rise + lowest)

    @property
    def height(self) -> int:
        return self.line_height * len(self.lines)

    @property
    def width(self) -> int:
        return max((_width(line, self.font) for line in self.lines), default=0)


def render(headline: str, *, background: Image.Image | None, seed: str) -> list[Picture]:
    """The draft in every ratio in which there is anything to show.

    `background` (RGB) is shown whole on a ground of its own colours, the headline on a card below
    it (beside it in a wide picture). Without one the headline alone stands on a calm ground whose
    colours follow from `seed`. Words are white, with a contrast of at least 7:1. A headline that
    cannot be drawn whole is left out with its card. There is no button: the ad has Meta's own.
    """
    text, left_out = drawable_text(headline)
    is_whole = not any(map(_is_of_word, left_out))
    shown = text if is_whole else ""  # half a word is worse than none
    return [picture for ratio in Ratio if (picture := _picture(ratio, shown, background, seed))]


def _picture(ratio: Ratio, text: str, background: Image.Image | None, seed: str) -> Picture | None:
    words = _headline(ratio, text, is_alone=background is None)
    if background is not None:
        image = _compose(ratio, words, background)
    elif words:
        image = _poster(ratio, words, seed)
    else:
        return None
    return Picture(ratio=ratio, png=_png(image), is_headline_whole=words is not None)


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
    kept: list[str] = []
    left_out: list[str] = []
    for character in unicodedata.normalize("NFC", text).translate(_ONE_LOOK):
        is_stray = character in _JOINERS and not (kept and _is_of_word(kept[-1]))
        (left_out if is_stray or not _can_draw(character) else kept).append(character)
    return " ".join("".join(kept).split()), "".join(left_out)


def _is_of_word(character: str) -> bool:
    """Whether a word is misspelt without it; the frames of keycaps are parts of emoji."""
    category = unicodedata.category(character)
    return category[0] in "LMN" and category != "Me"


@cache
def _can_draw(character: str) -> bool:
    if character.isspace() or character in _JOINERS:
        return True
    if unicodedata.category(character) in {"Cc", "Cf", "Cn", "Co", "Cs"}:
        return False
    if unicodedata.bidirectional(character) in {"R", "AL"} and not features.check("fribidi"):
        return False  # letters of Arabic would stand apart and the wrong way round
    # The basic layout draws a mark alone as it is, and not on a dotted circle.
    font = ImageFont.truetype(FONT_PATH, 40, layout_engine=ImageFont.Layout.BASIC)
    return bytes(font.getmask(character)) != bytes(font.getmask(_GLYPHLESS))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT_PATH, size)


def _headline(ratio: Ratio, text: str, *, is_alone: bool) -> _Fitted | None:
    """The words as large as they may be: alone over the safe zone, else within their card."""
    safe, unit = ratio.safe_box, ratio.unit
    if is_alone:
        return fit_text(text, width=safe.width, height=safe.height * 2 // 3, largest=unit // 6)
    width = _card_width(ratio) - 2 * ratio.padding
    return fit_text(text, width=width, height=safe.height // 3, largest=unit // 12)


def _card_width(ratio: Ratio) -> int:
    return ratio.safe_box.width // 2 if ratio.is_wide else ratio.safe_box.width


def _poster(ratio: Ratio, words: _Fitted, seed: str) -> Image.Image:
    """The headline alone on a soft gradient between two neighbouring hues."""
    hue = hashlib.sha256(seed.encode()).digest()[0]
    top, bottom = (_darkened(_of_hue(each)) for each in (hue, hue + 24))
    image = _gradient((ratio.width, ratio.height), top, bottom)
    safe = ratio.safe_box
    lines_top = safe.top + (safe.height - words.height) // 2
    _draw_lines(ImageDraw.Draw(image), words, safe._replace(top=lines_top))
    return image


def _compose(ratio: Ratio, words: _Fitted | None, background: Image.Image) -> Image.Image:
    """The picture and the headline's card, as large as the safe zone lets them be together."""
    safe, gap = ratio.safe_box, ratio.padding if words else 0
    card_width = _card_width(ratio) if words else 0
    card_height = words.height + 2 * gap if words else 0
    room = (safe.width, safe.height - card_height - gap)
    if ratio.is_wide:
        room = (safe.width - card_width - gap, safe.height)
    picture = ImageOps.contain(background, room, Image.Resampling.LANCZOS)
    top = safe.top + (room[1] - picture.height) // 2
    at = (safe.right - (room[0] + picture.width) // 2, top)
    image = _ground_of(background, (ratio.width, ratio.height))
    image.paste(picture, at)
    if words:
        card_top = top + picture.height + gap
        if ratio.is_wide:
            card_top = safe.top + (safe.height - card_height) // 2
        card = Box(safe.left, card_top, safe.left + card_width, card_top + card_height)
        _draw_card(image, card, words, ratio.padding, _darkened(_accent(background)))
    return image


def _draw_card(image: Image.Image, card: Box, words: _Fitted, padding: int, color: Color) -> None:
    draw = ImageDraw.Draw(image)
    last_inside = (card.left, card.top, card.right - 1, card.bottom - 1)
    draw.rounded_rectangle(last_inside, radius=padding, fill=color)
    inside = Box(
        card.left + padding, card.top + padding, card.right - padding, card.bottom - padding
    )
    _draw_lines(draw, words, inside)


def _ground_of(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """From the colour of the picture's upper edge to that of its lower one."""
    depth = max(1, picture.height // 50)
    bottom = picture.height - depth
    edges = [picture.crop((0, top, picture.width, top + depth)) for top in (0, bottom)]
    above, below = (_color(ImageStat.Stat(edge).median) for edge in edges)
    return _gradient(size, above, below)


def _gradient(size: tuple[int, int], top: Color, bottom: Color) -> Image.Image:
    return ImageOps.colorize(Image.linear_gradient("L").resize(size), top, bottom)


def _accent(picture: Image.Image) -> Color:
    """The colour that marks the picture: of the hue that it has most of; grey where it has none."""
    small = picture.resize((64, 64), Image.Resampling.BOX)
    colors = np.asarray(small, dtype=np.float64).reshape(-1, 3)
    strength = np.ptp(colors, axis=1)
    hues = np.asarray(small.convert("HSV"))[..., 0].ravel() // _HUES_ALIKE
    main = np.bincount(hues, weights=strength).argmax()
    weights = np.where(hues == main, strength**3, 0.0)
    return _color(np.average(colors, axis=0, weights=weights if weights.any() else None))


def _color(parts: Iterable[float]) -> Color:
    red, green, blue = (int(each) for each in parts)
    return red, green, blue


def _of_hue(hue: int) -> Color:
    """A full colour of a hue, 0-255 around the circle."""
    return _color(ImageColor.getrgb(f"hsv({hue % 256 * 360 // 256}, 75%, 85%)"))


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
            if fitted.height <= height:
                return _Fitted(_balanced(words, font, width, lines), font)
    return None


def _balanced(
    words: Sequence[str], font: ImageFont.FreeTypeFont, width: int, lines: tuple[str, ...]
) -> tuple[str, ...]:
    """As many lines of more equal length, so that no word is left alone on the last one."""
    for narrower in range(width, 0, -20):
        wrapped = _wrap(words, font, narrower)
        if wrapped is None or len(wrapped) > len(lines):
            break
        lines = wrapped
    return lines


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


def _draw_lines(draw: ImageDraw.ImageDraw, text: _Fitted, box: Box) -> None:
    """The lines in white from the box's top, each from the side where its script begins."""
    top = box.top + text.rise
    is_from_right = _is_from_right(text.lines[0])
    for line in text.lines:
        left = box.right - _width(line, text.font) if is_from_right else box.left
        draw.text((left - min(text.font.getbbox(line)[0], 0), top), line, _WHITE, text.font)
        top += text.line_height


def _is_from_right(text: str) -> bool:
    """Whether the text's first letter belongs to a script that runs from right to left."""
    kinds = (unicodedata.bidirectional(each) for each in text)
    return next((kind != "L" for kind in kinds if kind in {"L", "R", "AL"}), False)


def _darkened(color: Color) -> Color:
    """The colour, as dark as it has to be for white to stand out on it."""
    while contrast_ratio(color, _WHITE) < _CONTRAST:
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
