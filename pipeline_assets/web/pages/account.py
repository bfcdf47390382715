"""Account: what somebody may do, their password, and where they are signed in."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from pipeline_assets.people.passwords import MAX_LENGTH, MIN_LENGTH
from pipeline_assets.people.sign_in import (
    Session,
    SignInRefused,
    TooManySignIns,
    list_sessions,
    revoke_sessions,
    sign_in,
)
from pipeline_assets.people.users import User, get_user, set_password
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import SESSION_COOKIE, PageViewer
from pipeline_assets.web.pages.answers import told
from pipeline_assets.web.problems import Problem, not_found
from pipeline_assets.web.templating import render

router = APIRouter()


def _own_session(request: Request, _: PageViewer) -> Session:
    session = request.state.session
    assert isinstance(session, Session)  # pages are for people who sign in
    return session


Own = Annotated[Session, Depends(_own_session)]


def _me(session: Own, web: Web) -> User:
    assert session.principal.user_id is not None  # a session is a person's
    return get_user(web.engine, session.principal.user_id)


Me = Annotated[User, Depends(_me)]


@router.get("/account", name="account")
def show_account(request: Request, web: Web, session: Own, me: Me) -> Response:
    """The page."""
    now = web.now()
    return render(
        request,
        "account.html",
        now=now,
        me=me,
        sessions=[each for each in list_sessions(web.engine, me.id) if each.ends_at > now],
        own_id=session.id,
        min_length=MIN_LENGTH,
        max_length=MAX_LENGTH,
        poll_url="/account",
    )


@router.post("/account/password")
def change_password(
    request: Request,
    web: Web,
    me: Me,
    old: Annotated[str, Form(max_length=MAX_LENGTH)],
    new: Annotated[str, Form(min_length=MIN_LENGTH, max_length=MAX_LENGTH)],
    again: Annotated[str, Form(max_length=MAX_LENGTH)],
) -> Response:
    """Set another password; all sessions end, this one too: one signs in with the new one.

    The old one is asked for as at a sign-in, so that somebody at an open screen cannot try many.
    """
    if new != again:
        raise Problem(422, "The new password and its repetition differ.")
    try:
        sign_in(
            web.engine,
            email=me.email,
            password=old,
            address=request.client.host if request.client else "unknown",
            user_agent=request.headers.get("user-agent", ""),
            now=web.now(),
        )
    except SignInRefused:
        raise Problem(422, "The old password is wrong. Nothing was changed.") from None
    except TooManySignIns as error:
        wait = error.retry_after_seconds
        raise Problem(429, str(error), advice=error.advice, retry_after_seconds=wait) from None
    set_password(web.engine, me.id, new, actor=me.actor, now=web.now())
    location = "/sign-in?next=/account"
    if "hx-request" in request.headers:
        response = Response(status_code=204, headers={"HX-Redirect": location})
    else:
        response = RedirectResponse(location, status_code=303)
    response.delete_cookie(SESSION_COOKIE)
    return response


@router.post("/account/sessions/revoke")
def revoke(
    request: Request,
    web: Web,
    me: Me,
    session_id: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """End one of one's sessions, or all of them, this one too."""
    count = revoke_sessions(
        web.engine, me.id, actor=me.actor, now=web.now(), session_id=session_id or None
    )
    if not count:
        raise not_found("such session")
    return told(request, "Signed out there." if session_id else "Signed out everywhere.")
