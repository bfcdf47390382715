"""Cadences over the API: set, previewed, paused, resumed and listed."""

from typing import TYPE_CHECKING, Any

from pipeline_assets.control.cadences import list_cadences
from pipeline_assets.control.requests import list_requests
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site

URL = "/api/v1/brands/acme/cadences/meta_sync"


def test_setting_a_cadence_starts_no_run_and_tells_the_next_three(site: "Site") -> None:
    operator = site.program(Role.OPERATOR)
    asked = {"cadence": "30 6 * * *", "timezone": "Europe/Berlin"}
    stored = operator.put(URL, json=asked)
    assert stored.status_code == 200
    assert stored.json()["next_runs"] == [
        "2026-03-11T05:30:00Z",
        "2026-03-12T05:30:00Z",
        "2026-03-13T05:30:00Z",
    ]
    assert stored.json()["in_words"] == "At 06:30 every day (Europe/Berlin)"
    assert stored.json()["updated_by"] == "token:operator-north"
    assert operator.get(URL).json() == stored.json()
    assert list_requests(site.engine) == []


def test_a_preset_is_known_by_its_name_and_the_brands_zone_is_the_usual_one(
    sqlite_site: "Site",
) -> None:
    stored = sqlite_site.program(Role.OPERATOR).put(URL, json={"cadence": "daily"}).json()
    assert (stored["preset"], stored["timezone"]) == ("daily", "UTC")


def test_a_preview_stores_nothing_and_warns_of_changes_of_the_clock(site: "Site") -> None:
    query = {"cadence": "30 2 * * *", "timezone": "Europe/Berlin", "count": 2}
    found = site.program(Role.VIEWER).get(f"{URL}/preview", params=query).json()
    assert found["next_runs"] == ["2026-03-11T01:30:00Z", "2026-03-12T01:30:00Z"]
    assert "2026-03-29" in found["clock_warning"]
    assert list_cadences(site.engine) == []


def test_a_cadence_is_paused_and_resumed(site: "Site") -> None:
    operator = site.program(Role.OPERATOR)
    operator.put(URL, json={"cadence": "hourly"})
    paused = operator.post(
        f"{URL}/pause", json={"reason": "Sale", "until": "2026-03-11T00:00:00Z"}
    ).json()
    assert (paused["is_paused"], paused["paused_reason"]) == (True, "Sale")
    assert operator.post(f"{URL}/resume").json()["is_paused"] is False


def test_a_cadence_that_is_not_there_is_not_found(sqlite_site: "Site") -> None:
    operator = sqlite_site.program(Role.OPERATOR)
    answers = [
        operator.get(URL),
        operator.post(f"{URL}/pause", json={"reason": "Sale"}),
        operator.post(f"{URL}/resume"),
    ]
    assert {each.status_code for each in answers} == {404}


def test_cadences_are_listed_by_brand_and_job_page_by_page(site: "Site") -> None:
    operator = site.program(Role.OPERATOR, "*")
    for brand_id, job in (
        ("rival", "meta_sync"),
        ("acme", "meta_sync"),
        ("acme", "asset_download"),
    ):
        operator.put(f"/api/v1/brands/{brand_id}/cadences/{job}", json={"cadence": "weekly"})

    def targets(client: Any, **query: object) -> list[str]:
        items = client.get("/api/v1/cadences", params=query).json()["items"]
        return [f"{each['brand_id']}:{each['job']}" for each in items]

    assert targets(operator) == ["acme:asset_download", "acme:meta_sync", "rival:meta_sync"]
    assert targets(operator, job="meta_sync", brand="acme") == ["acme:meta_sync"]
    assert targets(site.program(Role.VIEWER), brand="rival") == []
    first = operator.get("/api/v1/cadences", params={"limit": 2}).json()
    assert targets(operator, cursor=first["next_cursor"]) == ["rival:meta_sync"]


REFUSED: tuple[dict[str, Any], ...] = (
    {},
    {"cadence": "* * * * *"},
    {"cadence": "0 0 31 2 *"},
    {"cadence": "every day"},
    {"cadence": "x" * 10_000},
    {"cadence": "daily", "timezone": "Europe"},
    {"cadence": "daily", "timezone": "../../etc/passwd"},
    {"cadence": 5},
)


def test_a_cadence_that_cannot_be_is_refused_when_set_and_when_previewed(
    sqlite_site: "Site",
) -> None:
    operator = sqlite_site.program(Role.OPERATOR)
    for body in REFUSED:
        assert operator.put(URL, json=body).status_code == 422, body
        assert operator.get(f"{URL}/preview", params=body).status_code == 422, body
    nonsense = "/api/v1/brands/acme/cadences/nonsense"
    assert operator.put(nonsense, json={"cadence": "daily"}).status_code == 422
    assert list_cadences(sqlite_site.engine) == []
