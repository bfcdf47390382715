from datetime import UTC, datetime, timedelta

import pytest

from pipeline_assets.freshness.evaluate import Freshness, State, evaluate_freshness

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
INSTANT = timedelta(microseconds=1)


def judge(
    age: timedelta | None,
    *,
    is_last_attempt_failed: bool = False,
    fail_after: timedelta | None = DAY,
    is_configured: bool = True,
) -> Freshness:
    return evaluate_freshness(
        last_success_at=None if age is None else NOW - age,
        is_last_attempt_failed=is_last_attempt_failed,
        fail_after=fail_after,
        is_configured=is_configured,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(0), State.FRESH),
        (DAY * 0.8 - INSTANT, State.FRESH),
        (DAY * 0.8, State.WARN),
        (DAY - INSTANT, State.WARN),
        (DAY, State.STALE),
        (DAY * 11, State.STALE),
    ],
)
def test_the_state_follows_the_age_to_the_instant(age: timedelta, expected: State) -> None:
    assert judge(age).state is expected


def test_a_failed_attempt_does_not_make_fresh_data_bad() -> None:
    assert judge(timedelta(hours=1), is_last_attempt_failed=True).state is State.FRESH


@pytest.mark.parametrize("age", [DAY * 0.9, DAY * 2])
def test_a_failed_attempt_makes_ageing_data_failing(age: timedelta) -> None:
    assert judge(age, is_last_attempt_failed=True).state is State.FAILING


def test_never_synced_and_never_synced_because_it_fails_are_two_states() -> None:
    assert judge(None).state is State.NEVER
    assert judge(None, is_last_attempt_failed=True).state is State.FAILING


def test_a_source_that_is_not_configured_is_never_stale() -> None:
    judged = judge(DAY * 30, is_configured=False, is_last_attempt_failed=True)
    assert judged == Freshness(State.NOT_CONFIGURED, None, None, None)


def test_an_age_is_never_negative_when_clocks_differ() -> None:
    judged = judge(-timedelta(hours=1))
    assert judged.age == timedelta(0)
    assert judged.state is State.FRESH


def test_it_says_since_when_data_is_too_old() -> None:
    assert judge(DAY * 2).stale_since == NOW - DAY
    assert judge(DAY - INSTANT).stale_since is None


def test_a_dataset_without_a_limit_never_gets_old() -> None:
    assert judge(DAY * 400, fail_after=None).state is State.FRESH
