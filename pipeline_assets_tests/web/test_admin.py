"""Admin over HTTP: people, tokens, brands, switches, audit and health, and where its power ends."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pipeline_assets.brands.registry import get_brand, list_organizations
from pipeline_assets.people.features import is_hidden
from pipeline_assets.people.roles import Role
from pipeline_assets.people.sign_in import sign_in
from pipeline_assets.people.tokens import create_token, list_tokens, read_token
from pipeline_assets.people.users import User, add_user, get_user, get_user_by_email
from pipeline_assets.storage.audit import read_audit

if TYPE_CHECKING:
    from conftest import Site

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}
TABS = ("users", "tokens", "brands", "features", "audit", "organizations", "health")


def add_person(site: "Site", email: str, roles: dict[str, Role], name: str = "Somebody") -> User:
    return add_user(
        site.engine,
        email=email,
        name=name,
        password="a password for tests",
        roles=roles,
        actor="test",
        now=site.clock.now,
    )


def post(client: httpx.Client, path: str, **fields: Any) -> httpx.Response:
    return client.post(path, data=fields, headers=HTMX)


def secret_in(page: str) -> str:
    [secret] = re.findall(r'<code id="secret">([^<]+)</code>', page)
    return str(secret)


def can_sign_in(site: "Site", email: str, password: str) -> bool:
    session = sign_in(
        site.engine,
        email=email,
        password=password,
        address="127.0.0.1",
        user_agent="",
        now=site.clock.now,
    )
    return bool(session.token)


# --- Who gets in -------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", TABS)
def test_a_tab_is_for_admins_and_those_of_the_installation_for_its_own(
    sqlite_site: "Site", tab: str
) -> None:
    path = f"/admin/{tab}"
    is_whole = tab in {"organizations", "health"}
    assert sqlite_site.anonymous().get(path).status_code == 303
    assert sqlite_site.person(Role.OPERATOR, "*").get(path).status_code == 403
    assert sqlite_site.program(Role.ADMIN, "*").get(path).status_code == 403
    some, every = sqlite_site.person(Role.ADMIN), sqlite_site.person(Role.ADMIN, "*")
    assert some.get(path).status_code == (403 if is_whole else 200)
    assert every.get(path).status_code == 200
    assert (f'href="{path}"' in some.get("/admin").text) is not is_whole
    assert f'href="{path}" aria-current="page"' in every.get(path).text


def test_a_change_takes_an_admin_and_the_page_it_came_from(sqlite_site: "Site") -> None:
    fields = {"email": "new@x.example", "organization": "north", "role": "viewer"}
    operator = sqlite_site.person(Role.OPERATOR)
    assert post(operator, "/admin/users", **fields).status_code == 403
    admin = sqlite_site.person(Role.ADMIN)
    del admin.headers["X-CSRF-Token"]
    assert post(admin, "/admin/users", **fields).status_code == 403


# --- Users -------------------------------------------------------------------------------------


def test_a_person_is_added_with_a_password_that_is_shown_once(site: "Site") -> None:
    admin = site.person(Role.ADMIN)
    answer = post(
        admin, "/admin/users", email="New@X.example", organization="north", role="operator"
    )
    assert answer.text.lstrip().startswith('<main id="live"')
    assert can_sign_in(site, "new@x.example", secret_in(answer.text))
    assert get_user_by_email(site.engine, "new@x.example").roles == {"north": Role.OPERATOR}
    assert secret_in(answer.text) not in admin.get("/admin/users").text
    entries = read_audit(site.engine, target="new@x.example", limit=9)
    actors = {entry.action: entry.actor for entry in entries}
    assert actors == {"user.add": "user:admin@north.example", "sign_in": "user:new@x.example"}


def test_an_admin_sees_and_finds_only_people_of_their_organization(site: "Site") -> None:
    stranger = add_person(site, "stranger@south.example", {"south": Role.VIEWER})
    mighty = add_person(site, "mighty@every.example", {"*": Role.ADMIN})
    admin = site.person(Role.ADMIN)
    page = admin.get("/admin/users").text
    assert "admin@north.example" in page
    assert "stranger" not in page
    assert "mighty" not in page
    for action in ("password", "disable", "enable", "sessions/revoke"):
        answers = {
            (answer.status_code, answer.text)
            for person in (stranger.id, mighty.id, "nobody")
            for answer in [post(admin, f"/admin/users/{person}/{action}")]
        }
        assert [status for status, _ in answers] == [404], action
    fields = {"organization": "north", "role": "viewer"}
    assert post(admin, f"/admin/users/{stranger.id}/roles", **fields).status_code == 404
    assert can_sign_in(site, stranger.email, "a password for tests")
    everything = site.person(Role.ADMIN, "*").get("/admin/users").text
    assert "stranger@south.example" in everything


def test_who_has_a_role_elsewhere_keeps_password_and_sessions(site: "Site") -> None:
    both = add_person(site, "both@x.example", {"north": Role.VIEWER, "south": Role.ADMIN})
    admin = site.person(Role.ADMIN)
    page = admin.get(f"/admin/users?open={both.id}").text
    assert "viewer of north" in page
    assert "of south" not in page
    assert "New password" not in page
    for action in ("password", "disable", "enable", "sessions/revoke"):
        assert post(admin, f"/admin/users/{both.id}/{action}").status_code == 403
    assert can_sign_in(site, both.email, "a password for tests")
    fields = {"organization": "north", "role": "operator"}
    assert post(admin, f"/admin/users/{both.id}/roles", **fields).status_code == 204
    roles = get_user(site.engine, both.id).roles
    assert roles == {"north": Role.OPERATOR, "south": Role.ADMIN}


def test_roles_are_set_and_taken_away_one_organization_at_a_time(site: "Site") -> None:
    person = add_person(site, "p@x.example", {"north": Role.VIEWER})
    every = site.person(Role.ADMIN, "*")
    url = f"/admin/users/{person.id}/roles"
    assert post(every, url, organization="south", role="admin").status_code == 204
    assert get_user(site.engine, person.id).roles == {"north": "viewer", "south": "admin"}
    assert post(every, url, organization="north", role="").status_code == 204
    assert get_user(site.engine, person.id).roles == {"south": "admin"}
    some = site.person(Role.ADMIN)
    mine = add_person(site, "mine@x.example", {"north": Role.VIEWER})
    for organization in ("south", "*", "nowhere"):
        fields = {"organization": organization, "role": "admin"}
        assert post(some, f"/admin/users/{mine.id}/roles", **fields).status_code == 404
        assert post(some, "/admin/users", email="a@x.example", **fields).status_code == 404
    assert get_user(site.engine, mine.id).roles == {"north": "viewer"}


def test_a_person_is_kept_out_let_in_and_given_a_new_password(site: "Site") -> None:
    admin, viewer = site.person(Role.ADMIN), site.person(Role.VIEWER)
    url = f"/admin/users/{get_user_by_email(site.engine, 'viewer@north.example').id}"
    opened = admin.get(f"/admin/users?open={url.rpartition('/')[2]}").text
    assert len(re.findall(r'<tr id="session-', opened)) == 1
    assert post(admin, f"{url}/sessions/revoke").status_code == 204
    assert viewer.get("/account").status_code == 303
    assert post(admin, f"{url}/disable").status_code == 204
    with pytest.raises(Exception, match="wrong"):
        can_sign_in(site, "viewer@north.example", "a password for tests")
    assert post(admin, f"{url}/enable").status_code == 204
    answer = post(admin, f"{url}/password")
    assert can_sign_in(site, "viewer@north.example", secret_in(answer.text))


def test_the_last_admin_of_everything_stays(sqlite_site: "Site") -> None:
    every = sqlite_site.person(Role.ADMIN, "*")
    me = get_user_by_email(sqlite_site.engine, "admin@every.example")
    answer = post(every, f"/admin/users/{me.id}/disable")
    assert answer.status_code == 422
    assert "the last admin of all organizations" in answer.text
    fields = {"organization": "*", "role": ""}
    assert post(every, f"/admin/users/{me.id}/roles", **fields).status_code == 422


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "no address"},
        {"role": "king"},
        {"role": "embed"},
        {"name": "n" * 10_000},
        {"name": "two\nlines"},
        {"email": "a\0b@x.example"},
        {"email": "viewer@north.example"},
        {"organization": None},
    ],
)
def test_a_person_who_cannot_be_is_refused(sqlite_site: "Site", fields: dict[str, Any]) -> None:
    admin = sqlite_site.person(Role.ADMIN)
    add_person(sqlite_site, "viewer@north.example", {"north": Role.VIEWER})
    usual = {"email": "a@x.example", "organization": "north", "role": "viewer"}
    assert post(admin, "/admin/users", **(usual | fields)).status_code == 422


def test_odd_names_are_shown_as_text(sqlite_site: "Site", nasty: str) -> None:
    name = nasty[:60]  # a longer one is refused
    person = add_person(sqlite_site, "odd@x.example", {"north": Role.VIEWER}, name=name)
    admin = sqlite_site.person(Role.ADMIN)
    post(admin, "/admin/tokens", name=name, organization="north", role="embed", days=1)
    for path in (f"/admin/users?open={person.id}", "/admin/tokens", "/admin/audit"):
        page = admin.get(path).text
        assert "&lt;script&gt;alert(1)" in page, path
        assert "<script>alert" not in page


# --- Tokens ------------------------------------------------------------------------------------


def test_a_tokens_secret_is_shown_once_and_works_until_its_end(site: "Site") -> None:
    admin = site.person(Role.ADMIN)
    answer = post(
        admin, "/admin/tokens", name="reporting", organization="north", role="viewer", days=30
    )
    secret = secret_in(answer.text)
    now = site.clock.now
    principal = read_token(site.engine, secret, now=now)
    assert principal is not None
    assert principal.roles == {"north": Role.VIEWER}
    assert read_token(site.engine, secret, now=now + timedelta(days=30)) is None
    page = admin.get("/admin/tokens").text
    assert "reporting" in page
    assert secret not in page
    [token] = list_tokens(site.engine)
    assert post(admin, f"/admin/tokens/{token.id}/revoke").status_code == 204
    assert read_token(site.engine, secret, now=now) is None


def test_tokens_of_others_are_neither_seen_nor_revoked_nor_made(site: "Site") -> None:
    theirs, _ = create_token(
        site.engine,
        name="theirs",
        organization_id="south",
        role=Role.VIEWER,
        expires_at=None,
        actor="test",
        now=site.clock.now,
    )
    admin = site.person(Role.ADMIN)
    assert "theirs" not in admin.get("/admin/tokens").text
    forbidden = post(admin, f"/admin/tokens/{theirs.id}/revoke")
    unknown = post(admin, "/admin/tokens/nothing/revoke")
    assert (forbidden.status_code, forbidden.text) == (unknown.status_code, unknown.text)
    assert forbidden.status_code == 404
    for organization in ("south", "*", "nowhere"):
        fields = {"name": "x", "organization": organization, "role": "viewer"}
        assert post(admin, "/admin/tokens", **fields).status_code == 404
    assert [token.name for token in list_tokens(site.engine)] == ["theirs"]


@pytest.mark.parametrize(
    "fields", [{"name": " "}, {"role": "king"}, {"days": -1}, {"days": 10**9}, {"name": "n" * 500}]
)
def test_a_token_that_cannot_be_is_refused(sqlite_site: "Site", fields: dict[str, Any]) -> None:
    usual = {"name": "x", "organization": "north", "role": "viewer", "days": 1}
    answer = post(sqlite_site.person(Role.ADMIN), "/admin/tokens", **(usual | fields))
    assert answer.status_code == 422


# --- Organizations, brands and switches --------------------------------------------------------


def test_an_organization_is_added_by_an_admin_of_all(site: "Site") -> None:
    every = site.person(Role.ADMIN, "*")
    assert post(every, "/admin/organizations", id="west", name="West").status_code == 204
    assert "west" in {each.id for each in list_organizations(site.engine)}
    assert "West" in every.get("/admin/organizations").text
    again = post(every, "/admin/organizations", id="west", name="West")
    assert again.status_code == 422
    assert post(every, "/admin/organizations", id="No slug", name="x").status_code == 422
    fields = {"id": "east", "name": "East"}
    assert post(site.person(Role.ADMIN), "/admin/organizations", **fields).status_code == 403


BRAND = {
    "id": "shoes",
    "organization_id": "north",
    "name": "Shoes & More",
    "timezone": "Europe/Paris",
    "currency": "EUR",
    "ad_accounts": "act_1, 22\nact_333",
    "token": "env:META_TOKEN_SHOES",
    "windows": "ad_thumbnails: 72",
    "max_runtime_minutes": "meta_sync: 90",
}


def test_a_brand_is_added_with_all_its_settings(site: "Site") -> None:
    every = site.person(Role.ADMIN, "*")
    assert post(every, "/admin/brands", **BRAND).status_code == 204
    brand = get_brand(site.engine, "shoes")
    assert brand.sources.meta is not None
    assert brand.sources.meta.ad_accounts == ("act_1", "act_22", "act_333")
    assert (brand.name, brand.currency, brand.windows) == (
        "Shoes & More",
        "EUR",
        {"ad_thumbnails": 72},
    )
    page = every.get("/admin/brands/shoes").text
    assert 'value="act_1, act_22, act_333"' in page
    assert 'value="env:META_TOKEN_SHOES"' in page
    assert "ad_thumbnails: 72" in page
    assert "shoes" in every.get("/admin/brands").text
    # What the form shows is what it stores: saving it changes nothing.
    changed = {**BRAND, "windows": "ad_thumbnails: 72.0"}
    answer = post(every, "/admin/brands/shoes", **changed)
    assert "as it was" in answer.headers["HX-Trigger"]
    # A source that comes later brings its job's cadence, and leaves the others to people.
    actor = "{actor: some/reviews, token: env:Y}"
    changed["other_sources"] = f"amazon: {{asins: [B0ACME0001], actor: {actor}}}"
    answer = post(every, "/admin/brands/shoes", **changed)
    assert "shoes is changed. New cadences: 1," in answer.headers["HX-Trigger"]


def test_an_organizations_admin_changes_its_brands_but_not_their_sources(site: "Site") -> None:
    admin = site.person(Role.ADMIN)
    before = get_brand(site.engine, "acme")
    page = admin.get("/admin/brands/acme").text
    assert 'name="windows"' in page
    assert 'name="token"' not in page
    fields = {
        "name": "Acme 2",
        "timezone": "Asia/Tokyo",
        "token": "env:SECRET_OF_SOUTH",
        "graph_url": "https://evil.example",
        "ad_accounts": "act_9",
    }
    assert post(admin, "/admin/brands/acme", **fields).status_code == 204
    after = get_brand(site.engine, "acme")
    assert (after.name, after.timezone) == ("Acme 2", "Asia/Tokyo")
    assert after.sources == before.sources
    assert post(admin, "/admin/brands", **BRAND).status_code == 403
    listed = admin.get("/admin/brands").text
    assert "acme" in listed
    assert "rival" not in listed
    for brand in ("rival", "nobody"):
        assert admin.get(f"/admin/brands/{brand}").status_code == 404
        assert post(admin, f"/admin/brands/{brand}", **fields).status_code == 404


REVIEWS = "amazon: {{asins: [B0ACME0001], actor: {{actor: some/reviews, token: env:Y, input: {}}}}}"


def test_the_form_shows_even_the_deepest_input_of_an_actor(sqlite_site: "Site") -> None:
    every = sqlite_site.person(Role.ADMIN, "*")
    deepest = f"{{x: {'[' * 31}{']' * 31}}}"
    sources = {"other_sources": REVIEWS.format(deepest)}
    assert post(every, "/admin/brands", **(BRAND | sources)).status_code == 204
    assert "some/reviews" in every.get("/admin/brands/shoes").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"id": "Not A Slug"}, "id"),
        ({"id": "acme"}, "There is a brand acme already."),
        ({"organization_id": "nowhere"}, "nowhere"),
        ({"token": "EAAsecretsecretsecret"}, "sources.meta.token cannot be used"),
        ({"ad_accounts": "", "token": "env:X"}, "ad_accounts"),
        ({"windows": "- a\n- b"}, "The field windows cannot be read."),
        ({"windows": "[" * 5_000}, "The field windows cannot be read."),
        ({"windows": "scorecard: 2026-02-31"}, "The field windows cannot be read."),
        ({"windows": "scorecard: !!bool EAAsecret"}, "The field windows cannot be read."),
        ({"windows": "nothing: 3"}, "nothing is no dataset"),
        ({"other_sources": "myspace: {}"}, "myspace"),
        (
            {"other_sources": 'templates: {search_terms: ["a\\0b"]}'},
            "sources.templates.search_terms cannot be used: it must be text without NUL",
        ),
        ({"other_sources": REVIEWS.format("&i {x: *i}")}, "amazon.actor.input cannot be used"),
        ({"other_sources": "meta: {token: EAAsecret}"}, "meta: it has fields of its own."),
        ({"other_sources": "x" * 30_000}, "other_sources cannot be used"),
        ({"name": "a\0b"}, "NUL"),
    ],
)
def test_a_brand_that_cannot_be_is_refused_with_the_field_and_no_secret(
    sqlite_site: "Site", fields: dict[str, str], said: str
) -> None:
    answer = post(sqlite_site.person(Role.ADMIN, "*"), "/admin/brands", **(BRAND | fields))
    assert answer.status_code == 422
    assert said in answer.text
    assert "EAAsecret" not in answer.text


def test_a_click_hides_a_page_from_an_organization_and_shows_it_again(site: "Site") -> None:
    admin, viewer = site.person(Role.ADMIN), site.person(Role.VIEWER)
    fields = {"organization": "north", "feature": "pipeline_manager"}
    assert post(admin, "/admin/features", **fields, is_shown="false").status_code == 204
    assert is_hidden(site.engine, "north", "pipeline_manager")
    assert viewer.get("/active").status_code == 404
    page = admin.get("/admin/features").text
    switch = 'aria-checked="{}" aria-label="pipeline manager for North"'
    assert switch.format("false") in page
    assert "South" not in page
    assert post(admin, "/admin/features", **fields, is_shown="true").status_code == 204
    assert switch.format("true") in admin.get("/admin/features").text
    assert viewer.get("/active").status_code == 200
    for organization, feature, status in (
        ("south", "pipeline_manager", 404),
        ("nowhere", "pipeline_manager", 404),
        ("north", "no_page", 422),
    ):
        fields = {"organization": organization, "feature": feature}
        assert post(admin, "/admin/features", **fields, is_shown="false").status_code == status
    assert not is_hidden(site.engine, "south", "pipeline_manager")


# --- Audit log and health ----------------------------------------------------------------------


def test_the_audit_log_shows_ones_own_organizations_by_target_and_page(site: "Site") -> None:
    admin = site.person(Role.ADMIN)
    for number in range(60):
        fields = {"organization": "north", "feature": "hook_analysis"}
        shown = "false" if number % 2 else "true"
        assert post(admin, "/admin/features", **fields, is_shown=shown).status_code == 204
    for _ in range(60):
        name = f"acme {site.clock.now.isoformat()}"
        site.clock.pass_by(seconds=1)
        post(admin, "/admin/brands/acme", name=name, timezone="UTC")
    first = admin.get("/admin/audit").text
    assert len(re.findall(r'<tr id="entry-', first)) == 100
    [older] = re.findall(r'href="(/admin/audit\?[^"]*before=[^"]+)"', first)
    second = admin.get(older.replace("&amp;", "&")).text
    seen = re.findall(r'<tr id="entry-(\w+)', first + second)
    assert len(seen) == len(set(seen)) > 120
    assert "rival" not in first + second
    only = admin.get("/admin/audit?target=feature/hook_analysis").text
    assert len(re.findall(r'<tr id="entry-', only)) == 60
    assert "Nothing matches" in admin.get("/admin/audit?target=rival").text
    assert admin.get("/admin/audit?before=nonsense").status_code == 422
    assert admin.get("/admin/audit?target=%00").status_code == 422


def test_the_installations_health_comes_with_what_to_do(site: "Site") -> None:
    every = site.person(Role.ADMIN, "*")
    assert 'hx-get="/admin/health/checks"' in every.get("/admin/health").text
    checks = every.get("/admin/health/checks").text
    assert "Dagster&#39;s daemon is not running" in checks
    assert "<b>What to do:</b>" in checks
    assert "Not looked at: offline." in checks
    assert site.person(Role.ADMIN).get("/admin/health/checks").status_code == 403
