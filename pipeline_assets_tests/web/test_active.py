"""Active jobs over HTTP: what runs, why the rest waits, what stays put during a poll."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from pipeline_assets.brands.registry import pause_brand
from pipeline_assets.control.cadences import set_cadence
from pipeline_assets.control.resyncs import start_resync
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import (
    brands,
    dataset_attempts,
    rate_budgets,
    requests,
    resyncs,
    run_heartbeats,
)

if TYPE_CHECKING:
    from conftest import Site

PERFORMANCE, CREATIVES = "meta_ads_performance", "meta_ad_creatives"
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}

Store = Callable[..., str]


@pytest.fixture
def store(site: "Site") -> Store:
    """`store("r1", brand="acme", state="running", …)`: one request of five minutes ago."""

    def insert(name: str, *, brand: str = "acme", **values: Any) -> str:
        at = site.clock.now - timedelta(minutes=5)
        row = {
            "id": name,
            "chain_id": name,
            "organization_id": "south" if brand == "rival" else "north",
            "brand_id": brand,
            "job": "meta_sync",
            "state": "queued",
            "trigger": "schedule",
            "requested_by": "schedule",
            "reason": "",
            "requested_at": at,
            "not_before": at,
            "priority": 0,
            "attempt": 1,
            **values,
        }
        with write_transaction(site.engine) as connection:
            connection.execute(requests.insert().values(row))
        return name

    return insert


def change(site: "Site", name: str, **values: Any) -> None:
    with write_transaction(site.engine) as connection:
        connection.execute(requests.update().where(requests.c.id == name).values(values))


def shown(page: str) -> list[str]:
    return re.findall(r'<tr id="request-([^"]+)"', page)


def row_of(page: str, name: str) -> str:
    row = page.partition(f'<tr id="request-{name}"')[2].partition("</tr>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row.partition(">")[2]))


def test_what_runs_comes_first_then_the_line_then_what_waits_for_its_time(
    site: "Site", store: Store
) -> None:
    now = site.clock.now
    store("later", job="scorecard", not_before=now + timedelta(minutes=9), attempt=2)
    store("plain", brand="globex")
    store("urgent", brand="globex", job="asset_download", priority=10)
    store("with-dagster", job="ad_classification", state="launched", run_id="r2")
    store("running", state="running", run_id="r1", started_at=now - timedelta(minutes=3))
    store("theirs", brand="rival", priority=10, requested_at=now - timedelta(hours=1))
    page = site.person(Role.VIEWER).get("/active").text
    assert shown(page) == ["running", "with-dagster", "urgent", "plain", "later"]
    assert "waits for its next try, in 9 min" in row_of(page, "later")
    assert "waits for its run to start" in row_of(page, "with-dagster")
    assert "waits for 2 before it" in row_of(page, "plain")  # the rival's, too, is before it
    assert "3 min ago" in row_of(page, "running")
    assert 'name="id"' not in page  # a viewer has no buttons
    assert "Cancel" not in page


def test_what_holds_a_request_up_is_said(site: "Site", store: Store) -> None:
    now = site.clock.now
    store("paused", brand="globex")
    pause_brand(site.engine, "globex", reason="Holidays", actor="test", now=now)
    store("first", state="running", run_id="r1", started_at=now)
    store("second", trigger="dagster", state="launched", run_id="r2")
    with write_transaction(site.engine) as connection:
        budget = {
            "key": "account:act_1:insights",
            "usage_pct": 99,
            "detail": {},
            "reason": "",
            "blocked_until": now + timedelta(minutes=4),
            "updated_at": now,
        }
        connection.execute(rate_budgets.insert().values(budget))
    page = site.person(Role.OPERATOR).get("/active").text
    assert "waits for brand globex is paused" in row_of(page, "paused")
    assert "Resume" in row_of(page, "paused")
    assert "waits for the end of another run of its job, request first" in row_of(page, "second")
    assert "rate limit, opens in 4 min" in row_of(page, "first")
    assert "Pause…" in row_of(page, "first")


def test_a_running_dataset_shows_its_progress_and_the_age_of_its_heartbeat(
    site: "Site", store: Store, nasty: str
) -> None:
    now = site.clock.now
    store("running", state="running", run_id="r1", started_at=now)
    beat = {
        "run_id": "r1",
        "dataset": CREATIVES,
        "brand_id": "acme",
        "host": "h",
        "boot_id": "b",
        "pid": 1,
        "process_started_at": now,
        "done": 1200,
        "total": 4000,
        "stage": nasty,
        "beat_at": now - timedelta(seconds=7),
    }
    attempt = {"brand_id": "acme", "run_id": "r1", "request_id": "running", "planned_at": now}
    with write_transaction(site.engine) as connection:
        connection.execute(run_heartbeats.insert().values(beat))
        done = {"dataset": PERFORMANCE, "outcome": "succeeded", "records": 51_000}
        connection.execute(dataset_attempts.insert().values({**attempt, **done}))
        connection.execute(dataset_attempts.insert().values({**attempt, "dataset": CREATIVES}))
    page = site.person(Role.VIEWER).get("/active").text
    row = row_of(page, "running")
    assert "Ad performance succeeded 51,000 records" in row
    assert "1,200 of 4,000 heartbeat 7 s ago" in row
    assert '<progress aria-label="meta_ad_creatives" max="4000" value="1200">' in page
    assert "<script>alert" not in page


def test_a_resync_shows_how_many_of_its_days_are_done(site: "Site") -> None:
    today = site.clock.now.date()
    resync = start_resync(
        site.engine,
        brand_id="acme",
        job="meta_sync",
        since=today - timedelta(days=89),
        until=today,
        actor="test",
        now=site.clock.now,
    )
    with write_transaction(site.engine) as connection:
        done = {"remaining_until": today - timedelta(days=28)}
        connection.execute(resyncs.update().where(resyncs.c.id == resync.id).values(done))
    page = site.person(Role.OPERATOR).get("/active").text
    [name] = shown(page)
    assert "28 of 90 days" in row_of(page, name)


def test_a_poll_keeps_rows_in_their_places_and_those_that_ended_for_a_minute(
    site: "Site", store: Store
) -> None:
    for number, brand in enumerate(("acme", "globex")):
        store(
            f"r{number}", brand=brand, requested_at=site.clock.now - timedelta(minutes=9 - number)
        )
    store("theirs", brand="rival")
    viewer = site.person(Role.VIEWER)
    page = viewer.get("/active").text
    assert shown(page) == ["r0", "r1"]
    [poll] = re.findall(r'hx-get="([^"]+)" hx-trigger="poll"', page)
    change(site, "r1", state="running", started_at=site.clock.now, run_id="x")
    change(site, "r0", state="succeeded", started_at=site.clock.now, finished_at=site.clock.now)
    store("new", job="scorecard", priority=10)
    answer = viewer.get(poll, headers=PARTIAL).text
    assert answer.lstrip().startswith('<main id="live"')
    assert shown(answer) == ["r0", "r1", "new"]
    assert "succeeded" in row_of(answer, "r0")
    site.clock.pass_by(seconds=59)
    assert shown(viewer.get(poll, headers=PARTIAL).text) == ["r0", "r1", "new"]
    site.clock.pass_by(seconds=1)
    assert shown(viewer.get(poll, headers=PARTIAL).text) == ["r1", "new"]
    assert shown(viewer.get("/active?rows=theirs,nobody,r1").text) == ["r1", "new"]


def test_the_ticked_ones_are_cancelled_and_no_other(site: "Site", store: Store) -> None:
    for name, brand in (("r0", "acme"), ("r1", "globex"), ("r2", "rival")):
        store(name, brand=brand)
    operator = site.person(Role.OPERATOR)
    page = operator.get("/active").text
    assert re.findall(r'name="id" value="(r\d)" form="bulk-cancel"', page) == ["r0", "r1"]
    assert 'data-counts="id" data-label="Cancel the # ticked"' in page
    answer = operator.post("/requests/cancel", data={"id": ["r1"]}, headers={"HX-Request": "true"})
    assert answer.status_code == 204
    assert shown(operator.get("/active").text) == ["r0"]
    assert operator.post("/requests/cancel", data={"id": ["r0", "r2"]}).status_code == 404
    assert shown(operator.get("/active").text) == ["r0"]


def test_nothing_to_do_shows_what_is_due_next(site: "Site") -> None:
    viewer = site.person(Role.VIEWER)
    assert "No cadence is set" in viewer.get("/active").text
    for brand in ("acme", "rival"):
        set_cadence(site.engine, brand, "meta_sync", "hourly", actor="test", now=site.clock.now)
    page = viewer.get("/active").text
    assert "Nothing is queued or running" in page
    due = page.partition('<table class="next">')[2].partition("</table>")[0]
    assert "Acme" in due
    assert "Rival" not in due


def test_the_page_asks_as_often_for_many_as_for_few(site: "Site", store: Store) -> None:
    for number in range(5):
        store(f"r{number}", job=f"job{number}")
    viewer = site.person(Role.VIEWER)
    viewer.get("/active")  # the session's last-seen time is written once a minute
    asked: list[str] = []

    def note(*call: Any) -> None:
        asked.append(call[2])

    sa.event.listen(site.engine, "before_cursor_execute", note)

    def count() -> int:
        asked.clear()
        assert viewer.get("/active").status_code == 200
        return len([each for each in asked if each.startswith("SELECT")])

    few = count()
    for number in range(5, 130):
        store(f"r{number}", job=f"job{number}", state="running", run_id=f"run{number}")
    assert count() <= 13
    assert few <= 13
    page = viewer.get("/active").text
    assert len(shown(page)) == 100
    assert "1 to 100 of 130" in page
    assert len(shown(viewer.get("/active?page=2").text)) == 30


def test_who_may_not_look_does_not(sqlite_site: "Site") -> None:
    assert sqlite_site.anonymous().get("/active").status_code == 303
    assert sqlite_site.program(Role.ADMIN).get("/active").status_code == 403


@pytest.mark.parametrize("query", ["page=0", "page=x", f"rows={'a,' * 20_000}", "rows=%00"])
def test_a_parameter_that_makes_no_sense_is_refused(sqlite_site: "Site", query: str) -> None:
    assert sqlite_site.person(Role.VIEWER).get(f"/active?{query}").status_code == 422


def test_a_brand_that_cannot_be_read_takes_no_page_away(site: "Site", store: Store) -> None:
    store("its")
    store("all", brand="*north", job="template_approval")
    wrong = {
        "timezone": "Mars",
        "sources": {"meta": {}, "templates": {"approve_from": -5}},
        "windows": {"gone": 5, PERFORMANCE: 0, CREATIVES: "soon"},
    }
    with write_transaction(site.engine) as connection:
        connection.execute(brands.update().where(brands.c.id == "acme").values(wrong))
    admin = site.person(Role.ADMIN)
    others = ("/", "/matrix", "/schedules", "/history", "/template-queue", "/admin/brands")
    for address in (*others, "/api/v1/brands", "/api/v1/status"):
        assert admin.get(address).status_code == 200, address
    page = admin.get("/active").text
    assert set(shown(page)) == {"its", "all"}
    assert "it cannot be read" in row_of(page, "all")
