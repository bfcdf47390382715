import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer

ACCOUNT = "act_1001"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("app_limit", (400, 4, None)),
        ("app_insights_limit", (400, 4, 1504022)),
        ("account_limit", (400, 17, 2446079)),
        ("score_limit", (400, 613, 1487742)),
        ("custom_limit", (400, 613, None)),
        ("insights_limit", (400, 80000, 2446079)),
        ("token_expired", (400, 190, 463)),
        ("token_invalid", (400, 190, 467)),
        ("forbidden", (403, 200, None)),
        ("missing_permission", (403, 10, None)),
        ("object_missing", (400, 100, 33)),
        ("account_trouble", (400, 3910001, None)),
        ("unknown_error", (500, 1, 99)),
        ("service_error", (500, 2, None)),
        ("report_intermittent", (500, 2, 1504043)),
        ("sync_timeout", (400, 100, 1504018)),
    ],
)
def test_each_error_fault_answers_with_metas_code_once_and_then_clears(
    client: Any, server: SimulatorServer, kind: str, expected: tuple[int, int, int | None]
) -> None:
    server.faults.add(Fault(kind=FaultKind(kind), account=ACCOUNT, count=1))
    assert client.error(f"{ACCOUNT}/insights") == expected
    assert client.get(f"{ACCOUNT}/insights").status_code == 200
    assert server.faults.active == ()


def test_limits_tell_their_seconds_and_minutes_in_headers(
    client: Any, server: SimulatorServer
) -> None:
    server.faults.add(
        Fault(kind=FaultKind.ACCOUNT_LIMIT, account=ACCOUNT, count=1, seconds=15),
        Fault(kind=FaultKind.INSIGHTS_LIMIT, account=ACCOUNT, count=1, minutes=19),
        Fault(kind=FaultKind.APP_LIMIT, count=1),
        Fault(kind=FaultKind.MANAGEMENT_LIMIT, count=1, minutes=3),
    )
    first, second, third = (client.get(f"{ACCOUNT}/insights") for _ in range(3))
    account = json.loads(first.headers["x-ad-account-usage"])
    assert (account["reset_time_duration"], account["acc_id_util_pct"]) == (15, 100)
    (business,) = json.loads(second.headers["x-business-use-case-usage"])["1001"]
    assert business["estimated_time_to_regain_access"] == 19
    assert json.loads(third.headers["x-app-usage"])["call_count"] == 100
    fourth = client.get(f"{ACCOUNT}/ads")
    (business,) = json.loads(fourth.headers["x-business-use-case-usage"])["1001"]
    assert (client.read_error(fourth)[1], business["type"]) == (80004, "ads_management")


def test_a_fault_spoils_only_its_account_and_endpoint_after_its_calls(
    client: Any, server: SimulatorServer
) -> None:
    server.faults.add(
        Fault(kind=FaultKind.TOKEN_EXPIRED, account=ACCOUNT, endpoint=Endpoint.ADS, after_calls=2)
    )
    statuses = [client.get(f"{ACCOUNT}/ads").status_code for _ in range(4)]
    assert statuses == [200, 200, 400, 400]
    assert client.get("act_2002/ads").status_code == 200
    assert client.get(f"{ACCOUNT}/campaigns").status_code == 200
    server.faults.clear()
    assert client.get(f"{ACCOUNT}/ads").status_code == 200


def add(server: SimulatorServer, kind: str, **more: Any) -> None:
    server.faults.add(Fault(kind=FaultKind(kind), count=1, **more))


def test_broken_answers_are_broken_as_they_say(client: Any, server: SimulatorServer) -> None:
    add(server, "html_error")
    response = client.get("me")
    assert (response.status_code, response.text[:9]) == (500, "<!DOCTYPE")
    add(server, "html_ok")
    response = client.get("me")
    assert (response.status_code, response.headers["Content-Type"][:9]) == (200, "text/html")
    add(server, "unavailable")
    assert client.get("me").status_code == 503
    add(server, "error_in_ok")
    assert client.error("me") == (200, 1, None)
    add(server, "truncated_json")
    with pytest.raises(requests.JSONDecodeError):
        client.get("me").json()
    add(server, "broken_body")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.get("me")
    add(server, "dropped_connection")
    with pytest.raises(requests.ConnectionError):
        client.get("me")
    assert client.get("me").status_code == 200
    assert [call.status for call in server.calls] == [500, 200, 503, 200, 200, 200, 0, 200]


def test_a_slow_body_takes_its_time(client: Any, server: SimulatorServer) -> None:
    add(server, "slow_body", seconds=0.2)
    start = time.monotonic()
    assert client.get("me").json()["id"]
    assert time.monotonic() - start > 0.15


def test_stopping_ends_a_body_that_trickles(
    start_server: Callable[..., SimulatorServer], connect: Callable[..., Any]
) -> None:
    server = start_server(faults=[Fault(kind=FaultKind.SLOW_BODY, seconds=600)])
    client = connect(server)
    response = client.session.get(f"{server.url}/v26.0/me", stream=True, timeout=5)
    start = time.monotonic()
    server.stop()
    response.close()
    assert time.monotonic() - start < 2


