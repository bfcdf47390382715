"""What a table's declaration is made of, and the columns that every dataset has."""

from dataclasses import dataclass
from enum import StrEnum


class ColumnType(StrEnum):
    """What a column holds, in Python's terms."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    """Exact: money (in the account's currency) and figures that a source may send with decimals."""
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    """An aware UTC instant."""
    JSON = "json"


@dataclass(frozen=True)
class Column:
    """One column; `description` gives unit and meaning for readers of the table."""

    name: str
    type: ColumnType
    description: str
    nullable: bool = True


@dataclass(frozen=True)
class TableSchema:
    """A dataset's table: its columns in order and the key that names a row.

    Rows are replaced by scope: all of a brand's rows whose `scope` columns equal the given values
    and, where there is a `window_column`, whose date lies in the window.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    scope: tuple[str, ...] = ()
    window_column: str | None = None

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names in the order of a row's values."""
        return tuple(column.name for column in self.columns)


def text(name: str, description: str, *, nullable: bool = True) -> Column:
    """A text."""
    return Column(name, ColumnType.TEXT, description, nullable)


def count(name: str, description: str) -> Column:
    """A whole number that is always known."""
    return Column(name, ColumnType.INTEGER, description, nullable=False)


def integer(name: str, description: str) -> Column:
    """A whole number, empty where it is not known."""
    return Column(name, ColumnType.INTEGER, description)


def number(name: str, description: str) -> Column:
    """A fraction or score, empty where it is not known."""
    return Column(name, ColumnType.FLOAT, description)


def money(name: str, description: str) -> Column:
    """An exact amount, empty where it is not known."""
    return Column(name, ColumnType.DECIMAL, description)


def flag(name: str, description: str) -> Column:
    """Yes or no."""
    return Column(name, ColumnType.BOOLEAN, description, nullable=False)


def instant(name: str, description: str, *, nullable: bool = True) -> Column:
    """An aware UTC instant."""
    return Column(name, ColumnType.TIMESTAMP, description, nullable)


def day(name: str, description: str, *, nullable: bool = True) -> Column:
    """A date."""
    return Column(name, ColumnType.DATE, description, nullable)


def structure(name: str, description: str, *, nullable: bool = True) -> Column:
    """Lists and mappings, kept as JSON."""
    return Column(name, ColumnType.JSON, description, nullable)


BRAND = text("brand_id", "The brand's slug", nullable=False)
ACCOUNT = text("ad_account_id", "Meta ad account, with its act_ prefix", nullable=False)
CREATIVE = text("creative_id", "Meta creative id", nullable=False)
FETCHED = instant("fetched_at", "Start of the attempt that wrote the row", nullable=False)
ITEM_ERROR = text("error", "Why this item could not be read; empty when it could")
