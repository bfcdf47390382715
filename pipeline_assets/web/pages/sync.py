"""The buttons that every page has: sync now, pause and resume a brand, cancel a request."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import pause_brand, resume_brand
from pipeline_assets.control.requests import (
    RequestState,
    Trigger,
    Wish,
    cancel_request,
    request_sync,
)
from pipeline_assets.control.status import read_states
from pipeline_assets.control.targets import AllBrands, Target, in_words
from pipeline_assets.datasets import DATASETS, FULL_SYNC, home_job
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import (
    OperatedBrand,
    OperatedTarget,
    Operator,
    check_role,
    visible_brand,
    visible_request,
)
from pipeline_assets.web.pages.answers import told
from pipeline_assets.web.pages.local_time import Until

router = APIRouter()

_NEEDS_NO_SYNC = {State.FRESH, State.NOT_CONFIGURED}

Name = Annotated[str, Form(max_length=100)]
Names = Annotated[list[str], Form(max_length=1000)]
Reason = Annotated[str, Form(max_length=500)]


@router.post("/brands/{brand}/sync")
def sync_brand(
    request: Request,
    principal: Operator,
    brand: OperatedTarget,
    web: Web,
    job: Name = "",
    dataset: Annotated[list[str] | None, Form(max_length=50)] = None,
    reason: Reason = "",
) -> Response:
    """Ask for a sync; `dataset` alone stands for the job that it belongs to.

    With neither it is of all that is not fresh. All brands of an organization take a job.
    """
    return told(
        request, _sync(web, principal, brand, job=job, datasets=dataset or (), reason=reason)
    )


def _sync(
    web: Context,
    principal: Principal,
    brand: Target,
    *,
    job: str,
    datasets: Sequence[str],
    reason: str,
) -> str:
    whose = in_words(brand.id)
    if not job and not datasets:
        if isinstance(brand, AllBrands):
            raise InvalidConfigError(f"Name the job to run for {whose}.")
        datasets = _not_fresh(web, brand)
        if not datasets:
            return f"Everything of {whose} is fresh."
    wish = Wish(
        brand_id=brand.id,
        job=job or _job_with(datasets),
        trigger=Trigger.MANUAL,
        requested_by=principal.actor,
        reason=reason,
        datasets=tuple(datasets) or None,
    )
    stored, is_new = request_sync(web.engine, wish, now=web.now())
    web.background.hurry()
    if is_new:
        return f"Sync of {whose} is queued."
    if stored.state is RequestState.RUNNING:
        return f"A sync of {whose} is running already."
    return f"A sync of {whose} was queued already."


def _not_fresh(web: Context, brand: Brand) -> list[str]:
    states = read_states(web.engine, now=web.now(), brand_ids={brand.id})
    return [each.dataset for each in states if each.state not in _NEEDS_NO_SYNC]


def _job_with(datasets: Sequence[str]) -> str:
    """The job that all of these datasets belong to, or else the one that does everything."""
    unknown = [key for key in datasets if key not in DATASETS]
    if unknown:
        raise InvalidConfigError(f"There is no dataset {unknown[0]!r}.")
    home = home_job(datasets[0])
    return home.name if set(datasets) <= set(home.datasets) else FULL_SYNC


@router.post("/sync")
def sync_brands(
    request: Request, principal: Operator, web: Web, brand: Names, job: Name = ""
) -> Response:
    """Ask for a sync of exactly these brands; one that cannot be synced holds up no other.

    Without a job it is of what is not fresh of each.
    """
    chosen = [visible_brand(web, principal, brand_id) for brand_id in dict.fromkeys(brand)]
    for each in chosen:
        check_role(principal, Role.OPERATOR, each.organization_id)
    refused = []
    for each in chosen:
        try:
            _sync(web, principal, each, job=job, datasets=(), reason="")
        except InvalidConfigError as error:
            refused.append(str(error))
    done = len(chosen) - len(refused)
    return told(request, " ".join([f"Syncs of {done} brands are queued.", *refused[:3]]))


@router.post("/brands/{brand}/pause")
def pause(
    request: Request,
    principal: Operator,
    brand: OperatedBrand,
    web: Web,
    reason: Annotated[str, Form(max_length=500, min_length=1)],
    until: Until,
) -> Response:
    """Pause a brand: no cadence of it makes a request until then, or until it is resumed."""
    pause_brand(
        web.engine, brand.id, reason=reason, until=until, actor=principal.actor, now=web.now()
    )
    return told(request, f"{brand.id} is paused.")


@router.post("/brands/{brand}/resume")
def resume(request: Request, principal: Operator, brand: OperatedBrand, web: Web) -> Response:
    """End a brand's pause."""
    resume_brand(web.engine, brand.id, actor=principal.actor, now=web.now())
    return told(request, f"{brand.id} goes on.")


@router.post("/requests/cancel")
def cancel(request: Request, principal: Operator, web: Web, id: Names) -> Response:  # noqa: A002 - the field's name in the form
    """Cancel exactly these requests; those that have ended meanwhile are left as they are."""
    chosen = [visible_request(web, principal, each) for each in dict.fromkeys(id)]
    for each in chosen:
        check_role(principal, Role.OPERATOR, each.organization_id)
    ended = 0
    for each in chosen:
        try:
            cancel_request(web.engine, each.id, actor=principal.actor, now=web.now())
        except InvalidConfigError:
            ended += 1
    web.background.hurry()
    done = len(chosen) - ended
    text = f"{done} cancelled." if done else "Nothing was cancelled."
    return told(request, f"{text} {ended} had ended already." if ended else text)
