"""API tokens, on both databases: what they open, for how long, and that only a digest is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event, select

from pipeline_assets.brands.models import Organization
from pipeline_assets.brands.registry import add_organization
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.roles import EVERY, Principal, Role
from pipeline_assets.people.tokens import (
    ApiToken,
    create_token,
    list_tokens,
    read_token,
    revoke_token,
)
from pipeline_assets.storage import tables
from pipeline_assets.storage.audit import AuditEntry, read_audit

NOON = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)


def create(
    engine: Engine,
    name: str = "reporting",
    *,
    organization_id: str = "default",
    role: Role = Role.VIEWER,
    expires_at: datetime | None = None,
    at: datetime = NOON,
) -> tuple[ApiToken, str]:
    return create_token(
        engine,
        name=name,
        organization_id=organization_id,
        role=role,
        expires_at=expires_at,
        actor="user:alice@x.example",
        now=at,
    )


def entries(engine: Engine) -> list[AuditEntry]:
    return sorted(read_audit(engine, limit=50), key=lambda entry: (entry.at, entry.action))


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def keep(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            seen.append(statement.split(maxsplit=1)[0])

    event.listen(engine, "before_cursor_execute", keep)
    yield seen
    event.remove(engine, "before_cursor_execute", keep)


def test_a_secret_stands_for_its_token(engine: Engine) -> None:
    token, secret = create(engine, role=Role.OPERATOR)
    assert token == ApiToken(
        id=token.id,
        name="reporting",
        organization_id="default",
        role=Role.OPERATOR,
        created_by="user:alice@x.example",
        created_at=NOON,
        expires_at=None,
        last_used_at=None,
        revoked_at=None,
    )
    assert list_tokens(engine) == [token]
    assert read_token(engine, secret, now=NOON) == Principal(
        actor="token:reporting", name="reporting", roles={"default": Role.OPERATOR}
    )
    [entry] = entries(engine)
    assert (entry.actor, entry.action) == ("user:alice@x.example", "token.create")
    assert (entry.target, entry.organization_id) == ("token/reporting", "default")
    assert entry.detail == {"id": token.id, "role": "operator", "expires_at": None}


def test_the_secret_is_in_no_table_and_in_no_repr(engine: Engine) -> None:
    token, secret = create(engine)
    assert secret.startswith("pa_")
    assert len(secret) == 46
    with engine.connect() as connection:
        row = connection.execute(select(tables.api_tokens)).one()
    for shown in (row, token, read_audit(engine, limit=9), read_token(engine, secret, now=NOON)):
        assert secret not in repr(shown)
    assert row.hash not in repr(token)
    assert create(engine)[1] != secret


@pytest.mark.parametrize("role", list(Role))
def test_a_token_may_hold_any_role_for_every_organization(engine: Engine, role: Role) -> None:
    token, secret = create(engine, organization_id=EVERY, role=role)
    principal = read_token(engine, secret, now=NOON)
    assert principal is not None
    assert principal.roles == {EVERY: role}
    assert principal.user_id is None
    [entry] = entries(engine)
    assert entry.organization_id is None
    assert token.organization_id == EVERY


@pytest.mark.parametrize("secret", ["", "pa_", "pa_" + "x" * 43, "null\0", "\ud800", "x" * 10_000])
def test_an_unknown_secret_stands_for_nobody(engine: Engine, secret: str) -> None:
    create(engine)
    assert read_token(engine, secret, now=NOON) is None


def test_the_digest_in_the_table_is_no_secret(engine: Engine) -> None:
    create(engine)
    with engine.connect() as connection:
        digest = connection.execute(select(tables.api_tokens.c.hash)).scalar_one()
    assert read_token(engine, digest, now=NOON) is None


def test_a_token_expires_at_its_instant(engine: Engine) -> None:
    end = NOON + timedelta(days=1)
    token, secret = create(engine, expires_at=end)
    assert read_token(engine, secret, now=end - INSTANT)
    assert read_token(engine, secret, now=end) is None
    assert read_token(engine, secret, now=end + INSTANT) is None
    assert (token.is_valid(end - INSTANT), token.is_valid(end)) == (True, False)


@pytest.mark.parametrize("ends", [NOON, NOON - INSTANT])
def test_a_token_that_would_have_expired_is_refused(engine: Engine, ends: datetime) -> None:
    with pytest.raises(InvalidConfigError, match="that is over"):
        create(engine, expires_at=ends)
    assert list_tokens(engine) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"organization_id": "nowhere"}, "There is no organization 'nowhere'"),
        ({"name": ""}, "cannot be a name"),
        ({"name": "x" * 201}, "cannot be a name"),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    engine: Engine, wrong: dict[str, str], message: str
) -> None:
    good = {"name": "reporting", "organization_id": "default"}
    with pytest.raises(InvalidConfigError, match=message):
        create(engine, **{**good, **wrong})
    assert list_tokens(engine) == []
    assert entries(engine) == []


def test_a_token_costs_one_query_and_once_a_minute_a_write(engine: Engine) -> None:
    _, secret = create(engine)

    def last_used_at() -> datetime | None:
        return list_tokens(engine)[0].last_used_at

    with statements_of(engine) as statements:
        read_token(engine, secret, now=NOON)
        read_token(engine, secret, now=NOON + MINUTE - INSTANT)
    assert statements == ["SELECT", "UPDATE", "SELECT"]
    assert last_used_at() == NOON
    read_token(engine, secret, now=NOON + MINUTE)
    assert last_used_at() == NOON + MINUTE


def test_a_revoked_token_opens_nothing_from_that_moment(engine: Engine) -> None:
    token, secret = create(engine)
    _, other = create(engine, "other")
    read_token(engine, secret, now=NOON)
    later = NOON + MINUTE
    revoked = revoke_token(engine, token.id, actor="cli:me", now=later)
    assert revoked.revoked_at == later
    assert read_token(engine, secret, now=later) is None
    assert read_token(engine, secret, now=NOON) is None
    assert read_token(engine, other, now=later)
    again = revoke_token(engine, token.id, actor="cli:me", now=later + MINUTE)
    assert again == revoked
    [entry] = [entry for entry in entries(engine) if entry.action == "token.revoke"]
    assert (entry.at, entry.actor, entry.target) == (later, "cli:me", "token/reporting")
    assert entry.organization_id == "default"


def test_tokens_of_other_organizations_are_neither_listed_nor_revoked(engine: Engine) -> None:
    north = Organization(id="north", name="North")
    add_organization(engine, north, actor="cli:me", now=NOON)
    ours, _ = create(engine, organization_id="north")
    theirs, secret = create(engine, "b", organization_id="default")
    everywhere, _ = create(engine, "a", organization_id=EVERY)
    newer, _ = create(engine, "b", organization_id="default", at=NOON + MINUTE)
    assert list_tokens(engine, organization_ids={"north"}) == [ours]
    assert list_tokens(engine, organization_ids=set()) == []
    assert list_tokens(engine) == [everywhere, newer, theirs, ours]

    def told(token_id: str) -> str:
        with pytest.raises(InvalidConfigError) as caught:
            revoke_token(engine, token_id, actor="cli:me", now=NOON, organization_ids={"north"})
        return str(caught.value).replace(token_id, "ID")

    assert told(theirs.id) == told(everywhere.id) == told("f" * 32)
    assert told("nothing") == "There is no token with the id 'ID'."
    assert read_token(engine, secret, now=NOON)
    revoked = revoke_token(engine, ours.id, actor="cli:me", now=NOON, organization_ids={"north"})
    assert revoked.revoked_at == NOON
