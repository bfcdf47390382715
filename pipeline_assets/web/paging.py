"""Cursors: an opaque text that says where a page of a list ended, and what came last."""

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
    return _encode(f"{at.isoformat()} {id_}")


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
    raise _no_cursor()


def write_name_cursor(name: str) -> str:
    """The text for a place in a list that is sorted by names."""
    return _encode(f"after {name}")


def read_name_cursor(text: str | None) -> str:
    """The name after which the page begins; without a text, the empty one, before all others.

    Raises:
        Problem: the text is not of our making.
    """
    if text is None:
        return ""
    match = _NAME.fullmatch(_decode(text))
    if not match:
        raise _no_cursor()
    return match["name"]


_POSITION = re.compile(r"(?P<at>\d{4}-\S+\+00:00) (?P<id>[0-9A-Za-z_/-]{1,500})")
_NAME = re.compile(r"after (?P<name>[0-9a-z_:-]{1,200})")


def _no_cursor() -> Problem:
    return Problem(422, "The cursor is none of ours.", advice="Begin again without one.")


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


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


def cut_after(
    found: Sequence[Item], after: str, limit: int, name_of: Callable[[Item], str]
) -> tuple[list[Item], str | None]:
    """The page that follows a name in a whole list sorted by names, and the next one's cursor."""
    rest = [item for item in found if name_of(item) > after]
    page = rest[:limit]
    return page, write_name_cursor(name_of(page[-1])) if len(rest) > limit else None
