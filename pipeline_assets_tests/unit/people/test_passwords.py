"""Passwords: which are taken, what is kept of them, and that nobody's is checked as well."""

import argon2
import pytest

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people import passwords
from pipeline_assets.people.passwords import hash_password, is_outdated, verify_password

PASSWORD = "correct horse battery"


def test_a_password_is_kept_as_argon2id_with_the_librarys_current_parameters() -> None:
    kept = hash_password(PASSWORD)
    assert kept.startswith("$argon2id$")
    assert not argon2.PasswordHasher().check_needs_rehash(kept)
    assert not is_outdated(kept)
    assert verify_password(kept, PASSWORD)
    assert not verify_password(kept, PASSWORD + " ")
    assert hash_password(PASSWORD) != kept


def test_other_parameters_are_outdated() -> None:
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    assert is_outdated(cheap)
    assert verify_password(cheap, PASSWORD)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str | bytes]:
    """The hashes that are really compared with a password."""
    seen: list[str | bytes] = []

    class Recording(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002
            seen.append(hash)
            return bool(super().verify(hash, password))

    monkeypatch.setattr(passwords, "_HASHER", Recording())
    return seen


def test_without_a_hash_a_password_is_wrong_after_the_same_work(
    verified: list[str | bytes],
) -> None:
    assert not verify_password(None, PASSWORD)
    assert not verify_password(None, PASSWORD)
    [first, second] = verified
    assert first == second
    assert argon2.extract_parameters(str(first)) == argon2.extract_parameters(
        hash_password(PASSWORD)
    )


@pytest.mark.parametrize("length", [12, 1000])
def test_the_shortest_and_the_longest_password_are_taken(length: int) -> None:
    assert verify_password(hash_password("é" * length), "é" * length)


@pytest.mark.parametrize("length", [0, 11, 1001])
def test_a_password_that_is_too_short_or_too_long_is_refused_without_showing_it(
    length: int,
) -> None:
    with pytest.raises(InvalidConfigError, match=f"has {length:,} characters") as caught:
        hash_password("é" * length)
    assert "é" not in str(caught.value)
    assert caught.value.advice == "Choose one of 12 to 1,000 characters."


def test_half_a_character_is_a_wrong_password_and_no_failure() -> None:
    assert not verify_password(None, "\ud800" * 12)
