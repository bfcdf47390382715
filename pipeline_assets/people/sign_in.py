"""Signing in and out, and the sessions in between.

A session is what a browser's cookie stands for; only the cookie's digest is stored. It ends after
two weeks, after three days without a request, and at once when the person signs out, is disabled,
gets another password or has it revoked.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NoReturn

from sqlalchemy import Connection, Engine, delete, insert, or_, select, update

from pipeline_assets.errors import PermanentError
from pipeline_assets.people import passwords
from pipeline_assets.people.last_use import note_last_use
from pipeline_assets.people.names import is_email, normalize_email
from pipeline_assets.people.organizations import only_organization
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.people.secret_values import digest, draw_secret
from pipeline_assets.people.throttles import (
    Throttle,
    TooManySignIns,
    address_key,
    check_throttles,
    clear_throttle,
    count_failure,
    email_key,
    sweep_throttles,
)
from pipeline_assets.people.users import get_user, parse_roles
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import sessions, users

__all__ = [
    "NewSession",
    "OpenSession",
    "Session",
    "SignInRefused",
    "TooManySignIns",
    "list_sessions",
    "read_session",
    "revoke_sessions",
    "sign_in",
    "sign_out",
]

LIFETIME = timedelta(days=14)
IDLE_LIFETIME = timedelta(days=3)
SEEN_EVERY = timedelta(minutes=1)
"""How exact `last_seen_at` is: a page that polls must not write each time."""

_MAX_USER_AGENT = 500


class SignInRefused(PermanentError):  # noqa: N818 - named as people are told
    """The address and the password do not belong together; which of them is wrong is not said."""


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """A session just begun; `token` is the cookie's value and known to nobody else."""

    token: str = field(repr=False)
    csrf_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Session:
    """The session of a request, and who makes it."""

    id: str
    principal: Principal
    csrf_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class OpenSession:
    """A session as a person sees it in a list; `last_seen_at` is exact to a minute."""

    id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    address: str
    user_agent: str

    @property
    def ends_at(self) -> datetime:
        """When it ends if no further request comes: those in the past have ended."""
        return min(self.expires_at, self.last_seen_at + IDLE_LIFETIME)


@dataclass(frozen=True, kw_only=True)
class _Account:
    """What a sign-in has to know of a user."""

    id: str
    email: str
    password_hash: str
    roles: dict[str, Role]


def sign_in(
    engine: Engine, *, email: str, password: str, address: str, user_agent: str, now: datetime
) -> NewSession:
    """Begin a session for the person with this email address and password.

    An unknown address, a disabled person, one without a password and a wrong password are refused
    in the same words after the same work. The password is checked outside of the transaction that
    counts the try, and what a blocked try would have told is kept from it: however many tries run
    at once, no more than the allowed ones are answered.

    Raises:
        SignInRefused: they do not belong together.
        TooManySignIns: too many wrong tries; says when to come back.
    """
    email = normalize_email(email)
    keys = [address_key(address), *([email_key(email)] if is_email(email) else [])]
    with engine.connect() as connection:
        check_throttles(connection, keys, now=now)
        account = _read_account(connection, email) if is_email(email) else None
    is_right = passwords.verify_password(account.password_hash if account else None, password)
    if account is None or not is_right:
        _count_refusal(engine, keys, account, address=address, now=now)
        _refuse()
    return _begin(engine, account, password, keys, address=address, user_agent=user_agent, now=now)


def read_session(engine: Engine, token: str, *, now: datetime) -> Session | None:
    """The session that a cookie's value stands for; None when there is none, or no longer."""
    query = (
        select(sessions, users.c.email, users.c.name, users.c.roles)
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.id == digest(token), users.c.disabled_at.is_(None))
    )
    with engine.connect() as connection:
        row = connection.execute(query).mappings().one_or_none()
    if row is None or now >= min(row["expires_at"], row["last_seen_at"] + IDLE_LIFETIME):
        return None
    if now >= row["last_seen_at"] + SEEN_EVERY:
        seen = update(sessions).where(sessions.c.id == row["id"]).values(last_seen_at=now)
        note_last_use(engine, seen)
    principal = Principal(
        actor=f"user:{row['email']}",
        name=row["name"],
        roles=parse_roles(row["roles"]),
        user_id=row["user_id"],
    )
    return Session(
        id=row["id"],
        principal=principal,
        csrf_token=row["csrf_token"],
        expires_at=row["expires_at"],
    )


def sign_out(engine: Engine, token: str, *, now: datetime) -> None:
    """End the session that a cookie's value stands for; nothing happens without one."""
    ended = delete(sessions).where(sessions.c.id == digest(token)).returning(sessions.c.user_id)
    with write_transaction(engine) as connection:
        user_id = connection.execute(ended).scalar()
        if user_id is None:
            return
        query = select(users.c.email, users.c.roles).where(users.c.id == user_id)
        email, roles = connection.execute(query).one()
        audit.record(
            connection,
            at=now,
            actor=f"user:{email}",
            action="sign_out",
            target=email,
            organization_id=only_organization(roles),
        )


