"""Where a proxy before Dagster's own pages sends those whom it did not let through (deploy/nginx).

The proxy asks `/api/v1/session/dagster` whether somebody may pass; this tells people what to do.
"""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Request
from fastapi.responses import RedirectResponse

from pipeline_assets.people.roles import Role
from pipeline_assets.people.sign_in import read_session
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import SESSION_COOKIE
from pipeline_assets.web.paths import safe_path
from pipeline_assets.web.problems import Problem

router = APIRouter()


@router.get("/dagster-access")
def show_dagster_access(
    request: Request, web: Web, x_original_uri: Annotated[str, Header()] = "/dagster/"
) -> RedirectResponse:
    """Lead to the sign-in and from there to what was asked for, or say who may see it."""
    cookie = request.cookies.get(SESSION_COOKIE)
    session = read_session(web.engine, cookie, now=web.now()) if cookie else None
    if session is None:
        query = urlencode({"next": safe_path(x_original_uri)})
        return RedirectResponse(f"/sign-in?{query}", status_code=303)
    request.state.session = session
    if not session.principal.may(Role.OPERATOR, None):
        raise Problem(
            403,
            "Dagster's own pages show the brands of all organizations: they are for who is an "
            "operator or admin in every one.",
            advice="What you may see of your brands is on our own pages; or ask an admin.",
        )
    return RedirectResponse("/dagster/", status_code=303)
