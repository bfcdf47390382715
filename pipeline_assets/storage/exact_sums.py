"""Sums of amounts that are exact on both databases, where SQLite would add doubles.

An amount is added up as whole units and whole millionths: exact for up to six decimals.
"""

from decimal import Decimal

import sqlalchemy as sa

_MICRO_DIGITS = 6
_MICROS = "_micros"


def amount_parts(amount: sa.Column[Decimal]) -> dict[str, sa.ColumnElement[int]]:
    """What to add up instead of a column, by name: its whole units and its millionths.

    In millionths alone, a shop's nonsense of 10 digits would overflow.
    """
    units = sa.cast(amount, sa.BigInteger)  # cut off or rounded: the other part makes up for it
    micros = sa.cast(sa.func.round((amount - units) * 10**_MICRO_DIGITS), sa.BigInteger)
    return {amount.name: units, f"{amount.name}{_MICROS}": micros}


def join_amount(sums: sa.RowMapping, name: str) -> Decimal:
    """The sum of a column from the sums of its `amount_parts`."""
    return int(sums[name]) + Decimal(int(sums[f"{name}{_MICROS}"])).scaleb(-_MICRO_DIGITS)


def amount_as_double(sums: sa.FromClause, name: str) -> sa.ColumnElement[float]:
    """The same within a query, as a double: to sort by."""
    units, micros = (sa.cast(sums.c[part], sa.Double) for part in (name, f"{name}{_MICROS}"))
    return units + micros / 10.0**_MICRO_DIGITS
