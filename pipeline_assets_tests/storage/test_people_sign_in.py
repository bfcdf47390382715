"""Signing in and sessions, on both databases: who gets in, how long, how often one may guess."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Barrier
from time import monotonic

import argon2
import pytest
from sqlalchemy import Engine, event, select

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people import passwords, users
from pipeline_assets.people.roles import EVERY, Principal, Role
from pipeline_assets.people.sign_in import (
    NewSession,
    Session,
    SignInRefused,
    TooManySignIns,
    list_sessions,
    read_session,
    revoke_sessions,
    sign_in,
    sign_out,
)
from pipeline_assets.people.users import User
from pipeline_assets.storage import tables
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.engine import write_transaction

NOON = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
PASSWORD = "correct horse battery"
ALICE = "alice@x.example"
HOME = "192.0.2.7"


class CheapHasher(argon2.PasswordHasher):
    """The real thing with small parameters; keeps what it verified, and may be interrupted."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.verified: list[str | bytes] = []
        self.meanwhile: Callable[[], object] | None = None

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002
        self.verified.append(hash)
        interruption, self.meanwhile = self.meanwhile, None
        if interruption:
            interruption()
        return bool(super().verify(hash, password))


@pytest.fixture(autouse=True)
def hasher(monkeypatch: pytest.MonkeyPatch) -> CheapHasher:
    cheap = CheapHasher()
    monkeypatch.setattr(passwords, "_HASHER", cheap)
    return cheap


@pytest.fixture
def alice(engine: Engine) -> User:
    return add(engine, ALICE)


def add(engine: Engine, email: str, *, password: str | None = PASSWORD) -> User:
    return users.add_user(
        engine,
        email=email,
        name="Alice",
        password=password,
        roles={EVERY: Role.ADMIN},
        actor="cli:me",
        now=NOON,
    )


def enter(
    engine: Engine,
    email: str = ALICE,
    *,
    password: str = PASSWORD,
    address: str = HOME,
    at: datetime = NOON,
) -> NewSession:
    return sign_in(
        engine, email=email, password=password, address=address, user_agent="Browser/1", now=at
    )


def guess(
    engine: Engine,
    times: int,
    email: str = ALICE,
    *,
    address: str = HOME,
    at: datetime = NOON,
) -> None:
    for _ in range(times):
        with pytest.raises(SignInRefused):
            enter(engine, email, password="wrong", address=address, at=at)


def blocked_seconds(
    engine: Engine, email: str = ALICE, *, address: str = HOME, at: datetime = NOON
) -> float | None:
    with pytest.raises(TooManySignIns) as caught:
        enter(engine, email, address=address, at=at)
    return caught.value.retry_after_seconds


def throttle_keys(engine: Engine) -> dict[str, int]:
    query = select(tables.sign_in_throttles.c.key, tables.sign_in_throttles.c.failures)
    with engine.connect() as connection:
        return {row.key: row.failures for row in connection.execute(query)}


