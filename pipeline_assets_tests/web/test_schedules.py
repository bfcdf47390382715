"""Schedules over HTTP: what is listed, the preview, and changes of one and of many."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import sqlalchemy as sa

from pipeline_assets.brands.registry import pause_brand
from pipeline_assets.control.cadences import (
    Cadence,
    list_cadences,
    pause_cadence,
    set_cadence,
)
from pipeline_assets.control.requests import list_requests
from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.tables import cadences

if TYPE_CHECKING:
    from conftest import Site

HTMX = {"HX-Request": "true"}
CHANGES = ("/schedules/set", "/schedules/pause", "/schedules/resume")


def add(site: "Site", brand_id: str, cadence: str = "30 6 * * *", job: str = "meta_sync") -> None:
    set_cadence(site.engine, brand_id, job, cadence, actor="test", now=site.clock.now)


def stored(site: "Site") -> dict[str, Cadence]:
    return {each.target: each for each in list_cadences(site.engine)}


def rows(page: httpx.Response) -> list[str]:
    assert page.status_code == 200
    return re.findall(r'<tr id="row-([^"]+)"', page.text)


def told(answer: httpx.Response) -> str:
    assert answer.status_code == 204, answer.text
    return answer.headers["hx-trigger"].removeprefix('{"told": {"text": "').removesuffix('"}}')


def test_cadences_are_listed_with_their_next_run_and_brands_without_one_are_too(
    site: "Site",
) -> None:
    add(site, "acme", "daily")
    add(site, "acme", "weekly", "ad_classification")
    page = site.person(Role.OPERATOR).get("/schedules")
    assert rows(page) == ["acme:ad_classification", "acme:meta_sync", "globex:meta_sync"]
    assert stored(site)["acme:meta_sync"].in_words in page.text
    assert "no cadence: <a" in page.text
    assert "rival" not in page.text


def test_a_brand_without_any_source_says_so_and_cannot_be_ticked(site: "Site") -> None:
    site.add_brand("bare", sources={})
    page = site.person(Role.OPERATOR).get("/schedules?q=bare")
    assert "no source is configured: nothing can run" in page.text
    assert 'name="target" value="bare' not in page.text


def test_filters_and_orders_choose_rows(site: "Site") -> None:
    add(site, "acme", "0 18 * * *")
    add(site, "globex", "0 13 * * *")
    site.add_brand("third")
    pause_cadence(
        site.engine, "acme", "meta_sync", reason="Holidays", actor="test", now=site.clock.now
    )
    viewer = site.person(Role.VIEWER)
    chosen = {
        "q=GLOB": ["globex:meta_sync"],
        "status=paused": ["acme:meta_sync"],
        "status=active": ["globex:meta_sync"],
        "status=none": ["third:meta_sync"],
        "status=trouble": [],
        "sort=next": ["globex:meta_sync", "acme:meta_sync", "third:meta_sync"],
        "job=ad_classification": [
            f"{brand}:ad_classification" for brand in ("acme", "globex", "third")
        ],
    }
    for query, expected in chosen.items():
        assert rows(viewer.get(f"/schedules?{query}")) == expected, query
    assert "No schedule matches" in viewer.get("/schedules?status=trouble").text


def test_a_refused_tick_a_pause_and_the_brands_pause_each_stand_in_words(site: "Site") -> None:
    for brand_id in ("acme", "globex"):
        add(site, brand_id)
    site.add_brand("third")
    add(site, "third")
    pause_brand(site.engine, "globex", reason="Moving", actor="test", now=site.clock.now)
    until = site.clock.now + timedelta(hours=5)
    pause_cadence(
        site.engine,
        "third",
        "meta_sync",
        reason="<b>new token</b>",
        until=until,
        actor="test",
        now=site.clock.now,
    )
    tick = {
        "last_tick_at": site.clock.now - timedelta(hours=2),
        "last_tick_result": "refused: no source",
    }
    with site.engine.begin() as connection:
        connection.execute(cadences.update().where(cadences.c.brand_id == "acme").values(tick))
    page = site.person(Role.VIEWER).get("/schedules").text
    assert "refused: no source" in page
    assert "with its brand" in page
    assert "&lt;b&gt;new token&lt;/b&gt;" in page
    assert "in 5 h</time>" in page
    assert ">trouble <b>1</b>" in page
    assert ">paused <b>2</b>" in page


def test_an_open_schedule_shows_its_next_three_times_and_how_to_change_it(site: "Site") -> None:
    add(site, "acme", "30 6 * * *")
    page = site.person(Role.OPERATOR).get("/schedules?open=acme:meta_sync").text
    for day in (11, 12, 13):
        assert re.search(rf"\w\w\w 2026-03-{day} 06:30 UTC", page)
    assert re.search(r'id="acme-meta_sync-custom" value="custom" checked', page)
    assert "Saving starts no run" in page
    assert 'action="/schedules/pause"' in page
    assert "<aside" not in site.person(Role.ADMIN).get("/schedules?open=rival:meta_sync").text


def test_a_viewer_sees_the_times_and_no_form(site: "Site") -> None:
    add(site, "acme", "30 6 * * *")
    page = site.person(Role.VIEWER).get("/schedules?open=acme:meta_sync").text
    assert "2026-03-11 06:30 UTC" in page
    assert "/schedules/set" not in page
    assert 'name="target"' not in page


def test_the_preview_shows_the_times_and_what_clocks_do_to_them(site: "Site") -> None:
    form = {
        "target": "acme:meta_sync",
        "cadence": "custom",
        "cron": "30 2 * * *",
        "timezone": "Europe/Paris",
    }
    fragment = site.person(Role.VIEWER).get("/schedules/preview", params=form).text
    assert "<html" not in fragment
    assert "At 02:30 every day (Europe/Paris)" in fragment
    assert "Wed 2026-03-11 02:30 CET" in fragment
    assert "On 2026-03-29 the clock in Europe/Paris jumps from 02:00 to 03:00" in fragment
    preset = site.person(Role.OPERATOR).get(
        "/schedules/preview", params=form | {"cadence": "weekly", "timezone": ""}
    )
    assert "weekly: at 13:" in preset.text
    assert "(UTC)" in preset.text
    assert "When clocks change" not in preset.text


def test_the_preview_tells_what_is_wrong_and_whose_it_is(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)

    def preview(**form: Any) -> str:
        answer = viewer.get("/schedules/preview", params={"target": "acme:meta_sync"} | form)
        assert answer.status_code == 200
        return answer.text

    assert "&#39;nonsense&#39; is no cadence" in preview(cadence="custom", cron="nonsense")
    assert "ticks 1 min apart" in preview(cadence="custom", cron="* * * * *")
    assert "Moon/Base" in preview(cadence="daily", timezone="Moon/Base")
    assert "no_job" in preview(target="acme:no_job", cadence="daily")
    many = preview(target=["acme:meta_sync", "globex:meta_sync"], cadence="daily")
    assert "for acme:meta_sync, the first of those ticked" in many
    assert "next three times" in viewer.get("/schedules/preview").text
    for hidden in ("rival:meta_sync", "nobody:meta_sync", ":"):
        answer = viewer.get("/schedules/preview", params={"target": hidden, "cadence": "daily"})
        assert answer.status_code == 404
        assert "There is no such brand" in answer.text


def test_setting_one_says_when_it_runs_and_that_no_run_starts(site: "Site") -> None:
    operator = site.person(Role.OPERATOR)
    form = {"target": "acme:meta_sync", "cadence": "custom", "cron": "15 7 * * 1-5"}
    answer = operator.post("/schedules/set", data=form, headers=HTMX)
    assert told(answer) == (
        "acme:meta_sync runs At 07:15 on Monday through Friday (UTC). Saving starts no run."
    )
    cadence = stored(site)["acme:meta_sync"]
    assert (cadence.cron, cadence.timezone) == ("15 7 * * 1-5", "UTC")
    assert cadence.next_run_at == datetime(2026, 3, 11, 7, 15, tzinfo=UTC)
    assert list_requests(site.engine) == []
    assert read_audit(site.engine, target="acme:meta_sync", limit=1)[0].actor == (
        "user:operator@north.example"
    )


def test_bulk_changes_act_on_exactly_the_ticked_rows(site: "Site") -> None:
    site.add_brand("third")
    operator = site.person(Role.OPERATOR)
    both = ["acme:meta_sync", "third:meta_sync"]
    zone = {"cadence": "hourly", "timezone": "Europe/Paris"}
    answer = operator.post("/schedules/set", data={"target": both, **zone}, headers=HTMX)
    assert told(answer) == "2 cadences are set. Saving starts no run."
    add(site, "globex")
    assert {key: each.preset for key, each in stored(site).items()} == {
        "acme:meta_sync": "hourly",
        "globex:meta_sync": None,
        "third:meta_sync": "hourly",
    }
    pause = {"target": both, "reason": "Holidays"}
    assert told(operator.post("/schedules/pause", data=pause, headers=HTMX)) == (
        "2 cadences are paused."
    )
    now = site.clock.now
    assert [each.is_paused(now) for each in stored(site).values()] == [True, False, True]
    resumed = operator.post("/schedules/resume", data={"target": both}, headers=HTMX)
    assert told(resumed) == "2 cadences go on. Resuming starts no run."
    assert not any(each.is_paused(now) for each in stored(site).values())


def test_a_pause_ends_at_a_time_in_the_zone_that_the_page_showed(site: "Site") -> None:
    add(site, "acme")
    form = {
        "target": "acme:meta_sync",
        "reason": "Holidays",
        "until": "2026-03-12T08:00",
        "until_zone": "America/New_York",
    }
    told(site.person(Role.OPERATOR).post("/schedules/pause", data=form, headers=HTMX))
    paused = stored(site)["acme:meta_sync"]
    assert paused.paused_until == datetime(2026, 3, 12, 12, tzinfo=UTC)
    assert paused.paused_reason == "Holidays"


def test_one_that_is_refused_holds_up_no_other_and_is_told(site: "Site") -> None:
    add(site, "acme")
    form = {"target": ["globex:meta_sync", "acme:meta_sync"], "reason": "Holidays"}
    answer = site.person(Role.OPERATOR).post("/schedules/pause", data=form, headers=HTMX)
    assert told(answer) == (
        "acme:meta_sync is paused. 1 refused: There is no cadence of meta_sync for brand globex."
    )


def test_without_scripts_a_change_leads_back_to_the_page(site: "Site") -> None:
    form = {"target": "acme:meta_sync", "cadence": "daily"}
    answer = site.person(Role.OPERATOR).post(
        "/schedules/set", data=form, headers={"Referer": f"{site.url}/schedules?q=a"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/schedules?q=a")


def test_only_operators_change_and_only_what_is_theirs(site: "Site") -> None:
    add(site, "acme")
    before = stored(site)
    form: dict[str, Any] = {"target": "acme:meta_sync", "cadence": "hourly", "reason": "r"}
    viewer, operator = site.person(Role.VIEWER), site.person(Role.OPERATOR)
    for path in CHANGES:
        assert viewer.post(path, data=form).status_code == 403
        assert site.program(Role.EMBED).post(path, data=form).status_code == 403
        assert site.anonymous().post(path, data=form).status_code == 303
        for hidden in ("rival:meta_sync", "nobody:meta_sync"):
            answer = operator.post(path, data=form | {"target": ["acme:meta_sync", hidden]})
            assert answer.status_code == 404
            assert "There is no such brand" in answer.text
    no_token = site.browser("operator@north.example")
    del no_token.headers["X-CSRF-Token"]
    assert no_token.post("/schedules/set", data=form).status_code == 403
    assert stored(site) == before


def test_hidden_by_their_organization_the_page_and_its_changes_are_not_there(
    site: "Site",
) -> None:
    set_feature(
        site.engine, "north", "pipeline_manager", is_shown=False, actor="t", now=site.clock.now
    )
    operator = site.person(Role.OPERATOR)
    assert operator.get("/schedules").status_code == 404
    assert operator.get("/schedules/preview").status_code == 404
    form = {"target": "acme:meta_sync", "cadence": "daily"}
    assert operator.post("/schedules/set", data=form).status_code == 404


def test_bad_input_is_refused_and_changes_nothing(site: "Site") -> None:
    add(site, "acme")
    before = stored(site)
    operator = site.person(Role.OPERATOR)
    target = {"target": "acme:meta_sync"}
    bad: list[tuple[str, dict[str, str]]] = [
        ("/schedules/set", {"cadence": "daily"}),
        ("/schedules/set", target),
        ("/schedules/set", target | {"cadence": "custom"}),
        ("/schedules/set", target | {"cadence": "c" * 10_000}),
        ("/schedules/set", target | {"cadence": "custom", "cron": "61 * * * *"}),
        ("/schedules/set", target | {"cadence": "daily", "timezone": "Moon/Base"}),
        ("/schedules/set", {"target": "acme:no_job", "cadence": "daily"}),
        ("/schedules/set", {"target": "acme", "cadence": "daily"}),
        ("/schedules/set", {"target": "acme:meta_sync\0", "cadence": "daily"}),
        ("/schedules/pause", target),
        ("/schedules/pause", target | {"reason": " "}),
        ("/schedules/pause", target | {"reason": "r" * 10_000}),
        ("/schedules/pause", target | {"reason": "r\0"}),
        ("/schedules/pause", target | {"reason": "r", "until": "soon"}),
        ("/schedules/pause", target | {"reason": "r", "until": "2020-01-01T00:00"}),
        ("/schedules/pause", target | {"reason": "r", "until": "0001-01-01T00:00",
                                       "until_zone": "Asia/Tokyo"}),
        ("/schedules/pause", target | {"reason": "r", "until": "2099-01-01", "until_zone": "X"}),
        ("/schedules/resume", {"target": "globex:meta_sync"}),
    ]  # fmt: skip
    for path, form in bad:
        answer = operator.post(path, data=form, headers=HTMX)
        assert answer.status_code == 422, (path, form)
    for query in ("job=nothing", "status=odd", "sort=odd", "page=x", f"q={'a' * 300}", "q=%00"):
        assert operator.get(f"/schedules?{query}").status_code == 422, query
    assert stored(site) == before


def test_a_poll_keeps_the_rows_in_the_order_they_had(site: "Site") -> None:
    poll = site.person(Role.VIEWER).get(
        "/schedules",
        params={"rows": "globex:meta_sync,acme:meta_sync,rival:meta_sync"},
        headers={"HX-Request-Type": "partial"},
    )
    assert rows(poll) == ["globex:meta_sync", "acme:meta_sync"]
    assert poll.text.lstrip().startswith('<main id="live"')


def test_the_page_asks_four_times_whatever_the_number_of_brands(sqlite_site: "Site") -> None:
    for number in range(60):
        sqlite_site.add_brand(f"more{number}")
        add(sqlite_site, f"more{number}")
    viewer = sqlite_site.person(Role.VIEWER)
    assert len(rows(viewer.get("/schedules"))) == 50
    asked: list[str] = []
    sa.event.listen(
        sqlite_site.engine, "before_cursor_execute", lambda *args: asked.append(args[2])
    )
    assert len(rows(viewer.get("/schedules?page=2"))) == 12
    assert len([each for each in asked if each.startswith("SELECT")]) == 4
