"""What runs do to requests: ends, retries, revisions, adoption; made-up runs, real tables."""

import threading
from datetime import date, timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.control.dagster_log import Failure, RunState
from pipeline_assets.control.projector import project
from pipeline_assets.control.request_tracking import end_deleted, runs_of_active_requests
from pipeline_assets.control.requests import RequestState, Trigger, cancel_request
from pipeline_assets.control.retries import RetryPolicies, RetryPolicy
from pipeline_assets.control.run_tags import REQUEST_ID
from pipeline_assets.control.status import read_states
from pipeline_assets.datasets import JOBS
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_attempts, dataset_status, requests

DOWN = Failure("SourceUnavailableError", "Meta did not answer.", "Wait.")
EXPIRED = Failure("CredentialError", "The token has expired.", "Renew it.")
FORBIDDEN = Failure("AccessError", "act_2 is forbidden.", "Ask its owner.")
LIMITED = Failure("RateLimitedError", "act_1 is limited.", "Wait.", 3600)
BUG = Failure("ZeroDivisionError", "division by zero")
LOST = Failure("WorkerLost", "The worker is gone.")
ALL = JOBS["meta_sync"].datasets
PERFORMANCE, CREATIVES, THUMBNAILS, ASSETS, CLASSES = ALL
FAILED, CANCELLED = RunState.FAILED, RunState.CANCELLED


def cancel(loop: Any, request: Any) -> Any:
    return cancel_request(loop.engine, request.id, actor="cli:bob", now=loop.now)


def test_a_request_follows_its_run_from_the_queue_to_success(loop: Any) -> None:
    request = loop.wish()
    created_at = loop.now
    run = {"run_id": "run-1", "created_at": created_at}
    loop.apply(loop.run(request, RunState.WAITING, **run))
    assert (loop.see(request).state, loop.see(request).run_id) == ("launched", "run-1")
    assert loop.see(request).started_at is None
    loop.pass_time(minutes=2)
    loop.apply(loop.run(request, RunState.ACTIVE, **run))
    assert loop.see(request).state is RequestState.RUNNING
    assert loop.see(request).started_at == created_at + timedelta(minutes=1)
    assert loop.see(request).finished_at is None
    loop.pass_time(minutes=5)
    loop.apply(loop.run(request, RunState.SUCCEEDED, **run))
    ended = loop.see(request)
    assert (ended.state, ended.finished_at) == (RequestState.SUCCEEDED, loop.now)
    assert ended.outcomes == dict.fromkeys(ALL, "succeeded")
    assert ended.records == 50
    assert (ended.error_class, ended.error_message, ended.advice) == (None, None, None)
    assert len(loop.all()) == 1


def test_a_failure_that_is_not_fatal_ends_the_request_in_part(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, FAILED, fails={ASSETS: EXPIRED}))
    ended = loop.see(request)
    assert ended.state is RequestState.PARTIAL
    assert ended.outcomes == dict.fromkeys(ALL, "succeeded") | {ASSETS: "failed"}
    assert (ended.error_class, ended.error_message, ended.advice) == (
        "CredentialError",
        "The token has expired.",
        "Renew it.",
    )
    assert ended.records == 40


def test_a_fatal_failure_fails_the_request_and_is_the_one_shown(loop: Any) -> None:
    request = loop.wish()
    fails = {CREATIVES: FORBIDDEN, PERFORMANCE: EXPIRED}
    loop.apply(loop.run(request, FAILED, fails=fails))
    ended = loop.see(request)
    assert ended.state is RequestState.FAILED
    assert ended.error_message == "The token has expired."
    assert ended.outcomes == {
        PERFORMANCE: "failed",
        CREATIVES: "failed",
        THUMBNAILS: "skipped",
        ASSETS: "skipped",
        CLASSES: "skipped",
    }


def test_the_error_shown_is_a_failure_and_not_what_it_held_up(loop: Any) -> None:
    request = loop.wish(datasets=(CREATIVES, THUMBNAILS, ASSETS))
    loop.apply(loop.run(request, FAILED, fails={CREATIVES: FORBIDDEN}))
    assert loop.see(request).error_class == "AccessError"


