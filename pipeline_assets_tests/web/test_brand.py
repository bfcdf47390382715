"""A brand's page over HTTP: everything that it shows, and what its buttons do."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.registry import get_brand, pause_brand
from pipeline_assets.control.cadences import pause_cadence, set_cadence
from pipeline_assets.control.requests import Trigger, Wish, list_requests, request_sync
from pipeline_assets.control.resyncs import Resync, list_resyncs, start_resync
from pipeline_assets.datasets import DATASETS
from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import rate_budgets

if TYPE_CHECKING:
    from conftest import Site

HTMX = {"HX-Request": "true"}
PERFORMANCE, CREATIVES = "meta_ads_performance", "meta_ad_creatives"
TOKEN = "EAAtokenOfTheSimulatorForTests"
EXPIRES_AT = datetime(2099, 5, 1, tzinfo=UTC)


def told(answer: httpx.Response) -> str:
    assert answer.status_code == 204, answer.text
    return answer.headers["hx-trigger"].removeprefix('{"told": {"text": "').removesuffix('"}}')


def store_day(site: "Site", days_ago: int, outcome: str, run_id: str, **values: object) -> None:
    at = site.clock.now - timedelta(days=days_ago)
    site.store_attempt("acme", PERFORMANCE, run_id, began_at=at, outcome=outcome, **values)


def start(site: "Site", brand_id: str = "acme") -> Resync:
    return start_resync(
        site.engine,
        brand_id=brand_id,
        job="meta_sync",
        since=date(2026, 1, 1),
        until=date(2026, 3, 1),
        actor="test",
        now=site.clock.now,
    )


def test_every_dataset_stands_there_with_its_state_and_its_error(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE)
    site.store_status(
        "acme",
        CREATIVES,
        last_success_at=site.clock.now - timedelta(hours=30),
        last_attempt_outcome="failed",
        error_class="CredentialError",
        error_message="<script>alert(1)</script>",
        advice="Make a new token.",
    )
    page = site.person(Role.OPERATOR).get("/brands/acme").text
    assert re.findall(r'<tr id="(\w+)">\s*<th scope="row"', page) == [*DATASETS]
    assert "125 %" in page
    assert "<b>CredentialError</b>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "Make a new token." in page
    assert 'data-trouble-count="1"' in page
    assert f"/assets/{PERFORMANCE}?view=partitions&amp;partition=acme" in page


def test_the_strip_tells_each_of_the_last_thirty_days(site: "Site") -> None:
    store_day(site, 0, "succeeded", "run-1")
    store_day(site, 1, "succeeded", "run-2")
    store_day(site, 1, "failed", "run-3")
    store_day(site, 2, "failed", "run-4")
    store_day(site, 3, "cancelled", "run-5")
    store_day(site, 40, "failed", "run-6")
    page = site.person(Role.VIEWER).get("/brands/acme").text
    assert (
        'aria-label="Last 30 days: 1 with successes only, 1 with successes and failures, '
        '1 with failures only, 27 without attempts"'
    ) in page
    assert "<title>2026-03-09: 1 succeeded, 1 failed</title>" in page
    assert "<title>2026-03-07: no attempt</title>" in page


def test_readiness_is_what_apps_are_told(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE, last_success_at=site.clock.now - timedelta(days=11))
    page = site.person(Role.VIEWER).get("/brands/acme").text
    found = re.search(r'id="ready-ad_performance"><summary>(.*?)</summary>', page)
    assert found is not None
    assert "withhold" in found[1]
    told_apps = site.program(Role.EMBED).get("/api/v1/brands/acme/readiness/ad_performance").json()
    assert told_apps["lines"][0]["text"] in page


def test_limits_show_how_far_they_are_and_until_when_they_are_shut(site: "Site") -> None:
    limits = {
        "account:act_1": (91.4, None),
        "account:act_1:ads_insights": (100.0, site.clock.now + timedelta(minutes=4)),
        "account:act_10": (77.7, None),
        "app:default": (12.0, site.clock.now - timedelta(minutes=4)),
        "app:other": (66.6, None),
    }
    with write_transaction(site.engine) as connection:
        for key, (usage_pct, blocked_until) in limits.items():
            row = {"key": key, "usage_pct": usage_pct, "blocked_until": blocked_until}
            row |= {"detail": {}, "reason": "Meta said so", "updated_at": site.clock.now}
            connection.execute(rate_budgets.insert().values(row))
    page = site.person(Role.VIEWER).get("/brands/acme").text
    assert re.findall(r'<th scope="row">([^<]+)</th><td><meter', page) == [
        "act_1",
        "act_1, ads insights",
        "app default",
    ]
    assert page.count("blocked until") == 1
    assert "in 4 min</time>" in page
    assert "91 %" in page


def test_cadences_requests_resyncs_and_the_audit_are_listed(site: "Site") -> None:
    now = site.clock.now
    set_cadence(site.engine, "acme", "meta_sync", "daily", actor="user:<i>", now=now)
    pause_cadence(site.engine, "acme", "meta_sync", reason="New token", actor="t", now=now)
    wish = Wish(
        brand_id="acme", job="meta_sync", trigger=Trigger.MANUAL, requested_by="user:bob", reason=""
    )
    request, _ = request_sync(site.engine, wish, now=now)
    start(site)
    page = site.person(Role.ADMIN).get("/brands/acme").text
    assert 'id="cadence-meta_sync"' in page
    assert "<bdi>New token</bdi>" in page
    assert f'href="/history/{request.chain_id}"' in page
    assert "user:bob" in page
    assert "0 of 60 days" in page
    assert "resync.start" in page
    assert "user:&lt;i&gt;" in page
    assert "Cancel the sync" in page


def test_a_viewer_sees_it_all_and_changes_nothing(site: "Site") -> None:
    set_cadence(site.engine, "acme", "meta_sync", "daily", actor="t", now=site.clock.now)
    resync = start(site)
    viewer = site.person(Role.VIEWER)
    page = viewer.get("/brands/acme").text
    assert page.count('method="post"') == 1  # signing out
    days = {"since": "2026-01-01", "until": "2026-01-02"}
    for path in ("access", "resyncs", f"resyncs/{resync.id}/cancel", "sync", "pause", "resume"):
        answer = viewer.post(f"/brands/acme/{path}", data=days | {"reason": "r"})
        assert answer.status_code == 403, path


def test_a_paused_brand_says_why_and_counts_no_trouble(site: "Site") -> None:
    site.store_status("acme", PERFORMANCE, last_success_at=site.clock.now - timedelta(days=9))
    until = site.clock.now + timedelta(days=2)
    pause_brand(
        site.engine, "acme", reason="Moving house", until=until, actor="t", now=site.clock.now
    )
    page = site.person(Role.OPERATOR).get("/brands/acme").text
    assert "<bdi>Moving house</bdi>" in page
    assert 'data-trouble-count="0"' in page
    assert 'action="/brands/acme/resume"' in page
    site.clock.pass_by(days=3)
    assert 'action="/brands/acme/pause"' in site.person(Role.ADMIN).get("/brands/acme").text


def test_a_brand_is_paused_until_a_time_in_the_zone_that_the_page_showed(site: "Site") -> None:
    operator = site.person(Role.OPERATOR)
    form = {"reason": "Moving", "until": "2026-03-12T08:00", "until_zone": "America/New_York"}
    assert told(operator.post("/brands/acme/pause", data=form, headers=HTMX)) == "acme is paused."
    paused = get_brand(site.engine, "acme")
    assert paused.paused_until == datetime(2026, 3, 12, 12, tzinfo=UTC)
    told(operator.post("/brands/acme/pause", data=form | {"until": ""}, headers=HTMX))
    assert get_brand(site.engine, "acme").paused_until is None
    for wrong in ({"until": "soon"}, {"until": "2020-01-01T00:00"}, {"reason": "r\0"}):
        answer = operator.post("/brands/acme/pause", data=form | wrong, headers=HTMX)
        assert answer.status_code == 422, wrong


def test_a_resync_starts_is_shown_and_is_cancelled(site: "Site") -> None:
    operator = site.person(Role.OPERATOR)
    form = {"since": "2026-01-01", "until": "2026-03-01", "reason": "Late purchases"}
    answer = operator.post("/brands/acme/resyncs", data=form, headers=HTMX)
    assert told(answer) == "acme: 60 days are synced again, newest first."
    (resync,) = list_resyncs(site.engine)
    assert (resync.requested_by, resync.reason) == ("user:operator@north.example", "Late purchases")
    (piece,) = list_requests(site.engine)
    assert (piece.window_since, piece.window_until) == (date(2026, 2, 2), date(2026, 3, 1))
    again = operator.post("/brands/acme/resyncs", data=form | {"since": "2026-02-01"})
    assert again.status_code == 422
    assert "is being synced again already" in again.text
    cancelled = operator.post(f"/brands/acme/resyncs/{resync.id}/cancel", headers=HTMX)
    assert told(cancelled) == "The resync is cancelled; 0 days are done."
    assert list_resyncs(site.engine)[0].state == "cancelled"
    assert operator.post(f"/brands/acme/resyncs/{resync.id}/cancel").status_code == 422


def test_resyncs_of_other_brands_look_as_if_they_were_not_there(site: "Site") -> None:
    theirs, other = start(site, "rival"), start(site, "globex")
    operator = site.person(Role.OPERATOR)
    answers = [
        operator.post(f"/brands/acme/resyncs/{each}/cancel", headers=HTMX)
        for each in (theirs.id, other.id, "unknown", "x" * 5_000)
    ]
    assert {(each.status_code, each.text) for each in answers} == {
        (404, "There is no such resync, or none that you may see.")
    }
    assert {each.state for each in list_resyncs(site.engine)} == {"running"}


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    monkeypatch.setenv("TOKEN_OF_TESTS", TOKEN)
    world = World(
        accounts=(AccountSpec(id="act_1", name="Acme Europe"),),
        tokens=(TokenSpec(TOKEN, expires_at=EXPIRES_AT),),
    )
    with SimulatorServer(world) as server:
        yield server


def add_reachable(site: "Site", graph_url: str, *accounts: str) -> None:
    meta = {"ad_accounts": accounts, "token": "env:TOKEN_OF_TESTS", "graph_url": graph_url}
    site.add_brand("shop", sources={"meta": meta})


def test_a_test_of_access_is_kept_with_the_tokens_end_and_no_page_asks_again(
    site: "Site", meta: SimulatorServer
) -> None:
    add_reachable(site, meta.url, "act_1")
    operator = site.person(Role.OPERATOR)
    assert "Nobody has asked Meta" in operator.get("/brands/shop").text
    assert meta.calls == ()
    site.clock.pass_by(minutes=1)
    answer = operator.post("/brands/shop/access", headers=HTMX)
    assert told(answer) == "Meta lets shop read all of its accounts."
    calls = len(meta.calls)
    site.clock.pass_by(hours=5)
    page = site.person(Role.VIEWER).get("/brands/shop").text
    assert f'<dt>Token expires</dt><dd><time datetime="{EXPIRES_AT.isoformat()}"' in page
    assert "Acme Europe is active" in page
    assert "5 h ago</time>, asked by <bdi>user:operator@north.example</bdi>" in page
    assert len(meta.calls) == calls
    assert TOKEN not in page
    (entry, *_) = read_audit(site.engine, target="shop", limit=1)
    assert (entry.action, entry.organization_id) == ("brand.test_access", "north")
    assert TOKEN not in str(entry.detail)


def test_what_stands_in_the_way_of_a_sync_is_told_and_kept(
    site: "Site", meta: SimulatorServer
) -> None:
    add_reachable(site, meta.url, "act_1", "act_404")
    operator = site.person(Role.OPERATOR)
    assert told(operator.post("/brands/shop/access", headers=HTMX)).startswith("shop: act_404: ")
    page = operator.get("/brands/shop").text
    assert "not ok" in page
    assert "What to do:" in page


def test_a_brand_without_a_token_or_without_meta_is_answered_too(
    sqlite_site: "Site", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKEN_OF_TESTS", raising=False)
    sqlite_site.add_brand("bare", sources={})
    operator = sqlite_site.person(Role.OPERATOR)
    answer = operator.post("/brands/acme/access", headers=HTMX)
    assert told(answer) == "acme: token: The secret env:TOKEN_OF_TESTS is missing or empty."
    page = operator.get("/brands/bare").text
    assert "The brand has no Meta source." in page
    assert "Sync now" not in page
    assert "No cadence: nothing is synced by itself." in page


def test_unknown_and_other_organizations_brands_look_alike(site: "Site") -> None:
    operator = site.person(Role.OPERATOR)
    for method, path in (
        ("GET", ""),
        ("POST", "/access"),
        ("POST", "/resyncs"),
        ("POST", "/resyncs/x/cancel"),
    ):
        days = {"since": "2026-01-01", "until": "2026-01-02"} if path == "/resyncs" else None
        answers = [
            operator.request(method, f"/brands/{brand}{path}", data=days, headers=HTMX)
            for brand in ("rival", "nobody", "b" * 5_000)
        ]
        assert {(each.status_code, each.text) for each in answers} == {
            (404, "There is no such brand, or none that you may see.")
        }, path
        assert site.anonymous().request(method, f"/brands/acme{path}").status_code == 303
        assert site.program(Role.EMBED).request(method, f"/brands/acme{path}").status_code == 403
    assert site.person(Role.OPERATOR, "south").get("/brands/rival").status_code == 200
    set_feature(
        site.engine, "north", "pipeline_manager", is_shown=False, actor="t", now=site.clock.now
    )
    assert operator.get("/brands/acme").status_code == 404


def test_bad_days_are_refused(site: "Site") -> None:
    operator = site.person(Role.OPERATOR)
    good = {"since": "2026-01-01", "until": "2026-03-01"}
    for change in (
        {"since": "yesterday"},
        {"since": ""},
        {"since": "2026-03-02"},
        {"until": "2027-01-01"},
        {"since": "1999-01-01"},
        {"since": "99999-01-01"},
        {"job": "no_job"},
        {"job": "ad_classification\0"},
        {"job": "j" * 10_000},
        {"reason": "r" * 10_000},
        {"reason": "r\0"},
    ):
        answer = operator.post("/brands/acme/resyncs", data=good | change, headers=HTMX)
        assert answer.status_code == 422, change
    assert list_resyncs(site.engine) == []
    assert operator.get("/brands/%00").status_code == 422


def test_any_name_is_shown_as_text(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    for number, name in enumerate(("<b>bold</b>", "💄" * 50, "مرحبا بالعالم", "n" * 200)):
        sqlite_site.add_brand(f"odd{number}", name=name)
        page = viewer.get(f"/brands/odd{number}")
        assert page.status_code == 200
        assert "<b>bold" not in page.text


def test_the_number_of_queries_does_not_grow_with_brands_or_history(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    viewer.get("/brands/acme")
    asked: list[str] = []
    sa.event.listen(
        sqlite_site.engine, "before_cursor_execute", lambda *args: asked.append(args[2])
    )
    counts = []
    for size in (1, 30):
        for number in range(size):
            sqlite_site.add_brand(f"more{size}-{number}")
            store_day(sqlite_site, number, "succeeded", f"run-{size}-{number}")
        asked.clear()
        assert viewer.get("/brands/acme").status_code == 200
        counts.append(len([each for each in asked if each.startswith("SELECT")]))
    assert counts[0] == counts[1] <= 26
