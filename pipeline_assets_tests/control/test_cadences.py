"""Cadences on both databases: set, pause, resume, and what becomes of those that are due."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from time import perf_counter
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.automation.schedules import build_schedules, describe
from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import (
    Organization,
    add_brand,
    add_organization,
    get_brand,
    pause_brand,
)
from pipeline_assets.control import cadences as cadences_module
from pipeline_assets.control.cadence_ticks import Preset, next_tick
from pipeline_assets.control.cadences import (
    Cadence,
    DueSummary,
    list_cadences,
    pause_cadence,
    preview_cadence,
    resume_cadence,
    set_cadence,
    store_due,
    upcoming,
)
from pipeline_assets.control.requests import (
    Request,
    RequestState,
    Trigger,
    Wish,
    list_requests,
    request_sync,
)
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, cadences

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
TICK = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)  # of "30 * * * *"
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
ACTOR = "cli:alice"
META = {"meta": {"ad_accounts": ["act_1"], "token": "env:NOT_SET_ANYWHERE"}}


def add(engine: sa.Engine, brand_id: str, **fields: Any) -> None:
    brand = {"id": brand_id, "name": brand_id, "timezone": "Europe/Paris", "sources": META}
    add_brand(engine, parse_brand(brand | fields), actor=ACTOR, now=NOW)


@pytest.fixture(autouse=True)
def acme(engine: sa.Engine) -> None:
    add(engine, "acme")


def set_(engine: sa.Engine, cadence: str = "30 * * * *", **more: Any) -> Cadence:
    given = {"brand_id": "acme", "job": "meta_sync", "actor": ACTOR, "now": NOW} | more
    return set_cadence(engine, cadence=cadence, **given)


def stored(engine: sa.Engine, brand_id: str = "acme") -> Cadence:
    (found,) = list_cadences(engine, brand_id=brand_id)
    return found


def tamper(engine: sa.Engine, whose: str = "acme", /, **values: object) -> None:
    """Write what no function of ours would."""
    with write_transaction(engine) as connection:
        connection.execute(cadences.update().where(cadences.c.brand_id == whose).values(**values))


def all_requests(engine: sa.Engine) -> list[Request]:
    return list_requests(engine, is_archived=None, limit=5000)


def end_requests(engine: sa.Engine) -> None:
    with write_transaction(engine) as connection:
        connection.execute(sa.text("UPDATE requests SET state = 'succeeded'"))


def test_a_cadence_is_kept_with_its_next_tick_after_now_and_starts_no_run(
    engine: sa.Engine,
) -> None:
    made = set_(engine)
    assert made == Cadence(
        brand_id="acme",
        job="meta_sync",
        cron="30 * * * *",
        timezone="Europe/Paris",
        next_run_at=TICK,
        checked_at=NOW,
        last_tick_at=None,
        last_tick_result=None,
        last_request_id=None,
        paused_at=None,
        paused_reason=None,
        paused_until=None,
        updated_at=NOW,
        updated_by=ACTOR,
    )
    assert (made.preset, made.in_words) == (None, "At minute 30 of every hour (Europe/Paris)")
    assert list_cadences(engine) == [made]
    assert all_requests(engine) == []


def test_a_changed_cadence_starts_no_run_even_when_the_old_one_was_due(engine: sa.Engine) -> None:
    set_(engine)
    changed = set_(engine, "daily", timezone="Asia/Tokyo", now=TICK + HOUR, actor="cli:bob")
    assert changed.preset is Preset.DAILY
    assert changed.in_words.startswith("daily: at 07:")
    assert changed.in_words.endswith(" every day (Asia/Tokyo)")
    assert changed.next_run_at == next_tick(changed.cron, "Asia/Tokyo", TICK + HOUR)
    assert changed.next_run_at.hour == 22  # 07 in Tokyo
    assert (changed.updated_at, changed.updated_by) == (TICK + HOUR, "cli:bob")
    assert store_due(engine, now=TICK + HOUR) == DueSummary()
    assert list_cadences(engine) == [changed]


def test_each_change_stands_in_the_audit_log(engine: sa.Engine) -> None:
    until = NOW + HOUR
    set_(engine)
    set_(engine, "45 * * * *", now=NOW + SECOND)
    pause_cadence(
        engine,
        "acme",
        "meta_sync",
        reason="sold",
        until=until,
        actor="cli:bob",
        now=NOW + SECOND * 2,
    )
    resume_cadence(engine, "acme", "meta_sync", actor=ACTOR, now=NOW + SECOND * 3)
    resume_cadence(engine, "acme", "meta_sync", actor=ACTOR, now=NOW + SECOND * 4)  # no change
    entries = read_audit(engine, target="acme:meta_sync", limit=10)[::-1]
    assert [(entry.at - NOW, entry.actor, entry.action) for entry in entries] == [
        (SECOND * 0, ACTOR, "cadence.set"),
        (SECOND * 1, ACTOR, "cadence.set"),
        (SECOND * 2, "cli:bob", "cadence.pause"),
        (SECOND * 3, ACTOR, "cadence.resume"),
    ]
    assert {entry.organization_id for entry in entries} == {"default"}
    paris = {"timezone": "Europe/Paris"}
    assert entries[0].detail == {"cron": "30 * * * *", **paris, "was": None}
    assert entries[1].detail["was"] == {"cron": "30 * * * *", **paris}
    assert entries[2].detail["reason"] == "sold"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"brand_id": "acmee"}, "There is no brand 'acmee'"),
        ({"job": "meta_synk"}, "There is no job 'meta_synk'"),
        ({"job": "reddit_research"}, "has no source reddit"),
        ({"brand_id": "bare"}, "Brand bare has no source meta"),
        ({"timezone": "Europe/Pari"}, "an IANA time zone such as Europe/Paris"),
        ({"cadence": "*/2 * * * *"}, "has ticks 2 min apart"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_stored(
    engine: sa.Engine, given: dict[str, str], problem: str
) -> None:
    add(engine, "bare", sources={})
    with pytest.raises(InvalidConfigError, match=problem):
        set_(engine, **given)
    assert list_cadences(engine) == []
    assert read_audit(engine, target="acme:meta_sync", limit=1) == []


def test_cadences_are_found_by_organization_brand_and_job(engine: sa.Engine) -> None:
    add_organization(engine, Organization(id="agency", name="Agency"), actor=ACTOR, now=NOW)
    add(engine, "globex", organization_id="agency")
    for brand_id, job in (
        ("globex", "meta_sync"),
        ("acme", "meta_sync"),
        ("acme", "asset_download"),
    ):
        set_(engine, brand_id=brand_id, job=job)

    def found(**filters: str) -> list[str]:
        return [cadence.target for cadence in list_cadences(engine, **filters)]

    assert found() == ["acme:asset_download", "acme:meta_sync", "globex:meta_sync"]
    assert found(organization_ids=["agency"]) == ["globex:meta_sync"]
    assert found(brand_id="acme", job="meta_sync") == ["acme:meta_sync"]
    assert found(organization_ids=["agency"], brand_id="acme") == []


def test_upcoming_times_come_after_now_and_are_none_for_a_broken_cadence(engine: sa.Engine) -> None:
    cadence = set_(engine)
    assert upcoming(cadence, TICK, 3) == [TICK + HOUR, TICK + HOUR * 2, TICK + HOUR * 3]
    tamper(engine, timezone="Atlantis/Capital")
    assert upcoming(stored(engine), TICK, 3) == []


@pytest.mark.parametrize("late", [timedelta(), SECOND, timedelta(days=1)])
def test_a_due_cadence_makes_one_request_however_late_and_moves_on(
    engine: sa.Engine, late: timedelta
) -> None:
    set_(engine)
    assert store_due(engine, now=TICK - SECOND) == DueSummary()
    now = TICK + late
    assert store_due(engine, now=now) == DueSummary(requested=("acme:meta_sync",))
    assert store_due(engine, now=now) == DueSummary()

    (request,) = all_requests(engine)
    assert (request.brand_id, request.job, request.organization_id) == (
        "acme",
        "meta_sync",
        "default",
    )
    assert (request.trigger, request.requested_by) == (Trigger.SCHEDULE, "schedule")
    assert request.reason == "At minute 30 of every hour (Europe/Paris)"
    assert (request.state, request.requested_at) == (RequestState.QUEUED, now)
    cadence = stored(engine)
    assert cadence.next_run_at == TICK + HOUR + late - late % HOUR
    assert (cadence.checked_at, cadence.last_tick_at) == (now, TICK)
    assert (cadence.last_tick_result, cadence.last_request_id) == ("requested", request.id)
    assert (cadence.updated_at, cadence.updated_by) == (NOW, ACTOR)


def test_a_tick_joins_the_request_that_is_active(engine: sa.Engine) -> None:
    set_(engine)
    wish = Wish(brand_id="acme", job="meta_sync", trigger=Trigger.MANUAL, requested_by=ACTOR)
    request, _ = request_sync(engine, wish, now=NOW)
    assert store_due(engine, now=TICK) == DueSummary(joined=("acme:meta_sync",))
    assert [each.id for each in all_requests(engine)] == [request.id]
    assert stored(engine).last_tick_result == f"joined request {request.id}"
    assert stored(engine).last_request_id == request.id


def test_a_paused_cadence_lets_its_ticks_pass_and_says_why(engine: sa.Engine) -> None:
    set_(engine)
    paused = pause_cadence(
        engine, "acme", "meta_sync", reason="no budget", until=TICK + HOUR, actor=ACTOR, now=NOW
    )
    assert (paused.paused_at, paused.paused_reason, paused.paused_until) == (
        NOW,
        "no budget",
        TICK + HOUR,
    )
    assert paused.next_run_at == TICK
    reason = {"acme:meta_sync": "paused: no budget"}
    assert store_due(engine, now=TICK) == DueSummary(skipped=reason)
    cadence = stored(engine)
    assert (cadence.last_tick_at, cadence.last_tick_result) == (TICK, "paused: no budget")
    assert cadence.next_run_at == TICK + HOUR
    assert cadence.paused_reason == "no budget"

    assert store_due(engine, now=TICK + HOUR).requested == ("acme:meta_sync",)  # it is over
    cadence = stored(engine)
    assert (cadence.paused_at, cadence.paused_reason, cadence.paused_until) == (None, None, None)


def test_a_paused_brand_takes_no_request_from_a_cadence(engine: sa.Engine) -> None:
    set_(engine)
    pause_brand(engine, "acme", reason="sold", until=TICK + HOUR, actor=ACTOR, now=NOW)
    reason = {"acme:meta_sync": "paused with its brand: sold"}
    assert store_due(engine, now=TICK) == DueSummary(skipped=reason)
    assert all_requests(engine) == []
    assert store_due(engine, now=TICK + HOUR).requested == ("acme:meta_sync",)


def test_a_resumed_cadence_starts_no_run_at_once(engine: sa.Engine) -> None:
    set_(engine)
    pause_cadence(engine, "acme", "meta_sync", reason="x", actor=ACTOR, now=NOW)
    later = TICK + timedelta(days=3)  # nothing has looked at it meanwhile
    resumed = resume_cadence(engine, "acme", "meta_sync", actor="cli:bob", now=later)
    assert (resumed.paused_at, resumed.paused_reason, resumed.paused_until) == (None, None, None)
    assert (resumed.next_run_at, resumed.checked_at) == (later + HOUR, later)
    assert store_due(engine, now=later) == DueSummary()


def test_a_change_does_not_end_a_pause(engine: sa.Engine) -> None:
    set_(engine)
    pause_cadence(engine, "acme", "meta_sync", reason="x", actor=ACTOR, now=NOW)
    assert set_(engine, "45 * * * *").paused_reason == "x"


def test_pauses_that_make_no_sense_are_refused(engine: sa.Engine) -> None:
    with pytest.raises(InvalidConfigError, match="no cadence of meta_sync for brand acme"):
        pause_cadence(engine, "acme", "meta_sync", reason="x", actor=ACTOR, now=NOW)
    with pytest.raises(InvalidConfigError, match="no cadence of meta_sync for brand acme"):
        resume_cadence(engine, "acme", "meta_sync", actor=ACTOR, now=NOW)
    set_(engine)
    with pytest.raises(InvalidConfigError, match="that is over"):
        pause_cadence(engine, "acme", "meta_sync", reason="x", until=NOW, actor=ACTOR, now=NOW)
    with pytest.raises(InvalidConfigError, match="reason is empty"):
        pause_cadence(engine, "acme", "meta_sync", reason=" ", actor=ACTOR, now=NOW)
    assert stored(engine).paused_at is None


def test_a_clock_set_back_doubles_no_tick(engine: sa.Engine) -> None:
    set_(engine)
    store_due(engine, now=TICK)
    end_requests(engine)
    for back in (SECOND, timedelta(minutes=30), HOUR):
        assert store_due(engine, now=TICK - back) == DueSummary()
    assert store_due(engine, now=TICK + HOUR - SECOND) == DueSummary()
    assert store_due(engine, now=TICK + HOUR).requested == ("acme:meta_sync",)


def test_a_clock_that_was_far_ahead_holds_nothing_up(engine: sa.Engine) -> None:
    set_(engine)
    ahead = TICK + timedelta(days=365)
    store_due(engine, now=ahead)
    end_requests(engine)
    assert stored(engine).next_run_at == ahead + HOUR
    summary = store_due(engine, now=TICK)
    assert summary == DueSummary(realigned=("acme:meta_sync",))
    cadence = stored(engine)
    assert (cadence.next_run_at, cadence.checked_at) == (TICK + HOUR, TICK)
    assert cadence.last_tick_result == "requested"
    assert len(all_requests(engine)) == 1
    assert store_due(engine, now=TICK + HOUR).requested == ("acme:meta_sync",)


@pytest.mark.parametrize(
    ("broken", "said", "wait"),
    [
        ({"cron": "rubbish"}, "broken: 'rubbish' is no cadence.", HOUR),
        ({"timezone": "Atlantis/X"}, "broken: There is no time zone 'Atlantis/X'.", HOUR),
        ({"brand_id": "gone"}, "refused: There is no brand 'gone'.", timedelta(days=1)),
        ({"job": "meta_sync_2"}, "refused: There is no job 'meta_sync_2'.", timedelta(days=1)),
    ],
)
def test_a_broken_cadence_says_so_and_holds_up_no_other(
    engine: sa.Engine, broken: dict[str, str], said: str, wait: timedelta
) -> None:
    add(engine, "globex")
    for brand_id in ("acme", "globex"):
        set_(engine, "30 13 * * *", brand_id=brand_id)  # TICK, each day
    tamper(engine, **broken)
    summary = store_due(engine, now=TICK)
    assert summary.requested == ("globex:meta_sync",)
    assert list(summary.skipped.values()) == [said]
    (harmed,) = [each for each in list_cadences(engine) if each.brand_id != "globex"]
    assert harmed.last_tick_result == said
    assert harmed.next_run_at == TICK + wait
    assert harmed.as_row()["in_words"]  # it can still be shown


def test_a_brand_whose_row_cannot_be_read_or_has_lost_its_source_holds_up_no_other(
    engine: sa.Engine,
) -> None:
    for brand_id in ("bad", "bare", "globex"):
        add(engine, brand_id)
        set_(engine, brand_id=brand_id)
    with write_transaction(engine) as connection:
        row = brands.update()
        connection.execute(row.where(brands.c.id == "bad").values(timezone="Atlantis/X"))
        connection.execute(row.where(brands.c.id == "bare").values(sources={}))
    summary = store_due(engine, now=TICK)
    assert summary.requested == ("globex:meta_sync",)
    assert summary.skipped["bad:meta_sync"].startswith("refused: Brand bad: timezone is")
    assert summary.skipped["bare:meta_sync"].startswith("refused: Brand bare has no source meta")
    assert stored(engine, "bare").next_run_at == TICK + HOUR


def many(engine: sa.Engine, count: int) -> None:
    """This many brands, `b0000` …, each with a cadence that is due at TICK."""
    ids = [f"b{number:04}" for number in range(count)]
    with write_transaction(engine) as connection:
        template = dict(connection.execute(sa.select(brands)).mappings().one())
        connection.execute(sa.insert(brands), [template | {"id": each} for each in ids])
        row = {"job": "meta_sync", "cron": "30 * * * *", "timezone": "America/New_York"}
        row |= {"next_run_at": TICK, "checked_at": NOW, "updated_at": NOW, "updated_by": ACTOR}
        connection.execute(sa.insert(cadences), [row | {"brand_id": each} for each in ids])


def test_several_schedulers_at_once_take_each_tick_once(engine: sa.Engine) -> None:
    many(engine, 100)
    together = Barrier(4)

    def beat(_: int) -> list[DueSummary]:
        together.wait()
        return [store_due(engine, now=TICK) for _ in range(3)]

    with ThreadPoolExecutor(4) as pool:
        summaries = [each for beats in pool.map(beat, range(4)) for each in beats]
    requested = [target for summary in summaries for target in summary.requested]
    assert sorted(requested) == [f"b{number:04}:meta_sync" for number in range(100)]
    # A tick taken twice would have joined the request of the first.
    assert [summary.joined for summary in summaries] == [()] * 12
    assert {cadence.next_run_at for cadence in list_cadences(engine)} == {TICK + HOUR}


def test_a_failure_in_the_middle_leaves_every_tick_for_the_next_beat(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(engine, 3)

    def fail(*_: Any) -> None:
        raise RuntimeError("the power goes off")

    monkeypatch.setattr(cadences_module, "_write_ticks", fail)  # the requests are stored by then
    with pytest.raises(RuntimeError, match="power"):
        store_due(engine, now=TICK)
    assert all_requests(engine) == []
    assert {cadence.next_run_at for cadence in list_cadences(engine)} == {TICK}
    monkeypatch.undo()
    assert len(store_due(engine, now=TICK).requested) == 3


def test_one_call_takes_a_bounded_number_the_longest_due_first(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(engine, 5)
    tamper(engine, "b0003", next_run_at=TICK - HOUR)
    monkeypatch.setattr(cadences_module, "MAX_DUE_AT_ONCE", 1)
    assert store_due(engine, now=TICK).requested == ("b0003:meta_sync",)
    monkeypatch.setattr(cadences_module, "MAX_DUE_AT_ONCE", 3)
    assert len(store_due(engine, now=TICK).requested) == 3
    assert len(store_due(engine, now=TICK).requested) == 1
    assert len(all_requests(engine)) == 5


def test_a_thousand_due_at_once_are_no_long_work(engine: sa.Engine) -> None:
    many(engine, 1000)
    started = perf_counter()
    assert len(store_due(engine, now=TICK).requested) == 1000
    due = perf_counter() - started
    started = perf_counter()
    assert store_due(engine, now=TICK) == DueSummary()
    nothing_due = perf_counter() - started
    assert due < 10  # 2 s on an idle machine; a beat may last a minute
    assert nothing_due < 1


@pytest.fixture
def installation(database_url: str) -> Installation:
    return Installation(Settings(database_url=database_url))


def test_the_schedule_stores_what_is_due_and_starts_nothing_itself(
    engine: sa.Engine, installation: Installation
) -> None:
    set_(engine, now=NOW - HOUR)  # long ago by the real clock or not: then due at once
    tamper(engine, next_run_at=NOW - timedelta(days=3650), checked_at=NOW - timedelta(days=3651))
    (schedule,) = build_schedules()
    with dg.build_schedule_context(resources={"installation": installation}) as context:
        tick = schedule.evaluate_tick(context)
    assert not tick.run_requests
    assert tick.skip_message == "1 requested."
    assert [request.brand_id for request in all_requests(engine)] == ["acme"]
    with dg.build_schedule_context(resources={"installation": installation}) as context:
        assert schedule.evaluate_tick(context).skip_message == "No cadence is due."


def test_the_schedule_beats_each_minute_without_anybody_turning_it_on() -> None:
    (schedule,) = build_schedules()
    assert (schedule.name, schedule.cron_schedule) == ("cadences", "* * * * *")
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_beats_text_counts_everything_and_stays_short() -> None:
    assert describe(DueSummary()) == "No cadence is due."
    summary = DueSummary(
        requested=("a:x", "b:x"),
        joined=("c:x",),
        skipped={"d:x": "paused: sold"},
        realigned=("e:x",),
    )
    assert describe(summary) == (
        "2 requested, 1 joined a request that is active, 1 moved back from a clock that was far "
        "ahead, 1 skipped: d:x (paused: sold)."
    )
    crowd = DueSummary(skipped={f"b{number}:x": "paused: sold" for number in range(1000)})
    assert describe(crowd).startswith("1000 skipped: b0:x (paused: sold), ")
    assert len(describe(crowd)) < 300


def test_a_preview_is_what_would_be_stored_and_stores_nothing(engine: sa.Engine) -> None:
    brand = get_brand(engine, "acme")
    preview = preview_cadence(brand, "meta_sync", "30 2 * * *", now=NOW)
    assert list_cadences(engine) == []
    stored = set_cadence(engine, "acme", "meta_sync", "30 2 * * *", actor=ACTOR, now=NOW)
    assert (preview.cron, preview.timezone) == (stored.cron, stored.timezone)
    assert preview.in_words == stored.in_words == "At 02:30 every day (Europe/Paris)"
    assert list(preview.ticks) == upcoming(stored, NOW, 3)
    assert preview.local_times[0] == "Sun 2026-11-22 02:30 CET"
    assert "On 2027-03-28" in preview.clock_warning
    elsewhere = preview_cadence(brand, "meta_sync", "daily", timezone="UTC", now=NOW, count=1)
    assert elsewhere.in_words.endswith(" every day (UTC)")
    assert (len(elsewhere.ticks), elsewhere.clock_warning) == (1, "")


@pytest.mark.parametrize(
    ("job", "cadence", "timezone"),
    [
        ("no_job", "daily", None),
        ("meta_sync", "never", None),
        ("meta_sync", "daily", "Moon/Base"),
    ],
)
def test_a_preview_of_what_cannot_be_is_refused(
    engine: sa.Engine, job: str, cadence: str, timezone: str | None
) -> None:
    with pytest.raises(InvalidConfigError):
        preview_cadence(get_brand(engine, "acme"), job, cadence, timezone=timezone, now=NOW)
