"""The server that the benchmarks ask: ours, where brands have every source.

Each answer names in `X-Queries` how many statements its request sent to the database, BEGIN left
out; those of the loop beside the routes are not among them.
"""

from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline_assets.control import status
from pipeline_assets.datasets import DATASETS
from pipeline_assets.web.app import build_app

_count: ContextVar[list[int] | None] = ContextVar("count", default=None)


def build() -> FastAPI:
    status._datasets_of = lambda _: frozenset(DATASETS)  # type: ignore[assignment] # noqa: SLF001
    sa.event.listen(sa.Engine, "before_cursor_execute", _note)
    app = build_app()
    app.add_middleware(_CountQueries)
    return app


def _note(_: sa.Connection, __: Any, statement: str, *___: Any) -> None:
    count = _count.get()
    if count is not None and not statement.startswith("BEGIN"):
        count[0] += 1


class _CountQueries:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count = [0]
        _count.set(count)  # a list, because a route's thread has a copy of the context

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Queries"] = str(count[0])
            await send(message)

        await self._app(scope, receive, send_counted)
