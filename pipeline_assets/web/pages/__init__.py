"""The pages for people: server-rendered, brought up to date in place by htmx."""

from fastapi import APIRouter, Depends

from pipeline_assets.web.pages import (
    account,
    active,
    ad_performance,
    admin,
    admin_brands,
    amazon_reviews,
    brand,
    brand_research,
    brands,
    competitor_research,
    congruence_insights,
    creations_review,
    dagster_access,
    decisions,
    health,
    history,
    hook_analysis,
    matrix,
    media,
    reddit_research,
    schedules,
    sign_in,
    sync,
    template_evaluation,
    template_queue,
)
from pipeline_assets.web.pages.plain_text import check_text


def build_pages() -> APIRouter:
    """All pages, and what their buttons do."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(check_text)])
    people = (account, admin, admin_brands, dagster_access)
    manager = (health, matrix, brand, schedules, history, active)
    readers = (
        hook_analysis,
        congruence_insights,
        brand_research,
        competitor_research,
        template_evaluation,
        reddit_research,
        amazon_reviews,
        creations_review,
        template_queue,
    )
    others = (decisions, media, *people)
    for module in (sign_in, sync, brands, *manager, ad_performance, *readers, *others):
        router.include_router(module.router)
    return router