def actions(engine: Engine) -> list[str]:
    entries = read_audit(engine, limit=50)
    return sorted(e.action for e in entries if not e.action.startswith("user."))


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def keep(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            seen.append(statement.split(maxsplit=1)[0])

    event.listen(engine, "before_cursor_execute", keep)
    yield seen
    event.remove(engine, "before_cursor_execute", keep)


# --- getting in ---


def test_who_knows_the_password_gets_a_session(engine: Engine, alice: User) -> None:
    new = enter(engine, " ALICE@x.example ", at=NOON)
    assert new.expires_at == NOON + timedelta(days=14)
    assert len(new.token) == len(new.csrf_token) == 43
    session = read_session(engine, new.token, now=NOON)
    assert session is not None
    assert session == Session(
        id=session.id,
        principal=Principal(
            actor="user:alice@x.example",
            name="Alice",
            roles={EVERY: Role.ADMIN},
            user_id=alice.id,
        ),
        csrf_token=new.csrf_token,
        expires_at=new.expires_at,
    )
    assert users.get_user(engine, alice.id).last_sign_in_at == NOON
    [listed] = list_sessions(engine, alice.id)
    assert (listed.id, listed.address, listed.user_agent) == (session.id, HOME, "Browser/1")
    [entry] = [e for e in read_audit(engine, target=ALICE, limit=9) if e.action == "sign_in"]
    assert (entry.actor, entry.action, entry.detail) == (
        "user:alice@x.example",
        "sign_in",
        {"address": HOME},
    )


def test_the_cookies_value_is_in_no_table_and_in_no_repr(engine: Engine, alice: User) -> None:
    new = enter(engine)
    session = read_session(engine, new.token, now=NOON)
    with engine.connect() as connection:
        [row] = connection.execute(select(tables.sessions)).all()
    for shown in (row, new, session, read_audit(engine, limit=9), list_sessions(engine, alice.id)):
        assert new.token not in repr(shown)
    assert new.csrf_token not in repr(new)
    assert new.csrf_token not in repr(session)
    assert session is not None
    assert row.id == session.id


def test_every_session_is_another(engine: Engine, alice: User) -> None:
    first, second = enter(engine), enter(engine)
    assert first.token != second.token
    assert first.csrf_token != second.csrf_token
    assert len(list_sessions(engine, alice.id)) == 2


def test_a_long_user_agent_is_cut(engine: Engine, alice: User) -> None:
    sign_in(engine, email=ALICE, password=PASSWORD, address=HOME, user_agent="x" * 10_000, now=NOON)
    [session] = list_sessions(engine, alice.id)
    assert session.user_agent == "x" * 500


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (ALICE, "wrong"),
        (ALICE, ""),
        (ALICE, PASSWORD.upper()),
        (ALICE, "\ud800" * 12),
        ("nobody@x.example", PASSWORD),
        ("disabled@x.example", PASSWORD),
        ("no-password@x.example", PASSWORD),
        ("no-password@x.example", ""),
        ("no address", PASSWORD),
        ("null\0@x.example", PASSWORD),
        ("\ud800@x.example", PASSWORD),
        ("x" * 100_000, PASSWORD),
        ("", ""),
    ],
)
def test_whatever_is_wrong_the_refusal_has_the_same_words_and_the_same_work(
    engine: Engine, alice: User, hasher: CheapHasher, email: str, password: str
) -> None:
    disabled = add(engine, "disabled@x.example")
    users.disable_user(engine, disabled.id, actor="cli:me", now=NOON)
    add(engine, "no-password@x.example", password=None)
    with pytest.raises(SignInRefused) as caught:
        enter(engine, email, password=password)
    assert str(caught.value) == "The email address or the password is wrong."
    assert caught.value.advice == "Try again, or ask an admin for a new password."
    [checked] = hasher.verified
    assert argon2.extract_parameters(str(checked)) == argon2.Parameters(
        type=argon2.Type.ID,
        version=19,
        salt_len=16,
        hash_len=32,
        time_cost=1,
        memory_cost=64,
        parallelism=1,
    )
    assert throttle_keys(engine)[f"address:{HOME}"] == 1
    assert list_sessions(engine, alice.id) == []
    assert actions(engine) == []


def test_a_hash_of_former_parameters_is_renewed_when_the_password_is_known(
    engine: Engine, alice: User
) -> None:
    def stored() -> str:
        with engine.connect() as connection:
            return str(connection.execute(select(tables.users.c.password_hash)).scalar_one())

    current = stored()
    enter(engine)
    assert stored() == current
    former = argon2.PasswordHasher(time_cost=2, memory_cost=32, parallelism=1).hash(PASSWORD)
    with engine.begin() as connection:
        connection.execute(tables.users.update().values(password_hash=former))
    guess(engine, 1)
    assert stored() == former
    enter(engine)
    assert "t=1" in stored()
    assert passwords.verify_password(stored(), PASSWORD)
    assert "user.password" not in [entry.action for entry in read_audit(engine, limit=9)]


def test_who_gets_another_password_during_the_check_is_not_let_in(
    engine: Engine, alice: User, hasher: CheapHasher
) -> None:
    hasher.meanwhile = lambda: users.set_password(
        engine, alice.id, "another password", actor="cli:me", now=NOON
    )
    with pytest.raises(SignInRefused):
        enter(engine)
    assert list_sessions(engine, alice.id) == []


