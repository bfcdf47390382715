"""When a failed request is tried again, and with which datasets: pure functions.

A wait holds nothing: it is a stored request that may not start before its time.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pipeline_assets.datasets import JOBS, upstream_of
from pipeline_assets.errors import InvalidConfigError, is_permanent
from pipeline_assets.settings import JobRetries, Settings

LONGEST_WAIT = timedelta(hours=1)
"""More would be later than the next tick of most cadences."""

_SPREAD_RATIO = 0.1
"""Brands that failed together come back this much apart from their common time."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a job's failures are tried again, and after how long first."""

    count: int = 3
    base: timedelta = timedelta(minutes=5)

    def wait(self, attempt: int, *, key: str, retry_after_seconds: float | None) -> timedelta:
        """How long after the failed attempt (1 is the first) the next one comes.

        5, 10, 20 minutes and so on up to an hour, 10 % more or less; or as long as the source
        asked for when that is longer, up to 10 % more and never less. The same key gives the same
        wait.
        """
        chance = random.Random(key).uniform(-1, 1)  # noqa: S311 - spreads load, guards nothing
        doubled: timedelta = min(self.base * 2 ** (attempt - 1), LONGEST_WAIT)
        usual = doubled * (1 + _SPREAD_RATIO * chance)
        asked = timedelta(seconds=retry_after_seconds or 0) * (1 + _SPREAD_RATIO * abs(chance))
        return max(usual, asked)


@dataclass(frozen=True)
class RetryPolicies:
    """Each job's policy."""

    default: RetryPolicy = RetryPolicy()
    by_job: Mapping[str, RetryPolicy] = field(default_factory=dict)

    def of(self, job: str) -> RetryPolicy:
        """The policy of one job."""
        return self.by_job.get(job, self.default)


def policies_of(settings: Settings) -> RetryPolicies:
    """The policies that the settings describe.

    Raises:
        InvalidConfigError: PIPELINE_JOB_RETRIES names a job that does not exist.
    """
    unknown = sorted(set(settings.job_retries) - set(JOBS))
    if unknown:
        raise InvalidConfigError(
            f"PIPELINE_JOB_RETRIES names {', '.join(unknown)}, which is no job.",
            advice=f"Jobs are {', '.join(JOBS)}.",
        )
    default = RetryPolicy(settings.retry_count, timedelta(seconds=settings.retry_base_seconds))
    return RetryPolicies(
        default, {job: _differing(default, own) for job, own in settings.job_retries.items()}
    )


def _differing(default: RetryPolicy, own: JobRetries) -> RetryPolicy:
    return RetryPolicy(
        count=default.count if own.count is None else own.count,
        base=default.base if own.base_seconds is None else timedelta(seconds=own.base_seconds),
    )


@dataclass(frozen=True)
class Setback:
    """Why a dataset has no success in a request: it failed, or was skipped because of others.

    Or a brand, in a run over several.
    """

    is_skipped: bool
    error_class: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class Retry:
    """What to try again, in the order of the setbacks, and how long to wait before."""

    names: tuple[str, ...]
    wait: timedelta


def plan_retry(
    setbacks: Mapping[str, Setback], *, attempt: int, policy: RetryPolicy, key: str
) -> Retry | None:
    """What follows an attempt with these setbacks; None: nothing, by policy or because none can.

    Only what failed for a reason that may pass is tried again, and what was skipped because of it.
    A dataset behind one that needs a person would be skipped again: it waits for that person.
    Of a run over several brands, one that was skipped is no setback: it waits for its own upstream.
    """
    if attempt > policy.count:
        return None
    failed = {name: each for name, each in setbacks.items() if not each.is_skipped}
    hopeless = {name for name, each in failed.items() if is_permanent(each.error_class)}
    again = set(failed) - hopeless
    behind = {
        name
        for name, each in setbacks.items()
        if each.is_skipped and upstream_of(name) & again and not upstream_of(name) & hopeless
    }
    if not again:
        return None
    asked = max(failed[name].retry_after_seconds or 0 for name in again)
    return Retry(
        names=tuple(name for name in setbacks if name in again | behind),
        wait=policy.wait(attempt, key=key, retry_after_seconds=asked),
    )
