"""The readiness gate: may this page show this brand's data? Cheap to poll, open to embed tokens.

The routes are coroutines: what they read takes a millisecond, and a thread for each costs more.
"""

from datetime import datetime
from typing import Annotated

import fastapi
import orjson
from fastapi import APIRouter, Request, Response

from pipeline_assets.control.readiness import etag_of, read_readiness, read_readiness_across
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.freshness.pages import Page, find_page
from pipeline_assets.freshness.readiness import (
    Activity,
    Answer,
    BrandsReadiness,
    Kind,
    Readiness,
)
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.web.api.shapes import Shape
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.etags import answer_unless_known
from pipeline_assets.web.identity import Anybody
from pipeline_assets.web.problems import Problem, not_found
from pipeline_assets.web.templating import render_text

router = APIRouter(tags=["readiness"])
banner_router = APIRouter(include_in_schema=False)

BrandId = Annotated[str, fastapi.Path(description="The brand's id.")]
PageName = Annotated[str, fastapi.Path(description="The page's name, such as `ad_performance`.")]


class LineView(Shape):
    """One line of a banner; the text is plain and has to be escaped."""

    kind: Kind
    text: str


class DatasetReadinessView(Shape):
    """One dataset as the page needs it."""

    dataset: str
    title: str
    state: State
    is_usable: bool
    withholds: bool
    """Whether the page must show nothing because of it."""
    last_success_at: datetime | None
    age_seconds: float | None
    allowed_seconds: float | None
    failed_at: datetime | None
    """When the last attempt failed, if it did."""
    error_class: str | None
    error_message: str | None
    advice: str | None
    is_refreshing: bool
    activity: Activity | None
    activity_since: datetime | None
    next_try_at: datetime | None
    action: str
    """What to do; empty when there is nothing to do."""


class ReadinessView(Shape):
    """The answer for one page and one brand."""

    page: str
    brand: str
    answer: Answer
    """`ready`: show it; `degraded`: show it with the banner; `withhold`: show the banner alone."""
    checked_at: datetime
    paused_at: datetime | None
    paused_until: datetime | None
    datasets: list[DatasetReadinessView]
    lines: list[LineView]


class BrandsReadinessView(Shape):
    """The answer for one page across the brands that you may see."""

    page: str
    brand: None
    answer: Answer
    checked_at: datetime
    counts: dict[str, int]
    """Brands by answer; under `not_configured` those that have none of the page's sources."""
    brands: list[ReadinessView]
    """The worst of those that are not ready, 50 at most."""
    lines: list[LineView]


@router.get("/brands/{brand}/readiness/{page}", response_model=ReadinessView)
async def get_readiness(
    request: Request, principal: Anybody, web: Web, brand: BrandId, page: PageName
) -> Response:
    """Tell whether a page may show a brand's data, and why not.

    Poll it with `If-None-Match`: 304 says that nothing has changed. Tokens of the role embed may
    ask, and pages of any site.
    """
    return _answer(request, _of_brand(web, principal, brand, page))


@router.get("/readiness/{page}", response_model=BrandsReadinessView)
def get_readiness_across_brands(
    request: Request, principal: Anybody, web: Web, page: PageName
) -> Response:
    """Tell whether a page may show the data of all your brands, and which are not ready."""
    return _answer(request, _across_brands(web, principal, page))


@banner_router.get("/banner/{brand}/{page}")
def banner(request: Request, principal: Anybody, web: Web, brand: str, page: str) -> Response:
    """The same answer as a piece of HTML to put into a page; brand `*` asks across brands."""
    readiness: Readiness | BrandsReadiness = (
        _across_brands(web, principal, page)
        if brand == "*"
        else _of_brand(web, principal, brand, page)
    )
    return answer_unless_known(
        request,
        render_text("banner.html", readiness=readiness),
        tag=etag_of(readiness),
        media_type="text/html",
    )


def _answer(request: Request, readiness: Readiness | BrandsReadiness) -> Response:
    content = orjson.dumps(readiness.as_row(), option=orjson.OPT_UTC_Z)
    return answer_unless_known(request, content, tag=etag_of(readiness))


def _of_brand(web: Context, principal: Principal, brand: str, page: str) -> Readiness:
    found = _find_page(web, page)
    try:
        return read_readiness(
            web.engine,
            brand,
            found,
            now=web.now(),
            organization_ids=principal.organizations_with(Role.EMBED),
        )
    except InvalidConfigError:
        raise not_found("such brand") from None


def _across_brands(web: Context, principal: Principal, page: str) -> BrandsReadiness:
    return read_readiness_across(
        web.engine,
        _find_page(web, page),
        now=web.now(),
        organization_ids=principal.organizations_with(Role.EMBED),
    )


def _find_page(web: Context, name: str) -> Page:
    pages = web.pages
    try:
        return find_page(pages, name)
    except InvalidConfigError as error:
        raise Problem(404, str(error), advice=error.advice) from None
