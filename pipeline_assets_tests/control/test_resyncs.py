"""Long windows synced again in pieces; made-up runs, real tables, both databases."""

import threading
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline_assets.control.dagster_log import Failure, RunState
from pipeline_assets.control.launching import choose_launches
from pipeline_assets.control.request_tracking import end_deleted
from pipeline_assets.control.requests import Request, RequestState, Trigger, cancel_request
from pipeline_assets.control.resyncs import (
    Resync,
    ResyncState,
    cancel_resync,
    get_resync,
    list_resyncs,
    start_resync,
)
from pipeline_assets.control.retries import RetryPolicies, RetryPolicy
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import requests, resyncs

DOWN = Failure("SourceUnavailableError", "Meta did not answer.", "Wait.")
EXPIRED = Failure("CredentialError", "The token has expired.", "Renew it.")
SINCE, UNTIL = date(2026, 1, 1), date(2026, 3, 1)  # 60 days: 28, 28 and 4
PERFORMANCE = "meta_ads_performance"
FIRST_PIECE = (date(2026, 2, 2), UNTIL)


def start(loop: Any, since: date = SINCE, until: date = UNTIL, **values: Any) -> Resync:
    wanted: dict[str, Any] = {"brand_id": "acme", "job": "meta_sync", "actor": "cli:alice"}
    return start_resync(loop.engine, since=since, until=until, now=loop.now, **wanted | values)


def piece_of(loop: Any, resync: Resync) -> Request:
    """The active one."""
    (piece,) = [each for each in loop.all(resync_id=resync.id) if each.state.is_active]
    return piece


def see(loop: Any, resync: Resync) -> Resync:
    return get_resync(loop.engine, resync.id)


def finish(loop: Any, resync: Resync, **run: Any) -> Request:
    """Run the active piece."""
    loop.pass_time(minutes=90)  # also after the wait for a retry
    piece = piece_of(loop, resync)
    state = RunState.FAILED if "fails" in run else RunState.SUCCEEDED
    loop.apply(loop.run(piece, state, **run))
    return loop.see(piece)


@pytest.mark.parametrize(
    ("since", "until", "pieces"),
    [
        (date(2026, 3, 1), date(2026, 3, 1), ["03-01 03-01"]),
        (date(2026, 2, 2), date(2026, 3, 1), ["02-02 03-01"]),
        (date(2026, 2, 1), date(2026, 3, 1), ["02-02 03-01", "02-01 02-01"]),
        (date(2026, 1, 5), date(2026, 3, 1), ["02-02 03-01", "01-05 02-01"]),
        (SINCE, UNTIL, ["02-02 03-01", "01-05 02-01", "01-01 01-04"]),
    ],
)
def test_each_day_is_in_one_piece_and_the_newest_come_first(
    loop: Any, since: date, until: date, pieces: list[str]
) -> None:
    resync = start(loop, since, until)
    done = []
    while see(loop, resync).state is ResyncState.RUNNING:
        window = finish(loop, resync).window
        assert window is not None
        done.append(f"{window[0]:%m-%d} {window[1]:%m-%d}")
    assert done == pieces
    ended = see(loop, resync)
    assert (ended.state, ended.finished_at) == (ResyncState.SUCCEEDED, loop.now)
    assert ended.done_days == ended.total_days == (until - since).days + 1


def test_a_piece_asks_for_the_datasets_that_have_days_and_comes_last(loop: Any) -> None:
    resync = start(loop)
    piece = piece_of(loop, resync)
    assert piece.datasets == (PERFORMANCE,)
    assert piece.window == FIRST_PIECE
    assert (piece.priority, piece.trigger) == (-10, Trigger.MANUAL)
    assert piece.requested_by == "cli:alice"
    assert piece.reason == "Resync 2026-01-01 to 2026-03-01: 2026-02-02 to 2026-03-01."
    assert piece.organization_id == resync.organization_id == "default"


def test_progress_counts_days_and_only_those_that_are_synced(loop: Any) -> None:
    resync = start(loop)
    seen = []
    while see(loop, resync).state is ResyncState.RUNNING:
        seen.append((see(loop, resync).done_days, see(loop, resync).total_days))
        finish(loop, resync)
    assert seen == [(0, 60), (28, 60), (56, 60)]


