"""Chains of tries read as one, on both databases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline_assets.control.history import Chain, read_chains, read_history
from pipeline_assets.control.requests import RequestState, Trigger
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_attempts, requests

NOW = datetime(2026, 7, 25, 12, tzinfo=UTC)
PERFORMANCE, CREATIVES, ASSETS = "meta_ads_performance", "meta_ad_creatives", "ad_assets"
OK, BAD, SKIPPED = "succeeded", "failed", "skipped"

Row = dict[str, Any]
Store = Callable[..., str]


@pytest.fixture
def store(engine: sa.Engine) -> Store:
    """`store("a2", chain="a1", minute=7, state=…)`: one request; `failures` are its attempts'."""

    def insert(name: str, *, failures: dict[str, Row] | None = None, **values: Any) -> str:
        minute = values.pop("minute", 0)
        chain = values.pop("chain", name)
        at = NOW + timedelta(minutes=minute)
        is_over = values.get("state", OK) in {"succeeded", "partial", "failed", "cancelled"}
        row = {
            "id": name,
            "chain_id": chain,
            "retry_of": None if chain == name else chain,
            "organization_id": "default",
            "brand_id": "acme",
            "job": "meta_sync",
            "state": OK,
            "trigger": "schedule" if chain == name else "retry",
            "requested_by": "schedule",
            "reason": "",
            "requested_at": at,
            "not_before": at,
            "priority": 0,
            "attempt": 1 if chain == name else 2,
            "run_id": f"run-{name}" if values.get("state") != "queued" else None,
            "started_at": at + timedelta(seconds=10) if is_over else None,
            "finished_at": at + timedelta(seconds=70) if is_over else None,
            **values,
        }
        with write_transaction(engine) as connection:
            connection.execute(requests.insert().values(row))
            for dataset, failure in (failures or {}).items():
                attempt = {
                    "brand_id": row["brand_id"],
                    "dataset": dataset,
                    "run_id": f"run-{name}",
                    "request_id": name,
                    "planned_at": at,
                    "outcome": BAD,
                    **failure,
                }
                connection.execute(dataset_attempts.insert().values(attempt))
        return name

    return insert


def error(name: str, **more: Any) -> Row:
    return {"error_class": name, "error_message": f"{name}!", "advice": f"Mend {name}.", **more}


def only(engine: sa.Engine, **filters: Any) -> Chain:
    (chain,) = read_history(engine, **filters)
    return chain


