from pathlib import Path

import pytest

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.settings import Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DAGSTER_HOME", "PIPELINE_DATABASE_URL", "PIPELINE_GRAPH_VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_everything_lives_in_dagster_home_unless_a_setting_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings = Settings.load()
    assert settings.resolved_database_url() == f"sqlite:///{tmp_path}/pipeline_assets.db"
    assert settings.resolved_media_url() == f"{tmp_path}/media"


def test_a_missing_dagster_home_names_the_next_step() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        _ = Settings.load().dagster_home
    assert "pipeline-assets setup" in caught.value.advice


def test_a_relative_dagster_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "here")
    with pytest.raises(InvalidConfigError, match="'here'"):
        _ = Settings.load().dagster_home


def test_a_variable_said_differently_in_env_file_and_environment_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("DAGSTER_HOME=/in/the/file\n")
    monkeypatch.setenv("DAGSTER_HOME", "/in/the/environment")
    with pytest.raises(InvalidConfigError, match="DAGSTER_HOME is set differently"):
        Settings.load()


def test_the_env_file_counts_when_the_environment_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_GRAPH_VERSION", "v25.0")  # so that it is put back afterwards
    Path(".env").write_text("PIPELINE_GRAPH_VERSION=v25.0\n")
    assert Settings.load().graph_version == "v25.0"


def test_a_misspelt_setting_is_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_DATABSE_URL", "sqlite:///x.db")
    with pytest.raises(InvalidConfigError, match="PIPELINE_DATABSE_URL"):
        Settings.load()


def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_GRAPH_VERSION", "26")
    with pytest.raises(InvalidConfigError, match="PIPELINE_GRAPH_VERSION"):
        Settings.load()


def test_the_database_password_is_not_in_the_settings_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_DATABASE_URL", "postgresql://u:hunter22@db/x")
    assert "hunter22" not in repr(Settings.load())


@pytest.mark.parametrize("url", ["postgres://u:hunter22@db/x", "mysql://u:hunter22@db/x", "x.db"])
def test_a_database_that_dagster_could_not_share_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PIPELINE_DATABASE_URL", url)
    with pytest.raises(InvalidConfigError, match="must begin with postgresql://") as caught:
        Settings.load()
    assert "hunter22" not in str(caught.value)


def test_a_list_that_is_no_json_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_ALLOW_PRIVATE_HOSTS", "127.0.0.1:8080")
    with pytest.raises(InvalidConfigError, match="allow_private_hosts") as caught:
        Settings.load()
    assert "JSON" in caught.value.advice
