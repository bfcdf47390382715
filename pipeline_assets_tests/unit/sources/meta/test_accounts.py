from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pipeline_assets.errors import AccessError
from pipeline_assets.sources.meta import AdAccount, GraphClient, check_access, fetch_ad_account

Make = Callable[..., Any]
ACCOUNT = {
    "id": "act_1",
    "account_id": "1",
    "name": "Acme",
    "timezone_name": "America/New_York",
    "currency": "USD",
    "account_status": 1,
}


def _token(**more: Any) -> dict[str, Any]:
    data = {"is_valid": True, "type": "SYSTEM_USER", "application": "Sync", "scopes": ["ads_read"]}
    return {"data": data | more}


def test_an_account_is_read_with_its_zone_and_currency(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [reply(ACCOUNT)]
    found = fetch_ad_account(client, "act_1")
    assert found == AdAccount("act_1", "Acme", "America/New_York", "USD", 1)
    assert found.is_active


def test_an_account_out_of_reach_is_named(
    graph: Any, client: GraphClient, make_error: Make
) -> None:
    graph.replies = [make_error(100, 33)]
    with pytest.raises(AccessError, match="act_9") as caught:
        fetch_ad_account(client, "act_9")
    assert "ads_read" in caught.value.advice


def test_all_is_well(graph: Any, client: GraphClient, reply: Make) -> None:
    graph.replies = [reply(_token(expires_at=0)), reply(ACCOUNT)]
    findings = check_access(client, ["act_1"])
    assert [(each.subject, each.ok) for each in findings] == [
        ("token", True),
        ("expiry", True),
        ("scopes", True),
        ("act_1", True),
    ]
    assert findings[1].message == "Never expires."
    assert findings[3].message == "Acme is active (USD, America/New_York)."


@pytest.mark.parametrize(("days", "ok"), [(14, False), (15, True)])
def test_an_expiry_within_a_week_is_a_finding(
    graph: Any, client: GraphClient, reply: Make, days: int, ok: bool
) -> None:
    expires = int((client.now() + timedelta(days=days)).timestamp())
    graph.replies = [reply(_token(expires_at=expires))]
    expiry = check_access(client, [])[1]
    assert (expiry.subject, expiry.ok) == ("expiry", ok)


def test_each_thing_that_is_wrong_is_said_with_what_to_do(
    graph: Any, client: GraphClient, reply: Make, make_error: Make
) -> None:
    graph.replies = [
        reply(_token(scopes=["public_profile"])),
        reply(ACCOUNT | {"account_status": 2}),
        make_error(200),
        reply(ACCOUNT),
    ]
    findings = {each.subject: each for each in check_access(client, ["act_1", "act_2", "act_3"])}
    assert not findings["scopes"].ok
    assert "ads_read" in findings["scopes"].advice
    assert "disabled" in findings["act_1"].message
    assert "act_2" in findings["act_2"].message
    assert findings["act_3"].ok
    assert all(each.advice for each in findings.values() if not each.ok)


def test_an_invalid_token_is_a_finding_and_accounts_are_not_asked_with_a_refused_one(
    graph: Any, client: GraphClient, reply: Make, make_error: Make
) -> None:
    invalid = {"data": {"is_valid": False, "error": {"code": 190, "subcode": 463}}}
    graph.replies = [reply(invalid), make_error(190, 463)]
    findings = check_access(client, ["act_1", "act_2"])
    assert [(each.subject, each.ok) for each in findings] == [
        ("token", False),
        ("act_1", False),
        ("act_2", False),
    ]
    assert "190/463" in findings[0].message
    assert len(graph.calls) == 2