def test_the_size_of_the_pieces_can_be_chosen_and_is_checked(loop: Any) -> None:
    resync = start(loop, piece_days=50)
    assert piece_of(loop, resync).window == (date(2026, 1, 11), UNTIL)
    with pytest.raises(InvalidConfigError, match="cannot have 0 days"):
        start(loop, brand_id="globex", piece_days=0)


def test_a_piece_that_fails_is_tried_again_and_then_the_resync_goes_on(loop: Any) -> None:
    resync = start(loop)
    finish(loop, resync, fails={PERFORMANCE: DOWN})
    retry = piece_of(loop, resync)
    assert (retry.attempt, retry.window, retry.priority) == (2, FIRST_PIECE, -10)
    assert see(loop, resync).state is ResyncState.RUNNING
    assert see(loop, resync).done_days == 0
    finish(loop, resync)
    assert see(loop, resync).done_days == 28
    following = piece_of(loop, resync)
    assert following.window == (date(2026, 1, 5), date(2026, 2, 1))
    assert following.attempt == 1


@pytest.mark.parametrize(("failure", "tries"), [(DOWN, 3), (EXPIRED, 1)])
def test_a_piece_that_fails_for_good_fails_the_resync_which_can_go_on_from_there(
    loop: Any, failure: Failure, tries: int
) -> None:
    loop.policies = RetryPolicies(RetryPolicy(count=2))
    resync = start(loop)
    finish(loop, resync)
    for _ in range(tries):
        assert see(loop, resync).state is ResyncState.RUNNING
        finish(loop, resync, fails={PERFORMANCE: failure})
    failed = see(loop, resync)
    assert (failed.state, failed.finished_at) == (ResyncState.FAILED, loop.now)
    assert (failed.error_class, failed.error_message) == (failure.error_class, failure.message)
    assert failed.advice == failure.advice
    assert failed.done_days == 28
    loop.pass_time(days=1)
    again = start(loop, actor="cli:bob")
    assert (again.id, again.state, again.requested_by) == (
        resync.id,
        ResyncState.RUNNING,
        "cli:bob",
    )
    assert (again.error_class, again.finished_at, again.done_days) == (None, None, 28)
    assert piece_of(loop, resync).window == (date(2026, 1, 5), date(2026, 2, 1))
    finish(loop, resync)
    finish(loop, resync)
    assert see(loop, resync).state is ResyncState.SUCCEEDED


def test_a_window_that_was_synced_again_can_be_once_more(loop: Any) -> None:
    first = start(loop, UNTIL)
    finish(loop, first)
    loop.pass_time(minutes=1)
    second = start(loop, UNTIL)
    assert second.id != first.id
    assert [each.id for each in list_resyncs(loop.engine, brand_id="acme")] == [second.id, first.id]
    assert list_resyncs(loop.engine, brand_id="globex") == []


def test_asking_for_the_window_that_is_under_way_is_that_one(loop: Any) -> None:
    assert start(loop).id == start(loop).id
    assert len(loop.all()) == 1


def test_another_window_has_to_wait(loop: Any) -> None:
    resync = start(loop)
    with pytest.raises(InvalidConfigError, match="2026-01-01 to 2026-03-01") as caught:
        start(loop, date(2025, 1, 1))
    assert resync.id in caught.value.advice
    start(loop, date(2025, 1, 1), brand_id="globex")
    assert len(list_resyncs(loop.engine)) == 2


