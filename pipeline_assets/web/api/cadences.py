"""Cadences: when which job runs for which brand, or for all brands of an organization."""

from datetime import datetime
from typing import Annotated

import fastapi
from fastapi import APIRouter, Query
from pydantic import Field

from pipeline_assets.control.cadence_ticks import Preset, preset_of
from pipeline_assets.control.cadences import (
    Cadence,
    list_cadences,
    pause_cadence,
    resume_cadence,
    set_cadence,
    upcoming,
)
from pipeline_assets.control.cadences import preview_cadence as work_out_preview
from pipeline_assets.control.targets import Target
from pipeline_assets.web.api.brands import Pause
from pipeline_assets.web.api.shapes import (
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
from pipeline_assets.web.identity import OperatedTarget, Operator, ViewedTarget, Viewer
from pipeline_assets.web.paging import cut_after, read_name_cursor
from pipeline_assets.web.problems import not_found

router = APIRouter(tags=["cadences"])

_SHOWN_TICKS = 3

JobName = Annotated[str, fastapi.Path(description="The job's name, such as `meta_sync`.")]


class CadenceView(Shape):
    """When a job runs for a brand."""

    brand_id: str
    """`*north` for all brands of the organization north in one run."""
    job: str
    cron: str
    timezone: str
    preset: Preset | None
    in_words: str
    next_run_at: datetime
    next_runs: list[datetime]
    """The next three ticks; a pause lets them pass."""
    last_tick_at: datetime | None
    last_tick_result: str | None
    """What came of it: `requested`, or why it made no request."""
    last_request_id: str | None
    is_paused: bool
    paused_at: datetime | None
    paused_reason: str | None
    paused_until: datetime | None
    updated_at: datetime
    updated_by: str


class CadenceSetting(Asked):
    """A cadence as one sets it."""

    cadence: Annotated[str, Field(max_length=100, examples=["daily", "30 6 * * mon-fri"])]
    """`hourly`, `every_6_hours`, `daily`, `twice_weekly`, `weekly`, or five cron fields."""
    timezone: Annotated[str, Field(max_length=100, examples=["Europe/Berlin"])] | None = None
    """The brand's own when left out; for all brands of an organization, that of most of them."""


class PreviewView(Shape):
    """What a cadence would be; nothing is stored."""

    cron: str
    timezone: str
    preset: Preset | None
    in_words: str
    next_runs: list[datetime]
    clock_warning: str
    """What the changes of the zone's clock in the year to come do to it; may be empty."""


@router.get("/cadences", response_model=Listing[CadenceView])
def list_all_cadences(
    principal: Viewer,
    web: Web,
    brand: Name | None = None,
    job: Name | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Row:
    """List the cadences of your brands and organizations, by brand and job."""
    after = read_name_cursor(cursor)
    found = list_cadences(
        web.engine, organization_ids=principal.organization_ids, brand_id=brand, job=job
    )
    by_target = sorted(found, key=lambda each: each.target)
    page, next_cursor = cut_after(by_target, after, limit, lambda each: each.target)
    return listing([_view(each, web.now()) for each in page], next_cursor)


@router.get("/brands/{brand}/cadences/{job}", response_model=CadenceView)
def get_cadence(_: Viewer, brand: ViewedTarget, web: Web, job: JobName) -> CadenceView:
    """Tell about one cadence."""
    return _view(_find(web, brand, job), web.now())


@router.put("/brands/{brand}/cadences/{job}", response_model=CadenceView)
def set_one_cadence(
    principal: Operator, brand: OperatedTarget, web: Web, job: JobName, asked: CadenceSetting
) -> CadenceView:
    """Add or change a cadence; it starts no run, and a pause stays."""
    stored = set_cadence(
        web.engine,
        brand.id,
        job,
        asked.cadence,
        timezone=asked.timezone,
        actor=principal.actor,
        now=web.now(),
    )
    return _view(stored, web.now())


@router.post("/brands/{brand}/cadences/{job}/pause", response_model=CadenceView)
def pause_one_cadence(
    principal: Operator, brand: OperatedTarget, web: Web, job: JobName, asked: Pause
) -> CadenceView:
    """Let no tick make a request until then, or until it is resumed."""
    _find(web, brand, job)
    paused = pause_cadence(
        web.engine,
        brand.id,
        job,
        reason=asked.reason,
        until=asked.until,
        actor=principal.actor,
        now=web.now(),
    )
    return _view(paused, web.now())


@router.post("/brands/{brand}/cadences/{job}/resume", response_model=CadenceView)
def resume_one_cadence(
    principal: Operator, brand: OperatedTarget, web: Web, job: JobName
) -> CadenceView:
    """End a cadence's pause; it starts no run, and nothing happens to one that is not paused."""
    _find(web, brand, job)
    return _view(
        resume_cadence(web.engine, brand.id, job, actor=principal.actor, now=web.now()), web.now()
    )


@router.get("/brands/{brand}/cadences/{job}/preview", response_model=PreviewView)
def preview_cadence(
    _: Viewer,
    brand: ViewedTarget,
    web: Web,
    job: JobName,
    cadence: Annotated[str, Query(max_length=100, examples=["daily"])],
    timezone: Annotated[str | None, Query(max_length=100)] = None,
    count: Annotated[int, Query(ge=1, le=100)] = _SHOWN_TICKS,
) -> PreviewView:
    """Tell when a cadence would be due, before it is set."""
    found = work_out_preview(brand, job, cadence, timezone=timezone, now=web.now(), count=count)
    return PreviewView(
        cron=found.cron,
        timezone=found.timezone,
        preset=preset_of(found.cron, brand.id, job),
        in_words=found.in_words,
        next_runs=list(found.ticks),
        clock_warning=found.clock_warning,
    )


def _find(web: Context, brand: Target, job: str) -> Cadence:
    found = list_cadences(web.engine, brand_id=brand.id, job=job)
    if not found:
        raise not_found("such cadence")
    return found[0]


def _view(cadence: Cadence, now: datetime) -> CadenceView:
    return CadenceView(
        **cadence.as_row(),
        next_runs=upcoming(cadence, now, _SHOWN_TICKS),
        is_paused=cadence.is_paused(now),
    )
