"""The page "Congruence insights" of a brand: whether its landing pages keep what its ads promise.

Scores, mismatches and outcomes are of `congruence_analysis`; what page and ad say, of
`landing_pages` and the ads themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.datasets import Reader
from pipeline_assets.schemas import CONGRUENCE_ANALYSIS
from pipeline_assets.storage.json_lists import holds
from pipeline_assets.storage.listing import BRAND, Beside, read_groups, read_listing
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.web.pages.reader_page import ReaderPage, View

router = APIRouter()

SCORES = ("message", "offer", "visual", "tone")
OUTCOMES = {
    "page_suspect": "Page suspect: many click, few buy",
    "ad_suspect": "Ad suspect: few click, those buy",
    "weak": "Weak: few click, few buy",
    "fine": "Fine: many click, many buy",
    "too_little_data": "Too little data",
}
"""What the outcome test says, in words, those to look at first at the top."""

MAX_POINTS = 400  # more would lie on top of each other

_OF_PAGE = {
    "page_title": "title",
    "page_h1": "h1",
    "page_hero": "hero_text",
    "page_price": "price",
    "page_currency": "currency",
    "page_discount": "discount",
    "page_cta": "cta",
}
_OF_AD = {"headline": "title", "primary_text": "body"}
_IS_SEVERE = "has_severe_mismatch"


def _severity() -> Beside:
    """Whether each pair has a severe mismatch, even one that does not change its total."""
    table = DATASET_TABLES["congruence_analysis"].alias("severity").c
    is_severe = ~holds(table.mismatches, None)
    rows = (
        sa.select(table.ad_id, table.url, is_severe.label(_IS_SEVERE))
        .where(table.brand_id == BRAND)
        .subquery("severities")
    )
    return Beside(rows=rows, on=("ad_id", "url"), columns={_IS_SEVERE: _IS_SEVERE})


PAGE = ReaderPage(
    reader=Reader.CONGRUENCE_INSIGHTS,
    schema=CONGRUENCE_ANALYSIS,
    item="ad and page pair",
    sort="total",
    is_descending=False,
    sortable=(*("total", "confidence", "link_ctr", "cvr", "ad_name", "url"), *SCORES),
    besides={
        "congruence_analysis": _severity(),
        "landing_pages": Beside(
            rows=DATASET_TABLES["landing_pages"], on=("url",), columns=_OF_PAGE
        ),
        "meta_ad_creatives": Beside(
            rows=DATASET_TABLES["meta_ad_creatives"],
            on=("ad_account_id", "ad_id"),
            columns=_OF_AD,
        ),
        "ad_thumbnails": Beside(
            rows=DATASET_TABLES["ad_thumbnails"],
            on=("creative_id",),
            columns={"thumbnail_sha256": "sha256"},
        ),
    },
    searched=("ad_id", "ad_name", "url", "headline", "page_title"),
    choices={"outcome": "Outcome", "page_state": "Page", _IS_SEVERE: "Severe mismatch"},
)


@router.get("/brands/{brand}/congruence-insights", name="congruence_insights")
def congruence_insights(view: Annotated[View, Depends(PAGE.open)]) -> Response:
    """The page: totals, scores and outcomes in pictures, and each ad beside its page."""
    template = "congruence_insights.html"
    if view.is_seen() or view.is_withheld:
        return view.render(template)
    return view.render(
        template,
        scores=SCORES,
        outcomes=OUTCOMES,
        summary=_read_summary(view),
        chart=_read_chart(view),
    )


@router.get("/brands/{brand}/congruence-insights.csv", name="congruence_insights_csv")
def congruence_insights_csv(
    view: Annotated[View, Depends(PAGE.open_csv)],
) -> StreamingResponse:
    """The pairs that the filters find: scores, evidence, what ad and page say."""
    return view.answer_csv()


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the pairs come to. `bins`: per whole total 0 to 9 (10 is in the last), (all, severe).

    Severe are those with a severe mismatch; some have no total, because their page is gone.
    """

    judged_count: int
    severe_count: int
    bins: Sequence[tuple[int, int]]
    means: Mapping[str, float | None]
    outcome_counts: Mapping[str, int]

    @property
    def highest_bin(self) -> int:
        """The pairs of the fullest bin."""
        return max(count for count, _ in self.bins)

    @property
    def severe_without_total_count(self) -> int:
        """The pairs with a severe mismatch that are in no bin."""
        return self.severe_count - sum(severe for _, severe in self.bins)


def _read_summary(view: View) -> Summary:
    selection = view.selection()
    column = selection.column
    total, is_severe = column("total"), column(_IS_SEVERE).is_(True)

    figures: dict[str, sa.ColumnElement[Any]] = {
        "judged": sa.func.count(total),
        "severe": sa.func.count().filter(is_severe),
        **{f"mean_{name}": sa.func.avg(column(name)) for name in SCORES},
        **{f"of_{name}": sa.func.count().filter(column("outcome") == name) for name in OUTCOMES},
    }
    for low in range(10):
        is_in = (total >= low) & ((total < low + 1) if low < 9 else sa.true())
        figures[f"bin_{low}"] = sa.func.count().filter(is_in)
        figures[f"severe_{low}"] = sa.func.count().filter(is_in, is_severe)
    (found,) = read_groups(view.web.engine, selection, by=(), figures=figures)
    return Summary(
        judged_count=found["judged"],
        severe_count=found["severe"],
        bins=[(found[f"bin_{low}"], found[f"severe_{low}"]) for low in range(10)],
        means={name: found[f"mean_{name}"] for name in SCORES},
        outcome_counts={name: found[f"of_{name}"] for name in OUTCOMES},
    )


@dataclass(frozen=True, kw_only=True)
class Point:
    """A pair in the chart: its place in per cent of the chart's width and height, from below."""

    x: float
    y: float
    outcome: str
    ad_id: str
    ad_name: str
    link_ctr: float
    cvr: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Link CTR to the right, CVR upwards; the lines are the medians of what is shown."""

    points: Sequence[Point]
    pair_count: int
    median_x: float
    median_y: float
    highest_ctr: float
    highest_cvr: float


def _read_chart(view: View) -> Chart | None:
    """The pairs that have both figures; None without any."""
    selection = view.selection()
    has_both = (selection.column("link_ctr").is_not(None), selection.column("cvr").is_not(None))
    columns = ("ad_id", "ad_name", "link_ctr", "cvr", "outcome")
    wanted = replace(selection, where=(*selection.where, *has_both), columns=columns)
    listing = read_listing(view.web.engine, wanted, limit=MAX_POINTS)
    if not listing.rows:
        return None
    ctrs = [row["link_ctr"] for row in listing.rows]
    cvrs = [row["cvr"] for row in listing.rows]
    # A tenth of room, so that no mark is cut off; something to divide by where all are 0.
    right, top = max(ctrs) * 1.1 or 1.0, max(cvrs) * 1.1 or 1.0
    points = [
        Point(
            x=row["link_ctr"] / right * 100,
            y=row["cvr"] / top * 100,
            outcome=row["outcome"],
            ad_id=row["ad_id"],
            ad_name=row["ad_name"] or row["ad_id"],
            link_ctr=row["link_ctr"],
            cvr=row["cvr"],
        )
        for row in listing.rows
    ]
    return Chart(
        points=points,
        pair_count=listing.total,
        median_x=median(ctrs) / right * 100,
        median_y=median(cvrs) / top * 100,
        highest_ctr=right,
        highest_cvr=top,
    )
