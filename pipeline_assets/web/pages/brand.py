"""A brand's page: all of its datasets, and everything that can be done for it, in one place."""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Annotated, NamedTuple

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Request, Response

from pipeline_assets.brands.models import Brand
from pipeline_assets.control.access_tests import read_last_access, try_access
from pipeline_assets.control.attempt_days import read_attempt_days
from pipeline_assets.control.cadences import Cadence, list_cadences
from pipeline_assets.control.history import read_history
from pipeline_assets.control.launching import shared_limits
from pipeline_assets.control.readiness import read_readiness
from pipeline_assets.control.resyncs import (
    cancel_resync,
    get_resync,
    list_resyncs,
    start_resync,
    windowed_datasets,
)
from pipeline_assets.control.status import read_states
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.tables import rate_budgets
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import OperatedBrand, Operator, PageViewer, ViewedBrand, shown
from pipeline_assets.web.pages.answers import told
from pipeline_assets.web.pages.local_time import zone_of
from pipeline_assets.web.pages.schedules import CadenceForm, build_form, jobs_with
from pipeline_assets.web.problems import not_found
from pipeline_assets.web.templating import render

router = APIRouter(dependencies=[Depends(shown("pipeline_manager"))])

_RESYNC_DAYS = 90  # what the form proposes
_SOON = timedelta(days=14)  # time for a person to make a new token


@router.get("/brands/{brand}", name="brand")
def show_brand(request: Request, principal: PageViewer, web: Web, brand: ViewedBrand) -> Response:
    """The page. Some two dozen small queries, whatever the number of brands and the history."""
    now = web.now()
    states = read_states(web.engine, now=now, brand_ids={brand.id})
    counts = Counter(each.state for each in states)
    cadences = list_cadences(web.engine, brand_id=brand.id)
    jobs = jobs_with(brand.sources.configured)
    return render(
        request,
        "brand.html",
        now=now,
        pulse=web.background.pulse,
        brand=brand,
        is_paused=brand.is_paused(now),
        may_act=principal.may(Role.OPERATOR, brand.organization_id),
        states=states,
        counts=counts,
        days=read_attempt_days(web.engine, brand.id, zone=zone_of(request), now=now),
        active_requests=list(dict.fromkeys(each.request_id for each in states if each.request_id)),
        jobs=jobs,
        cadences=[(each, build_form(brand, each, jobs, now=now)) for each in cadences],
        new_cadence=_new_cadence(brand, cadences, jobs, now=now),
        resyncs=list_resyncs(web.engine, brand_id=brand.id, limit=5),
        resync_jobs=[job for job in jobs if windowed_datasets(job)],
        resync_since=now.date() - timedelta(days=_RESYNC_DAYS),
        today=now.date(),
        soon=now + _SOON,
        access=read_last_access(web.engine, brand) if brand.sources.meta else None,
        budgets=_read_budgets(web, brand),
        readiness=[
            read_readiness(web.engine, brand.id, page, now=now) for page in web.pages.values()
        ],
        chains=read_history(web.engine, brand_ids=[brand.id], limit=10),
        audit=read_audit(web.engine, target=brand.id, limit=15)
        if principal.may(Role.ADMIN, brand.organization_id)
        else None,
        dagster_url=web.dagster_url,
        trouble_count=0 if brand.is_paused(now) else counts[State.STALE] + counts[State.FAILING],
        poll_url=request.url.path,
    )


def _new_cadence(
    brand: Brand, cadences: list[Cadence], jobs: list[str], *, now: datetime
) -> CadenceForm | None:
    """The form for one of the jobs that have no cadence yet; None when all have one."""
    taken = {cadence.job for cadence in cadences}
    without = [job for job in jobs if job not in taken]
    return build_form(brand, None, without, now=now) if without else None


class Budget(NamedTuple):
    """What was last seen of one rate limit that the brand's calls count towards."""

    key: str
    usage_pct: float
    blocked_until: datetime | None
    reason: str
    updated_at: datetime

    @property
    def title(self) -> str:
        """Such as `act_1, ads insights`."""
        _, _, shared_by = self.key.partition(":")
        of_app = "app " if self.key.startswith("app:") else ""
        return of_app + shared_by.replace(":", ", ").replace("_insights", " insights").replace(
            "_management", " management"
        )


def _read_budgets(web: Context, brand: Brand) -> list[Budget]:
    """The limits of the brand's app and ad accounts, by their keys."""
    if brand.sources.meta is None:
        return []
    key = rate_budgets.c.key
    accounts = (f"account:{account}" for account in brand.sources.meta.ad_accounts)
    may_share = sa.or_(*(key.startswith(each, autoescape=True) for each in ("app:", *accounts)))
    columns = (rate_budgets.c[name] for name in Budget._fields)
    query = sa.select(*columns).where(may_share).order_by(key)
    with web.engine.connect() as connection:
        found = {row[0]: Budget(*row) for row in connection.execute(query)}
    shared = shared_limits(brand, found, web.installation.settings.meta_app_id)
    return [budget for key, budget in found.items() if key in shared]


@router.post("/brands/{brand}/access")
def try_brand_access(
    request: Request, principal: Operator, brand: OperatedBrand, web: Web
) -> Response:
    """Ask Meta now whether the token and the accounts can be used; takes some seconds."""
    test = try_access(
        web.engine,
        brand,
        web.installation.graph_client,
        actor=principal.actor,
        now=web.now(),
    )
    wrong = [finding for finding in test.findings if not finding.ok]
    if wrong:
        return told(request, f"{brand.id}: {wrong[0].subject}: {wrong[0].message}")
    return told(request, f"Meta lets {brand.id} read all of its accounts.")


@router.post("/brands/{brand}/resyncs")
def start(
    request: Request,
    principal: Operator,
    brand: OperatedBrand,
    web: Web,
    since: Annotated[date, Form()],
    until: Annotated[date, Form()],
    job: Annotated[str, Form(max_length=100)] = "meta_sync",
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Sync a range of days again, the newest first; the same range again goes on with it."""
    resync = start_resync(
        web.engine,
        brand_id=brand.id,
        job=job,
        since=since,
        until=until,
        actor=principal.actor,
        reason=reason,
        now=web.now(),
    )
    web.background.hurry()
    return told(request, f"{brand.id}: {resync.total_days} days are synced again, newest first.")


@router.post("/brands/{brand}/resyncs/{resync}/cancel")
def cancel(
    request: Request, principal: Operator, brand: OperatedBrand, web: Web, resync: str
) -> Response:
    """Stop a resync; the days that are done stay done."""
    try:
        is_theirs = get_resync(web.engine, resync).brand_id == brand.id
    except InvalidConfigError:
        is_theirs = False
    if not is_theirs:
        raise not_found("such resync")
    stopped = cancel_resync(web.engine, resync, actor=principal.actor, now=web.now())
    web.background.hurry()
    return told(request, f"The resync is cancelled; {stopped.done_days} days are done.")
