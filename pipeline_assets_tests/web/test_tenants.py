"""Every route with every role: nobody reads or changes what is not theirs, by any way.

`ROUTES` says of each route which role it takes. A route that it does not know fails the first test:
whoever adds one decides who may use it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.routing import iter_route_contexts

from pipeline_assets.control.cadences import set_cadence
from pipeline_assets.control.requests import Trigger, Wish, request_sync
from pipeline_assets.control.resyncs import start_resync
from pipeline_assets.people.roles import Role
from pipeline_assets.people.tokens import create_token
from pipeline_assets.people.users import add_user
from pipeline_assets.storage.tables import METADATA, sessions, sign_in_throttles
from pipeline_assets.web.app import build_app

if TYPE_CHECKING:
    from conftest import Site

Values = Mapping[str, str]


@dataclass(frozen=True)
class Route:
    """One route. `role` None: open to everybody. `everywhere`: the role in every organization.

    `{brand}`, `{request}` and so on stand for things of an organization, in the path too.
    """

    method: str
    path: str
    role: Role | None
    everywhere: bool = False
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    json: Mapping[str, Any] | None = None

    @property
    def is_owned(self) -> bool:
        """Whether it names something of an organization."""
        return "{" in f"{self.path} {self.query} {self.form} {self.json}".replace("{}", "")

    def ask(self, client: httpx.Client, values: Values) -> httpx.Response:
        return client.request(
            self.method,
            _filled(self.path, values),
            params={name: _filled(text, values) for name, text in self.query.items()},
            data={n: _filled(t, values) for n, t in self.form.items()} if self.form else None,
            json={n: _filled(t, values) for n, t in self.json.items()} if self.json else None,
        )


def _filled(text: Any, values: Values) -> Any:
    if not isinstance(text, str):
        return text
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


EMBED, VIEWER, OPERATOR, ADMIN = Role
PAUSE = {"reason": "Sale"}
CADENCE = "/api/v1/brands/{brand}/cadences/meta_sync"
SPECIFICATION = {
    "id": "{brand}",
    "organization_id": "{organization}",
    "name": "A brand",
    "timezone": "UTC",
    "sources": {"meta": {"ad_accounts": ["act_1"], "token": "env:TOKEN_OF_TESTS"}},
}

ROUTES = (
    Route("GET", "/healthz", None),
    Route("GET", "/sign-in", None),
    Route("POST", "/sign-in", None, form={"email": "nobody@example.com", "password": "no"}),
    Route("GET", "/zone", None, query={"zone": "UTC"}),
    Route("GET", "/dagster-access", None),  # leads to the sign-in, or says who may go on
    Route("GET", "/api/v1/brands/{brand}/readiness/ad_performance", EMBED),
    Route("GET", "/api/v1/readiness/ad_performance", EMBED),
    Route("GET", "/banner/{brand}/ad_performance", EMBED),
    Route("GET", "/api/v1/me", EMBED),
    Route("GET", "/api/v1/openapi.json", EMBED),
    Route("POST", "/sign-out", EMBED),
    Route("GET", "/api/docs", VIEWER),
    Route("GET", "/api/v1/status", VIEWER, query={"brand": "{brand}"}),
    Route("GET", "/api/v1/brands/{brand}/status", VIEWER),
    Route("GET", "/api/v1/requests", VIEWER, query={"brand": "{brand}"}),
    Route("GET", "/api/v1/requests/{request}", VIEWER),
    Route("GET", "/api/v1/history", VIEWER, query={"brand": "{brand}"}),
    Route("GET", "/api/v1/history/{request}", VIEWER),
    Route("GET", "/api/v1/history/{request}/log", VIEWER),
    Route("GET", "/api/v1/attempts", VIEWER, query={"brand": "{brand}"}),
    Route("GET", "/api/v1/cadences", VIEWER, query={"brand": "{brand}"}),
    Route("GET", CADENCE, VIEWER),
    Route("GET", f"{CADENCE}/preview", VIEWER, query={"cadence": "daily"}),
    Route("GET", "/api/v1/resyncs", VIEWER, query={"brand": "{brand}"}),
    Route("GET", "/api/v1/resyncs/{resync}", VIEWER),
    Route("GET", "/api/v1/brands", VIEWER, query={"organization": "{organization}"}),
    Route("GET", "/api/v1/brands/{brand}", VIEWER),
    Route("GET", "/api/v1/organizations", VIEWER),
    Route("GET", "/api/v1/datasets", VIEWER),
    Route("GET", "/api/v1/jobs", VIEWER),
    Route("GET", "/api/v1/pages", VIEWER),
    Route("GET", "/api/v1/health/live", VIEWER),
    Route("POST", "/api/v1/requests", OPERATOR, json={"brand": "{brand}"}),
    Route("POST", "/api/v1/requests/{request}/cancel", OPERATOR),
    Route("PUT", CADENCE, OPERATOR, json={"cadence": "daily"}),
    Route("POST", f"{CADENCE}/pause", OPERATOR, json=PAUSE),
    Route("POST", f"{CADENCE}/resume", OPERATOR),
    Route(
        "POST",
        "/api/v1/resyncs",
        OPERATOR,
        json={"brand": "{brand}", "since": "2026-03-01", "until": "2026-03-02"},
    ),
    Route("POST", "/api/v1/resyncs/{resync}/cancel", OPERATOR),
    Route("POST", "/api/v1/brands/{brand}/pause", OPERATOR, json=PAUSE),
    Route("POST", "/api/v1/brands/{brand}/resume", OPERATOR),
    Route("GET", "/api/v1/session/dagster", OPERATOR, everywhere=True),
    Route("GET", "/api/v1/audit", ADMIN, query={"target": "{brand}"}),
    Route("PUT", "/api/v1/brands/{brand}", ADMIN, json=SPECIFICATION),
    Route("POST", "/api/v1/brands", ADMIN, everywhere=True, json=SPECIFICATION),
    Route("GET", "/api/v1/health", ADMIN, everywhere=True),
    Route("GET", "/", VIEWER, query={"open": "{brand}:ad_assets", "rows": "{brand}"}),
    Route("GET", "/brands", VIEWER),
    Route("GET", "/matrix", VIEWER, query={"q": "{brand}"}),
    Route("GET", "/matrix.csv", VIEWER, query={"q": "{brand}"}),
    Route("GET", "/matrix.json", VIEWER, query={"q": "{brand}"}),
    Route("GET", "/brands/{brand}", VIEWER),
    Route("GET", "/brands/{brand}/ad-performance", VIEWER),
    Route("GET", "/brands/{brand}/ad-performance.csv", VIEWER),
    Route("GET", "/brands/{brand}/hook-analysis", VIEWER),
    Route("GET", "/brands/{brand}/hook-analysis.csv", VIEWER),
    Route("GET", "/brands/{brand}/congruence-insights", VIEWER),
    Route("GET", "/brands/{brand}/congruence-insights.csv", VIEWER),
    Route("GET", "/brands/{brand}/brand-research", VIEWER, query={"open": "image:1"}),
    Route("GET", "/brands/{brand}/brand-research.csv", VIEWER),
    Route("GET", "/brands/{brand}/brand-research/pages", VIEWER),
    Route("GET", "/brands/{brand}/brand-research/pages.csv", VIEWER),
    Route("GET", "/brands/{brand}/competitor-research", VIEWER, query={"open": "12345"}),
    Route("GET", "/brands/{brand}/competitor-research.csv", VIEWER),
    Route("GET", "/brands/{brand}/template-evaluation", VIEWER),
    Route("GET", "/brands/{brand}/template-evaluation.csv", VIEWER),
    Route("GET", "/brands/{brand}/reddit-research", VIEWER),
    Route("GET", "/brands/{brand}/reddit-research.csv", VIEWER),
    Route("GET", "/brands/{brand}/amazon-reviews", VIEWER),
    Route("GET", "/brands/{brand}/amazon-reviews.csv", VIEWER),
    Route("GET", "/brands/{brand}/creations-review", VIEWER),
    Route("GET", "/brands/{brand}/creations-review.csv", VIEWER),
    Route("GET", "/template-queue", VIEWER, query={"brand": "{brand}"}),
    Route("GET", "/template-queue.csv", VIEWER, query={"brand": "{brand}"}),
    Route(
        "POST",
        "/decisions/template_approvals",
        OPERATOR,
        form={"item": "{brand}/1", "decision": "approved", "reason": "Good"},
    ),
    Route(
        "POST",
        "/api/v1/brands/{brand}/templates/{item}/decision",
        OPERATOR,
        json={"decision": "approved", "reason": "Good"},
    ),
    Route(
        "POST",
        "/api/v1/brands/{brand}/creations/{item}/decision",
        OPERATOR,
        json={"decision": "approved", "reason": "Good"},
    ),
    Route("GET", f"/brands/{{brand}}/media/{'0' * 64}", VIEWER),
    Route("GET", "/schedules", VIEWER, query={"open": "{brand}:meta_sync", "rows": "{brand}"}),
    Route("GET", "/schedules/preview", VIEWER, query={"target": "{brand}:meta_sync"}),
    Route("GET", "/active", VIEWER, query={"rows": "{request}"}),
    Route("GET", "/history", VIEWER, query={"brand": "{brand}", "rows": "{request}"}),
    Route("GET", "/history/{request}", VIEWER),
    Route("GET", "/history/{request}/log", VIEWER, query={"run": "run-1"}),
    Route("GET", "/history/{request}/log.txt", VIEWER),
    Route("GET", "/account", VIEWER),
    Route(
        "POST",
        "/account/password",
        VIEWER,
        form={"old": "wrong", "new": "new password here", "again": "new password here"},
    ),
    Route("POST", "/account/sessions/revoke", VIEWER, form={"session_id": "none"}),
    Route("POST", "/brands/{brand}/sync", OPERATOR, form={"job": "meta_sync"}),
    Route("POST", "/sync", OPERATOR, form={"brand": "{brand}"}),
    Route("POST", "/requests/cancel", OPERATOR, form={"id": "{request}"}),
    Route("POST", "/brands/{brand}/pause", OPERATOR, form=PAUSE),
    Route("POST", "/brands/{brand}/resume", OPERATOR),
    Route("POST", "/brands/{brand}/access", OPERATOR),
    Route(
        "POST",
        "/brands/{brand}/resyncs",
        OPERATOR,
        form={"since": "2026-03-01", "until": "2026-03-02"},
    ),
    Route("POST", "/brands/{brand}/resyncs/{resync}/cancel", OPERATOR),
    Route(
        "POST", "/schedules/set", OPERATOR, form={"target": "{brand}:meta_sync", "cadence": "daily"}
    ),
    Route("POST", "/schedules/pause", OPERATOR, form={"target": "{brand}:meta_sync"} | PAUSE),
    Route("POST", "/schedules/resume", OPERATOR, form={"target": "{brand}:meta_sync"}),
    Route("GET", "/admin", ADMIN, query={"open": "{user}"}),
    Route("GET", "/admin/users", ADMIN, query={"open": "{user}"}),
    Route(
        "POST",
        "/admin/users",
        ADMIN,
        form={"email": "new@example.com", "organization": "{organization}", "role": "viewer"},
    ),
    Route("POST", "/admin/users/{user}/password", ADMIN),
    Route(
        "POST",
        "/admin/users/{user}/roles",
        ADMIN,
        form={"organization": "{organization}", "role": "viewer"},
    ),
    Route("POST", "/admin/users/{user}/disable", ADMIN),
    Route("POST", "/admin/users/{user}/enable", ADMIN),
    Route("POST", "/admin/users/{user}/sessions/revoke", ADMIN),
    Route("GET", "/admin/tokens", ADMIN),
    Route(
        "POST",
        "/admin/tokens",
        ADMIN,
        form={"name": "new", "organization": "{organization}", "role": "viewer"},
    ),
    Route("POST", "/admin/tokens/{token}/revoke", ADMIN),
    Route("GET", "/admin/organizations", ADMIN, everywhere=True),
    Route(
        "POST", "/admin/organizations", ADMIN, everywhere=True, form={"id": "east", "name": "East"}
    ),
    Route("GET", "/admin/features", ADMIN),
    Route(
        "POST",
        "/admin/features",
        ADMIN,
        form={"organization": "{organization}", "feature": "hook_analysis", "is_shown": "true"},
    ),
    Route("GET", "/admin/audit", ADMIN, query={"target": "{brand}"}),
    Route("GET", "/admin/health", ADMIN, everywhere=True),
    Route("GET", "/admin/health/checks", ADMIN, everywhere=True),
    Route("GET", "/admin/brands", ADMIN),
    Route(
        "POST",
        "/admin/brands",
        ADMIN,
        everywhere=True,
        form={"id": "{brand}", "organization_id": "{organization}", "name": "B", "timezone": "UTC"},
    ),
    Route("GET", "/admin/brands/{brand}", ADMIN),
    Route("POST", "/admin/brands/{brand}", ADMIN, form={"name": "B", "timezone": "UTC"}),
)

UNKNOWN: Values = {
    "brand": "rivax",
    "organization": "soutx",
    "request": "00000000-0000-4000-8000-000000000000",
    "resync": "00000000-0000-4000-8000-000000000001",
    "user": "0" * 32,
    "token": "1" * 32,
}

OWN_MATTERS = {"/sign-in", "/sign-out", "/account/password", "/account/sessions/revoke"}
"""What everybody changes for themselves."""


def test_each_route_of_the_app_has_its_row_and_each_row_its_route(sqlite_site: "Site") -> None:
    app = build_app(sqlite_site.installation)
    served = {
        (method, _without_names(route.path))
        for route in iter_route_contexts(app.routes)
        if route.path and route.path != "/static"
        for method in route.methods or ()
    }
    assert served == {(each.method, _without_names(each.path)) for each in ROUTES}


def _without_names(path: str) -> str:
    """The path with `{}` for every part that may differ."""
    known = {"meta_sync", "ad_performance", "template_approvals", "0" * 64}
    parts = ("{}" if part.startswith("{") or part in known else part for part in path.split("/"))
    return "/".join(parts)


def things_of(site: "Site", organization: str, brand_id: str) -> Values:
    """What an organization has: the ids for a route's `{…}`."""
    now = site.clock.now
    site.store_status(brand_id, "ad_assets")
    site.store_attempt(
        brand_id,
        "ad_assets",
        f"run-of-{brand_id}",
        organization_id=organization,
        began_at=now,
        outcome="succeeded",
    )
    wish = Wish(brand_id=brand_id, job="meta_sync", trigger=Trigger.MANUAL, requested_by="test")
    request, _ = request_sync(site.engine, wish, now=now)
    resync = start_resync(
        site.engine,
        brand_id=brand_id,
        job="meta_sync",
        since=(now - timedelta(days=60)).date(),
        until=now.date(),
        actor="test",
        now=now,
    )
    set_cadence(site.engine, brand_id, "meta_sync", "daily", actor="test", now=now)
    user = add_user(
        site.engine,
        email=f"someone@{organization}.example",
        name=f"someone of {brand_id}",
        password=None,
        roles={organization: Role.VIEWER},
        actor="test",
        now=now,
    )
    token, _ = create_token(
        site.engine,
        name=f"token of {brand_id}",
        organization_id=organization,
        role=Role.VIEWER,
        expires_at=None,
        actor="test",
        now=now,
    )
    return {
        "brand": brand_id,
        "organization": organization,
        "request": request.id,
        "resync": resync.id,
        "user": user.id,
        "token": token.id,
    }