def test_a_request_without_any_success_has_failed_though_nothing_was_fatal(loop: Any) -> None:
    request = loop.wish(datasets=(CREATIVES, THUMBNAILS))
    loop.apply(loop.run(request, FAILED, fails={CREATIVES: FORBIDDEN}))
    assert loop.see(request).state is RequestState.FAILED


def test_what_is_skipped_says_why(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, FAILED, fails={CREATIVES: EXPIRED}))
    with loop.engine.connect() as connection:
        attempt = connection.execute(
            sa.select(dataset_attempts).where(dataset_attempts.c.dataset == THUMBNAILS)
        ).one()
    assert (attempt.outcome, attempt.error_class) == ("skipped", "UpstreamFailed")
    assert attempt.error_message == "Not tried because meta_ad_creatives failed in the same run."
    assert attempt.request_id == request.id


@pytest.mark.parametrize(
    ("dataset", "state"), [(PERFORMANCE, RequestState.FAILED), (ASSETS, RequestState.PARTIAL)]
)
def test_a_dataset_that_lacks_a_part_is_a_failure_whose_rows_count(
    loop: Any, dataset: str, state: RequestState
) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, RunState.SUCCEEDED, incomplete={dataset: FORBIDDEN}))
    ended = loop.see(request)
    assert ended.state is state
    assert ended.outcomes == dict.fromkeys(ALL, "succeeded") | {dataset: "failed"}
    assert ended.error_message == "act_2 is forbidden."
    assert ended.records == 50
    assert len(loop.all()) == 1  # it needs a person


def test_a_run_that_dies_before_its_end_fails_what_it_had_not_stored(loop: Any) -> None:
    request = loop.wish()
    lost = {ASSETS, CLASSES}
    loop.apply(loop.run(request, FAILED, lost=lost, failure=LOST))
    ended = loop.see(request)
    assert ended.state is RequestState.PARTIAL
    assert ended.outcomes == dict.fromkeys(ALL, "succeeded") | dict.fromkeys(lost, "failed")
    (retry,) = loop.all(retry_of=request.id)
    assert retry.datasets == (ASSETS, CLASSES)


def test_a_failure_that_may_pass_is_followed_by_a_request_for_what_failed(loop: Any) -> None:
    request = loop.wish(reason="The client called.")
    loop.apply(loop.run(request, FAILED, fails={CREATIVES: DOWN, PERFORMANCE: EXPIRED}))
    (retry,) = loop.all(retry_of=request.id)
    assert retry.datasets == (CREATIVES, THUMBNAILS, ASSETS, CLASSES)
    assert (retry.state, retry.trigger) == (RequestState.QUEUED, Trigger.RETRY)
    assert (retry.attempt, retry.chain_id) == (2, request.id)
    assert retry.requested_by == "cli:alice"
    assert retry.requested_at == loop.now
    assert timedelta(minutes=4.5) <= retry.not_before - loop.now <= timedelta(minutes=5.5)
    assert retry.reason == "Try 2 of 4 after CredentialError."
    assert (retry.organization_id, retry.brand_id, retry.job) == ("default", "acme", "meta_sync")
    assert retry.priority == 0  # nobody stands and waits any more
    assert loop.see(request).state is RequestState.FAILED


def test_a_retry_waits_as_long_as_the_source_asked_from_the_end_of_the_run(loop: Any) -> None:
    request = loop.wish()
    run = loop.run(request, FAILED, fails={PERFORMANCE: LIMITED})
    ended_at = loop.now
    loop.pass_time(minutes=10)  # the projector was away
    loop.apply(run)
    (retry,) = loop.all(retry_of=request.id)
    assert timedelta(hours=1) <= retry.not_before - ended_at <= timedelta(hours=1.1)


@pytest.mark.parametrize("failure", [DOWN, LIMITED, BUG, LOST])
def test_what_may_pass_is_tried_again(loop: Any, failure: Failure) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, FAILED, fails={ASSETS: failure}))
    assert [retry.datasets for retry in loop.all(retry_of=request.id)] == [(ASSETS,)]


