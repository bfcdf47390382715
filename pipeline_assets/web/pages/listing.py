"""What every list has: filters in the address, numbered pages, and addresses of other views."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Request

Item = TypeVar("Item")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One numbered page of a list; `number` counts from 1 and is the last one when asked beyond."""

    items: Sequence[Item]
    number: int
    count: int
    total: int
    first: int

    @property
    def last(self) -> int:
        """The number of the last item shown."""
        return self.first + len(self.items) - 1


def cut_page(found: Sequence[Item], number: int, size: int) -> Page[Item]:
    """The items of a page of so many."""
    count = max(1, -(-len(found) // size))
    number = min(max(1, number), count)
    start = (number - 1) * size
    return Page(found[start : start + size], number, count, len(found), start + 1)


def address(request: Request, **changes: Any) -> str:
    """The page's own address with some of its parameters changed; None leaves one out.

    A changed filter or order begins at the first page again.
    """
    values: dict[str, Any] = dict(request.query_params)
    if changes.keys() - {"open", "page", "rows"}:
        values = {k: v for k, v in values.items() if k not in {"page", "rows", "before"}}
    values = {k: v for k, v in (values | changes).items() if v not in {None, ""}}
    return f"{request.url.path}?{urlencode(values)}" if values else request.url.path
