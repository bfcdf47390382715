"""Column types that behave the same on SQLite and PostgreSQL, exact and aware of time zones."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import DateTime, Dialect, Numeric
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType


class _SqliteColumn(UserDefinedType[Any]):
    """A column of SQLite by its declared type only: no conversions of SQLAlchemy's."""

    cache_ok = True

    def __init__(self, declared: str) -> None:
        self.declared = declared

    def get_col_spec(self, **_: object) -> str:
        return self.declared


class ExactDecimal(TypeDecorator[Decimal]):
    """A finite Decimal that is read back as the very same number.

    PostgreSQL stores any. SQLite stores what a double can give back: every number of up to 15
    digits, and whatever was computed in doubles at the source. Another number is refused with a
    ValueError there, never rounded in silence.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """NUMERIC on both; on SQLite without a detour over rounded floats."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SqliteColumn("NUMERIC"))
        return dialect.type_descriptor(Numeric())

    def process_bind_param(
        self, value: Decimal | int | None, dialect: Dialect
    ) -> Decimal | float | None:
        """The value as the driver takes it without loss."""
        if value is None:
            return None
        if not isinstance(value, (Decimal, int)):  # the tuple is faster than a union
            raise TypeError(f"An exact column takes a Decimal, not the {type(value)} {value}")
        exact = Decimal(value)
        if not exact.is_finite():
            raise ValueError(f"{value} is not a number that can be stored")
        return _exact_double(exact) if dialect.name == "sqlite" else exact

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> Decimal | None:
        """The stored number; a double by its shortest exact text."""
        if value is None or isinstance(value, Decimal):
            return value
        return Decimal(repr(value))


def _exact_double(value: Decimal) -> float:
    text = str(value)
    double = float(text)
    # A double always gives 15 plain digits back (DBL_DIG): most values need no look back.
    if (len(text) > 15 or "E" in text) and Decimal(repr(double)) != value:
        raise ValueError(f"SQLite cannot store {value} exactly")
    return double


class Timestamp(TypeDecorator[datetime]):
    """An aware instant: refuses naive ones with a ValueError, comes back in UTC.

    SQLite keeps it as text in UTC, `2026-07-25 14:03:00.000000`, which sorts by time.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """TIMESTAMP WITH TIME ZONE on PostgreSQL, text on SQLite."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SqliteColumn("DATETIME"))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """The instant as the driver takes it."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone: an instant needs one")
        if dialect.name == "sqlite":
            return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]  # without +00:00
        return value

    def result_processor(
        self,
        dialect: Dialect,
        coltype: object,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> Callable[[str | None], datetime | None] | None:
        """Text becomes an instant; PostgreSQL's driver gives one, in the session's zone, UTC.

        Called for every value of every row, so with nothing in between.
        """
        return _read_instant if dialect.name == "sqlite" else None


def _read_instant(text: str | None) -> datetime | None:
    # A quarter of what .replace(tzinfo=UTC) costs.
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


def encode_json(value: object) -> str:
    """JSON text of a value; bytes are taken for JSON that was encoded before."""
    encoded = value if isinstance(value, bytes) else orjson.dumps(value)
    return encoded.decode()


def decode_json(text: str | bytes) -> Any:
    """The value of a JSON text."""
    return orjson.loads(text)
