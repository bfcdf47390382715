"""Reading an edge page by page, by cursor.

The call is rebuilt from `cursors.after`; `next` is only looked at for being there, since its
address can hold a token. Source: Meta Graph API v26.0, "Paginated results".
"""

import threading
from collections.abc import Callable, Iterator

from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.sources.meta.client import GraphClient, Params
from pipeline_assets.sources.meta.graph_failures import Json, TooMuchDataError
from pipeline_assets.sources.meta.rate_budget import Usage

_GROW_AFTER_PAGES = 20  # a limit that was a hiccup costs little, a real one two calls in twenty


class PageSize:
    """How many items to ask for at once; shared by the threads that read the same edge.

    Halves when Meta asks for less and doubles again, up to where it began, after twenty pages that
    went well: smaller pages mean more calls, and calls are what is limited.
    """

    def __init__(self, size: int) -> None:
        self._largest = self._size = size
        self._good_pages = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """The limit to send."""
        return self._size

    def shrink_below(self, failed: int) -> bool:
        """Ask for less than `failed` from now on; False when there is nothing less."""
        with self._lock:
            self._size = min(self._size, max(failed // 2, 1))
            self._good_pages = 0
        return failed > 1

    def note_good_page(self) -> None:
        """Count a page that went well."""
        with self._lock:
            self._good_pages += 1
            if self._good_pages >= _GROW_AFTER_PAGES and self._size < self._largest:
                self._size = min(self._size * 2, self._largest)
                self._good_pages = 0


def fetch_pages(
    client: GraphClient,
    path: str,
    params: Params,
    *,
    page_size: PageSize,
    account_id: str | None = None,
    usage: Usage = Usage.ADS_MANAGEMENT,
) -> Iterator[list[Json]]:
    """The edge's pages that hold anything, in order; only the current one is kept.

    Raises:
        TooMuchDataError: not even one item can be had.
        SourceUnavailableError: the cursor repeats, or is missing where more is promised.
    """

    def fetch(sent: Params) -> Json:
        return client.get(path, sent, account_id=account_id, usage=usage)

    seen_cursors: set[str] = set()
    after: dict[str, object] = {}
    while True:
        body = _fetch_page(fetch, {**params, **after}, page_size)
        rows = body.get("data")
        if not isinstance(rows, list):
            raise SourceUnavailableError(f"Meta answered {path} without its `data`.")
        if rows:
            yield rows
        paging = body.get("paging") or {}
        if "next" not in paging:
            return
        cursor = (paging.get("cursors") or {}).get("after")
        if not cursor or cursor in seen_cursors:
            raise SourceUnavailableError(
                f"Meta promises more of {path} but its cursor does not move on."
            )
        seen_cursors.add(cursor)
        after = {"after": cursor}


def _fetch_page(fetch: Callable[[Params], Json], params: Params, page_size: PageSize) -> Json:
    """One page, of fewer items where Meta asks for less."""
    while True:
        limit = page_size.size
        try:
            body = fetch({**params, "limit": limit})
        except TooMuchDataError as error:
            if not error.page_may_shrink or not page_size.shrink_below(limit):
                raise
        else:
            page_size.note_good_page()
            return body
