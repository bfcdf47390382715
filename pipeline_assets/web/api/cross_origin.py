"""Which answers scripts of other sites may read: readiness and banners, with a token, alone."""

import re

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OPEN = re.compile(r"/api/v1/(brands/[^/]+/)?readiness/[^/]+|/banner/[^/]+/[^/]+")

_HEADERS = {
    # Without credentials: a cookie of ours is of no use there, a token in the header is.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization, If-None-Match",
    "Access-Control-Max-Age": "86400",
}


class OpenToOtherSites:
    """Adds the headers of cross-origin sharing to those answers, failures included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer a browser's question beforehand by itself."""
        if scope["type"] != "http" or not _OPEN.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=_HEADERS | _PREFLIGHT)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
