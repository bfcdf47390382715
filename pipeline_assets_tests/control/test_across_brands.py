"""Requests and cadences for all brands of an organization at once, from the wish to the retry."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand, parse_organization
from pipeline_assets.brands.registry import add_brand, add_organization, get_brand, pause_brand
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.control.cadence_suggestions import (
    set_suggested_cadences,
    suggested_cadences,
)
from pipeline_assets.control.cadences import (
    list_cadences,
    pause_cadence,
    preview_cadence,
    set_cadence,
    store_due,
)
from pipeline_assets.control.dagster_log import Failure, RunHistory, RunState
from pipeline_assets.control.history import read_history
from pipeline_assets.control.launching import choose_launches
from pipeline_assets.control.request_progress import list_active, read_progress, read_progresses
from pipeline_assets.control.requests import (
    RequestState,
    Trigger,
    get_request,
    list_requests,
)
from pipeline_assets.control.run_tags import (
    LANE,
    MAX_RUNTIME,
    PARTITION_RANGE_END,
    PARTITION_RANGE_START,
    REQUEST_ID,
)
from pipeline_assets.control.targets import (
    AllBrands,
    all_brands_id,
    organization_of,
    read_target,
)
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, dataset_status, requests

JOB, DATASET = "template_approval", "template_approvals"
EVERYBODY = "*default"
DOWN = Failure("SourceUnavailableError", "It did not answer.", retry_after_seconds=1200.0)
BUG = Failure("KeyError", "'x'")
GONE = Failure("InvalidConfigError", "It has no templates source.")
THREE = ("one", "three", "two")  # by id


@pytest.fixture(autouse=True)
def brands_with_templates(loop: Any) -> None:
    """one, two, three with templates; acme, globex and bare without; theirs is another's."""
    for brand_id in (*THREE, "theirs"):
        data = {
            "id": brand_id,
            "name": brand_id,
            "timezone": "Asia/Tokyo",
            "organization_id": "other" if brand_id == "theirs" else "default",
            "sources": {"templates": {"search_terms": ["shoes"]}},
        }
        add_brand(loop.engine, parse_brand(data), actor="test", now=loop.now)


def wish(loop: Any, **more: Any) -> Any:
    return loop.wish(EVERYBODY, JOB, **more)


def choose(loop: Any) -> Any:
    return choose_launches(loop.engine, now=loop.now, slots=10)


def run(
    loop: Any,
    request: Any,
    *,
    fails: Mapping[str, Failure] | None = None,
    brand_ids: tuple[str, ...] = THREE,
    **more: Any,
) -> RunHistory:
    """A run over the brands, of which these fail, as its log says it."""
    fails = fails or {}
    state = RunState.FAILED if fails else RunState.SUCCEEDED
    more = {"job": JOB} | more if request is None else more
    history: RunHistory = loop.run(request, state, brand_ids=brand_ids, **more)
    for brand_id, failure in fails.items():
        step = history.steps[brand_id, DATASET]
        step.materialization, step.failed_at, step.failure = None, loop.now, failure
    return history


def outcomes(loop: Any) -> dict[str, str]:
    with loop.engine.connect() as connection:
        rows = connection.execute(sa.select(dataset_status))
        return {row.brand_id: row.last_attempt_outcome for row in rows}


def test_a_wish_for_all_brands_is_one_request_of_their_organization(loop: Any) -> None:
    request = wish(loop)
    assert (request.brand_id, request.organization_id) == (EVERYBODY, "default")
    assert request.brand_ids is None
    assert wish(loop).id == request.id
    assert loop.wish("*other", JOB).organization_id == "other"
    (entry, *_) = read_audit(loop.engine, organization_ids={"default"}, target=EVERYBODY, limit=9)
    assert (entry.target, entry.request_id) == ("*default:template_approval", request.id)


