"""The server: `build_app()` puts routes, protection and the loop beside them together."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pipeline_assets import __version__
from pipeline_assets.clock import utcnow
from pipeline_assets.resources.installation import Installation
from pipeline_assets.web.api import build_api
from pipeline_assets.web.api.cross_origin import OpenToOtherSites
from pipeline_assets.web.background import Background
from pipeline_assets.web.context import Context
from pipeline_assets.web.pages import build_pages
from pipeline_assets.web.problems import add_problem_handlers
from pipeline_assets.web.protection import BodyLimit, HeadAsGet, SecureHeaders
from pipeline_assets.web.templating import STATIC_FOLDER


def build_app(
    installation: Installation | None = None, *, now: Callable[[], datetime] = utcnow
) -> FastAPI:
    """The app of an installation, the environment's if none is given; connects to nothing yet.

    What runs beside the routes begins and ends with the server.
    """
    installation = installation or Installation()
    background = Background(installation, now=now)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background.start()
        # What start-up made lives as long as the process: collections of the thousands of cells of
        # a page need not look through it. That halves a page's time.
        gc.collect()
        gc.freeze()
        yield
        background.stop()

    app = FastAPI(
        title="pipeline_assets",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.context = Context(installation, background, now)
    add_problem_handlers(app)
    app.include_router(build_api())
    app.include_router(build_pages())
    app.mount("/static", _StaticFiles(directory=STATIC_FOLDER), name="static")
    app.add_api_route("/healthz", _healthz, include_in_schema=False)
    app.add_middleware(BodyLimit)
    app.add_middleware(OpenToOtherSites)
    app.add_middleware(SecureHeaders)
    app.add_middleware(HeadAsGet)
    return app


def _healthz() -> PlainTextResponse:
    """That the process answers; `/api/v1/health` tells whether the installation is well."""
    return PlainTextResponse("ok")


class _StaticFiles(StaticFiles):
    """Files whose address changes with them: browsers may keep them for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        is_versioned = b"v=" in scope["query_string"]
        age = "public, max-age=31536000, immutable" if is_versioned else "public, max-age=300"
        response.headers["Cache-Control"] = age
        if path == "banner.js":  # for pages of any site
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response