@pytest.mark.parametrize("failure", [EXPIRED, FORBIDDEN])
def test_what_needs_a_person_is_not_tried_again_and_concerns_one_brand_only(
    loop: Any, failure: Failure
) -> None:
    acme, globex = loop.wish("acme"), loop.wish("globex")
    loop.apply(loop.run(acme, FAILED, fails={PERFORMANCE: failure}), loop.run(globex))
    assert loop.see(acme).state is RequestState.FAILED
    assert loop.see(globex).state is RequestState.SUCCEEDED
    assert len(loop.all()) == 2


def test_after_the_last_try_nothing_follows_and_the_chain_tells_all_tries(loop: Any) -> None:
    first = request = loop.wish()
    loop.policies = RetryPolicies(RetryPolicy(count=2))
    for _ in range(3):
        loop.pass_time(hours=1)
        loop.apply(loop.run(request, FAILED, fails={ASSETS: DOWN}))
        request = next(iter(loop.all(retry_of=request.id)), request)
    chain = loop.all(chain_id=first.id)
    assert [each.attempt for each in chain] == [1, 2, 3]
    assert [each.retry_of for each in chain] == [None, chain[0].id, chain[1].id]
    assert not any(each.state.is_active for each in chain)
    assert chain[1].datasets == chain[2].datasets == (ASSETS,)


def test_a_retry_that_succeeds_ends_the_chain(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, FAILED, fails={ASSETS: DOWN}))
    loop.pass_time(minutes=6)
    (retry,) = loop.all(retry_of=request.id)
    loop.apply(loop.run(retry))
    assert loop.see(retry).state is RequestState.SUCCEEDED
    assert loop.see(request).state is RequestState.PARTIAL
    assert len(loop.all()) == 2


def test_a_wish_made_while_the_failing_request_ran_does_not_double_the_retry(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, RunState.ACTIVE, run_id="run-1"))
    assert loop.wish().id == request.id
    loop.apply(loop.run(request, FAILED, fails={ASSETS: DOWN}, run_id="run-1"))
    (retry,) = loop.all(retry_of=request.id)
    assert loop.wish(datasets=(ASSETS,)).id == retry.id


def test_runs_applied_again_and_again_change_nothing(loop: Any) -> None:
    runs = [
        loop.run(loop.wish("acme"), FAILED, fails={ASSETS: DOWN}),
        loop.run(loop.wish("globex")),
        loop.run(loop.wish(job="asset_download"), CANCELLED),
        loop.run(None, FAILED, fails={CREATIVES: LIMITED}, brand_id="rival"),
    ]
    loop.apply(*runs)
    before = loop.tables()
    for again in (runs, runs[:1], list(reversed(runs)), runs):
        loop.pass_time(minutes=1)
        loop.apply(*again)
        assert loop.tables() == before
    assert len(loop.all()) == 6


def test_the_order_within_a_batch_does_not_matter(loop: Any) -> None:
    """A crash, Dagster's re-run, and what a person did beside it."""
    request = loop.wish()
    created_at = loop.now
    ends = []
    loop.pass_time(minutes=10)
    runs = [
        loop.run(
            request, FAILED, lost={ASSETS, CLASSES}, run_id="a", created_at=created_at,
            failure=LOST, is_final=False,
        ),
        loop.run(
            request, FAILED, fails={ASSETS: EXPIRED}, datasets=(ASSETS, CLASSES), run_id="b",
            created_at=created_at + timedelta(minutes=4), ancestors=("a",),
        ),
        loop.run(run_id="c", created_at=created_at + timedelta(minutes=3),
                 tags={REQUEST_ID: request.id}),
    ]  # fmt: skip
    for order in permutations(runs):
        with loop.engine.connect() as connection, connection.begin() as transaction:
            loop.apply_in(connection, *order)
            ends.append(_content(connection))
            transaction.rollback()
    assert all(end == ends[0] for end in ends)
    by_id = {row["id"]: row for row in ends[0][0]}
    assert set(by_id) == {request.id, "c"}
    assert by_id[request.id]["state"] == "partial"
    assert by_id[request.id]["run_id"] == "b"
    assert by_id[request.id]["started_at"] == created_at + timedelta(minutes=1)
    assert by_id[request.id]["outcomes"] == dict.fromkeys(ALL, "succeeded") | {ASSETS: "failed"}
    assert (by_id["c"]["retry_of"], by_id["c"]["attempt"]) == (request.id, 2)


