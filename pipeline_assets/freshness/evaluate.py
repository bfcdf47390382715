"""The state of one (brand, dataset): a pure function of its status, its windows and `now`."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Self

from pipeline_assets.datasets import WARN_RATIO


class State(StrEnum):
    """What a person needs to know first."""

    FRESH = "fresh"
    """Young enough to use; a failed last attempt shows beside it, not instead of it."""
    WARN = "warn"
    """Usable, but most of the allowed age is used up."""
    STALE = "stale"
    """Older than allowed: do not use it."""
    FAILING = "failing"
    """Not fresh, and the last attempt failed: somebody or something has to act."""
    NEVER = "never"
    """No attempt has ended yet."""
    NOT_CONFIGURED = "not_configured"
    """The brand has no such source."""


@dataclass(frozen=True)
class Freshness:
    """A state and what explains it. `used_ratio` is age / allowed age (1 = just too old)."""

    state: State
    age: timedelta | None
    used_ratio: float | None
    stale_since: datetime | None


def evaluate_freshness(
    *,
    last_success_at: datetime | None,
    is_last_attempt_failed: bool,
    fail_after: timedelta | None,
    is_configured: bool,
    now: datetime,
) -> Freshness:
    """Judge one status. A success stamped in the future (clocks differ) counts as age zero."""
    state = evaluate_state(
        last_success_at,
        is_last_attempt_failed,
        limits=Limits.at(now, fail_after=fail_after),
        is_configured=is_configured,
    )
    if not is_configured or last_success_at is None:
        return Freshness(state, None, None, None)
    age = max(now - last_success_at, timedelta(0))
    if fail_after is None:
        return Freshness(state, age, None, None)
    used_ratio = age / fail_after
    stale_since = last_success_at + fail_after if used_ratio >= 1 else None
    return Freshness(state, age, used_ratio, stale_since)


class Limits(NamedTuple):
    """The instants since which a success is too long ago, for one allowed age and one `now`."""

    warns: datetime
    fails: datetime

    @classmethod
    def at(cls, now: datetime, *, fail_after: timedelta | None) -> Self:
        """The limits of an allowed age; None: nothing is ever too old."""
        if fail_after is None:
            return cls(_NEVER, _NEVER)
        return cls(now - fail_after * WARN_RATIO, now - fail_after)


_NEVER = datetime.min.replace(tzinfo=UTC)


def evaluate_state(
    last_success_at: datetime | None,
    is_last_attempt_failed: bool,  # noqa: FBT001 - called thousands of times for one page
    *,
    limits: Limits,
    is_configured: bool,
) -> State:
    """The state alone, as of `evaluate_freshness`."""
    if not is_configured:
        return State.NOT_CONFIGURED
    if last_success_at is None:
        return State.FAILING if is_last_attempt_failed else State.NEVER
    if last_success_at > limits.warns:
        return State.FRESH
    if is_last_attempt_failed:
        return State.FAILING
    return State.STALE if last_success_at <= limits.fails else State.WARN