def stored(site: "Site") -> dict[str, list[Any]]:
    """Everything but who was seen when."""
    unimportant = {sessions.name, sign_in_throttles.name}
    found = {}
    with site.engine.connect() as connection:
        for table in METADATA.sorted_tables:
            if table.name not in unimportant:
                columns = [column for column in table.c if column.name != "last_used_at"]
                found[table.name] = sorted(map(repr, connection.execute(sa.select(*columns))))
    return found


@contextmanager
def nothing_changes(site: "Site") -> Iterator[None]:
    before = stored(site)
    yield
    after = stored(site)
    assert {name for name in after if after[name] != before[name]} == set()


def is_refusal(answer: httpx.Response) -> bool:
    return answer.status_code in {401, 403, 404}


def test_nobody_gets_past_the_sign_in(site: "Site") -> None:
    mine = things_of(site, "north", "acme")
    nobody = site.anonymous()
    with nothing_changes(site):
        for route in ROUTES:
            answer = route.ask(nobody, mine)
            if route.role is None:
                assert answer.status_code in {200, 303, 401}, route
            elif route.path.startswith(("/api/v1", "/banner")):
                assert (answer.status_code, answer.json()["error"]["code"]) == (
                    401,
                    "not_signed_in",
                ), route
            else:
                assert answer.status_code == 303, route
                assert "/sign-in?next=" in answer.headers["location"], route


