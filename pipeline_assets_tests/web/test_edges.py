"""What comes in at the edge of every page: addresses, instants, HEAD, old browsers."""

from typing import TYPE_CHECKING

import pytest

from pipeline_assets.brands.registry import get_brand
from pipeline_assets.people.roles import Role
from pipeline_assets.people.users import get_user_by_email
from pipeline_assets.storage.audit import read_audit

if TYPE_CHECKING:
    from conftest import Site

HTMX = {"HX-Request": "true"}


def test_who_signs_in_again_comes_back_to_the_page_without_what_a_poll_added(
    sqlite_site: "Site",
) -> None:
    anonymous = sqlite_site.anonymous()
    answer = anonymous.get("/", params={"state": "stale", "rows": "a" * 9000})
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/sign-in?next=%2F%3Fstate%3Dstale"
    assert anonymous.get(answer.headers["Location"]).status_code == 200
    far = anonymous.get("/", params={"q": "é" * 1900})
    assert far.headers["Location"] == "/sign-in?next=%2F", "too long to come back to"


def test_a_part_of_a_page_leads_back_to_its_page(sqlite_site: "Site") -> None:
    here = {"HX-Current-URL": f"{sqlite_site.url}/schedules?q=acme&rows=acme"}
    part = sqlite_site.anonymous().get("/schedules/preview?target=a", headers=HTMX | here)
    assert part.status_code == 401
    assert part.headers["HX-Redirect"] == "/sign-in?next=%2Fschedules%3Fq%3Dacme"
    foreign = {"HX-Current-URL": "//evil.example"}
    part = sqlite_site.anonymous().get("/schedules/preview?target=a", headers=HTMX | foreign)
    assert part.headers["HX-Redirect"] == "/sign-in?next=%2F"


def test_the_way_to_the_sign_in_does_not_lead_where_a_host_header_says(
    sqlite_site: "Site",
) -> None:
    answer = sqlite_site.anonymous().get("/", headers={"Host": "evil.example"})
    assert answer.headers["Location"].startswith("/sign-in?")


@pytest.mark.parametrize("referer", ["http://[bad", "https://evil.example//x", "\\\\evil", ""])
def test_a_change_leads_back_to_a_page_of_ours_whatever_the_referer(
    sqlite_site: "Site", referer: str
) -> None:
    operator = sqlite_site.person(Role.OPERATOR)
    answer = operator.post(
        "/brands/acme/sync", data={"job": "meta_sync"}, headers={"Referer": referer}
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("until", ["9999-12-31T20:00", "0001-01-01T00:00", "1970-06-01T00:00"])
def test_no_pause_ends_where_a_time_zone_cannot_follow(sqlite_site: "Site", until: str) -> None:
    operator = sqlite_site.person(Role.OPERATOR)
    fields = {"reason": "Freeze.", "until": until, "until_zone": "Asia/Tokyo"}
    answer = operator.post("/brands/acme/pause", data=fields, headers=HTMX)
    assert answer.status_code == 422
    assert get_brand(sqlite_site.engine, "acme").paused_at is None


def test_a_brand_is_not_added_paused(sqlite_site: "Site") -> None:
    brand = {"id": "initech", "organization_id": "north", "name": "I", "timezone": "UTC"}
    admin = sqlite_site.program(Role.ADMIN, "*")
    answer = admin.post("/api/v1/brands", json=brand | {"paused_at": "2026-01-01T00:00:00Z"})
    assert answer.status_code == 422
    assert read_audit(sqlite_site.engine, target="initech", limit=1) == []


@pytest.mark.parametrize("zone", ["localtime", "Factory"])
def test_a_zone_that_is_none_of_a_place_is_refused(sqlite_site: "Site", zone: str) -> None:
    brand = {"id": "initech", "organization_id": "north", "name": "I", "timezone": zone}
    admin = sqlite_site.program(Role.ADMIN, "*")
    assert admin.post("/api/v1/brands", json=brand).status_code == 422
    assert sqlite_site.anonymous().get("/zone", params={"zone": zone}).status_code == 422


def test_the_head_of_a_page_is_that_of_its_get(sqlite_site: "Site") -> None:
    anonymous = sqlite_site.anonymous()
    for path, status in (("/healthz", 200), ("/sign-in", 200), ("/", 303)):
        answer = anonymous.head(path)
        assert (answer.status_code, answer.content) == (status, b""), path


def test_a_sign_in_from_another_site_is_refused_in_an_old_browser_too(
    sqlite_site: "Site",
) -> None:
    sqlite_site.person(Role.VIEWER)
    fields = {"email": "viewer@north.example", "password": "a password for tests"}
    anonymous = sqlite_site.anonymous()
    foreign = {"Origin": "https://evil.example"}
    assert anonymous.post("/sign-in", data=fields, headers=foreign).status_code == 403
    own = {"Origin": sqlite_site.url}
    assert anonymous.post("/sign-in", data=fields, headers=own).status_code == 303


def test_who_tries_too_often_is_told_when_to_come_back(sqlite_site: "Site") -> None:
    anonymous = sqlite_site.anonymous()
    fields = {"email": "nobody@north.example", "password": "wrong"}
    for _ in range(50):
        answer = anonymous.post("/sign-in", data=fields)
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_admins_change_their_own_password_only_with_the_old_one(sqlite_site: "Site") -> None:
    admin = sqlite_site.person(Role.ADMIN)
    me = get_user_by_email(sqlite_site.engine, "admin@north.example")
    answer = admin.post(f"/admin/users/{me.id}/password", headers=HTMX)
    assert (answer.status_code, "Account" in answer.text) == (403, True)


def test_the_audit_log_of_a_brand_is_for_its_admins(sqlite_site: "Site") -> None:
    for role, is_shown in ((Role.VIEWER, False), (Role.OPERATOR, False), (Role.ADMIN, True)):
        page = sqlite_site.person(role).get("/brands/acme").text
        assert ("Who changed what" in page) is is_shown, role