def test_who_is_disabled_during_the_check_is_not_let_in(
    engine: Engine, alice: User, hasher: CheapHasher
) -> None:
    add(engine, "root@x.example")
    hasher.meanwhile = lambda: users.disable_user(engine, alice.id, actor="cli:me", now=NOON)
    with pytest.raises(SignInRefused):
        enter(engine)
    assert list_sessions(engine, alice.id) == []


# --- guessing ---


def test_the_sixth_try_of_an_email_address_is_blocked_though_it_is_right(
    engine: Engine, alice: User, hasher: CheapHasher
) -> None:
    guess(engine, 5)
    hasher.verified.clear()
    assert blocked_seconds(engine, at=NOON) == 60
    assert blocked_seconds(engine, address="198.51.100.1", at=NOON + 59 * timedelta(seconds=1)) == 1
    assert hasher.verified == []
    assert blocked_seconds(engine, at=NOON + MINUTE - INSTANT) == pytest.approx(1e-6)
    assert enter(engine, at=NOON + MINUTE).expires_at == NOON + MINUTE + timedelta(days=14)


def test_the_block_tells_when_to_come_back(engine: Engine, alice: User) -> None:
    guess(engine, 5)
    guess(engine, 1, at=NOON + MINUTE)
    with pytest.raises(TooManySignIns) as caught:
        enter(engine, at=NOON + MINUTE + timedelta(seconds=1))
    assert str(caught.value) == "Too many sign-ins with a wrong password."
    assert caught.value.advice == "Try again in 2 min."
    assert caught.value.retry_after_seconds == 119


def test_four_wrong_tries_are_forgiven_by_a_right_one(engine: Engine, alice: User) -> None:
    guess(engine, 4)
    enter(engine)
    assert throttle_keys(engine) == {f"address:{HOME}": 4}
    guess(engine, 4)
    enter(engine)


def test_wrong_tries_are_forgotten_after_a_quarter_of_an_hour(engine: Engine, alice: User) -> None:
    guess(engine, 4)
    guess(engine, 4, at=NOON + timedelta(minutes=15))
    guess(engine, 1, at=NOON + timedelta(minutes=30) - INSTANT)
    assert blocked_seconds(engine, at=NOON + timedelta(minutes=30)) == pytest.approx(60, abs=1e-5)


def test_an_address_that_tries_many_people_is_blocked_for_all_of_them(
    engine: Engine, alice: User
) -> None:
    for number in range(20):
        guess(engine, 1, f"person-{number}@x.example")
    assert blocked_seconds(engine) == 60
    assert enter(engine, address="198.51.100.1")
    assert enter(engine, at=NOON + MINUTE)
    assert throttle_keys(engine)[f"address:{HOME}"] == 20


def test_an_unknown_email_address_is_blocked_like_a_known_one(engine: Engine) -> None:
    guess(engine, 5, "nobody@x.example")
    assert blocked_seconds(engine, "nobody@x.example", address="198.51.100.1") == 60


def test_a_block_is_in_the_audit_log_and_a_single_wrong_try_is_not(engine: Engine) -> None:
    guess(engine, 4)
    assert actions(engine) == []
    guess(engine, 1)
    [entry] = read_audit(engine, limit=9)
    assert (entry.actor, entry.action, entry.target) == ("anonymous", "sign_in.block", ALICE)
    assert entry.detail == {
        "address": HOME,
        "wrong_tries": 5,
        "blocked_until": "2026-07-25T12:01:00+00:00",
    }
    for number in range(15):
        guess(engine, 1, f"person-{number}@x.example")
    assert [e.target for e in read_audit(engine, limit=9) if e.target != ALICE] == [
        f"address:{HOME}"
    ]


