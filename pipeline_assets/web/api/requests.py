"""Requests: ask for a sync, see how far it is, cancel it."""

from datetime import date, datetime
from typing import Annotated

import fastapi
from fastapi import APIRouter, Query, Response
from pydantic import Field

from pipeline_assets.control.request_progress import RequestProgress, read_progress
from pipeline_assets.control.requests import (
    Request,
    RequestState,
    Trigger,
    Wish,
    cancel_request,
    list_requests,
    request_sync,
)
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.roles import Role
from pipeline_assets.web.api.shapes import (
    CONFLICT,
    Asked,
    Cursor,
    Limit,
    Listing,
    Name,
    Names,
    Row,
    Shape,
    listing,
)
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import (
    Operator,
    Viewer,
    check_role,
    visible_request,
    visible_target,
)
from pipeline_assets.web.paging import cut, read_cursor
from pipeline_assets.web.problems import Problem

router = APIRouter(tags=["requests"])

RequestId = Annotated[str, fastapi.Path(description="The request's id.")]


class RequestView(Shape):
    """The stored wish to run a job for a brand."""

    id: str
    organization_id: str | None
    brand_id: str
    job: str
    datasets: list[str] | None
    """Null: all of the job's. Of a job over several sources, those that the brand has."""
    brand_ids: list[str] | None
    """Of a request for all brands of an organization: those it is kept to; null: all."""
    window_since: date | None
    window_until: date | None
    state: RequestState
    trigger: Trigger
    requested_by: str
    reason: str
    requested_at: datetime
    not_before: datetime
    attempt: int
    """1 for the first try, 2 for the one after its failure, and so on."""
    chain_id: str
    """The first of these tries: what the history calls them all."""
    retry_of: str | None
    resync_id: str | None
    run_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    outcomes: dict[str, str] | None
    """By dataset: succeeded, failed, skipped or cancelled; partial: in some of the brands."""
    records: int | None
    error_class: str | None
    error_message: str | None
    advice: str | None
    archived_at: datetime | None


class DatasetProgressView(Shape):
    """A request's last attempt at a dataset; nothing is set before it began."""

    brand_id: str
    dataset: str
    outcome: str | None
    stage: str | None
    done: int | None
    total: int | None
    beat_at: datetime | None
    """When the running attempt last said how far it is."""
    records: int | None
    missing: str | None
    """Why it succeeded but stored nothing new, where it says so."""
    error_class: str | None
    error_message: str | None
    advice: str | None


class RequestProgressView(RequestView):
    """A request and how far it is."""

    waits_for: str
    """What it has to wait for before it runs; empty when it runs or has ended."""
    blocked_until: datetime | None
    """When the last rate limit that its brand shares opens again."""
    progress: list[DatasetProgressView]
    retry_id: str | None
    """The further try that its failure has brought about."""
    left_out: dict[str, str]
    """Until a request for all brands of an organization ends: those it passes over, with why."""


_Datasets = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)]


class SyncWish(Asked):
    """What to run."""

    brand: Annotated[str, Field(max_length=200, examples=["acme"])]
    """A brand; `*north` for all brands of the organization north, for a job that is across brands.
    """
    job: Annotated[str, Field(max_length=200)] = "meta_sync"
    datasets: (
        Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)] | None
    ) = None
    """Some of the job's; all when left out."""
    reason: Annotated[str, Field(max_length=500)] = ""


@router.post(
    "/requests",
    response_model=RequestProgressView,
    status_code=201,
    responses={200: {"model": RequestProgressView, "description": "The one that is active."}},
)
def sync_now(principal: Operator, web: Web, asked: SyncWish, response: Response) -> Row:
    """Ask for a sync now; 201 with a new request, 200 with the active one of this brand and job.

    Asking twice makes one request; an active one that has not started comes as early and with all
    the datasets that were asked for.
    """
    target = visible_target(web, principal, asked.brand)
    check_role(principal, Role.OPERATOR, target.organization_id)
    wish = Wish(
        brand_id=target.id,
        job=asked.job,
        trigger=Trigger.API,
        requested_by=principal.actor,
        reason=asked.reason,
        datasets=tuple(asked.datasets) if asked.datasets is not None else None,
    )
    stored, is_new = request_sync(web.engine, wish, now=web.now())
    web.background.hurry()
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/api/v1/requests/{stored.id}"
    return _progress(web, stored.id)


@router.get("/requests", response_model=Listing[RequestView])
def list_all_requests(
    principal: Viewer,
    web: Web,
    brand: Names = frozenset(),
    job: Name | None = None,
    state: Annotated[frozenset[RequestState], Query()] = frozenset(),
    archived: bool | None = None,  # noqa: FBT001 - a parameter in the address
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Row:
    """List requests, the newest wish first; archived ones too unless told otherwise."""
    found = list_requests(
        web.engine,
        organization_ids=principal.organization_ids,
        brand_ids=brand or None,
        job=job,
        states=state or None,
        is_archived=archived,
        limit=limit + 1,
        before=read_cursor(cursor),
    )
    return listing(*cut(found, limit, lambda request: (request.requested_at, request.id)))


@router.get("/requests/{request_id}", response_model=RequestProgressView)
def get_one_request(principal: Viewer, web: Web, request_id: RequestId) -> Row:
    """Tell how far a request is: what it waits for, and what each of its datasets is at."""
    return _progress(web, visible_request(web, principal, request_id).id)


@router.post(
    "/requests/{request_id}/cancel", response_model=RequestProgressView, responses=CONFLICT
)
def cancel(principal: Operator, web: Web, request_id: RequestId) -> Row:
    """Cancel a request: a queued one at once, a running one as soon as its run has stopped.

    One that has ended is left as it is, and answered with 409.
    """
    request = visible_request(web, principal, request_id)
    check_role(principal, Role.OPERATOR, request.organization_id)
    try:
        cancel_request(web.engine, request.id, actor=principal.actor, now=web.now())
    except InvalidConfigError as error:
        raise Problem(409, str(error), advice=error.advice) from None
    web.background.hurry()
    return _progress(web, request.id)


def _progress(web: Context, request_id: str) -> Row:
    app_id = web.installation.settings.meta_app_id
    return _as_row(read_progress(web.engine, request_id, now=web.now(), default_app_id=app_id))


def _as_row(progress: RequestProgress) -> Row:
    request: Request = progress.request
    return vars(request) | {
        "waits_for": progress.waits_for,
        "blocked_until": progress.blocked_until,
        "progress": progress.datasets,
        "retry_id": progress.retry.id if progress.retry else None,
        "left_out": progress.left_out,
    }
