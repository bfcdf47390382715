"""Active jobs: what runs, what waits and why, and what can be stopped."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from pipeline_assets.brands.registry import read_summaries
from pipeline_assets.control.cadences import Cadence, list_cadences
from pipeline_assets.control.request_progress import list_active, read_progresses
from pipeline_assets.control.requests import Request as SyncRequest
from pipeline_assets.control.requests import RequestState
from pipeline_assets.control.resyncs import ResyncState, list_resyncs
from pipeline_assets.people.roles import Role
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import PageViewer, shown
from pipeline_assets.web.pages.listing import address, cut_page
from pipeline_assets.web.templating import render

router = APIRouter(dependencies=[Depends(shown("pipeline_manager"))])

PAGE_SIZE = 100

_STAYS = timedelta(minutes=1)
"""How long one that has ended stays in its row, so that somebody who watches sees its end."""
_NEXT_CADENCES = 5


@router.get("/active", name="active")
def show_active(
    request: Request,
    principal: PageViewer,
    web: Web,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    rows: Annotated[str, Query(max_length=20_000)] = "",
) -> Response:
    """Everything that has not ended; thirteen queries at most, however much it is.

    `rows` are the requests that a poll shows again in the order they had; new ones follow them.
    """
    now = web.now()
    seen = principal.organization_ids
    shown_before = rows.split(",")[:PAGE_SIZE] if rows else []
    found = list_active(web.engine, now=now, organization_ids=seen, also=shown_before)
    active = [each for each in found if each.state.is_active]
    cut = cut_page(_in_order(found, shown_before, now=now) or active, page, PAGE_SIZE)
    progresses = read_progresses(
        web.engine, cut.items, now=now, default_app_id=web.installation.settings.meta_app_id
    )
    with web.engine.connect() as connection:
        brands = read_summaries(connection, organization_ids=seen)
    running = list_resyncs(
        web.engine, organization_ids=seen, state=ResyncState.RUNNING, limit=10_000
    )
    cadences = [] if progresses else list_cadences(web.engine, organization_ids=seen)
    return render(
        request,
        "active.html",
        now=now,
        pulse=web.background.pulse,
        page=cut,
        progresses=progresses,
        counts=_counts(active, now=now),
        brands=brands,
        resyncs={each.id: each for each in running},
        next_cadences=_next(cadences, now=now),
        can_operate=principal.may_anywhere(Role.OPERATOR),
        dagster_url=web.dagster_url,
        poll_url=address(request, rows=",".join(each.id for each in cut.items)),
        address=lambda **changes: address(request, **{"rows": None, **changes}),
    )


def _in_order(
    found: Sequence[SyncRequest], shown_before: Sequence[str], *, now: datetime
) -> list[SyncRequest]:
    """The requests of a poll: those shown before in their places, then the others that are active.

    What has ended leaves its place a while later.
    """
    if not shown_before:
        return []
    by_id = {each.id: each for each in found}
    kept = [by_id[each] for each in dict.fromkeys(shown_before) if each in by_id]
    new = [each for each in found if each.id not in shown_before]
    return [
        each
        for each in (*kept, *new)
        if each.state.is_active or (each.finished_at and now - each.finished_at < _STAYS)
    ]


def _counts(active: Sequence[SyncRequest], *, now: datetime) -> dict[str, int]:
    """How many run, are to start, and wait for their time."""
    queued = [each for each in active if each.state is not RequestState.RUNNING]
    later = [each for each in queued if each.not_before > now]
    return {
        "running": len(active) - len(queued),
        "queued": len(queued) - len(later),
        "later": len(later),
    }


def _next(cadences: Sequence[Cadence], *, now: datetime) -> list[Cadence]:
    """The cadences that are due next."""
    due = (each for each in cadences if not each.is_paused(now))
    return sorted(due, key=lambda each: (each.next_run_at, each.target))[:_NEXT_CADENCES]
