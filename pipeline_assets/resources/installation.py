"""The one resource: an installation's database, media store and clients, opened when first used.

It is a plain object, not a configurable resource: its values are secrets in part, and Dagster's UI
shows a configurable resource's values. Heavy modules are imported inside the methods, because every
run's process pays for what the definitions import.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline_assets.errors import InvalidConfigError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pipeline_assets.brands.models import ApifyActor, Brand, LanguageModelSource, LibrarySource
    from pipeline_assets.freshness.pages import Page
    from pipeline_assets.settings import Settings
    from pipeline_assets.sources.apify import ApifyClient
    from pipeline_assets.sources.language_model import LanguageModel
    from pipeline_assets.sources.meta import GraphClient
    from pipeline_assets.sources.public_http import PublicHttp
    from pipeline_assets.sources.reddit import RedditClient
    from pipeline_assets.storage.media import MediaStore


class Installation:
    """Settings and what they open. Lives as long as its process: a run's worker, or a server.

    `sleep` is how clients wait between tries and polls.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._given_settings = settings
        self._sleep = sleep
        self._clients: dict[tuple[str, str, str, str], GraphClient] = {}
        self._lock = threading.Lock()

    @cached_property
    def settings(self) -> Settings:
        """The settings given, or else those of the environment."""
        from pipeline_assets.settings import Settings  # noqa: PLC0415 - see the module's docstring

        return self._given_settings or Settings.load()

    @cached_property
    def engine(self) -> sa.Engine:
        """The database, checked to be of this version's making."""
        from pipeline_assets.storage.engine import build_engine  # noqa: PLC0415
        from pipeline_assets.storage.migrations import check_revision  # noqa: PLC0415

        engine = build_engine(self.settings.resolved_database_url())
        check_revision(engine)
        return engine

    @cached_property
    def pages(self) -> Mapping[str, Page]:
        """The consumer pages that ask for readiness, by name."""
        from pipeline_assets.freshness.pages import load_pages  # noqa: PLC0415

        return load_pages(self.settings.pages_file)

    @cached_property
    def media(self) -> MediaStore:
        """Where image and video bytes are kept."""
        from pipeline_assets.storage.media import MediaStore  # noqa: PLC0415

        return MediaStore(self.settings.resolved_media_url())

    def public_http(self, brand: Brand) -> PublicHttp:
        """A client for addresses that came from outside: it reaches public hosts only.

        A host that the brand's own Graph address names is as trusted as that API is.
        """
        from pipeline_assets.sources.public_http import PublicHttp  # noqa: PLC0415

        hosts = set(self.settings.allow_private_hosts)
        if brand.sources.meta and brand.sources.meta.graph_url:
            hosts.add(brand.sources.meta.graph_url.split("://", 1)[1].split("/", 1)[0])
        return PublicHttp(allow_private_hosts=hosts)

    def graph_client(self, brand: Brand) -> GraphClient:
        """The Graph client of a brand's token; one per token, so a dead one is tried only once.

        Raises:
            InvalidConfigError: the brand has no Meta source.
            CredentialError: its token cannot be read.
        """
        from pipeline_assets.brands.models import resolve_secret  # noqa: PLC0415

        source = brand.sources.meta
        if source is None:
            raise InvalidConfigError(
                f"Brand {brand.id!r} has no Meta source.",
                advice="Add its ad accounts and token with `pipeline-assets brands apply`.",
            )
        return self._graph_client(
            resolve_secret(source.token),
            base_url=source.graph_url or self.settings.graph_url,
            app_id=source.app_id or self.settings.meta_app_id,
            app_secret=resolve_secret(source.app_secret) if source.app_secret else "",
        )

    def library_client(self, brand: Brand, source: LibrarySource) -> GraphClient:
        """The Graph client for the Ad Library: of the source's own token, else of the brand's.

        Raises:
            InvalidConfigError: there is neither.
            CredentialError: the token cannot be read.
        """
        from pipeline_assets.brands.models import resolve_secret  # noqa: PLC0415

        meta = brand.sources.meta
        if source.token is not None:
            return self._graph_client(
                resolve_secret(source.token),
                base_url=(meta and meta.graph_url) or self.settings.graph_url,
                app_id=self.settings.meta_app_id,
                app_secret="",  # the brand's own is that of another app
            )
        if meta is None:
            raise InvalidConfigError(
                f"Brand {brand.id!r} has no token for Meta's Ad Library.",
                advice="Give the source a `token` or an `actor`, or the brand a Meta source.",
            )
        return self.graph_client(brand)

    def apify_client(self, actor: ApifyActor) -> ApifyClient:
        """A client with the actor's token, for the caller to close.

        Raises:
            CredentialError: the token cannot be read.
        """
        from pipeline_assets.brands.models import resolve_secret  # noqa: PLC0415
        from pipeline_assets.sources.apify import ApifyClient  # noqa: PLC0415

        return ApifyClient(
            token=resolve_secret(actor.token),
            base_url=self.settings.apify_url,
            max_wait_seconds=self.settings.rate_limit_max_wait_seconds,
            sleep=self._sleep,
        )

    def _graph_client(
        self, token: str, *, base_url: str, app_id: str, app_secret: str
    ) -> GraphClient:
        from pipeline_assets.sources.meta import GraphClient  # noqa: PLC0415
        from pipeline_assets.storage.rate_budgets import RateBudgetTable  # noqa: PLC0415

        key = (token, base_url, app_id, app_secret)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = GraphClient(
                    token=token,
                    app_id=app_id,
                    app_secret=app_secret,
                    base_url=base_url,
                    version=self.settings.graph_version,
                    budgets=RateBudgetTable(self.engine),
                    max_wait_seconds=self.settings.rate_limit_max_wait_seconds,
                    sleep=self._sleep,
                )
            return self._clients[key]

    def reddit_client(self, brand: Brand) -> RedditClient:
        """A client of the brand's Reddit app; brands with the same app share its limit.

        Raises:
            InvalidConfigError: the brand has no Reddit source.
            CredentialError: its secret cannot be read.
        """
        from pipeline_assets.brands.models import resolve_secret  # noqa: PLC0415
        from pipeline_assets.sources.reddit import RedditApp, RedditClient  # noqa: PLC0415
        from pipeline_assets.storage.rate_budgets import RateBudgetTable  # noqa: PLC0415

        source = brand.sources.reddit
        if source is None:
            raise InvalidConfigError(
                f"Brand {brand.id!r} has no Reddit source.",
                advice="Add its app, subreddits and search terms with `pipeline-assets brands "
                "apply`.",
            )
        app = RedditApp(
            client_id=source.client_id,
            client_secret=resolve_secret(source.client_secret),
            username=source.username,
            password=resolve_secret(source.password) if source.password else None,
        )
        return RedditClient(
            app,
            base_url=self.settings.reddit_url,
            login_url=self.settings.reddit_login_url,
            budgets=RateBudgetTable(self.engine),
            max_wait_seconds=self.settings.rate_limit_max_wait_seconds,
            sleep=self._sleep,
        )

    def language_model(self, source: LanguageModelSource) -> LanguageModel:
        """The language model that a brand has configured, to be used in a `with` block.

        Raises:
            InvalidConfigError: its library is not installed, or there is no such provider.
            CredentialError: its key cannot be read, or it needs one and has none.
        """
        from pipeline_assets.brands.models import resolve_secret  # noqa: PLC0415
        from pipeline_assets.sources.language_model import LanguageModel  # noqa: PLC0415

        return LanguageModel(
            source.model,
            api_key=resolve_secret(source.api_key) if source.api_key else None,
            base_url=source.base_url,
            max_wait_seconds=self.settings.rate_limit_max_wait_seconds,
            sleep=self._sleep,
        )