@pytest.mark.parametrize("role", list(Role))
def test_a_role_opens_its_own_routes_and_no_other(site: "Site", role: Role) -> None:
    """A person with the role, and a program, walk every route with things of their own."""
    mine = things_of(site, "north", "acme")
    things_of(site, "south", "rival")
    clients = [site.program(role)] if role is EMBED else [site.program(role), site.person(role)]
    for client in clients:
        is_person = "authorization" not in client.headers
        for route in sorted(ROUTES, key=lambda each: each.path == "/sign-out"):
            is_change = route.method != "GET" and route.path not in OWN_MATTERS
            before = stored(site) if is_change else None
            answer = route.ask(client, mine)
            place = f"{role} {'person' if is_person else 'program'}: {route}: {answer.text[:300]}"
            assert answer.status_code < 500, place
            if route.role is None:
                continue
            if role.includes(route.role) and not route.everywhere:
                is_for_people = not route.path.startswith(("/api/v1", "/banner"))
                if is_person or not is_for_people:
                    assert answer.status_code not in {401, 403}, place
                assert "rival" not in answer.text, place
            else:
                assert is_refusal(answer), place
                assert before is None or stored(site) == before, place
                if role is not EMBED and not is_person:
                    assert answer.status_code == 403, place


def test_an_admin_of_every_organization_is_let_in_everywhere(sqlite_site: "Site") -> None:
    theirs = things_of(sqlite_site, "south", "rival")
    admin = sqlite_site.person(ADMIN, "*")
    for route in sorted(ROUTES, key=lambda each: each.path == "/sign-out"):
        if route.role is not None:
            answer = route.ask(admin, theirs)
            assert answer.status_code < 500, route
            assert answer.status_code not in {401, 403}, route


