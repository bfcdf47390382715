"""Admin: people, tokens, organizations, pages shown, the audit log and the installation's health.

An admin of one organization sees and changes what is of it alone; somebody else's looks like what
is not there. Brands are in `admin_brands.py`.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from pipeline_assets.brands.models import Organization, parse_organization
from pipeline_assets.brands.registry import add_organization, list_organizations
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people import users
from pipeline_assets.people.features import FEATURES, list_features, set_feature
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.people.secret_values import draw_secret
from pipeline_assets.people.sign_in import list_sessions, revoke_sessions
from pipeline_assets.people.tokens import create_token, list_tokens, revoke_token
from pipeline_assets.people.users import User
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.web.api.health import examine
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import PageViewer, check_role
from pipeline_assets.web.pages.answers import told
from pipeline_assets.web.pages.listing import address
from pipeline_assets.web.paging import cut, read_cursor
from pipeline_assets.web.problems import Problem, not_found
from pipeline_assets.web.templating import render

router = APIRouter(prefix="/admin")

AUDIT_PAGE = 100

TABS = (
    ("users", "Users"),
    ("tokens", "API tokens"),
    ("brands", "Brands"),
    ("features", "Pages shown"),
    ("audit", "Audit log"),
    ("organizations", "Organizations"),
    ("health", "Health"),
)
_OF_THE_INSTALLATION = {"organizations", "health"}
"""What only an admin of every organization sees."""

Text = Annotated[str, Form(max_length=400)]
Chosen = Annotated[str, Form(max_length=100)]
PersonRole = Annotated[Role, Form()]


def _admin(principal: PageViewer) -> Principal:
    if not principal.may_anywhere(Role.ADMIN):
        raise Problem(403, f"This takes the role {Role.ADMIN}.", advice="Ask an admin for it.")
    return principal


AdminOfSome = Annotated[Principal, Depends(_admin)]


def _admin_of_every(principal: AdminOfSome) -> Principal:
    check_role(principal, Role.ADMIN, None)
    return principal


AdminOfEvery = Annotated[Principal, Depends(_admin_of_every)]


def admin_page(
    request: Request,
    web: Context,
    principal: Principal,
    tab: str,
    *,
    template: str = "",
    **values: Any,
) -> Response:
    """A tab's page, with what every tab has."""
    rules_every = principal.may(Role.ADMIN, None)
    return render(
        request,
        template or f"admin_{tab}.html",
        now=web.now(),
        tab=tab,
        tabs=[each for each in TABS if rules_every or each[0] not in _OF_THE_INSTALLATION],
        organizations=_organizations(web, administered(principal)),
        rules_every=rules_every,
        **values,
    )


def administered(principal: Principal) -> frozenset[str] | None:
    """The organizations that the principal is an admin of; None: all."""
    return principal.organizations_with(Role.ADMIN)


def _organizations(web: Context, among: Collection[str] | None) -> list[Organization]:
    return [each for each in list_organizations(web.engine) if among is None or each.id in among]


def check_admin_of(principal: Principal, organization_id: str) -> None:
    """Return when the principal is an admin there.

    Raises:
        Problem: 404; of another organization nobody learns that it exists.
    """
    if not principal.may(Role.ADMIN, organization_id):
        raise not_found("such organization")


# --- Users ------------------------------------------------------------------------------------


@router.get("", name="admin")
@router.get("/users")
def show_users(
    request: Request,
    principal: AdminOfSome,
    web: Web,
    open: Annotated[str, Query(max_length=100)] = "",  # noqa: A002 - the parameter's name in the address
) -> Response:
    """The people with a role in one's organizations; one of them open."""
    return _users_page(request, principal, web, opened_id=open)


def _users_page(
    request: Request,
    principal: Principal,
    web: Context,
    *,
    opened_id: str = "",
    secret: str = "",
    secret_of: str = "",
) -> Response:
    now = web.now()
    people = users.list_users(web.engine, organization_ids=administered(principal))
    opened = next((each for each in people if each.id == opened_id), None)
    may_manage = opened is not None and principal.may_administer(
        _person(web, principal, opened.id).roles
    )
    sessions = list_sessions(web.engine, opened.id) if opened and may_manage else []
    return admin_page(
        request,
        web,
        principal,
        "users",
        people=people,
        opened=opened,
        may_manage=may_manage,
        sessions=[each for each in sessions if each.ends_at > now],
        own_id=request.state.session.id,
        person_roles=[role for role in Role if role is not Role.EMBED],
        secret=secret,
        secret_of=secret_of,
        poll_url=f"/admin/users?open={opened.id}" if opened else "/admin/users",
    )


