"""`pipeline-assets resync` and `resyncs` without any Dagster running."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.tables import requests, resyncs

if TYPE_CHECKING:
    from conftest import CommandLine

TODAY = datetime.now(UTC).date()
SINCE, UNTIL = TODAY - timedelta(days=69), TODAY - timedelta(days=10)  # 60 days
WINDOW = ("--since", str(SINCE), "--until", str(UNTIL))

Row = dict[str, Any]


@pytest.fixture
def acme(cli: CommandLine) -> CommandLine:
    options = ("--timezone", "UTC", "--ad-account", "act_1", "--token", "env:TOKEN")
    cli.done("brands", "add", "acme", *options)
    return cli


def change(cli: CommandLine, table: Any, **values: Any) -> None:
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    with write_transaction(engine) as connection:
        connection.execute(table.update().values(values))
    engine.dispose()


def test_a_resync_starts_with_its_newest_piece_and_says_how_to_go_on(acme: CommandLine) -> None:
    told = acme.done("resync", "acme", *WINDOW, "--reason", "late conversions").out
    (resync,) = acme.done("resyncs", "list", "--json").json
    short = resync["id"][:8]
    assert told.startswith(
        f"Started: meta_sync for acme, {SINCE} to {UNTIL} (resync {short}), 0 of 60 days done.\n"
    )
    assert "Dagster's daemon is not running" in told
    assert f"`pipeline-assets resyncs show {short}`" in told
    assert (resync["state"], resync["reason"]) == ("running", "late conversions")
    (piece,) = acme.done("requests", "list", "--json").json
    assert (piece["resync_id"], piece["priority"]) == (resync["id"], -10)
    assert piece["window_since"] == str(UNTIL - timedelta(days=27))
    assert piece["window_until"] == str(UNTIL)


def test_the_same_window_again_is_the_same_resync_and_goes_on_where_it_stopped(
    acme: CommandLine,
) -> None:
    first = acme.done("resync", "acme", *WINDOW, "--json").json
    assert (first["is_daemon_alive"], first["done_days"]) == (False, 0)
    assert acme.done("resync", "acme", *WINDOW).out.startswith(
        "Already under way, asked for by cli"
    )

    change(acme, requests, state="failed")
    change(acme, resyncs, state="failed", remaining_until=UNTIL - timedelta(days=28))
    again = acme.done("resync", "acme", *WINDOW).out
    assert again.startswith("Goes on: meta_sync for acme")
    assert "28 of 60 days done." in again
    (resync,) = acme.done("resyncs", "list", "--json").json
    assert (resync["id"], resync["state"]) == (first["id"], "running")
    (piece,) = acme.done("requests", "list", "--state", "queued", "--json").json
    assert piece["window_until"] == str(UNTIL - timedelta(days=28))


def test_a_resync_is_listed_shown_and_cancelled(acme: CommandLine) -> None:
    assert "No resync." in acme.done("resyncs", "list").out
    started = acme.done("resync", "acme", *WINDOW, "--json").json
    short = started["id"][:8]
    assert f"{short}  acme" in acme.done("resyncs", "list", "--brand", "acme").out
    assert "0 of 60 days" in acme.done("resyncs", "list").out
    shown = acme.done("resyncs", "show", short).out
    assert "acme meta_sync: queued, waits for Dagster to start it\n" in shown
    assert acme.done("resyncs", "show", short, "--json").json["total_days"] == 60

    cancelled = acme.done("resyncs", "cancel", short, "--json").json
    assert cancelled["state"] == "cancelled"
    (piece,) = acme.done("requests", "list", "--json").json
    assert piece["state"] == "cancelled"
    assert "has ended: it is cancelled" in acme.refused("resyncs", "cancel", short)
    assert "There is no resync 'ffffffff'" in acme.refused("resyncs", "show", "ffffffff")
    assert "is too short" in acme.refused("resyncs", "show", "ff")


def test_waiting_without_dagster_ends_at_once_and_the_resync_stays(acme: CommandLine) -> None:
    waited = acme("resync", "acme", *WINDOW, "--wait")
    (resync,) = acme.done("resyncs", "list", "--json").json
    assert (waited.code, waited.out, resync["state"]) == (1, "", "running")
    assert f"Dagster's daemon is not running: resync {resync['id'][:8]} waits" in waited.err


def test_what_cannot_be_synced_again_is_refused(acme: CommandLine) -> None:
    later = str(TODAY + timedelta(days=5))
    assert "has not been yet" in acme.refused(
        "resync", "acme", "--since", str(SINCE), "--until", later
    )
    assert "after its end" in acme.refused(
        "resync", "acme", "--since", str(UNTIL), "--until", str(SINCE)
    )
    assert "Did you mean acme?" in acme.refused("resync", "acmee", *WINDOW)
    assert "no dataset with days" in acme.refused(
        "resync", "acme", *WINDOW, "--job", "ad_classification"
    )
    acme.done("resync", "acme", *WINDOW)
    refusal = acme.refused("resync", "acme", "--since", str(SINCE), "--until", str(SINCE))
    assert "`pipeline-assets resyncs cancel " in refusal
    wrong = acme("resync", "acme", "--since", "31.1.2026", "--until", str(UNTIL))
    assert (wrong.code, wrong.out) == (2, "")
    assert "'31.1.2026' is not a day such as 2026-01-31." in wrong.err
    missing = acme("resync", "acme", "--since", str(SINCE))
    assert missing.code == 2
