"""Requests and cadences of all brands of an organization: who sees and touches them, and where."""

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pipeline_assets.brands.registry import get_brand, pause_brand
from pipeline_assets.control.cadence_suggestions import set_suggested_cadences
from pipeline_assets.control.cadences import list_cadences
from pipeline_assets.control.requests import (
    RequestState,
    Trigger,
    Wish,
    list_requests,
    request_sync,
)
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import requests

if TYPE_CHECKING:
    from conftest import Site

META = {"ad_accounts": ["act_1"], "token": "env:TOKEN_OF_TESTS"}
TEMPLATES = {"meta": META, "templates": {"search_terms": ["shoes"]}}
JOB = "template_approval"
HTMX = {"HX-Request": "true"}
PAGES = ("/", "/matrix", "/schedules", "/active", "/history", "/brands/shop")


def told(answer: httpx.Response) -> str:
    assert answer.status_code == 204, answer.text
    return answer.headers["hx-trigger"].removeprefix('{"told": {"text": "').removesuffix('"}}')


@pytest.fixture
def across(site: "Site") -> Any:
    """A brand with templates in north and one in south, and a queued run over north's brands."""
    for brand_id, organization in (("shop", "north"), ("far", "south")):
        site.add_brand(brand_id, organization, sources=TEMPLATES)
        brand = get_brand(site.engine, brand_id)
        set_suggested_cadences(site.engine, [brand], actor="test", now=site.clock.now)
    wish = Wish(brand_id="*north", job=JOB, trigger=Trigger.MANUAL, requested_by="test")
    return request_sync(site.engine, wish, now=site.clock.now)[0]


def test_every_page_shows_them_to_their_own_alone(site: "Site", across: Any) -> None:
    own, rival = site.person(Role.OPERATOR), site.person(Role.OPERATOR, "south")
    for path in PAGES:
        assert own.get(path).status_code == 200, path
        assert across.id not in rival.get(path).text, path
    for path in ("/active", "/history"):
        assert "all brands of north" in own.get(path).text, path
        assert "all brands of north" not in rival.get(path).text, path
    assert rival.get(f"/history/{across.chain_id}").status_code == 404
    assert own.get(f"/history/{across.chain_id}").status_code == 200


def test_an_operator_of_the_organization_asks_for_one(site: "Site") -> None:
    site.add_brand("shop", "north", sources=TEMPLATES)
    wish = {"brand": "*north", "job": JOB}
    for role, organization, status in (
        (Role.VIEWER, "north", 403),
        (Role.OPERATOR, "south", 404),
        (Role.OPERATOR, "north", 201),
        (Role.OPERATOR, "*", 200),
    ):
        answer = site.program(role, organization).post("/api/v1/requests", json=wish)
        assert answer.status_code == status, (role, organization)
    (stored,) = list_requests(site.engine)
    assert (stored.brand_id, stored.organization_id) == ("*north", "north")
    mistaken = site.program(Role.OPERATOR).post(
        "/api/v1/requests", json={"brand": "*north", "job": "meta_sync"}
    )
    assert mistaken.status_code == 422
    nowhere = site.program(Role.OPERATOR).post(
        "/api/v1/requests", json={"brand": "*nowhere", "job": JOB}
    )
    assert nowhere.status_code == 404


def test_their_cadence_is_listed_by_the_api_for_their_own(site: "Site", across: Any) -> None:
    assert {each.brand_id for each in list_cadences(site.engine) if each.job == JOB} == {
        "*north",
        "*south",
    }
    listed = site.program(Role.VIEWER).get("/api/v1/cadences").json()["items"]
    assert {each["brand_id"] for each in listed if each["job"] == JOB} == {"*north"}
    shown = site.program(Role.VIEWER).get(f"/api/v1/requests/{across.id}").json()
    assert shown["brand_id"] == "*north"


def test_an_operator_of_the_organization_changes_their_cadence_by_the_api(
    sqlite_site: "Site",
) -> None:
    site = sqlite_site
    site.add_brand("shop", "north", sources=TEMPLATES)
    url = f"/api/v1/brands/*north/cadences/{JOB}"
    viewer, rival = site.program(Role.VIEWER), site.program(Role.OPERATOR, "south")
    operator = site.program(Role.OPERATOR)
    daily = {"cadence": "daily"}
    assert operator.get(url).status_code == 404
    assert viewer.put(url, json=daily).status_code == 403
    assert rival.put(url, json=daily).status_code == 404
    assert operator.get(f"{url}/preview", params=daily).json()["timezone"] == "UTC"
    stored = operator.put(url, json=daily).json()
    assert (stored["brand_id"], stored["preset"]) == ("*north", "daily")
    assert viewer.get(url).json() == stored
    assert operator.post(f"{url}/pause", json={"reason": "Sale"}).json()["is_paused"] is True
    assert operator.post(f"{url}/resume").json()["is_paused"] is False
    for path in ("", "/preview?cadence=daily"):
        assert rival.get(f"{url}{path}").status_code == 404
    brand_by_brand = "/api/v1/brands/*north/cadences/meta_sync"
    assert operator.put(brand_by_brand, json=daily).status_code == 422
    assert operator.get(f"{brand_by_brand}/preview", params=daily).status_code == 422
    for nobody in ("*nowhere", "*", "**north"):
        answer = operator.put(f"/api/v1/brands/{nobody}/cadences/{JOB}", json=daily)
        assert answer.status_code == 404, nobody


