"""Every try at a single dataset."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query

from pipeline_assets.control.attempts import Attempt, read_attempts
from pipeline_assets.control.attempts import Position as AttemptPosition
from pipeline_assets.web.api.shapes import (
    Cursor,
    Limit,
    Listing,
    Names,
    Row,
    Shape,
    Since,
    Until,
    listing,
)
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import Viewer
from pipeline_assets.web.paging import Position, cut, read_cursor
from pipeline_assets.web.problems import Problem

router = APIRouter(tags=["history"])


class Outcome(StrEnum):
    """How an attempt can be looked for."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class AttemptView(Shape):
    """One try at one dataset of a brand inside a run."""

    brand_id: str
    dataset: str
    run_id: str
    job: str | None
    request_id: str | None
    organization_id: str | None
    window_since: date | None
    window_until: date | None
    began_at: datetime
    ended_at: datetime | None
    outcome: str | None
    """Null while it runs."""
    records: int | None
    distinct_ads: int | None
    error_class: str | None
    error_message: str | None
    advice: str | None
    retry_after_seconds: float | None


@router.get("/attempts", response_model=Listing[AttemptView])
def list_attempts(
    principal: Viewer,
    web: Web,
    brand: Names = frozenset(),
    dataset: Names = frozenset(),
    outcome: Annotated[frozenset[Outcome], Query()] = frozenset(),
    error_class: Names = frozenset(),
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Row:
    """List attempts, the newest first; `since` and `until` are about when they began."""
    found = read_attempts(
        web.engine,
        organization_ids=principal.organization_ids,
        brand_ids=brand or None,
        datasets=dataset or None,
        outcomes=outcome or None,
        error_classes=error_class or None,
        since=since,
        until=until,
        limit=limit + 1,
        before=_read_position(cursor),
    )
    return listing(*cut(found, limit, _position_of))


def _position_of(attempt: Attempt) -> Position:
    at, *names = attempt.position
    return at, "/".join(names)


def _read_position(cursor: str | None) -> AttemptPosition | None:
    position = read_cursor(cursor)
    if position is None:
        return None
    names = position[1].split("/")
    if len(names) != 3:
        raise Problem(422, "The cursor is none of ours.", advice="Begin again without one.")
    run_id, brand_id, dataset = names
    return position[0], run_id, brand_id, dataset
