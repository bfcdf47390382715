"""What a new brand's cadences are, and that nothing gets old between two of their ticks."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import Brand, parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.control.cadence_suggestions import (
    set_suggested_cadences,
    suggested_cadences,
)
from pipeline_assets.control.cadence_ticks import Preset, next_tick, preset_cron
from pipeline_assets.control.cadences import list_cadences, set_cadence
from pipeline_assets.datasets import DATASETS, JOBS, Job
from pipeline_assets.storage.audit import read_audit

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
META = {"meta": {"ad_accounts": ["act_1"], "token": "env:X"}}


def brand(brand_id: str = "acme", **fields: object) -> Brand:
    return parse_brand(
        {"id": brand_id, "name": brand_id, "timezone": "Europe/Paris", "sources": META, **fields}
    )


@pytest.mark.parametrize("job", [job for job in JOBS.values() if job.suggested_cadence])
def test_between_two_ticks_no_dataset_gets_old_enough_to_warn(job: Job) -> None:
    cron = preset_cron(Preset(job.suggested_cadence), "acme", job.name)
    ticks = [NOW]
    for _ in range(40):
        ticks.append(next_tick(cron, "Europe/Paris", ticks[-1]))
    longest = max(after - before for before, after in pairwise(ticks[1:]))
    for key in job.datasets:
        allowed = DATASETS[key].warn_after
        assert allowed is None or longest + job.max_runtime < allowed, key


@pytest.mark.parametrize("brand_id", [f"brand-{n}" for n in range(20)])
def test_on_a_monday_what_is_made_of_other_data_comes_after_it(brand_id: str) -> None:
    ticks = {job.name: monday(brand_id, job) for job in JOBS.values() if job.suggested_cadence}
    for job in JOBS.values():
        needed = {above for key in job.datasets for above in DATASETS[key].upstream}
        for other in JOBS.values():
            if job.name in ticks and other.name in ticks and needed & {*other.datasets}:
                assert ticks[other.name][0] < ticks[job.name][-1], (job.name, other.name)


def monday(brand_id: str, job: Job) -> list[datetime]:
    """The ticks of the job's suggested cadence on one Monday."""
    cron, begin = preset_cron(Preset(job.suggested_cadence), brand_id, job.name), MONDAY
    ticks = [next_tick(cron, "UTC", begin)]
    while ticks[-1] < MONDAY + timedelta(days=1):
        ticks.append(next_tick(cron, "UTC", ticks[-1]))
    return ticks[:-1]


def test_every_dataset_is_refreshed_by_some_suggestion() -> None:
    assert {key for job in JOBS.values() if job.suggested_cadence for key in job.datasets} == set(
        DATASETS
    )


def test_a_brand_gets_what_its_sources_allow() -> None:
    assert suggested_cadences(brand(sources={})) == {}
    suggested = suggested_cadences(brand())
    assert suggested["meta_sync"] is Preset.EVERY_6_HOURS
    assert not {"asset_download", "ad_classification", "reddit_research"} & set(suggested)


def test_they_are_stored_once_audited_and_never_in_place_of_somebodys_own(
    engine: sa.Engine,
) -> None:
    acme, bare = brand(), brand("bare", sources={})
    for each in (acme, bare):
        add_brand(engine, each, actor="test", now=NOW)
    set_cadence(engine, "acme", "meta_sync", "hourly", actor="alice", now=NOW)
    added = set_suggested_cadences(engine, [acme, bare], actor="test", now=NOW)
    assert added == sorted(f"acme:{job}" for job in suggested_cadences(acme) if job != "meta_sync")
    assert set_suggested_cadences(engine, [acme, bare], actor="test", now=NOW) == []
    stored = {each.job: each for each in list_cadences(engine)}
    assert stored["meta_sync"].updated_by == "alice"
    assert set(stored) == set(suggested_cadences(acme))
    for each in stored.values():
        assert each.timezone == "Europe/Paris"
        assert each.next_run_at > NOW
    assert {e.target for e in read_audit(engine, limit=99) if e.action == "cadence.set"} == {
        f"acme:{job}" for job in stored
    }


def test_a_source_that_a_brand_gets_later_brings_only_its_own(engine: sa.Engine) -> None:
    acme = brand()
    actor = {"actor": "some/reviews", "token": "env:Y"}
    more = brand(sources={**META, "amazon": {"asins": ["B0ACME0001"], "actor": actor}})
    add_brand(engine, more, actor="test", now=NOW)
    added = set_suggested_cadences(engine, [more], before=[acme], actor="test", now=NOW)
    assert added == ["acme:amazon_review_scrape"], "what nobody wanted of Meta's stays away"
    assert set_suggested_cadences(engine, [more], before=[more], actor="test", now=NOW) == []


def test_a_thousand_brands_do_not_start_in_the_same_minute() -> None:
    crons = [preset_cron(Preset.EVERY_6_HOURS, f"brand-{n}", "meta_sync") for n in range(1000)]
    minutes = Counter(next_tick(cron, "UTC", NOW).minute for cron in crons)
    assert len(minutes) == 60
    assert max(minutes.values()) < 40