def _content(connection: sa.Connection) -> list[list[dict[str, Any]]]:
    return [
        [dict(row) for row in connection.execute(sa.select(t).order_by(*t.primary_key)).mappings()]
        for t in (requests, dataset_attempts, dataset_status)
    ]


def test_a_request_stays_running_while_dagster_runs_its_crashed_run_again(loop: Any) -> None:
    request = loop.wish()
    crashed = loop.run(
        request, FAILED, lost=ALL[2:], run_id="a", failure=LOST, is_final=False, records=7
    )
    loop.apply(crashed)
    assert (loop.see(request).state, loop.see(request).run_id) == (RequestState.RUNNING, "a")
    assert loop.see(request).finished_at is None
    loop.pass_time(minutes=3)
    rest = {"datasets": ALL[2:], "run_id": "b", "ancestors": ("a",)}
    loop.apply(crashed, loop.run(request, RunState.WAITING, **rest))
    assert (loop.see(request).state, loop.see(request).run_id) == (RequestState.RUNNING, "b")
    loop.pass_time(minutes=3)
    loop.apply(crashed, loop.run(request, RunState.SUCCEEDED, **rest))
    ended = loop.see(request)
    assert ended.state is RequestState.SUCCEEDED
    assert ended.outcomes == dict.fromkeys(ALL, "succeeded")
    assert ended.records == 2 * 7 + 3 * 10
    assert ended.finished_at == loop.now
    assert len(loop.all()) == 1


def test_a_run_that_crashes_twice_and_then_for_good_is_tried_again_by_us(loop: Any) -> None:
    request = loop.wish()
    for run_id, ancestors, is_final in (("a", (), False), ("b", ("a",), False), ("c", "ba", True)):
        loop.pass_time(minutes=3)
        crashed = loop.run(
            request, FAILED, lost=ALL, run_id=run_id, ancestors=tuple(ancestors),
            failure=LOST, is_final=is_final,
        )  # fmt: skip
        loop.apply(crashed)
        assert loop.see(request).run_id == run_id
        assert loop.see(request).state.is_active is not is_final
    (retry,) = loop.all(retry_of=request.id)
    assert retry.datasets == ALL
    assert retry.reason == "Try 2 of 4 after WorkerLost."


def test_a_rerun_stays_with_its_request_when_somebody_deletes_the_crashed_run(loop: Any) -> None:
    """Nothing in Dagster's log says any more that the run goes on for the deleted one."""
    request = loop.wish()
    loop.apply(loop.run(request, FAILED, lost=ALL, run_id="a", failure=LOST, is_final=False))
    loop.apply(loop.run(request, RunState.WAITING, run_id="b", ancestors=("a",)))
    orphan = {"run_id": "b", "tags": {REQUEST_ID: request.id}}
    loop.apply(loop.run(None, RunState.ACTIVE, **orphan))
    assert loop.see(request).state is RequestState.RUNNING
    loop.apply(loop.run(None, RunState.SUCCEEDED, **orphan))
    assert loop.see(request).state is RequestState.SUCCEEDED
    assert loop.see(request).records == 50
    assert len(loop.all()) == 1


def test_a_promised_rerun_that_never_comes_ends_the_request_at_the_crash(loop: Any) -> None:
    request = loop.wish()
    crash = {"lost": {ASSETS}, "run_id": "a", "failure": LOST}
    crashed_at = loop.now
    loop.apply(loop.run(request, FAILED, is_final=False, **crash))
    final = loop.run(request, FAILED, is_final=True, **crash)
    loop.pass_time(minutes=16)
    loop.apply(final)
    ended = loop.see(request)
    assert (ended.state, ended.finished_at) == (RequestState.PARTIAL, crashed_at)
    assert [retry.datasets for retry in loop.all(retry_of=request.id)] == [(ASSETS,)]


