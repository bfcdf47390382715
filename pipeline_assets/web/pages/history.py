"""Run history: every wish with what became of it, its tries and their logs."""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, BeforeValidator, Field

from pipeline_assets import errors
from pipeline_assets.brands.registry import BrandSummary, read_summaries
from pipeline_assets.control.history import Chain, read_chains, read_history, read_runs
from pipeline_assets.control.request_progress import read_progresses
from pipeline_assets.control.requests import RequestState, Trigger
from pipeline_assets.control.run_logs import read_log, read_log_text
from pipeline_assets.people.roles import Principal
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import PageViewer, shown, visible_request
from pipeline_assets.web.pages.listing import address
from pipeline_assets.web.pages.local_time import zone_of
from pipeline_assets.web.paging import cut, read_cursor, write_cursor
from pipeline_assets.web.problems import not_found
from pipeline_assets.web.templating import render

router = APIRouter(dependencies=[Depends(shown("pipeline_manager"))])

PAGE_SIZE = 50

_LAST_POSITION = 2**63 - 1
_Text = Annotated[str, Field(max_length=200)]
_none_if_empty = BeforeValidator(lambda value: value or None)  # a form sends what is not chosen
_Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2999, 12, 31))]


class Filters(BaseModel):
    """What the list is narrowed to, and where in it one is; all of it in the address.

    Days are those of the zone in which one sees times; `until` is the last one. `rows` are the
    chains that a poll shows again: nothing jumps away under somebody's pointer.
    """

    brand: _Text = ""
    job: _Text = ""
    dataset: _Text = ""
    state: Annotated[RequestState | None, _none_if_empty] = None
    error: _Text = ""
    trigger: Annotated[Trigger | None, _none_if_empty] = None
    actor: _Text = ""
    since: Annotated[_Day | None, _none_if_empty] = None
    until: Annotated[_Day | None, _none_if_empty] = None
    before: Annotated[str | None, _none_if_empty, Field(max_length=400)] = None
    open: _Text = ""
    rows: Annotated[str, Field(max_length=20_000)] = ""

    def conditions(self, brands: Mapping[str, BrandSummary], zone: ZoneInfo) -> dict[str, Any]:
        """What `read_history` is asked for."""
        return {
            "brand_ids": _found_brands(brands, self.brand) if self.brand else None,
            "job": self.job or None,
            "dataset": self.dataset or None,
            "states": [self.state] if self.state else None,
            "error_class": self.error or None,
            "trigger": self.trigger,
            "requested_by": self.actor or None,
            "since": _midnight(self.since, zone) if self.since else None,
            "until": _midnight(self.until + timedelta(days=1), zone) if self.until else None,
            "before": read_cursor(self.before),
        }


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _found_brands(brands: Mapping[str, BrandSummary], search: str) -> Collection[str]:
    """The brand of this id, known or not, else those whose id or name has this part."""
    if search in brands:
        return [search]
    part = search.casefold()
    found = (each.id for each in brands.values() if part in f"{each.id} {each.name}".casefold())
    return [search, *found]


@router.get("/history", name="history")
def show_history(
    request: Request, principal: PageViewer, web: Web, filters: Annotated[Filters, Query()]
) -> Response:
    """The list, the newest wish first, and one open chain; ten queries at most."""
    now = web.now()
    seen = principal.organization_ids
    with web.engine.connect() as connection:
        brands = read_summaries(connection, organization_ids=seen)
    conditions = filters.conditions(brands, zone_of(request))
    found = read_history(web.engine, organization_ids=seen, limit=PAGE_SIZE + 1, **conditions)
    page, older = cut(found, PAGE_SIZE, lambda chain: chain.position)
    is_behind = False
    if filters.rows:
        rows = list(dict.fromkeys(filters.rows.split(",")))[:PAGE_SIZE]
        kept = read_chains(web.engine, rows, organization_ids=seen)
        is_behind = bool(page) and page[0].chain_id not in rows
        page, older = kept, (older and kept and write_cursor(kept[-1].position)) or None
    opened = next((chain for chain in page if chain.chain_id == filters.open), None)
    return render(
        request,
        "history.html",
        now=now,
        pulse=web.background.pulse,
        page=page,
        older=older,
        is_behind=is_behind,
        filters=filters,
        is_filtered=bool(filters.model_fields_set - {"open", "rows", "before"}),
        states=list(RequestState),
        triggers=[each for each in Trigger if each is not Trigger.RETRY],
        error_classes=_error_classes(),
        brands=brands,
        opened=opened and _opened(web, opened, now=now),
        dagster_url=web.dagster_url,
        poll_url=address(request, rows=",".join(chain.chain_id for chain in page)),
        address=lambda **changes: address(request, **{"rows": None, **changes}),
    )


