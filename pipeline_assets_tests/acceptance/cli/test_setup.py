"""`pipeline-assets setup`: a fresh folder becomes one where everything else works."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from dotenv import dotenv_values
from sqlalchemy import make_url

if TYPE_CHECKING:
    from conftest import CommandLine

PASSWORD = "hunter22hunter22"


def add_acme(cli: CommandLine) -> None:
    cli.done("brands", "add", "acme", "--timezone", "Europe/Paris")


def test_a_fresh_folder_is_made_ready_by_one_command(fresh: CommandLine) -> None:
    outcome = fresh.done("setup")

    home = fresh.folder / ".dagster"
    assert outcome.out == f"Ready: DAGSTER_HOME is {home}, the database is SQLite.\n"
    assert (fresh.folder / ".env").read_text() == f"DAGSTER_HOME={home}\n"
    assert home.is_absolute()
    assert home.stat().st_mode & 0o077 == 0  # data and tokens' places are nobody else's business
    template = (fresh.folder / "dagster.yaml").read_text()
    written = (home / "dagster.yaml").read_text()
    assert written.endswith(template)
    assert yaml.safe_load(written) == yaml.safe_load(template)
    assert fresh.done("brands", "list", "--json").json == []
    assert fresh.partitions() == set()


def test_the_setup_tells_programs_what_it_made(fresh: CommandLine) -> None:
    home = str(fresh.folder / ".dagster")
    assert fresh.done("setup", "--json").json == {"dagster_home": home, "database": "SQLite"}


def test_running_the_setup_again_keeps_all_data(cli: CommandLine) -> None:
    add_acme(cli)
    before = cli.done("brands", "list", "--json").json
    cli.done("setup")
    cli.done("setup")
    assert cli.done("brands", "list", "--json").json == before
    assert cli.partitions() == {"acme"}


def test_the_setup_brings_dagsters_partitions_back(cli: CommandLine) -> None:
    add_acme(cli)
    (cli.home / "history" / "runs" / "index.db").unlink()
    assert cli.partitions() == set()
    cli.done("setup")
    assert cli.partitions() == {"acme"}


def test_a_change_of_the_projects_dagster_yaml_reaches_the_home(cli: CommandLine) -> None:
    with (cli.folder / "dagster.yaml").open("a") as file:
        file.write("\nnux:\n  enabled: false\n")
    cli.done("setup")
    assert yaml.safe_load((cli.home / "dagster.yaml").read_text())["nux"] == {"enabled": False}


def test_a_home_that_the_environment_names_is_taken(fresh: CommandLine, tmp_path: Path) -> None:
    fresh.settings["DAGSTER_HOME"] = str(tmp_path / "deep" / "elsewhere")
    assert str(tmp_path / "deep" / "elsewhere") in fresh.done("setup").out
    assert not (fresh.folder / ".env").exists()
    assert not (fresh.folder / ".dagster").exists()
    assert fresh.done("brands", "list", "--json").json == []


def test_the_setup_adds_a_line_to_an_env_file_and_leaves_the_rest(fresh: CommandLine) -> None:
    (fresh.folder / ".env").write_text("META_TOKEN_ACME=abc")  # no line's end: editors differ
    fresh.done("setup")
    assert dotenv_values(fresh.folder / ".env") == {
        "META_TOKEN_ACME": "abc",
        "DAGSTER_HOME": str(fresh.folder / ".dagster"),
    }


def test_a_folder_may_have_a_name_that_needs_quotes(
    fresh: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = fresh.folder / "it's #1 of $HOME"
    odd.mkdir()
    (fresh.folder / "dagster.yaml").rename(odd / "dagster.yaml")
    monkeypatch.chdir(odd)
    fresh.done("setup")
    assert fresh.done("brands", "list", "--json").json == []
    assert (odd / ".dagster" / "pipeline_assets.db").is_file()


def test_on_postgresql_dagsters_storage_is_there_too_and_no_file_holds_the_password(
    fresh: CommandLine, postgres_server: Any
) -> None:
    with postgres_server.fresh_database("template0") as address:
        url = make_url(address).set(password=PASSWORD).render_as_string(hide_password=False)
        fresh.settings["PIPELINE_DATABASE_URL"] = url
        assert "the database is PostgreSQL" in fresh.done("setup").out
        add_acme(fresh)
        fresh.done("setup")

        assert fresh.partitions() == {"acme"}
        assert fresh.done("brands", "show", "acme", "--json").json["id"] == "acme"
        config = yaml.safe_load((fresh.home / "dagster.yaml").read_text())
        reference = {"postgres_url": {"env": "PIPELINE_DATABASE_URL"}}
        assert config["storage"] == {"postgres": reference}
    files = [file for file in fresh.folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {"", ".yaml"}  # and no SQLite file
    assert not [file for file in files if PASSWORD.encode() in file.read_bytes()]


def test_in_another_folder_the_setup_says_where_it_belongs(fresh: CommandLine) -> None:
    (fresh.folder / "dagster.yaml").unlink()
    said = fresh.refused("setup")
    assert f"There is no dagster.yaml in {fresh.folder}." in said
    assert "in the project's own folder" in said
    assert [file.name for file in fresh.folder.iterdir()] == ["workspace.yaml"]


def test_a_home_of_another_project_is_not_overwritten(fresh: CommandLine, tmp_path: Path) -> None:
    foreign = tmp_path / "dagster.yaml"
    foreign.write_text("telemetry: {enabled: true}\n")
    fresh.settings["DAGSTER_HOME"] = str(tmp_path)
    assert f"{foreign} is another project's" in fresh.refused("setup")
    assert foreign.read_text() == "telemetry: {enabled: true}\n"


def test_a_copy_of_the_projects_own_dagster_yaml_is_no_other_project(
    fresh: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "dagster.yaml").write_bytes((fresh.folder / "dagster.yaml").read_bytes())
    fresh.settings["DAGSTER_HOME"] = str(tmp_path)
    fresh.done("setup")
    assert (tmp_path / "dagster.yaml").read_text().startswith("# Written by")


def test_a_home_that_cannot_be_made_is_named(fresh: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fresh.settings["DAGSTER_HOME"] = str(tmp_path / "file" / "home")
    said = fresh.refused("setup")
    assert f"{tmp_path / 'file' / 'home'} cannot be written: Not a directory." in said
    assert "choose another DAGSTER_HOME" in said


def test_a_folder_in_which_no_env_file_can_be_written_is_named(fresh: CommandLine) -> None:
    (fresh.folder / ".env").mkdir()  # as good as a read-only folder, also for root
    assert ".env cannot be written: Is a directory." in fresh.refused("setup")


def test_a_relative_home_is_refused(fresh: CommandLine) -> None:
    fresh.settings["DAGSTER_HOME"] = "somewhere"
    assert "DAGSTER_HOME is 'somewhere', but Dagster needs an absolute path." in fresh.refused(
        "setup"
    )


@pytest.mark.parametrize("command", [("brands", "list"), ("status",), ("organizations", "list")])
def test_before_the_setup_every_command_asks_for_it(
    fresh: CommandLine, tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert "DAGSTER_HOME is not set" in fresh.refused(*command)
    fresh.settings["DAGSTER_HOME"] = str(tmp_path / "nowhere")
    said = fresh.refused(*command)
    assert f"{tmp_path / 'nowhere'}, where no set-up has been done yet." in said
    assert "Run `pipeline-assets setup`" in said
    assert not (tmp_path / "nowhere").exists()


def test_a_moved_folder_is_not_set_up_at_its_old_place(fresh: CommandLine, tmp_path: Path) -> None:
    old_home = tmp_path / "old place" / ".dagster"
    (fresh.folder / ".env").write_text(f"DAGSTER_HOME='{old_home}'\n")
    said = fresh.refused("setup")
    assert f"names DAGSTER_HOME={old_home}, which is not there." in said
    assert "delete that line" in said
    assert not old_home.parent.exists()


def test_a_home_that_was_deleted_in_its_own_folder_is_made_anew(fresh: CommandLine) -> None:
    (fresh.folder / ".env").write_text(f"DAGSTER_HOME={fresh.folder / '.dagster'}\n")
    fresh.done("setup")
    assert (fresh.folder / ".dagster" / "dagster.yaml").is_file()