def test_a_worker_thought_dead_that_succeeds_revises_the_end_and_drops_the_retry(
    loop: Any,
) -> None:
    request = loop.wish()
    created_at = loop.now
    late = {"run_id": "a", "created_at": created_at}
    loop.apply(loop.run(request, FAILED, lost={ASSETS}, failure=LOST, **late))
    (retry,) = loop.all(retry_of=request.id)
    loop.pass_time(seconds=8)
    loop.apply(loop.run(request, RunState.SUCCEEDED, **late))
    revised = loop.see(request)
    assert (revised.state, revised.finished_at) == (RequestState.SUCCEEDED, loop.now)
    assert (revised.error_class, revised.records) == (None, 50)
    dropped = loop.see(retry)
    assert (dropped.state, dropped.finished_at) == (RequestState.CANCELLED, loop.now)
    assert dropped.error_message == "Not needed: the try before succeeded after all."
    before = loop.tables()
    loop.apply(loop.run(request, RunState.SUCCEEDED, **late))
    assert loop.tables() == before


def test_a_retry_that_is_dropped_while_its_run_is_created_stays_dropped(loop: Any) -> None:
    request = loop.wish()
    late = {"run_id": "a", "created_at": loop.now}
    loop.apply(loop.run(request, FAILED, lost={ASSETS}, failure=LOST, **late))
    (retry,) = loop.all(retry_of=request.id)
    loop.pass_time(minutes=5)
    created = loop.run(retry, RunState.WAITING, run_id="b")
    assert loop.apply(loop.run(request, RunState.SUCCEEDED, **late), created) == ["b"]
    assert loop.see(retry).state is RequestState.CANCELLED


def test_a_retry_that_somebody_waits_for_is_not_dropped(loop: Any) -> None:
    request = loop.wish()
    late = {"run_id": "a", "created_at": loop.now}
    loop.apply(loop.run(request, FAILED, lost={ASSETS}, failure=LOST, **late))
    (retry,) = loop.all(retry_of=request.id)
    assert loop.wish().id == retry.id
    loop.apply(loop.run(request, RunState.SUCCEEDED, **late))
    assert loop.see(request).state is RequestState.SUCCEEDED
    assert loop.see(retry).state is RequestState.QUEUED


def test_a_retry_that_has_started_is_left_alone_by_a_late_success(loop: Any) -> None:
    request = loop.wish()
    late = {"run_id": "a", "created_at": loop.now}
    loop.apply(loop.run(request, FAILED, lost={ASSETS}, failure=LOST, **late))
    (retry,) = loop.all(retry_of=request.id)
    loop.pass_time(minutes=5)
    loop.apply(loop.run(retry, RunState.ACTIVE, run_id="b"))
    loop.apply(loop.run(request, RunState.SUCCEEDED, **late))
    assert loop.see(request).state is RequestState.SUCCEEDED
    assert loop.see(retry).state is RequestState.RUNNING


@pytest.mark.parametrize("is_late_first", [True, False])
def test_a_late_success_of_a_crashed_run_leaves_the_request_to_its_rerun(
    loop: Any, is_late_first: bool
) -> None:
    request = loop.wish()
    created_at = loop.now
    crash = {"run_id": "a", "created_at": created_at}
    loop.apply(loop.run(request, FAILED, lost={ASSETS}, failure=LOST, is_final=False, **crash))
    loop.pass_time(minutes=3)
    again = {"run_id": "b", "ancestors": ("a",), "datasets": (ASSETS,), "created_at": loop.now}
    loop.apply(loop.run(request, RunState.ACTIVE, **again))
    loop.pass_time(minutes=1)
    late = loop.run(request, RunState.SUCCEEDED, **crash)
    if is_late_first:
        loop.apply(late)
        assert loop.see(request).state is RequestState.RUNNING
    loop.pass_time(minutes=1)
    end = loop.run(request, RunState.SUCCEEDED, **again)
    loop.apply(end)
    loop.apply(late)
    ended = loop.see(request)
    assert (ended.state, ended.finished_at) == (RequestState.SUCCEEDED, loop.now)
    assert ended.run_id == "b"


