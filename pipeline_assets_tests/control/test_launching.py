"""Which requests start, in which order, as which runs; and a beat of the real sensor."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.assets.attempt import ROW_COUNT_CHECK
from pipeline_assets.assets.media_rows import STORE_CHECK
from pipeline_assets.brands.registry import pause_brand, resume_brand
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.control.dagster_log import Failure, RunState
from pipeline_assets.control.launching import Launch, Launches, choose_launches
from pipeline_assets.control.requests import RequestState, Trigger, cancel_request
from pipeline_assets.control.resyncs import get_resync, start_resync
from pipeline_assets.control.run_tags import LANE, MAX_RUNTIME, REQUEST_ID
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, rate_budgets, requests

PERFORMANCE = "meta_ads_performance"
DOWN = Failure("SourceUnavailableError", "Meta did not answer.")
MINUTE = timedelta(minutes=1)
WINDOW = (date(2026, 1, 5), date(2026, 2, 1))


def choose(loop: Any, slots: int = 10) -> Launches:
    return choose_launches(loop.engine, now=loop.now, slots=slots)


def ids(launches: Sequence[Launch]) -> list[str]:
    return [launch.request_id for launch in launches]


def only(launches: Launches) -> Launch:
    (launch,) = launches.launches
    return launch


def schedule(loop: Any, brand_id: str = "acme", job: str = "meta_sync", **more: Any) -> Any:
    return loop.wish(brand_id, job, trigger=Trigger.SCHEDULE, requested_by="schedule", **more)


def resync(loop: Any, brand_id: str = "acme") -> Any:
    since, until = WINDOW
    wanted = {"brand_id": brand_id, "job": "meta_sync", "since": since, "until": until}
    found = start_resync(loop.engine, **wanted, actor="cli:alice", now=loop.now)
    (piece,) = loop.all(resync_id=found.id)
    return piece


def insert(loop: Any, **values: Any) -> str:
    """A request that nobody has checked."""
    (request_id,) = insert_all(loop, [values])
    return request_id


def insert_all(loop: Any, wanted: Sequence[dict[str, Any]]) -> list[str]:
    rows = [row_of(loop) | values for values in wanted]
    with write_transaction(loop.engine) as connection:
        connection.execute(requests.insert(), rows)
    return [row["id"] for row in rows]


def row_of(loop: Any) -> dict[str, Any]:
    request_id = str(uuid4())
    return {
        "id": request_id,
        "brand_id": "acme",
        "job": "meta_sync",
        "state": "queued",
        "trigger": "manual",
        "requested_by": "somebody",
        "reason": "",
        "requested_at": loop.now,
        "not_before": loop.now,
        "priority": 0,
        "attempt": 1,
        "chain_id": request_id,
    }


def add_brands(loop: Any, count: int) -> list[str]:
    """Copies of acme, quickly."""
    names = [f"brand-{number:04}" for number in range(count)]
    with write_transaction(loop.engine) as connection:
        acme = connection.execute(sa.select(brands).where(brands.c.id == "acme")).mappings().one()
        connection.execute(brands.insert(), [dict(acme) | {"id": name} for name in names])
    return names


def use_up(loop: Any, key: str, **values: Any) -> None:
    row = {"key": key, "usage_pct": 0.0, "detail": {}, "reason": "", "updated_at": loop.now}
    with write_transaction(loop.engine) as connection:
        connection.execute(rate_budgets.delete())
        connection.execute(rate_budgets.insert().values(row | values))


def test_people_come_first_then_what_waited_longest_and_resyncs_last(loop: Any) -> None:
    piece = resync(loop, "globex")
    loop.pass_time(minutes=1)
    late = schedule(loop, "globex", "asset_download")
    early = schedule(loop, "globex", "meta_sync", not_before=loop.now - MINUTE)
    failed = schedule(loop, "acme", "asset_download")
    loop.apply(loop.run(failed, RunState.FAILED, fails={"ad_assets": DOWN}))
    (retry,) = loop.all(retry_of=failed.id)
    loop.pass_time(minutes=6)
    person = loop.wish()
    chosen = choose(loop)
    assert ids(chosen.launches) == [person.id, early.id, late.id, retry.id, piece.id]
    assert [launch.tags["dagster/priority"] for launch in chosen.launches] == [
        "10", "0", "0", "0", "-10",
    ]  # fmt: skip


def test_a_request_starts_at_its_time_and_not_before(loop: Any) -> None:
    request = schedule(loop, not_before=loop.now + MINUTE)
    loop.pass_time(seconds=59.999)
    assert choose(loop).launches == []
    loop.pass_time(seconds=0.001)
    assert ids(choose(loop).launches) == [request.id]


def test_a_request_is_told_again_until_its_run_is_there(loop: Any) -> None:
    """A daemon that is killed after it asked asks again; Dagster knows the key."""
    request = loop.wish()
    assert ids(choose(loop).launches) == ids(choose(loop).launches) == [request.id]
    loop.apply(loop.run(request, RunState.WAITING))
    assert choose(loop).launches == []


def test_no_more_start_than_keep_dagster_busy_and_those_with_it_count(loop: Any) -> None:
    names = add_brands(loop, 40)
    requested = [schedule(loop, name) for name in names]
    assert len(choose(loop, slots=10).launches) == 30
    first = choose(loop, slots=10).launches[:12]
    by_id = {request.id: request for request in requested}
    states = [RunState.WAITING, RunState.ACTIVE]
    loop.apply(*(loop.run(by_id[f.request_id], states[i % 2]) for i, f in enumerate(first)))
    assert len(choose(loop, slots=10).launches) == 18
    assert choose(loop, slots=4).launches == []
    assert choose(loop, slots=3).launches == []


def test_what_people_wait_for_starts_also_when_there_is_no_room(loop: Any) -> None:
    names = add_brands(loop, 12)
    loop.apply(*(loop.run(schedule(loop, name), RunState.WAITING) for name in names[:6]))
    person = loop.wish(names[6])
    schedule(loop, names[7])
    assert ids(choose(loop, slots=2).launches) == [person.id]
    assert len(choose(loop, slots=3).launches) == 2


def test_a_paused_brand_holds_what_its_cadence_wants_and_not_what_a_person_wants(
    loop: Any,
) -> None:
    held = schedule(loop)
    other = schedule(loop, "globex")
    person = loop.wish(job="asset_download")
    pause_brand(loop.engine, "acme", reason="Moving.", actor="cli:bob", now=loop.now)
    assert ids(choose(loop).launches) == [person.id, other.id]
    loop.pass_time(days=300)
    assert held.id not in ids(choose(loop).launches)
    resume_brand(loop.engine, "acme", actor="cli:bob", now=loop.now)
    assert held.id in ids(choose(loop).launches)


def test_a_pause_with_an_end_ends_by_itself(loop: Any) -> None:
    held = schedule(loop)
    until = loop.now + 10 * MINUTE
    pause_brand(loop.engine, "acme", reason="Moving.", until=until, actor="cli:bob", now=loop.now)
    loop.pass_time(minutes=9, seconds=59)
    assert choose(loop).launches == []
    loop.pass_time(seconds=1)
    assert ids(choose(loop).launches) == [held.id]


def test_paused_brands_take_nobodys_room(loop: Any) -> None:
    for name in add_brands(loop, 9):
        schedule(loop, name)
        pause_brand(loop.engine, name, reason="Moving.", actor="cli:bob", now=loop.now)
    loop.pass_time(minutes=1)
    request = schedule(loop)
    assert ids(choose(loop, slots=1).launches) == [request.id]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"brand_id": "nobody"}, "no brand 'nobody'"),
        ({"brand_id": "*"}, "no brand '*'"),
        ({"job": "meta_snyc"}, "no job 'meta_snyc'"),
        ({"job": "reddit_research"}, "acme has no source reddit"),
        ({"datasets": ["ad_asets"]}, "'ad_asets' is not a dataset of meta_sync"),
        ({"datasets": []}, "names no dataset"),
        ({"brand_id": "bare"}, "bare has no source meta"),
    ],
)
@pytest.mark.parametrize("priority", [0, 10])
def test_a_request_that_cannot_be_carried_out_fails_and_holds_up_nobody(
    loop: Any, values: dict[str, Any], message: str, priority: int
) -> None:
    bad = insert(loop, **values, priority=priority)
    good = loop.wish("globex")
    loop.pass_time(seconds=5)
    chosen = choose(loop)
    assert ids(chosen.launches) == [good.id]
    assert chosen.rejected_count == 1
    (ended,) = loop.all(id=bad)
    assert (ended.state, ended.finished_at) == (RequestState.FAILED, loop.now)
    assert ended.error_class == "InvalidConfigError"
    assert message in str(ended.error_message)
    assert choose(loop).rejected_count == 0


def test_one_bad_brand_of_a_thousand_leaves_the_other_999_alone(loop: Any) -> None:
    names = add_brands(loop, 1_000)
    with write_transaction(loop.engine) as connection:
        connection.execute(
            brands.update().where(brands.c.id == names[500]).values(sources={"meta": None})
        )
    insert_all(loop, [{"brand_id": name} for name in names])
    chosen = choose(loop, slots=400)
    assert chosen.rejected_count == 1
    assert {launch.brand_ids[0] for launch in chosen.launches} == set(names) - {names[500]}


def test_a_resync_of_a_brand_that_is_gone_fails_with_its_piece(loop: Any) -> None:
    piece = resync(loop)
    with write_transaction(loop.engine) as connection:
        connection.execute(brands.delete().where(brands.c.id == "acme"))
    assert choose(loop).rejected_count == 1
    ended = get_resync(loop.engine, piece.resync_id)
    assert (ended.state, ended.error_class) == ("failed", "InvalidConfigError")


def test_a_run_carries_its_lane_its_request_and_who_wanted_it(loop: Any) -> None:
    request = loop.wish(trigger=Trigger.API, requested_by="token:reporting")
    launch = only(choose(loop))
    assert (launch.job, launch.brand_ids, launch.datasets) == ("meta_sync", ("acme",), None)
    assert launch.run_config == {}
    assert launch.tags == {
        LANE: "acme:meta_sync",
        MAX_RUNTIME: "7200",
        REQUEST_ID: request.id,
        "dagster/priority": "10",
        "pipeline/trigger": "api",
        "pipeline/requested_by": "token:reporting",
    }


def test_a_brands_own_maximum_runtime_counts(loop: Any) -> None:
    loop.add_brand("slow", minutes=300.5, ad_accounts=["act_9"])
    loop.wish("slow")
    assert only(choose(loop)).tags[MAX_RUNTIME] == "18030"


def test_what_stands_in_a_tag_is_never_longer_than_dagsters_index_takes(loop: Any) -> None:
    loop.wish(requested_by="cli:" + "x" * 9_000)
    assert max(len(value) for value in only(choose(loop)).tags.values()) == 200


def test_a_request_for_some_datasets_runs_those(loop: Any) -> None:
    loop.wish(datasets=("ad_assets", "meta_ad_creatives"))
    assert only(choose(loop)).datasets == ("meta_ad_creatives", "ad_assets")


def test_a_window_goes_to_the_datasets_that_have_days_and_to_no_other(loop: Any) -> None:
    since, until = WINDOW
    insert(loop, window_since=since, window_until=until, datasets=[PERFORMANCE, "ad_assets"])
    launch = only(choose(loop))
    config = {"config": {"since": "2026-01-05", "until": "2026-02-01"}}
    assert launch.run_config == {"ops": {PERFORMANCE: config}}


@pytest.mark.parametrize(
    ("key", "values", "holds"),
    [
        ("account:act_1", {"usage_pct": 50.0}, True),
        ("account:act_1", {"usage_pct": 49.9}, False),
        ("account:act_1:ads_insights", {"usage_pct": 50.0}, True),
        ("app:1", {"usage_pct": 80.0}, True),
        ("app:1:calls", {"usage_pct": 80.0}, True),
        ("account:act_11", {"usage_pct": 99.0}, False),
        ("account:act_2", {"usage_pct": 99.0}, False),
        ("app:2", {"usage_pct": 99.0}, False),
        ("app:1", {"blocked_until": 1}, True),
        ("app:1", {"blocked_until": 0}, False),
        ("app:1", {"usage_pct": 80.0, "updated_at": -59}, True),
        ("app:1", {"usage_pct": 80.0, "updated_at": -60}, False),
    ],
)
def test_a_resync_waits_while_a_limit_of_its_accounts_or_app_is_half_used(
    loop: Any, key: str, values: dict[str, Any], holds: bool
) -> None:
    piece = resync(loop)
    today = schedule(loop)
    instants = {
        name: loop.now + values[name] * MINUTE
        for name in ("blocked_until", "updated_at")
        if name in values
    }
    use_up(loop, key, **values | instants)
    assert ids(choose(loop).launches) == [today.id] + [piece.id] * (not holds)
    assert loop.see(piece).state is RequestState.QUEUED


def test_a_brand_without_an_app_of_its_own_shares_the_installations(loop: Any) -> None:
    loop.add_brand("plain", ad_accounts=["act_9"])
    resync(loop, "plain")
    use_up(loop, "app:77", usage_pct=90.0)
    assert len(choose(loop).launches) == 1
    chosen = choose_launches(loop.engine, now=loop.now, slots=10, default_app_id="77")
    assert chosen.launches == []


def test_resyncs_that_are_held_do_not_hold_up_others(loop: Any) -> None:
    for name in add_brands(loop, 5):  # of acme's account
        resync(loop, name)
    loop.pass_time(minutes=1)
    free = resync(loop, "globex")
    use_up(loop, "account:act_1", usage_pct=90.0)
    assert ids(choose(loop, slots=1).launches) == [free.id]


def test_a_cancelled_request_never_starts(loop: Any) -> None:
    request = loop.wish()
    cancel_request(loop.engine, request.id, actor="cli:bob", now=loop.now)
    assert choose(loop).launches == []


def test_after_an_outage_of_five_hundred_brands_the_retries_are_spread_and_come_bit_by_bit(
    loop: Any,
) -> None:
    names = add_brands(loop, 500)
    insert_all(loop, [{"brand_id": name, "trigger": "schedule"} for name in names])
    loop.apply(
        *(
            loop.run(request, RunState.FAILED, fails={PERFORMANCE: DOWN}, datasets=[PERFORMANCE])
            for request in loop.all()
        )
    )
    retries = loop.all(trigger="retry")
    assert {request.brand_id for request in retries} == set(names)
    times = sorted(request.not_before for request in retries)
    assert times[-1] - times[0] >= timedelta(seconds=50)
    assert timedelta(seconds=270) <= times[0] - loop.now
    assert times[-1] - loop.now <= timedelta(seconds=330)
    due_in_any_5_seconds = max(
        sum(start <= other < start + timedelta(seconds=5) for other in times) for start in times
    )
    assert due_in_any_5_seconds < 80  # 42 on average, not 500
    loop.now = times[-1]
    assert len(choose(loop, slots=10).launches) == 30


# ---- a beat of the sensor


def test_a_beat_of_the_sensor_makes_runs_that_dagster_accepts(loop: Any, beat: Any) -> None:
    long_ago = loop.now.replace(year=2020)  # for the sensor, which asks the real clock
    whole = insert(loop, not_before=long_ago, priority=10)
    some = insert(
        loop, brand_id="globex", not_before=long_ago, datasets=["ad_assets"], requested_by="Zoë ☂"
    )
    insert(loop, brand_id="nobody", not_before=long_ago)
    since, until = WINDOW
    piece = insert(
        loop, resync_id="r", not_before=long_ago, priority=-10, datasets=[PERFORMANCE],
        window_since=since, window_until=until,
    )  # fmt: skip
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme"])
        tick = beat(instance)
    by_key = {request.run_key: request for request in tick.run_requests}
    assert list(by_key) == [whole, some, piece]
    (added,) = tick.dynamic_partitions_requests
    assert added.partition_keys == ["globex"]
    assert by_key[whole].job_name == by_key[some].job_name == "meta_sync"
    assert by_key[whole].partition_key == "acme"
    assert by_key[whole].asset_selection is None
    assert by_key[some].asset_selection == [dg.AssetKey("ad_assets")]
    own_checks = {check.name for check in by_key[some].asset_check_keys or ()}
    assert own_checks == {STORE_CHECK, ROW_COUNT_CHECK}, "and not the check `fresh`"
    assert by_key[some].tags["dagster/partition"] == "globex"
    assert by_key[some].tags[REQUEST_ID] == some
    assert by_key[piece].run_config["ops"][PERFORMANCE]["config"]["since"] == "2026-01-05"


def test_a_beat_without_anything_due_says_so(loop: Any, beat: Any) -> None:
    insert(loop, brand_id="nobody", not_before=loop.now.replace(year=2020))
    with dg.instance_for_test() as instance:
        first, second = beat(instance), beat(instance)
    assert first.run_requests == second.run_requests == []
    assert first.skip_message == "No request is to be started. 1 could not be."
    assert second.skip_message == "No request is to be started."
