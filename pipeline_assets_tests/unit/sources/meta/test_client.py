import hashlib
import hmac
import json
import logging
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    InvalidConfigError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
)
from pipeline_assets.sources.meta import GraphClient
from pipeline_assets.sources.meta.graph_failures import TooMuchDataError
from pipeline_assets.sources.meta.rate_budget import Usage

TOKEN = "EAAtokenThatMustNeverBeSeen1234567890"
APP_SECRET = "app-secret-that-must-never-be-seen"
Make = Callable[..., Any]


def test_the_token_travels_in_a_header_and_never_in_an_address(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [reply({"id": "act_1"}), reply({"id": "2"})]
    assert client.get("act_1", {"fields": "id"}, account_id="act_1") == {"id": "act_1"}
    client.post("act_1/insights", {"level": "ad"}, account_id="act_1")
    for call in graph.calls:
        assert call.headers["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in call.address
        assert TOKEN not in str(call.params)
    assert graph.calls[0].address == "/v26.0/act_1?fields=id"


def test_a_netrc_entry_does_not_replace_the_token(
    graph: Any, client: GraphClient, reply: Make, tmp_path: Any, monkeypatch: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    graph.replies = [reply({})]
    client.get("me")
    assert graph.calls[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_the_app_secret_adds_its_proof_to_every_call(
    graph: Any, clock: Any, store: Any, reply: Make
) -> None:
    client = GraphClient(
        token=TOKEN,
        app_id="7",
        app_secret=APP_SECRET,
        base_url=graph.base_url,
        budgets=store,
        now=clock.now,
        sleep=clock.sleep,
    )
    graph.replies = [reply({}), reply({}), reply({"data": {"is_valid": True}})]
    client.get("me")
    client.post("me")
    client.debug_token()
    client.close()
    proof = hmac.new(APP_SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
    assert [call.params.get("appsecret_proof") for call in graph.calls] == [proof, proof, None]
    assert graph.calls[2].headers["Authorization"] == f"Bearer 7|{APP_SECRET}"
    assert graph.calls[2].params == {"input_token": TOKEN}


@pytest.mark.parametrize(
    "fault",
    [
        {"body": {"error": {"code": 2, "message": "x"}}, "status": 500},
        {"body": {"error": {"code": 2, "message": "x"}}, "status": 200},
        {"raw": b"<html>Sorry</html>", "status": 500},
        {"raw": b"<html>Sorry</html>", "status": 200},
        {"raw": b'{"data":[{"id":"1"', "status": 200},
        {"raw": b'{"data":[', "status": 200, "announce": 500},
        {"body": {}, "status": 503},
        {"body": "words", "status": 200},
        {"drop": True},
    ],
    ids=str,
)
def test_a_blip_is_retried_within_seconds(
    graph: Any, client: GraphClient, clock: Any, reply: Make, fault: dict[str, Any]
) -> None:
    graph.replies = [reply(**fault), reply(**fault), reply({"id": "1"})]
    assert client.get("act_1") == {"id": "1"}
    assert len(graph.calls) == 3
    assert 1.0 < sum(clock.slept) < 2.0


def test_an_outage_is_reported_after_four_tries(
    graph: Any, client: GraphClient, clock: Any, reply: Make
) -> None:
    graph.script = lambda _: reply(raw=b"<html>down</html>", status=502)
    with pytest.raises(SourceUnavailableError, match=r"act_1.*HTTP 502 with HTML") as caught:
        client.get("act_1", account_id="act_1")
    assert len(graph.calls) == 4
    assert sum(clock.slept) < 6
    assert not isinstance(caught.value, TooMuchDataError)


def test_a_body_that_trickles_in_is_given_up(
    graph: Any, clock: Any, store: Any, reply: Make
) -> None:
    graph.script = lambda _: reply({"padding": "x" * 200}, trickle_seconds=0.01)
    client = GraphClient(
        token=TOKEN,
        base_url=graph.base_url,
        budgets=store,
        now=clock.now,
        sleep=clock.sleep,
        total_timeout_seconds=0.05,
    )
    with pytest.raises(SourceUnavailableError, match=r"not complete after 0\.05 s"):
        client.get("act_1")
    client.close()


def test_a_silent_server_is_given_up(graph: Any, clock: Any, store: Any, reply: Make) -> None:
    graph.script = lambda _: reply({"padding": "x" * 3}, trickle_seconds=0.2)
    client = GraphClient(
        token=TOKEN,
        base_url=graph.base_url,
        budgets=store,
        now=clock.now,
        sleep=clock.sleep,
        read_timeout_seconds=0.03,
    )
    with pytest.raises(SourceUnavailableError, match="ReadTimeout"):
        client.get("act_1")
    client.close()


@pytest.mark.parametrize(
    ("code", "expected"),
    [(200, AccessError), (100, SourceRejectedError), (2635, InvalidConfigError)],
)
def test_what_cannot_heal_is_asked_once(
    graph: Any, client: GraphClient, make_error: Make, code: int, expected: type
) -> None:
    graph.replies = [make_error(code, error_data='{"a": "a string, not an object"}')]
    with pytest.raises(expected):
        client.get("act_1", account_id="act_1")
    assert len(graph.calls) == 1


def test_code_1_on_a_page_is_tried_once_more_and_then_wants_a_smaller_page(
    graph: Any, client: GraphClient, make_error: Make
) -> None:
    graph.script = lambda _: make_error(1, status=500)
    with pytest.raises(TooMuchDataError):
        client.get("act_1/ads", {"limit": 100})
    assert len(graph.calls) == 2
    with pytest.raises(TooMuchDataError):
        client.get("act_1/ads", {"limit": 1})
    assert len(graph.calls) == 6


def test_a_dead_token_costs_one_call_for_all_accounts(
    graph: Any, client: GraphClient, make_error: Make
) -> None:
    graph.replies = [make_error(190, 463)]
    with pytest.raises(CredentialError, match="act_1"):
        client.get("act_1", account_id="act_1")
    with pytest.raises(CredentialError, match=r"act_2: it has expired \(code 190/463\)"):
        client.get("act_2", account_id="act_2")
    with pytest.raises(CredentialError, match="act_3"):
        client.post("act_3/insights", account_id="act_3")
    assert len(graph.calls) == 1


def test_a_refused_app_does_not_count_as_a_dead_token(
    graph: Any, clock: Any, store: Any, reply: Make, make_error: Make
) -> None:
    client = GraphClient(
        token=TOKEN,
        app_id="7",
        app_secret=APP_SECRET,
        base_url=graph.base_url,
        budgets=store,
        now=clock.now,
        sleep=clock.sleep,
    )
    graph.replies = [make_error(190), reply({"id": "1"})]
    with pytest.raises(CredentialError):
        client.debug_token()
    assert client.get("act_1") == {"id": "1"}
    client.close()


def test_no_error_and_no_log_holds_a_secret(
    graph: Any, clock: Any, store: Any, reply: Make, caplog: Any
) -> None:
    client = GraphClient(
        token=TOKEN,
        app_id="7",
        app_secret=APP_SECRET,
        base_url=graph.base_url,
        budgets=store,
        now=clock.now,
        sleep=clock.sleep,
    )
    proof = hmac.new(APP_SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
    faults = [
        reply(drop=True),
        reply(raw=b"<html>" + TOKEN.encode()),
        reply({"error": {"code": 100, "message": f"bad {TOKEN} {proof}"}}, status=400),
    ]
    graph.script = lambda _: faults[min(len(graph.calls) - 1, 2)]
    caplog.set_level(logging.DEBUG)
    errors: list[BaseException] = []
    for attempt in (client.debug_token, lambda: client.get("me")):
        with pytest.raises(PipelineError) as caught:
            attempt()
        error: BaseException | None = caught.value
        while error is not None:
            errors.append(error)
            error = error.__cause__ or error.__context__
    client.close()
    shown = caplog.text + "".join(
        f"{error!r}{error}{''.join(traceback.format_exception(error))}" for error in errors
    )
    assert "debug_token" in caplog.text
    for secret in (TOKEN, APP_SECRET, proof):
        assert secret not in shown


def test_a_short_limit_is_waited_for_and_the_call_goes_on(
    graph: Any, client: GraphClient, clock: Any, reply: Make, make_error: Make
) -> None:
    usage = json.dumps(
        {"1": [{"type": "ads_management", "call_count": 101, "estimated_time_to_regain_access": 1}]}
    )
    graph.replies = [
        make_error(80004, 2446079, headers={"X-Business-Use-Case-Usage": usage}),
        reply({"id": "1"}),
    ]
    assert client.get("act_1", account_id="act_1") == {"id": "1"}
    assert clock.slept == [60.0]


def test_a_long_limit_is_raised_with_its_time_and_nobody_calls_meanwhile(
    graph: Any, client: GraphClient, clock: Any, reply: Make, make_error: Make
) -> None:
    graph.replies = [make_error(17, 2446079), reply({"id": "2"}), reply({"id": "1"})]
    with pytest.raises(RateLimitedError, match=r"act_1.*12:05:00") as caught:
        client.get("act_1", account_id="act_1")
    assert caught.value.retry_after_seconds == 300.0
    with pytest.raises(RateLimitedError):
        client.get("act_1", account_id="act_1")
    assert len(graph.calls) == 1
    assert client.get("act_2", account_id="act_2") == {"id": "2"}
    clock.instant += timedelta(seconds=300)
    assert client.get("act_1", account_id="act_1") == {"id": "1"}


def test_an_app_limit_stops_every_account_and_every_client_of_the_store(
    graph: Any, client: GraphClient, clock: Any, store: Any, make_error: Make
) -> None:
    graph.replies = [make_error(4)]
    other = GraphClient(
        token="another-token",
        base_url=graph.base_url,
        budgets=store,
        now=clock.now,
        sleep=clock.sleep,
    )
    with pytest.raises(RateLimitedError, match="the app default"):
        client.get("act_1", account_id="act_1")
    with pytest.raises(RateLimitedError, match=r"asked for act_2"):
        other.get("act_2", account_id="act_2")
    other.close()
    assert len(graph.calls) == 1


def test_a_limit_of_another_kind_of_call_stops_this_one_too(
    graph: Any, client: GraphClient, make_error: Make
) -> None:
    graph.replies = [make_error(80004, 2446079)]
    with pytest.raises(RateLimitedError):
        client.get("act_1/insights", account_id="act_1", usage=Usage.ADS_INSIGHTS)
    with pytest.raises(RateLimitedError):
        client.get("act_1/ads", account_id="act_1")
    assert len(graph.calls) == 1


def test_a_limit_met_without_an_account_is_the_apps(
    graph: Any, client: GraphClient, make_error: Make
) -> None:
    graph.replies = [make_error(17)]
    with pytest.raises(RateLimitedError, match="the app default"):
        client.get("me")


def test_too_many_requests_without_a_graph_error_is_a_limit(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [reply({}, status=429)]
    with pytest.raises(RateLimitedError):
        client.get("act_1", account_id="act_1")


def test_a_limit_that_keeps_coming_back_is_not_waited_for_for_ever(
    graph: Any, client: GraphClient, clock: Any, make_error: Make
) -> None:
    tier = json.dumps({"acc_id_util_pct": 1, "ads_api_access_tier": "standard_access"})
    graph.script = lambda _: make_error(17, headers={"x-ad-account-usage": tier})
    with pytest.raises(RateLimitedError):
        client.get("act_1", account_id="act_1")
    assert clock.slept == [60.0] * 5


def test_without_a_token_there_is_no_client(store: Any) -> None:
    with pytest.raises(InvalidConfigError):
        GraphClient(token="", budgets=store)
    with pytest.raises(InvalidConfigError, match="ftp://x"):
        GraphClient(token=TOKEN, budgets=store, base_url="ftp://x")
