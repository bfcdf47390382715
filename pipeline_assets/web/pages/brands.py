"""All brands with the way to each one's pages: where those begin who do not manage the pipeline."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pipeline_assets.control.status import read_overview
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import PageViewer
from pipeline_assets.web.pages.health import count_states
from pipeline_assets.web.pages.listing import address, cut_page
from pipeline_assets.web.templating import render

router = APIRouter()

PAGE_SIZE = 100


@router.get("/brands")
def show_brands(
    request: Request,
    principal: PageViewer,
    web: Web,
    q: Annotated[str, Query(max_length=200)] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """The brands by name, with how many of each one's datasets are in which state."""
    now = web.now()
    overview = read_overview(web.engine, now=now, organization_ids=principal.organization_ids)
    found = sorted(
        (
            each
            for each in overview
            if q.casefold() in f"{each.brand.id} {each.brand.name}".casefold()
        ),
        key=lambda each: (each.brand.name.casefold(), each.brand.id),
    )
    return render(
        request,
        "brands.html",
        now=now,
        pulse=web.background.pulse,
        page=cut_page(found, page, PAGE_SIZE),
        counts={each.brand.id: count_states([each]) for each in found},
        has_brands=bool(overview),
        search=q,
        poll_url=address(request),
        address=lambda **changes: address(request, **changes),
    )
