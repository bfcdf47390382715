"""The matrix and the catalogue as programs read them."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pipeline_assets.brands.registry import pause_brand
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site

PERFORMANCE, ASSETS = "meta_ads_performance", "ad_assets"


def test_the_matrix_tells_every_cell_of_ones_brands(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE, error_class="SourceUnavailableError")
    found = site.program(Role.VIEWER).get("/api/v1/status").json()
    assert found["next_cursor"] is None
    assert [each["brand"] for each in found["items"]] == ["acme", "globex"]
    assert list(found["items"][0]["datasets"]) == list(DATASETS)
    assert found["items"][0]["datasets"][PERFORMANCE] == {
        "state": "fresh",
        "last_success_at": "2026-03-10T11:00:00Z",
        "is_last_attempt_failed": True,
        "activity": None,
    }


def test_filters_leave_the_cells_that_match_and_the_brands_that_have_one(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE)
    site.store_status("acme", ASSETS, last_success_at=site.clock.now - timedelta(days=9))
    site.store_status("globex", PERFORMANCE)
    viewer = site.program(Role.VIEWER)

    def cells(**query: object) -> dict[str, list[str]]:
        items = viewer.get("/api/v1/status", params=query).json()["items"]
        return {each["brand"]: list(each["datasets"]) for each in items}

    assert cells(state="stale") == {"acme": [ASSETS]}
    assert cells(state=["stale", "fresh"]) == {
        "acme": [PERFORMANCE, ASSETS],
        "globex": [PERFORMANCE],
    }
    assert cells(dataset=ASSETS, brand="globex") == {"globex": [ASSETS]}
    assert cells(brand="rival") == cells(brand="nobody") == {}


def test_pages_of_the_matrix_follow_each_other(sqlite_site: "Site") -> None:
    for number in range(5):
        sqlite_site.add_brand(f"more{number}")
    viewer = sqlite_site.program(Role.VIEWER)
    seen: list[str] = []
    query: dict[str, object] = {"limit": 3}
    while True:
        page = viewer.get("/api/v1/status", params=query).json()
        seen += [each["brand"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == ["acme", "globex", *(f"more{number}" for number in range(5))]


def test_one_brand_is_told_with_every_detail(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE, last_success_at=site.clock.now - timedelta(hours=36))
    pause_brand(site.engine, "acme", reason="Holidays", actor="test", now=site.clock.now)
    found = site.program(Role.VIEWER).get("/api/v1/brands/acme/status").json()
    assert found["is_paused"] is True
    cell = found["datasets"][0]
    assert (cell["dataset"], cell["state"]) == (PERFORMANCE, "stale")
    assert cell["age_seconds"] == 36 * 3600
    assert cell["used_ratio"] == 1.5
    assert cell["stale_since"] == "2026-03-10T00:00:00Z"
    assert cell["records_affected"] == 12


def test_what_has_not_changed_is_answered_with_304(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE)
    viewer = site.program(Role.VIEWER)
    for path in ("status", "brands/acme/status", "datasets", "jobs", "pages", "organizations"):
        first = viewer.get(f"/api/v1/{path}")
        assert first.status_code == 200
        site.clock.pass_by(seconds=5)
        known = {"If-None-Match": f'"other", {first.headers["etag"]}'}
        assert viewer.get(f"/api/v1/{path}", headers=known).status_code == 304, path
        other = {"If-None-Match": '"other"'}
        assert viewer.get(f"/api/v1/{path}", headers=other).status_code == 200


def test_a_change_of_state_changes_the_tag(site: "Site") -> None:
    viewer = site.program(Role.VIEWER)
    tag = viewer.get("/api/v1/status").headers["etag"]
    site.store_status("acme", PERFORMANCE)
    assert viewer.get("/api/v1/status", headers={"If-None-Match": tag}).status_code == 200


def test_the_catalogue_has_every_dataset_job_and_page(sqlite_site: "Site") -> None:
    viewer = sqlite_site.program(Role.VIEWER)
    datasets = viewer.get("/api/v1/datasets").json()["items"]
    assert [each["key"] for each in datasets] == list(DATASETS)
    assert datasets[0]["fail_after_seconds"] == 86_400
    assert datasets[0]["is_fatal"] is True
    assert datasets[0]["jobs"] == ["meta_sync", "full_sync"]
    jobs = viewer.get("/api/v1/jobs").json()["items"]
    assert [each["name"] for each in jobs] == list(JOBS)
    page = viewer.get("/api/v1/pages").json()["items"][0]
    assert page["name"] == "ad_performance"
    assert page["needs"][0] == {
        "dataset": PERFORMANCE,
        "max_age_seconds": None,
        "withhold": True,
    }


def test_one_sees_ones_own_organizations_alone(sqlite_site: "Site") -> None:
    mine = sqlite_site.program(Role.VIEWER).get("/api/v1/organizations").json()
    assert mine["items"] == [{"id": "north", "name": "North"}]
    every = sqlite_site.program(Role.VIEWER, "*").get("/api/v1/organizations").json()
    assert [each["id"] for each in every["items"]] == ["default", "north", "south"]


def test_the_asker_is_told_who_they_are(sqlite_site: "Site") -> None:
    assert sqlite_site.program(Role.EMBED).get("/api/v1/me").json() == {
        "actor": "token:embed-north",
        "name": "embed-north",
        "roles": {"north": "embed"},
    }
    person = sqlite_site.person(Role.ADMIN, "*").get("/api/v1/me").json()
    assert person["actor"] == "user:admin@every.example"


@pytest.mark.parametrize(
    ("role", "organization", "status"),
    [(Role.OPERATOR, "*", 204), (Role.VIEWER, "*", 403), (Role.ADMIN, "north", 403)],
)
def test_dagsters_own_pages_take_an_operator_of_every_organization(
    sqlite_site: "Site", role: Role, organization: str, status: int
) -> None:
    path = "/api/v1/session/dagster"
    assert sqlite_site.person(role, organization).get(path).status_code == status
    assert sqlite_site.anonymous().get(path).status_code == 401
