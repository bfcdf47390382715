"""Wishes: who gets a request of their own, who joins one, who is told no; on both databases."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline_assets.control.requests import (
    Request,
    RequestState,
    Trigger,
    Wish,
    cancel_request,
    get_request,
    list_requests,
    request_sync,
    store_wish,
)
from pipeline_assets.datasets import JOBS
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import requests

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=20)
ACTIVE = [RequestState.QUEUED, RequestState.LAUNCHED, RequestState.RUNNING]
ENDED = [state for state in RequestState if state not in ACTIVE]
PEOPLE = [Trigger.MANUAL, Trigger.API, Trigger.WEBHOOK]


def change(engine: sa.Engine, request_id: str, **values: Any) -> None:
    with write_transaction(engine) as connection:
        connection.execute(requests.update().where(requests.c.id == request_id).values(values))


def make_wish(trigger: Trigger = Trigger.MANUAL, **more: Any) -> Wish:
    values: dict[str, Any] = {"brand_id": "acme", "job": "meta_sync", "requested_by": "cli:bob"}
    return Wish(**{**values, "trigger": trigger, **more})


def waiting_retry(loop: Any, **values: Any) -> Request:
    """A retry that waits until LATER, of one dataset."""
    request = loop.wish(trigger=Trigger.SCHEDULE, requested_by="schedule")
    change(
        loop.engine,
        request.id,
        **{
            "trigger": Trigger.RETRY,
            "attempt": 2,
            "not_before": LATER,
            "datasets": ["ad_assets"],
            **values,
        },
    )
    return loop.see(request)


def test_a_wish_becomes_a_request_that_says_who_wants_what_and_why(loop: Any) -> None:
    request = loop.wish(datasets=("ad_assets", "meta_ad_creatives"), reason="The client called.")
    assert request.organization_id == "default"
    assert (request.brand_id, request.job, request.state) == ("acme", "meta_sync", "queued")
    assert request.datasets == ("meta_ad_creatives", "ad_assets")
    assert (request.trigger, request.requested_by) == (Trigger.MANUAL, "cli:alice")
    assert request.reason == "The client called."
    assert request.requested_at == request.not_before == NOW
    assert (request.attempt, request.chain_id, request.retry_of) == (1, request.id, None)
    assert (request.run_id, request.started_at, request.finished_at) == (None, None, None)
    assert get_request(loop.engine, request.id) == request


def test_all_datasets_of_a_job_named_one_by_one_are_simply_all(loop: Any) -> None:
    request = loop.wish(datasets=tuple(reversed(JOBS["meta_sync"].datasets)))
    assert request.datasets is None
    assert request.dataset_keys == JOBS["meta_sync"].datasets


@pytest.mark.parametrize("state", ACTIVE)
def test_a_second_wish_gets_the_active_request(loop: Any, state: RequestState) -> None:
    first = loop.wish()
    change(loop.engine, first.id, state=state)
    second, is_new = request_sync(loop.engine, make_wish(), now=LATER)
    assert (second.id, is_new) == (first.id, False)
    assert len(loop.all()) == 1


@pytest.mark.parametrize("state", ENDED)
def test_a_wish_after_the_end_gets_a_request_of_its_own(loop: Any, state: RequestState) -> None:
    first = loop.wish()
    change(loop.engine, first.id, state=state)
    second, is_new = request_sync(loop.engine, make_wish(), now=LATER)
    assert is_new
    assert second.id != first.id
    assert loop.see(first).state is state


@pytest.mark.parametrize("trigger", PEOPLE)
def test_a_person_pulls_a_waiting_retry_forward_and_ahead(loop: Any, trigger: Trigger) -> None:
    retry = waiting_retry(loop)
    joined, is_new = request_sync(loop.engine, make_wish(trigger), now=NOW)
    assert (joined.id, is_new) == (retry.id, False)
    assert (joined.not_before, joined.priority) == (NOW, 10)
    assert joined.datasets is None
    assert (joined.attempt, joined.trigger) == (2, Trigger.RETRY)


def test_a_cadence_makes_a_waiting_retry_whole_but_does_not_hurry_it(loop: Any) -> None:
    retry = waiting_retry(loop)
    joined, is_new = request_sync(loop.engine, make_wish(Trigger.SCHEDULE), now=NOW)
    assert (joined.id, is_new) == (retry.id, False)
    assert (joined.not_before, joined.priority) == (LATER, 0)
    assert joined.datasets is None


def test_a_wish_for_later_never_delays_a_request(loop: Any) -> None:
    request = loop.wish()
    joined, _ = request_sync(loop.engine, make_wish(not_before=LATER), now=NOW)
    assert joined.not_before == request.not_before == NOW


def test_a_wish_for_a_time_before_a_retrys_pulls_it_forward_to_that_time(loop: Any) -> None:
    waiting_retry(loop)
    sooner = NOW + timedelta(minutes=3)
    joined, _ = request_sync(loop.engine, make_wish(not_before=sooner), now=NOW)
    assert joined.not_before == sooner


def test_datasets_add_up_while_the_request_waits(loop: Any) -> None:
    loop.wish(datasets=("ad_assets",))
    joined = loop.wish(datasets=("meta_ad_creatives", "ad_assets"))
    assert joined.datasets == ("meta_ad_creatives", "ad_assets")
    rest = tuple(set(JOBS["meta_sync"].datasets) - {"ad_assets"})
    assert loop.wish(datasets=rest).datasets is None


def test_a_wish_for_some_datasets_leaves_a_request_for_all_as_it_is(loop: Any) -> None:
    loop.wish()
    assert loop.wish(datasets=("ad_assets",)).datasets is None


@pytest.mark.parametrize("state", [RequestState.LAUNCHED, RequestState.RUNNING])
def test_a_request_that_has_started_is_not_changed(loop: Any, state: RequestState) -> None:
    request = waiting_retry(loop, state=state)
    loop.wish()
    assert loop.see(request) == request


def test_a_request_that_is_just_being_cancelled_takes_no_wish_with_it(loop: Any) -> None:
    request = loop.wish()
    change(loop.engine, request.id, state=RequestState.RUNNING)
    cancel_request(loop.engine, request.id, actor="cli:bob", now=NOW)
    with pytest.raises(InvalidConfigError, match="just being cancelled") as caught:
        loop.wish()
    assert caught.value.advice == "Ask again in a moment."
    assert len(loop.all()) == 1


def wish_again_and_again(engine: sa.Engine, times: int, threads: int) -> list[str]:
    def wish_once(_: int) -> str:
        with write_transaction(engine) as connection:
            return store_wish(connection, make_wish(), now=NOW).request_id

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(wish_once, range(times)))


_MANY_WISHES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pipeline_assets.control.requests import Trigger, Wish, store_wish
from pipeline_assets.storage.engine import build_engine, write_transaction

url, times = sys.argv[1], int(sys.argv[2])
engine = build_engine(url)
wish = Wish(brand_id="acme", job="meta_sync", trigger=Trigger.API, requested_by="token:storm")
def wish_once(_):
    with write_transaction(engine) as connection:
        stored = store_wish(connection, wish, now=datetime.now(UTC))
    return f"{stored.request_id} {stored.is_new}"
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(8) as pool:
    print("\\n".join(pool.map(wish_once, range(times))))
"""


