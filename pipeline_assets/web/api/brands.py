"""Brands: find, add, change, pause and resume them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field

from pipeline_assets.brands.models import Brand, Sources
from pipeline_assets.brands.registry import (
    add_brand,
    apply_brands,
    get_brand,
    list_brand_ids,
    list_brands,
    pause_brand,
    resume_brand,
)
from pipeline_assets.control.cadence_suggestions import set_suggested_cadences
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.web.api.shapes import (
    CONFLICT,
    Asked,
    Cursor,
    Instant,
    Limit,
    Listing,
    Names,
    Row,
    Shape,
    listing,
)
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import (
    Admin,
    AdministeredBrand,
    OperatedBrand,
    Operator,
    ViewedBrand,
    Viewer,
    check_role,
)
from pipeline_assets.web.paging import cut_after, read_name_cursor
from pipeline_assets.web.problems import Problem

router = APIRouter(tags=["brands"])


class BrandView(Shape):
    """One brand."""

    id: str
    organization_id: str
    name: str
    timezone: str
    currency: str | None
    configured: list[str]
    """The sources that it has."""
    sources: Sources | None
    """How they are reached, for admins alone; secrets are named by their place."""
    windows: Mapping[str, float]
    """Allowed ages in hours by dataset, where they differ from the catalogue's."""
    max_runtime_minutes: Mapping[str, float]
    """By job, where they differ from the catalogue's."""
    is_paused: bool
    paused_at: datetime | None
    paused_reason: str | None
    paused_until: datetime | None

    @classmethod
    def of(cls, brand: Brand, principal: Principal, now: datetime) -> Self:
        """The brand as this principal may see it."""
        is_admin = principal.may(Role.ADMIN, brand.organization_id)
        return cls(
            **brand.model_dump(exclude={"sources"}),
            configured=sorted(brand.sources.configured),
            sources=brand.sources if is_admin else None,
            is_paused=brand.is_paused(now),
        )


class Pause(Asked):
    """Why, and until when."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]
    until: Instant | None = None
    """It ends by itself then; without it, somebody has to resume."""


Specification = Annotated[
    Brand,
    Body(
        openapi_examples={
            "meta": {
                "summary": "A brand with one ad account",
                "value": {
                    "id": "acme",
                    "organization_id": "default",
                    "name": "Acme Skin",
                    "timezone": "Europe/Berlin",
                    "currency": "EUR",
                    "sources": {
                        "meta": {"ad_accounts": ["act_1001"], "token": "env:META_TOKEN_ACME"}
                    },
                    "windows": {"meta_ads_performance": 12},
                },
            }
        }
    ),
]


SetCadences = Annotated[bool, Query(description="Set the usual cadences too")]


@router.get("/brands", response_model=Listing[BrandView])
def list_my_brands(
    principal: Viewer,
    web: Web,
    organization: Names = frozenset(),
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Row:
    """List the brands that you may see, by id."""
    after = read_name_cursor(cursor)
    found = [
        each
        for each in list_brands(web.engine, organization_ids=principal.organization_ids)
        if not organization or each.organization_id in organization
    ]
    page, next_cursor = cut_after(found, after, limit, lambda brand: brand.id)
    now = web.now()
    return listing([BrandView.of(each, principal, now) for each in page], next_cursor)


@router.post("/brands", response_model=BrandView, status_code=201, responses=CONFLICT)
def create_brand(
    principal: Admin,
    web: Web,
    specification: Specification,
    response: Response,
    cadences: SetCadences = True,
) -> BrandView:
    """Add a brand, with the usual cadences of the jobs that its sources allow.

    It takes an admin of every organization: a brand names secrets of the installation and where
    they are sent.
    """
    check_role(principal, Role.ADMIN, None)
    if specification.paused_at or specification.paused_reason or specification.paused_until:
        raise Problem(422, "A new brand is not paused.", advice="Pause it when it is there.")
    if specification.id in list_brand_ids(web.engine):
        raise Problem(409, f"There is a brand {specification.id} already.")
    add_brand(web.engine, specification, actor=principal.actor, now=web.now())
    if cadences:
        set_suggested_cadences(web.engine, [specification], actor=principal.actor, now=web.now())
    response.headers["Location"] = f"/api/v1/brands/{specification.id}"
    return BrandView.of(get_brand(web.engine, specification.id), principal, web.now())


@router.get("/brands/{brand}", response_model=BrandView)
def get_one_brand(principal: Viewer, brand: ViewedBrand, web: Web) -> BrandView:
    """Tell about one brand."""
    return BrandView.of(brand, principal, web.now())


@router.put("/brands/{brand}", response_model=BrandView)
def change_brand(
    principal: Admin,
    brand: AdministeredBrand,
    web: Web,
    specification: Specification,
    cadences: SetCadences = True,
) -> BrandView:
    """Change a brand to what is given as a whole; its pause stays as it is.

    Other sources than it has take an admin of every organization. Jobs that only the new ones
    allow get their usual cadences.
    """
    if specification.id != brand.id:
        raise Problem(422, f"The id is {specification.id}, and the address says {brand.id}.")
    if specification.organization_id != brand.organization_id:
        raise Problem(422, "A brand does not move to another organization.")
    if specification.sources != brand.sources:
        check_role(principal, Role.ADMIN, None)
    apply_brands(web.engine, [specification], actor=principal.actor, now=web.now())
    if cadences:
        set_suggested_cadences(
            web.engine, [specification], before=[brand], actor=principal.actor, now=web.now()
        )
    return BrandView.of(get_brand(web.engine, brand.id), principal, web.now())


@router.post("/brands/{brand}/pause", response_model=BrandView)
def pause(principal: Operator, brand: OperatedBrand, web: Web, asked: Pause) -> BrandView:
    """Let no cadence of a brand make a request until then, or until it is resumed."""
    paused = pause_brand(
        web.engine,
        brand.id,
        reason=asked.reason,
        until=asked.until,
        actor=principal.actor,
        now=web.now(),
    )
    return BrandView.of(paused, principal, web.now())


@router.post("/brands/{brand}/resume", response_model=BrandView)
def resume(principal: Operator, brand: OperatedBrand, web: Web) -> BrandView:
    """End a brand's pause; nothing happens to one that is not paused."""
    resumed = resume_brand(web.engine, brand.id, actor=principal.actor, now=web.now())
    return BrandView.of(resumed, principal, web.now())
