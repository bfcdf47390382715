"""Attempts, the history of wishes, and the logs of their runs, over the API."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.control.requests import Trigger, Wish, request_sync
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import requests

if TYPE_CHECKING:
    from conftest import Site

PERFORMANCE, ASSETS = "meta_ads_performance", "ad_assets"


def wish(site: "Site", brand_id: str, job: str = "meta_sync", **values: Any) -> str:
    """The id of a new request; `values` are put into its row."""
    asked = Wish(brand_id=brand_id, job=job, trigger=Trigger.MANUAL, requested_by="user:ann")
    request, _ = request_sync(site.engine, asked, now=site.clock.now)
    if values:
        with write_transaction(site.engine) as connection:
            connection.execute(
                sa.update(requests).where(requests.c.id == request.id).values(**values)
            )
    site.clock.pass_by(minutes=1)
    return request.id


def store_attempts(site: "Site") -> None:
    now = site.clock.now
    for number, (brand_id, dataset, outcome) in enumerate(
        [
            ("acme", PERFORMANCE, "succeeded"),
            ("acme", ASSETS, "failed"),
            ("globex", PERFORMANCE, None),
            ("rival", PERFORMANCE, "failed"),
        ]
    ):
        site.store_attempt(
            brand_id,
            dataset,
            f"run-{number}",
            organization_id="south" if brand_id == "rival" else "north",
            began_at=now + timedelta(minutes=number),
            outcome=outcome,
            error_class="CredentialError" if outcome == "failed" else None,
        )


def test_attempts_are_listed_newest_first_with_filters_and_pages(site: "Site") -> None:
    store_attempts(site)
    viewer = site.program(Role.VIEWER)

    def runs(**query: object) -> list[str]:
        found = viewer.get("/api/v1/attempts", params=query)
        assert found.status_code == 200, found.text
        return [each["run_id"] for each in found.json()["items"]]

    assert runs() == ["run-2", "run-1", "run-0"]
    assert runs(brand="acme", dataset=PERFORMANCE) == ["run-0"]
    assert runs(outcome=["failed", "running"]) == ["run-2", "run-1"]
    assert runs(error_class="CredentialError") == ["run-1"]
    assert runs(since="2026-03-10T12:01:00Z", until="2026-03-10T13:02:00+01:00") == ["run-1"]
    assert runs(brand="rival") == []
    first = viewer.get("/api/v1/attempts", params={"limit": 2}).json()
    assert runs(cursor=first["next_cursor"]) == ["run-0"]


def test_the_history_has_one_item_for_a_wish_and_finds_it_by_what_one_knows(
    site: "Site",
) -> None:
    failed = wish(
        site,
        "acme",
        state="failed",
        run_id="run-1",
        finished_at=site.clock.now,
        outcomes={PERFORMANCE: "failed"},
        error_class="CredentialError",
    )
    queued = wish(site, "globex")
    foreign = wish(site, "rival")
    viewer = site.program(Role.VIEWER)

    def chains(**query: object) -> list[str]:
        found = viewer.get("/api/v1/history", params=query)
        assert found.status_code == 200, found.text
        return [each["chain_id"] for each in found.json()["items"]]

    assert chains() == [queued, failed]
    assert chains(brand="acme") == chains(state="failed") == [failed]
    assert chains(error_class="CredentialError") == [failed]
    assert chains(trigger="manual", actor="ann", dataset=PERFORMANCE) == [queued, failed]
    assert chains(trigger="schedule") == chains(job="asset_download") == []
    assert chains(since="2026-03-10T12:01:00Z") == [queued]
    first = viewer.get("/api/v1/history", params={"limit": 1}).json()
    assert chains(cursor=first["next_cursor"]) == [failed]
    one = viewer.get(f"/api/v1/history/{failed}").json()
    assert (one["state"], one["tries"], one["run_ids"]) == ("failed", 1, ["run-1"])
    assert [each["id"] for each in one["requests"]] == [failed]
    assert viewer.get(f"/api/v1/history/{foreign}").status_code == 404


@dg.op
def talk(context: dg.OpExecutionContext) -> None:
    context.log.info("The token is access_token=EAAB1234567890abcdef1234567890")


@dg.job
def talking() -> None:
    talk()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_runs_log_is_read_in_pages_with_its_secrets_masked(sqlite_site: "Site") -> None:
    ran = talking.execute_in_process(instance=sqlite_site.background.instance)
    chain = wish(sqlite_site, "acme", run_id=ran.run_id, state="succeeded")
    viewer = sqlite_site.program(Role.VIEWER)
    url = f"/api/v1/history/{chain}/log"
    found = viewer.get(url).json()
    assert (found["run_id"], found["is_ended"], found["is_deleted"]) == (ran.run_id, True, False)
    texts = [line["text"] for line in found["lines"]]
    assert any(text.startswith("The token is access_token=") for text in texts)
    assert "EAAB1234567890abcdef" not in str(found)
    last = found["lines"][-1]["position"]
    assert viewer.get(url, params={"after": last}).json()["lines"] == []
    assert viewer.get(url, params={"run": ran.run_id}).json() == found
    assert viewer.get(url, params={"run": "another"}).status_code == 404
    assert viewer.get(url, params={"after": 2**70}).status_code == 422


def test_a_log_that_dagster_has_deleted_is_told_to_be_gone(sqlite_site: "Site") -> None:
    chain = wish(sqlite_site, "acme", run_id="run-of-last-year", state="succeeded")
    found = sqlite_site.program(Role.VIEWER).get(f"/api/v1/history/{chain}/log").json()
    assert found == {
        "run_id": "run-of-last-year",
        "is_deleted": True,
        "is_ended": True,
        "lines": [],
        "next_after": None,
    }


def test_a_wish_without_any_run_has_no_log(sqlite_site: "Site") -> None:
    chain = wish(sqlite_site, "acme")
    answer = sqlite_site.program(Role.VIEWER).get(f"/api/v1/history/{chain}/log")
    assert answer.json()["error"]["message"] == "There is no such run, or none that you may see."
