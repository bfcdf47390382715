"""The page "Template evaluation" of a brand: which templates work, and what became of them.

Templates are of `templates_scraped`; whether they may be used, and what their scores are made of,
of `template_approvals`; the ads drafted from them, of `ad_creations`. A copy that the rules decided
on shares the fate of what it copies, whatever its score: charts of scores leave it out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.control.item_decisions import read_tag
from pipeline_assets.datasets import Reader
from pipeline_assets.schemas import AD_CREATIONS, TEMPLATE_APPROVALS, TEMPLATES_SCRAPED
from pipeline_assets.storage.listing import BRAND, Beside, Selection, iterate_listing, read_groups
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.web.pages.reader_page import ReaderPage, View

router = APIRouter()

STATES = {"approved": "Approved", "pending": "Waits for a person", "rejected": "Rejected"}
SIGNS = {
    "days_running": "Days running",
    "still_active": "Still running",
    "copies": "Copies at once",
    "eu_reach": "Reach in the EU",
    "complete": "Complete",
    "recent": "Ran lately",
}
"""What people call the parts of the score."""

BIN_COUNT = 10
"""Bars of the scores, which are 0 to 100."""

MAX_ADVERTISERS = 10
"""So many are compared; the table can be filtered by all."""

_COMPARED = ("approved", "rejected")
_OF_APPROVAL = (
    *("state", "decided_by", "decided_at", "reasons", "is_overruled", "policy_words"),
    *("score", "score_parts"),
)
_OF_DRAFTS = ("draft_count", "approved_draft_count", "rejected_draft_count")


def _approvals() -> Beside:
    """What was decided of each template; `decider` says by whom without naming the person."""
    table = DATASET_TABLES["template_approvals"].c
    by_rules = table.decided_by == "rules"
    decider = sa.case((~by_rules, "a person"), (table.state != "pending", "rules"))
    rows = (
        sa.select(
            table.template_id.label("library_ad_id"),
            decider.label("decider"),
            *(table[name] for name in _OF_APPROVAL),
        )
        .where(table.brand_id == BRAND)
        .group_by(table.brand_id, table.template_id)  # the key: of one row each
        .subquery("approvals")
    )
    return Beside(
        rows=rows, on=("library_ad_id",), columns={n: n for n in (*_OF_APPROVAL, "decider")}
    )


def _drafts() -> Beside:
    """How many ads were drafted from each template, and what people said of them."""
    table = DATASET_TABLES["ad_creations"].c
    rows = (
        sa.select(
            table.template_id.label("library_ad_id"),
            sa.func.count().label("draft_count"),
            sa.func.count().filter(table.review_state == "approved").label("approved_draft_count"),
            sa.func.count().filter(table.review_state == "rejected").label("rejected_draft_count"),
        )
        .where(table.brand_id == BRAND)
        .group_by(table.template_id)
        .subquery("drafts")
    )
    return Beside(rows=rows, on=("library_ad_id",), columns={n: n for n in _OF_DRAFTS})


def _copies() -> Beside:
    """How many copies of each template there are."""
    table = DATASET_TABLES["templates_scraped"].alias("copy").c
    rows = (
        sa.select(table.duplicate_of.label("library_ad_id"), sa.func.count().label("copy_count"))
        .where(table.brand_id == BRAND, table.duplicate_of.is_not(None))
        .group_by(table.duplicate_of)
        .subquery("copies")
    )
    return Beside(rows=rows, on=("library_ad_id",), columns={"copy_count": "copy_count"})


PAGE = ReaderPage(
    reader=Reader.TEMPLATE_EVALUATION,
    schema=TEMPLATES_SCRAPED,
    item="template",
    sort="score",
    sortable=(
        *("score", "page_name", "state", "days_running", "started_on", "copy_count", "eu_reach"),
        *("draft_count", "approved_draft_count"),
    ),
    columns=(
        *("library_ad_id", "source", "matched_by", "page_name", "title", "body", "titles"),
        *("bodies", "description", "cta", "landing_url", "preview_sha256", "started_on"),
        *("stopped_on", "is_active", "days_running", "platforms", "eu_reach", "duplicate_of"),
        *("library_url", "first_seen_at", "last_seen_at"),
    ),
    besides={
        "template_approvals": _approvals(),
        "ad_creations": _drafts(),
        "templates_scraped": _copies(),
    },
    searched=("page_name", "title", "body", "library_ad_id"),
    choices={
        "state": "State",
        "decider": "Decided by",
        "page_name": "Advertiser",
        "source": "Source",
    },
    csv=(
        *("library_ad_id", "page_name", "source", "matched_by", "title", "body", "titles"),
        *("bodies", "description", "cta", "landing_url", "library_url", "started_on"),
        *("stopped_on", "is_active", "days_running", "platforms", "eu_reach", "copy_count"),
        *("duplicate_of", "first_seen_at", "last_seen_at", *_OF_APPROVAL, *_OF_DRAFTS),
    ),
)


@router.get("/brands/{brand}/template-evaluation", name="template_evaluation")
def template_evaluation(view: Annotated[View, Depends(PAGE.open)]) -> Response:
    """The page: what became of the templates, their scores, their advertisers, and each of them."""
    template = "template_evaluation.html"
    decisions = _decisions(view)
    if view.is_seen(decisions) or view.is_withheld:
        return view.render(template, state=decisions)
    return view.render(
        template,
        state=decisions,
        states=STATES,
        signs=SIGNS,
        summary=_read_summary(view),
        parts=_read_parts(view),
        ran=_read_advertisers(view),
    )


@router.get("/brands/{brand}/template-evaluation.csv", name="template_evaluation_csv")
def template_evaluation_csv(
    view: Annotated[View, Depends(PAGE.open_csv)],
) -> StreamingResponse:
    """The templates that the filters find, with what became of them."""
    return view.answer_csv()


def _decisions(view: View) -> str:
    """Changes with each decision of a person about a template or a draft of the brand."""
    engine, brand_ids = view.web.engine, [view.brand.id]
    decided = (TEMPLATE_APPROVALS.name, AD_CREATIONS.name)
    return " ".join(read_tag(engine, brand_ids=brand_ids, dataset=each) for each in decided)


def _is_judged_alone(selection: Selection) -> sa.ColumnElement[bool]:
    """Whether its own score decided, or a person: not that of what it copies."""
    return selection.column("duplicate_of").is_(None) | (selection.column("decided_by") != "rules")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the templates come to that the filters find.

    `counts`: by state, "" where not judged yet. `bins`: for each ten of the score (100 is in the
    last) the states that it has, with their templates. `used`: templates with a draft,
    `still_approved` of them; `worked`: those with one that a person approved.
    """

    counts: Mapping[str, int]
    copy_count: int
    left_out_count: int
    bins: Sequence[Mapping[str, int]]
    used_count: int
    still_approved_count: int
    worked_count: int
    draft_count: int
    approved_draft_count: int
    rejected_draft_count: int

    @property
    def found_count(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def highest_bin(self) -> int:
        """The templates of the fullest bin."""
        return max(sum(each.values()) for each in self.bins)


def _read_summary(view: View) -> Summary:
    selection = view.selection()
    column = selection.column
    score, is_alone = column("score"), _is_judged_alone(selection)
    figures: dict[str, sa.ColumnElement[Any]] = {
        "found": sa.func.count(),
        "copies": sa.func.count().filter(column("duplicate_of").is_not(None)),
        "left_out": sa.func.count().filter(score.is_not(None) & ~is_alone),
        "used": sa.func.count().filter(column("draft_count") > 0),
        "worked": sa.func.count().filter(column("approved_draft_count") > 0),
        **{name: sa.func.sum(column(name)) for name in _OF_DRAFTS},
    }
    width = 100 // BIN_COUNT
    for number in range(BIN_COUNT):
        low = number * width
        is_below = score < low + width if number < BIN_COUNT - 1 else sa.true()
        figures[f"bin_{number}"] = sa.func.count().filter(is_alone & (score >= low) & is_below)
    found = read_groups(view.web.engine, selection, by=("state",), figures=figures)
    by_state = {each["state"] or "": {n: int(each[n] or 0) for n in figures} for each in found}

    def total(name: str) -> int:
        return sum(each[name] for each in by_state.values())

    return Summary(
        counts={state: each["found"] for state, each in by_state.items()},
        copy_count=total("copies"),
        left_out_count=total("left_out"),
        bins=[
            {
                state: by_state[state][f"bin_{number}"]
                for state in STATES
                if state in by_state and by_state[state][f"bin_{number}"]
            }
            for number in range(BIN_COUNT)
        ],
        used_count=total("used"),
        still_approved_count=by_state.get("approved", {}).get("used", 0),
        worked_count=total("worked"),
        draft_count=total("draft_count"),
        approved_draft_count=total("approved_draft_count"),
        rejected_draft_count=total("rejected_draft_count"),
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """Points for one sign of success, `most` at most: the mean by state, None where unknown."""

    name: str
    most: float
    means: Mapping[str, float | None]


def _read_parts(view: View) -> list[Part]:
    """What the scores are made of, approved against rejected; of what is known of the templates."""
    selection = view.selection()
    is_compared = selection.column("state").in_(_COMPARED) & _is_judged_alone(selection)
    wanted = replace(
        selection,
        columns=(),
        besides=tuple(_with_only(each, {"state", "score_parts"}) for each in selection.besides),
        where=(*selection.where, is_compared),
        sort="",
    )
    most: dict[str, float] = {}
    points: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in iterate_listing(view.web.engine, wanted):
        for part in row["score_parts"]:
            most[part["name"]] = max(most.get(part["name"], 0.0), part["most"])
            if part["most"]:
                points[row["state"], part["name"]].append(part["points"])
    return [
        Part(
            name=name,
            most=limit,
            means={
                state: fmean(points[state, name]) if (state, name) in points else None
                for state in _COMPARED
            },
        )
        for name, limit in most.items()
        if limit
    ]


def _with_only(beside: Beside, names: set[str]) -> Beside:
    return replace(beside, columns={n: c for n, c in beside.columns.items() if n in names})


@dataclass(frozen=True, kw_only=True)
class Advertiser:
    """Templates of one page, and for how many days they ran; None where nothing tells."""

    page_name: str | None
    template_count: int
    approved_count: int
    shortest: int | None
    mean: float | None
    longest: int | None


@dataclass(frozen=True)
class Advertisers:
    """Those with the most templates, most first, of `count` in all."""

    shown: Sequence[Advertiser]
    count: int

    @property
    def longest(self) -> int:
        """The most days that one of their templates ran."""
        return max((each.longest or 0 for each in self.shown), default=0)


def _read_advertisers(view: View) -> Advertisers:
    selection = view.selection()
    days = selection.column("days_running")
    figures: dict[str, sa.ColumnElement[Any]] = {
        "template_count": sa.func.count(),
        "approved_count": sa.func.count().filter(selection.column("state") == "approved"),
        "shortest": sa.func.min(days),
        "mean": sa.func.avg(sa.cast(days, sa.Float)),
        "longest": sa.func.max(days),
    }
    found = read_groups(view.web.engine, selection, by=("page_name",), figures=figures)
    found.sort(key=lambda each: -each["template_count"])
    return Advertisers([Advertiser(**each) for each in found[:MAX_ADVERTISERS]], len(found))
