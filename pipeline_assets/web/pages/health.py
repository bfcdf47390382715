"""Health: which brand's data can be used, worst first, and what is wrong with the rest."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline_assets.control.status import BrandOverview, DatasetState, read_overview, read_states
from pipeline_assets.datasets import home_job
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.people.roles import Role
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import PageViewer
from pipeline_assets.web.pages.listing import address, cut_page
from pipeline_assets.web.templating import render

router = APIRouter()

PAGE_SIZE = 40
"""So that a page of 14 datasets stays below 200 KB."""
PAUSED = "paused"

_SEVERITY = {
    State.FAILING: 5,
    State.STALE: 4,
    State.NEVER: 3,
    State.WARN: 2,
    State.FRESH: 1,
    State.NOT_CONFIGURED: 0,
}
CHIPS = (State.FRESH, State.WARN, State.STALE, State.FAILING, State.NEVER, PAUSED)


class Sort(StrEnum):
    """The orders of brands."""

    WORST = "worst"
    NAME = "name"
    OLDEST = "oldest"


@router.get("/", name="health")
def show_health(
    request: Request,
    principal: PageViewer,
    web: Web,
    state: Annotated[str, Query(max_length=20)] = "",
    q: Annotated[str, Query(max_length=200)] = "",
    sort: Sort = Sort.WORST,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    open: Annotated[str, Query(max_length=200)] = "",  # noqa: A002 - the parameter's name in the address
    rows: Annotated[str, Query(max_length=20_000)] = "",
) -> Response:
    """The grid of brands and datasets, filtered, sorted, one page of it, and one open cell.

    `rows` are the brands that a poll shows again in the order they had: nothing jumps away under
    somebody's pointer. Whose organizations hide it begin with their brands.
    """
    if "pipeline_manager" in request.state.hidden_features:
        return RedirectResponse("/brands", status_code=303)
    now = web.now()
    overview = read_overview(web.engine, now=now, organization_ids=principal.organization_ids)
    matching = [each for each in overview if _matches(each, state=state, search=q)]
    shown_page = cut_page(sorted_brands(matching, sort), page, PAGE_SIZE)
    if rows:
        by_id = {each.brand.id: each for each in overview}
        kept = [by_id[brand_id] for brand_id in rows.split(",") if brand_id in by_id]
        shown_page = replace(shown_page, items=kept)
    counts = count_states(overview)
    return render(
        request,
        "health.html",
        now=now,
        pulse=web.background.pulse,
        page=shown_page,
        counts=counts,
        chips=CHIPS,
        has_brands=bool(overview),
        chosen=state,
        search=q,
        sort=sort,
        sorts=list(Sort),
        drawer=_drawer(web, overview, open, now=now),
        open=open,
        can_operate=principal.may_anywhere(Role.OPERATOR),
        to_sync=[each.brand.id for each in shown_page.items if needs_sync(each)],
        dagster_url=web.dagster_url,
        trouble_count=counts[State.STALE] + counts[State.FAILING],
        poll_url=address(request, rows=",".join(each.brand.id for each in shown_page.items)),
        address=lambda **changes: address(request, **{"rows": None, **changes}),
    )


def count_states(overview: Sequence[BrandOverview]) -> Mapping[str, int]:
    """How many cells are in each state; a paused brand's are `paused`, whatever their age."""
    return Counter(
        PAUSED if is_paused else cell.state
        for _, is_paused, cells in overview
        for cell in cells.values()
    )


def needs_sync(each: BrandOverview) -> bool:
    """Whether something of the brand is not fresh and nothing is being done about it."""
    return not each.is_paused and any(
        cell.state not in {State.FRESH, State.NOT_CONFIGURED} and cell.activity is None
        for cell in each.cells.values()
    )


def _matches(each: BrandOverview, *, state: str, search: str) -> bool:
    if search and search.casefold() not in f"{each.brand.id} {each.brand.name}".casefold():
        return False
    if state == PAUSED:
        return each.is_paused
    if state:
        return not each.is_paused and any(cell.state == state for cell in each.cells.values())
    return True


def sorted_brands(found: Sequence[BrandOverview], sort: Sort) -> list[BrandOverview]:
    """The brands in this order; those that are alike by name."""
    by_name = sorted(found, key=lambda each: (each.brand.name.casefold(), each.brand.id))
    if sort is Sort.NAME:
        return by_name
    return sorted(by_name, key=_badness if sort is Sort.WORST else _oldest, reverse=True)


def _badness(each: BrandOverview) -> tuple[int, int]:
    if each.is_paused:
        return (0, 0)
    severities = [_SEVERITY[cell.state] for cell in each.cells.values()]
    worst = max(severities, default=0)
    return (worst, severities.count(worst) if worst > 1 else 0)


def _oldest(each: BrandOverview) -> float:
    succeeded = [cell.last_success_at for cell in each.cells.values() if cell.last_success_at]
    return -min((at.timestamp() for at in succeeded), default=float("inf"))


def _drawer(
    web: Context, overview: Sequence[BrandOverview], cell: str, *, now: datetime
) -> dict[str, object] | None:
    """Everything of the open cell `brand:dataset`; None when there is none."""
    brand_id, _, dataset = cell.partition(":")
    found = next((each for each in overview if each.brand.id == brand_id), None)
    if found is None or dataset not in found.cells:
        return None
    states = read_states(web.engine, now=now, brand_ids={brand_id})
    detail: DatasetState = next(each for each in states if each.dataset == dataset)
    return {
        "brand": found.brand,
        "is_paused": found.is_paused,
        "state": detail,
        "job": home_job(dataset),
        "siblings": [each for each in states if each.dataset != dataset],
    }
