"""Tables as CSV for spreadsheets, in pieces, so that no export is in memory as a whole."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

import orjson
from fastapi.responses import StreamingResponse

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_LINES_AT_ONCE = 200


def answer_csv(
    name: str, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> StreamingResponse:
    """The table as a download of this name, its rows read while they are sent."""
    lines = _write_csv(header, rows)
    # The first part now: a database that is away is an answer of its own, not half a file.
    lines = itertools.chain([next(lines)], lines)
    return StreamingResponse(
        lines,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def csv_cell(value: Any) -> object:
    """A column's value as a spreadsheet takes it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return round(value, 6)
        case datetime() | date():
            return value.isoformat()
        case list() if all(isinstance(each, str) for each in value):
            return " | ".join(value)
        case list() | dict():
            return orjson.dumps(value).decode()
        case _:
            return value


def _write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
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
