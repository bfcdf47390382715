"""The table of people, on both databases: who is in it, what changes, what stays forbidden."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import argon2
import pytest
from sqlalchemy import Engine, select

from pipeline_assets.brands.models import Organization
from pipeline_assets.brands.registry import add_organization
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people import passwords, users
from pipeline_assets.people.roles import EVERY, Role
from pipeline_assets.people.users import User
from pipeline_assets.storage import tables
from pipeline_assets.storage.audit import AuditEntry, read_audit

NOON = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
PASSWORD = "correct horse battery"
EVERYTHING = {EVERY: Role.ADMIN}


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", cheap)


@pytest.fixture
def tenants(engine: Engine) -> Engine:
    """The database with the organizations north and south beside the default one."""
    for slug in ("north", "south"):
        organization = Organization(id=slug, name=slug.title())
        add_organization(engine, organization, actor="cli:me", now=NOON - timedelta(days=1))
    return engine


def add(engine: Engine, email: str, *, password: str | None = PASSWORD, **roles: Role) -> User:
    return users.add_user(
        engine,
        email=email,
        name="Alice",
        password=password,
        roles=roles or EVERYTHING,
        actor="cli:me",
        now=NOON,
    )


def password_hash(engine: Engine, user: User) -> str | None:
    query = select(tables.users.c.password_hash).where(tables.users.c.id == user.id)
    with engine.connect() as connection:
        return connection.execute(query).scalar_one()


def last_entry(engine: Engine, user: User) -> AuditEntry:
    entries = read_audit(engine, target=user.email, limit=20)
    return max(entries, key=lambda entry: (entry.at, entry.action))


def test_a_person_is_read_back_as_added(tenants: Engine) -> None:
    added = add(tenants, " Alice@Agency.example", north=Role.OPERATOR, south=Role.VIEWER)
    assert added == User(
        id=added.id,
        email="alice@agency.example",
        name="Alice",
        roles={"north": Role.OPERATOR, "south": Role.VIEWER},
        has_password=True,
        created_at=NOON,
        updated_at=NOON,
        disabled_at=None,
        last_sign_in_at=None,
    )
    assert added.actor == "user:alice@agency.example"
    assert users.get_user(tenants, added.id) == added
    assert users.get_user_by_email(tenants, "ALICE@agency.example ") == added
    assert users.list_users(tenants) == [added]
    entry = last_entry(tenants, added)
    assert (entry.actor, entry.action, entry.organization_id) == ("cli:me", "user.add", None)
    assert entry.detail == {"roles": {"north": "operator", "south": "viewer"}}


def test_only_a_hash_of_the_password_is_stored_and_nothing_shows_it(engine: Engine) -> None:
    alice = add(engine, "alice@x.example")
    stored = password_hash(engine, alice)
    assert stored is not None
    assert stored.startswith("$argon2id$")
    assert passwords.verify_password(stored, PASSWORD)
    assert stored not in repr(alice)
    assert "argon2" not in repr(read_audit(engine, limit=10))


def test_an_entry_of_somebody_in_one_organization_is_that_organizations(tenants: Engine) -> None:
    bob = add(tenants, "bob@x.example", north=Role.VIEWER)
    assert last_entry(tenants, bob).organization_id == "north"
    assert last_entry(tenants, add(tenants, "all@x.example")).organization_id is None


def test_a_taken_address_is_refused_however_it_is_written(engine: Engine) -> None:
    add(engine, "alice@x.example")
    with pytest.raises(InvalidConfigError, match=r"There is a user alice@x\.example already"):
        add(engine, "ALICE@x.example")
    assert len(users.list_users(engine)) == 1
    assert len(read_audit(engine, limit=10)) == 1


def test_of_two_who_add_the_same_address_at_once_one_is_told(engine: Engine) -> None:
    together = Barrier(2)

    def try_to_add(_: int) -> bool:
        together.wait()
        try:
            add(engine, "alice@x.example")
        except InvalidConfigError:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(try_to_add, range(2))) == [False, True]


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"nowhere": Role.VIEWER}, "no organization 'nowhere'"),
        ({"default": Role.EMBED}, "embed is for API tokens only"),
    ],
)
def test_a_role_that_cannot_be_is_refused(
    engine: Engine, roles: dict[str, Role], message: str
) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        add(engine, "alice@x.example", **roles)
    assert users.list_users(engine) == []
    alice = add(engine, "alice@x.example")
    with pytest.raises(InvalidConfigError, match=message):
        users.set_roles(engine, alice.id, roles, actor="cli:me", now=LATER)
    assert users.list_users(engine) == [alice]


def test_a_bad_address_name_or_password_adds_nobody(engine: Engine) -> None:
    good = {"email": "a@x.example", "name": "A", "password": PASSWORD}
    for bad in ({"email": "a"}, {"name": ""}, {"password": "short"}):
        with pytest.raises(InvalidConfigError):
            users.add_user(engine, **{**good, **bad}, roles=EVERYTHING, actor="cli:me", now=NOON)
    assert users.list_users(engine) == []


def test_a_password_is_replaced(engine: Engine) -> None:
    alice = add(engine, "alice@x.example", password=None)
    assert (alice.has_password, password_hash(engine, alice)) == (False, None)
    changed = users.set_password(engine, alice.id, PASSWORD, actor="user:bob@x.example", now=LATER)
    assert (changed.has_password, changed.updated_at) == (True, LATER)
    assert passwords.verify_password(password_hash(engine, alice), PASSWORD)
    entry = last_entry(engine, alice)
    assert (entry.actor, entry.action, entry.detail) == ("user:bob@x.example", "user.password", {})
    with pytest.raises(InvalidConfigError, match="has 5 characters"):
        users.set_password(engine, alice.id, "short", actor="cli:me", now=LATER)
    assert passwords.verify_password(password_hash(engine, alice), PASSWORD)


def test_roles_are_replaced(tenants: Engine) -> None:
    add(tenants, "root@x.example")
    alice = add(tenants, "alice@x.example", north=Role.VIEWER, south=Role.VIEWER)
    changed = users.set_roles(
        tenants, alice.id, {"north": Role.ADMIN}, actor="user:root@x.example", now=LATER
    )
    assert (changed.roles, changed.updated_at) == ({"north": Role.ADMIN}, LATER)
    assert users.get_user(tenants, alice.id) == changed
    entry = last_entry(tenants, alice)
    assert (entry.action, entry.organization_id) == ("user.roles", "north")
    assert entry.detail == {
        "before": {"north": "viewer", "south": "viewer"},
        "after": {"north": "admin"},
    }


def test_the_same_roles_again_change_nothing(tenants: Engine) -> None:
    alice = add(tenants, "alice@x.example", north=Role.VIEWER)
    same = users.set_roles(tenants, alice.id, alice.roles, actor="cli:me", now=LATER)
    assert same == alice
    assert last_entry(tenants, alice).action == "user.add"


def test_an_organizations_admin_leaves_roles_elsewhere_as_they_are(tenants: Engine) -> None:
    alice = add(tenants, "alice@x.example", north=Role.VIEWER, south=Role.VIEWER)

    def set_in_north(**roles: Role) -> dict[str, Role]:
        changed = users.set_roles(
            tenants, alice.id, roles, actor="cli:me", now=LATER, organization_ids={"north"}
        )
        return dict(changed.roles)

    assert set_in_north(north=Role.ADMIN) == {"south": Role.VIEWER, "north": Role.ADMIN}
    for elsewhere in ({"south": Role.ADMIN}, {EVERY: Role.ADMIN}, {"nowhere": Role.ADMIN}):
        [name] = elsewhere
        with pytest.raises(InvalidConfigError) as caught:
            set_in_north(**elsewhere)
        assert str(caught.value) == f"There is no organization {name!r}."
    assert set_in_north() == {"south": Role.VIEWER}
    with pytest.raises(InvalidConfigError, match="There is no user"):
        set_in_north(north=Role.VIEWER)


def test_a_person_is_disabled_and_enabled_once(engine: Engine) -> None:
    add(engine, "root@x.example")
    alice = add(engine, "alice@x.example", default=Role.VIEWER)
    disabled = users.disable_user(engine, alice.id, actor="cli:me", now=LATER)
    assert disabled.disabled_at == disabled.updated_at == LATER
    again = users.disable_user(engine, alice.id, actor="cli:me", now=LATER + timedelta(hours=1))
    assert again == disabled
    enabled = users.enable_user(engine, alice.id, actor="cli:me", now=LATER)
    assert enabled.disabled_at is None
    assert users.enable_user(engine, alice.id, actor="cli:me", now=LATER) == enabled
    entries = read_audit(engine, target="alice@x.example", limit=10)
    assert sorted(entry.action for entry in entries) == ["user.add", "user.disable", "user.enable"]


def test_the_last_enabled_admin_of_everything_stays(tenants: Engine) -> None:
    root = add(tenants, "root@x.example")
    other = add(tenants, "other@x.example")
    add(tenants, "north@x.example", north=Role.ADMIN)
    add(tenants, "viewer@x.example", **{EVERY: Role.VIEWER})
    users.disable_user(tenants, other.id, actor="cli:me", now=LATER)
    with pytest.raises(InvalidConfigError, match=r"root@x\.example is the last admin"):
        users.disable_user(tenants, root.id, actor="cli:me", now=LATER)
    for roles in ({}, {EVERY: Role.OPERATOR}, {"north": Role.ADMIN}):
        with pytest.raises(InvalidConfigError, match="is the last admin of all organizations"):
            users.set_roles(tenants, root.id, roles, actor="cli:me", now=LATER)
    assert users.get_user(tenants, root.id) == root
    more = {EVERY: Role.ADMIN, "north": Role.VIEWER}
    assert users.set_roles(tenants, root.id, more, actor="cli:me", now=LATER).roles == more
    users.enable_user(tenants, other.id, actor="cli:me", now=LATER)
    assert users.disable_user(tenants, root.id, actor="cli:me", now=LATER).disabled_at == LATER


def test_two_last_admins_who_disable_each_other_at_once_do_not_both_succeed(
    engine: Engine,
) -> None:
    both = [add(engine, "one@x.example"), add(engine, "two@x.example")]
    together = Barrier(2)

    def disable(user: User) -> bool:
        together.wait()
        try:
            users.disable_user(engine, user.id, actor="cli:me", now=LATER)
        except InvalidConfigError:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(disable, both)) == [False, True]
    assert len([user for user in users.list_users(engine) if not user.disabled_at]) == 1


def test_a_list_for_an_organization_shows_its_people_with_their_roles_in_it(
    tenants: Engine,
) -> None:
    add(tenants, "root@x.example")
    add(tenants, "south@x.example", south=Role.ADMIN)
    add(tenants, "both@x.example", north=Role.VIEWER, south=Role.ADMIN)
    add(tenants, "anna@x.example", north=Role.ADMIN)

    def listed(*organization_ids: str) -> dict[str, dict[str, Role]]:
        found = users.list_users(tenants, organization_ids=organization_ids)
        return {user.email: dict(user.roles) for user in found}

    assert list(listed("north").items()) == [
        ("anna@x.example", {"north": Role.ADMIN}),
        ("both@x.example", {"north": Role.VIEWER}),
    ]
    assert listed("north", "south")["both@x.example"] == {
        "north": Role.VIEWER,
        "south": Role.ADMIN,
    }
    assert listed("default") == listed() == {}
    emails = [user.email for user in users.list_users(tenants)]
    assert emails == ["anna@x.example", "both@x.example", "root@x.example", "south@x.example"]


def test_an_unknown_person_and_a_forbidden_one_look_alike(tenants: Engine) -> None:
    alice = add(tenants, "alice@x.example", north=Role.VIEWER, south=Role.ADMIN)
    assert users.get_user(tenants, alice.id, organization_ids={"north"}) == alice

    def told(user_id: str) -> str:
        with pytest.raises(InvalidConfigError) as caught:
            users.get_user(tenants, user_id, organization_ids={"default"})
        return str(caught.value).replace(user_id, "ID")

    assert told(alice.id) == told("f" * 32) == "There is no user with the id 'ID'."
    with pytest.raises(InvalidConfigError, match=r"There is no user 'bob@x\.example'"):
        users.get_user_by_email(tenants, "bob@x.example")
    for change in (users.disable_user, users.enable_user):
        with pytest.raises(InvalidConfigError, match="There is no user with the id 'nobody'"):
            change(tenants, "nobody", actor="cli:me", now=LATER)
    with pytest.raises(InvalidConfigError, match="There is no user with the id 'nobody'"):
        users.set_password(tenants, "nobody", PASSWORD, actor="cli:me", now=LATER)