def test_nobody_sees_another_organizations(loop: Any) -> None:
    request = wish(loop)
    assert list_requests(loop.engine, organization_ids={"other"}) == []
    assert list_active(loop.engine, now=loop.now, organization_ids={"other"}) == []
    assert [each.id for each in list_requests(loop.engine, organization_ids={"default"})] == [
        request.id
    ]
    with pytest.raises(InvalidConfigError, match="no request"):
        get_request(loop.engine, request.id, organization_ids={"other"})
    with pytest.raises(InvalidConfigError, match="no organization 'default'"):
        read_target(loop.engine, EVERYBODY, organization_ids={"other"})
    with pytest.raises(InvalidConfigError, match="no brand 'one'"):
        read_target(loop.engine, "one", organization_ids={"other"})


def test_a_target_is_one_brand_or_all_of_one_organization(loop: Any) -> None:
    assert read_target(loop.engine, "one") == get_brand(loop.engine, "one")
    everybody = read_target(loop.engine, EVERYBODY, organization_ids={"default"})
    assert isinstance(everybody, AllBrands)
    assert (everybody.id, everybody.timezone) == (EVERYBODY, "Asia/Tokyo")
    assert {brand.id for brand in everybody.brands} == {*THREE, "acme", "globex", "bare"}
    assert all_brands_id("default") == EVERYBODY
    assert [organization_of(each) for each in (EVERYBODY, "*", "acme")] == ["default", None, None]


@pytest.mark.parametrize(
    ("target", "job", "said"),
    [
        ("*nowhere", JOB, "There is no organization 'nowhere'."),
        (EVERYBODY, "meta_sync", "meta_sync does one brand in a run, not all of organization"),
        ("*empty", JOB, "No brand of organization empty has the source templates"),
        ("acme", JOB, "Brand acme has no source templates"),
    ],
)
def test_a_wish_that_cannot_be_carried_out_is_refused(
    loop: Any, target: str, job: str, said: str
) -> None:
    empty = parse_organization({"id": "empty", "name": "Empty"})
    add_organization(loop.engine, empty, actor="test", now=loop.now)
    with pytest.raises(InvalidConfigError) as refused:
        loop.wish(target, job)
    assert str(refused.value).startswith(said)
    assert loop.all() == []


def test_a_run_takes_the_active_configured_brands_and_says_which_it_leaves_out(loop: Any) -> None:
    pause_brand(loop.engine, "two", reason="a relaunch", actor="cli:bob", now=loop.now)
    request = wish(loop)
    (launch,) = choose(loop).launches
    assert (launch.is_across, launch.brand_ids) == (True, ("one", "three"))
    assert launch.run_config == {
        "ops": {
            DATASET: {
                "config": {
                    "brands": ["one", "three"],
                    "left_out": {"two": "it is paused: a relaunch"},
                }
            }
        }
    }
    assert launch.tags[LANE] == "*default:template_approval"
    assert launch.tags[MAX_RUNTIME] == "1800"
    progress = read_progress(loop.engine, request.id, now=loop.now)
    assert progress.left_out == {"two": "it is paused: a relaunch"}
    assert launch.tags[REQUEST_ID] == request.id


def test_when_every_brand_is_paused_the_request_ends_and_says_so(loop: Any) -> None:
    for brand_id in THREE:
        pause_brand(loop.engine, brand_id, reason="a relaunch", actor="cli:bob", now=loop.now)
    request = wish(loop)
    assert choose(loop).rejected_count == 1
    ended = loop.see(request)
    assert (ended.state, ended.error_class) == (RequestState.FAILED, "InvalidConfigError")
    assert "one, three, two paused" in ended.error_message