def test_wrong_tries_at_once_are_all_counted_and_no_more_than_five_are_answered(
    engine: Engine, alice: User
) -> None:
    together = Barrier(12)

    def try_once(number: int) -> type[Exception]:
        together.wait()
        with pytest.raises((SignInRefused, TooManySignIns)) as caught:
            enter(engine, password=f"wrong {number}")
        return caught.type

    with ThreadPoolExecutor(12) as threads:
        outcomes = list(threads.map(try_once, range(12)))
    assert outcomes.count(SignInRefused) == 5
    assert outcomes.count(TooManySignIns) == 7
    assert throttle_keys(engine) == {f"address:{HOME}": 5, f"email:{ALICE}": 5}


def test_a_right_try_is_not_answered_when_a_block_began_during_its_check(
    engine: Engine, alice: User, hasher: CheapHasher
) -> None:
    hasher.meanwhile = lambda: guess(engine, 5)
    assert blocked_seconds(engine) == 60
    assert list_sessions(engine, alice.id) == []


def test_what_is_forgotten_is_swept_away_by_the_next_who_gets_in(
    engine: Engine, alice: User
) -> None:
    guess(engine, 1, "old@x.example", address="198.51.100.1")
    guess(engine, 5, "blocked@x.example", address="198.51.100.2")
    at = NOON + timedelta(minutes=15)
    guess(engine, 1, "new@x.example", address="198.51.100.3", at=at - INSTANT)
    enter(engine, at=at)
    assert set(throttle_keys(engine)) == {
        "email:blocked@x.example",
        "email:new@x.example",
        "address:198.51.100.3",
    }


# --- sessions ---


def test_a_session_ends_two_weeks_after_it_began(engine: Engine, alice: User) -> None:
    token = enter(engine).token
    end = NOON + timedelta(days=14)
    for day in range(2, 14, 2):
        assert read_session(engine, token, now=NOON + timedelta(days=day))
    assert read_session(engine, token, now=end - INSTANT)
    assert read_session(engine, token, now=end) is None
    assert read_session(engine, token, now=end + INSTANT) is None


def test_a_session_ends_three_days_after_the_last_request(engine: Engine, alice: User) -> None:
    token = enter(engine).token
    seen = NOON + timedelta(days=3) - INSTANT
    assert read_session(engine, token, now=seen)
    [listed] = list_sessions(engine, alice.id)
    assert listed.ends_at == seen + timedelta(days=3)
    assert read_session(engine, token, now=seen + timedelta(days=3)) is None


def test_a_session_costs_one_query_and_once_a_minute_a_write(engine: Engine, alice: User) -> None:
    token = enter(engine).token
    with statements_of(engine) as statements:
        assert read_session(engine, token, now=NOON + MINUTE - INSTANT)
    assert statements == ["SELECT"]
    assert list_sessions(engine, alice.id)[0].last_seen_at == NOON
    with statements_of(engine) as statements:
        assert read_session(engine, token, now=NOON + MINUTE)
        assert read_session(engine, token, now=NOON + 2 * MINUTE - INSTANT)
    assert statements == ["SELECT", "UPDATE", "SELECT"]
    assert list_sessions(engine, alice.id)[0].last_seen_at == NOON + MINUTE


def test_a_session_is_read_at_once_while_another_process_writes(
    engine: Engine, alice: User
) -> None:
    token = enter(engine).token
    with write_transaction(engine) as connection:
        connection.execute(tables.brands.delete())
        began = monotonic()
        assert read_session(engine, token, now=NOON + MINUTE)
        assert monotonic() - began < 10  # a writer would be waited for 30 s
    with write_transaction(engine) as connection:
        if engine.dialect.name == "sqlite":
            assert list_sessions(engine, alice.id)[0].last_seen_at == NOON
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    assert read_session(engine, token, now=NOON + 2 * MINUTE)
    assert list_sessions(engine, alice.id)[0].last_seen_at == NOON + 2 * MINUTE


@pytest.mark.parametrize("token", ["", "x", "x" * 10_000, "null\0", "\ud800"])
def test_an_unknown_cookie_is_no_session(engine: Engine, alice: User, token: str) -> None:
    enter(engine)
    assert read_session(engine, token, now=NOON) is None
    sign_out(engine, token, now=NOON)
    assert actions(engine) == ["sign_in"]


