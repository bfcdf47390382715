"""Brands over the API: found, added, changed, paused and resumed, and by whom."""

from typing import TYPE_CHECKING, Any

from pipeline_assets.brands.registry import get_brand
from pipeline_assets.control.cadences import list_cadences
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.audit import read_audit

if TYPE_CHECKING:
    from conftest import Site


def specification(**changes: Any) -> dict[str, Any]:
    return {
        "id": "initech",
        "organization_id": "north",
        "name": "Initech",
        "timezone": "Europe/Berlin",
        "sources": {"meta": {"ad_accounts": ["act_7"], "token": "env:TOKEN_OF_INITECH"}},
    } | changes


def test_brands_are_listed_page_by_page_and_by_organization(site: "Site") -> None:
    viewer = site.program(Role.VIEWER, "*")
    first = viewer.get("/api/v1/brands", params={"limit": 2}).json()
    assert [each["id"] for each in first["items"]] == ["acme", "globex"]
    second = viewer.get("/api/v1/brands", params={"cursor": first["next_cursor"]}).json()
    assert [each["id"] for each in second["items"]] == ["rival"]
    south = viewer.get("/api/v1/brands", params={"organization": "south"}).json()
    assert [each["id"] for each in south["items"]] == ["rival"]


def test_only_admins_see_how_a_brands_sources_are_reached(sqlite_site: "Site") -> None:
    seen = sqlite_site.program(Role.OPERATOR).get("/api/v1/brands/acme").json()
    assert seen["configured"] == ["meta"]
    assert seen["sources"] is None
    admins = sqlite_site.program(Role.ADMIN).get("/api/v1/brands/acme").json()
    assert admins["sources"]["meta"]["token"] == "env:TOKEN_OF_TESTS"


def test_an_admin_of_every_organization_adds_a_brand(site: "Site") -> None:
    admin = site.program(Role.ADMIN, "*")
    answer = admin.post("/api/v1/brands", json=specification())
    assert answer.status_code == 201
    assert admin.get(answer.headers["Location"]).json() == answer.json()
    assert answer.json()["timezone"] == "Europe/Berlin"
    *cadences, added = read_audit(site.engine, target="initech", limit=99)
    assert (added.action, added.actor) == ("brand.add", "token:admin-*")
    assert {each.action for each in cadences} == {"cadence.set"}
    assert "initech:meta_sync" in {each.target for each in cadences}
    bare = specification() | {"id": "umbrella"}
    assert admin.post("/api/v1/brands", params={"cadences": "false"}, json=bare).status_code == 201
    assert [each.action for each in read_audit(site.engine, target="umbrella", limit=9)] == [
        "brand.add"
    ]
    again = admin.post("/api/v1/brands", json=specification())
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


def test_an_admin_of_one_organization_adds_none_because_a_brand_names_the_hosts_secrets(
    sqlite_site: "Site",
) -> None:
    answer = sqlite_site.program(Role.ADMIN).post("/api/v1/brands", json=specification())
    assert answer.status_code == 403


REFUSED_BRANDS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"id": "No Slug"}, "id cannot be used"),
    ({"timezone": "Mars/Base"}, "timezone cannot be used"),
    ({"organization_id": "nowhere"}, "there is no organization 'nowhere'"),
    ({"colour": "red"}, "colour cannot be used"),
    ({"windows": {"meta_ads_performance": 1e300}}, "windows.meta_ads_performance"),
    ({"sources": {"meta": {"ad_accounts": ["act_1"], "token": "EAAsecret"}}}, "token"),
)


def test_a_brand_that_cannot_be_is_refused_by_the_field(sqlite_site: "Site") -> None:
    admin = sqlite_site.program(Role.ADMIN, "*")
    for changes, named in REFUSED_BRANDS:
        answer = admin.post("/api/v1/brands", json=specification(**changes))
        assert answer.status_code == 422, changes
        assert named in answer.json()["error"]["message"]
        assert "EAAsecret" not in answer.text


def test_a_brand_is_changed_as_a_whole_and_its_pause_stays(site: "Site") -> None:
    admin = site.program(Role.ADMIN)
    admin.post("/api/v1/brands/acme/pause", json={"reason": "Holidays"})
    sources = admin.get("/api/v1/brands/acme").json()["sources"]
    wanted = specification(id="acme", name="Acme", sources=sources, windows={"ad_assets": 5})
    changed = admin.put("/api/v1/brands/acme", json=wanted).json()
    assert (changed["timezone"], changed["windows"]) == ("Europe/Berlin", {"ad_assets": 5.0})
    assert changed["is_paused"] is True


def test_other_sources_take_an_admin_of_every_organization(sqlite_site: "Site") -> None:
    wanted = specification(id="acme", sources={})
    assert (
        sqlite_site.program(Role.ADMIN).put("/api/v1/brands/acme", json=wanted).status_code == 403
    )
    every = sqlite_site.program(Role.ADMIN, "*")
    without = every.put("/api/v1/brands/acme", json=wanted)
    assert without.json()["configured"] == []
    assert "acme:meta_sync" not in cadences_of(sqlite_site)
    again = specification(id="acme")
    address, no_cadences = "/api/v1/brands/acme", {"cadences": "false"}
    assert every.put(address, params=no_cadences, json=again).json()["configured"] == ["meta"]
    assert "acme:meta_sync" not in cadences_of(sqlite_site)
    every.put(address, json=wanted)
    every.put(address, json=again)
    assert "acme:meta_sync" in cadences_of(sqlite_site)


def cadences_of(site: "Site") -> set[str]:
    return {f"{each.brand_id}:{each.job}" for each in list_cadences(site.engine)}


def test_a_brand_keeps_its_id_and_its_organization(sqlite_site: "Site") -> None:
    admin = sqlite_site.program(Role.ADMIN, "*")
    assert admin.put("/api/v1/brands/acme", json=specification()).status_code == 422
    moved = admin.put("/api/v1/brands/acme", json=specification(id="acme", organization_id="south"))
    assert moved.json()["error"]["message"] == "A brand does not move to another organization."


def test_a_brand_is_paused_until_a_time_and_resumed(site: "Site") -> None:
    operator = site.program(Role.OPERATOR)
    paused = operator.post(
        "/api/v1/brands/acme/pause",
        json={"reason": "Holidays", "until": "2026-03-20T02:00:00+02:00"},
    ).json()
    assert (paused["is_paused"], paused["paused_until"]) == (True, "2026-03-20T00:00:00Z")
    assert get_brand(site.engine, "acme").paused_reason == "Holidays"
    assert operator.post("/api/v1/brands/acme/resume").json()["is_paused"] is False


REFUSED_PAUSES: tuple[dict[str, Any], ...] = (
    {},
    {"reason": ""},
    {"reason": "x" * 501},
    {"reason": "x", "until": "2026-03-01T00:00:00Z"},
    {"reason": "x", "until": "2026-03-20T00:00:00"},
    {"reason": "x", "until": "0001-01-01T00:00:00+14:00"},
    {"reason": "x", "until": "9999-12-31T23:59:59-14:00"},
    {"reason": "x", "until": 1e300},
    {"reason": "x", "surprise": 1},
)


def test_a_pause_that_makes_no_sense_is_refused(sqlite_site: "Site") -> None:
    operator = sqlite_site.program(Role.OPERATOR)
    for body in REFUSED_PAUSES:
        answer = operator.post("/api/v1/brands/acme/pause", json=body)
        assert answer.status_code == 422, body
    assert get_brand(sqlite_site.engine, "acme").paused_at is None
