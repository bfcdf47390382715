"""`pipeline-assets brands test`: what it says of a token and its accounts, against real HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World

if TYPE_CHECKING:
    from conftest import CommandLine

NOW = datetime.now(UTC)
HEALTHY, EXPIRED, ENDING, SCOPELESS, UNKNOWN = (
    f"EAA{name}0123456789abcdef"
    for name in ("healthy", "expired", "ending", "scopeless", "unknown")
)


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorServer]:
    world = World(
        accounts=(
            AccountSpec(id="act_11", name="Paris", currency="EUR", timezone="Europe/Paris"),
            AccountSpec(id="act_12", name="Secret"),
        ),
        tokens=(
            TokenSpec(HEALTHY, accounts=("act_11",)),
            TokenSpec(EXPIRED, expires_at=NOW - timedelta(days=1)),
            TokenSpec(ENDING, expires_at=NOW + timedelta(days=3)),
            TokenSpec(SCOPELESS, scopes=("public_profile",)),
        ),
    )
    with SimulatorServer(world) as server:
        yield server


@pytest.fixture
def cli(cli: CommandLine, simulator: SimulatorServer) -> CommandLine:
    cli.settings["PIPELINE_GRAPH_URL"] = simulator.url
    return cli


def add(cli: CommandLine, token: str, *accounts: str) -> None:
    cli.settings["META_TOKEN"] = token
    named = (word for account in accounts for word in ("--ad-account", account))
    cli.done("brands", "add", "acme", "--timezone", "UTC", "--token", "env:META_TOKEN", *named)


def findings(cli: CommandLine, *, code: int) -> dict[str, dict[str, object]]:
    """The findings by subject; people are told the same, and nobody the token."""
    told, printed = (
        replace(outcome, out=re.sub(r" \[fbtrace_id \w+\]", "", outcome.out))  # another each time
        for outcome in (cli("brands", "test", "acme"), cli("brands", "test", "acme", "--json"))
    )
    assert (told.code, told.err) == (printed.code, printed.err) == (code, "")
    assert cli.settings["META_TOKEN"] not in told.out + printed.out
    for finding in printed.json:
        assert finding.keys() == {"subject", "ok", "message", "advice"}
        mark = "ok " if finding["ok"] else "BAD"
        assert f"{mark} {finding['subject']}: {finding['message']}\n" in told.out
        assert bool(finding["advice"]) is not finding["ok"]
        assert f"    What to do: {finding['advice']}\n" in told.out or finding["ok"]
    return {finding["subject"]: finding for finding in printed.json}


def test_a_healthy_token_with_its_account_gets_exit_code_0(cli: CommandLine) -> None:
    add(cli, HEALTHY, "act_11")
    found = findings(cli, code=0)
    assert list(found) == ["token", "expiry", "scopes", "act_11"]
    assert found["expiry"]["message"] == "Never expires."
    assert found["scopes"]["message"] == "May read ads (ads_read)."
    assert found["act_11"]["message"] == "Paris is active (EUR, Europe/Paris)."


def test_an_expired_token_is_to_be_made_anew(cli: CommandLine) -> None:
    add(cli, EXPIRED, "act_11")
    found = findings(cli, code=1)
    assert not any(finding["ok"] for finding in found.values())
    assert "expired" in str(found["token"]["message"])
    assert "Make a new token" in str(found["token"]["advice"])


def test_a_token_that_ends_within_a_week_is_to_be_replaced(cli: CommandLine) -> None:
    add(cli, ENDING, "act_11")
    expiry = findings(cli, code=1)["expiry"]
    assert expiry["message"] == f"Expires at {NOW + timedelta(days=3):%Y-%m-%d %H:%M} UTC."
    assert "Replace it before then" in str(expiry["advice"])


def test_a_missing_permission_is_named(cli: CommandLine) -> None:
    add(cli, SCOPELESS, "act_11")
    scopes = findings(cli, code=1)["scopes"]
    assert scopes["message"] == "Lacks ads_read; it has public_profile."
    assert scopes["advice"] == "Make the token anew with the permission ads_read."


def test_an_account_that_the_token_may_not_see_is_to_be_assigned(cli: CommandLine) -> None:
    add(cli, HEALTHY, "act_11", "act_12")
    found = findings(cli, code=1)
    assert [subject for subject, finding in found.items() if not finding["ok"]] == ["act_12"]
    assert "act_12" in str(found["act_12"]["message"])
    assert "Assign act_12 to the token's user" in str(found["act_12"]["advice"])


def test_an_account_that_does_not_exist_is_to_be_checked(cli: CommandLine) -> None:
    add(cli, HEALTHY, "act_999")
    account = findings(cli, code=1)["act_999"]
    assert "act_999 does not exist or the token may not see it" in str(account["message"])
    assert "Check the id" in str(account["advice"])


def test_a_token_that_meta_does_not_know_is_refused(cli: CommandLine) -> None:
    add(cli, UNKNOWN, "act_11")
    assert not findings(cli, code=1)["token"]["ok"]


def test_a_missing_token_variable_is_named(cli: CommandLine) -> None:
    add(cli, HEALTHY, "act_11")
    del cli.settings["META_TOKEN"]
    said = cli.refused("brands", "test", "acme", "--json")
    assert "The secret env:META_TOKEN is missing or empty." in said
    assert "Set the environment variable" in said


def test_a_brand_without_a_source_has_nothing_to_test(cli: CommandLine) -> None:
    cli.done("brands", "add", "acme", "--timezone", "UTC")
    assert "Brand 'acme' has no Meta source." in cli.refused("brands", "test", "acme")
