"""Sync now, its progress and its end, and resyncs, over the API."""

from typing import TYPE_CHECKING, Any

from pipeline_assets.control.requests import Trigger, Wish, get_request, request_sync
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.audit import read_audit

if TYPE_CHECKING:
    from conftest import Site

SYNC = {"brand": "acme", "job": "meta_sync", "reason": "A new campaign"}
RESYNC = {"brand": "acme", "since": "2026-01-01", "until": "2026-02-28"}


def test_sync_now_makes_one_request_however_often_one_asks(site: "Site") -> None:
    operator = site.program(Role.OPERATOR)
    first = operator.post("/api/v1/requests", json=SYNC)
    assert first.status_code == 201
    found = first.json()
    assert first.headers["Location"] == f"/api/v1/requests/{found['id']}"
    assert (found["state"], found["trigger"]) == ("queued", "api")
    assert found["requested_by"] == "token:operator-north"
    assert found["requested_at"] == "2026-03-10T12:00:00Z"
    assert found["waits_for"] == "Dagster to start it"
    assert found["progress"][0]["dataset"] == "meta_ads_performance"
    site.clock.pass_by(seconds=1)
    second = operator.post("/api/v1/requests", json=SYNC)
    assert (second.status_code, second.json()["id"]) == (200, found["id"])
    assert second.headers["Location"] == first.headers["Location"]
    actions = [each.action for each in read_audit(site.engine, target="acme", limit=5)]
    assert actions[:2] == ["request.join", "request.create"]


REFUSED_SYNCS: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"brand": "nobody"}, 404, "There is no such brand, or none that you may see."),
    ({"job": "meta_snyc"}, 422, "There is no job 'meta_snyc'."),
    ({"datasets": ["scorecard"]}, 422, "'scorecard' is not a dataset of meta_sync."),
    ({"datasets": []}, 422, "The request names no dataset."),
    ({"datasets": "ad_assets"}, 422, "datasets cannot be used"),
    ({"reason": "x" * 10_000}, 422, "reason cannot be used"),
    ({"brand": "b" * 10_000}, 422, "brand cannot be used"),
    ({"brand": None}, 422, "brand cannot be used"),
    ({"window": 3}, 422, "window cannot be used"),
)


def test_a_sync_that_cannot_be_is_refused_with_the_reason(sqlite_site: "Site") -> None:
    operator = sqlite_site.program(Role.OPERATOR)
    for changes, status, message in REFUSED_SYNCS:
        answer = operator.post("/api/v1/requests", json=SYNC | changes)
        assert answer.status_code == status, changes
        assert answer.json()["error"]["message"].startswith(message)


def test_requests_are_listed_newest_first_with_filters_and_pages(site: "Site") -> None:
    made = []
    for brand_id, job in (
        ("acme", "meta_sync"),
        ("globex", "meta_sync"),
        ("acme", "asset_download"),
    ):
        wish = Wish(brand_id=brand_id, job=job, trigger=Trigger.MANUAL, requested_by="test")
        made.append(request_sync(site.engine, wish, now=site.clock.now)[0].id)
        site.clock.pass_by(minutes=1)
    viewer = site.program(Role.VIEWER)

    def ids(**query: object) -> list[str]:
        found = viewer.get("/api/v1/requests", params=query).json()
        return [each["id"] for each in found["items"]]

    assert ids() == made[::-1]
    assert ids(brand="acme") == [made[2], made[0]]
    assert ids(job="meta_sync", brand=["acme", "globex"]) == [made[1], made[0]]
    assert ids(state="running") == []
    assert ids(brand="rival") == []
    first = viewer.get("/api/v1/requests", params={"limit": 2}).json()
    assert ids(cursor=first["next_cursor"]) == [made[0]]


def test_a_request_is_cancelled_once(site: "Site") -> None:
    operator = site.program(Role.OPERATOR)
    url = operator.post("/api/v1/requests", json=SYNC).headers["Location"]
    assert operator.get(url).json()["state"] == "queued"
    cancelled = operator.post(f"{url}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    again = operator.post(f"{url}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert get_request(site.engine, cancelled.json()["id"]).finished_at == site.clock.now


def test_a_resync_is_started_shown_and_cancelled(site: "Site") -> None:
    operator = site.program(Role.OPERATOR)
    started = operator.post("/api/v1/resyncs", json=RESYNC | {"reason": "A new attribution"})
    assert started.status_code == 201
    found = started.json()
    assert (found["state"], found["done_days"], found["total_days"]) == ("running", 0, 59)
    assert operator.get(started.headers["Location"]).json() == found
    listed = operator.get("/api/v1/resyncs", params={"brand": "acme"}).json()["items"]
    assert listed == [found]
    cancelled = operator.post(f"{started.headers['Location']}/cancel").json()
    assert cancelled["state"] == "cancelled"
    again = operator.post(f"{started.headers['Location']}/cancel")
    assert again.status_code == 409


def test_resyncs_are_listed_page_by_page(sqlite_site: "Site") -> None:
    operator = sqlite_site.program(Role.OPERATOR)
    for brand_id in ("acme", "globex"):
        operator.post("/api/v1/resyncs", json=RESYNC | {"brand": brand_id})
        sqlite_site.clock.pass_by(minutes=1)
    first = operator.get("/api/v1/resyncs", params={"limit": 1}).json()
    assert first["items"][0]["brand_id"] == "globex"
    second = operator.get("/api/v1/resyncs", params={"cursor": first["next_cursor"]}).json()
    assert [each["brand_id"] for each in second["items"]] == ["acme"]


REFUSED_RESYNCS: tuple[tuple[dict[str, Any], int], ...] = (
    ({"since": "2026-03-01"}, 422),
    ({"until": "2026-13-01"}, 422),
    ({"until": "9999-12-31"}, 422),
    ({"since": "0001-01-01"}, 422),
    ({"since": "1e400"}, 422),
    ({"job": "nonsense"}, 422),
    ({"brand": "nobody"}, 404),
)


def test_a_resync_that_cannot_be_is_refused(sqlite_site: "Site") -> None:
    operator = sqlite_site.program(Role.OPERATOR)
    for changes, status in REFUSED_RESYNCS:
        answer = operator.post("/api/v1/resyncs", json=RESYNC | changes)
        assert answer.status_code == status, changes
    assert operator.get("/api/v1/resyncs").json()["items"] == []
