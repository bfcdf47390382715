"""What every route works with, built once by the app."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Request

from pipeline_assets.errors import PermanentError
from pipeline_assets.freshness.pages import Page
from pipeline_assets.resources.installation import Installation
from pipeline_assets.web.background import Background
from pipeline_assets.web.problems import Problem


@dataclass(frozen=True)
class Context:
    """The installation, what runs beside the routes, and the clock."""

    installation: Installation
    background: Background
    now: Callable[[], datetime]

    @property
    def engine(self) -> sa.Engine:
        """The database.

        Raises:
            TransientError: it cannot be used now.
            Problem: 503, it is none of this version's: not the asker's mistake.
        """
        try:
            return self.installation.engine
        except PermanentError as error:
            raise Problem(503, str(error), advice=error.advice) from None

    @property
    def pages(self) -> Mapping[str, Page]:
        """The consumer pages that ask for readiness, by name; read once.

        Raises:
            Problem: 503, the installation's pages file cannot be used.
        """
        try:
            return self.installation.pages
        except PermanentError as error:
            raise Problem(503, str(error), advice=error.advice) from None

    @property
    def dagster_url(self) -> str:
        """Where people reach Dagster's own UI, without a slash at its end."""
        settings = self.installation.settings
        local = f"http://127.0.0.1:{settings.dagster_port}{settings.dagster_path_prefix}"
        return (settings.dagster_public_url or local).rstrip("/")


async def _context(request: Request) -> Context:  # not in a thread: a hop costs more than it does
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


Web = Annotated[Context, Depends(_context)]
