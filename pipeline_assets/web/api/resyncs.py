"""Resyncs: long windows synced again, piece by piece."""

from datetime import date, datetime
from typing import Annotated

import fastapi
from fastapi import APIRouter, Response
from pydantic import Field

from pipeline_assets.control.resyncs import (
    Resync,
    ResyncState,
    cancel_resync,
    get_resync,
    list_resyncs,
    start_resync,
)
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.web.api.shapes import (
    CONFLICT,
    Asked,
    Cursor,
    Limit,
    Listing,
    Name,
    Row,
    Shape,
    listing,
)
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import Operator, Viewer, check_role, visible_brand
from pipeline_assets.web.paging import cut, read_cursor
from pipeline_assets.web.problems import Problem, not_found

router = APIRouter(tags=["resyncs"])

ResyncId = Annotated[str, fastapi.Path(description="The resync's id.")]


class ResyncView(Shape):
    """A window of days that is synced again, the newest days first."""

    id: str
    organization_id: str | None
    brand_id: str
    job: str
    since: date
    until: date
    remaining_until: date
    """Days after it are done."""
    done_days: int
    total_days: int
    state: ResyncState
    requested_by: str
    reason: str
    requested_at: datetime
    finished_at: datetime | None
    error_class: str | None
    error_message: str | None
    advice: str | None


class ResyncWish(Asked):
    """What to sync again."""

    brand: Annotated[str, Field(max_length=200, examples=["acme"])]
    job: Annotated[str, Field(max_length=200)] = "meta_sync"
    since: date
    """The first day."""
    until: date
    """The last day."""
    reason: Annotated[str, Field(max_length=500)] = ""


@router.post("/resyncs", response_model=ResyncView, status_code=201)
def start(principal: Operator, web: Web, asked: ResyncWish, response: Response) -> Resync:
    """Begin to sync a window again, or go on with the same one that stopped before its end."""
    brand = visible_brand(web, principal, asked.brand)
    check_role(principal, Role.OPERATOR, brand.organization_id)
    resync = start_resync(
        web.engine,
        brand_id=brand.id,
        job=asked.job,
        since=asked.since,
        until=asked.until,
        reason=asked.reason,
        actor=principal.actor,
        now=web.now(),
    )
    web.background.hurry()
    response.headers["Location"] = f"/api/v1/resyncs/{resync.id}"
    return resync


@router.get("/resyncs", response_model=Listing[ResyncView])
def list_all_resyncs(
    principal: Viewer,
    web: Web,
    brand: Name | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Row:
    """List resyncs, the newest first."""
    found = list_resyncs(
        web.engine,
        organization_ids=principal.organization_ids,
        brand_id=brand,
        limit=limit + 1,
        before=read_cursor(cursor),
    )
    return listing(*cut(found, limit, lambda resync: (resync.requested_at, resync.id)))


@router.get("/resyncs/{resync_id}", response_model=ResyncView)
def get_one_resync(principal: Viewer, web: Web, resync_id: ResyncId) -> Resync:
    """Tell how far a resync is."""
    return _visible(web, principal, resync_id)


@router.post("/resyncs/{resync_id}/cancel", response_model=ResyncView, responses=CONFLICT)
def cancel_one_resync(principal: Operator, web: Web, resync_id: ResyncId) -> Resync:
    """Stop a resync and the piece that is under way; what is done stays."""
    resync = _visible(web, principal, resync_id)
    check_role(principal, Role.OPERATOR, resync.organization_id)
    try:
        cancelled = cancel_resync(web.engine, resync.id, actor=principal.actor, now=web.now())
    except InvalidConfigError as error:
        raise Problem(409, str(error), advice=error.advice) from None
    web.background.hurry()
    return cancelled


def _visible(web: Context, principal: Principal, resync_id: str) -> Resync:
    try:
        resync = get_resync(web.engine, resync_id)
    except InvalidConfigError:
        raise not_found("such resync") from None
    if not principal.may(Role.VIEWER, resync.organization_id):
        raise not_found("such resync")
    return resync
