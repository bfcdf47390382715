"""What the pages of posts and of reviews share: what people say, and how much of it came when."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import Any

import pandas as pd
import sqlalchemy as sa

from pipeline_assets.analysis.voice_of_customer import KINDS, Kind, top_phrases
from pipeline_assets.storage.listing import read_groups, read_listing
from pipeline_assets.web.pages.reader_page import View

MAX_HEARD = 1_000
"""So many posts or reviews are listened to: more would make the page slow."""

TOP = 5
_LEAST_PERIODS = 12

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Saying:
    """What several people say, in the words of one; `row_count` posts or reviews have it.

    `ratio` is to the most said of all kinds. `examples`: wordings with the address of one that has
    it.
    """

    phrase: str
    row_count: int
    ratio: float
    examples: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Voices:
    """The most said of each kind, in the newest `heard_count` rows of `row_count`."""

    sayings: Mapping[Kind, Sequence[Saying]]
    heard_count: int
    row_count: int


def read_voices(
    view: View, *, newest_by: str, link_columns: Sequence[str], link: Callable[[Row], str]
) -> Voices:
    """What is said in the rows that the filters find; `link` makes an address of `link_columns`."""
    selection = view.selection()
    columns = ("phrases", *link_columns)
    heard = replace(selection, columns=columns, sort=newest_by, is_descending=True)
    listing = read_listing(view.web.engine, heard, limit=MAX_HEARD)
    said_in: dict[str, Row] = {}
    for row in listing.rows:
        for phrase in row["phrases"]:
            said_in.setdefault(phrase["text"], row)
    top = top_phrases(pd.DataFrame(listing.rows, columns=["phrases"])).groupby("kind").head(TOP)
    highest = max(top["count"], default=0)
    sayings: dict[Kind, list[Saying]] = {kind: [] for kind in KINDS}
    for kind, phrase, count, examples in top.itertuples(index=False):
        linked = [(each, link(said_in[each])) for each in examples]
        saying = Saying(phrase=phrase, row_count=count, ratio=count / highest, examples=linked)
        sayings[kind].append(saying)
    return Voices(sayings=sayings, heard_count=len(listing.rows), row_count=listing.total)


@dataclass(frozen=True, kw_only=True)
class Period:
    """The rows from `since` on, up to the next period; `mean` of what was asked for."""

    since: date
    row_count: int
    mean: float | None


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Periods without a gap, the running one last; `earlier_count` rows are before them.

    `top` is a round number, at least the most rows of a period.
    """

    periods: Sequence[Period]
    earlier_count: int

    @property
    def top(self) -> int:
        """Where a scale of the counts ends."""
        highest = max(period.row_count for period in self.periods)
        size = int(f"1{'0' * (len(str(highest)) - 1)}")
        return next(size * n for n in (2, 4, 6, 8, 10) if size * n >= highest)

    def row_count(self, first: int, last: int | None = None) -> int:
        """The rows of some of the periods, as a slice counts them."""
        return sum(period.row_count for period in self.periods[first:last])

    def mean(self, first: int, last: int | None = None) -> float | None:
        """The mean of all those rows."""
        told = [each for each in self.periods[first:last] if each.mean is not None]
        count = sum(each.row_count for each in told)
        return sum((each.mean or 0) * each.row_count for each in told) / count if count else None


def read_timeline(
    view: View, column: str, bounds: Sequence[date], *, mean_of: str = ""
) -> Timeline:
    """The rows that the filters find, by when they are of; the last of `bounds` is the end.

    Periods before the first row are left out, but the latest twelve stay.
    """
    selection = view.selection()
    at = selection.column(column)
    figures: dict[str, sa.ColumnElement[Any]] = {"earlier": sa.func.count().filter(at < bounds[0])}
    for number, bound in enumerate(bounds):
        is_since = at >= bound
        figures[f"count_{number}"] = sa.func.count().filter(is_since)
        if mean_of:
            figures[f"sum_{number}"] = sa.func.sum(selection.column(mean_of)).filter(is_since)
    (found,) = read_groups(view.web.engine, selection, by=(), figures=figures)
    counts = [found[f"count_{number}"] for number in range(len(bounds))]
    sums = [float(found.get(f"sum_{number}") or 0) for number in range(len(bounds))]
    periods = [
        Period(
            since=since,
            row_count=count,
            mean=total / count if mean_of and count else None,
        )
        for since, count, total in zip(bounds, _steps(counts), _steps(sums), strict=False)
    ]
    first = next((n for n, period in enumerate(periods) if period.row_count), len(periods))
    kept = periods[min(first, len(periods) - _LEAST_PERIODS) :]
    return Timeline(periods=kept, earlier_count=found["earlier"])


def _steps(totals: Sequence[Any]) -> list[Any]:
    """From each total to the next."""
    return [total - after for total, after in pairwise(totals)]
