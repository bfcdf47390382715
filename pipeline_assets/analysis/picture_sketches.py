"""Reduces a picture to what two can be compared by without a model: its coarse shape and colours.

Belongs here: making sketches of pictures and comparing them. Does not: fetching pictures, or what
likeness means (`congruence_scores.py`).
"""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

_ROWS = _COLUMNS = 8
_COLOUR_SIDE = 32  # pixels: enough for shares of colours
_LEVELS = 4  # of red, green and blue each: 64 colours


@dataclass(frozen=True)
class Sketch:
    """`shape`: a difference hash of 64 bits; `colours`: the share of each of 64 colours, sum 1."""

    shape: int
    colours: tuple[float, ...]


def read_sketch(file: BinaryIO) -> Sketch:
    """The sketch of a picture in any format that Pillow reads, the first frame of a moving one.

    Raises: ValueError for what is no picture or an unreasonably large one.
    """
    try:
        with Image.open(file) as opened:
            opened.draft("RGB", (256, 256))  # JPEG: decoded small at once
            picture = _on_white(opened)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a picture that can be read: {error}") from error
    return Sketch(_shape(picture), _colours(picture))


def shape_difference(one: Sketch, other: Sketch) -> float:
    """The share of the 64 bits that differ, 0-1: about 0.5 for unrelated pictures."""
    return (one.shape ^ other.shape).bit_count() / (_ROWS * _COLUMNS)


def colour_overlap(one: Sketch, other: Sketch) -> float:
    """How much of the two pictures has the same colours, 0-1."""
    return float(np.minimum(one.colours, other.colours).sum())


def _on_white(picture: Image.Image) -> Image.Image:
    """What is transparent is seen on a page's white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    opaque = picture.convert("RGBA")
    ground = Image.new("RGBA", opaque.size, "white")
    return Image.alpha_composite(ground, opaque).convert("RGB")


def _shape(picture: Image.Image) -> int:
    """A bit for each field of the picture: whether it is brighter than its left neighbour."""
    small = picture.convert("L").resize((_COLUMNS + 1, _ROWS), Image.Resampling.BOX)
    levels = np.asarray(small, dtype=np.int16)
    bits = (levels[:, 1:] > levels[:, :-1]).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _colours(picture: Image.Image) -> tuple[float, ...]:
    small = picture.resize((_COLOUR_SIDE, _COLOUR_SIDE), Image.Resampling.BOX)
    levels = np.asarray(small, dtype=np.int16) * _LEVELS // 256
    colours = (levels[..., 0] * _LEVELS + levels[..., 1]) * _LEVELS + levels[..., 2]
    counts = np.bincount(colours.flatten(), minlength=_LEVELS**3)
    return tuple((counts / counts.sum()).tolist())
