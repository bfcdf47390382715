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

    from pipeline_assets.brands.models import Brand, MetaSource
    from pipeline_assets.freshness.pages import Page
    from pipeline_assets.settings import Settings
    from pipeline_assets.sources.meta import GraphClient
    from pipeline_assets.sources.public_http import PublicHttp
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
        self._clients: dict[tuple[str, str, str], GraphClient] = {}
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
        token = resolve_secret(source.token)
        base_url = source.graph_url or self.settings.graph_url
        key = (token, base_url, source.app_id or self.settings.meta_app_id)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._build_client(source, token=token, base_url=base_url)
            return self._clients[key]

    def _build_client(self, source: MetaSource, *, token: str, base_url: str) -> GraphClient:
        from pipeline_assets.brands.models import resolve_secret  # noqa: PLC0415
        from pipeline_assets.sources.meta import GraphClient  # noqa: PLC0415
        from pipeline_assets.storage.rate_budgets import RateBudgetTable  # noqa: PLC0415

        return GraphClient(
            token=token,
            app_id=source.app_id or self.settings.meta_app_id,
            app_secret=resolve_secret(source.app_secret) if source.app_secret else "",
            base_url=base_url,
            version=self.settings.graph_version,
            budgets=RateBudgetTable(self.engine),
            max_wait_seconds=self.settings.rate_limit_max_wait_seconds,
            sleep=self._sleep,
        )
