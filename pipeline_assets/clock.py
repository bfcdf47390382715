"""The one place that reads the wall clock. Pure code takes `now`; the edges call `utcnow()`."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)
