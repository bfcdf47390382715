"""`pipeline-assets doctor`: what it says of a fresh, a broken and a wrongly set installation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World

if TYPE_CHECKING:
    from conftest import CommandLine

GOOD, EXPIRED = "EAAhealthy0123456789abcdef", "EAAexpired0123456789abcdef"


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorServer]:
    ended = datetime.now(UTC) - timedelta(days=1)
    world = World(
        accounts=(AccountSpec(id="act_11", name="Paris"),),
        tokens=(TokenSpec(GOOD, accounts=("act_11",)), TokenSpec(EXPIRED, expires_at=ended)),
    )
    with SimulatorServer(world) as server:
        yield server


def look(cli: CommandLine, *arguments: str, code: int) -> dict[str, dict[str, Any]]:
    """The answers by name; people are told the same."""
    printed = cli("doctor", *arguments, "--json")
    assert (printed.code, printed.err) == (code, "")
    told = cli("doctor", *arguments)
    assert (told.code, told.err) == (code, "")
    marks = {True: "ok ", False: "BAD", None: " - "}
    for answer in printed.json:
        assert answer.keys() == {"name", "is_ok", "detail", "fix"}
        assert f"{marks[answer['is_ok']]} {answer['name']}: " in told.out
        assert (f"    What to do: {answer['fix']}\n" in told.out) is (answer["is_ok"] is False)
    return {answer["name"]: answer for answer in printed.json}


def test_before_the_daemon_has_ever_run_it_says_how_to_start_it_and_all_else_is_well(
    on_each_database: CommandLine,
) -> None:
    answers = look(on_each_database, code=1)
    wrong = {name for name, answer in answers.items() if answer["is_ok"] is False}
    assert wrong - {"disk", "open files"} == {"daemon"}  # those two are the machine's
    assert answers["daemon"]["detail"] == ("Dagster's daemon is not running: it has never run.")
    assert "pipeline-assets up" in answers["daemon"]["fix"]
    kind = "PostgreSQL" if "PIPELINE_DATABASE_URL" in on_each_database.settings else "SQLite"
    assert answers["database"]["detail"].startswith(f"{kind} ")
    assert answers["database"]["detail"].endswith(" MB.")
    assert answers["database clock"]["is_ok"] is (True if kind == "PostgreSQL" else None)
    assert answers["brands"]["is_ok"] is None


def test_a_folder_without_set_up_gets_that_as_its_one_answer(fresh: CommandLine) -> None:
    fresh.settings["DAGSTER_HOME"] = str(fresh.folder / "home")
    answers = look(fresh, code=1)
    assert answers.keys() == {"settings"}
    assert "Run `pipeline-assets setup`" in answers["settings"]["fix"]


def test_a_setting_for_an_unknown_job_is_wrong(cli: CommandLine) -> None:
    cli.settings["PIPELINE_JOB_RETRIES"] = '{"meta_snyc": {"count": 1}}'
    assert "meta_snyc, which is no job" in look(cli, code=1)["settings"]["detail"]


def test_what_rests_on_a_broken_database_is_not_looked_at(cli: CommandLine) -> None:
    (cli.home / "pipeline_assets.db").write_text("not a database " * 1000)
    answers = look(cli, code=1)
    assert answers["database"]["is_ok"] is False
    for name in ("migrations", "requests", "projection", "brands"):
        assert answers[name]["is_ok"] is None
    assert answers["migrations"]["detail"] == "Not looked at, because of: database."
    (cli.home / "pipeline_assets.db").unlink()
    answers = look(cli, code=1)
    assert "There is no database file" in answers["database"]["detail"]
    assert not (cli.home / "pipeline_assets.db").exists()


def test_what_rests_on_dagsters_broken_storage_is_not_looked_at(cli: CommandLine) -> None:
    (cli.home / "history" / "runs.db").write_text("not a database " * 1000)
    answers = look(cli, code=1)
    assert answers["dagster storage"]["is_ok"] is False
    assert "file is not a database" in answers["dagster storage"]["detail"]
    assert answers["daemon"]["is_ok"] is answers["automation"]["is_ok"] is None
    assert answers["database"]["is_ok"] is True


def test_each_brand_without_access_is_named_and_no_token_is_shown(
    cli: CommandLine, simulator: SimulatorServer
) -> None:
    cli.settings["PIPELINE_GRAPH_URL"] = simulator.url
    for name, token in (("good", GOOD), ("ended", EXPIRED), ("paused", EXPIRED)):
        cli.settings[f"TOKEN_{name}"] = token
        source = ("--ad-account", "act_11", "--token", f"env:TOKEN_{name}")
        cli.done("brands", "add", name, "--timezone", "UTC", *source)
    cli.done("brands", "pause", "paused", "--reason", "sold")
    answers = look(cli, code=1)
    assert answers["brands"]["detail"] == "Tokens and accounts of 1 of 2 brands work."
    assert "Meta refuses the token" in answers["brand ended"]["detail"]
    assert "brand good" not in answers
    assert "brand paused" not in answers
    assert answers["graph api"]["is_ok"] is True
    assert EXPIRED not in str(answers)

    offline = look(cli, "--offline", code=1)
    assert (
        offline["brands"]["detail"] == offline["graph api"]["detail"] == "Not looked at: offline."
    )
