"""`pipeline-assets brands` and `organizations`: what is stored, printed, and known to Dagster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pipeline_assets.storage import tables
from pipeline_assets.storage.engine import build_engine, write_transaction

if TYPE_CHECKING:
    from conftest import CommandLine

BRAND_COLUMNS = {
    *("id", "organization_id", "name", "timezone", "currency", "sources", "windows"),
    *("max_runtime_minutes", "paused_at", "paused_reason", "paused_until", "ad_accounts"),
}
NO_SOURCES = dict.fromkeys(
    ("meta", "templates", "competitors", "reddit", "amazon", "language_model")
)
ACME = ("brands", "add", "acme", "--timezone", "Europe/Paris")
FULL = (
    *(*ACME, "--name", "Acme [Shoes]", "--currency", "EUR", "--ad-account", "act_1"),
    *("--ad-account", "2", "--token", "env:META_TOKEN_ACME", "--app-id", "77"),
    *("--app-secret", "file:/run/secret", "--window", "ad_thumbnails=72.5"),
    *("--max-runtime", "meta_sync=90"),
)
FILE = """
brands:
  - id: acme
    name: Acme
    timezone: Europe/Paris
    sources:
      meta: {ad_accounts: [act_1, 2], token: "env:META_TOKEN_ACME"}
    windows: {meta_ads_performance: 12}
    max_runtime_minutes: {meta_sync: 45}
  - {id: globex, name: Globex, timezone: UTC}
"""


SOURCES = """
brands:
  - id: acme
    name: Acme
    timezone: Europe/Paris
    sources:
      templates:
        search_terms: [running shoes]
        actor: {actor: me/ads, token: "env:APIFY_TOKEN", input: {maxItems: 5, apiKey: s3cr3t}}
      reddit:
        client_id: aBc
        client_secret: env:REDDIT_SECRET
        username: me
        subreddits: [running]
        search_terms: [shoes]
