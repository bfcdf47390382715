"""The dataset reddit_posts against the simulated Reddit: good days, bad days, and what is kept."""

import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import apply_brands, get_brand
from pipeline_assets.clock import utcnow
from pipeline_assets.control.projector import project
from pipeline_assets.control.status import DatasetState, read_states
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import REDDIT_POSTS
from pipeline_assets.settings import Settings
from pipeline_assets.simulator.faults import Fault, FaultKind
from pipeline_assets.simulator.reddit import (
    CLIENT_ID,
    CLIENT_SECRET,
    TOKEN_PATH,
    USERNAME,
)
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.sources import reddit
from pipeline_assets.storage.windows import read_rows

EVERYTHING = "e"  # every post of the simulator has an e

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Gather = Callable[..., dg.ExecuteInProcessResult]
Configure = Callable[..., None]


@pytest.fixture
def configure(installation: Installation, engine: sa.Engine, tmp_path: Path) -> Configure:
    """Sets the brand's Reddit source; what is left out is two subreddits and two terms."""
    secret = tmp_path / "reddit_secret"
    secret.write_text(CLIENT_SECRET)

    def apply(**changes: Any) -> None:
        source = {
            "client_id": CLIENT_ID,
            "client_secret": f"file:{secret}",
            "username": USERNAME,
            "subreddits": ["Skin", "coffee"],
            "search_terms": ["serum", "espresso beans"],
            "keep_days": 30,
        }
        brand = get_brand(engine, "acme").model_dump(mode="json", exclude_none=True)
        brand["sources"]["reddit"] = source | changes
        apply_brands(engine, [parse_brand(brand)], actor="test", now=utcnow())

    apply()
    return apply


@pytest.fixture
def gather(
    configure: Configure,
    installation: Installation,
    instance: dg.DagsterInstance,
    simulator: SimulatorServer,
) -> Gather:
    def run(*, haste: float = 100) -> dg.ExecuteInProcessResult:
        settings = Settings(
            **{
                **installation.settings.model_dump(),
                "reddit_url": simulator.url,
                "reddit_login_url": simulator.url,
            }
        )
        worker = Installation(settings, sleep=lambda seconds: time.sleep(seconds / haste))
        job = build_definitions(worker).resolve_job_def("reddit_research")
        return job.execute_in_process(instance=instance, partition_key="acme", raise_on_error=False)

    return run


def rows_of(engine: sa.Engine) -> list[dict[str, Any]]:
    return read_rows(engine, REDDIT_POSTS, brand_id="acme")


def state_of(instance: dg.DagsterInstance, engine: sa.Engine) -> DatasetState:
    project(instance, engine)
    states = read_states(engine, now=utcnow())
    return next(state for state in states if state.dataset == "reddit_posts")


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def failure_of(result: dg.ExecuteInProcessResult) -> dg.Failure:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    return failure


def expected_posts(simulator: SimulatorServer, *terms: str, days: int = 30) -> dict[str, Any]:
    oldest = (utcnow() - timedelta(days=days)).timestamp()
    return {
        post["name"]: post
        for subreddit in ("Skin", "coffee")
        for post in simulator.reddit.posts(subreddit)
        if post["created_utc"] >= oldest
        and any(term in f"{post['title']} {post['selftext']}".casefold() for term in terms)
    }