@cache
def _error_classes() -> list[str]:
    """What may stand in the filter's list; a bug's class may be any other."""
    ours = {name for name in vars(errors) if name.endswith("Error") and name != "PipelineError"}
    return sorted(ours | {"WorkerLost"})


@router.get("/history/{chain_id}", name="chain")
def show_chain(request: Request, chain_id: str, principal: PageViewer, web: Web) -> Response:
    """One wish with its tries and their logs, under an address that stays."""
    chain = _visible_chain(web, principal, chain_id)
    now = web.now()
    return render(
        request,
        "history_one.html",
        now=now,
        pulse=web.background.pulse,
        chain=chain,
        opened=_opened(web, chain, now=now),
        dagster_url=web.dagster_url,
        poll_url=request.url.path,
    )


@router.get("/history/{chain_id}/log")
def show_log(
    request: Request,
    chain_id: str,
    principal: PageViewer,
    web: Web,
    run: Annotated[str, Query(max_length=200)],
    after: Annotated[int, Query(ge=-1, le=_LAST_POSITION)] = -1,
) -> Response:
    """A page of a run's log as a fragment, which fetches the next one by itself."""
    chain = _visible_chain(web, principal, chain_id)
    _check_run(web, chain, run)
    log = read_log(web.background.instance, run, after=after)
    return render(
        request,
        "history_log.html",
        chain=chain,
        run_id=run,
        log=log,
        next_after=log.entries[-1].position if log and log.entries else after,
        local=lambda at: at.astimezone(zone_of(request)).strftime("%H:%M:%S"),
    )


@router.get("/history/{chain_id}/log.txt")
def download_log(
    chain_id: str,
    principal: PageViewer,
    web: Web,
    run: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The log of one run, or of all of the chain's, as a file of text."""
    chain = _visible_chain(web, principal, chain_id)
    if run is not None:
        _check_run(web, chain, run)
    run_ids = (
        [run] if run else [each for runs in read_runs(web.engine, chain).values() for each in runs]
    )
    name = f"{chain.brand_id}-{chain.job}-{chain_id[:8]}.txt".replace("*", "all")
    return StreamingResponse(
        read_log_text(web.background.instance, run_ids),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _visible_chain(web: Context, principal: Principal, request_id: str) -> Chain:
    """The chain of this id, or the one that a further try's id belongs to."""
    chain_id = visible_request(web, principal, request_id).chain_id
    for chain in read_chains(web.engine, [chain_id], organization_ids=principal.organization_ids):
        return chain
    raise not_found("such request")


def _check_run(web: Context, chain: Chain, run_id: str) -> None:
    if not any(run_id in runs for runs in read_runs(web.engine, chain).values()):
        raise not_found("such run")


def _opened(web: Context, chain: Chain, *, now: datetime) -> dict[str, object]:
    """What a chain shows when it is open."""
    default_app_id = web.installation.settings.meta_app_id
    tries = read_progresses(web.engine, chain.requests, now=now, default_app_id=default_app_id)
    return {"chain": chain, "tries": tries, "runs": read_runs(web.engine, chain)}
