"""What a button's request is answered with: a toast for htmx, the page again without scripts."""

import json

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from pipeline_assets.redaction import redact
from pipeline_assets.web.paths import path_of


def told(request: Request, text: str, *, page: str = "/") -> Response:
    """Say what has happened; the page then brings itself up to date.

    Without scripts the page that the request came from is shown again: `page` where none is told.
    """
    if "hx-request" in request.headers:
        trigger = json.dumps({"told": {"text": redact(text)}})  # ASCII: it goes into a header
        return Response(status_code=204, headers={"HX-Trigger": trigger})
    return back(request, page)


def back(request: Request, page: str = "/") -> Response:
    """The page that the request came from; `page` where it does not tell."""
    return RedirectResponse(path_of(request.headers.get("referer") or page), status_code=303)