"""


def is_iso_utc(text: str) -> bool:
    return text.endswith("Z") and datetime.fromisoformat(text).tzinfo == UTC


def test_an_added_brand_is_printed_stored_and_known_to_dagster_at_once(
    on_each_database: CommandLine,
) -> None:
    cli = on_each_database
    added = cli.done(*FULL, "--json").json
    assert added == {
        "id": "acme",
        "organization_id": "default",
        "name": "Acme [Shoes]",
        "timezone": "Europe/Paris",
        "currency": "EUR",
        "sources": NO_SOURCES
        | {
            "meta": {
                "ad_accounts": ["act_1", "act_2"],
                "token": "env:META_TOKEN_ACME",
                "app_id": "77",
                "app_secret": "file:/run/secret",
                "graph_url": None,
            }
        },
        "windows": {"ad_thumbnails": 72.5},
        "max_runtime_minutes": {"meta_sync": 90.0},
        "paused_at": None,
        "paused_reason": None,
        "paused_until": None,
        "ad_accounts": ["act_1", "act_2"],
    }
    assert cli.done("brands", "show", "acme", "--json").json == added
    assert cli.done("brands", "list", "--json").json == [added]
    assert cli.partitions() == {"acme"}


def test_people_see_every_field_as_it_is(cli: CommandLine) -> None:
    shown = cli.done(*FULL).out
    assert cli.done("brands", "show", "acme").out == shown
    for line in (
        "name                 Acme [Shoes]",  # no markup
        "windows              ad_thumbnails=72.5",
        "max_runtime_minutes  meta_sync=90.0",
        "meta.ad_accounts     act_1, act_2",
        "meta.token           env:META_TOKEN_ACME",
        "paused_at            -",
    ):
        assert line in shown


def test_people_see_all_sources_by_the_place_of_their_secrets(cli: CommandLine) -> None:
    (cli.folder / "brands.yaml").write_text(SOURCES)
    cli.done("brands", "apply", "brands.yaml")
    lines = [line.split(maxsplit=1) for line in cli.done("brands", "show", "acme").out.splitlines()]
    shown = {field: value.strip() for field, value in lines}
    assert "sources" not in shown
    assert shown["templates.search_terms"] == "running shoes"
    assert shown["templates.approve_from"] == "70.0"  # unless given
    assert shown["templates.actor.token"] == "env:APIFY_TOKEN"
    assert shown["templates.actor.input"] == "maxItems, apiKey"
    assert shown["reddit.client_secret"] == "env:REDDIT_SECRET"
    assert "reddit.password" not in shown
    (listed,) = cli.done("brands", "list").out.splitlines()[1:]
    assert "reddit, templates" in listed


def test_a_brand_that_cannot_be_read_harms_no_other_and_is_mended_by_applying(
    cli: CommandLine,
) -> None:
    (cli.folder / "brands.yaml").write_text(SOURCES)
    cli.done("brands", "apply", "brands.yaml")
    cli.done("brands", "add", "globex", "--timezone", "UTC")
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    with write_transaction(engine) as connection:
        wrong = {"templates": {"search_terms": ["shoes"], "approve_from": -5}}
        changed = tables.brands.update().where(tables.brands.c.id == "acme")
        connection.execute(changed.values(sources=wrong))
    engine.dispose()
    problem = "Brand acme: sources.templates.approve_from is -5"
    for command in (("brands", "list", "--json"), ("status", "--json")):
        outcome = cli(*command)
        assert outcome.code == 0
        assert outcome.err.startswith(f"Left aside: {problem}")
        assert "`pipeline-assets brands apply FILE`" in outcome.err
        ids = {each.get("brand_id", each.get("id")) for each in outcome.json}
        assert ids == {"globex"}
    for command in (("status", "--brand", "acme"), ("brands", "show", "acme"), ("sync", "acme")):
        assert problem in cli.refused(*command)
    cli.done("brands", "add", "initech", "--timezone", "UTC")
    assert cli.partitions() == {"acme", "globex", "initech"}
    assert cli.done("brands", "apply", "brands.yaml").out == "changed    acme\n"
    assert "acme" in cli.done("brands", "list").out


def test_a_brand_needs_no_more_than_a_time_zone(cli: CommandLine) -> None:
    brand = cli.done(*ACME, "--json").json
    assert brand.keys() == BRAND_COLUMNS
    assert (brand["name"], brand["sources"], brand["ad_accounts"]) == ("acme", NO_SOURCES, [])


def test_the_list_keeps_each_brand_on_one_line_for_other_programs(cli: CommandLine) -> None:
    accounts = [f"act_{number}" for number in range(1000, 1040)]
    slug = "a" * 63
    cli.done(
        *("brands", "add", slug, "--timezone", "UTC", "--token", "env:X"),
        *(word for account in accounts for word in ("--ad-account", account)),
    )
    header, line = cli.done("brands", "list").out.splitlines()
    assert header.split()[:2] == ["id", "name"]
    assert slug in line
    assert ", ".join(accounts) in line


def test_without_a_brand_the_list_says_how_to_add_one(cli: CommandLine) -> None:
    assert "brands add --help" in cli.done("brands", "list").out
    assert cli.done("brands", "list", "--json").json == []


def test_an_organization_owns_its_brands(cli: CommandLine) -> None:
    agency = cli.done("organizations", "add", "agency", "--name", "The Agency", "--json").json
    assert agency == {"id": "agency", "name": "The Agency"}
    cli.done(*ACME)
    cli.done("brands", "add", "globex", "--timezone", "UTC", "--organization", "agency")

    listed = cli.done("organizations", "list", "--json").json
    assert [each["id"] for each in listed] == ["agency", "default"]
    theirs = cli.done("brands", "list", "--organization", "agency", "--json").json
    assert [(each["id"], each["organization_id"]) for each in theirs] == [("globex", "agency")]
    assert [each["id"] for each in cli.done("brands", "list", "--json").json] == ["acme", "globex"]
    assert "nobody has no brand" in cli.done("brands", "list", "--organization", "nobody").out


def test_a_pause_has_a_reason_and_an_end_and_is_over_when_resumed(
    on_each_database: CommandLine,
) -> None:
    cli = on_each_database
    cli.done(*ACME)
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    until = f"{tomorrow:%Y-%m-%dT%H:%M:%S}"
    paused = cli.done("brands", "pause", "acme", "--reason", "sold", "--until", until, "--json")
    assert paused.json["paused_reason"] == "sold"
    assert paused.json["paused_until"] == f"{until}Z"
    assert is_iso_utc(paused.json["paused_at"])
    assert cli.done("brands", "show", "acme", "--json").json == paused.json

    resumed = cli.done("brands", "resume", "acme", "--json").json
    assert {k: v for k, v in resumed.items() if k.startswith("paused")} == {
        "paused_at": None,
        "paused_reason": None,
        "paused_until": None,
    }
    assert cli.partitions() == {"acme"}


def test_a_pauses_end_may_have_an_offset_and_be_a_day(cli: CommandLine) -> None:
    cli.done(*ACME)
    pause = ("brands", "pause", "acme", "--reason", "x", "--json", "--until")
    assert cli.done(*pause, "2099-01-31").json["paused_until"] == "2099-01-31T00:00:00Z"
    offset = cli.done(*pause, "2099-01-31T08:00+02:00").json
    assert offset["paused_until"] == "2099-01-31T06:00:00Z"


def test_a_pause_for_good_is_shown_to_people(cli: CommandLine) -> None:
    cli.done(*ACME)
    shown = cli.done("brands", "pause", "acme", "--reason", "[red]alert[/red]").out
    assert "paused_reason        [red]alert[/red]" in shown
    assert " UTC" in cli.done("brands", "list").out
    assert "paused" in cli.done("status").out


def test_a_brands_file_is_applied_and_applied_again(on_each_database: CommandLine) -> None:
    cli = on_each_database
    file = cli.folder / "brands.yaml"
    file.write_text(FILE)
    applied = cli.done("brands", "apply", "brands.yaml", "--json").json
    assert "acme:meta_sync" in applied.pop("cadences")
    assert applied == {"added": ["acme", "globex"], "changed": [], "unchanged": []}
    assert cli.partitions() == {"acme", "globex"}
    assert cli.done("brands", "show", "acme", "--json").json["windows"] == {
        "meta_ads_performance": 12
    }
    assert cli.done("brands", "show", "acme", "--json").json["max_runtime_minutes"] == {
        "meta_sync": 45
    }

    cli.done("brands", "pause", "globex", "--reason", "sold")
    file.write_text(
        FILE.replace("name: Globex, timezone: UTC", "name: Globex, timezone: Asia/Tokyo")
    )
    assert cli.done("brands", "apply", str(file)).out.splitlines() == [
        "changed    globex",
        "unchanged  acme",
    ]
    globex = cli.done("brands", "show", "globex", "--json").json
    assert (globex["timezone"], globex["paused_reason"]) == ("Asia/Tokyo", "sold")


def test_brands_that_a_file_does_not_name_stay(cli: CommandLine) -> None:
    cli.done(*ACME)
    (cli.folder / "brands.yaml").write_text("brands: []")
    outcome = cli.done("brands", "apply", "brands.yaml", "--json").json
    assert outcome == {"added": [], "changed": [], "unchanged": [], "cadences": []}
    assert cli.partitions() == {"acme"}


@pytest.mark.parametrize("text", ["pipeline-assets brands add acme --name Acme", "env:NAME"])
def test_the_help_of_add_has_an_example_and_says_how_tokens_are_given(
    cli: CommandLine, text: str
) -> None:
    assert text in cli.done("brands", "add", "--help").out


def test_when_dagsters_storage_is_broken_the_brand_is_stored_and_a_note_says_so(
    cli: CommandLine,
) -> None:
    index = cli.home / "history" / "runs" / "index.db"
    index.write_text("not a database " * 20)
    outcome = cli(*ACME, "--json")
    assert (outcome.code, outcome.json["id"]) == (0, "acme")
    assert outcome.err.startswith("Note: Dagster's storage")
    assert "file is not a database" in outcome.err
    assert "sync_brands will make up for it" in outcome.err
    index.unlink()
    cli.done("setup")
    assert cli.partitions() == {"acme"}


def test_a_new_brand_has_the_usual_cadences_unless_one_says_otherwise(cli: CommandLine) -> None:
    source = ("--ad-account", "act_1", "--token", "env:X")
    cli.done(*ACME, *source)
    cli.done("brands", "add", "plain", "--timezone", "UTC", *source, "--no-cadences")
    (cli.folder / "brands.yaml").write_text(
        "brands: [{id: globex, name: Globex, timezone: UTC, "
        'sources: {meta: {ad_accounts: [act_2], token: "env:X"}}}]'
    )
    cli.done("brands", "apply", "brands.yaml")
    found = cli.done("cadences", "list", "--json").json
    assert {("acme", "meta_sync", "every_6_hours"), ("globex", "meta_sync", "every_6_hours")} <= {
        (each["brand_id"], each["job"], each["preset"]) for each in found
    }
    assert "plain" not in {each["brand_id"] for each in found}


def test_a_source_that_a_file_adds_brings_its_cadence(cli: CommandLine) -> None:
    meta = 'meta: {ad_accounts: [act_2], token: "env:X"}'
    file = cli.folder / "brands.yaml"
    brand = "brands: [{id: globex, name: Globex, timezone: UTC, sources: {%s}}]"
    file.write_text(brand % meta)
    cli.done("brands", "apply", "brands.yaml", "--no-cadences")
    actor = '{actor: some/reviews, token: "env:Y"}'
    file.write_text(brand % f"{meta}, amazon: {{asins: [B0ACME0001], actor: {actor}}}")
    out = cli.done("brands", "apply", "brands.yaml").out.splitlines()
    assert out[:1] == ["changed    globex"]
    assert out[1].startswith("New cadences: ")
    found = {each["job"] for each in cli.done("cadences", "list", "--json").json}
    assert "amazon_review_scrape" in found
    assert "meta_sync" not in found
    assert cli.done("brands", "apply", "brands.yaml", "--json").json["cadences"] == []
