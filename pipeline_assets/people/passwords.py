"""Passwords: what makes one acceptable, and argon2 with the library's current parameters."""

from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.secret_values import draw_secret

MIN_LENGTH = 12
MAX_LENGTH = 1000

_HASHER = PasswordHasher()
_AT_A_TIME = BoundedSemaphore(4)  # each takes 64 MiB: a burst of sign-ins must not take all memory


def hash_password(password: str) -> str:
    """What to store of a password.

    Raises: InvalidConfigError when it is too short or too long.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidConfigError(
            f"The password has {len(password):,} characters.",
            advice=f"Choose one of {MIN_LENGTH} to {MAX_LENGTH:,} characters.",
        )
    with _AT_A_TIME:
        return _HASHER.hash(_encode(password))


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one of this hash; without a hash: no, after the same time."""
    # Asked for in any case: the first time takes as long as a check.
    nobodys = _nobodys_hash(_HASHER)
    with _AT_A_TIME:
        try:
            _HASHER.verify(password_hash or nobodys, _encode(password))
        except VerifyMismatchError:
            return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(password_hash)


@cache
def _nobodys_hash(hasher: PasswordHasher) -> str:
    return hasher.hash(draw_secret())


def _encode(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")  # JSON may hold half a character: just wrong
