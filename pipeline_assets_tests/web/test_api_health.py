"""The audit log and the installation's health over the API."""

from typing import TYPE_CHECKING

from pipeline_assets.brands.registry import pause_brand
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site


def test_the_audit_log_tells_an_organizations_changes_newest_first(site: "Site") -> None:
    site.clock.pass_by(minutes=1)
    pause_brand(site.engine, "acme", reason="Sale", actor="user:ann", now=site.clock.now)
    admin = site.program(Role.ADMIN)
    newest = admin.get("/api/v1/audit", params={"target": "acme"}).json()["items"]
    assert [each["action"] for each in newest] == ["brand.pause", "brand.add"]
    assert newest[0]["actor"] == "user:ann"
    assert newest[0]["at"] == "2026-03-10T12:01:00Z"
    assert newest[0]["detail"] == {"reason": "Sale", "until": None}
    organizations = {each["organization_id"] for each in admin.get("/api/v1/audit").json()["items"]}
    assert organizations == {"north"}
    assert admin.get("/api/v1/audit", params={"target": "rival"}).json()["items"] == []


def test_the_audit_log_goes_on_page_by_page(sqlite_site: "Site") -> None:
    admin = sqlite_site.program(Role.ADMIN, "*")
    whole = admin.get("/api/v1/audit").json()["items"]
    seen, query = [], {"limit": "2"}
    while True:
        page = admin.get("/api/v1/audit", params=query).json()
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == whole
    assert len(seen) > 2


def test_an_admin_of_everything_sees_the_health_of_each_organ(site: "Site") -> None:
    found = site.program(Role.ADMIN, "*").get("/api/v1/health").json()
    checks = {each["name"]: each for each in found["checks"]}
    assert checks["database"]["is_ok"] is True
    assert checks["daemon"]["is_ok"] is False
    assert checks["daemon"]["fix"]
    assert found["is_ok"] is False
    assert site.program(Role.ADMIN).get("/api/v1/health").status_code == 403


def test_the_machinerys_pulse_is_told_at_a_glance(sqlite_site: "Site") -> None:
    viewer = sqlite_site.program(Role.VIEWER)
    before = viewer.get("/api/v1/health/live").json()
    assert before == {"seen_at": None, "is_daemon_alive": None, "trouble": ""}
    sqlite_site.background.beat()
    after = viewer.get("/api/v1/health/live").json()
    assert after == {"seen_at": "2026-03-10T12:00:00Z", "is_daemon_alive": False, "trouble": ""}
