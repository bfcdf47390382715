"""Requests and cadences of all brands of an organization: who sees and touches them, and where."""

from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.brands.registry import get_brand
from pipeline_assets.control.cadence_suggestions import set_suggested_cadences
from pipeline_assets.control.cadences import list_cadences
from pipeline_assets.control.requests import Trigger, Wish, list_requests, request_sync
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site

META = {"ad_accounts": ["act_1"], "token": "env:TOKEN_OF_TESTS"}
TEMPLATES = {"meta": META, "templates": {"search_terms": ["shoes"]}}
JOB = "template_approval"
PAGES = ("/", "/matrix", "/schedules", "/active", "/history", "/brands/shop")


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