def test_a_viewer_changes_nothing(site: "Site") -> None:
    mine = things_of(site, "north", "acme")
    viewer = site.person(VIEWER)
    with nothing_changes(site):
        for route in ROUTES:
            if route.method != "GET" and route.path not in OWN_MATTERS:
                assert route.ask(viewer, mine).status_code == 403, route


@pytest.mark.parametrize("is_person", [True, False])
def test_what_belongs_to_another_organization_looks_like_what_is_not_there(
    site: "Site", is_person: bool
) -> None:
    things_of(site, "north", "acme")
    theirs = things_of(site, "south", "rival")
    admin = site.person(ADMIN) if is_person else site.program(ADMIN)
    compared = 0
    with nothing_changes(site):
        for route in ROUTES:
            if not route.is_owned or route.role is None:
                continue
            forbidden, unknown = route.ask(admin, theirs), route.ask(admin, UNKNOWN)
            assert forbidden.status_code == unknown.status_code, route
            assert _anonymous(forbidden, theirs) == _anonymous(unknown, UNKNOWN), route
            assert forbidden.status_code < 500, route
            if route.method != "GET":
                assert forbidden.status_code in {403, 404, 422}, route
            compared += 1
    assert compared > 50


def _anonymous(answer: httpx.Response, values: Values) -> str:
    text = answer.text
    for name, value in values.items():
        text = text.replace(value, f"<{name}>")
    return text
