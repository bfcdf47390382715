"""The table of people: add, change, find. Their sign-ins and sessions are `sign_in.py`'s.

Nobody is deleted: the audit log names them. Every change names its `actor` and is written to the
audit log in its transaction; who may make it is the caller's to check (`roles.Principal`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, delete, select, update

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.names import check_email, check_name, normalize_email
from pipeline_assets.people.organizations import check_scopes, only_organization
from pipeline_assets.people.passwords import hash_password, verify_password
from pipeline_assets.people.roles import EVERY, Role
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import sessions, users


@dataclass(frozen=True, kw_only=True)
class User:
    """A person; `roles` by organization id or EVERY. Without a password nobody can sign in."""

    id: str
    email: str
    name: str
    roles: Mapping[str, Role]
    has_password: bool
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    last_sign_in_at: datetime | None

    @property
    def actor(self) -> str:
        """How the audit log names what the person does."""
        return f"user:{self.email}"


def parse_roles(roles: Mapping[str, str]) -> dict[str, Role]:
    """Roles as they are stored, by organization id or EVERY."""
    return {organization_id: Role(role) for organization_id, role in roles.items()}


def add_user(
    engine: Engine,
    *,
    email: str,
    name: str,
    password: str | None,
    roles: Mapping[str, Role],
    actor: str,
    now: datetime,
) -> User:
    """Store a new person; without a password, one has to be set before they can sign in.

    Raises: InvalidConfigError when the address is taken or none, the name or password cannot be
        used, or a role is for tokens only or for an unknown organization.
    """
    values = {
        "id": uuid4().hex,
        "email": check_email(email),
        "name": check_name(name),
        "password_hash": None if password is None else hash_password(password),
        "roles": _checked(roles),
        "created_at": now,
        "updated_at": now,
    }
    with write_transaction(engine) as connection:
        check_scopes(connection, roles)
        insertion = dialect_insert(connection, users).values(values)
        if not connection.execute(
            insertion.on_conflict_do_nothing(index_elements=["email"])
        ).rowcount:
            raise InvalidConfigError(
                f"There is a user {values['email']} already.",
                advice="Change their roles or password instead.",
            )
        [user] = _read_people(connection, users.c.id == values["id"])
        _record(connection, "user.add", user, actor=actor, now=now, detail={"roles": roles})
        return user


def set_password(engine: Engine, user_id: str, password: str, *, actor: str, now: datetime) -> User:
    """Give a person another password; all their sessions end.

    Raises: InvalidConfigError when the password cannot be used or the person is unknown.
    """
    password_hash = hash_password(password)
    with write_transaction(engine) as connection:
        user = _change(connection, user_id, now=now, password_hash=password_hash)
        _end_sessions(connection, user_id)
        _record(connection, "user.password", user, actor=actor, now=now)
        return user


def is_password(engine: Engine, user_id: str, password: str) -> bool:
    """Whether this is the person's password; it opens no session and counts as no try."""
    with engine.connect() as connection:
        stored = connection.execute(
            select(users.c.password_hash).where(users.c.id == user_id)
        ).scalar_one_or_none()
    return verify_password(stored, password)


def set_roles(
    engine: Engine,
    user_id: str,
    roles: Mapping[str, Role],
    *,
    actor: str,
    now: datetime,
    organization_ids: Collection[str] | None = None,
) -> User:
    """Replace a person's roles; of these organizations only, if given: others stay as they are.

    What the person may do in an open session changes at once.

    Raises: InvalidConfigError when a role is for tokens only, an organization unknown (or not one
        of these), the person unknown (or without a role in these), or when nobody would be left
        who is an admin of everything.
    """
    wanted = _checked(roles)
    with write_transaction(engine) as connection:
        check_scopes(connection, roles, among=organization_ids)
        people = _lock_people(connection)
        before = _find(people.values(), user_id, organization_ids)
        kept = _outside(before.roles, organization_ids)
        after = replace(before, roles=kept | wanted)
        if after == before:
            return before
        _check_admin_is_left({**people, user_id: after}, before)
        user = _change(connection, user_id, now=now, roles=after.roles)
        detail = {"before": before.roles, "after": user.roles}
        _record(connection, "user.roles", user, actor=actor, now=now, detail=detail)
        return user


def disable_user(engine: Engine, user_id: str, *, actor: str, now: datetime) -> User:
    """Keep a person out: their sessions end, nobody signs in as them until they are enabled.

    Raises: InvalidConfigError when the person is unknown or the last admin of everything.
    """
    with write_transaction(engine) as connection:
        people = _lock_people(connection)
        before = _find(people.values(), user_id, None)
        if before.disabled_at is not None:
            return before
        _check_admin_is_left({**people, user_id: replace(before, disabled_at=now)}, before)
        user = _change(connection, user_id, now=now, disabled_at=now)
        _end_sessions(connection, user_id)
        _record(connection, "user.disable", user, actor=actor, now=now)
        return user


