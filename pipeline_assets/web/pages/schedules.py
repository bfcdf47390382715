"""Schedules: when which job runs for which brand, and changing that for one or for many.

All brands of an organization, which some jobs do in one run, have rows beside the brands'.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from pipeline_assets.brands.registry import BrandSummary, read_summaries
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
from pipeline_assets.control.targets import (
    AllBrands,
    Choice,
    Target,
    all_brands_id,
    in_words,
    is_all_brands,
    read_targets,
)
from pipeline_assets.datasets import JOBS
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import Operator, PageViewer, check_role, shown, visible_target
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
class Whose:
    """Whom schedules are for: a brand, or (without `brand`) all brands of an organization.

    `id` stands for it in forms; `jobs` are those that can run for it.
    """

    id: str
    name: str
    organization_id: str
    jobs: Sequence[str]
    brand: BrandSummary | None = None

    def is_paused(self, now: datetime) -> bool:
        """Whether no tick makes a request, whatever the cadence."""
        return self.brand is not None and self.brand.is_paused(now)


@dataclass(frozen=True)
class Schedule:
    """A job with its cadence; `job` is empty for a brand that has no source at all."""

    whose: Whose
    job: str
    cadence: Cadence | None
    status: Status

    @property
    def target(self) -> str:
        """What forms call it."""
        return f"{self.whose.id}:{self.job}"

    @property
    def called(self) -> str:
        """What people call it."""
        return _called(self.target)


@dataclass(frozen=True)
class CadenceForm:
    """The form of one cadence; `jobs` are those to choose from, one for a cadence that is there.

    `target_id` is a brand, or all of an organization's.
    """

    id: str
    target_id: str
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
        jobs=list(JOBS.values()),
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


def jobs_with(sources: Collection[str]) -> list[str]:
    """The jobs that can run for a brand with these sources."""
    return [job.name for job in JOBS.values() if job.datasets_with(sources)]


def _read(web: Context, principal: Principal, job: str, *, now: datetime) -> list[Schedule]:
    """Every cadence, of this job alone if one is given, and whoever has none; 2 queries.

    Who has none stands there with the job that it could have.
    """
    theirs = principal.organization_ids
    with web.engine.connect() as connection:
        brands = read_summaries(connection, organization_ids=theirs)
    cadences: Mapping[str, list[Cadence]] = defaultdict(list)
    for cadence in list_cadences(web.engine, organization_ids=theirs, job=job or None):
        cadences[cadence.brand_id].append(cadence)
    schedules = []
    for whose in _everybody(brands.values()):
        possible = [each for each in whose.jobs if job in {"", each}]
        own = cadences.get(whose.id, ())
        schedules += [Schedule(whose, each.job, each, _status(whose, each, now)) for each in own]
        if not own and (possible or (whose.brand and not job)):
            schedules.append(Schedule(whose, next(iter(possible), ""), None, Status.NONE))
    return schedules


def _everybody(brands: Collection[BrandSummary]) -> Iterator[Whose]:
    """The brands, and all brands of each organization."""
    sources: dict[str, set[str]] = defaultdict(set)
    for brand in brands:
        sources[brand.organization_id] |= brand.sources
        yield Whose(brand.id, brand.name, brand.organization_id, jobs_with(brand.sources), brand)
    for organization_id, any_has in sources.items():
        target_id = all_brands_id(organization_id)
        across = [job for job in jobs_with(any_has) if JOBS[job].across_brands]
        yield Whose(target_id, f"All brands of {organization_id}", organization_id, across)


def _status(whose: Whose, cadence: Cadence, now: datetime) -> Status:
    if cadence.is_paused(now) or whose.is_paused(now):
        return Status.PAUSED
    has_trouble = (cadence.last_tick_result or "").startswith(("broken:", "refused:"))
    return Status.TROUBLE if has_trouble else Status.ACTIVE


def _matches(each: Schedule, search: str, status: Status | None) -> bool:
    if status is not None and each.status is not status:
        return False
    return search.casefold() in f"{each.whose.id} {each.whose.name}".casefold()


def _place(each: Schedule, sort: Sort) -> tuple[float, str, str]:
    """Where it stands in this order; those alike by brand and job."""
    at = None
    if each.cadence is not None and sort is not Sort.BRAND:
        at = each.cadence.next_run_at if sort is Sort.NEXT else each.cadence.last_tick_at
    last = float("inf") if sort is Sort.NEXT else 0.0
    return at.timestamp() if at else last, each.whose.name.casefold(), each.target


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
    whose = visible_target(web, principal, found.whose.id)
    form = build_form(whose, found.cadence, found.whose.jobs, now=now)
    return {"schedule": found, "form": form, "choice": _choice(whose, found.job, now)}


def _choice(target: Target, job: str, now: datetime) -> Choice | None:
    """The brands that a run over an organization's would take now; None for one brand."""
    if not isinstance(target, AllBrands):
        return None
    left_out = target.left_out(JOBS[job], now=now)
    configured = (each.id for each in target.configured_for(JOBS[job]))
    return Choice(tuple(each for each in configured if each not in left_out), left_out)