def list_sessions(engine: Engine, user_id: str) -> list[OpenSession]:
    """A person's sessions, the last seen first; ended ones stay for a while (`ends_at`)."""
    columns = [sessions.c[name] for name in OpenSession.__dataclass_fields__]
    query = (
        select(*columns)
        .where(sessions.c.user_id == user_id)
        .order_by(sessions.c.last_seen_at.desc(), sessions.c.id)
    )
    with engine.connect() as connection:
        return [OpenSession(**row) for row in connection.execute(query).mappings()]


def revoke_sessions(
    engine: Engine, user_id: str, *, actor: str, now: datetime, session_id: str | None = None
) -> int:
    """End all sessions of a person, or the one; returns how many there were.

    Raises: InvalidConfigError when the person is unknown.
    """
    user = get_user(engine, user_id)
    ended = delete(sessions).where(sessions.c.user_id == user_id)
    if session_id is not None:
        ended = ended.where(sessions.c.id == session_id)
    with write_transaction(engine) as connection:
        count = connection.execute(ended).rowcount
        if count:
            audit.record(
                connection,
                at=now,
                actor=actor,
                action="session.revoke",
                target=user.email,
                organization_id=only_organization(user.roles),
                detail={"sessions": count},
            )
    return count


def _read_account(connection: Connection, email: str) -> _Account | None:
    """Who could sign in with this address: not the disabled, not those without a password."""
    query = select(users.c.id, users.c.email, users.c.password_hash, users.c.roles).where(
        users.c.email == email, users.c.disabled_at.is_(None), users.c.password_hash.is_not(None)
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _Account(**{**row, "roles": parse_roles(row["roles"])})


def _refuse() -> NoReturn:
    raise SignInRefused(
        "The email address or the password is wrong.",
        advice="Try again, or ask an admin for a new password.",
    )


def _count_refusal(
    engine: Engine, keys: list[str], account: _Account | None, *, address: str, now: datetime
) -> None:
    """Count a wrong try; the audit log hears of those that block somebody, not of each typo."""
    with write_transaction(engine) as connection:
        for throttle in count_failure(connection, keys, now=now):
            _record_block(connection, throttle, account, address=address, now=now)


def _record_block(
    connection: Connection,
    throttle: Throttle,
    account: _Account | None,
    *,
    address: str,
    now: datetime,
) -> None:
    audit.record(
        connection,
        at=now,
        actor="anonymous",
        action="sign_in.block",
        target=throttle.key.removeprefix("email:"),
        organization_id=only_organization(account.roles) if account else None,
        detail={
            "address": address,
            "wrong_tries": throttle.failures,
            "blocked_until": throttle.blocked_until,
        },
    )


def _begin(
    engine: Engine,
    account: _Account,
    password: str,
    keys: list[str],
    *,
    address: str,
    user_agent: str,
    now: datetime,
) -> NewSession:
    session = NewSession(token=draw_secret(), csrf_token=draw_secret(), expires_at=now + LIFETIME)
    new_hash = (
        passwords.hash_password(password)
        if passwords.is_outdated(account.password_hash)
        else account.password_hash
    )
    with write_transaction(engine) as connection:
        check_throttles(connection, keys, now=now)
        # Somebody who was disabled or got another password since we looked must not get in.
        still_the_same = (
            update(users)
            .where(
                users.c.id == account.id,
                users.c.password_hash == account.password_hash,
                users.c.disabled_at.is_(None),
            )
            .values(password_hash=new_hash, last_sign_in_at=now)
        )
        if not connection.execute(still_the_same).rowcount:
            _refuse()
        clear_throttle(connection, email_key(account.email))
        sweep_throttles(connection, now=now)
        _sweep_sessions(connection, now=now)
        connection.execute(
            insert(sessions).values(
                id=digest(session.token),
                user_id=account.id,
                csrf_token=session.csrf_token,
                created_at=now,
                last_seen_at=now,
                expires_at=session.expires_at,
                address=address,
                user_agent=user_agent[:_MAX_USER_AGENT],
            )
        )
        audit.record(
            connection,
            at=now,
            actor=f"user:{account.email}",
            action="sign_in",
            target=account.email,
            organization_id=only_organization(account.roles),
            detail={"address": address},
        )
    return session


def _sweep_sessions(connection: Connection, *, now: datetime) -> None:
    """Delete everybody's sessions that have ended, but for what another process is at."""
    table = sessions.c
    ended = (
        select(table.id)
        .where(or_(table.expires_at <= now, table.last_seen_at <= now - IDLE_LIFETIME))
        .with_for_update(skip_locked=True)
    )
    connection.execute(delete(sessions).where(table.id.in_(ended)))