@contextmanager
def counted(engine: sa.Engine) -> Iterator[list[str]]:
    """The queries sent while the `with` block lasts."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


def test_a_wish_that_succeeded_at_once_is_a_chain_of_one(engine: sa.Engine, store: Store) -> None:
    store("a1", outcomes={PERFORMANCE: OK, CREATIVES: OK}, records=12, reason="hourly")
    chain = only(engine)
    assert (chain.chain_id, chain.state, chain.tries) == ("a1", "succeeded", 1)
    assert (chain.trigger, chain.requested_by, chain.reason) == ("schedule", "schedule", "hourly")
    assert chain.outcomes == {PERFORMANCE: OK, CREATIVES: OK}
    assert (chain.records, chain.run_ids, chain.next_try_at) == (12, ("run-a1",), None)
    assert (chain.error_class, chain.error_message, chain.advice) == (None, None, None)
    assert chain.requested_at == NOW
    assert chain.started_at == NOW + timedelta(seconds=10)
    assert chain.finished_at == NOW + timedelta(seconds=70)
    assert [request.id for request in chain.requests] == ["a1"]


def test_a_further_try_completes_what_the_first_left_undone(
    engine: sa.Engine, store: Store
) -> None:
    store(
        "a1",
        state="partial",
        outcomes={PERFORMANCE: OK, ASSETS: BAD},
        records=100,
        failures={ASSETS: error("SourceUnavailableError", records=30)},
        **error("SourceUnavailableError"),
    )
    store("a2", chain="a1", minute=6, outcomes={ASSETS: OK}, datasets=[ASSETS], records=50)
    chain = only(engine)
    assert (chain.state, chain.tries) == ("succeeded", 2)
    assert chain.outcomes == {PERFORMANCE: OK, ASSETS: OK}
    assert chain.records == 100 - 30 + 50  # the second try stored the 30 once more
    assert chain.error_class is None
    assert chain.datasets is None  # all, as the first asked
    assert chain.finished_at == NOW + timedelta(minutes=6, seconds=70)
    assert chain.run_ids == ("run-a1", "run-a2")


def test_what_no_try_has_mended_is_the_error_whatever_the_newest_try_says(
    engine: sa.Engine, store: Store
) -> None:
    store(
        "a1",
        state="partial",
        outcomes={PERFORMANCE: OK, CREATIVES: BAD, ASSETS: BAD},
        failures={
            CREATIVES: error("SourceUnavailableError"),
            ASSETS: error("AccessError"),
        },
        **error("SourceUnavailableError"),
    )
    store("a2", chain="a1", minute=6, outcomes={CREATIVES: OK})
    chain = only(engine)
    assert (chain.state, chain.error_class) == ("partial", "AccessError")
    assert (chain.error_message, chain.advice) == ("AccessError!", "Mend AccessError.")


def test_a_fatal_failure_that_was_not_mended_makes_the_whole_failed(
    engine: sa.Engine, store: Store
) -> None:
    outcomes = {PERFORMANCE: BAD, CREATIVES: BAD}
    failures = {
        PERFORMANCE: error("CredentialError"),
        CREATIVES: error("SourceUnavailableError"),
    }
    store("a1", state="failed", outcomes=outcomes, failures=failures)
    store("a2", chain="a1", minute=6, outcomes={CREATIVES: OK})
    chain = only(engine)
    assert (chain.state, chain.error_class) == ("failed", "CredentialError")


def test_while_a_further_try_waits_the_whole_is_queued_and_says_when_and_why(
    engine: sa.Engine, store: Store
) -> None:
    store(
        "a1",
        state="failed",
        outcomes={PERFORMANCE: BAD},
        failures={PERFORMANCE: error("RateLimitedError")},
    )
    when = NOW + timedelta(minutes=6)
    store("a2", chain="a1", minute=1, state="queued", not_before=when)
    chain = only(engine)
    assert (chain.state, chain.tries, chain.next_try_at) == ("queued", 1, when)
    assert (chain.finished_at, chain.error_class) == (None, "RateLimitedError")


def test_of_several_active_requests_the_furthest_counts(engine: sa.Engine, store: Store) -> None:
    store("a1", state="failed", outcomes={PERFORMANCE: BAD})
    store("a2", chain="a1", minute=1, state="queued")
    store("a3", chain="a1", minute=2, state="running", trigger="dagster", attempt=2)
    chain = only(engine)
    assert (chain.state, chain.next_try_at) == ("running", NOW + timedelta(minutes=1))


def test_it_is_cancelled_when_its_last_try_was(engine: sa.Engine, store: Store) -> None:
    store(
        "a1",
        state="partial",
        outcomes={PERFORMANCE: OK, ASSETS: BAD},
        failures={ASSETS: error("SourceUnavailableError")},
    )
    store("a2", chain="a1", minute=6, state="cancelled", run_id=None, cancel_requested_at=NOW)
    chain = only(engine)
    assert (chain.state, chain.tries) == ("cancelled", 1)
    assert chain.error_class == "SourceUnavailableError"


def test_a_try_that_turned_out_not_to_be_needed_is_no_part_of_it(
    engine: sa.Engine, store: Store
) -> None:
    store("a1", outcomes={PERFORMANCE: OK})
    store("a2", chain="a1", minute=6, state="cancelled", run_id=None)
    chain = only(engine)
    assert (chain.state, chain.tries, len(chain.requests)) == ("succeeded", 1, 1)


def test_a_request_that_failed_before_it_tried_anything_failed_all_it_asked_for(
    engine: sa.Engine, store: Store
) -> None:
    store("a1", state="failed", job="gone", run_id=None, **error("InvalidConfigError"))
    chain = only(engine)
    assert (chain.state, chain.tries, chain.outcomes) == ("failed", 0, {})
    assert chain.error_class == "InvalidConfigError"


def test_a_further_try_that_could_not_begin_leaves_its_datasets_failed(
    engine: sa.Engine, store: Store
) -> None:
    outcomes = {PERFORMANCE: OK, ASSETS: BAD}
    store("a1", state="partial", outcomes=outcomes, **error("SourceUnavailableError"))
    refused = error("InvalidConfigError")
    store("a2", chain="a1", minute=6, state="failed", datasets=[ASSETS], run_id=None, **refused)
    chain = only(engine)
    assert (chain.state, chain.outcomes) == ("partial", outcomes)
    assert chain.error_class == "InvalidConfigError"


def test_a_dataset_that_the_catalogue_no_longer_has_comes_last(
    engine: sa.Engine, store: Store
) -> None:
    store("a1", state="partial", outcomes={"gone": BAD, PERFORMANCE: OK})
    chain = only(engine)
    assert list(chain.outcomes) == [PERFORMANCE, "gone"]
    assert chain.state == "partial"


def test_the_newest_wishes_come_first_and_pages_join_without_gap_or_overlap(
    engine: sa.Engine, store: Store
) -> None:
    for number in range(7):
        store(f"a{number}", minute=number // 3, outcomes={PERFORMANCE: OK})  # equal times, too
    store("retry", chain="a0", minute=60, outcomes={PERFORMANCE: OK})
    everything = [chain.chain_id for chain in read_history(engine)]
    assert everything == ["a6", "a5", "a4", "a3", "a2", "a1", "a0"]
    pages: list[str] = []
    page = read_history(engine, limit=2)
    while page:
        pages += [chain.chain_id for chain in page]
        page = read_history(engine, limit=2, before=page[-1].position)
    assert pages == everything


def test_filters_choose_whole_chains(engine: sa.Engine, store: Store) -> None:
    store("a1", state="failed", outcomes={PERFORMANCE: BAD})
    store("a2", chain="a1", minute=6, outcomes={PERFORMANCE: OK})
    store("b1", minute=1, brand_id="globex", state="failed", outcomes={PERFORMANCE: BAD})
    store("c1", minute=2, brand_id="other", organization_id="north", outcomes={PERFORMANCE: OK})
    store("d1", minute=3, job="scorecard", state="partial", outcomes={PERFORMANCE: OK, ASSETS: BAD})
    store("e1", minute=4, state="queued", archived_at=None)

    def found(**filters: Any) -> list[str]:
        return [chain.chain_id for chain in read_history(engine, **filters)]

    assert found() == ["e1", "d1", "c1", "b1", "a1"]
    assert found(organization_ids=["north"]) == ["c1"]
    assert found(brand_ids=["globex", "other"]) == ["c1", "b1"]
    assert found(brand_ids=[]) == []
    assert found(job="scorecard") == ["d1"]
    assert found(states=[RequestState.FAILED]) == ["b1"]  # a1's try was mended by another
    assert found(states=[RequestState.SUCCEEDED]) == ["c1", "a1"]
    assert found(states=[RequestState.PARTIAL, RequestState.QUEUED]) == ["e1", "d1"]
    assert found(since=NOW + timedelta(minutes=3)) == ["e1", "d1"]
    assert found(until=NOW + timedelta(minutes=1)) == ["a1"]
    assert found(since=NOW, until=NOW + timedelta(minutes=4), limit=2) == ["d1", "c1"]


def test_a_dataset_is_asked_for_by_name_or_with_all_of_its_job(
    engine: sa.Engine, store: Store
) -> None:
    store("whole", outcomes={PERFORMANCE: OK, ASSETS: OK})
    store("named", minute=1, datasets=[ASSETS], outcomes={ASSETS: OK})
    store("other", minute=2, datasets=[PERFORMANCE], outcomes={PERFORMANCE: OK})
    store("download", minute=3, job="asset_download", outcomes={ASSETS: OK})

    def found(dataset: str) -> list[str]:
        return [chain.chain_id for chain in read_history(engine, dataset=dataset)]

    assert found(ASSETS) == ["download", "named", "whole"]
    assert found(PERFORMANCE) == ["other", "whole"]
    assert found("ad%") == found("") == []


def test_who_or_what_wished_it_chooses_chains_by_their_first_request(
    engine: sa.Engine, store: Store
) -> None:
    store("clock", state="failed", outcomes={PERFORMANCE: BAD})
    store("again", chain="clock", minute=6, outcomes={PERFORMANCE: OK})
    store("alice", minute=1, trigger="manual", requested_by="user:Alice_B@agency.example")
    store("token", minute=2, trigger="api", requested_by="token:alice")

    def found(**filters: Any) -> list[str]:
        return [chain.chain_id for chain in read_history(engine, **filters)]

    assert found(trigger=Trigger.SCHEDULE) == ["clock"]
    assert found(trigger=Trigger.RETRY) == []
    assert found(requested_by="alice") == ["token", "alice"]
    assert found(requested_by="e_b@") == ["alice"]
    assert found(requested_by="e%b@") == []
    assert found(requested_by="alice", trigger=Trigger.API) == ["token"]


def test_an_error_class_chooses_chains_in_whose_way_it_stands_now(
    engine: sa.Engine, store: Store
) -> None:
    unavailable, access = error("SourceUnavailableError"), error("AccessError")
    store("mended", state="failed", outcomes={PERFORMANCE: BAD}, **access)
    store("after", chain="mended", minute=1, outcomes={PERFORMANCE: OK})
    store("rejected", minute=2, state="failed", **access)  # nothing was tried
    store(
        "behind",
        minute=3,
        state="partial",
        outcomes={PERFORMANCE: OK, CREATIVES: BAD, ASSETS: BAD},
        failures={CREATIVES: unavailable, ASSETS: access},
        **unavailable,
    )
    store("half", chain="behind", minute=4, outcomes={CREATIVES: OK})

    def found(error_class: str, **filters: Any) -> list[str]:
        chains = read_history(engine, error_class=error_class, **filters)
        return [chain.chain_id for chain in chains]

    assert found("AccessError") == ["behind", "rejected"]
    assert found("SourceUnavailableError") == []
    assert found("AccessError", states=[RequestState.PARTIAL]) == ["behind"]
    assert found("AccessError", limit=1) == ["behind"]


def test_named_chains_come_in_the_order_they_are_named(engine: sa.Engine, store: Store) -> None:
    store("a1", state="failed", outcomes={PERFORMANCE: BAD})
    store("a2", chain="a1", minute=6, outcomes={PERFORMANCE: OK})
    store("b1", minute=1)
    store("c1", minute=2, organization_id="north")
    found = read_chains(engine, ["c1", "nobody", "a1", "a2", "b1"])
    assert [(chain.chain_id, chain.tries) for chain in found] == [("c1", 1), ("a1", 2), ("b1", 1)]
    mine = read_chains(engine, ["c1", "a1"], organization_ids=["north"])
    assert [chain.chain_id for chain in mine] == ["c1"]
    assert read_chains(engine, []) == []


def test_a_state_that_is_rare_among_those_alike_is_found_however_far_back(
    engine: sa.Engine, store: Store
) -> None:
    store("old", outcomes={PERFORMANCE: BAD}, state="failed")
    for number in range(20):
        store(f"m{number}", minute=number + 1, state="failed", outcomes={PERFORMANCE: BAD})
        store(f"n{number}", chain=f"m{number}", minute=number + 1, outcomes={PERFORMANCE: OK})
    found = read_history(engine, states=[RequestState.FAILED], limit=2)
    assert [chain.chain_id for chain in found] == ["old"]


@pytest.mark.parametrize("count", [1, 40])
def test_three_queries_read_a_page_however_many_chains_it_has(
    engine: sa.Engine, store: Store, count: int
) -> None:
    for number in range(count):
        failures = {ASSETS: error("AccessError")}
        outcomes = {PERFORMANCE: OK, ASSETS: BAD}
        store(f"a{number}", state="partial", outcomes=outcomes, failures=failures)
    with counted(engine) as sent:
        assert len(read_history(engine, limit=count)) == count
    assert len([statement for statement in sent if statement.startswith("SELECT")]) == 3