@BOTH_DATABASES
def test_all_that_the_searches_find_is_stored_with_what_people_say(
    gather: Gather, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    result = gather()
    assert result.success
    rows, expected = rows_of(engine), expected_posts(simulator, "serum", "espresso beans")
    assert [row["post_id"] for row in rows] == sorted(expected)
    assert len(rows) > 10
    for row in rows:
        sent = expected[row["post_id"]]
        assert (row["title"], row["body"] or "") == (sent["title"], sent["selftext"])
        assert (row["score"], row["error"]) == (sent["score"], None)
        assert sent["author"] not in str(row)
    said = {phrase["kind"] for row in rows for phrase in row["phrases"]}
    assert said == {"pain", "desire", "objection", "praise", "question"}
    assert all(check.passed for check in checks_of(result).values())


def test_a_post_found_by_two_terms_is_one_row_that_names_both(
    gather: Gather, configure: Configure, engine: sa.Engine
) -> None:
    configure(search_terms=["serum", EVERYTHING])
    gather()
    matched = {tuple(row["matched_terms"]) for row in rows_of(engine)}
    assert matched == {(EVERYTHING,), (EVERYTHING, "serum")}


@BOTH_DATABASES
def test_a_second_run_reads_the_last_days_only_and_renews_their_votes(
    gather: Gather, configure: Configure, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    configure(search_terms=[EVERYTHING], keep_days=60)
    gather()
    first = {row["post_id"]: row for row in rows_of(engine)}
    assert len(simulator.reddit.calls) == 1 + 2 * 2
    simulator.reddit.calls.clear()
    gather()
    second = {row["post_id"]: row for row in rows_of(engine)}
    assert [call.path for call in simulator.reddit.calls] == [
        TOKEN_PATH,
        "/r/Skin/search",
        "/r/coffee/search",
    ]
    assert set(second) == set(first)
    for post_id, row in second.items():
        assert row["first_seen_at"] == first[post_id]["first_seen_at"]
        assert row["fetched_at"] > first[post_id]["fetched_at"]


def test_a_longer_memory_reads_what_is_older_and_a_shorter_one_forgets(
    gather: Gather, configure: Configure, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    for days in (5, 50, 5):  # 50 days are more than a page of the search
        configure(search_terms=[EVERYTHING], keep_days=days)
        gather()
        assert {row["post_id"] for row in rows_of(engine)} == set(
            expected_posts(simulator, EVERYTHING, days=days)
        )


@BOTH_DATABASES
def test_what_is_no_longer_asked_for_goes(
    gather: Gather, configure: Configure, engine: sa.Engine
) -> None:
    gather()
    configure(subreddits=["skin"], search_terms=["serum"])
    gather()
    rows = rows_of(engine)
    assert {row["subreddit"] for row in rows} == {"skin", "Skin"} & {
        row["subreddit"] for row in rows
    }
    assert {tuple(row["matched_terms"]) for row in rows} == {("serum",)}


@BOTH_DATABASES
def test_text_that_has_been_removed_is_removed_here_too(
    gather: Gather, configure: Configure, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    configure(search_terms=[EVERYTHING])
    gather()
    newest = max((row for row in rows_of(engine) if row["body"]), key=lambda row: row["posted_at"])
    simulator.reddit.gone.add(newest["post_id"])
    gather()
    (row,) = [row for row in rows_of(engine) if row["post_id"] == newest["post_id"]]
    assert (row["body"], row["error"]) == (None, "Its text has been removed from Reddit.")
    assert all(phrase["text"].rstrip("?") in row["title"] for phrase in row["phrases"])


def test_a_private_subreddit_stops_no_other_and_is_named(
    gather: Gather, engine: sa.Engine, instance: dg.DagsterInstance, simulator: SimulatorServer
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_PRIVATE, account="Skin"))
    result = gather()
    assert {row["subreddit"] for row in rows_of(engine)} == {"coffee"}
    state = state_of(instance, engine)
    assert state.last_success_at is None
    assert state.error_class == "AccessError"
    assert state.error_message == "r/Skin cannot be read (HTTP 403: private)."
    assert not checks_of(result)["posts_are_whole"].passed


def test_when_no_subreddit_can_be_read_the_attempt_fails_and_rows_stay(
    gather: Gather, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    gather()
    before = rows_of(engine)
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_BANNED))
    failure = failure_of(gather())
    assert failure.metadata["error_class"].value == "AccessError"
    assert "r/Skin" in str(failure.description)
    assert "r/coffee" in str(failure.description)
    assert rows_of(engine) == before


@BOTH_DATABASES
def test_a_limit_in_the_middle_keeps_what_was_read_and_the_next_run_reads_the_rest(
    gather: Gather,
    configure: Configure,
    engine: sa.Engine,
    instance: dg.DagsterInstance,
    simulator: SimulatorServer,
) -> None:
    configure(search_terms=[EVERYTHING], keep_days=60)
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_LIMIT, account="coffee", seconds=300))
    gather()
    assert {row["subreddit"] for row in rows_of(engine)} == {"Skin"}
    state = state_of(instance, engine)
    assert state.error_class == "RateLimitedError"
    simulator.faults.clear()
    simulator.reddit.calls.clear()
    failure = failure_of(gather())  # the app is blocked, and nobody calls
    assert failure.metadata["error_class"].value == "RateLimitedError"
    assert 200 < float(str(failure.metadata["retry_after_seconds"].value)) <= 300
    assert simulator.reddit.calls == []


