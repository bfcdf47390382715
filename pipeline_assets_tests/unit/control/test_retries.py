"""When a failure is tried again, and what of it: pure."""

from datetime import timedelta

import pytest

from pipeline_assets import errors
from pipeline_assets.assets.attempt import metadata_of_error
from pipeline_assets.control.dagster_log import failure_from_metadata
from pipeline_assets.control.retries import (
    RetryPolicies,
    RetryPolicy,
    Setback,
    plan_retry,
    policies_of,
)
from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    DatabaseUnavailableError,
    InvalidConfigError,
    PermanentError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
    StorageFullError,
    SupersededError,
    TooManyBadItemsError,
    TransientError,
    UpstreamFailed,
)
from pipeline_assets.settings import JobRetries, Settings
from pipeline_assets.sources.meta.graph_failures import error_for, read_failure

POLICY = RetryPolicy()
MINUTE = timedelta(minutes=1)
KEYS = [f"request-{number}" for number in range(500)]


def failed(error_class: str, retry_after_seconds: float | None = None) -> Setback:
    return Setback(False, error_class, retry_after_seconds)


SKIPPED = Setback(True, "UpstreamFailed")


def waits(attempt: int, retry_after_seconds: float | None = None) -> list[float]:
    """Of many requests, in minutes."""
    return [
        POLICY.wait(attempt, key=key, retry_after_seconds=retry_after_seconds) / MINUTE
        for key in KEYS
    ]


@pytest.mark.parametrize(
    ("attempt", "minutes"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (20, 60)]
)
def test_each_wait_is_twice_the_one_before_up_to_an_hour_give_or_take_a_tenth(
    attempt: int, minutes: float
) -> None:
    found = waits(attempt)
    assert minutes * 0.9 <= min(found) < minutes * 0.91
    assert minutes * 1.09 < max(found) <= minutes * 1.1


def test_the_same_request_waits_the_same_and_five_hundred_are_spread_over_a_minute() -> None:
    assert waits(1) == waits(1)
    in_seconds = sorted(minutes * 60 for minutes in waits(1))
    assert in_seconds[-1] - in_seconds[0] >= 50
    within_any_second = max(
        sum(start <= other < start + 1 for other in in_seconds) for start in in_seconds
    )
    assert within_any_second < 30  # 8 on average


@pytest.mark.parametrize("asked_seconds", [3600, 360, 331])
def test_a_source_that_asks_for_longer_gets_it_in_full_and_at_most_a_tenth_more(
    asked_seconds: float,
) -> None:
    found = [minutes * 60 for minutes in waits(1, asked_seconds)]
    assert asked_seconds <= min(found) < asked_seconds * 1.01
    assert asked_seconds * 1.09 < max(found) <= asked_seconds * 1.1


@pytest.mark.parametrize("asked_seconds", [None, 0, 1, 240])
def test_a_source_that_asks_for_less_changes_nothing(asked_seconds: float | None) -> None:
    assert waits(1, asked_seconds) == waits(1)


def test_a_wait_never_undercuts_what_was_asked_around_the_usual_wait() -> None:
    for asked_seconds in range(265, 335):
        assert min(waits(1, asked_seconds)) * 60 >= asked_seconds


@pytest.mark.parametrize(("attempt", "comes"), [(1, True), (3, True), (4, False), (5, False)])
def test_three_tries_follow_the_first_and_no_more(attempt: int, comes: bool) -> None:
    setbacks = {"ad_assets": failed("SourceUnavailableError")}
    retry = plan_retry(setbacks, attempt=attempt, policy=POLICY, key="k")
    assert (retry is not None) is comes


def test_a_job_without_retries_has_none() -> None:
    setbacks = {"ad_assets": failed("SourceUnavailableError")}
    assert plan_retry(setbacks, attempt=1, policy=RetryPolicy(count=0), key="k") is None


def test_the_settings_say_how_often_and_how_late_for_all_and_for_each_job() -> None:
    settings = Settings(
        retry_count=2,
        retry_base_seconds=60,
        job_retries={
            "meta_sync": JobRetries(count=5),
            "scorecard": JobRetries(base_seconds=30),
            "ad_creation": JobRetries(count=0, base_seconds=1),
        },
    )
    policies = policies_of(settings)
    assert policies.of("asset_download") == RetryPolicy(2, timedelta(seconds=60))
    assert policies.of("meta_sync") == RetryPolicy(5, timedelta(seconds=60))
    assert policies.of("scorecard") == RetryPolicy(2, timedelta(seconds=30))
    assert policies.of("ad_creation") == RetryPolicy(0, timedelta(seconds=1))


def test_without_settings_it_is_three_tries_from_five_minutes_on() -> None:
    expected = RetryPolicy(count=3, base=timedelta(minutes=5))
    assert policies_of(Settings()).of("meta_sync") == expected
    assert RetryPolicies().of("meta_sync") == expected