def schedule_rows(page: httpx.Response) -> list[str]:
    return re.findall(r'<tr id="row-([^"]+)"', page.text)


def test_their_schedule_is_shown_and_changed_like_a_brands(sqlite_site: "Site") -> None:
    site = sqlite_site
    site.add_brand("shop", "north", sources=TEMPLATES)
    target = f"*north:{JOB}"
    operator, viewer = site.person(Role.OPERATOR), site.person(Role.VIEWER)
    rival = site.person(Role.OPERATOR, "south")
    wanted = {"target": target, "cadence": "custom", "cron": "0 6 * * *", "timezone": ""}
    assert "no cadence: <a" in operator.get("/schedules?q=*north").text
    assert told(operator.post("/schedules/set", data=wanted, headers=HTMX)) == (
        f"{JOB} of all brands of north runs At 06:00 every day (UTC). Saving starts no run."
    )
    assert schedule_rows(viewer.get(f"/schedules?job={JOB}")) == [target, f"shop:{JOB}"]
    assert schedule_rows(rival.get(f"/schedules?job={JOB}")) == []
    preview = operator.get("/schedules/preview", params=wanted)
    assert "Wed 2026-03-11 06:00 UTC" in preview.text
    assert rival.get("/schedules/preview", params=wanted).status_code == 404

    pause_brand(site.engine, "shop", reason="Moving", actor="test", now=site.clock.now)
    opened = operator.get("/schedules", params={"open": target}).text
    assert "All brands of north</bdi>" in opened
    assert "shop: <bdi>it is paused: Moving</bdi>" in opened
    assert f'id="set-ALL-north-{JOB}"' in opened
    assert "/schedules/set" not in viewer.get("/schedules", params={"open": target}).text

    pause = {"target": [target, "acme:meta_sync"], "reason": "Sale"}
    assert told(operator.post("/schedules/pause", data=pause, headers=HTMX)) == (
        f"{JOB} of all brands of north is paused."
        " 1 refused: There is no cadence of meta_sync for brand acme."
    )
    for path in ("set", "pause", "resume"):
        assert viewer.post(f"/schedules/{path}", data=wanted | pause).status_code == 403
        assert rival.post(f"/schedules/{path}", data=wanted | pause).status_code == 404
    (cadence,) = list_cadences(site.engine)
    assert (cadence.brand_id, cadence.cron, cadence.paused_reason) == (
        "*north",
        "0 6 * * *",
        "Sale",
    )


def test_sync_now_of_all_brands_takes_the_job_and_an_operator(sqlite_site: "Site") -> None:
    site = sqlite_site
    site.add_brand("shop", "north", sources=TEMPLATES)
    path, job = "/brands/*north/sync", {"job": JOB}
    assert site.person(Role.VIEWER).post(path, data=job).status_code == 403
    assert site.person(Role.OPERATOR, "south").post(path, data=job).status_code == 404
    operator = site.person(Role.OPERATOR)
    assert operator.post(path, headers=HTMX).status_code == 422
    assert told(operator.post(path, data=job, headers=HTMX)) == (
        "Sync of all brands of north is queued."
    )
    (stored,) = list_requests(site.engine)
    assert (stored.brand_id, stored.job) == ("*north", JOB)


def test_what_a_run_does_without_is_told(sqlite_site: "Site") -> None:
    site, now = sqlite_site, sqlite_site.clock.now
    for brand_id in ("shop", "stall"):
        site.add_brand(brand_id, "north", sources=TEMPLATES)
    pause_brand(site.engine, "stall", reason="<i>Moving</i>", actor="test", now=now)

    def ask(brand_id: str, job: str) -> str:
        wish = Wish(brand_id=brand_id, job=job, trigger=Trigger.MANUAL, requested_by="test")
        return request_sync(site.engine, wish, now=now)[0].id

    request_id = ask("*north", JOB)
    found = site.program(Role.VIEWER).get(f"/api/v1/requests/{request_id}").json()
    assert found["left_out"] == {"stall": "it is paused: <i>Moving</i>"}
    viewer = site.person(Role.VIEWER)
    for path in ("/active", f"/history/{request_id}"):
        assert "stall: <bdi>it is paused: &lt;i&gt;Moving" in viewer.get(path).text, path

    narrowed = ask("shop", "full_sync")
    page = viewer.get(f"/history/{narrowed}").text
    assert "Without Competitor ads, Reddit posts, Amazon reviews: not asked for, or not" in page


def test_each_brands_outcome_is_told_by_the_brands_name(sqlite_site: "Site") -> None:
    site, now = sqlite_site, sqlite_site.clock.now
    site.add_brand("shop", "north", sources=TEMPLATES)
    wish = Wish(brand_id="*north", job=JOB, trigger=Trigger.MANUAL, requested_by="test")
    request, _ = request_sync(site.engine, wish, now=now)
    ended = {
        "state": RequestState.PARTIAL,
        "outcomes": {"template_approvals": "partial"},
        "run_id": "run-1",
        "started_at": now,
        "finished_at": now,
    }
    with write_transaction(site.engine) as connection:
        connection.execute(requests.update().values(ended))
    for brand_id, outcome in (("shop", "succeeded"), ("acme", "failed")):
        site.store_attempt(
            brand_id,
            "template_approvals",
            "run-1",
            request_id=request.id,
            planned_at=now,
            outcome=outcome,
        )
    page = site.person(Role.VIEWER).get(f"/history/{request.id}").text
    assert "Template approvals in some brands" in page
    assert "Template approvals of acme" in page
    assert "Template approvals of shop" in page
