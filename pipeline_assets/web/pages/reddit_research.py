"""The page "Reddit research" of a brand: what people post about what it sells, and how much."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.datasets import Reader
from pipeline_assets.schemas import REDDIT_POSTS
from pipeline_assets.storage.json_lists import Held
from pipeline_assets.storage.listing import read_groups
from pipeline_assets.web.pages.reader_page import ReaderPage, View
from pipeline_assets.web.pages.voices import read_timeline, read_voices

router = APIRouter()

WEEKS = 52
MAX_SUBREDDITS = 12
KINDS = {
    "pain": "Pains",
    "desire": "Desires",
    "objection": "Objections",
    "question": "Questions",
    "praise": "Praise",
}

PAGE = ReaderPage(
    reader=Reader.REDDIT_RESEARCH,
    schema=REDDIT_POSTS,
    item="post",
    sort="posted_at",
    sortable=("posted_at", "score", "comment_count", "upvote_ratio", "title", "subreddit"),
    searched=("title", "body"),
    choices={
        "subreddit": "Subreddit",
        "term": "Search term",
        "kind": "Says",
        "flair": "Flair",
        "is_nsfw": "For adults",
    },
    held={"term": Held("matched_terms"), "kind": Held("phrases", "kind")},
)


@router.get("/brands/{brand}/reddit-research", name="reddit_research")
def reddit_research(view: Annotated[View, Depends(PAGE.open)]) -> Response:
    """The page: posts per week and subreddit, what is said most, and the posts."""
    if view.is_seen() or view.is_withheld or not view.listing.total:
        return view.render("reddit_research.html")
    return view.render(
        "reddit_research.html",
        kinds=KINDS,
        timeline=read_timeline(view, "posted_at", _weeks(view.now)),
        subreddits=_read_subreddits(view)[:MAX_SUBREDDITS],
        voices=read_voices(
            view,
            newest_by="posted_at",
            link_columns=("permalink",),
            link=lambda row: str(row["permalink"]),
        ),
    )


@router.get("/brands/{brand}/reddit-research.csv", name="reddit_research_csv")
def reddit_research_csv(view: Annotated[View, Depends(PAGE.open_csv)]) -> StreamingResponse:
    """The posts that the filters find."""
    return view.answer_csv()


def _weeks(now: datetime) -> list[datetime]:
    """Where the latest weeks begin, Mondays in UTC, and where the running one ends."""
    monday = datetime.combine(now.date() - timedelta(days=now.weekday()), time(), UTC)
    return [monday + timedelta(weeks=number) for number in range(1 - WEEKS, 2)]


def _read_subreddits(view: View) -> Sequence[Any]:
    """How much is posted in each and how it is taken, the liveliest first."""
    selection = view.selection()
    figures = {
        "post_count": sa.func.count(),
        "mean_score": sa.func.avg(selection.column("score")),
        "mean_comment_count": sa.func.avg(selection.column("comment_count")),
    }
    found = read_groups(view.web.engine, selection, by=("subreddit",), figures=figures)
    return sorted(found, key=lambda row: (-row["post_count"], row["subreddit"]))
