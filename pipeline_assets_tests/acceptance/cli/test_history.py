"""`pipeline-assets history`: one row per wish, and what to do about the newest failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.tables import dataset_attempts, requests

if TYPE_CHECKING:
    from conftest import CommandLine

NOW = datetime.now(UTC).replace(microsecond=0)
PERFORMANCE, ASSETS = "meta_ads_performance", "ad_assets"
BRAND = ("--timezone", "UTC", "--ad-account", "act_1", "--token", "env:TOKEN")


def store(cli: CommandLine, name: str, *, hours_ago: int, **values: Any) -> None:
    """One request that ran for a minute."""
    at = NOW - timedelta(hours=hours_ago)
    row = {
        "id": name,
        "chain_id": name,
        "organization_id": "default",
        "brand_id": "acme",
        "job": "meta_sync",
        "state": "succeeded",
        "trigger": "schedule",
        "requested_by": "schedule",
        "reason": "",
        "requested_at": at,
        "not_before": at,
        "priority": 0,
        "attempt": 1,
        "started_at": at + timedelta(seconds=10),
        "finished_at": at + timedelta(seconds=70),
        **values,
    }
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    with write_transaction(engine) as connection:
        connection.execute(requests.insert().values(row))
        if row.get("error_class"):
            names = ("brand_id", "error_class", "error_message", "advice")
            attempt = {"dataset": ASSETS, "run_id": name, "request_id": name, "outcome": "failed"}
            connection.execute(
                dataset_attempts.insert().values(attempt | {key: row[key] for key in names})
            )
    engine.dispose()


def fill(cli: CommandLine) -> None:
    cli.done("brands", "add", "acme", *BRAND)
    cli.done("brands", "add", "globex", *BRAND)
    both = {PERFORMANCE: "succeeded", ASSETS: "succeeded"}
    part = {PERFORMANCE: "succeeded", ASSETS: "failed"}
    store(cli, "aaaaaaaa-1", hours_ago=30, outcomes=both, records=70, run_id=None)
    failure = {"error_class": "AccessError", "error_message": f"No.\n{'x' * 200}"}
    store(
        cli,
        "bbbbbbbb-1",
        hours_ago=2,
        brand_id="globex",
        state="partial",
        trigger="manual",
        requested_by="cli:alice",
        outcomes=part,
        records=40,
        advice="Grant it.",
        **failure,
    )
    store(
        cli,
        "cccccccc-1",
        hours_ago=1,
        state="partial",
        outcomes=part,
        error_class="SourceUnavailableError",
        error_message="Away.",
        advice=None,
    )
    retry = {"chain_id": "cccccccc-1", "retry_of": "cccccccc-1", "trigger": "retry", "attempt": 2}
    waiting = {"state": "queued", "started_at": None, "finished_at": None}
    later = NOW + timedelta(hours=10, minutes=20)
    store(cli, "dddddddd-1", hours_ago=0, **retry, **waiting, not_before=later)


def test_an_empty_history_says_how_to_begin_and_a_filtered_one_that_nothing_is_like_that(
    cli: CommandLine,
) -> None:
    assert "`pipeline-assets sync BRAND` begins" in cli.done("history").out
    assert cli.done("history", "--json").json == []
    assert cli.done("history", "--state", "failed").out == "Nothing in the history is like that.\n"


def test_each_wish_is_one_row_with_its_outcome_and_what_went_wrong(cli: CommandLine) -> None:
    fill(cli)
    table, _, below = cli.done("history").out.partition("\n\n")
    header, *lines = table.split("\n")
    assert header.split()[:6] == ["id", "when", "brand", "job", "by", "tries"]
    assert [line.split()[0] for line in lines] == ["cccccccc", "bbbbbbbb", "aaaaaaaa"]
    waiting, partial, fine = lines
    assert "· next try in 10 h" in waiting
    assert "SourceUnavailableError: Away." in waiting
    assert f" {NOW - timedelta(hours=2):%Y-%m-%d %H:%M:%S} UTC  globex  meta_sync " in partial
    assert "cli:alice" in partial
    assert "◐ partial" in partial
    assert partial.split("partial")[1].split()[:3] == ["60", "s", "40"]
    assert "AccessError: No. xxx" in partial
    assert partial.rstrip().endswith("…")
    assert "● succeeded" in fine
    assert "  70 " in fine
    assert below == "globex: AccessError\n  What to do: Grant it.\n"


def test_filters_and_json(cli: CommandLine) -> None:
    fill(cli)

    def found(*options: str) -> list[str]:
        return [row["chain_id"][:8] for row in cli.done("history", "--json", *options).json]

    assert found() == ["cccccccc", "bbbbbbbb", "aaaaaaaa"]
    assert found("--brand", "acme") == ["cccccccc", "aaaaaaaa"]
    assert found("--brand", "acme", "--brand", "globex", "--limit", "2") == ["cccccccc", "bbbbbbbb"]
    assert found("--state", "partial", "--state", "succeeded") == ["bbbbbbbb", "aaaaaaaa"]
    assert found("--job", "scorecard") == []
    since = NOW - timedelta(hours=2)
    assert found("--since", since.isoformat()) == ["cccccccc", "bbbbbbbb"]
    (chain,) = cli.done("history", "--state", "queued", "--json").json
    assert [request["id"] for request in chain["requests"]] == ["cccccccc-1", "dddddddd-1"]
    assert chain["next_try_at"] == (NOW + timedelta(hours=10, minutes=20)).isoformat().replace(
        "+00:00", "Z"
    )
    assert chain["outcomes"] == {PERFORMANCE: "succeeded", ASSETS: "failed"}
    assert "is not a time" in cli.refused("history", "--since", "yesterday")
    assert "Did you mean acme?" in cli.refused("history", "--brand", "acmee")