@router.post("/users")
def add_user(
    request: Request,
    principal: AdminOfSome,
    web: Web,
    email: Text,
    organization: Chosen,
    role: PersonRole,
    name: Text = "",
) -> Response:
    """Add a person; the answer shows their password, which nobody can read again."""
    check_admin_of(principal, organization)
    password = draw_secret()
    added = users.add_user(
        web.engine,
        email=email,
        name=name.strip() or email,
        password=password,
        roles={organization: role},
        actor=principal.actor,
        now=web.now(),
    )
    return _users_page(request, principal, web, secret=password, secret_of=added.email)


@router.post("/users/{user_id}/password")
def reset_password(request: Request, principal: AdminOfSome, web: Web, user_id: str) -> Response:
    """Give a person a new password, which the answer shows once; their sessions end."""
    user = _administered_person(web, principal, user_id)
    if principal.actor == f"user:{user.email}":  # there it takes the old one: a screen may be open
        raise Problem(403, "That is you.", advice="Change your own password under Account.")
    password = draw_secret()
    users.set_password(web.engine, user.id, password, actor=principal.actor, now=web.now())
    return _users_page(request, principal, web, secret=password, secret_of=user.email)


@router.post("/users/{user_id}/roles")
def set_role(
    request: Request,
    principal: AdminOfSome,
    web: Web,
    user_id: str,
    organization: Chosen,
    role: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Give a person a role in an organization; an empty one takes theirs away there."""
    user = _person(web, principal, user_id)
    check_admin_of(principal, organization)
    if role and role not in set(Role):
        raise Problem(422, f"There is no role {role!r}.")
    mine = administered(principal)
    kept = {
        where: held
        for where, held in user.roles.items()
        if where != organization and (mine is None or where in mine)
    }
    wanted = kept | ({organization: Role(role)} if role else {})
    users.set_roles(
        web.engine,
        user.id,
        wanted,
        actor=principal.actor,
        now=web.now(),
        organization_ids=mine,
    )
    return told(request, f"{user.email} is {role or 'nothing'} there now.")


@router.post("/users/{user_id}/disable")
def disable_user(request: Request, principal: AdminOfSome, web: Web, user_id: str) -> Response:
    """Keep a person out at once."""
    user = _administered_person(web, principal, user_id)
    users.disable_user(web.engine, user.id, actor=principal.actor, now=web.now())
    return told(request, f"{user.email} can no longer sign in.")


@router.post("/users/{user_id}/enable")
def enable_user(request: Request, principal: AdminOfSome, web: Web, user_id: str) -> Response:
    """Let a disabled person sign in again."""
    user = _administered_person(web, principal, user_id)
    users.enable_user(web.engine, user.id, actor=principal.actor, now=web.now())
    return told(request, f"{user.email} can sign in again.")


@router.post("/users/{user_id}/sessions/revoke")
def revoke_session(
    request: Request,
    principal: AdminOfSome,
    web: Web,
    user_id: str,
    session_id: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """End one of a person's sessions, or all."""
    user = _administered_person(web, principal, user_id)
    count = revoke_sessions(
        web.engine,
        user.id,
        actor=principal.actor,
        now=web.now(),
        session_id=session_id or None,
    )
    return told(request, f"{count} sessions of {user.email} ended.")


def _person(web: Context, principal: Principal, user_id: str) -> User:
    """The person, with all roles, if they have one in an organization of this admin."""
    try:
        return users.get_user(web.engine, user_id, organization_ids=administered(principal))
    except InvalidConfigError:
        raise not_found("such user") from None


def _administered_person(web: Context, principal: Principal, user_id: str) -> User:
    user = _person(web, principal, user_id)
    if not principal.may_administer(user.roles):
        raise Problem(
            403,
            f"{user.email} has roles in organizations that you are no admin of.",
            advice="Take away their role here, or ask an admin of every organization.",
        )
    return user


# --- API tokens -------------------------------------------------------------------------------


@router.get("/tokens")
def show_tokens(request: Request, principal: AdminOfSome, web: Web) -> Response:
    """The tokens bound to one's organizations."""
    return _tokens_page(request, principal, web)


def _tokens_page(
    request: Request, principal: Principal, web: Context, *, secret: str = "", secret_of: str = ""
) -> Response:
    return admin_page(
        request,
        web,
        principal,
        "tokens",
        tokens=list_tokens(web.engine, organization_ids=administered(principal)),
        token_roles=list(Role),
        secret=secret,
        secret_of=secret_of,
        poll_url="/admin/tokens",
    )


@router.post("/tokens")
def add_token(
    request: Request,
    principal: AdminOfSome,
    web: Web,
    name: Text,
    organization: Chosen,
    role: Annotated[Role, Form()],
    days: Annotated[int, Form(ge=0, le=3660)] = 0,
) -> Response:
    """Create a token that ends after so many days, 0: never; the answer shows its secret once."""
    check_admin_of(principal, organization)
    now = web.now()
    token, secret = create_token(
        web.engine,
        name=name,
        organization_id=organization,
        role=role,
        expires_at=now + timedelta(days=days) if days else None,
        actor=principal.actor,
        now=now,
    )
    return _tokens_page(request, principal, web, secret=secret, secret_of=token.name)


@router.post("/tokens/{token_id}/revoke")
def end_token(request: Request, principal: AdminOfSome, web: Web, token_id: str) -> Response:
    """Make a token useless at once."""
    try:
        token = revoke_token(
            web.engine,
            token_id,
            actor=principal.actor,
            now=web.now(),
            organization_ids=administered(principal),
        )
    except InvalidConfigError:
        raise not_found("such token") from None
    return told(request, f"The token {token.name} opens nothing any more.")


# --- Organizations and the pages they see -----------------------------------------------------


@router.get("/organizations")
def show_organizations(request: Request, principal: AdminOfEvery, web: Web) -> Response:
    """All organizations."""
    return admin_page(request, web, principal, "organizations", poll_url="/admin/organizations")


@router.post("/organizations")
def new_organization(
    request: Request,
    principal: AdminOfEvery,
    web: Web,
    id: Chosen,  # noqa: A002 - the field's name in the form
    name: Text,
) -> Response:
    """Add an organization."""
    organization = parse_organization({"id": id, "name": name})
    add_organization(web.engine, organization, actor=principal.actor, now=web.now())
    return told(request, f"Organization {organization.id} is added.")


@router.get("/features")
def show_features(request: Request, principal: AdminOfSome, web: Web) -> Response:
    """Which organization's people see which page."""
    switches = list_features(web.engine, organization_ids=administered(principal))
    return admin_page(
        request,
        web,
        principal,
        "features",
        features=FEATURES,
        switches={(each.organization_id, each.feature): each for each in switches},
        poll_url="/admin/features",
    )


@router.post("/features")
def switch_feature(
    request: Request,
    principal: AdminOfSome,
    web: Web,
    organization: Chosen,
    feature: Chosen,
    is_shown: Annotated[bool, Form()],
) -> Response:
    """Show a page to an organization's people, or hide it."""
    check_admin_of(principal, organization)
    set_feature(
        web.engine,
        organization,
        feature,
        is_shown=is_shown,
        actor=principal.actor,
        now=web.now(),
    )
    return told(
        request, f"{feature} is {'shown to' if is_shown else 'hidden from'} {organization}."
    )


# --- Audit log and health ---------------------------------------------------------------------


@router.get("/audit")
def show_audit(
    request: Request,
    principal: AdminOfSome,
    web: Web,
    target: Annotated[str, Query(max_length=300)] = "",
    before: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """Who changed what, the newest first."""
    found = read_audit(
        web.engine,
        organization_ids=administered(principal),
        target=target or None,
        limit=AUDIT_PAGE + 1,
        before=read_cursor(before or None),
    )
    page, older = cut(found, AUDIT_PAGE, lambda entry: entry.position)
    return admin_page(
        request,
        web,
        principal,
        "audit",
        entries=page,
        older=older,
        target=target,
        before=before,
        address=lambda **changes: address(request, **changes),
    )


@router.get("/health")
def show_installation(request: Request, principal: AdminOfEvery, web: Web) -> Response:
    """The page; what is examined comes by itself."""
    return admin_page(request, web, principal, "health")


@router.get("/health/checks")
def show_checks(request: Request, _: AdminOfEvery, web: Web) -> Response:
    """What an examination finds, as a fragment; takes seconds."""
    return render(request, "admin_checks.html", checks=examine(web), now=web.now())