@BOTH_DATABASES
def test_an_interrupted_search_is_read_again_to_its_end(
    gather: Gather, configure: Configure, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    configure(subreddits=["Skin"], search_terms=[EVERYTHING], keep_days=60)
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_UNAVAILABLE, after_calls=1, count=4))
    gather()
    assert len(rows_of(engine)) == 100  # its first page
    gather()
    assert len(rows_of(engine)) == len(simulator.reddit.posts("Skin")) > 150


def test_a_changed_schema_fails_the_dataset_and_keeps_what_was_stored(
    gather: Gather, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    gather()
    before = rows_of(engine)
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_CHANGED))
    failure = failure_of(gather())
    assert failure.metadata["error_class"].value == "TooManyBadItemsError"
    assert "created_utc" in str(failure.description)
    assert rows_of(engine) == before


def test_a_search_that_turns_in_circles_is_told_and_read_to_its_end_later(
    gather: Gather,
    configure: Configure,
    simulator: SimulatorServer,
    instance: dg.DagsterInstance,
    engine: sa.Engine,
) -> None:
    configure(subreddits=["Skin"], search_terms=[EVERYTHING, "serum"], keep_days=60)
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_STUCK, account="Skin", count=2))
    assert not checks_of(gather())["post_ids_are_unique_as_sent"].passed
    assert "begins again after 100 posts" in (state_of(instance, engine).error_message or "")
    terms = [term for row in rows_of(engine) for term in row["matched_terms"]]
    assert terms.count(EVERYTHING) == 100
    assert terms.count("serum") > 0, "the other search is read all the same"
    simulator.faults.clear()
    assert gather().success
    assert len(rows_of(engine)) == len(simulator.reddit.posts("Skin")) > 100


def test_posts_that_come_again_on_the_next_page_fail_a_check(
    gather: Gather, configure: Configure, simulator: SimulatorServer
) -> None:
    configure(subreddits=["Skin"], search_terms=[EVERYTHING], keep_days=60)
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_OVERLAP))
    check = checks_of(gather())["post_ids_are_unique_as_sent"]
    assert not check.passed
    assert re.fullmatch(r"\d+ of \d+ posts came twice in one search.", check.description)


def test_a_search_that_finds_more_than_reddit_lists_is_told(
    gather: Gather, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reddit, "MAX_POSTS", 100)
    configure(subreddits=["Skin"], search_terms=[EVERYTHING], keep_days=60)
    (stored,) = gather().asset_materializations_for_node("reddit_posts")
    told = stored.metadata["searches_with_more_than_reddit_lists"].value
    assert told == [f"r/skin: {EVERYTHING}"]


def test_a_term_that_finds_nothing_is_told(gather: Gather, configure: Configure) -> None:
    configure(search_terms=["serum", "left-handed scissors"])
    result = gather()
    assert result.success
    check = checks_of(result)["every_term_finds_posts"]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.description == "Nothing is found for 'left-handed scissors'."


def test_a_subreddit_that_does_not_exist_is_told_and_one_without_posts_is_not(
    gather: Gather, configure: Configure, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    configure(subreddits=["Skin", "says_nothing", "nosuchplace9"])
    gather()
    assert {row["subreddit"] for row in rows_of(engine)} == {"Skin"}
    message = state_of(instance, engine).error_message
    assert message == "r/nosuchplace9 cannot be read (HTTP 404: Not Found)."


def test_refused_credentials_say_what_to_do_and_show_no_secret(
    gather: Gather, simulator: SimulatorServer, instance: dg.DagsterInstance
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_TOKEN_REFUSED))
    result = gather()
    failure = failure_of(result)
    assert failure.metadata["error_class"].value == "CredentialError"
    assert "client_secret" in str(failure.metadata["advice"].value)
    records = instance.all_logs(result.run_id)
    assert CLIENT_SECRET not in str(records)


def test_a_brand_without_reddit_says_how_to_add_it(gather: Gather, engine: sa.Engine) -> None:
    brand = get_brand(engine, "acme").model_dump(mode="json", exclude_none=True)
    del brand["sources"]["reddit"]
    apply_brands(engine, [parse_brand(brand)], actor="test", now=utcnow())
    failure = failure_of(gather())
    assert failure.metadata["error_class"].value == "InvalidConfigError"
