"""Instants on the command line."""

from datetime import UTC, datetime

from pipeline_assets.clock import as_usable
from pipeline_assets.errors import InvalidConfigError


def parse_instant(text: str) -> datetime:
    """An instant as people write it; without a zone it is UTC.

    Raises: InvalidConfigError for anything else.
    """
    try:
        instant = datetime.fromisoformat(text)
        return as_usable(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    except ValueError:
        raise InvalidConfigError(
            f"{text!r} is not a time.", advice="Write it like 2026-01-31 or 2026-01-31T08:00."
        ) from None
