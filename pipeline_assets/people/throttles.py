"""How often somebody may guess: wrong tries are counted by email address and by network address.

A key has a number of wrong tries; the one that uses up the last blocks it for a minute, and each
further one for twice as long, up to an hour. Fifteen quiet minutes, after the first wrong try or
after the last block, and all is forgotten. What is tried while a key is blocked is not counted.
"""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import Connection, delete, func, select, update

from pipeline_assets.errors import TransientError
from pipeline_assets.storage.engine import dialect_insert
from pipeline_assets.storage.tables import sign_in_throttles

TRIES_OF_AN_EMAIL = 5
TRIES_OF_AN_ADDRESS = 20  # many people may share one
MEMORY = timedelta(minutes=15)
FIRST_BLOCK = timedelta(minutes=1)
LONGEST_BLOCK = timedelta(hours=1)


class TooManySignIns(TransientError):  # noqa: N818 - named as people are told
    """Too many wrong passwords for this email address or from this network address."""


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """The wrong tries of one key; `first_failed_at` is when the count began."""

    key: str
    failures: int
    first_failed_at: datetime
    blocked_until: datetime | None

    def is_blocked(self, now: datetime) -> bool:
        """Whether nobody may try at this instant."""
        return self.blocked_until is not None and now < self.blocked_until

    def is_forgotten(self, now: datetime) -> bool:
        """Whether a wrong try at this instant counts as the first again."""
        return now >= (self.blocked_until or self.first_failed_at) + MEMORY

    def after_failure(self, now: datetime) -> "Throttle":
        """The throttle with one more wrong try."""
        if self.is_forgotten(now) or not self.failures:
            return Throttle(key=self.key, failures=1, first_failed_at=now, blocked_until=None)
        failures = self.failures + 1
        beyond = failures - _tries_of(self.key)
        if beyond < 0:
            return replace(self, failures=failures)
        block = min(FIRST_BLOCK * 2 ** min(beyond, 10), LONGEST_BLOCK)
        return replace(self, failures=failures, blocked_until=now + block)


def email_key(email: str) -> str:
    """The key of an email address, normalized."""
    return f"email:{email}"


def address_key(address: str) -> str:
    """The key of a network address; IPv6 by its /64: a household has that many to itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or whatever a proxy says
        return f"address:{address[:100]}"
    if ip.version == 6:
        return f"address:{ipaddress.ip_network((ip.packed, 64), strict=False)}"
    return f"address:{ip}"


def check_throttles(connection: Connection, keys: Collection[str], *, now: datetime) -> None:
    """Make sure that none of the keys is blocked.

    Raises: TooManySignIns.
    """
    query = select(sign_in_throttles).where(sign_in_throttles.c.key.in_(keys))
    _refuse_blocked([Throttle(**row) for row in connection.execute(query).mappings()], now)


def count_failure(
    connection: Connection, keys: Collection[str], *, now: datetime
) -> list[Throttle]:
    """Count a wrong try for each key; returns those that it blocks.

    Raises: TooManySignIns when one has been blocked meanwhile: the try tells nothing then.
    """
    before = [_lock(connection, key, now=now) for key in sorted(keys)]  # one order for everybody
    _refuse_blocked(before, now)
    after = [throttle.after_failure(now) for throttle in before]
    for throttle in after:
        connection.execute(
            update(sign_in_throttles)
            .where(sign_in_throttles.c.key == throttle.key)
            .values(
                failures=throttle.failures,
                first_failed_at=throttle.first_failed_at,
                blocked_until=throttle.blocked_until,
            )
        )
    return [throttle for throttle in after if throttle.is_blocked(now)]


def clear_throttle(connection: Connection, key: str) -> None:
    """Forget the wrong tries of a key."""
    connection.execute(delete(sign_in_throttles).where(sign_in_throttles.c.key == key))


def sweep_throttles(connection: Connection, *, now: datetime) -> None:
    """Delete what is forgotten, but for what another process is at this very moment."""
    table = sign_in_throttles.c
    forgotten = (
        select(table.key)
        .where(func.coalesce(table.blocked_until, table.first_failed_at) <= now - MEMORY)
        .with_for_update(skip_locked=True)
    )
    connection.execute(delete(sign_in_throttles).where(table.key.in_(forgotten)))


def _tries_of(key: str) -> int:
    return TRIES_OF_AN_EMAIL if key.startswith("email:") else TRIES_OF_AN_ADDRESS


def _refuse_blocked(throttles: Collection[Throttle], now: datetime) -> None:
    ends = [t.blocked_until for t in throttles if t.blocked_until and t.is_blocked(now)]
    if ends:
        seconds = (max(ends) - now).total_seconds()
        raise TooManySignIns(
            "Too many sign-ins with a wrong password.",
            advice=f"Try again in {ceil(seconds / 60)} min.",
            retry_after_seconds=seconds,
        )


def _lock(connection: Connection, key: str, *, now: datetime) -> Throttle:
    """The key's throttle, made if it is missing, kept from everybody else until we commit."""
    table = sign_in_throttles.c
    insertion = dialect_insert(connection, sign_in_throttles).values(
        key=key, failures=0, first_failed_at=now
    )
    locked = insertion.on_conflict_do_update(
        index_elements=[table.key], set_={"key": insertion.excluded.key}
    ).returning(*table)
    return Throttle(**connection.execute(locked).mappings().one())