def test_an_empty_page_with_a_next_loses_nothing(client: Any, server: SimulatorServer) -> None:
    for path in (f"{ACCOUNT}/ads", f"{ACCOUNT}/insights?level=ad"):
        everything = client.data(path)
        server.faults.add(Fault(kind=FaultKind.EMPTY_PAGE, count=1, after_calls=1))
        separator = "&" if "?" in path else "?"
        assert client.data(f"{path}{separator}limit=4") == everything


def test_a_page_that_asks_for_too_much_is_told_to_reduce(
    client: Any, server: SimulatorServer
) -> None:
    server.faults.add(Fault(kind=FaultKind.PAGE_TOO_BIG, account=ACCOUNT, rows=50))
    response = client.get(f"{ACCOUNT}/insights", level="ad", limit=51)
    assert client.read_error(response) == (500, 1, None)
    assert "reduce the amount of data" in response.json()["error"]["message"]
    assert client.get(f"{ACCOUNT}/insights", level="ad", limit=50).status_code == 200
    assert client.error(f"{ACCOUNT}/ads", limit=51) == (500, 1, None)


def test_too_many_rows_have_to_be_split(client: Any, server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.TOO_MANY_ROWS, account=ACCOUNT, rows=100))
    assert client.error(f"{ACCOUNT}/insights", level="ad", time_increment=1) == (400, 100, 1487534)
    window = json.dumps({"since": "2026-11-01", "until": "2026-11-05"})
    response = client.get(f"{ACCOUNT}/insights", level="ad", time_increment=1, time_range=window)
    assert response.status_code == 200


def test_a_field_can_fail_alone(client: Any, server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.FIELD_FAILS, account=ACCOUNT, field="actions"))
    assert client.error(f"{ACCOUNT}/insights", fields="spend,actions") == (500, 2, 1504044)
    assert client.get(f"{ACCOUNT}/insights", fields="spend").status_code == 200


def test_a_creative_with_a_broken_story_can_be_read_without_it(
    client: Any, server: SimulatorServer
) -> None:
    creatives = client.data(f"{ACCOUNT}/adcreatives")
    bad, good = creatives[2]["id"], creatives[0]["id"]
    server.faults.add(Fault(kind=FaultKind.STORY_INVALID, account=ACCOUNT, field=bad))
    assert client.error(bad, fields="id,object_story_spec") == (400, 100, 2446211)
    assert client.get(bad, fields="id,body").json()["body"]
    assert client.get(good, fields="object_story_spec").json()["object_story_spec"]
    assert client.error(f"{ACCOUNT}/adcreatives", fields="object_story_spec")[2] == 2446211
    assert client.error(f"{ACCOUNT}/ads", fields="creative{object_story_spec}")[2] == 2446211


def test_batch_items_can_time_out(client: Any, server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.BATCH_NULL, count=2, after_calls=1))
    items = json.dumps([{"method": "GET", "relative_url": "me"}] * 5)
    answers = client.post("", batch=items).json()
    assert [answer is None for answer in answers] == [False, True, True, False, False]


def test_faults_are_switched_over_http_and_reset_restores_the_first(
    start_server: Callable[..., SimulatorServer], connect: Callable[..., Any]
) -> None:
    initial = Fault(kind=FaultKind.UNKNOWN_ERROR, account="act_2002", count=1)
    server = start_server(faults=[initial])
    client, control = connect(server), f"{server.url}/__control/"
    wanted = {"kind": "forbidden", "account": ACCOUNT, "endpoint": "ads"}
    shown = requests.post(f"{control}faults", json=[wanted], timeout=5).json()["faults"]
    assert [each["kind"] for each in shown] == ["unknown_error", "forbidden"]
    assert client.error(f"{ACCOUNT}/ads") == (403, 200, None)
    assert client.error("act_2002") == (500, 1, 99)
    requests.post(f"{control}reset", timeout=5)
    assert server.faults.active == (initial,)
    assert server.calls == ()
    requests.delete(f"{control}faults", timeout=5)
    assert requests.get(f"{control}faults", timeout=5).json() == {"faults": []}


def test_a_reset_forgets_the_calls_of_every_service(client: Any, server: SimulatorServer) -> None:
    def count_calls() -> list[int]:
        services = (server.reddit.calls, server.language_model.calls, server.shops.visits.paths)
        return [len(server.calls), *map(len, services)]

    client.get("me")
    client.session.get(f"{server.url}/r/skin/search", timeout=5)
    asked = {"model": "small-1", "messages": []}
    client.session.post(f"{server.url}/v1/chat/completions", json=asked, timeout=5)
    client.session.get(f"{server.url}/shops/skin.example", timeout=5)
    assert count_calls() == [1, 1, 1, 1]
    server.reset()
    assert count_calls() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"kind":"rain"}', b'{"kind":"forbidden","colour":1}', b"no", b"[1]"]
)
def test_a_fault_that_does_not_exist_is_refused(server: SimulatorServer, body: bytes) -> None:
    response = requests.post(f"{server.url}/__control/faults", data=body, timeout=5)
    assert response.status_code == 400
    assert response.json()["error"]


def test_every_kind_of_fault_can_be_written_as_json() -> None:
    for kind in FaultKind:
        fault = Fault(kind=kind, endpoint=Endpoint.CDN, count=2, seconds=1.5, rows=3)
        assert Fault.from_json(json.loads(json.dumps(fault.to_json()))) == fault
