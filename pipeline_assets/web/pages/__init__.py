"""The pages for people: server-rendered, brought up to date in place by htmx."""

from fastapi import APIRouter

from pipeline_assets.web.pages import health, sign_in, sync


def build_pages() -> APIRouter:
    """All pages, and what their buttons do."""
    router = APIRouter(include_in_schema=False)
    for module in (sign_in, sync, health):
        router.include_router(module.router)
    return router