@pytest.mark.parametrize("same", [True, False])
def test_of_two_that_are_started_at_once_one_stays(loop: Any, same: bool) -> None:
    started: list[Resync] = []
    refused: list[InvalidConfigError] = []
    barrier = threading.Barrier(2)

    def begin(since: date) -> None:
        barrier.wait()
        try:
            started.append(start(loop, since))
        except InvalidConfigError as error:
            refused.append(error)

    sinces = [SINCE, SINCE if same else date(2025, 12, 1)]
    threads = [threading.Thread(target=begin, args=[since]) for since in sinces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({resync.id for resync in started}) == 1
    assert len(refused) == (0 if same else 1)
    assert len(list_resyncs(loop.engine)) == len(loop.all()) == 1


def test_a_cancelled_resync_keeps_what_is_done_and_goes_on_from_there(loop: Any) -> None:
    resync = start(loop)
    finish(loop, resync)
    waiting = piece_of(loop, resync)
    cancelled = cancel_resync(loop.engine, resync.id, actor="cli:bob", now=loop.now)
    assert (cancelled.state, cancelled.finished_at) == (ResyncState.CANCELLED, loop.now)
    assert cancelled.done_days == 28
    assert loop.see(waiting).state is RequestState.CANCELLED
    with pytest.raises(InvalidConfigError, match="has ended: it is cancelled"):
        cancel_resync(loop.engine, resync.id, actor="cli:bob", now=loop.now)
    assert start(loop).id == resync.id
    assert piece_of(loop, resync).window == waiting.window


@pytest.mark.parametrize("by", ["resync", "piece"])
@pytest.mark.parametrize("end", [RunState.CANCELLED, RunState.SUCCEEDED, RunState.FAILED])
def test_a_resync_cancelled_while_a_piece_runs_stops_it_and_wishes_for_no_other(
    loop: Any, by: str, end: RunState
) -> None:
    resync = start(loop)
    piece = piece_of(loop, resync)
    loop.apply(loop.run(piece, RunState.ACTIVE, run_id="a"))
    if by == "resync":
        cancel_resync(loop.engine, resync.id, actor="cli:bob", now=loop.now)
    else:
        cancel_request(loop.engine, piece.id, actor="cli:bob", now=loop.now)
    assert loop.apply(loop.run(piece, RunState.ACTIVE, run_id="a")) == ["a"]
    with pytest.raises(InvalidConfigError, match="has not stopped yet"):
        start(loop)
    fails = {"fails": {PERFORMANCE: DOWN}} if end is RunState.FAILED else {}
    loop.apply(loop.run(piece, end, run_id="a", **fails))
    assert see(loop, resync).state is ResyncState.CANCELLED
    assert see(loop, resync).done_days == (28 if end is RunState.SUCCEEDED else 0)
    assert len(loop.all()) == 1
    start(loop)
    assert see(loop, resync).state is ResyncState.RUNNING


def test_cancelling_the_piece_that_waits_cancels_the_resync(loop: Any) -> None:
    resync = start(loop)
    cancel_request(loop.engine, piece_of(loop, resync).id, actor="cli:bob", now=loop.now)
    assert see(loop, resync).state is ResyncState.CANCELLED
    assert see(loop, resync).finished_at == loop.now


def test_a_run_that_somebody_cancels_in_dagster_cancels_the_resync(loop: Any) -> None:
    resync = start(loop)
    loop.apply(loop.run(piece_of(loop, resync), RunState.CANCELLED))
    assert see(loop, resync).state is ResyncState.CANCELLED


def test_a_piece_whose_run_is_deleted_in_dagster_fails_the_resync(loop: Any) -> None:
    resync = start(loop)
    loop.apply(loop.run(piece_of(loop, resync), RunState.ACTIVE, run_id="a"))
    with write_transaction(loop.engine) as connection:
        end_deleted(connection, ["a"], now=loop.now)
    assert see(loop, resync).state is ResyncState.FAILED
    assert see(loop, resync).error_class == "RunDeleted"


def test_a_piece_whose_worker_was_thought_dead_lets_the_resync_go_on(loop: Any) -> None:
    resync = start(loop)
    piece = piece_of(loop, resync)
    lost = Failure("WorkerLost", "The worker is gone.")
    run = {"run_id": "a", "created_at": loop.now}
    loop.apply(loop.run(piece, RunState.FAILED, lost={PERFORMANCE}, failure=lost, **run))
    retry = piece_of(loop, resync)
    for _ in range(2):
        loop.apply(loop.run(piece, RunState.SUCCEEDED, **run))
    assert loop.see(retry).state is RequestState.CANCELLED
    assert see(loop, resync).done_days == 28
    assert piece_of(loop, resync).window == (date(2026, 1, 5), date(2026, 2, 1))
    assert len(loop.all()) == 3


def test_todays_sync_stands_beside_a_piece_and_goes_first(loop: Any) -> None:
    resync = start(loop)
    loop.pass_time(minutes=1)
    today = loop.wish(trigger=Trigger.SCHEDULE, requested_by="schedule")
    piece = piece_of(loop, resync)
    assert today.id != piece.id
    launches = choose_launches(loop.engine, now=loop.now, slots=10).launches
    assert [each.request_id for each in launches] == [today.id, piece.id]


def test_applying_a_pieces_end_again_wishes_for_no_second_next_piece(loop: Any) -> None:
    resync = start(loop)
    piece = piece_of(loop, resync)
    end = loop.run(piece)
    for _ in range(3):
        loop.apply(end)
    assert len(loop.all()) == 2
    assert see(loop, resync).done_days == 28


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"brand_id": "acmee"}, "no brand 'acmee'"),
        ({"brand_id": "bare"}, "no source meta"),
        ({"job": "meta_snyc"}, "no job 'meta_snyc'"),
        ({"job": "scorecard"}, "scorecard has no dataset with days"),
        ({"job": "asset_download"}, "asset_download has no dataset with days"),
        ({"since": UNTIL + timedelta(days=1)}, "begins on 2026-03-02, after its end"),
        ({"until": date(2026, 11, 23)}, "ends on 2026-11-23, which has not been"),
        ({"since": date(2023, 9, 30)}, "begins on 2023-09-30, but sources keep 37 months"),
    ],
)
def test_a_resync_that_cannot_be_is_refused(
    loop: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        start(loop, **values)
    assert list_resyncs(loop.engine) == []
    assert loop.all() == []


def test_the_longest_window_ends_tomorrow_and_begins_37_months_ago(loop: Any) -> None:
    resync = start(loop, date(2023, 10, 1), date(2026, 11, 22))
    assert resync.total_days == 37 * 31 + 2


def test_an_unknown_resync_is_named(loop: Any) -> None:
    acts: list[Callable[[], Any]] = [
        lambda: get_resync(loop.engine, "nobody"),
        lambda: cancel_resync(loop.engine, "nobody", actor="cli:bob", now=loop.now),
    ]
    for act in acts:
        with pytest.raises(InvalidConfigError, match="no resync 'nobody'"):
            act()


def test_the_audit_log_tells_who_started_and_cancelled(loop: Any) -> None:
    resync = start(loop)
    loop.pass_time(minutes=1)
    cancel_resync(loop.engine, resync.id, actor="cli:bob", now=loop.now)
    entries = read_audit(loop.engine, target="acme:meta_sync", limit=10)
    assert [(e.action, e.actor) for e in entries] == [
        ("resync.cancel", "cli:bob"),
        ("resync.start", "cli:alice"),
    ]
    assert entries[0].detail["resync_id"] == resync.id
    assert entries[1].detail["since"] == "2026-01-01"


@pytest.mark.parametrize("is_applied_first", [True, False])
def test_a_cancellation_and_the_next_piece_neither_miss_nor_block_each_other(
    loop: Any, is_applied_first: bool
) -> None:
    """The projector has ended a piece, or is about to, and not committed when a person cancels."""
    resync = start(loop)
    piece = piece_of(loop, resync)
    end = loop.run(piece)
    cancelled: list[Resync] = []

    def cancel() -> None:
        cancelled.append(cancel_resync(loop.engine, resync.id, actor="cli:bob", now=loop.now))

    person = threading.Thread(target=cancel)
    with write_transaction(loop.engine) as connection:
        if is_applied_first:
            loop.apply_in(connection, end)
        connection.execute(
            sa.select(requests.c.id).where(requests.c.id == piece.id).with_for_update()
        )
        person.start()
        person.join(0.3)  # it has to wait for this transaction
        assert person.is_alive()
        loop.apply_in(connection, end)
    person.join()
    assert cancelled[0].state is ResyncState.CANCELLED
    assert not any(each.state.is_active for each in loop.all())
    with loop.engine.connect() as connection:
        assert connection.execute(sa.select(resyncs.c.state)).scalar_one() == "cancelled"
