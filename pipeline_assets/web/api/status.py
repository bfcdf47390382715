"""The status of every brand's datasets: all of them at a glance, one brand's in full."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pipeline_assets.control.requests import RequestState
from pipeline_assets.control.status import BrandOverview, read_overview, read_states
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.web.api.shapes import Cursor, Limit, Listing, Names, Shape
from pipeline_assets.web.context import Web
from pipeline_assets.web.etags import answer_unless_known, tag_of
from pipeline_assets.web.identity import ViewedBrand, Viewer
from pipeline_assets.web.paging import cut_after, read_name_cursor

router = APIRouter(tags=["status"])


class CellView(Shape):
    """A brand's dataset at a glance."""

    state: State
    last_success_at: datetime | None
    is_last_attempt_failed: bool
    activity: RequestState | None
    """The state of the active request that refreshes it."""


class BrandStatusView(Shape):
    """A brand's datasets at a glance, by key."""

    brand: str
    organization_id: str
    name: str
    is_paused: bool
    datasets: Mapping[str, CellView]


class ProgressView(Shape):
    """What a running attempt last said of itself."""

    stage: str | None
    done: int | None
    total: int | None
    beat_at: datetime


class DatasetStatusView(Shape):
    """Everything of one dataset of a brand."""

    dataset: str
    state: State
    age_seconds: float | None
    used_ratio: float | None
    """Its age as a share of the allowed age; 1 is just too old."""
    stale_since: datetime | None
    is_running: bool
    progress: ProgressView | None
    request_id: str | None
    """The active request that refreshes it."""
    request_state: RequestState | None
    next_try_at: datetime | None
    next_sync_at: datetime | None
    """When the next cadence is due."""
    last_success_at: datetime | None
    last_success_run_id: str | None
    last_attempt_started_at: datetime | None
    last_attempt_ended_at: datetime | None
    last_attempt_outcome: str | None
    last_attempt_run_id: str | None
    records_affected: int | None
    distinct_ads: int | None
    error_class: str | None
    error_message: str | None
    advice: str | None
    retry_after_seconds: float | None


class BrandDetailView(Shape):
    """Everything of a brand's datasets, in the catalogue's order."""

    brand: str
    organization_id: str
    name: str
    is_paused: bool
    datasets: list[DatasetStatusView]


@router.get("/status", response_model=Listing[BrandStatusView])
def get_status(
    request: Request,
    principal: Viewer,
    web: Web,
    brand: Names = frozenset(),
    dataset: Names = frozenset(),
    state: Annotated[frozenset[State], Query()] = frozenset(),
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Tell the state of your brands' datasets, by brand.

    Of each brand the datasets that match are told; a brand without any is left out.
    """
    after = read_name_cursor(cursor)
    overview = read_overview(web.engine, now=web.now(), organization_ids=principal.organization_ids)
    matching = [
        cut_down
        for each in overview
        if not brand or each.brand.id in brand
        if (cut_down := _matching(each, datasets=dataset, states=state)).cells
    ]
    page, next_cursor = cut_after(matching, after, limit, lambda each: each.brand.id)
    body = Listing[BrandStatusView](items=[_view(each) for each in page], next_cursor=next_cursor)
    content = body.model_dump_json()
    return answer_unless_known(request, content, tag=tag_of(content.encode()))


@router.get("/brands/{brand}/status", response_model=BrandDetailView)
def get_brand_status(request: Request, _: Viewer, brand: ViewedBrand, web: Web) -> Response:
    """Tell everything about the state of a brand's datasets."""
    now = web.now()
    body = BrandDetailView(
        brand=brand.id,
        organization_id=brand.organization_id,
        name=brand.name,
        is_paused=brand.is_paused(now),
        datasets=[
            DatasetStatusView.model_validate(each)
            for each in read_states(web.engine, now=now, brand_ids={brand.id})
        ],
    )
    steady = body.model_dump_json(exclude={"datasets": {"__all__": {"age_seconds", "used_ratio"}}})
    return answer_unless_known(request, body.model_dump_json(), tag=tag_of(steady.encode()))


def _matching(
    each: BrandOverview, *, datasets: frozenset[str], states: frozenset[State]
) -> BrandOverview:
    cells = {
        key: cell
        for key, cell in each.cells.items()
        if not datasets or key in datasets
        if not states or cell.state in states
    }
    return each._replace(cells=cells)


def _view(each: BrandOverview) -> BrandStatusView:
    return BrandStatusView(
        brand=each.brand.id,
        organization_id=each.brand.organization_id,
        name=each.brand.name,
        is_paused=each.is_paused,
        datasets={key: CellView.model_validate(cell) for key, cell in each.cells.items()},
    )
