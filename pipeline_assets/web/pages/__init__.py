"""The pages for people: server-rendered, brought up to date in place by htmx."""

from fastapi import APIRouter, Depends

from pipeline_assets.web.pages import (
    account,
    active,
    ad_performance,
    admin,
    admin_brands,
    brand,
    brand_research,
    brands,
    congruence_insights,
    dagster_access,
    health,
    history,
    hook_analysis,
    matrix,
    media,
    schedules,
    sign_in,
    sync,
)
from pipeline_assets.web.pages.plain_text import check_text


def build_pages() -> APIRouter:
    """All pages, and what their buttons do."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(check_text)])
    people = (account, admin, admin_brands, dagster_access)
    manager = (health, matrix, brand, schedules, history, active)
    readers = (hook_analysis, congruence_insights, brand_research)
    for module in (sign_in, sync, brands, *manager, ad_performance, *readers, media, *people):
        router.include_router(module.router)
    return router