def build_form(
    target: Target, cadence: Cadence | None, jobs: Sequence[str], *, now: datetime
) -> CadenceForm:
    """The form that changes this cadence, or adds one for one of the jobs."""
    if cadence is not None:
        jobs = (cadence.job,)
    choice = (cadence.preset or CUSTOM) if cadence else Preset.DAILY
    wanted = cadence.cron if cadence else choice
    timezone = cadence.timezone if cadence else target.timezone
    preview, trouble = None, ""
    if jobs:
        try:
            preview = preview_cadence(target, jobs[0], wanted, timezone=timezone, now=now)
        except InvalidConfigError as error:
            trouble = f"{error} {error.advice}".strip()
    return CadenceForm(
        # It stands in CSS selectors, so without the `*`; no brand's slug has a capital.
        id=f"{target.id.replace('*', 'ALL-')}-{cadence.job if cadence else 'new'}",
        target_id=target.id,
        jobs=jobs,
        choice=choice,
        cron=cadence.cron if cadence else "",
        timezone=timezone,
        preview=preview,
        trouble=trouble,
    )


Targets = Annotated[list[str], Form(min_length=1, max_length=1000)]
"""Whose and which job each cadence is, `acme:meta_sync` or `*north:template_approval`."""
CadenceName = Annotated[str, Form(max_length=100)]
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
        target_id, _, job = first.partition(":")
        whose = visible_target(web, principal, target_id)
        try:
            shown_preview = preview_cadence(
                whose, job, _wanted(cadence, cron), timezone=timezone or None, now=web.now()
            )
        except InvalidConfigError as error:
            trouble = f"{error} {error.advice}".strip()
    return render(
        request,
        "schedules_preview.html",
        now=web.now(),
        preview=shown_preview,
        trouble=trouble,
        of_many=_called(first) if len(target or ()) > 1 else "",
    )


def _wanted(choice: str, cron: str) -> str:
    return cron if choice == CUSTOM else choice


@router.post("/schedules/set")
def set_schedules(
    request: Request,
    principal: Operator,
    web: Web,
    target: Targets,
    cadence: CadenceName,
    cron: Cron = "",
    timezone: Zone = "",
) -> Response:
    """Set exactly these cadences; no run starts."""

    def change(target_id: str, job: str) -> Cadence:
        return set_cadence(
            web.engine,
            target_id,
            job,
            _wanted(cadence, cron),
            timezone=timezone or None,
            actor=principal.actor,
            now=web.now(),
        )

    changed, refused = _change_each(web, principal, target, change)
    sentence = _sentence(changed, refused, one=f"runs {changed[0].in_words}", many="are set")
    return told(request, f"{sentence} Saving starts no run.")


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

    def change(target_id: str, job: str) -> Cadence:
        return pause_cadence(
            web.engine,
            target_id,
            job,
            reason=reason,
            until=until,
            actor=principal.actor,
            now=web.now(),
        )

    changed, refused = _change_each(web, principal, target, change)
    return told(request, _sentence(changed, refused, one="is paused", many="are paused"))


@router.post("/schedules/resume")
def resume_schedules(request: Request, principal: Operator, web: Web, target: Targets) -> Response:
    """End the pauses of exactly these cadences; no run starts before their next ticks."""

    def change(target_id: str, job: str) -> Cadence:
        return resume_cadence(web.engine, target_id, job, actor=principal.actor, now=web.now())

    changed, refused = _change_each(web, principal, target, change)
    sentence = _sentence(changed, refused, one="goes on", many="go on")
    return told(request, f"{sentence} Resuming starts no run.")


def _change_each(
    web: Context,
    principal: Principal,
    targets: Sequence[str],
    change: Callable[[str, str], Cadence],
) -> tuple[list[Cadence], list[str]]:
    """The changed cadences, and why the others are not; one that cannot be holds up no other.

    Raises:
        Problem: a brand, or an organization, is not there for the principal, or not to operate.
        InvalidConfigError: none could be changed; the first one's reason.
    """
    pairs = [tuple(target.partition(":")[::2]) for target in dict.fromkeys(targets)]
    target_ids = {target_id for target_id, _ in pairs}
    with web.engine.connect() as connection:
        found = read_targets(connection, target_ids)
    visible = [each for each in found.values() if principal.may(Role.VIEWER, each.organization_id)]
    if len(visible) < len(target_ids):
        raise not_found("such brand")
    for each in visible:
        check_role(principal, Role.OPERATOR, each.organization_id)
    changed: list[Cadence] = []
    refused: list[InvalidConfigError] = []
    for target_id, job in pairs:
        try:
            changed.append(change(target_id, job))
        except InvalidConfigError as error:
            refused.append(error)
    if not changed:
        raise refused[0]
    return changed, [str(error) for error in refused]


def _called(target: str) -> str:
    """What people call a cadence: `acme:meta_sync`, `template_approval of all brands of north`."""
    target_id, _, job = target.partition(":")
    return f"{job} of {in_words(target_id)}" if is_all_brands(target_id) else target


def _sentence(changed: Sequence[Cadence], refused: Sequence[str], *, one: str, many: str) -> str:
    is_one = len(changed) == 1
    what = f"{_called(changed[0].target)} {one}" if is_one else f"{len(changed)} cadences {many}"
    rest = f" {len(refused)} refused: {' '.join(refused[:_MAX_TOLD])}" if refused else ""
    return f"{what}.{rest}"