def test_a_request_cancelled_before_its_run_was_created_stays_so_and_the_run_is_stopped(
    loop: Any,
) -> None:
    request = loop.wish()
    cancelled_at = cancel(loop, request).finished_at
    loop.pass_time(seconds=5)
    run = {"run_id": "a", "created_at": loop.now}
    assert loop.apply(loop.run(request, RunState.WAITING, **run)) == ["a"]
    assert loop.see(request).state is RequestState.CANCELLED
    assert loop.see(request).finished_at == cancelled_at
    loop.apply(loop.run(request, CANCELLED, **run))
    assert loop.see(request).state is RequestState.CANCELLED
    assert loop.apply(loop.run(request, CANCELLED, **run)) == []


@pytest.mark.parametrize("state", [RunState.WAITING, RunState.ACTIVE])
def test_the_run_of_a_cancelled_request_is_stopped_until_it_has_ended(
    loop: Any, state: RunState
) -> None:
    request = loop.wish()
    run = {"run_id": "a", "created_at": loop.now}
    assert loop.apply(loop.run(request, state, **run)) == []
    cancel(loop, request)
    assert loop.apply(loop.run(request, state, **run)) == ["a"]
    assert loop.apply(loop.run(request, RunState.CANCELLING, **run)) == []
    assert loop.see(request).state.is_active
    loop.apply(loop.run(request, CANCELLED, **run))
    ended = loop.see(request)
    assert (ended.state, ended.finished_at) == (RequestState.CANCELLED, loop.now)
    assert ended.error_class is None
    assert set(ended.outcomes.values()) == {"cancelled"}
    assert len(loop.all()) == 1


def test_a_cancelled_request_whose_run_fails_first_is_not_tried_again(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, RunState.ACTIVE, run_id="a"))
    cancel(loop, request)
    loop.apply(loop.run(request, FAILED, fails={PERFORMANCE: DOWN}, run_id="a"))
    assert loop.see(request).state is RequestState.FAILED
    assert len(loop.all()) == 1


def test_a_run_that_somebody_cancels_in_dagster_cancels_its_request(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, CANCELLED))
    assert loop.see(request).state is RequestState.CANCELLED
    assert len(loop.all()) == 1


def test_a_cancellation_and_the_projection_of_the_run_do_not_overwrite_each_other(
    loop: Any,
) -> None:
    request = loop.wish()
    run = loop.run(request, RunState.WAITING, run_id="a")
    stopped: list[str] = []
    projector = threading.Thread(target=lambda: stopped.extend(loop.apply(run)))
    with write_transaction(loop.engine) as connection:
        connection.execute(
            requests.update()
            .where(requests.c.id == request.id)
            .values(state="cancelled", cancel_requested_at=loop.now, finished_at=loop.now)
        )
        projector.start()
        projector.join(0.3)  # it has to wait for this transaction
        assert projector.is_alive()
    projector.join()
    assert stopped == ["a"]
    assert loop.see(request).state is RequestState.CANCELLED


def test_a_run_that_is_deleted_while_it_runs_leaves_nothing_running(
    loop: Any, instance: dg.DagsterInstance
) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, RunState.ACTIVE, run_id=str(uuid4())))

    def states() -> list[Any]:
        found = read_states(loop.engine, now=loop.now, brand_ids={"acme"})
        return [each for each in found if each.dataset in ALL]

    assert {each.is_running for each in states()} == {True}
    project(instance, loop.engine)  # this Dagster knows of no such run
    assert loop.see(request).error_class == "RunDeleted"
    assert {(s.is_running, s.last_attempt_outcome, s.error_class) for s in states()} == {
        (False, "failed", "RunDeleted")
    }


