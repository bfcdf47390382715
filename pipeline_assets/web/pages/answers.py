"""What a button's request is answered with: a toast for htmx, the page again without scripts."""

import json
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from pipeline_assets.redaction import redact


def told(request: Request, text: str) -> Response:
    """Say what has happened; the page then brings itself up to date."""
    if "hx-request" in request.headers:
        trigger = json.dumps({"told": {"text": redact(text)}})  # ASCII: it goes into a header
        return Response(status_code=204, headers={"HX-Trigger": trigger})
    return back(request)


def back(request: Request) -> Response:
    """The page that the request came from."""
    before = urlsplit(request.headers.get("referer", ""))
    query = f"?{before.query}" if before.query else ""
    return RedirectResponse(safe_path(before.path + query), status_code=303)


def safe_path(path: str) -> str:
    """A path of ours to go on to; whatever could lead elsewhere becomes the first page."""
    if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable():
        return path
    return "/"
