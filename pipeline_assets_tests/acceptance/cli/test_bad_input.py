"""Whatever is wrong with the input: one clear sentence, exit code 1, nothing written."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from pipeline_assets.storage import engine as engine_module

if TYPE_CHECKING:
    from conftest import CommandLine

TOKEN = "EAAliteralTokenThatNobodyMaySee01"
GOOD = ("--timezone", "UTC")
SLUG_RULE = "it must be 1 to 63 characters of a-z, 0-9, - and _, the first one a letter or digit"
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_bad_slug_is_refused_with_the_rule(cli: CommandLine) -> None:
    for slug in ("a,b", "Acme", "a" * 64, "\N{DUCK}", "a b", "a/b", "ä", "_a"):
        said = cli.refused("brands", "add", slug, *GOOD)
        assert f"id is {slug!r}: {SLUG_RULE}" in said
    assert SLUG_RULE in cli.refused("brands", "add", "", *GOOD)
    assert cli.done("brands", "list", "--json").json == []
    assert cli.partitions() == set()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--timezone", "Europe/Pariss"),
            "timezone is 'Europe/Pariss': it must be an IANA time zone such as Europe/Paris.",
        ),
        (("--timezone", "europe/paris"), "an IANA time zone such as Europe/Paris."),
        (("--timezone", ""), "timezone is '': it must be an IANA time zone"),
        ((*GOOD, "--currency", "euro"), "currency is 'euro': it must be an ISO 4217 code"),
        ((*GOOD, "--ad-account", "acct_1", "--token", "env:X"), "ad_accounts.0 is 'acct_1': it"),
        (
            (*GOOD, "--ad-account", "1", "--ad-account", "act_1", "--token", "env:X"),
            "act_1 comes twice",
        ),
        ((*GOOD, "--ad-account", "1"), "sources.meta.token is missing."),
        ((*GOOD, "--ad-account", "1", "--token", ""), "sources.meta.token cannot be used"),
        ((*GOOD, "--token", "env:X"), "sources.meta.ad_accounts is missing."),
        ((*GOOD, "--window", "ad_thumbnails"), "'ad_thumbnails' is not DATASET=HOURS."),
        ((*GOOD, "--window", "thumbnails=3"), "such as ad_thumbnails; thumbnails is no dataset."),
        ((*GOOD, "--window", "ad_thumbnails=nan"), "windows.ad_thumbnails is nan"),
        ((*GOOD, "--window", "ad_thumbnails=0"), "windows.ad_thumbnails is 0.0"),
        ((*GOOD, "--organization", "nobody"), "there is no organization 'nobody'."),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_the_rule(
    cli: CommandLine, options: tuple[str, ...], said: str
) -> None:
    assert said in cli.refused("brands", "add", "acme", *options)
    assert cli.done("brands", "list", "--json").json == []
    assert cli.partitions() == set()


@pytest.mark.parametrize("option", ["--token", "--app-secret"])
def test_a_literal_secret_is_refused_and_not_repeated(cli: CommandLine, option: str) -> None:
    for secret in (TOKEN, "hunter22hunter22", f"file:{TOKEN}", f"env: {TOKEN}"):
        given = ("--ad-account", "1", "--token", "env:X", option, secret)
        said = cli.refused("brands", "add", "acme", *GOOD, *given)
        assert secret not in said
        assert "env:NAME or file:/path, never the secret itself" in said
        files = [file for file in cli.home.rglob("*") if file.is_file()]
        assert not [file for file in files if secret.encode() in file.read_bytes()]


def test_a_brand_is_not_added_twice(cli: CommandLine) -> None:
    cli.done("brands", "add", "acme", *GOOD)
    said = cli.refused("brands", "add", "acme", "--timezone", "Asia/Tokyo")
    assert "There is a brand acme already." in said
    assert cli.done("brands", "show", "acme", "--json").json["timezone"] == "UTC"


@pytest.mark.parametrize(
    "command",
    [
        ("brands", "show", "acmee"),
        ("brands", "pause", "acmee", "--reason", "x"),
        ("brands", "resume", "acmee"),
        ("brands", "test", "acmee"),
        ("status", "--brand", "acme", "--brand", "acmee"),
    ],
)
def test_an_unknown_brand_brings_up_the_one_that_was_meant(
    cli: CommandLine, command: tuple[str, ...]
) -> None:
    cli.done("brands", "add", "acme", *GOOD)
    said = cli.refused(*command)
    assert "There is no brand 'acmee'." in said
    assert "Did you mean acme?" in said
    assert cli.done("brands", "show", "acme", "--json").json["paused_at"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--reason", " "), "The reason is empty."),
        (("--reason", "x", "--until", "tomorrow"), "'tomorrow' is not a time."),
        (("--reason", "x", "--until", "2026-02-30"), "'2026-02-30' is not a time."),
        (("--reason", "x", "--until", "2020-01-01"), "cannot be paused until 2020-01-01T00:00:00"),
    ],
)
def test_a_bad_pause_changes_nothing(cli: CommandLine, options: tuple[str, ...], said: str) -> None:
    cli.done("brands", "add", "acme", *GOOD)
    assert said in cli.refused("brands", "pause", "acme", *options)
    assert cli.done("brands", "show", "acme", "--json").json["paused_at"] is None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("brands", "pause", "acme"), "Missing option '--reason'."),
        (("brands", "add", "acme"), "Missing option '--timezone'."),
        (("brands", "add", *GOOD), "Missing argument 'SLUG'."),
        (("brands", "add", "acme", "--zone", "UTC"), "No such option '--zone'."),
        (("brand",), "No such command 'brand'."),
    ],
)
def test_a_wrong_command_line_has_exit_code_2(
    cli: CommandLine, command: tuple[str, ...], said: str
) -> None:
    outcome = cli(*command)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert "--help' for help." in outcome.err


GOOD_ENTRY = "{id: good, name: Good, timezone: UTC}"
LAST_ENTRY = "{id: last, name: Last, timezone: UTC}"
LITERAL_TOKEN_ENTRY = (
    f"{{id: x, name: X, timezone: UTC, sources: {{meta: {{ad_accounts: [1], token: {TOKEN}}}}}}}"
)
ACTOR_ENTRY = (
    "{{id: x, name: X, timezone: UTC, sources: {{amazon: {{asins: [B0ABCDEFGH],"
    " actor: {{actor: me/reviews, token: env:X, input: {}}}}}}}}}"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"brands: [{GOOD_ENTRY}, {{id: bad, name: B, timezone: Mars}}, {LAST_ENTRY}]",
            "entry 2: Brand bad: timezone is 'Mars': it must be an IANA time zone",
        ),
        (f"brands: [{GOOD_ENTRY}, {GOOD_ENTRY}]", "Named more than once: good."),
        (f"brands: [{GOOD_ENTRY}, {{id: x, name: X}}]", "entry 2: Brand x: timezone is missing."),
        (
            f"brands: [{GOOD_ENTRY}, {{id: x, name: X, timezone: UTC, zone: 1}}]",
            "zone is not known; known are id, organization_id, name, timezone",
        ),
        (
            f"brands: [{GOOD_ENTRY}, {LITERAL_TOKEN_ENTRY}]",
            "sources.meta.token cannot be used",
        ),
        (f"brands: [{GOOD_ENTRY}, word]", "entry 2 of `brands:` must hold id, name, …."),
        (
            f'brands: [{GOOD_ENTRY}, {{id: x, name: "a\\0b", timezone: UTC}}]',
            "entry 2: Brand x: name is 'a\\x00b': it must be text without NUL",
        ),
        *(
            (
                f"brands: [{GOOD_ENTRY}, {ACTOR_ENTRY.format(given)}]",
                "entry 2: Brand x: sources.amazon.actor.input cannot be used: it must be",
            )
            for given in ("&i {x: *i}", "{x: !!binary aGVsbG8=}", f"{{x: {'[' * 99}{']' * 99}}}")
        ),
        ("brands: [", "in line 1"),
        ("brands: 2026-02-31", "a value in it is not the date or number that it looks like."),
        ("[" * 3_000, "brands.yaml cannot be read: it is nested too deep."),
        ("brands: {acme: {}}", "`brands:` in brands.yaml must be a list."),
        (f"[{GOOD_ENTRY}]", "must hold `brands:` and nothing else."),
        ("", "must hold `brands:` and nothing else."),
    ],
)
def test_a_bad_brands_file_adds_no_brand_at_all(cli: CommandLine, text: str, said: str) -> None:
    (cli.folder / "brands.yaml").write_text(text)
    message = cli.refused("brands", "apply", "brands.yaml")
    assert said in message
    assert "brands.yaml" in message or "Named more than once" in message
    assert TOKEN not in message
    assert cli.done("brands", "list", "--json").json == []
    assert cli.partitions() == set()


def test_a_brands_file_that_cannot_be_read_is_named(cli: CommandLine) -> None:
    said = cli.refused("brands", "apply", "nowhere.yaml")
    assert "nowhere.yaml cannot be read: No such file or directory." in said
    assert "cannot be read: Is a directory." in cli.refused("brands", "apply", str(cli.folder))
    (cli.folder / "binary.yaml").write_bytes(b"\xff\xfe\x00brands")
    assert "binary.yaml cannot be read" in cli.refused("brands", "apply", "binary.yaml")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PIPELINE_MEDIA_ULR", "x", "Unknown setting PIPELINE_MEDIA_ULR."),
        ("PIPELINE_GRAPH_VERSION", "26", "PIPELINE_GRAPH_VERSION cannot be used"),
        ("PIPELINE_MAX_IMAGE_BYTES", "many", "PIPELINE_MAX_IMAGE_BYTES cannot be used"),
        ("PIPELINE_DATABASE_URL", "mysql://u:hunter22@h/d", "must begin with postgresql://"),
        ("PIPELINE_DATABASE_URL", "postgres://u:hunter22@h/d", "must begin with postgresql://"),
        ("PIPELINE_DATABASE_URL", "nonsense", "must begin with postgresql://"),
        ("PIPELINE_DATABASE_URL", "sqlite:////nowhere/x.db", "does not exist"),
        ("PIPELINE_DATABASE_URL", "sqlite:////", "is a folder, not a database file."),
        (
            "PIPELINE_DATABASE_URL",
            "postgresql://u:hunter22@127.0.0.1:1/d",
            "The PostgreSQL database 127.0.0.1:1/d cannot be reached",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_named(
    cli: CommandLine, name: str, value: str, said: str
) -> None:
    cli.settings[name] = value
    for command in (("setup",), ("brands", "list"), ("status", "--json")):
        message = cli.refused(*command)
        assert said in message
        assert "hunter22" not in message


def test_a_setting_that_says_two_things_is_named(cli: CommandLine) -> None:
    (cli.folder / ".env").write_text("PIPELINE_GRAPH_VERSION=v25.0\n")
    cli.settings["PIPELINE_GRAPH_VERSION"] = "v26.0"
    said = cli.refused("brands", "list")
    assert (
        f"PIPELINE_GRAPH_VERSION is set differently in the environment and in {cli.folder}" in said
    )
    assert "Keep one of the two" in said


def test_a_login_that_postgresql_refuses_is_named_without_the_password(
    cli: CommandLine, postgres_url: str
) -> None:
    wrong = make_url(postgres_url).set(username="nobody", password="hunter22")
    cli.settings["PIPELINE_DATABASE_URL"] = wrong.render_as_string(hide_password=False)
    said = cli.refused("setup")
    assert "PostgreSQL refuses the connection to" in said
    assert "Correct user, password or database name" in said
    assert "hunter22" not in said


def test_a_postgresql_that_the_set_up_does_not_know_of_asks_for_the_set_up(
    cli: CommandLine, postgres_url: str
) -> None:
    cli.settings["PIPELINE_DATABASE_URL"] = postgres_url
    said = cli.refused("brands", "list")
    assert "not set up for" in said
    assert "pipeline-assets setup" in said
    cli.done("setup")
    assert cli.done("brands", "list", "--json").json == []
    del cli.settings["PIPELINE_DATABASE_URL"]
    assert "PIPELINE_DATABASE_URL is not set here" in cli.refused("status")


def test_an_env_file_that_is_no_text_is_named(cli: CommandLine) -> None:
    (cli.folder / ".env").write_bytes(b"\xff\xfe\x00")
    assert ".env cannot be read." in cli.refused("brands", "list")


def test_a_database_of_a_newer_version_is_refused_and_untouched(cli: CommandLine) -> None:
    file = cli.home / "pipeline_assets.db"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE pipeline_assets_revision SET version_num = '9999'")
    connection.close()
    before = file.read_bytes()
    for command in (("brands", "list"), ("status",), ("setup",)):
        said = cli.refused(*command)
        assert f"{file} was made by a newer version of pipeline-assets" in said
    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_untouched(cli: CommandLine) -> None:
    file = cli.home / "pipeline_assets.db"
    for leftover in cli.home.glob("pipeline_assets.db*"):
        leftover.unlink()
    file.write_text("Dear diary, " * 99)
    for command in (("brands", "list"), ("brands", "add", "acme", *GOOD), ("setup",)):
        assert f"{file} is not a SQLite database." in cli.refused(*command)
    assert file.read_text() == "Dear diary, " * 99


def test_a_locked_database_can_be_read_but_a_write_gives_up_and_says_why(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cli.home / "pipeline_assets.db"
    monkeypatch.setattr(engine_module, "SQLITE_BUSY_TIMEOUT_SECONDS", 0.1)
    locker = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == b"locked\n"
        assert cli.done("brands", "list", "--json").json == []
        said = cli.refused("brands", "add", "acme", *GOOD)
        locker.communicate()
    assert f"{file} is kept locked by another process for too long." in said
    assert cli.done("brands", "list", "--json").json == []
    cli.done("brands", "add", "acme", *GOOD)


def test_dagsters_storage_that_cannot_be_opened_is_named(cli: CommandLine) -> None:
    file = cli.home / "dagster.yaml"
    file.write_text(file.read_text() + "\nno_such_key: 1\n")
    said = cli.refused("status")
    assert f"Dagster's storage ({file} says where) cannot be used" in said
    assert "pipeline-assets setup" in said
    cli.done("setup")
    assert "No brand yet" in cli.done("status").out
