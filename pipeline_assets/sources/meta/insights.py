"""Insights of an ad account as a stream of rows: any size, bounded memory, each row once.

Source: Meta Marketing API v26.0, "Insights API" and "Asynchronous insights".
"""

import gc
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Self

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.sources.meta.client import GraphClient
from pipeline_assets.sources.meta.graph_failures import Json
from pipeline_assets.sources.meta.insight_parts import InsightsQuery, Part, PartReader, split_days
from pipeline_assets.sources.meta.parallel import read_parallel

_DAYS_AT_ONCE = 7  # within this a plain call is quick; more goes by report runs of so many days
_PAGES_PER_COLLECTION = 32
_WAITING_PAGES = 2  # enough that neither side stands idle; a parsed page is about 5 MB


class InsightsStream:
    """The rows of a query in chunks of a page at most, in no particular order.

    Use it as a context manager: leaving it ends the threads behind it. Iterate once. Afterwards
    `missing_fields` and `dropped_fields` say what the rows lack.

    Python's cycle collector rests meanwhile: rows are trees that reference counts free, and it
    looked through them again and again, a fifth of the CPU of a sync. What little else leaves
    cycles behind (a call's exception, say) is collected every few pages.
    """

    def __init__(self, client: GraphClient, query: InsightsQuery, *, workers: int) -> None:
        self._stop = threading.Event()
        self._reader = PartReader(client.until(self._stop), query)
        self._unseen = set(query.fields)
        self._resume_collector = False
        tasks: list[Callable[[], Iterator[list[Json]]]] = [
            partial(self._reader.read, part) for part in _parts_of(query)
        ]
        self._pages = read_parallel(
            tasks, workers=workers, capacity=_WAITING_PAGES, stop=self._stop
        )

    def __enter__(self) -> Self:
        self._resume_collector = gc.isenabled()
        gc.disable()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if self._resume_collector:
            gc.enable()

    def __iter__(self) -> Iterator[list[Json]]:
        for count, rows in enumerate(self._pages, start=1):
            if count % _PAGES_PER_COLLECTION == 0:
                gc.collect(0)
            if self._unseen:
                self._unseen -= {name for name in self._unseen if any(name in row for row in rows)}
            yield rows

    def close(self) -> None:
        """Ask for nothing more; threads end after the call they are in."""
        self._stop.set()
        self._pages.close()

    @property
    def missing_fields(self) -> frozenset[str]:
        """Asked for, but in no row: always zero here, not opted in, or no longer served."""
        return frozenset(self._unseen)

    @property
    def dropped_fields(self) -> frozenset[str]:
        """Fields that Meta could not deliver for some days; the rows of these lack them."""
        return frozenset(self._reader.dropped_fields)


def fetch_insights(
    client: GraphClient, query: InsightsQuery, *, workers: int = 3
) -> InsightsStream:
    """The query's rows as Meta sends them; up to a week by plain calls, more by report runs.

    Three workers: report runs are mostly waiting, and Meta counts runs that go on at once.

    Raises (while iterating):
        the errors of `GraphClient.get`; what was handed on before stays valid.
    """
    if query.until < query.since:
        raise InvalidConfigError(
            f"The window of {query.account_id} ends before it begins: "
            f"{query.since} to {query.until}."
        )
    return InsightsStream(client, query, workers=workers)


def _parts_of(query: InsightsQuery) -> list[Part]:
    whole = Part(
        since=query.since,
        until=query.until,
        fields=query.fields,
        in_background=False,
    )
    if whole.day_count <= _DAYS_AT_ONCE:
        return [whole]
    pieces = split_days(whole, pieces=-(-whole.day_count // _DAYS_AT_ONCE))
    return [
        Part(since=piece.since, until=piece.until, fields=piece.fields, in_background=True)
        for piece in pieces
    ]
