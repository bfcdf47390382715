"""Insights against a small account that can be told what is too much for it."""

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from pipeline_assets.errors import (
    CredentialError,
    InvalidConfigError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
)
from pipeline_assets.sources.meta import GraphClient, InsightsQuery, fetch_insights

Make = Callable[..., Any]
FIELDS = ("ad_id", "impressions", "spend", "clicks", "actions", "reach")
FIRST = date(2026, 11, 1)


@dataclass
class Account:
    """Two campaigns of three ads, on every day; answers calls and report runs."""

    reply: Make
    error: Make
    ads: int = 6
    per_campaign: int = 3
    rows_at_most: int = 10**6
    rows_at_most_in_a_run: int = 10**6
    page_at_most: int = 10**6
    bad_field: str | None = None
    bad_day: str | None = None
    run_states: list[dict[str, Any]] = field(default_factory=list)
    result_errors: list[Any] = field(default_factory=list)
    fail_page_after: int | None = None
    breakdown: bool = False
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def __call__(self, call: Any) -> Any:
        node, _, edge = call.path.partition("/")
        if call.method == "POST":
            return self._order(node, call.params)
        if not edge:
            return self._state(node)
        if node in self.runs:
            run = self.runs[node]
            page = self._page(run["node"], run["params"] | call.params)
            return self.result_errors.pop(0) if self.result_errors else page
        return self._sync(node, call)

    def _sync(self, node: str, call: Any) -> Any:
        rows = self._rows(node, call.params)
        self.log.append(f"sync {len(rows)}")
        if len(rows) > self.rows_at_most:
            return self.error(100, 1487534)
        if self._is_bad(call.params):
            return self.error(2, 1504044, status=500)
        return self._page(node, call.params)

    def _order(self, node: str, params: dict[str, str]) -> Any:
        run_id = f"9{len(self.runs)}"
        self.runs[run_id] = {"node": node, "params": params, "states": list(self.run_states)}
        self.run_states = []
        self.log.append(f"run {len(self._rows(node, params))}")
        return self.reply({"report_run_id": run_id})

    def _state(self, run_id: str) -> Any:
        run = self.runs[run_id]
        if run["states"]:
            state = run["states"][0] if run["states"][0].get("stays") else run["states"].pop(0)
            if "reply" in state:
                return state["reply"]
            return self.reply({"id": run_id} | state)
        failed = {"async_status": "Job Failed", "async_percent_completion": 0}
        if len(self._rows(run["node"], run["params"])) > self.rows_at_most_in_a_run:
            return self.reply(failed | {"error_code": -3, "error_subcode": 1504045})
        if self._is_bad(run["params"]):
            return self.reply(failed | {"error_code": 2, "error_subcode": 1504044})
        return self.reply({"async_status": "Job Completed", "async_percent_completion": 100})

    def _is_bad(self, params: dict[str, str]) -> bool:
        days = json.loads(params["time_range"])
        on_bad_day = self.bad_day is None or days["since"] <= self.bad_day <= days["until"]
        asked = params["fields"].split(",")
        return self.bad_field is not None and self.bad_field in asked and on_bad_day

    def _rows(self, node: str, params: dict[str, str]) -> list[dict[str, Any]]:
        window = json.loads(params["time_range"])
        since, until = (date.fromisoformat(window[name]) for name in ("since", "until"))
        asked = params["fields"].split(",")
        wanted = None if node.startswith("act_") else {node}
        rules = {r["field"]: r["value"] for r in json.loads(params.get("filtering", "[]"))}
        if "campaign.id" in rules:
            wanted = set(rules["campaign.id"])
        if params["level"] == "campaign":
            return [{"campaign_id": f"c{n}"} for n in range(self.ads // self.per_campaign)]
        rows = []
        for offset in range((until - since).days + 1):
            day = (since + timedelta(days=offset)).isoformat()
            for ad in range(self.ads):
                if ad == 0 and "DELETED" not in rules.get("ad.effective_status", ()):
                    continue  # the first ad is deleted: Meta leaves it out unless asked
                if wanted is not None and f"c{ad // self.per_campaign}" not in wanted:
                    continue
                values: dict[str, Any] = {"ad_id": f"{ad}", "spend": "1.5", "clicks": f"{ad}"}
                values |= {"impressions": "100", "actions": [{"action_type": "x", "value": "1"}]}
                row = {name: value for name, value in values.items() if name in asked}
                row |= {"date_start": day, "date_stop": day}
                genders = [{"gender": "female"}, {"gender": "male"}, {}]
                rows += [row | each for each in (genders if self.breakdown else [{}])]
        return rows

    def _page(self, node: str, params: dict[str, str]) -> Any:
        limit = int(params["limit"])
        rows = self._rows(node, params)
        start = int(base64.b64decode(params["after"])) if "after" in params else 0
        if limit > self.page_at_most:
            return self.error(1, status=500)
        if self.fail_page_after is not None and start >= self.fail_page_after:
            self.fail_page_after = None
            return self.error(100, 1487534)
        end = start + limit
        body: dict[str, Any] = {"data": rows[start:end]}
        body["paging"] = {"cursors": {"after": base64.b64encode(str(end).encode()).decode()}}
        if end < len(rows):
            body["paging"]["next"] = "https://nowhere.invalid/"
        return self.reply(body)


@pytest.fixture
def account(graph: Any, reply: Make, make_error: Make) -> Account:
    made = Account(reply, make_error)
    graph.script = made
    return made


def _query(days: int = 3, fields: tuple[str, ...] = FIELDS, **more: Any) -> InsightsQuery:
    return InsightsQuery(
        account_id="act_1",
        fields=fields,
        since=FIRST,
        until=FIRST + timedelta(days=days - 1),
        **more,
    )


def _read(client: GraphClient, query: InsightsQuery) -> list[dict[str, Any]]:
    with fetch_insights(client, query) as stream:
        return [row for chunk in stream for row in chunk]


def _assert_each_once(rows: list[dict[str, Any]], days: int, ads: int = 6) -> None:
    keys = sorted((row["date_start"], row["ad_id"]) for row in rows)
    wanted = [
        ((FIRST + timedelta(days=day)).isoformat(), str(ad))
        for day in range(days)
        for ad in range(ads)
    ]
    assert keys == sorted(wanted)


def test_a_week_is_read_by_a_plain_call(account: Account, client: GraphClient, graph: Any) -> None:
    _assert_each_once(_read(client, _query(7)), 7)
    assert account.log == ["sync 42"]
    params = graph.calls[0].params
    assert params["level"] == "ad"
    assert params["time_increment"] == "1"
    assert params["fields"] == ",".join(FIELDS)
    assert json.loads(params["time_range"]) == {"since": "2026-11-01", "until": "2026-11-07"}


def test_more_than_a_week_is_read_by_report_runs_of_even_slices(
    account: Account, client: GraphClient
) -> None:
    _assert_each_once(_read(client, _query(8)), 8)
    assert account.log == ["run 24", "run 24"]


def test_fields_asked_for_but_never_returned_are_reported(
    account: Account, client: GraphClient
) -> None:
    with fetch_insights(client, _query(2)) as stream:
        assert sum(len(chunk) for chunk in stream) == 12
    assert stream.missing_fields == {"reach"}
    assert stream.dropped_fields == frozenset()


RUNNING = {"async_status": "Job Running", "async_percent_completion": 40}


@pytest.mark.parametrize(
    "state",
    [
        {"async_status": "Job Not Started", "async_percent_completion": 0},
        RUNNING,
        {"async_status": "Job Completed", "async_percent_completion": 97},
        {"async_status": "Job Running", "async_percent_completion": 100},
    ],
    ids=["not started", "on its way", "completed but not all", "all but not completed"],
)
def test_a_run_is_awaited_until_it_is_completed_and_whole(
    account: Account, client: GraphClient, graph: Any, state: dict[str, Any]
) -> None:
    account.run_states = [state, state]
    _assert_each_once(_read(client, _query(8)), 8)
    assert account.log == ["run 24", "run 24"]
    paths = [call.path for call in graph.calls]
    polls = [paths.count(f"9{number}") for number in range(2)]
    assert sorted(polls) == [1, 3]


@pytest.mark.parametrize(
    "state",
    [
        {"async_status": "Job Skipped", "async_percent_completion": 0},
        {"async_status": "Job Failed", "error_code": 2, "error_subcode": 1504044},
        {"async_status": "Job Failed", "error_code": -2, "error_subcode": 2490547},
        {"async_status": "Job Failed"},
        {"async_status": "Job Started", "async_percent_completion": 0, "stays": True},
    ],
    ids=["skipped", "unknown", "try later", "no reason", "stuck at 0"],
)
def test_a_run_that_comes_to_nothing_is_ordered_again(
    account: Account, client: GraphClient, state: dict[str, Any]
) -> None:
    account.run_states = [state]
    _assert_each_once(_read(client, _query(8)), 8)
    assert account.log == ["run 24"] * 3


def test_a_run_not_found_right_after_its_creation_is_asked_for_again(
    account: Account, client: GraphClient, make_error: Make
) -> None:
    account.run_states = [{"reply": make_error(100, 33)}]
    _assert_each_once(_read(client, _query(8)), 8)
    assert account.log == ["run 24", "run 24"]


def test_results_that_are_refused_for_a_moment_are_asked_for_again(
    account: Account, client: GraphClient, make_error: Make
) -> None:
    account.result_errors = [make_error(100, message="(#100) Cannot include x in summary param")]
    _assert_each_once(_read(client, _query(8)), 8)


def test_a_run_that_fails_for_good_says_why(account: Account, client: GraphClient) -> None:
    account.run_states = [
        {"async_status": "Job Failed", "error_code": 2, "error_subcode": 1504041,
         "error_message": "Invalid Breakdowns"}
    ]  # fmt: skip
    with pytest.raises(SourceRejectedError, match=r"act_1.*2/1504041.*Invalid Breakdowns"):
        _read(client, _query(8))


def test_too_much_for_a_plain_call_goes_by_a_report_run(
    account: Account, client: GraphClient
) -> None:
    account.rows_at_most = 10
    _assert_each_once(_read(client, _query(3)), 3)
    assert account.log == ["sync 18", "run 18"]


def test_too_large_a_report_is_split_by_days(account: Account, client: GraphClient) -> None:
    account.rows_at_most_in_a_run = 12
    _assert_each_once(_read(client, _query(8)), 8)
    assert sorted(account.log) == sorted(["run 24"] * 2 + ["run 12"] * 4)


def test_too_large_a_day_is_split_by_campaigns_and_then_asked_of_the_campaign_itself(
    account: Account, client: GraphClient, graph: Any
) -> None:
    account.rows_at_most = account.rows_at_most_in_a_run = 5
    _assert_each_once(_read(client, _query(1)), 1)
    orders = [call.path for call in graph.calls if call.method == "POST"]
    assert orders == ["act_1/insights", "c0/insights", "c1/insights"]


def test_many_campaigns_are_asked_for_in_groups(
    account: Account, client: GraphClient, graph: Any
) -> None:
    account.ads, account.per_campaign = 32, 2
    account.rows_at_most = account.rows_at_most_in_a_run = 16
    _assert_each_once(_read(client, _query(1)), 1, ads=32)
    asked = [json.loads(call.params.get("filtering", "[]")) for call in graph.calls]
    rules = [rule for rules in asked for rule in rules if rule["field"] == "campaign.id"]
    assert [rule["value"] for rule in rules] == [
        ["c0", "c1", "c2", "c3"],
        ["c4", "c5", "c6", "c7"],
        ["c8", "c9", "c10", "c11"],
        ["c12", "c13", "c14", "c15"],
    ]


def test_a_part_that_fails_midway_is_not_doubled_when_it_is_asked_again(
    account: Account, client: GraphClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_assets.sources.meta.insight_parts.PAGE_ROWS", 5)
    account.fail_page_after = 10
    _assert_each_once(_read(client, _query(3)), 3)
    assert account.log == ["sync 18", "sync 18", "sync 18", "run 18"]


def test_rows_of_a_breakdown_are_told_apart_even_where_one_lacks_it(
    account: Account, client: GraphClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_assets.sources.meta.insight_parts.PAGE_ROWS", 4)
    account.breakdown = True
    account.fail_page_after = 8
    account.bad_field = "actions"
    rows = _read(client, _query(1, breakdowns=("gender",)))
    keys = [(row["date_start"], row["ad_id"], row.get("gender")) for row in rows]
    assert len(keys) == len(set(keys)) == 18


def test_pages_that_are_too_big_are_halved(account: Account, client: GraphClient) -> None:
    account.page_at_most = 130
    _assert_each_once(_read(client, _query(7)), 7)


def test_a_field_that_fails_alone_is_left_out_and_reported(
    account: Account, client: GraphClient
) -> None:
    account.bad_field = "actions"
    with fetch_insights(client, _query(2)) as stream:
        rows = [row for chunk in stream for row in chunk]
    _assert_each_once(rows, 2)
    assert stream.dropped_fields == {"actions"}
    assert {"actions", "reach"} == stream.missing_fields
    assert all(row["spend"] == "1.5" and row["clicks"] == row["ad_id"] for row in rows)


def test_a_field_is_left_out_only_on_the_day_on_which_it_fails(
    account: Account, client: GraphClient
) -> None:
    account.bad_field, account.bad_day = "actions", "2026-11-02"
    with fetch_insights(client, _query(3)) as stream:
        rows = [row for chunk in stream for row in chunk]
    _assert_each_once(rows, 3)
    assert {row["date_start"] for row in rows if "actions" not in row} == {"2026-11-02"}


def test_without_its_spend_a_row_would_be_wrong_so_the_read_fails(
    account: Account, client: GraphClient
) -> None:
    account.bad_field = "spend"
    with pytest.raises(SourceUnavailableError):
        _read(client, _query(1))


def test_where_nothing_works_at_all_it_shows_at_the_first_small_part(
    account: Account, client: GraphClient, graph: Any
) -> None:
    account.page_at_most = 0
    account.ads, account.per_campaign = 400, 2
    with pytest.raises(SourceUnavailableError, match="act_1"):
        _read(client, _query(7))
    assert len(graph.calls) < 100


def test_a_dead_token_ends_all_workers_and_names_the_account(
    account: Account, client: GraphClient, graph: Any, make_error: Make
) -> None:
    graph.script = lambda _: make_error(190, 463)
    with pytest.raises(CredentialError, match="act_1"):
        _read(client, _query(60))
    assert len(graph.calls) <= 3  # at most the one each worker had under way


def test_a_limit_that_lasts_is_raised_out_of_the_stream(
    account: Account, client: GraphClient, graph: Any, make_error: Make
) -> None:
    graph.script = lambda _: make_error(80000, 2446079)
    with pytest.raises(RateLimitedError) as caught:
        _read(client, _query(30))
    assert caught.value.retry_after_seconds == 300.0


def _readers() -> int:
    return sum(thread.name.startswith("meta-reader") for thread in threading.enumerate())


def _wait_for_no_readers() -> None:
    deadline = time.monotonic() + 5
    while _readers() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert _readers() == 0


def test_a_consumer_that_stops_stops_the_readers(
    account: Account, client: GraphClient, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_assets.sources.meta.insight_parts.PAGE_ROWS", 2)
    with fetch_insights(client, _query(70)) as stream:
        next(iter(stream))
    _wait_for_no_readers()
    assert len(graph.calls) < 60


def test_a_consumer_that_fails_stops_readers_that_are_waiting(
    account: Account, graph: Any, store: Any
) -> None:
    account.run_states = [RUNNING | {"stays": True}]
    entered = threading.Event()

    def sleep(seconds: float) -> None:
        entered.set()
        time.sleep(seconds)

    client = GraphClient(token="a-token", base_url=graph.base_url, budgets=store, sleep=sleep)

    def consume() -> None:
        with fetch_insights(client, _query(14)) as stream:
            next(iter(stream))
            assert entered.wait(5)
            raise ZeroDivisionError

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        consume()
    _wait_for_no_readers()
    client.close()
    assert time.monotonic() - began < 4


def test_pages_wait_for_the_consumer_so_memory_stays_bounded(
    account: Account, client: GraphClient, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_assets.sources.meta.insight_parts.PAGE_ROWS", 1)
    with fetch_insights(client, _query(7)) as stream:
        chunks = iter(stream)
        next(chunks)
        time.sleep(0.1)  # ample for the reader to run ahead, were it not held back
        # One taken, two waiting, one in the reader's hand.
        assert len(graph.calls) <= 4
        rest = sum(len(chunk) for chunk in chunks)
    assert rest == 41


def test_a_window_that_ends_before_it_begins_is_refused(client: GraphClient) -> None:
    with pytest.raises(InvalidConfigError, match="2026-11-01 to 2026-10-31"):
        fetch_insights(client, _query(0))
