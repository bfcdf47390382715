"""The API's description, for programs as OpenAPI and for people as a page that can try it."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from pipeline_assets import __version__
from pipeline_assets.web.identity import CSRF_HEADER, SESSION_COOKIE, Anybody, PageViewer
from pipeline_assets.web.templating import render

router = APIRouter(include_in_schema=False)

_INTRODUCTION = f"""\
Know whether a brand's data is fresh enough to use; if not, why, and what is being done; and do it.

- **Who asks:** send an API token as `Authorization: Bearer pa_…` (made under Admin). A browser's
  session works too; its changes need the header `{CSRF_HEADER}`.
- **Brands of other organizations** do not exist for you: they answer as unknown ones do.
- **Times** are ISO 8601 in UTC; those you send carry their offset. Days are the ad account's.
- **Lists** come in pages: pass `next_cursor` back as `cursor`; null says that was the last one.
- **Failures** have one shape: `{{"error": {{"code", "message", "advice"}}}}`.
- **Polling:** readiness, status and catalogue answer with an `ETag`; `If-None-Match` gets 304.
"""

_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token, `pa_…`."},
    "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
}


@router.get("/api/v1/openapi.json", name="openapi")
def get_description(request: Request, _: Anybody) -> Response:
    """The OpenAPI description."""
    return JSONResponse(describe(request.app))


@router.get("/api/docs", name="api_docs")
def show_docs(request: Request, _: PageViewer) -> Response:
    """The page that shows it."""
    return render(
        request,
        "api_docs.html",
        csrf_header=CSRF_HEADER,
        url_for_description=request.url_for("openapi").path,
    )


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description of all routes of the API; made once."""
    if app.openapi_schema is None:
        description = get_openapi(
            title="pipeline_assets",
            version=__version__,
            summary="Freshness of marketing data, brand by brand",
            description=_INTRODUCTION,
            routes=app.routes,
        )
        for path in description["paths"].values():
            for operation in path.values():
                _split_summary(operation)
        description["components"]["securitySchemes"] = _SECURITY
        description["security"] = [{name: []} for name in _SECURITY]
        app.openapi_schema = description
    return app.openapi_schema


def _split_summary(operation: dict[str, Any]) -> None:
    """Show the first sentence of a route's docstring beside its address, the others below."""
    first, _, rest = operation["description"].partition("\n\n")
    operation["summary"] = " ".join(first.split()).removesuffix(".")
    operation["description"] = rest
