"""Tables as CSV for spreadsheets, in pieces, so that no export is in memory as a whole."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_LINES_AT_ONCE = 200


def write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines, some hundreds at a time; None is written as nothing.

    Begins with a byte order mark, without which Excel takes UTF-8 for something else. No text can
    become a formula there: an apostrophe stands before one that begins like it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write("\ufeff")
    writer.writerow(header)
    for number, row in enumerate(rows, start=1):
        writer.writerow([_plain(value) for value in row])
        if number % _LINES_AT_ONCE == 0:
            yield _take(buffer)
    yield _take(buffer)


def _plain(value: object) -> object:
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def _take(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
