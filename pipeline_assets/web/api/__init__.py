"""The JSON API for programs, `/api/v1`; what every route of it has in common."""

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute

from pipeline_assets.web.api import (
    attempts,
    audit,
    brands,
    cadences,
    catalogue,
    decisions,
    docs,
    health,
    history,
    identity_routes,
    readiness,
    requests,
    resyncs,
    status,
)
from pipeline_assets.web.api.shapes import FAILURES
from pipeline_assets.web.api.text_checks import check_request


def build_api() -> APIRouter:
    """All routes of the API, its documentation, and the banner."""
    api = APIRouter(
        prefix="/api/v1",
        responses=FAILURES,
        dependencies=[Depends(check_request)],
        generate_unique_id_function=_operation_id,
    )
    for module in (
        readiness,
        status,
        requests,
        history,
        attempts,
        cadences,
        resyncs,
        brands,
        catalogue,
        decisions,
        audit,
        health,
        identity_routes,
    ):
        api.include_router(module.router)
    whole = APIRouter()
    for router in (docs.router, api, readiness.banner_router):
        whole.include_router(router)
    return whole


def _operation_id(route: APIRoute) -> str:
    """The function's name: what generated clients call it."""
    return route.name