def test_a_request_whose_run_was_deleted_in_dagster_has_failed(loop: Any) -> None:
    request, other = loop.wish(), loop.wish("globex")
    loop.apply(loop.run(request, RunState.ACTIVE, run_id="a"))
    loop.apply(loop.run(other, RunState.ACTIVE, run_id="b"))
    loop.pass_time(minutes=1)
    with write_transaction(loop.engine) as connection:
        assert sorted(runs_of_active_requests(connection)) == ["a", "b"]
        end_deleted(connection, ["a"], now=loop.now)
        assert runs_of_active_requests(connection) == ["b"]
    ended = loop.see(request)
    assert (ended.state, ended.error_class) == (RequestState.FAILED, "RunDeleted")
    assert ended.finished_at == loop.now
    assert "again" in ended.advice
    assert loop.see(other).state is RequestState.RUNNING


def test_a_run_that_a_person_started_in_dagster_becomes_a_request(loop: Any) -> None:
    history = loop.run(
        run_id="ui", tags={"dagster/user": "dora"}, brand_id="rival", datasets=(PERFORMANCE, ASSETS)
    )
    loop.apply(history)
    (adopted,) = loop.all()
    assert (adopted.id, adopted.run_id) == ("ui", "ui")
    assert (adopted.organization_id, adopted.brand_id) == ("other", "rival")
    assert (adopted.trigger, adopted.requested_by) == (Trigger.DAGSTER, "dora")
    assert adopted.datasets == (PERFORMANCE, ASSETS)
    assert adopted.requested_at == history.created_at
    assert (adopted.state, adopted.finished_at) == (RequestState.SUCCEEDED, loop.now)
    assert (adopted.chain_id, adopted.retry_of, adopted.attempt) == ("ui", None, 1)


def test_a_run_from_dagster_stands_beside_an_active_request(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(run_id="ui"), loop.run(request, RunState.ACTIVE, run_id="ours"))
    assert loop.see(request).state is RequestState.RUNNING
    assert loop.all(id="ui")[0].state is RequestState.SUCCEEDED


def test_a_run_repeated_in_dagster_after_its_requests_end_joins_the_chain(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, FAILED, fails={PERFORMANCE: EXPIRED}, run_id="a"))
    loop.pass_time(minutes=9)
    loop.apply(loop.run(run_id="again", tags={REQUEST_ID: request.id}))
    (adopted,) = loop.all(id="again")
    assert (adopted.chain_id, adopted.retry_of, adopted.attempt) == (request.id, request.id, 2)
    assert adopted.state is RequestState.SUCCEEDED
    assert loop.see(request).state is RequestState.FAILED
    assert loop.see(request).run_id == "a"


def test_a_crashed_run_from_dagster_that_is_run_again_stays_one_request(loop: Any) -> None:
    loop.apply(loop.run(None, FAILED, run_id="ui", lost={ASSETS}, failure=LOST, is_final=False))
    loop.pass_time(minutes=1)
    loop.apply(loop.run(run_id="ui-2", ancestors=("ui",), datasets=(ASSETS,)))
    (adopted,) = loop.all()
    assert (adopted.id, adopted.run_id, adopted.state) == ("ui", "ui-2", RequestState.SUCCEEDED)
    assert adopted.outcomes == dict.fromkeys(ALL, "succeeded")


@pytest.mark.parametrize(
    ("ago", "retries"), [(timedelta(days=1), 1), (timedelta(days=1, seconds=1), 0)]
)
def test_a_failure_from_dagster_is_tried_again_unless_it_is_more_than_a_day_old(
    loop: Any, ago: timedelta, retries: int
) -> None:
    history = loop.run(None, FAILED, fails={ASSETS: DOWN}, run_id="ui")
    loop.now += ago
    loop.apply(history)
    found = loop.all(retry_of="ui")
    assert len(found) == retries
    assert {(each.trigger, each.datasets, each.attempt) for each in found} <= {
        (Trigger.RETRY, (ASSETS,), 2)
    }