def test_a_job_that_does_not_exist_in_the_settings_is_refused_by_name() -> None:
    settings = Settings(job_retries={"meta_snyc": JobRetries(count=1)})
    with pytest.raises(InvalidConfigError, match="meta_snyc") as caught:
        policies_of(settings)
    assert "meta_sync" in caught.value.advice


PERMANENT = [
    PermanentError,
    CredentialError,
    AccessError,
    InvalidConfigError,
    SourceRejectedError,
    SupersededError,
    UpstreamFailed,
]
TRANSIENT = [
    TransientError,
    RateLimitedError,
    SourceUnavailableError,
    TooManyBadItemsError,
    DatabaseUnavailableError,
    StorageFullError,
]


@pytest.mark.parametrize("error_class", PERMANENT)
def test_what_needs_a_person_is_never_tried_again(error_class: type[Exception]) -> None:
    setbacks = {"ad_assets": failed(error_class.__name__)}
    assert plan_retry(setbacks, attempt=1, policy=POLICY, key="k") is None


@pytest.mark.parametrize(
    "error_class",
    [*(error.__name__ for error in TRANSIENT), "ZeroDivisionError", "WorkerLost", "UnknownError"],
)
def test_what_may_pass_a_bug_and_a_lost_worker_are_tried_again(error_class: str) -> None:
    setbacks = {"ad_assets": failed(error_class)}
    retry = plan_retry(setbacks, attempt=1, policy=POLICY, key="k")
    assert retry is not None
    assert retry.names == ("ad_assets",)
    assert 4.5 * MINUTE <= retry.wait <= 5.5 * MINUTE


def test_every_class_of_the_tree_is_one_that_is_tried_again_or_one_that_is_not() -> None:
    def below(parent: type[PipelineError]) -> set[type[PipelineError]]:
        ours = {c for c in parent.__subclasses__() if c.__module__ == "pipeline_assets.errors"}
        return ours.union(*map(below, ours))

    assert below(PipelineError) == {*PERMANENT, *TRANSIENT}


def test_only_what_failed_and_what_was_skipped_because_of_it_is_tried_again() -> None:
    setbacks = {"meta_ad_creatives": failed("SourceUnavailableError")}
    setbacks |= {"ad_thumbnails": SKIPPED, "ad_assets": SKIPPED}
    retry = plan_retry(setbacks, attempt=1, policy=POLICY, key="k")
    assert retry is not None
    assert retry.names == ("meta_ad_creatives", "ad_thumbnails", "ad_assets")


def test_what_stands_behind_something_that_needs_a_person_is_not_tried_again() -> None:
    setbacks = {
        "meta_ads_performance": failed("SourceUnavailableError"),
        "meta_ad_creatives": failed("CredentialError"),
        "ad_thumbnails": SKIPPED,
        "scorecard": SKIPPED,  # stands behind both
    }
    retry = plan_retry(setbacks, attempt=1, policy=POLICY, key="k")
    assert retry is not None
    assert retry.names == ("meta_ads_performance",)


def test_the_longest_time_that_a_source_asked_for_counts_for_all_and_no_other_ones() -> None:
    setbacks = {
        "meta_ads_performance": failed("RateLimitedError", 600),
        "meta_ad_creatives": failed("RateLimitedError", 1200),
        "ad_assets": failed("CredentialError", 9999),
    }
    retry = plan_retry(setbacks, attempt=1, policy=POLICY, key="k")
    assert retry is not None
    assert retry.names == ("meta_ads_performance", "meta_ad_creatives")
    assert timedelta(seconds=1200) <= retry.wait <= timedelta(seconds=1320)


def test_nothing_is_planned_when_nothing_failed() -> None:
    assert plan_retry({}, attempt=1, policy=POLICY, key="k") is None


# Meta Marketing API v26.0, error codes of the Graph API and of Insights.
GRAPH_FAILURES = [
    (400, 190, CredentialError),
    (403, 200, AccessError),
    (400, 17, RateLimitedError),
    (400, 4, RateLimitedError),
    (400, 80000, RateLimitedError),
    (500, 2, SourceUnavailableError),
    (503, None, SourceUnavailableError),
    (504, None, SourceUnavailableError),
]


@pytest.mark.parametrize(("status", "code", "expected"), GRAPH_FAILURES)
def test_what_meta_answers_decides_whether_the_dataset_is_tried_again(
    status: int, code: int | None, expected: type[PipelineError]
) -> None:
    error = error_for(read_failure(status, {"code": code, "message": "…"}), subject="act_1")
    assert type(error) is expected
    if isinstance(error, TransientError):
        error.retry_after_seconds = 900
    failure = failure_from_metadata(metadata_of_error(error), message=str(error))
    assert failure.error_class in vars(errors)  # a source's own classes are not known everywhere
    setback = Setback(False, failure.error_class, failure.retry_after_seconds)
    retry = plan_retry({"meta_ads_performance": setback}, attempt=1, policy=POLICY, key="k")
    if issubclass(expected, PermanentError):
        assert retry is None
    else:
        assert retry is not None
        assert timedelta(seconds=900) <= retry.wait <= timedelta(seconds=990)