def test_one_brands_trouble_is_its_own_and_is_tried_again_alone(loop: Any) -> None:
    request = wish(loop, reason="the queue is long")
    loop.apply(run(loop, request, fails={"two": DOWN}))
    assert outcomes(loop) == {"one": "succeeded", "two": "failed", "three": "succeeded"}
    ended = loop.see(request)
    assert (ended.state, ended.outcomes) == (RequestState.PARTIAL, {DATASET: "partial"})
    assert ended.records == 20
    assert ended.error_class == "SourceUnavailableError"
    assert ended.error_message == "1 of 3 brands, first two: It did not answer."
    (retry,) = loop.all(retry_of=request.id)
    assert (retry.brand_id, retry.brand_ids) == (EVERYBODY, ("two",))
    assert (retry.organization_id, retry.job, retry.datasets) == ("default", JOB, None)
    assert retry.not_before - loop.now >= timedelta(seconds=1200)
    loop.now = retry.not_before
    (launch,) = choose(loop).launches
    assert launch.brand_ids == ("two",)


def test_what_was_done_by_the_retry_makes_the_whole_a_success(loop: Any) -> None:
    request = wish(loop)
    loop.apply(run(loop, request, fails={"two": DOWN}))
    (retry,) = loop.all(retry_of=request.id)
    loop.now = retry.not_before
    loop.apply(run(loop, retry, brand_ids=("two",)))
    (chain,) = read_history(loop.engine, organization_ids={"default"})
    assert (chain.state, chain.outcomes) == (RequestState.SUCCEEDED, {DATASET: "succeeded"})
    assert (chain.records, chain.error_class) == (30, None)
    assert read_history(loop.engine, organization_ids={"other"}) == []


def test_what_the_retries_cannot_mend_leaves_the_whole_partial(loop: Any) -> None:
    request = wish(loop)
    loop.apply(run(loop, request, fails={"two": DOWN, "one": DOWN}))
    (retry,) = loop.all(retry_of=request.id)
    assert retry.brand_ids == ("one", "two")
    loop.now = retry.not_before
    loop.apply(run(loop, retry, brand_ids=("one", "two"), fails={"two": GONE, "one": GONE}))
    assert loop.see(retry).state is RequestState.FAILED
    assert loop.all(retry_of=retry.id) == []  # a person has to act
    (chain,) = read_history(loop.engine)
    assert (chain.state, chain.outcomes) == (RequestState.PARTIAL, {DATASET: "partial"})
    assert chain.error_class == "InvalidConfigError"
    assert chain.error_message == "2 of 2 brands, first one: It has no templates source."
    found = read_history(loop.engine, states={RequestState.PARTIAL})
    assert [each.chain_id for each in found] == [request.id]


def test_only_brands_whose_trouble_may_pass_are_tried_again(loop: Any) -> None:
    request = wish(loop)
    loop.apply(run(loop, request, fails={"one": GONE, "two": BUG, "three": DOWN}))
    assert loop.see(request).state is RequestState.FAILED
    (retry,) = loop.all(retry_of=request.id)
    assert retry.brand_ids == ("three", "two")


def test_applying_a_run_twice_changes_nothing(loop: Any) -> None:
    request = wish(loop)
    history = run(loop, request, fails={"two": DOWN})
    loop.apply(history)
    before = loop.tables()
    loop.apply(history)
    loop.apply(replace(history))
    assert loop.tables() == before


def test_a_wish_that_joins_the_waiting_retry_makes_it_whole_again(loop: Any) -> None:
    request = wish(loop)
    loop.apply(run(loop, request, fails={"two": DOWN}))
    (retry,) = loop.all(retry_of=request.id)
    joined = wish(loop)
    assert (joined.id, joined.brand_ids) == (retry.id, None)
    assert joined.not_before == loop.now
    assert choose(loop).launches[0].brand_ids == THREE


def test_a_worker_that_died_in_the_middle_leaves_what_it_had_done(loop: Any) -> None:
    request = wish(loop)
    history = run(loop, request, fails={"two": DOWN})
    step = history.steps["two", DATASET]
    step.failed_at = step.failure = None
    lost = Failure("WorkerLost", "The worker is gone.")
    loop.apply(replace(history, failure=lost))
    assert outcomes(loop) == {"one": "succeeded", "two": "failed", "three": "succeeded"}
    (retry,) = loop.all(retry_of=request.id)
    assert retry.brand_ids == ("two",)


