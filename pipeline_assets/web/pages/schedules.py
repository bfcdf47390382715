"""Schedules: when which job runs for which brand, and changing that for one or for many."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import BrandSummary, read_brands, read_summaries
from pipeline_assets.control.cadence_ticks import Preset
from pipeline_assets.control.cadences import (
    Cadence,
    CadencePreview,
    list_cadences,
    pause_cadence,
    preview_cadence,
    resume_cadence,
    set_cadence,
)
from pipeline_assets.control.requests import check_job
from pipeline_assets.datasets import JOBS, Job
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import Operator, PageViewer, check_role, shown, visible_brand
from pipeline_assets.web.pages.answers import told
from pipeline_assets.web.pages.listing import address, cut_page
from pipeline_assets.web.pages.local_time import Until
from pipeline_assets.web.problems import not_found
from pipeline_assets.web.templating import render

router = APIRouter(dependencies=[Depends(shown("pipeline_manager"))])

PAGE_SIZE = 50
CUSTOM = "custom"
"""In the place of a preset's name: the cron expression beside it counts."""

_MAX_TOLD = 3


class Status(StrEnum):
    """What becomes of a schedule's next tick."""

    ACTIVE = "active"
    PAUSED = "paused"
    TROUBLE = "trouble"
    """The last tick made no request, and not because of a pause."""
    NONE = "none"
    """There is no cadence."""


class Sort(StrEnum):
    """The orders of schedules."""

    BRAND = "brand"
    NEXT = "next"
    LAST = "last"


@dataclass(frozen=True)
class Schedule:
    """A brand's job with its cadence; `job` is empty for a brand that has no source at all."""

    brand: BrandSummary
    job: str
    cadence: Cadence | None
    status: Status

    @property
    def target(self) -> str:
        """What forms call it."""
        return f"{self.brand.id}:{self.job}"


@dataclass(frozen=True)
class CadenceForm:
    """The form of one cadence; `jobs` are those to choose from, one for a cadence that is there."""

    id: str
    brand_id: str
    jobs: Sequence[str]
    choice: str
    cron: str
    timezone: str
    preview: CadencePreview | None
    trouble: str = ""


@router.get("/schedules", name="schedules")
def show_schedules(
    request: Request,
    principal: PageViewer,
    web: Web,
    q: Annotated[str, Query(max_length=200)] = "",
    job: Annotated[str, Query(max_length=100)] = "",
    status: Annotated[Status | None, Query()] = None,
    sort: Sort = Sort.BRAND,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    open: Annotated[str, Query(max_length=200)] = "",  # noqa: A002 - the parameter's name in the address
    rows: Annotated[str, Query(max_length=20_000)] = "",
) -> Response:
    """All schedules, one page of them, and one that is open; `rows` as on Health, by target."""
    now = web.now()
    if job:
        check_job(job)
    everything = _read(web, principal, job, now=now)
    found = sorted(
        (each for each in everything if _matches(each, q, status)),
        key=lambda each: _place(each, sort),
        reverse=sort is Sort.LAST,
    )
    shown_page = cut_page(found, page, PAGE_SIZE)
    if rows:
        by_target = {each.target: each for each in everything}
        kept = [by_target[target] for target in rows.split(",") if target in by_target]
        shown_page = replace(shown_page, items=kept)
    return render(
        request,
        "schedules.html",
        now=now,
        pulse=web.background.pulse,
        page=shown_page,
        search=q,
        job=job,
        jobs=runnable_jobs(),
        status=status,
        statuses=list(Status),
        counts={each: sum(row.status is each for row in everything) for each in Status},
        sort=sort,
        sorts=list(Sort),
        presets=list(Preset),
        custom=CUSTOM,
        has_brands=bool(everything),
        can_operate=principal.may_anywhere(Role.OPERATOR),
        opened=_opened(web, principal, everything, open, now=now),
        open=open,
        poll_url=address(request, rows=",".join(each.target for each in shown_page.items)),
        address=lambda **changes: address(request, **{"rows": None, **changes}),
    )


@cache
def runnable_jobs() -> tuple[Job, ...]:
    """The jobs that can run for a brand."""
    return tuple(job for job in JOBS.values() if _is_runnable(job.name))


def _is_runnable(job: str) -> bool:
    try:
        check_job(job)
    except InvalidConfigError:
        return False
    return True


