"""API tokens: how programs show who they are. Only a token's digest is stored."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import Connection, Engine, RowMapping, bindparam, insert, select, update

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.last_use import note_last_use
from pipeline_assets.people.names import check_name
from pipeline_assets.people.organizations import check_scopes
from pipeline_assets.people.roles import EVERY, Principal, Role
from pipeline_assets.people.secret_values import digest, draw_secret
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import api_tokens

PREFIX = "pa_"
"""How every token begins: people and secret scanners know what they have found."""

USED_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is: a program that polls must not write each time."""


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """A token without its secret; `organization_id` may be EVERY."""

    id: str
    name: str
    organization_id: str
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything at this instant."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_COLUMNS = [api_tokens.c[name] for name in ApiToken.__dataclass_fields__]

# Built once: every call of a program reads its token.
_OF_HASH = select(*_COLUMNS).where(api_tokens.c.hash == bindparam("hash"))


def create_token(
    engine: Engine,
    *,
    name: str,
    organization_id: str,
    role: Role,
    expires_at: datetime | None,
    actor: str,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Store a new token; returns it with its secret, which nobody can read again.

    Raises: InvalidConfigError when the organization is unknown, the name cannot be used, or
        `expires_at` is over.
    """
    if expires_at is not None and expires_at <= now:
        raise InvalidConfigError(
            f"The token cannot expire at {expires_at.isoformat()}: that is over.",
            advice="Give a time to come, or none.",
        )
    secret = PREFIX + draw_secret()
    token = ApiToken(
        id=uuid4().hex,
        name=check_name(name),
        organization_id=organization_id,
        role=role,
        created_by=actor,
        created_at=now,
        expires_at=expires_at,
        last_used_at=None,
        revoked_at=None,
    )
    with write_transaction(engine) as connection:
        check_scopes(connection, [organization_id])
        connection.execute(insert(api_tokens).values(**vars(token), hash=digest(secret)))
        _record(connection, "token.create", token, actor=actor, now=now)
    return token, secret


def read_token(engine: Engine, secret: str, *, now: datetime) -> Principal | None:
    """Who a secret stands for; None when it is unknown, expired or revoked."""
    with engine.connect() as connection:
        row = connection.execute(_OF_HASH, {"hash": digest(secret)}).mappings().one_or_none()
    if row is None or not (token := _to_token(row)).is_valid(now):
        return None
    if token.last_used_at is None or now >= token.last_used_at + USED_EVERY:
        used = update(api_tokens).where(api_tokens.c.id == token.id).values(last_used_at=now)
        note_last_use(engine, used)
    return Principal(
        actor=f"token:{token.name}", name=token.name, roles={token.organization_id: token.role}
    )


def list_tokens(
    engine: Engine, *, organization_ids: Collection[str] | None = None
) -> list[ApiToken]:
    """All tokens, or those bound to one of these organizations; by name, the newest first."""
    query = select(*_COLUMNS).order_by(api_tokens.c.created_at.desc(), api_tokens.c.id)
    if organization_ids is not None:
        query = query.where(api_tokens.c.organization_id.in_(organization_ids))
    with engine.connect() as connection:
        found = [_to_token(row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda token: token.name)  # the databases' orders differ


def revoke_token(
    engine: Engine,
    token_id: str,
    *,
    actor: str,
    now: datetime,
    organization_ids: Collection[str] | None = None,
) -> ApiToken:
    """Make a token useless at once; nothing happens to one that is revoked.

    Raises: InvalidConfigError when there is none with this id (bound to one of these
        organizations, if given).
    """
    query = select(*_COLUMNS).where(api_tokens.c.id == token_id).with_for_update()
    if organization_ids is not None:
        query = query.where(api_tokens.c.organization_id.in_(organization_ids))
    with write_transaction(engine) as connection:
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise InvalidConfigError(
                f"There is no token with the id {token_id!r}.",
                advice="pipeline-assets tokens list shows all.",
            )
        token = _to_token(row)
        if token.revoked_at is None:
            token = replace(token, revoked_at=now)
            revoked = update(api_tokens).where(api_tokens.c.id == token_id)
            connection.execute(revoked.values(revoked_at=now))
            _record(connection, "token.revoke", token, actor=actor, now=now)
        return token


def _to_token(row: RowMapping) -> ApiToken:
    return ApiToken(**{**row, "role": Role(row["role"])})


def _record(
    connection: Connection, action: str, token: ApiToken, *, actor: str, now: datetime
) -> None:
    audit.record(
        connection,
        at=now,
        actor=actor,
        action=action,
        target=f"token/{token.name}",  # a brand may have the same slug
        organization_id=None if token.organization_id == EVERY else token.organization_id,
        detail={"id": token.id, "role": token.role, "expires_at": token.expires_at},
    )
