"""What became of every wish, and the logs of its runs."""

from datetime import date, datetime
from typing import Annotated

import fastapi
from fastapi import APIRouter, Query

from pipeline_assets.control.history import Chain, read_chains, read_history, read_runs
from pipeline_assets.control.requests import RequestState, Trigger
from pipeline_assets.control.run_logs import read_log
from pipeline_assets.people.roles import Principal
from pipeline_assets.web.api.requests import RequestView
from pipeline_assets.web.api.shapes import (
    Cursor,
    Limit,
    Listing,
    Name,
    Names,
    Row,
    Shape,
    Since,
    Until,
    listing,
)
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import Viewer
from pipeline_assets.web.paging import cut, read_cursor
from pipeline_assets.web.problems import not_found

router = APIRouter(tags=["history"])

ChainId = Annotated[str, fastapi.Path(description="The id of the chain's first request.")]


class ChainView(Shape):
    """One wish and what became of it: its first request and all further tries."""

    chain_id: str
    organization_id: str | None
    brand_id: str
    job: str
    datasets: list[str] | None
    """Null: all of the job's."""
    window_since: date | None
    window_until: date | None
    resync_id: str | None
    trigger: Trigger
    requested_by: str
    reason: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    state: RequestState
    tries: int
    """How many of them got a run."""
    next_try_at: datetime | None
    outcomes: dict[str, str]
    """By dataset, each one's last: succeeded, failed, skipped or cancelled."""
    records: int
    error_class: str | None
    """Of the error that stands in the way now."""
    error_message: str | None
    advice: str | None
    run_ids: list[str]
    requests: list[RequestView]


class LogLineView(Shape):
    """One line of a run's log; secrets are masked."""

    position: int
    at: datetime
    level: str
    kind: str
    """The type of Dagster's event; empty for what code wrote."""
    step: str
    text: str
    error: str
    """An exception with its stack, or empty."""


class LogView(Shape):
    """Some lines of a run's log, the oldest first."""

    run_id: str
    is_deleted: bool
    """Whether Dagster has deleted the run, and its log with it."""
    is_ended: bool
    """Whether the run has ended: hardly any lines will come."""
    lines: list[LogLineView]
    next_after: int | None
    """What to pass as `after` for the lines that follow; null when there are no more."""


@router.get("/history", response_model=Listing[ChainView])
def list_history(
    principal: Viewer,
    web: Web,
    brand: Names = frozenset(),
    job: Name | None = None,
    dataset: Name | None = None,
    state: Annotated[frozenset[RequestState], Query()] = frozenset(),
    trigger: Trigger | None = None,
    actor: Annotated[str | None, Query(max_length=200, description="A part of it.")] = None,
    error_class: Name | None = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Row:
    """List wishes and what became of them, the newest first; all tries of one are one item."""
    found = read_history(
        web.engine,
        organization_ids=principal.organization_ids,
        brand_ids=brand or None,
        job=job,
        dataset=dataset,
        states=state or None,
        error_class=error_class,
        trigger=trigger,
        requested_by=actor,
        since=since,
        until=until,
        limit=limit + 1,
        before=read_cursor(cursor),
    )
    return listing(*cut(found, limit, lambda chain: chain.position))


@router.get("/history/{chain_id}", response_model=ChainView)
def get_chain(principal: Viewer, web: Web, chain_id: ChainId) -> Chain:
    """Tell what became of one wish."""
    return _visible(web, principal, chain_id)


@router.get("/history/{chain_id}/log", response_model=LogView)
def get_log(
    principal: Viewer,
    web: Web,
    chain_id: ChainId,
    run: Annotated[str | None, Query(max_length=100, description="A run; else the last.")] = None,
    after: Annotated[int, Query(ge=-1, le=2**62)] = -1,
) -> Row:
    """Read the log of one of a wish's runs, a page at a time, also while it goes on."""
    chain = _visible(web, principal, chain_id)
    runs = [run_id for of_request in read_runs(web.engine, chain).values() for run_id in of_request]
    run_id = run or next(reversed(runs), None)
    if run_id is None or run_id not in runs:
        raise not_found("such run")
    page = read_log(web.background.instance, run_id, after=after)
    if page is None:
        gone = {"is_deleted": True, "is_ended": True, "lines": [], "next_after": None}
        return {"run_id": run_id, **gone}
    last = page.entries[-1].position if page.entries else after
    return {
        "run_id": run_id,
        "is_deleted": False,
        "is_ended": page.is_ended,
        "lines": page.entries,
        "next_after": None if page.is_last and page.is_ended else last,
    }


def _visible(web: Context, principal: Principal, chain_id: str) -> Chain:
    found = read_chains(web.engine, [chain_id], organization_ids=principal.organization_ids)
    if not found:
        raise not_found("such chain")
    return found[0]