def test_how_far_it_is_is_told_brand_by_brand(loop: Any) -> None:
    request = wish(loop)
    progress = read_progress(loop.engine, request.id, now=loop.now)
    assert progress.waits_for == "Dagster to start it"
    loop.apply(run(loop, request, fails={"two": DOWN}))
    found = read_progress(loop.engine, request.id, now=loop.now)
    assert [(each.brand_id, each.outcome) for each in found.datasets] == [
        ("one", "succeeded"), ("three", "succeeded"), ("two", "failed"),
    ]  # fmt: skip
    assert found.retry is not None


def test_one_brand_can_be_asked_for_as_well(loop: Any) -> None:
    request = loop.wish("two", JOB)
    (launch,) = choose(loop).launches
    assert (launch.is_across, launch.brand_ids, launch.run_config) == (False, ("two",), {})
    loop.apply(run(loop, request, brand_ids=("two",), fails={"two": DOWN}))
    (retry,) = loop.all(retry_of=request.id)
    assert (retry.brand_id, retry.brand_ids, retry.datasets) == ("two", None, (DATASET,))


def test_a_range_that_a_person_started_in_dagster_belongs_to_its_brands_organization(
    loop: Any,
) -> None:
    history = run(loop, None, brand_ids=("one", "two"), fails={"two": DOWN}, run_id="ui")
    loop.apply(history)
    (adopted,) = loop.all(id="ui")
    assert (adopted.brand_id, adopted.organization_id) == (EVERYBODY, "default")
    assert (adopted.trigger, adopted.brand_ids) == (Trigger.DAGSTER, ("one", "two"))
    assert [each.brand_ids for each in loop.all(retry_of="ui")] == [("two",)]
    both = run(loop, None, brand_ids=("one", "theirs"), fails={"one": DOWN}, run_id="both")
    loop.apply(both)
    (adopted,) = loop.all(id="both")
    assert (adopted.brand_id, adopted.organization_id) == ("*", None)
    assert loop.all(retry_of="both") == []


# ---- cadences


def test_a_cadence_for_all_brands_makes_one_request(loop: Any) -> None:
    made = set_cadence(loop.engine, EVERYBODY, JOB, "daily", actor="cli:alice", now=loop.now)
    everybody = read_target(loop.engine, EVERYBODY)
    preview = preview_cadence(everybody, JOB, "daily", now=loop.now)
    assert (made.cron, made.timezone) == (preview.cron, preview.timezone)
    assert made.timezone == "Asia/Tokyo"
    assert made.next_run_at == preview.ticks[0]
    (entry,) = read_audit(loop.engine, organization_ids={"default"}, target=EVERYBODY, limit=9)
    assert entry.action == "cadence.set"
    for organization, count in (("default", 1), ("other", 0)):
        assert len(list_cadences(loop.engine, organization_ids={organization})) == count
    loop.now = made.next_run_at
    assert store_due(loop.engine, now=loop.now).requested == ("*default:template_approval",)
    (request,) = loop.all()
    assert (request.brand_id, request.organization_id) == (EVERYBODY, "default")
    assert len(choose(loop).launches) == 1


def test_a_brand_that_cannot_be_read_stops_neither_the_others_nor_the_pages(loop: Any) -> None:
    request, own = wish(loop), loop.wish("one", JOB)
    other = loop.wish("acme")
    wrong = {"templates": {"search_terms": ["shoes"], "approve_from": -5}}
    with write_transaction(loop.engine) as connection:
        connection.execute(brands.update().where(brands.c.id == "one").values(sources=wrong))
    found = read_progresses(loop.engine, list_active(loop.engine, now=loop.now), now=loop.now)
    left_out = {each.request.id: each.left_out for each in found}
    assert left_out[request.id] == {
        "one": "it cannot be read, and `pipeline-assets brands list` says why"
    }
    made = choose(loop)
    assert {launch.request_id: launch.brand_ids for launch in made.launches} == {
        request.id: ("three", "two"),
        other.id: ("acme",),
    }
    assert made.rejected_count == 1
    ended = loop.see(own)
    assert ended.state is RequestState.FAILED
    assert ended.error_message.startswith("Brand one: sources.templates.approve_from is -5: input")
    assert "brands apply FILE" in ended.advice