def test_a_thousand_simultaneous_wishes_of_many_processes_and_threads_are_one_request(
    loop: Any, database_url: str
) -> None:
    command = [sys.executable, "-c", _MANY_WISHES, database_url, "300"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    others = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in others:
        assert process.stdout.readline() == "ready\n"
    for process in others:
        process.stdin.write("go\n")
        process.stdin.flush()
    ids = wish_again_and_again(loop.engine, 400, threads=16)
    new = []
    for process in others:
        lines = [line.split() for line in process.communicate()[0].splitlines()]
        ids += [request_id for request_id, _ in lines]
        new += [request_id for request_id, is_new in lines if is_new == "True"]
        assert process.returncode == 0
    assert len(ids) == 1_000
    (request,) = loop.all()
    assert set(ids) == {request.id}
    assert len(new) <= 1


def test_other_jobs_brands_pieces_of_resyncs_and_adopted_runs_stand_beside(loop: Any) -> None:
    window = (date(2026, 1, 1), date(2026, 1, 28))
    wishes = [
        make_wish(),
        make_wish(job="asset_download"),
        make_wish(brand_id="globex"),
        make_wish(resync_id="resync-1", window=window),
        make_wish(resync_id="resync-2", window=window),
    ]
    with write_transaction(loop.engine) as connection:
        stored = [store_wish(connection, wish, now=NOW) for wish in wishes]
        again = [store_wish(connection, wish, now=LATER) for wish in wishes]
    assert all(each.is_new for each in stored)
    assert [each.request_id for each in again] == [each.request_id for each in stored]
    assert not any(each.is_new for each in again)
    loop.apply(loop.run())  # a person's, of acme's meta_sync
    assert len(loop.all()) == 6


def test_a_piece_of_a_resync_stays_behind_everything_else(loop: Any) -> None:
    with write_transaction(loop.engine) as connection:
        stored = store_wish(connection, make_wish(resync_id="resync-1"), now=NOW)
        again = store_wish(connection, make_wish(resync_id="resync-1"), now=NOW)
    assert stored.request_id == again.request_id
    assert get_request(loop.engine, stored.request_id).priority == -10


@pytest.mark.parametrize(
    ("values", "message", "advice"),
    [
        ({"brand_id": "acmee"}, "no brand 'acmee'", "Did you mean acme?"),
        ({"job": "meta_snyc"}, "no job 'meta_snyc'", "Did you mean meta_sync?"),
        ({"job": "reddit_research"}, "acme has no source reddit", "brands apply"),
        ({"datasets": ("ad_asets",)}, "'ad_asets' is not a dataset of meta_sync", "ad_assets"),
        ({"datasets": ("scorecard",)}, "'scorecard' is not a dataset of meta_sync", "ad_assets"),
        ({"datasets": ()}, "names no dataset", ""),
        ({"brand_id": "bare"}, "bare has no source meta", "brands apply"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_with_the_next_step(
    loop: Any, values: dict[str, Any], message: str, advice: str
) -> None:
    with pytest.raises(InvalidConfigError, match=message) as caught:
        request_sync(loop.engine, make_wish(**values), now=NOW)
    assert advice in caught.value.advice
    assert loop.all() == []


def test_a_queued_request_is_cancelled_at_once(loop: Any) -> None:
    request = loop.wish()
    cancelled = cancel_request(loop.engine, request.id, actor="cli:bob", now=LATER)
    assert cancelled.state is RequestState.CANCELLED
    assert cancelled.finished_at == cancelled.cancel_requested_at == LATER
    assert loop.wish().id != request.id


@pytest.mark.parametrize("state", [RequestState.LAUNCHED, RequestState.RUNNING])
def test_a_started_request_is_cancelled_when_its_run_has_stopped(
    loop: Any, state: RequestState
) -> None:
    request = loop.wish()
    change(loop.engine, request.id, state=state)
    for at in (NOW, LATER):  # a second click
        marked = cancel_request(loop.engine, request.id, actor="cli:bob", now=at)
    assert (marked.state, marked.finished_at) == (state, None)
    assert marked.cancel_requested_at == LATER


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_request_cannot_be_cancelled(loop: Any, state: RequestState) -> None:
    request = loop.wish()
    change(loop.engine, request.id, state=state)
    with pytest.raises(InvalidConfigError, match="has ended"):
        cancel_request(loop.engine, request.id, actor="cli:bob", now=LATER)
    assert loop.see(request).cancel_requested_at is None


def test_an_unknown_request_is_named(loop: Any) -> None:
    act: list[Callable[[], Any]] = [
        lambda: get_request(loop.engine, "nobody"),
        lambda: cancel_request(loop.engine, "nobody", actor="cli:bob", now=NOW),
    ]
    for each in act:
        with pytest.raises(InvalidConfigError, match="no request 'nobody'"):
            each()


def test_another_organizations_request_looks_like_none(loop: Any) -> None:
    request = loop.wish("rival")
    assert get_request(loop.engine, request.id, organization_ids=["other"]) == request
    with pytest.raises(InvalidConfigError) as forbidden:
        get_request(loop.engine, request.id, organization_ids=["default"])
    with pytest.raises(InvalidConfigError) as unknown:
        get_request(loop.engine, "nobody", organization_ids=["default"])
    assert str(forbidden.value).replace(request.id, "nobody") == str(unknown.value)
    assert forbidden.value.advice == unknown.value.advice


def test_pages_of_requests_with_one_timestamp_show_each_once(loop: Any) -> None:
    for brand_id in ("acme", "globex"):
        for job in ("meta_sync", "asset_download", "ad_classification"):
            loop.wish(brand_id, job)
    loop.pass_time(minutes=1)
    newest = loop.wish("rival")
    seen: list[Request] = []
    while page := list_requests(
        loop.engine, limit=2, before=(seen[-1].requested_at, seen[-1].id) if seen else None
    ):
        seen += page
    assert seen[0] == newest
    assert len(seen) == 7
    assert {request.id for request in seen} == {request.id for request in loop.all()}


def test_lists_are_by_organization_brand_job_state_and_archive(loop: Any) -> None:
    sync, download = loop.wish(), loop.wish(job="asset_download")
    rival = loop.wish("rival")
    change(loop.engine, download.id, state=RequestState.FAILED)
    old = loop.wish("globex")
    change(loop.engine, old.id, archived_at=NOW)

    def ids(**filters: Any) -> set[str]:
        return {request.id for request in list_requests(loop.engine, **filters)}

    assert ids() == {sync.id, download.id, rival.id}
    assert ids(organization_ids=["other"]) == {rival.id}
    assert ids(organization_ids=["default"]) == {sync.id, download.id}
    assert ids(brand_ids=["acme", "globex"]) == {sync.id, download.id}
    assert ids(brand_ids=[]) == set()
    assert ids(job="asset_download") == {download.id}
    assert ids(states=[RequestState.FAILED]) == {download.id}
    assert ids(is_archived=True) == {old.id}
    assert ids(is_archived=None) == {sync.id, download.id, rival.id, old.id}


def test_the_audit_log_tells_who_asked_joined_and_cancelled(loop: Any) -> None:
    request = loop.wish(reason="The client called.", datasets=("ad_assets",))
    request_sync(loop.engine, make_wish(), now=LATER)
    end = LATER + timedelta(minutes=1)
    cancel_request(loop.engine, request.id, actor="cli:carol", now=end)
    entries = read_audit(loop.engine, target="acme:meta_sync", limit=10)
    assert [(e.action, e.actor, e.at) for e in entries] == [
        ("request.cancel", "cli:carol", end),
        ("request.join", "cli:bob", LATER),
        ("request.create", "cli:alice", NOW),
    ]
    assert {(e.request_id, e.organization_id) for e in entries} == {(request.id, "default")}
    assert entries[-1].detail == {"datasets": ["ad_assets"], "reason": "The client called."}


def test_a_refused_wish_and_a_refused_cancellation_leave_no_trace(loop: Any) -> None:
    request = loop.wish()
    change(loop.engine, request.id, state=RequestState.SUCCEEDED)
    before = read_audit(loop.engine, limit=50)
    with pytest.raises(InvalidConfigError):
        cancel_request(loop.engine, request.id, actor="cli:bob", now=LATER)
    with pytest.raises(InvalidConfigError):
        request_sync(loop.engine, make_wish(job="nothing"), now=LATER)
    assert read_audit(loop.engine, limit=50) == before