def test_the_digest_in_the_table_is_no_cookie(engine: Engine, alice: User) -> None:
    enter(engine)
    [listed] = list_sessions(engine, alice.id)
    assert read_session(engine, listed.id, now=NOON) is None


def test_who_signs_out_ends_this_session_only(engine: Engine, alice: User) -> None:
    left, other = enter(engine).token, enter(engine).token
    sign_out(engine, left, now=NOON + MINUTE)
    assert read_session(engine, left, now=NOON) is None
    assert read_session(engine, other, now=NOON)
    [entry] = [e for e in read_audit(engine, limit=9) if e.action == "sign_out"]
    assert (entry.at, entry.actor, entry.target) == (
        NOON + MINUTE,
        "user:alice@x.example",
        ALICE,
    )


def test_disabling_and_another_password_end_a_persons_sessions_and_nobody_elses(
    engine: Engine, alice: User
) -> None:
    bob = add(engine, "bob@x.example")
    others = enter(engine, "bob@x.example").token
    before = enter(engine).token
    users.set_password(engine, alice.id, "another password", actor="cli:me", now=NOON)
    assert read_session(engine, before, now=NOON) is None
    after = enter(engine, password="another password").token
    users.disable_user(engine, alice.id, actor="cli:me", now=NOON)
    assert read_session(engine, after, now=NOON) is None
    users.enable_user(engine, alice.id, actor="cli:me", now=NOON)
    assert read_session(engine, after, now=NOON) is None
    assert read_session(engine, others, now=NOON)
    assert len(list_sessions(engine, bob.id)) == 1


def test_a_row_of_a_disabled_person_is_no_session(engine: Engine, alice: User) -> None:
    token = enter(engine).token
    with engine.begin() as connection:
        connection.execute(tables.users.update().values(disabled_at=NOON))
    assert read_session(engine, token, now=NOON) is None


def test_other_roles_hold_in_an_open_session(engine: Engine, alice: User) -> None:
    add(engine, "root@x.example")
    token = enter(engine).token
    users.set_roles(engine, alice.id, {"default": Role.VIEWER}, actor="cli:me", now=NOON)
    session = read_session(engine, token, now=NOON)
    assert session is not None
    assert session.principal.roles == {"default": Role.VIEWER}


def test_sessions_are_revoked_one_or_all(engine: Engine, alice: User) -> None:
    bob = add(engine, "bob@x.example")
    tokens = [enter(engine, at=NOON + number * MINUTE).token for number in range(3)]
    enter(engine, "bob@x.example")
    newest, middle, _ = list_sessions(engine, alice.id)
    assert newest.created_at == NOON + 2 * MINUTE

    def revoke(user: User, **which: str) -> int:
        return revoke_sessions(engine, user.id, actor="user:root@x.example", now=NOON, **which)

    assert revoke(bob, session_id=middle.id) == 0
    assert revoke(alice, session_id=middle.id) == 1
    assert revoke(alice, session_id=middle.id) == 0
    now = NOON + 2 * MINUTE
    assert [read_session(engine, token, now=now) is None for token in tokens] == [
        False,
        True,
        False,
    ]
    assert revoke(alice) == 2
    assert revoke(alice) == 0
    assert list_sessions(engine, alice.id) == []
    assert len(list_sessions(engine, bob.id)) == 1
    entries = [e for e in read_audit(engine, limit=50) if e.action == "session.revoke"]
    assert {(e.actor, e.target) for e in entries} == {("user:root@x.example", ALICE)}
    assert sorted(e.detail["sessions"] for e in entries) == [1, 2]
    with pytest.raises(InvalidConfigError, match="There is no user with the id 'nobody'"):
        revoke_sessions(engine, "nobody", actor="cli:me", now=NOON)


def test_ended_sessions_are_swept_away_by_the_next_who_gets_in(engine: Engine, alice: User) -> None:
    enter(engine)
    kept = enter(engine, at=NOON + timedelta(days=1)).token
    enter(engine, at=NOON + timedelta(days=3))
    assert len(list_sessions(engine, alice.id)) == 2
    assert read_session(engine, kept, now=NOON + timedelta(days=3))
