"""Every setting of an installation, from PIPELINE_* variables; only the edges read them.

Dagster's own commands let the `.env` of the working folder win over the environment. So that a
value never depends on who reads it, `.env` is read here too, and a variable that says two
different things is an error.
"""

import os
from pathlib import Path
from typing import Self

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from pipeline_assets.errors import InvalidConfigError

ENV_FILE = ".env"

_DATABASES = ("postgresql://", "postgresql+psycopg2://", "sqlite:///")


class JobRetries(BaseModel):
    """What one job does differently after a failure; what is left out is as for all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int | None = Field(default=None, ge=0, le=20)
    base_seconds: float | None = Field(default=None, gt=0, le=3600)


class Settings(BaseSettings):
    """The installation's settings; `docs/settings.md` lists them for people."""

    model_config = SettingsConfigDict(
        env_prefix="PIPELINE_", env_file=None, extra="forbid", frozen=True
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="Where our tables and Dagster's storage live: postgresql://… or sqlite:///… "
        "(default: a SQLite file in DAGSTER_HOME).",
    )
    media_url: str | None = Field(
        default=None,
        description="Where image and video bytes go: a folder or an fsspec URL such as "
        "s3://bucket/media (default: the folder media in DAGSTER_HOME).",
    )
    graph_url: str = Field(
        default="https://graph.facebook.com",
        pattern=r"^https?://[^\s/]+",
        description="Address of the Meta Graph API.",
    )
    graph_version: str = Field(
        default="v26.0", pattern=r"^v\d+\.\d+$", description="Version of the Graph API to call."
    )
    apify_url: str = Field(
        default="https://api.apify.com",
        pattern=r"^https?://[^\s/]+$",
        description="Address of Apify, whose actors gather what has no API.",
    )
    reddit_url: str = Field(
        default="https://oauth.reddit.com",
        pattern=r"^https?://[^\s/]+$",
        description="Address of Reddit's API.",
    )
    reddit_login_url: str = Field(
        default="https://www.reddit.com",
        pattern=r"^https?://[^\s/]+$",
        description="Where Reddit gives out access tokens.",
    )
    meta_app_id: str = Field(
        default="default",
        description="Meta app behind tokens whose brand names none: its limits are shared.",
    )
    allow_private_hosts: tuple[str, ...] = Field(
        default=(),
        description="JSON list of host:port that may be fetched though their address is private.",
    )
    rate_limit_max_wait_seconds: float = Field(
        default=60,
        ge=0,
        description="How long a call waits for a source's limit inside a run; longer waits end the "
        "attempt with the time to come back.",
    )
    max_image_bytes: int = Field(
        default=30_000_000, gt=0, description="An image bigger than this is not stored."
    )
    max_video_bytes: int = Field(
        default=500_000_000, gt=0, description="A video bigger than this is not stored."
    )
    max_media_pixels: int = Field(
        default=50_000_000, gt=0, description="Width times height above which media is refused."
    )
    download_concurrency: int = Field(
        default=8, ge=1, le=64, description="Media downloads at a time within one run."
    )

    retry_base_seconds: float = Field(
        default=300,
        gt=0,
        le=3600,
        description="How long after a failure that may pass the first new try comes; each further "
        "one waits twice as long, at most an hour, and at least as long as the source asked for.",
    )
    retry_count: int = Field(
        default=3, ge=0, le=20, description="How many new tries follow a failure that may pass."
    )
    job_retries: dict[str, JobRetries] = Field(
        default={},
        description="JSON that says otherwise for a job, for example "
        '`{"meta_sync": {"count": 5, "base_seconds": 60}}`.',
    )

    retention_run_days: int = Field(
        default=30,
        ge=0,
        description="How long Dagster's ended runs and their events are kept; 0: for ever. A run "
        "that holds the last success or attempt of a dataset for a brand stays however old it is.",
    )
    retention_attempt_days: int = Field(
        default=90,
        ge=0,
        description="How long attempts are kept, the last success and attempt apart; 0: for ever.",
    )
    retention_archive_days: int = Field(
        default=30,
        ge=0,
        description="How long ended requests stay among the current ones before they are archived; "
        "0: for ever.",
    )
    retention_history_days: int = Field(
        default=365,
        ge=0,
        description="How long archived requests, ended resyncs and audit entries are kept; "
        "0: for ever.",
    )

    pages_file: Path | None = Field(
        default=None,
        description="YAML file with consumer pages of your own and the datasets that they need; "
        "read when a process starts.",
    )

    web_host: str = Field(
        default="127.0.0.1",
        pattern=r"^[^\s:/]+$",
        description="Where `up` serves our pages; on another address than this machine's own they "
        "need a proxy with TLS before them (deploy/nginx).",
    )
    web_port: int = Field(
        default=8400,
        ge=1,
        le=65535,
        description="The port of our pages. Unless it is set, a free one is taken when this one is "
        "not.",
    )
    dagster_port: int = Field(
        default=3000,
        ge=1,
        le=65535,
        description="The port of Dagster's web UI, which has no login and stays on 127.0.0.1. "
        "Unless it is set, a free one is taken when this one is not.",
    )
    dagster_path_prefix: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9_-]+)*$",
        description="Path below which Dagster's web UI is served, such as /dagster behind a proxy.",
    )
    dagster_public_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s/]+(/\S*)?)?$",
        description="Address of Dagster's web UI as people's browsers reach it, for links "
        "(default: the one on 127.0.0.1).",
    )

    @field_validator("database_url")
    @classmethod
    def _is_a_database_we_know(cls, value: SecretStr | None) -> SecretStr | None:
        """Dagster's storage gets the same address, so it must be spelled as both take it."""
        if value is not None and not value.get_secret_value().startswith(_DATABASES):
            raise ValueError("it must begin with postgresql:// or sqlite:///")
        return value

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME, where everything lives that no other setting places elsewhere."""
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            raise InvalidConfigError(
                "DAGSTER_HOME is not set: there is no place for database and run history.",
                advice="Run `pipeline-assets setup` in the project's folder and start commands "
                f"there; an empty DAGSTER_HOME= in {ENV_FILE} has to go first.",
            )
        if not Path(home).is_absolute():
            raise InvalidConfigError(
                f"DAGSTER_HOME is {home!r}, but Dagster needs an absolute path.",
                advice=f"Write the full path, or delete it from {ENV_FILE} and run the set-up.",
            )
        return Path(home)

    def resolved_database_url(self) -> str:
        """The database's address, with its password: for the engine only."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.dagster_home / 'pipeline_assets.db'}"

    def resolved_media_url(self) -> str:
        """The media store's address."""
        return self.media_url or str(self.dagster_home / "media")

    @classmethod
    def load(cls) -> Self:
        """Read the environment and `.env`.

        Raises:
            InvalidConfigError: a value is wrong, a PIPELINE_ variable is unknown, or `.env` and the
                environment disagree.
        """
        load_env_file()
        _refuse_unknown_variables(cls)
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = "PIPELINE_" + str(first["loc"][0]).upper()
            raise InvalidConfigError(
                f"{name} cannot be used: {first['msg'].removeprefix('Value error, ')}.",
                advice="docs/settings.md lists the settings.",
            ) from None
        except SettingsError as error:  # a list that is no JSON
            raise InvalidConfigError(
                f"A PIPELINE_ variable cannot be read: {error}.",
                advice='A list is written as JSON, for example ["127.0.0.1:8080"].',
            ) from None


def load_env_file() -> None:
    """Take the variables of the working folder's `.env` into the environment, as Dagster does.

    Raises:
        InvalidConfigError: a variable is set differently in the environment.
    """
    try:
        values = dotenv_values(ENV_FILE)
    except (OSError, UnicodeDecodeError):
        raise InvalidConfigError(
            f"{Path(ENV_FILE).resolve()} cannot be read.", advice="It must be text in UTF-8."
        ) from None
    for name, value in values.items():
        if value is None:
            continue
        if os.environ.setdefault(name, value) != value:
            raise InvalidConfigError(
                f"{name} is set differently in the environment and in {Path(ENV_FILE).resolve()}.",
                advice="Keep one of the two: Dagster's commands would take the file's value.",
            )


def _refuse_unknown_variables(settings: type[BaseSettings]) -> None:
    """A misspelt setting must not be ignored without a word."""
    known = {"PIPELINE_" + name.upper() for name in settings.model_fields}
    unknown = sorted(n for n in os.environ if n.startswith("PIPELINE_") and n not in known)
    if unknown:
        raise InvalidConfigError(
            f"Unknown setting {', '.join(unknown)}.", advice="docs/settings.md lists the settings."
        )
