"""Who asks, and what they may see: dependencies of every route but sign-in and static files.

Programs send `Authorization: Bearer pa_…`; browsers send the session's cookie and, with every
change, the session's CSRF token. A brand of another organization looks like one that is not there.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Path, Request

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import get_brand
from pipeline_assets.control.requests import Request as SyncRequest
from pipeline_assets.control.requests import get_request
from pipeline_assets.control.targets import Target, read_target
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.features import hidden_features
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.people.sign_in import Session, read_session
from pipeline_assets.people.tokens import read_token
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.problems import Problem, not_found

SESSION_COOKIE = "pipeline_assets_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


async def _identify(request: Request, web: Web) -> Principal:
    """Who asks; for a change from a browser, that our own page asked.

    Raises:
        Problem: nobody who is known (401), or a change without its CSRF token (403).
    """
    # An async route's dependency: what is read is one indexed row, and a thread costs more.
    authorization = request.headers.get("authorization", "")
    if authorization:
        kind, _, secret = authorization.partition(" ")
        found = (
            read_token(web.engine, secret.strip(), now=web.now())
            if kind.lower() == "bearer"
            else None
        )
        if found is None:
            raise Problem(
                401, "The token is unknown, revoked or over.", advice="Ask for a new one."
            )
        return found
    cookie = request.cookies.get(SESSION_COOKIE)
    session = read_session(web.engine, cookie, now=web.now()) if cookie else None
    if session is None:
        raise Problem(
            401,
            "You are not signed in, or your session is over.",
            advice="Sign in, or send an API token as `Authorization: Bearer …`.",
        )
    if request.method not in _SAFE_METHODS:
        await _check_csrf(request, session)
    request.state.session = session
    return session.principal


async def _check_csrf(request: Request, session: Session) -> None:
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        field = (await request.form()).get(CSRF_FIELD)
        sent = field if isinstance(field, str) else None
    if sent is None or not hmac.compare_digest(sent.encode(), session.csrf_token.encode()):
        raise Problem(
            403,
            "The change did not come from one of our pages, or from one that is too old.",
            advice="Reload the page and try again.",
        )


Anybody = Annotated[Principal, Depends(_identify)]
"""Whoever is known, be it a token that may read readiness alone."""


def _with_role(role: Role) -> Callable[[Principal], Awaitable[Principal]]:
    async def check(principal: Anybody) -> Principal:
        if not principal.may_anywhere(role):
            raise Problem(403, f"This takes the role {role}.", advice="Ask an admin for it.")
        return principal

    return check


def _on_page(request: Request, principal: Anybody, web: Web) -> Principal:
    if getattr(request.state, "session", None) is None:
        raise Problem(
            403, "Pages are for people who sign in.", advice="Programs ask the API, /api/v1."
        )
    if not principal.may_anywhere(Role.VIEWER):
        raise Problem(403, "You have no role in any organization.", advice="Ask an admin for one.")
    request.state.hidden_features = hidden_features(web.engine, principal.organization_ids)
    return principal


PageViewer = Annotated[Principal, Depends(_on_page)]
"""Who looks at a page; which pages their organizations hide is read along."""


def shown(feature: str) -> Callable[[Request, Principal], Awaitable[None]]:
    """A route's dependency: the page is not there for people whose organizations hide it."""

    async def check(request: Request, principal: PageViewer) -> None:  # noqa: ARG001 - read before
        if feature in request.state.hidden_features:
            raise not_found("such page")

    return check


Viewer = Annotated[Principal, Depends(_with_role(Role.VIEWER))]
Operator = Annotated[Principal, Depends(_with_role(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(_with_role(Role.ADMIN))]


def _brand_for(role: Role) -> Callable[..., Brand]:
    """The brand that the path names, if the principal has the role in its organization."""

    def find(
        brand: Annotated[str, Path(description="The brand's id.")], principal: Anybody, web: Web
    ) -> Brand:
        found = visible_brand(web, principal, brand)
        check_role(principal, role, found.organization_id)
        return found

    return find


ViewedBrand = Annotated[Brand, Depends(_brand_for(Role.VIEWER))]
OperatedBrand = Annotated[Brand, Depends(_brand_for(Role.OPERATOR))]
AdministeredBrand = Annotated[Brand, Depends(_brand_for(Role.ADMIN))]


def _target_for(role: Role) -> Callable[..., Target]:
    """The brand, or all brands of `*<organization>`, that the path names, as `_brand_for`."""

    def find(
        brand: Annotated[
            str, Path(description="The brand's id; `*north` for all of organization north.")
        ],
        principal: Anybody,
        web: Web,
    ) -> Target:
        found = visible_target(web, principal, brand)
        check_role(principal, role, found.organization_id)
        return found

    return find


ViewedTarget = Annotated[Target, Depends(_target_for(Role.VIEWER))]
OperatedTarget = Annotated[Target, Depends(_target_for(Role.OPERATOR))]


def visible_brand(web: Context, principal: Principal, brand_id: str) -> Brand:
    """The brand of this id, if the principal may see it.

    Raises:
        Problem: 404, for an unknown and a forbidden one alike.
    """
    try:
        return get_brand(web.engine, brand_id, organization_ids=principal.organization_ids)
    except InvalidConfigError:
        raise not_found("such brand") from None


def visible_target(web: Context, principal: Principal, target_id: str) -> Target:
    """The brand of this id, or all brands of `*<organization>`, if the principal may see them.

    Raises:
        Problem: 404, for unknown and forbidden ones alike.
    """
    try:
        return read_target(web.engine, target_id, organization_ids=principal.organization_ids)
    except InvalidConfigError:
        raise not_found("such brand") from None


def check_role(principal: Principal, role: Role, organization_id: str | None) -> None:
    """Return when the principal has the role there.

    Raises:
        Problem: 403; for what the principal does not even see, answer 404 before.
    """
    if not principal.may(role, organization_id):
        raise Problem(403, f"This takes the role {role}.", advice="Ask an admin for it.")


def visible_request(web: Context, principal: Principal, request_id: str) -> SyncRequest:
    """The request of this id, if the principal may see it.

    Raises:
        Problem: 404.
    """
    try:
        return get_request(web.engine, request_id, organization_ids=principal.organization_ids)
    except InvalidConfigError:
        raise not_found("such request") from None
