"""Keeps fetched rows in a temporary file until they are written to the database.

So a fetch of millions of rows takes hours without holding a database lock or filling the memory.
"""

import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import orjson

from pipeline_assets.schemas import ColumnType, TableSchema
from pipeline_assets.storage.failures import disk_errors


class RowSpool:
    """Row chunks in the order they came, in a file that is gone with the process, however it ends.

    Rows are tuples in the order of `schema.columns`. Iterating gives the chunks again, as often as
    wanted; JSON values come back as their encoded bytes, which storage takes as they are. The file
    lies in the system's folder for temporary files (`TMPDIR`).

    Raises: StorageFullError when that folder has no room.
    """

    row_count: int

    def __init__(self, schema: TableSchema) -> None:
        self.row_count = 0
        self._json_positions = [
            position
            for position, column in enumerate(schema.columns)
            if column.type is ColumnType.JSON
        ]
        self._width = len(schema.columns)
        with disk_errors(tempfile.gettempdir()):
            # Has no name on POSIX: not even SIGKILL leaves it behind.
            self._file = tempfile.TemporaryFile(prefix="pipeline-assets-")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # what could not be written is thrown away in any case
            self._file.close()

    def append(self, chunk: Sequence[tuple[Any, ...]]) -> None:
        """Add rows; they are on the file when this returns."""
        if not chunk:
            return
        columns = list(zip(*chunk, strict=True))
        if len(columns) != self._width:
            raise ValueError(f"A row has {len(columns)} values instead of {self._width}")
        for position in self._json_positions:
            columns[position] = tuple(map(_encode_json, columns[position]))
        with disk_errors(tempfile.gettempdir()):
            self._file.seek(0, os.SEEK_END)
            pickle.dump(columns, self._file, protocol=5)
            self._file.flush()
        self.row_count += len(chunk)

    def __iter__(self) -> Iterator[list[tuple[Any, ...]]]:
        position = 0
        end = self._file.seek(0, os.SEEK_END)
        while position < end:
            self._file.seek(position)
            columns = pickle.load(self._file)  # noqa: S301 - only this process wrote the file
            position = self._file.tell()
            yield list(zip(*columns, strict=True))


def _encode_json(value: object) -> bytes | None:
    return None if value is None else orjson.dumps(value)