def test_a_failure_from_dagster_leaves_its_retry_to_a_request_that_is_active(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(None, FAILED, fails={ASSETS: DOWN}, run_id="ui"))
    assert {each.id for each in loop.all()} == {request.id, "ui"}


def test_a_run_over_several_brands_is_a_request_of_none_of_them_and_is_not_tried_again(
    loop: Any,
) -> None:
    loop.apply(
        loop.run(None, FAILED, brand_ids=("acme", "globex"), fails={ASSETS: DOWN}, run_id="range")
    )
    (adopted,) = loop.all()  # a retry could not name its brands
    assert (adopted.brand_id, adopted.organization_id) == ("*", None)
    assert adopted.state is RequestState.PARTIAL
    assert adopted.records == 2 * 4 * 10
    with loop.engine.connect() as connection:
        attempts = connection.execute(sa.select(dataset_attempts.c.brand_id)).scalars()
        assert sorted(attempts) == ["acme"] * 5 + ["globex"] * 5


def test_a_retry_asks_only_for_datasets_of_its_job(loop: Any) -> None:
    """Dagster's asset page runs any assets together; such a run counts as one job's."""
    loop.apply(
        loop.run(
            None, FAILED, job="asset_download", datasets=(ASSETS, CLASSES), run_id="ui",
            fails={ASSETS: DOWN, CLASSES: DOWN},
        )
    )  # fmt: skip
    assert [each.datasets for each in loop.all(retry_of="ui")] == [(ASSETS,)]


def test_days_synced_again_never_move_the_status(loop: Any) -> None:
    loop.apply(loop.run(datasets=(PERFORMANCE,), run_id="today"))
    before = loop.tables()[2]
    loop.pass_time(hours=1)
    window = (date(2026, 1, 1), date(2026, 1, 28))
    windowed = {"datasets": (PERFORMANCE,), "window": window}
    loop.apply(loop.run(**windowed), loop.run(None, FAILED, fails={PERFORMANCE: BUG}, **windowed))
    assert loop.tables()[2] == before
    with loop.engine.connect() as connection:
        rows = connection.execute(
            sa.select(dataset_attempts.c.window_since, dataset_attempts.c.outcome)
        ).all()
    assert sorted((str(since), outcome) for since, outcome in rows) == [
        ("2026-01-01", "failed"),
        ("2026-01-01", "succeeded"),
        ("None", "succeeded"),
    ]


def test_a_failure_never_touches_the_last_success(loop: Any) -> None:
    loop.apply(loop.run())
    good_at = loop.now
    loop.pass_time(hours=1)
    request = loop.wish()
    loop.apply(loop.run(request, FAILED, fails={PERFORMANCE: DOWN, CREATIVES: DOWN}))
    with loop.engine.connect() as connection:
        rows = connection.execute(sa.select(dataset_status)).all()
    assert {row.last_success_at for row in rows} == {good_at}
    assert {row.dataset: row.last_attempt_outcome for row in rows} == {
        PERFORMANCE: "failed",
        CREATIVES: "failed",
        **dict.fromkeys((THUMBNAILS, ASSETS, CLASSES), "skipped"),
    }


def test_datasets_asked_for_when_the_run_had_been_created_already_are_not_forgotten(
    loop: Any,
) -> None:
    """The run exists, the projector has not seen it yet, and somebody wishes for more."""
    request = loop.wish(datasets=(ASSETS,))
    run = loop.run(request)
    loop.wish(datasets=(CLASSES,))
    loop.apply(run)
    (rest,) = loop.all(retry_of=request.id)
    assert rest.datasets == (CLASSES,)
    assert loop.see(request).state is RequestState.PARTIAL
    assert loop.see(request).outcomes == {ASSETS: "succeeded"}


def test_an_unknown_request_in_a_runs_tags_is_made_anew(loop: Any) -> None:
    """The table was lost, Dagster's log was not."""
    request = loop.wish()
    run = loop.run(request)
    with write_transaction(loop.engine) as connection:
        connection.execute(requests.delete())
    loop.apply(run)
    (again,) = loop.all()
    assert (again.id, again.state) == (request.id, RequestState.SUCCEEDED)