def test_what_has_ended_leaves_nobody_out_while_its_next_try_does(loop: Any) -> None:
    first = wish(loop)
    loop.apply(run(loop, first, fails=dict.fromkeys(("one", "two"), DOWN)))
    (retry,) = loop.all(trigger="retry")
    pause_brand(loop.engine, "two", reason="a relaunch", actor="cli:bob", now=loop.now)
    found = read_progresses(loop.engine, [loop.see(first), retry], now=loop.now)
    assert [each.left_out for each in found] == [{}, {"two": "it is paused: a relaunch"}]


def test_a_tick_without_any_brand_to_work_on_says_so(loop: Any) -> None:
    made = set_cadence(loop.engine, EVERYBODY, JOB, "daily", actor="cli:alice", now=loop.now)
    with write_transaction(loop.engine) as connection:  # one that cannot be read harms no other
        connection.execute(brands.update().where(brands.c.id == "one").values(timezone="No/Zone"))
    for brand_id in ("two", "three"):
        pause_brand(loop.engine, brand_id, reason="a relaunch", actor="cli:bob", now=loop.now)
    summary = store_due(loop.engine, now=made.next_run_at)
    assert summary.requested == ()
    (said,) = summary.skipped.values()
    assert said == (
        "refused: Organization default has no brand that template_approval could work on now"
        " (three, two paused; one not to be read)."
    )


def test_a_cadence_for_all_brands_can_be_paused_and_wants_a_job_that_does_all(loop: Any) -> None:
    with pytest.raises(InvalidConfigError, match="does one brand in a run"):
        set_cadence(loop.engine, EVERYBODY, "meta_sync", "daily", actor="a", now=loop.now)
    with pytest.raises(InvalidConfigError, match="an IANA time zone"):
        set_cadence(
            loop.engine, EVERYBODY, JOB, "daily", timezone="No/Zone", actor="a", now=loop.now
        )
    set_cadence(loop.engine, EVERYBODY, JOB, "daily", timezone="UTC", actor="a", now=loop.now)
    paused = pause_cadence(loop.engine, EVERYBODY, JOB, reason="too many", actor="a", now=loop.now)
    assert (paused.timezone, paused.paused_reason) == ("UTC", "too many")


# ---- a beat of the sensor


def test_the_sensor_asks_for_the_shortest_range_that_holds_the_brands(loop: Any, beat: Any) -> None:
    wish(loop)
    with write_transaction(loop.engine) as connection:  # the sensor asks the real clock
        connection.execute(requests.update().values(not_before=loop.now.replace(year=2020)))
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme", "two", "theirs", "one"])
        tick = beat(instance)
    (added,) = tick.dynamic_partitions_requests or ()
    assert added.partition_keys == ["three"]
    (asked,) = tick.run_requests or ()
    assert asked.partition_key is None
    assert asked.tags[PARTITION_RANGE_START] == "two"
    assert asked.tags[PARTITION_RANGE_END] == "three"


def test_new_brands_of_an_organization_share_one_cadence_of_such_a_job(loop: Any) -> None:
    two, one = (get_brand(loop.engine, each) for each in ("two", "one"))
    assert JOB in suggested_cadences(two)
    made = set_suggested_cadences(loop.engine, [two, one], actor="test", now=loop.now)
    assert [each for each in made if each.endswith(JOB)] == [f"{EVERYBODY}:{JOB}"]
    (cadence,) = list_cadences(loop.engine, job=JOB)
    assert (cadence.brand_id, cadence.preset) == (EVERYBODY, "every_6_hours")
