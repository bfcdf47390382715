"""Run history over HTTP: the list and its filters, an open chain, logs, tenants, bad input."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipeline_assets.people.roles import Role
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_attempts, requests

if TYPE_CHECKING:
    from conftest import Site

PERFORMANCE, ASSETS = "meta_ads_performance", "ad_assets"
TOKEN = "EAA" + "b4Z" * 20
NASTY = "<script>alert(1)</script> \u202eevil\u202c 🎉"
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}

Store = Callable[..., str]


@dg.op
def tell(context: dg.OpExecutionContext) -> None:
    """Writes 600 lines, one of them hostile, and fails."""
    for number in range(600):
        context.log.info("line %d.", number)
    context.log.warning(NASTY)
    raise RuntimeError(f"Refused: access_token={TOKEN}")


@dg.job(executor_def=dg.in_process_executor)
def telling() -> None:
    """A job with a long log."""
    tell()


@pytest.fixture
def store(site: "Site") -> Store:
    """`store("a1", brand="acme", minutes_ago=5, state=…)`: one request with a run that ended."""

    def insert(name: str, *, brand: str = "acme", minutes_ago: float = 60, **values: Any) -> str:
        at = site.clock.now - timedelta(minutes=minutes_ago)
        chain = values.pop("chain", name)
        row = {
            "id": name,
            "chain_id": chain,
            "organization_id": "south" if brand == "rival" else "north",
            "brand_id": brand,
            "job": "meta_sync",
            "state": "succeeded",
            "trigger": "schedule",
            "requested_by": "schedule",
            "reason": "",
            "requested_at": at,
            "not_before": at,
            "priority": 0,
            "attempt": 1,
            "run_id": f"run-{name}",
            "started_at": at,
            "finished_at": at + timedelta(seconds=42),
            "outcomes": {PERFORMANCE: "succeeded"},
            "records": 1234,
            **values,
        }
        with write_transaction(site.engine) as connection:
            connection.execute(requests.insert().values(row))
        return name

    return insert


def shown(page: str) -> list[str]:
    return re.findall(r'<tr id="chain-([^"]+)"', page)


def run_telling(site: "Site") -> str:
    return telling.execute_in_process(
        instance=site.background.instance, raise_on_error=False
    ).run_id


def test_a_chain_of_tries_is_one_row_the_newest_wish_first(site: "Site", store: Store) -> None:
    store("old", minutes_ago=90)
    store(
        "first",
        state="failed",
        outcomes={PERFORMANCE: "failed"},
        error_class="RateLimitedError",
        error_message=NASTY,
    )
    store("again", chain="first", minutes_ago=50, trigger="retry", attempt=2)
    store("theirs", brand="rival", minutes_ago=1)
    page = site.person(Role.VIEWER).get("/history").text
    assert shown(page) == ["first", "old"]
    row = page.partition('id="chain-first"')[2].partition("</tr>")[0]
    # From the first try's beginning to the second one's end.
    assert re.findall(r'<td class="number">([^<]+)<', row) == ["11 min", "2", "2,468"]
    assert 'class="state succeeded"' in row
    assert "rival" not in page


def test_every_filter_is_in_the_address_and_narrows_the_list(site: "Site", store: Store) -> None:
    store("acme-1", minutes_ago=10)
    store("globex-1", brand="globex", minutes_ago=9, trigger="manual", requested_by="user:Al@x.y")
    store("globex-2", brand="globex", minutes_ago=8, job="asset_download")
    failed = {"outcomes": {PERFORMANCE: "failed"}, "error_class": "AccessError"}
    store("acme-2", minutes_ago=7, state="failed", **failed)
    store("ancient", minutes_ago=60 * 24 * 3)
    viewer = site.person(Role.VIEWER)

    def found(query: str) -> list[str]:
        answer = viewer.get(f"/history?{query}")
        assert answer.status_code == 200
        return shown(answer.text)

    assert found("") == ["acme-2", "globex-2", "globex-1", "acme-1", "ancient"]
    assert found("brand=acme&state=&job=&since=&error=") == ["acme-2", "acme-1", "ancient"]
    assert found("brand=GLOB") == ["globex-2", "globex-1"]
    assert found("brand=rival") == []
    assert found(f"dataset={ASSETS}&job=asset_download") == ["globex-2"]
    assert found("dataset=landing_pages") == []
    assert found("state=failed") == ["acme-2"]
    assert found("error=AccessError") == ["acme-2"]
    assert found("trigger=manual") == ["globex-1"]
    assert found("actor=al@") == ["globex-1"]
    assert found("since=2026-03-10&until=2026-03-10") == [
        "acme-2",
        "globex-2",
        "globex-1",
        "acme-1",
    ]
    assert found("until=2026-03-07") == ["ancient"]


def test_days_are_those_of_the_zone_in_which_one_sees_times(site: "Site", store: Store) -> None:
    store("late", minutes_ago=60 * 12 + 30)  # 23:30 in UTC, the next day in Berlin
    viewer = site.person(Role.VIEWER)
    assert shown(viewer.get("/history?since=2026-03-10").text) == []
    viewer.cookies.set("pipeline_assets_zone", "Europe/Berlin")
    assert shown(viewer.get("/history?since=2026-03-10").text) == ["late"]


def test_older_ones_are_a_click_away_and_none_is_lost(site: "Site", store: Store) -> None:
    for number in range(53):
        store(f"n{number:02}", minutes_ago=number)
    viewer = site.person(Role.VIEWER)
    first = viewer.get("/history?brand=acme").text
    assert len(shown(first)) == 50
    [older] = re.findall(r'href="(/history\?[^"]*before=[^"]+)"', first)
    second = viewer.get(older.replace("&amp;", "&")).text
    assert shown(second) == ["n50", "n51", "n52"]
    assert "brand=acme" in older
    assert "Older →" not in second


def test_a_poll_shows_the_same_rows_and_says_that_there_are_newer_ones(
    site: "Site", store: Store
) -> None:
    store("a", minutes_ago=9)
    store("b", minutes_ago=8)
    store("theirs", brand="rival")
    viewer = site.person(Role.VIEWER)
    page = viewer.get("/history?brand=acme").text
    [poll] = re.findall(r'hx-get="([^"]+)" hx-trigger="poll"', page)
    assert poll == "/history?brand=acme&amp;rows=b%2Ca"
    store("c", minutes_ago=7)
    answer = viewer.get(poll.replace("&amp;", "&"), headers=PARTIAL).text
    assert answer.lstrip().startswith('<main id="live"')
    assert shown(answer) == ["b", "a"]
    assert "There are newer ones." in answer
    assert "There are newer ones." not in page
    others = viewer.get("/history?rows=theirs,a,a", headers=PARTIAL).text
    assert shown(others) == ["a"]


def test_an_open_chain_shows_each_try_with_its_attempts_and_runs(
    site: "Site", store: Store
) -> None:
    store(
        "first",
        state="failed",
        outcomes={PERFORMANCE: "failed"},
        error_class="CredentialError",
        error_message=NASTY,
        advice="Make a new token.",
    )
    store("again", chain="first", minutes_ago=50, state="queued", run_id=None, finished_at=None)
    with write_transaction(site.engine) as connection:
        for run_id in ("run-crashed", "run-first"):  # Dagster has started it again by itself
            attempt = {
                "brand_id": "acme",
                "dataset": PERFORMANCE,
                "run_id": run_id,
                "request_id": "first",
                "planned_at": site.clock.now,
                "outcome": "failed",
                "error_class": "CredentialError",
                "error_message": NASTY,
            }
            connection.execute(dataset_attempts.insert().values(attempt))
    viewer = site.person(Role.VIEWER)
    page = viewer.get("/history?open=first").text
    assert "Try 1 of 2" in page
    assert "Try 2 of 2" in page
    assert "<b>What to do:</b> <bdi>Make a new token.</bdi>" in page
    assert "/runs/run-crashed" in page
    assert "/runs/run-first" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert 'id="open-first"' not in viewer.get("/history").text


def test_a_log_comes_in_pages_with_secrets_masked_and_text_as_text(
    site: "Site", store: Store
) -> None:
    run_id = run_telling(site)
    store("told", run_id=run_id)
    viewer = site.person(Role.VIEWER)
    first = viewer.get("/history/told/log", params={"run": run_id}).text
    assert first.count('class="line ') == 500
    [following] = re.findall(r'hx-get="([^"]+)" hx-trigger="intersect once"', first)
    second = viewer.get(following.replace("&amp;", "&")).text
    assert 'class="tail"' not in second
    numbers = [int(number) for number in re.findall(r"line (\d+)\.", first + second)]
    assert numbers == list(range(600))
    assert "&lt;script&gt;alert(1)" in second
    assert "<script>alert" not in first + second
    assert "access_token=[redacted]" in second
    assert TOKEN not in first + second
    assert "test_history.py" in second  # the error's stack

    text = viewer.get("/history/told/log.txt")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.headers["content-disposition"] == 'attachment; filename="acme-meta_sync-told.txt"'
    assert text.text.count("] line ") == 600
    assert TOKEN not in text.text
    assert viewer.get("/history/told/log.txt", params={"run": run_id}).text == text.text


def test_the_log_of_a_run_that_goes_on_grows_with_every_poll(site: "Site", store: Store) -> None:
    instance = site.background.instance
    run = instance.create_run_for_job(telling, status=dg.DagsterRunStatus.STARTED)
    store("going", run_id=run.run_id, state="running", finished_at=None)
    viewer = site.person(Role.VIEWER)
    start = viewer.get("/history/going/log", params={"run": run.run_id}).text
    [following] = re.findall(r'hx-get="([^"]+)" hx-trigger="poll from:#live"', start)
    instance.report_engine_event("Something has happened.", run)
    grown = viewer.get(following.replace("&amp;", "&")).text
    assert "Something has happened." in grown
    [further] = re.findall(r'hx-get="([^"]+)" hx-trigger="poll from:#live"', grown)
    assert further != following
    assert "Something" not in viewer.get(further.replace("&amp;", "&")).text


def test_a_log_that_retention_has_deleted_is_said_to_be(site: "Site", store: Store) -> None:
    store("gone")
    viewer = site.person(Role.VIEWER)
    log = viewer.get("/history/gone/log", params={"run": "run-gone"}).text
    assert "Dagster has deleted this run, and its log with it." in log
    assert "Dagster has deleted the run" in viewer.get("/history/gone/log.txt").text


def test_a_permalink_stays_and_a_further_tries_id_leads_to_the_same(
    site: "Site", store: Store
) -> None:
    store("first", state="failed", outcomes={PERFORMANCE: "failed"})
    store("again", chain="first", minutes_ago=50, reason=NASTY)
    viewer = site.person(Role.VIEWER)
    for name in ("first", "again"):
        page = viewer.get(f"/history/{name}").text
        assert "Try 2 of 2" in page
        assert 'href="/history/first"' in page
        assert "<script>alert" not in page


def test_another_organizations_chain_looks_like_one_that_is_not_there(
    site: "Site", store: Store
) -> None:
    run_id = run_telling(site)
    store("theirs", brand="rival", run_id=run_id)
    store("everybodys", brand="*", organization_id=None)
    store("mine")
    viewer = site.person(Role.VIEWER)
    for path in ("", "/log?run=" + run_id, "/log.txt", "/log.txt?run=" + run_id):
        answers = {
            (answer.status_code, answer.text.replace(name, ""))
            for name in ("theirs", "nobody", "everybodys")
            for answer in [viewer.get(f"/history/{name}{path}")]
        }
        assert len(answers) == 1
        assert answers.pop()[0] == 404
    # Nor does one's own chain open another's run.
    assert viewer.get(f"/history/mine/log?run={run_id}").status_code == 404
    assert viewer.get(f"/history/mine/log.txt?run={run_id}").status_code == 404
    assert site.person(Role.VIEWER, "*").get("/history/everybodys").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "state=odd",
        "trigger=odd",
        "since=yesterday",
        "until=9999-12-31",
        "since=0001-01-01",
        f"brand={'a' * 10_000}",
        "before=nonsense",
        "actor=%00",
        f"rows={'a,' * 20_000}",
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(sqlite_site: "Site", query: str) -> None:
    assert sqlite_site.person(Role.VIEWER).get(f"/history?{query}").status_code == 422


@pytest.mark.parametrize(
    "query", ["run=x&after=-2", "run=x&after=99999999999999999999", "after=1", "run=%00"]
)
def test_a_logs_parameter_that_makes_no_sense_is_refused(site: "Site", query: str) -> None:
    assert site.person(Role.VIEWER).get(f"/history/x/log?{query}").status_code == 422


def test_odd_words_match_nothing_and_what_is_empty_says_why(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    assert "Nothing has run yet" in viewer.get("/history").text
    odd = viewer.get("/history", params={"job": "%", "error": NASTY, "actor": "'; --"})
    assert "Nothing matches" in odd.text
    assert "<script>alert" not in odd.text
    assert sqlite_site.anonymous().get("/history").status_code == 303
    assert sqlite_site.program(Role.ADMIN).get("/history").status_code == 403