def jobs_with(sources: Collection[str]) -> list[str]:
    """The jobs that can run for a brand with these sources."""
    return [job.name for job in runnable_jobs() if job.datasets_with(sources)]


def _read(web: Context, principal: Principal, job: str, *, now: datetime) -> list[Schedule]:
    """Every cadence, of this job alone if one is given, and every brand that has none; 2 queries.

    A brand without one stands there with the job that it could have.
    """
    theirs = principal.organization_ids
    with web.engine.connect() as connection:
        brands = read_summaries(connection, organization_ids=theirs)
    cadences: Mapping[str, list[Cadence]] = defaultdict(list)
    for cadence in list_cadences(web.engine, organization_ids=theirs, job=job or None):
        cadences[cadence.brand_id].append(cadence)
    schedules = []
    for brand in brands.values():
        possible = [each for each in jobs_with(brand.sources) if job in {"", each}]
        own = cadences.get(brand.id, ())
        schedules += [Schedule(brand, each.job, each, _status(brand, each, now)) for each in own]
        if not own and (possible or not job):
            schedules.append(Schedule(brand, next(iter(possible), ""), None, Status.NONE))
    return schedules


def _status(brand: BrandSummary, cadence: Cadence, now: datetime) -> Status:
    if cadence.is_paused(now) or brand.is_paused(now):
        return Status.PAUSED
    has_trouble = (cadence.last_tick_result or "").startswith(("broken:", "refused:"))
    return Status.TROUBLE if has_trouble else Status.ACTIVE


def _matches(each: Schedule, search: str, status: Status | None) -> bool:
    if status is not None and each.status is not status:
        return False
    return search.casefold() in f"{each.brand.id} {each.brand.name}".casefold()


def _place(each: Schedule, sort: Sort) -> tuple[float, str, str]:
    """Where it stands in this order; those alike by brand and job."""
    at = None
    if each.cadence is not None and sort is not Sort.BRAND:
        at = each.cadence.next_run_at if sort is Sort.NEXT else each.cadence.last_tick_at
    last = float("inf") if sort is Sort.NEXT else 0.0
    return at.timestamp() if at else last, each.brand.name.casefold(), each.target


def _opened(
    web: Context,
    principal: Principal,
    everything: Sequence[Schedule],
    target: str,
    *,
    now: datetime,
) -> dict[str, object] | None:
    """The open schedule and its form; None when there is none."""
    found = next((each for each in everything if each.target == target), None)
    if found is None:
        return None
    brand = visible_brand(web, principal, found.brand.id)
    form = build_form(brand, found.cadence, jobs_with(found.brand.sources), now=now)
    return {"schedule": found, "form": form}


def build_form(
    brand: Brand, cadence: Cadence | None, jobs: Sequence[str], *, now: datetime
) -> CadenceForm:
    """The form that changes this cadence, or adds one for one of the jobs."""
    if cadence is not None:
        jobs = (cadence.job,)
    choice = (cadence.preset or CUSTOM) if cadence else Preset.DAILY
    wanted = cadence.cron if cadence else choice
    timezone = cadence.timezone if cadence else brand.timezone
    preview, trouble = None, ""
    if jobs:
        try:
            preview = preview_cadence(brand, jobs[0], wanted, timezone=timezone, now=now)
        except InvalidConfigError as error:
            trouble = f"{error} {error.advice}".strip()
    return CadenceForm(
        id=f"{brand.id}-{cadence.job if cadence else 'new'}",
        brand_id=brand.id,
        jobs=jobs,
        choice=choice,
        cron=cadence.cron if cadence else "",
        timezone=timezone,
        preview=preview,
        trouble=trouble,
    )


Targets = Annotated[list[str], Form(min_length=1, max_length=1000)]
"""Brand and job of each cadence, `acme:meta_sync`."""
Choice = Annotated[str, Form(max_length=100)]
Cron = Annotated[str, Form(max_length=100)]
Zone = Annotated[str, Form(max_length=64)]


