"""`pipeline-assets requests`: listed, shown and cancelled without any Dagster running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.clock import utcnow
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.tables import audit_log, dataset_attempts, requests

if TYPE_CHECKING:
    from conftest import CommandLine

Row = dict[str, Any]


def add_brands(cli: CommandLine) -> None:
    for brand in ("acme", "globex"):
        options = ("--timezone", "UTC", "--ad-account", "act_1", "--token", "env:TOKEN")
        cli.done("brands", "add", brand, *options)


def ask(cli: CommandLine, *arguments: str) -> Row:
    request: Row = cli.done("sync", *arguments, "--json").json
    return request


def rows(cli: CommandLine, table: Any) -> list[Row]:
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(table.select()).mappings()]
    engine.dispose()
    return found


def change(cli: CommandLine, request_id: str, **values: Any) -> None:
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    with write_transaction(engine) as connection:
        connection.execute(requests.update().where(requests.c.id == request_id).values(values))
    engine.dispose()


def store_attempt(cli: CommandLine, request_id: str, dataset: str, **values: Any) -> None:
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    attempt = {"brand_id": "acme", "dataset": dataset, "run_id": "r1", "request_id": request_id}
    with write_transaction(engine) as connection:
        connection.execute(dataset_attempts.insert().values(attempt | values))
    engine.dispose()


def test_without_a_request_the_list_says_how_to_make_one(cli: CommandLine) -> None:
    assert "`pipeline-assets sync BRAND` makes one" in cli.done("requests", "list").out
    assert cli.done("requests", "list", "--json").json == []


def test_requests_are_listed_by_brand_job_state_and_number(cli: CommandLine) -> None:
    add_brands(cli)
    first, second = ask(cli, "acme"), ask(cli, "globex")
    third = ask(cli, "acme", "ad_classification")
    change(cli, second["id"], state="failed")
    change(cli, third["id"], archived_at=utcnow())

    def found(*options: str) -> list[str]:
        return [row["id"] for row in cli.done("requests", "list", "--json", *options).json]

    assert found() == [second["id"], first["id"]]
    assert found("--all") == [third["id"], second["id"], first["id"]]
    assert found("--all", "--brand", "acme") == [third["id"], first["id"]]
    assert found("--all", "--job", "ad_classification") == [third["id"]]
    assert found("--state", "failed") == [second["id"]]
    assert found("--state", "failed", "--state", "queued") == [second["id"], first["id"]]
    assert found("--all", "--limit", "1") == [third["id"]]
    assert "Did you mean acme?" in cli.refused("requests", "list", "--brand", "acmee")
    wrong = cli("requests", "list", "--state", "lost")
    assert (wrong.code, wrong.out) == (2, "")

    header, *lines = cli.done("requests", "list").out.rstrip("\n").split("\n")
    assert header.split()[:4] == ["id", "brand_id", "job", "state"]
    assert [line.split()[0] for line in lines] == [second["id"][:8], first["id"][:8]]
    assert lines[1].rstrip().endswith("as soon as there is room")


def test_a_request_is_shown_with_what_its_datasets_came_to(cli: CommandLine) -> None:
    add_brands(cli)
    request = ask(cli, "acme", "--reason", "new campaign")
    change(cli, request["id"], state="partial")
    store_attempt(cli, request["id"], "meta_ads_performance", outcome="succeeded", records=12)
    failure = {"error_class": "AccessError", "error_message": "No.", "advice": "Grant it."}
    store_attempt(cli, request["id"], "ad_assets", outcome="failed", **failure)
    told = cli.done("requests", "show", request["id"][:8]).out
    assert "new campaign" in told
    assert "meta_ads_performance  succeeded  12" in told
    assert "\nAccessError in ad_assets\n  No.\n  What to do: Grant it.\n" in told

    shown = cli.done("requests", "show", request["id"], "--json").json
    assert (shown["id"], shown["state"], shown["waits_for"]) == (request["id"], "partial", "")
    progress = {each["dataset"]: each for each in shown["progress"]}
    assert progress["meta_ads_performance"]["records"] == 12
    assert progress["ad_assets"]["error_class"] == "AccessError"
    assert shown["retry"] is None


def test_a_dataset_that_had_nothing_to_store_says_what_was_missing(cli: CommandLine) -> None:
    add_brands(cli)
    request = ask(cli, "acme")
    change(cli, request["id"], state="succeeded")
    missing = "Nothing new is drafted: no template is approved."
    done = {"outcome": "succeeded", "records": 0}
    metadata = {"records": 0, "missing": missing}
    store_attempt(cli, request["id"], "ad_creations", **done, metadata=metadata)
    other = {"records": 0, "missing": {"items": 3}}  # no words
    store_attempt(cli, request["id"], "ad_assets", **done, metadata=other)
    told = cli.done("requests", "show", request["id"]).out
    assert f"\nad_creations: {missing}\n" in told
    assert "ad_assets:" not in told
    shown = cli.done("requests", "show", request["id"], "--json").json
    assert [each["missing"] for each in shown["progress"]] == [None, missing]


def test_a_request_that_never_tried_anything_shows_why(cli: CommandLine) -> None:
    add_brands(cli)
    request = ask(cli, "acme")
    failure = {"error_class": "InvalidConfigError", "error_message": "Gone.", "advice": "Add it."}
    change(cli, request["id"], state="failed", **failure)
    told = cli.done("requests", "show", request["id"]).out
    assert "\nInvalidConfigError\n  Gone.\n  What to do: Add it.\n" in told


def test_a_queued_request_is_cancelled_at_once_and_only_once(cli: CommandLine) -> None:
    add_brands(cli)
    request = ask(cli, "acme")
    short = request["id"][:8]
    told = cli.done("requests", "cancel", short).out
    assert told == f"meta_sync for acme (request {short}) is cancelled.\n"
    assert cli.done("requests", "show", short, "--json").json["state"] == "cancelled"
    assert "has ended: it was cancelled" in cli.refused("requests", "cancel", short)
    (entry,) = [e for e in rows(cli, audit_log) if e["action"] == "request.cancel"]
    assert (entry["target"], entry["request_id"]) == ("acme:meta_sync", request["id"])
    assert entry["actor"].startswith("cli")

    again = ask(cli, "acme")
    assert again["is_new"]
    cancelled = cli.done("requests", "cancel", again["id"], "--json").json
    assert (cancelled["id"], cancelled["state"]) == (again["id"], "cancelled")


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_an_id_may_be_its_beginning_if_that_is_long_enough_and_one_alone_has_it(
    cli: CommandLine, command: str
) -> None:
    add_brands(cli)
    for brand, request_id in (("acme", "abcdef-1"), ("globex", "abcdef-2")):
        request = ask(cli, brand)
        change(cli, request["id"], id=request_id, chain_id=request_id)
    assert "Several ids begin with 'abcdef'" in cli.refused("requests", command, "abcdef")
    assert "'abcde' is too short" in cli.refused("requests", command, "abcde")
    assert "There is no request 'abcdefg'" in cli.refused("requests", command, "abcdefg")
    assert "There is no request '%%%%%%'" in cli.refused("requests", command, "%%%%%%")
    assert cli.done("requests", command, "abcdef-1", "--json").json["brand_id"] == "acme"


@pytest.mark.parametrize(
    "arguments",
    [
        ("requests", "show", "a" * 60_000),
        ("history", "--since", "0001-01-01T00:00+14:00"),
        ("sync", "\udcff"),
        ("sync", "acme", "--reason", "\udcff"),
    ],
)
def test_what_no_database_takes_is_refused_in_a_sentence(
    cli: CommandLine, arguments: tuple[str, ...]
) -> None:
    cli.done("brands", "add", "acme", "--timezone", "UTC", "--ad-account", "1", "--token", "env:X")
    cli.refused(*arguments)


def test_a_timeout_that_is_no_number_is_the_command_lines_fault(cli: CommandLine) -> None:
    assert cli("sync", "acme", "--wait", "--timeout", "nan").code == 2


def test_all_brands_of_an_organization_can_be_asked_for_at_once(cli: CommandLine) -> None:
    cli.done("setup")
    source = "sources: {templates: {search_terms: [shoes]}}"
    entries = [
        f"  - {{id: {each}, name: {each}, timezone: UTC, {source}}}" for each in ("one", "two")
    ]
    (cli.folder / "brands.yaml").write_text("\n".join(["brands:", *entries]))
    cli.done("brands", "apply", "brands.yaml")
    cli.done("brands", "pause", "two", "--reason", "a relaunch")
    cadences = cli.done("cadences", "list", "--json").json
    assert ("*default", "template_approval") in {(c["brand_id"], c["job"]) for c in cadences}
    asked = cli.done("sync", "*default", "template_approval", "--json").json
    assert (asked["brand_id"], asked["organization_id"]) == ("*default", "default")
    assert asked["left_out"] == {"two": "it is paused: a relaunch"}
    shown = cli.done("requests", "show", asked["id"]).out
    assert "two is left out: it is paused: a relaunch." in shown
    (listed,) = cli.done("requests", "list", "--brand", "*default", "--json").json
    assert listed["id"] == asked["id"]
    refused = cli("sync", "*default", "meta_sync")
    assert "meta_sync does one brand in a run" in refused.err
    assert "There is no organization 'nowhere'." in cli("sync", "*nowhere", "meta_sync").err
