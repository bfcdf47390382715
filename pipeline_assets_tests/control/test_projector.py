"""What the log says becomes attempts and status: real runs, read back from Dagster."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.assets.attempt import Attempt, Check, Outcome
from pipeline_assets.control.dagster_log import (
    INTERRUPTED,
    Failure,
    RunHistory,
    RunState,
    StepHistory,
    changed_runs,
)
from pipeline_assets.control.projector import attempts_of, project, rebuild
from pipeline_assets.control.requests import (
    RequestState,
    cancel_request,
    get_request,
    list_requests,
)
from pipeline_assets.definitions import build_definitions
from pipeline_assets.errors import AccessError, CredentialError, RateLimitedError
from pipeline_assets.resources.installation import Installation
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import (
    dataset_attempts,
    dataset_status,
    projection_cursors,
)

Run = Callable[..., dg.ExecuteInProcessResult]
Row = dict[str, Any]

GOOD = Outcome(
    records=12, distinct_ads=3, checks={"fine": Check(is_passed=True, description="fine")}
)


def succeed(attempt: Attempt) -> Outcome:
    """Stores nothing, tells of 12 rows."""
    return GOOD


def fail_with(error: Exception) -> Callable[[Attempt], Outcome]:
    def compute(attempt: Attempt) -> Outcome:
        """Fails."""
        raise error

    return compute


def rows_of(engine: sa.Engine, table: sa.Table) -> list[Row]:
    with engine.connect() as connection:
        order = list(table.primary_key)
        return [dict(r) for r in connection.execute(sa.select(table).order_by(*order)).mappings()]


def status_of(engine: sa.Engine, dataset: str, brand: str = "acme") -> Row:
    return next(
        row
        for row in rows_of(engine, dataset_status)
        if (row["brand_id"], row["dataset"]) == (brand, dataset)
    )


def test_a_stored_dataset_is_a_success_with_its_counts(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    result = run(creatives=succeed)
    project(instance, engine)
    status = status_of(engine, "meta_ad_creatives")
    assert status["last_success_run_id"] == status["last_attempt_run_id"] == result.run_id
    assert (status["records_affected"], status["distinct_ads"]) == (12, 3)
    assert status["organization_id"] == "default"
    assert status["error_class"] is None
    assert status["last_attempt_started_at"] < status["last_success_at"]


def test_a_failure_carries_class_advice_and_time_to_come_back_and_leaves_the_success_alone(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(creatives=succeed)
    project(instance, engine)
    before = status_of(engine, "meta_ad_creatives")
    error = RateLimitedError("Account act_1 is limited.", advice="Wait.", retry_after_seconds=90)
    result = run(creatives=fail_with(error))
    project(instance, engine)
    after = status_of(engine, "meta_ad_creatives")
    assert after["last_success_at"] == before["last_success_at"]
    assert after["records_affected"] == 12
    assert after["last_attempt_run_id"] == result.run_id
    assert after["last_attempt_outcome"] == "failed"
    assert after["error_class"] == "RateLimitedError"
    assert after["error_message"] == "Account act_1 is limited."
    assert after["advice"] == "Wait."
    assert after["retry_after_seconds"] == 90


def test_a_later_success_clears_the_error(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(creatives=fail_with(CredentialError("Expired.")))
    run(creatives=succeed)
    project(instance, engine)
    status = status_of(engine, "meta_ad_creatives")
    assert (status["error_class"], status["last_attempt_outcome"]) == (None, "succeeded")


def test_a_bug_is_shown_as_one_and_its_secrets_are_not(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(creatives=fail_with(ZeroDivisionError("at ?access_token=pl4nted-secret&x")))
    project(instance, engine)
    status = status_of(engine, "meta_ad_creatives")
    assert status["error_class"] == "ZeroDivisionError"
    assert "bug" in status["advice"]
    assert "pl4nted" not in str(status)


def test_what_stood_behind_a_failed_dataset_is_skipped_with_the_reason(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(
        performance=succeed,
        creatives=fail_with(CredentialError("Expired.", advice="Renew it.")),
        thumbnails=succeed,
    )
    project(instance, engine)
    outcomes = {row["dataset"]: row["outcome"] for row in rows_of(engine, dataset_attempts)}
    assert outcomes == {
        "meta_ads_performance": "succeeded",
        "meta_ad_creatives": "failed",
        "ad_thumbnails": "skipped",
    }
    skipped = status_of(engine, "ad_thumbnails")
    assert skipped["error_class"] == "UpstreamFailed"
    assert "meta_ad_creatives" in skipped["error_message"]
    assert skipped["last_success_at"] is None


def test_an_incomplete_dataset_is_no_success_but_what_follows_it_runs(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    def lack_an_account(attempt: Attempt) -> Outcome:
        """Stores one of two accounts."""
        return Outcome(
            records=5,
            distinct_ads=5,
            checks={"fine": Check(is_passed=True, description="fine")},
            incomplete=AccessError("act_2 is forbidden.", advice="Ask its owner."),
        )

    result = run(creatives=lack_an_account, thumbnails=succeed)
    project(instance, engine)
    status = status_of(engine, "meta_ad_creatives")
    assert (status["last_attempt_outcome"], status["last_success_at"]) == ("failed", None)
    assert status["error_class"] == "AccessError"
    assert status["error_message"] == "act_2 is forbidden."
    assert status["advice"] == "Ask its owner."
    assert status_of(engine, "ad_thumbnails")["last_attempt_outcome"] == "succeeded"
    checks = [e.asset_check_evaluation_data for e in _check_events(result)]
    by_asset = {c.asset_key.to_user_string(): c for c in checks if c.check_name == "fine"}
    assert not by_asset["meta_ad_creatives"].passed
    assert by_asset["meta_ad_creatives"].description == "act_2 is forbidden."
    assert by_asset["ad_thumbnails"].passed
    assert {check.partition for check in checks} == {"acme"}
    assert run(thumbnails=succeed).success  # in a run of its own too


def test_what_rests_on_a_dataset_that_was_never_synced_is_not_tried_whoever_asks(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(creatives=fail_with(CredentialError("Expired.", advice="Renew it.")))
    run(thumbnails=succeed)
    project(instance, engine)
    status = status_of(engine, "ad_thumbnails")
    assert (status["last_attempt_outcome"], status["last_success_at"]) == ("skipped", None)
    assert status["error_class"] == "UpstreamFailed"
    assert status["error_message"] == (
        "Not tried because meta_ad_creatives has never been synced well."
    )
    assert status["advice"] == "Sync that first: `pipeline-assets sync acme meta_sync`."
    request = list_requests(engine)[0]
    assert (request.state, request.error_class) == (RequestState.FAILED, "UpstreamFailed")
    assert len(list_requests(engine)) == 2  # nothing is tried again by itself


def test_what_rests_on_a_dataset_that_succeeded_once_is_tried_without_the_log_too(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    first = run(creatives=succeed)
    assert run(thumbnails=succeed).success  # what the projection has yet to learn
    project(instance, engine)
    instance.delete_run(first.run_id)  # as retention does
    assert run(thumbnails=succeed).success


def _check_events(result: dg.ExecuteInProcessResult) -> list[dg.DagsterEvent]:
    wanted = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    return [event for event in result.all_events if event.event_type is wanted]


def test_an_older_attempt_that_ends_late_does_not_hide_a_newer_one(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    inner: list[str] = []

    def slow(attempt: Attempt) -> Outcome:
        """Fails after a newer run has succeeded."""
        inner.append(run(creatives=succeed).run_id)
        raise CredentialError("Expired.")

    run(creatives=slow)
    project(instance, engine)
    status = status_of(engine, "meta_ad_creatives")
    assert status["last_attempt_run_id"] == inner[0]
    assert status["last_attempt_outcome"] == "succeeded"
    assert status["error_class"] is None


def test_a_running_dataset_shows_as_an_attempt_without_outcome(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    seen: list[Row] = []

    def look(attempt: Attempt) -> Outcome:
        """Projects while it runs itself."""
        project(instance, engine)
        seen.append(status_of(engine, "meta_ad_creatives"))
        return GOOD

    run(creatives=fail_with(CredentialError("Expired.")))
    run(creatives=look)
    assert seen[0]["last_attempt_outcome"] is None
    assert seen[0]["last_attempt_ended_at"] is None
    # The last word on the data is still the failure.
    assert seen[0]["error_class"] == "CredentialError"


def test_a_run_whose_worker_vanished_fails_what_it_had_begun_and_not_begun(
    instance: dg.DagsterInstance, run: Run, engine: sa.Engine
) -> None:
    def die(attempt: Attempt) -> Outcome:
        """Ends the process as far as Dagster can tell."""
        stuck = instance.get_run_by_id(attempt.run_id)
        assert stuck is not None
        instance.report_run_failed(stuck, "The worker is gone.")
        return GOOD

    run(creatives=die, thumbnails=succeed)
    project(instance, engine)
    # The step ended well after all: what is in the log counts, whatever the run was called.
    assert status_of(engine, "meta_ad_creatives")["last_attempt_outcome"] == "succeeded"


def test_projecting_again_changes_nothing(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(creatives=succeed, thumbnails=fail_with(CredentialError("Expired.")))
    project(instance, engine)
    first = (rows_of(engine, dataset_attempts), rows_of(engine, dataset_status))
    project(instance, engine)
    assert (rows_of(engine, dataset_attempts), rows_of(engine, dataset_status)) == first


def test_rebuilding_from_nothing_gives_the_same_tables(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    run(creatives=succeed)
    run(creatives=fail_with(CredentialError("Expired.")), thumbnails=succeed)
    run(brand="globex", performance=succeed)
    project(instance, engine)
    projected = (rows_of(engine, dataset_attempts), rows_of(engine, dataset_status))
    assert rebuild(instance, engine) == 3
    assert (rows_of(engine, dataset_attempts), rows_of(engine, dataset_status)) == projected
    assert len(projected[0]) == 4
    run(creatives=succeed)
    assert project(instance, engine) >= 1
    assert status_of(engine, "meta_ad_creatives")["error_class"] is None


def test_many_runs_changed_at_once_are_all_projected(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    ids = {run(performance=succeed).run_id for _ in range(5)}
    pages = list(changed_runs(instance, after=datetime(2000, 1, 1, tzinfo=UTC), page=2))
    assert [len(page) for page in pages] != [5]
    assert {record.dagster_run.run_id for page in pages for record in page} == ids


def test_runs_of_other_code_are_left_alone(instance: dg.DagsterInstance, engine: sa.Engine) -> None:
    @dg.asset
    def somebody_elses_table() -> None: ...

    dg.materialize([somebody_elses_table], instance=instance)
    project(instance, engine)
    assert rows_of(engine, dataset_attempts) == []


@pytest.mark.parametrize(
    ("state", "outcome", "error_class"),
    [
        (RunState.CANCELLED, "cancelled", None),
        (RunState.ACTIVE, "cancelled", None),  # it is being cancelled
        (RunState.FAILED, "failed", "MaxRuntimeExceeded"),
    ],
)
def test_a_step_ended_from_outside_is_cancelled_unless_the_run_failed_for_a_reason(
    state: RunState, outcome: str, error_class: str | None
) -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    failure = Failure(INTERRUPTED, "Execution was interrupted.")
    history = RunHistory(
        run_id="run-1",
        job="meta_sync",
        state=state,
        tags={},
        created_at=at,
        started_at=at,
        ended_at=at,
        is_final=state.is_ended,
        failure=Failure("MaxRuntimeExceeded", "Too long.") if state is RunState.FAILED else None,
        steps={
            ("acme", "ad_assets"): StepHistory(
                planned_at=at, started_at=at, failed_at=at, failure=failure
            )
        },
    )
    (attempt,) = attempts_of(history)
    assert (attempt["outcome"], attempt["error_class"]) == (outcome, error_class)
    assert attempt["ended_at"] == at


def test_a_cancelled_run_that_waits_is_stopped_however_long_ago_its_record_changed(
    installation: Installation, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    job = build_definitions(installation).resolve_job_def("meta_sync")
    run_id = instance.create_run_for_job(job, tags={"dagster/partition": "acme"}).run_id
    project(instance, engine)
    long_after = datetime.now(UTC) + timedelta(hours=1)
    with write_transaction(engine) as connection:
        connection.execute(projection_cursors.update().values(position_at=long_after))
    assert get_request(engine, run_id).state == "launched"
    cancel_request(engine, run_id, actor="test", now=datetime.now(UTC))
    project(instance, engine)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELING
