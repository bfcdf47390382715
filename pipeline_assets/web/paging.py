"""Cursors: an opaque text that says where a page of a newest-first list ended."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from pipeline_assets.web.problems import Problem

Position = tuple[datetime, str]
Item = TypeVar("Item")


def write_cursor(position: Position) -> str:
    """The text for a position."""
    at, id_ = position
    return base64.urlsafe_b64encode(f"{at.isoformat()} {id_}".encode()).decode().rstrip("=")


def read_cursor(text: str | None) -> Position | None:
    """The position that a text of ours stands for.

    Raises:
        Problem: the text is not of our making.
    """
    if text is None:
        return None
    match = _POSITION.fullmatch(_decode(text))
    try:
        if match:
            return datetime.fromisoformat(match["at"]), match["id"]
    except ValueError:
        pass
    raise Problem(422, "The cursor is none of ours.", advice="Begin again without one.")


_POSITION = re.compile(r"(?P<at>\S+[+-]\d\d:\d\d) (?P<id>[0-9A-Za-z-]+)")


def _decode(text: str) -> str:
    padded = text + "=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):  # no ASCII, no base64, no UTF-8
        return ""


def cut(
    found: Sequence[Item], limit: int, position_of: Callable[[Item], Position]
) -> tuple[list[Item], str | None]:
    """The page of a list that was read with `limit + 1`, and the cursor of the next page if any."""
    page = list(found[:limit])
    return page, write_cursor(position_of(page[-1])) if len(found) > limit else None