@router.get("/schedules/preview", name="schedules_preview")
def preview(
    request: Request,
    principal: PageViewer,
    web: Web,
    target: Annotated[list[str] | None, Query(max_length=1000)] = None,
    cadence: Annotated[str, Query(max_length=100)] = "",
    cron: Annotated[str, Query(max_length=100)] = "",
    timezone: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The next times of what a form holds, the first target's; or what is wrong with it."""
    shown_preview, trouble, first = None, "", ""
    if target:
        first = target[0]
        brand_id, _, job = first.partition(":")
        brand = visible_brand(web, principal, brand_id)
        try:
            shown_preview = preview_cadence(
                brand, job, _wanted(cadence, cron), timezone=timezone or None, now=web.now()
            )
        except InvalidConfigError as error:
            trouble = f"{error} {error.advice}".strip()
    return render(
        request,
        "schedules_preview.html",
        now=web.now(),
        preview=shown_preview,
        trouble=trouble,
        of_many=first if len(target or ()) > 1 else "",
    )


def _wanted(choice: str, cron: str) -> str:
    return cron if choice == CUSTOM else choice


@router.post("/schedules/set")
def set_schedules(
    request: Request,
    principal: Operator,
    web: Web,
    target: Targets,
    cadence: Choice,
    cron: Cron = "",
    timezone: Zone = "",
) -> Response:
    """Set exactly these cadences; no run starts."""

    def change(brand_id: str, job: str) -> Cadence:
        return set_cadence(
            web.engine,
            brand_id,
            job,
            _wanted(cadence, cron),
            timezone=timezone or None,
            actor=principal.actor,
            now=web.now(),
        )

    changed, refused = _change_each(web, principal, target, change)
    what = f"{changed[0].target} runs {changed[0].in_words}" if len(changed) == 1 else "are set"
    return told(request, _sentence(changed, what, refused) + " Saving starts no run.")


@router.post("/schedules/pause")
def pause_schedules(
    request: Request,
    principal: Operator,
    web: Web,
    target: Targets,
    until: Until,
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Pause exactly these cadences until then, or until they are resumed."""

    def change(brand_id: str, job: str) -> Cadence:
        return pause_cadence(
            web.engine,
            brand_id,
            job,
            reason=reason,
            until=until,
            actor=principal.actor,
            now=web.now(),
        )

    changed, refused = _change_each(web, principal, target, change)
    what = f"{changed[0].target} is paused" if len(changed) == 1 else "are paused"
    return told(request, _sentence(changed, what, refused))


@router.post("/schedules/resume")
def resume_schedules(request: Request, principal: Operator, web: Web, target: Targets) -> Response:
    """End the pauses of exactly these cadences; no run starts before their next ticks."""

    def change(brand_id: str, job: str) -> Cadence:
        return resume_cadence(web.engine, brand_id, job, actor=principal.actor, now=web.now())

    changed, refused = _change_each(web, principal, target, change)
    what = f"{changed[0].target} goes on" if len(changed) == 1 else "go on"
    return told(request, _sentence(changed, what, refused) + " Resuming starts no run.")


def _change_each(
    web: Context,
    principal: Principal,
    targets: Sequence[str],
    change: Callable[[str, str], Cadence],
) -> tuple[list[Cadence], list[str]]:
    """The changed cadences, and why the others are not; one that cannot be holds up no other.

    Raises:
        Problem: a brand is not there for the principal, or is not theirs to operate.
        InvalidConfigError: none could be changed; the first one's reason.
    """
    pairs = [tuple(target.partition(":")[::2]) for target in dict.fromkeys(targets)]
    brand_ids = {brand_id for brand_id, _ in pairs}
    with web.engine.connect() as connection:
        brands = read_brands(
            connection, organization_ids=principal.organization_ids, brand_ids=brand_ids
        )
    if len(brands) < len(brand_ids):
        raise not_found("such brand")
    for brand in brands:
        check_role(principal, Role.OPERATOR, brand.organization_id)
    changed: list[Cadence] = []
    refused: list[InvalidConfigError] = []
    for brand_id, job in pairs:
        try:
            changed.append(change(brand_id, job))
        except InvalidConfigError as error:
            refused.append(error)
    if not changed:
        raise refused[0]
    return changed, [str(error) for error in refused]


def _sentence(changed: Sequence[Cadence], what: str, refused: Sequence[str]) -> str:
    count = "" if len(changed) == 1 else f"{len(changed)} cadences "
    rest = f" {len(refused)} refused: {' '.join(refused[:_MAX_TOLD])}" if refused else ""
    return f"{count}{what}.{rest}"
