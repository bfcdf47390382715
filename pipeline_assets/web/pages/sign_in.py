"""Signing in and out, and the choice of the time zone in which times are shown."""

import math
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline_assets.people.sign_in import SignInRefused, TooManySignIns, sign_in, sign_out
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import SESSION_COOKIE, Anybody
from pipeline_assets.web.pages.answers import back
from pipeline_assets.web.paths import safe_path
from pipeline_assets.web.problems import Problem
from pipeline_assets.web.templating import ZONE_COOKIE, render, zones

router = APIRouter()


@router.get("/sign-in", name="sign_in_page")
def show_sign_in(request: Request, next: str = "/") -> Response:  # noqa: A002 - the parameter's name in the address
    """The form."""
    return render(request, "sign_in.html", next=safe_path(next), email="", message="")


@router.post("/sign-in")
def do_sign_in(
    request: Request,
    web: Web,
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=2000)],
    next: Annotated[str, Form()] = "/",  # noqa: A002
) -> Response:
    """Begin a session; a page of another site cannot send this form."""
    if not _is_of_this_site(request):
        raise Problem(403, "The form came from another site.", advice="Sign in here.")
    now = web.now()
    address = request.client.host if request.client else "unknown"
    try:
        session = sign_in(
            web.engine,
            email=email,
            password=password,
            address=address,
            user_agent=request.headers.get("user-agent", ""),
            now=now,
        )
    except SignInRefused as error:
        return _refused(request, email, next, str(error), 401)
    except TooManySignIns as error:
        refusal = _refused(request, email, next, f"{error} {error.advice}", 429)
        refusal.headers["Retry-After"] = str(math.ceil(error.retry_after_seconds or 0))
        return refusal
    response = RedirectResponse(safe_path(next), status_code=303)
    response.set_cookie(
        SESSION_COOKIE,
        session.token,
        max_age=int((session.expires_at - now).total_seconds()),
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",
    )
    return response


def _is_of_this_site(request: Request) -> bool:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in {"same-origin", "none"}
    # An old browser, or a program, which sends neither.
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


def _refused(request: Request, email: str, following: str, message: str, status: int) -> Response:
    return render(
        request,
        "sign_in.html",
        next=safe_path(following),
        email=email,
        message=message,
        status_code=status,
    )


@router.post("/sign-out")
def do_sign_out(request: Request, _: Anybody, web: Web) -> Response:
    """End the session."""
    sign_out(web.engine, request.cookies.get(SESSION_COOKIE, ""), now=web.now())
    response = RedirectResponse("/sign-in", status_code=303)
    response.delete_cookie(SESSION_COOKIE)
    return response


@router.get("/zone")
def set_zone(request: Request, zone: Annotated[str, Query(max_length=64)]) -> Response:
    """Show times in this zone from now on."""
    if zone not in zones():
        raise Problem(422, f"{zone!r} is no time zone.", advice="Such as Europe/Berlin or UTC.")
    response = back(request)
    response.set_cookie(ZONE_COOKIE, zone, max_age=365 * 86_400, samesite="lax")
    return response