def enable_user(engine: Engine, user_id: str, *, actor: str, now: datetime) -> User:
    """Let a disabled person sign in again.

    Raises: InvalidConfigError when the person is unknown.
    """
    with write_transaction(engine) as connection:
        before = _find(_lock_people(connection).values(), user_id, None)
        if before.disabled_at is None:
            return before
        user = _change(connection, user_id, now=now, disabled_at=None)
        _record(connection, "user.enable", user, actor=actor, now=now)
        return user


def list_users(engine: Engine, *, organization_ids: Collection[str] | None = None) -> list[User]:
    """All people by address; or those bound to one of these organizations, with those roles only.

    Somebody with a role for EVERY is nobody's of one organization: only an unlimited list has them.
    """
    with engine.connect() as connection:
        people = _read_people(connection)
    return [
        replace(user, roles=_inside(user.roles, organization_ids))
        for user in people
        if _belongs(user, organization_ids)
    ]


def get_user(
    engine: Engine, user_id: str, *, organization_ids: Collection[str] | None = None
) -> User:
    """The person with this id, with all roles; bound to one of these organizations, if given.

    Raises: InvalidConfigError when there is none; somebody of another organization looks the same.
    """
    with engine.connect() as connection:
        return _find(_read_people(connection, users.c.id == user_id), user_id, organization_ids)


def get_user_by_email(engine: Engine, email: str) -> User:
    """The person with this address.

    Raises: InvalidConfigError when there is none.
    """
    email = normalize_email(email)
    with engine.connect() as connection:
        for user in _read_people(connection, users.c.email == email):
            return user
    raise InvalidConfigError(
        f"There is no user {email!r}.", advice="pipeline-assets users list shows all."
    )


def _checked(roles: Mapping[str, Role]) -> dict[str, Role]:
    if Role.EMBED in roles.values():
        raise InvalidConfigError(
            f"The role {Role.EMBED} is for API tokens only.",
            advice="Give people one of viewer, operator and admin.",
        )
    return dict(roles)


def _check_admin_is_left(people: Mapping[str, User], before: User) -> None:
    """Refuse a change to a person after which nobody could manage the installation."""
    if _rules_everything(before) and not any(map(_rules_everything, people.values())):
        raise InvalidConfigError(
            f"{before.email} is the last admin of all organizations.",
            advice="Make somebody else an admin of all organizations first.",
        )


def _rules_everything(user: User) -> bool:
    return user.disabled_at is None and user.roles.get(EVERY) is Role.ADMIN


def _inside(roles: Mapping[str, Role], organization_ids: Collection[str] | None) -> dict[str, Role]:
    """The roles in these organizations; None: all."""
    return {
        where: role
        for where, role in roles.items()
        if organization_ids is None or where in organization_ids
    }


def _outside(
    roles: Mapping[str, Role], organization_ids: Collection[str] | None
) -> dict[str, Role]:
    inside = _inside(roles, organization_ids)
    return {where: role for where, role in roles.items() if where not in inside}


def _belongs(user: User, organization_ids: Collection[str] | None) -> bool:
    return organization_ids is None or bool(_inside(user.roles, organization_ids))


def _find(people: Iterable[User], user_id: str, organization_ids: Collection[str] | None) -> User:
    for user in people:
        if user.id == user_id and _belongs(user, organization_ids):
            return user
    raise InvalidConfigError(
        f"There is no user with the id {user_id!r}.",
        advice="pipeline-assets users list --json shows all.",
    )


def _lock_people(connection: Connection) -> dict[str, User]:
    """Everybody by id; nobody else changes a person until the transaction ends.

    Two admins who disable each other at once must not both succeed.
    """
    return {user.id: user for user in _read_people(connection, lock=True)}


def _read_people(
    connection: Connection, *conditions: ColumnElement[bool], lock: bool = False
) -> list[User]:
    query = select(users).where(*conditions).order_by(users.c.id)  # one order of locks for all
    found = connection.execute(query.with_for_update() if lock else query).mappings()
    return sorted(map(_to_user, found), key=lambda user: user.email)  # the databases' orders differ


def _to_user(row: RowMapping) -> User:
    values = {name: row[name] for name in User.__dataclass_fields__ if name in row}
    values |= {"roles": parse_roles(row["roles"]), "has_password": row["password_hash"] is not None}
    return User(**values)


def _change(connection: Connection, user_id: str, *, now: datetime, **values: object) -> User:
    condition = users.c.id == user_id
    connection.execute(update(users).where(condition).values(**values, updated_at=now))
    return _find(_read_people(connection, condition), user_id, None)


def _end_sessions(connection: Connection, user_id: str) -> None:
    connection.execute(delete(sessions).where(sessions.c.user_id == user_id))


def _record(
    connection: Connection,
    action: str,
    user: User,
    *,
    actor: str,
    now: datetime,
    detail: Mapping[str, object] | None = None,
) -> None:
    audit.record(
        connection,
        at=now,
        actor=actor,
        action=action,
        target=user.email,
        organization_id=only_organization(user.roles),
        detail=detail,
    )
