"""Reading one part of an insights question, however little Meta can answer at once.

A part that is too much is asked again as a report run, then by fewer days, then by campaigns, then
by fewer fields. Belongs here: that, and that no row is lost or doubled on the way. Does not:
threads (`parallel.py`), report runs' states (`report_runs.py`).
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.sources.meta.ad_statuses import AD_STATUSES
from pipeline_assets.sources.meta.client import GraphClient
from pipeline_assets.sources.meta.graph_failures import (
    Json,
    TooMuchDataError,
    UnknownReportTroubleError,
)
from pipeline_assets.sources.meta.paging import PageSize, fetch_pages
from pipeline_assets.sources.meta.rate_budget import Usage
from pipeline_assets.sources.meta.report_runs import ReportOrder, fetch_report

PAGE_ROWS = 250  # about 1 MB of JSON with thirty fields: larger ones cost memory, not less CPU
_CAMPAIGN_GROUPS = 4  # halving would take twice the failing calls to reach a single campaign


@dataclass(frozen=True, kw_only=True)
class InsightsQuery:
    """A question to an account's insights, one row per day and `level`.

    `since` and `until` are inclusive days of the account. `key` with the breakdowns names a row; a
    row may lack a breakdown. A field that Meta cannot deliver is left out and reported, but not one
    of `essential_fields`: without these the figures would be wrong rather than incomplete.
    """

    account_id: str
    fields: tuple[str, ...]
    since: date
    until: date
    level: str = "ad"
    breakdowns: tuple[str, ...] = ()
    key: tuple[str, ...] = ("ad_id", "date_start")
    essential_fields: frozenset[str] = frozenset({"impressions", "spend"})

    @property
    def row_key(self) -> tuple[str, ...]:
        """The members that together name a row."""
        return (*self.key, *self.breakdowns)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some days, campaigns and fields of a query. `in_background`: by a report run."""

    since: date
    until: date
    fields: tuple[str, ...]
    in_background: bool
    campaign_ids: tuple[str, ...] = ()

    @property
    def day_count(self) -> int:
        """Days, both ends included."""
        return (self.until - self.since).days + 1


def split_days(part: Part, *, pieces: int) -> list[Part]:
    """The part in so many pieces of days, as even as can be; itself when it is one day."""
    count = min(pieces, part.day_count)
    starts = [part.since + timedelta(days=part.day_count * i // count) for i in range(count)]
    ends = [start - timedelta(days=1) for start in starts[1:]] + [part.until]
    return [replace(part, since=a, until=b) for a, b in zip(starts, ends, strict=True)]


class _SeenRows:
    """Which rows of a part have been handed on, for the case that the rest must be asked again.

    Holds 8 bytes a row (64-bit hashes: one wrong match in 10^8 such cases), as parts can be large.
    """

    def __init__(self, key: Sequence[str]) -> None:
        self._key = key
        self._hashes = array("q")

    def note(self, rows: Sequence[Json]) -> None:
        key = self._key
        self._hashes.extend([hash(tuple(map(row.get, key))) for row in rows])

    def remove_from(self, pages: Iterator[list[Json]]) -> Iterator[list[Json]]:
        seen, key = set(self._hashes), self._key
        for rows in pages:
            fresh = [row for row in rows if hash(tuple(map(row.get, key))) not in seen]
            if fresh:
                yield fresh


class PartReader:
    """Reads the parts of one query; shared by its threads, so that what one learns helps all.

    It goes into the depth first: where nothing works at all, that shows at the first smallest part
    and not after all of them.
    """

    def __init__(self, client: GraphClient, query: InsightsQuery) -> None:
        self._client = client
        self._query = query
        self._page_size = PageSize(PAGE_ROWS)
        self.dropped_fields: set[str] = set()

    def read(self, part: Part) -> Iterator[list[Json]]:
        """Each row of the part once, in pages.

        Raises:
            SourceUnavailableError: not even the smallest part can be had.
        """
        seen = _SeenRows(self._query.row_key)
        trouble: SourceUnavailableError
        try:
            for rows in self._pages(part):
                seen.note(rows)
                yield rows
        except (TooMuchDataError, UnknownReportTroubleError) as error:
            trouble = error
        else:
            return
        yield from seen.remove_from(self._read_in_pieces(part, trouble))

    def _pages(self, part: Part) -> Iterator[list[Json]]:
        account_id = self._query.account_id
        object_id, params = self._call_for(part)
        if part.in_background:
            order = ReportOrder(object_id=object_id, params=params, account_id=account_id)
            return fetch_report(self._client, order, self._page_size)
        return fetch_pages(
            self._client,
            f"{object_id}/insights",
            params,
            page_size=self._page_size,
            account_id=account_id,
            usage=Usage.ADS_INSIGHTS,
        )

    def _call_for(self, part: Part) -> tuple[str, dict[str, object]]:
        """The object to ask and the parameters; a lone campaign is asked itself."""
        query = self._query
        params: dict[str, object] = {
            "level": query.level,
            "fields": ",".join(part.fields),
            "time_range": {"since": part.since.isoformat(), "until": part.until.isoformat()},
            "time_increment": 1,
        }
        if query.breakdowns:
            params["breakdowns"] = list(query.breakdowns)
        filters = []
        if query.level == "ad":
            filters.append(_is_in("ad.effective_status", AD_STATUSES))
        if len(part.campaign_ids) > 1:
            filters.append(_is_in("campaign.id", part.campaign_ids))
        if filters:
            params["filtering"] = filters
        node = part.campaign_ids[0] if len(part.campaign_ids) == 1 else query.account_id
        return node, params

    def _read_in_pieces(self, part: Part, trouble: SourceUnavailableError) -> Iterator[list[Json]]:
        pieces = self._pieces_of(part, trouble)
        for piece in pieces:
            yield from self.read(piece)
        if not pieces:
            yield from _chunks(self._read_by_fields(part, trouble))

    def _pieces_of(self, part: Part, trouble: SourceUnavailableError) -> list[Part]:
        """Smaller parts that make up this one; none when only its fields can be divided."""
        if not part.in_background:
            return [replace(part, in_background=True)]
        is_field_trouble = isinstance(trouble, UnknownReportTroubleError)
        good_fields = tuple(name for name in part.fields if name not in self.dropped_fields)
        if is_field_trouble and len(good_fields) < len(part.fields):
            # Found out once, on one day; looking again on every day would cost minutes.
            return [replace(part, fields=good_fields)]
        if part.day_count > 1:
            return split_days(part, pieces=2)
        if is_field_trouble:
            return []  # not a matter of size: some field is behind it
        ids = part.campaign_ids or self._campaigns_of(part)
        if len(ids) < 2:
            return []
        size = -(-len(ids) // _CAMPAIGN_GROUPS)
        groups = [ids[start : start + size] for start in range(0, len(ids), size)]
        return [replace(part, campaign_ids=group) for group in groups]

    def _campaigns_of(self, part: Part) -> tuple[str, ...]:
        """The campaigns with delivery in the part's days, deleted ones too.

        The insights name them all; the list of campaigns would need every status to be asked for.
        """
        lister = replace(part, fields=("campaign_id",))
        object_id, params = self._call_for(lister)
        params["level"] = "campaign"
        params.pop("breakdowns", None)
        pages = fetch_pages(
            self._client,
            f"{object_id}/insights",
            params,
            page_size=PageSize(PAGE_ROWS),
            account_id=self._query.account_id,
            usage=Usage.ADS_INSIGHTS,
        )
        return tuple(
            dict.fromkeys(
                str(row["campaign_id"]) for rows in pages for row in rows if "campaign_id" in row
            )
        )

    def _read_by_fields(self, part: Part, trouble: SourceUnavailableError) -> list[Json]:
        """The rows of a small part, put together from answers with fewer fields each."""
        names = [name for name in part.fields if name not in self._query.row_key]
        merged: dict[tuple[object, ...], Json] = {}
        dropped: set[str] = set()
        for half in _halves(names):
            self._merge_fields(part, half, merged, dropped)
        if dropped.issuperset(names):
            raise trouble  # no field can be had: it is not the fields
        self.dropped_fields |= dropped
        return list(merged.values())

    def _merge_fields(
        self,
        part: Part,
        names: Sequence[str],
        merged: dict[tuple[object, ...], Json],
        dropped: set[str],
    ) -> None:
        if not names:
            return
        key = self._query.row_key
        key_fields = [name for name in part.fields if name in key]
        try:
            rows = [
                row
                for page in self._pages(replace(part, fields=(*key_fields, *names)))
                for row in page
            ]
        except (TooMuchDataError, UnknownReportTroubleError):
            if len(names) == 1 and names[0] in self._query.essential_fields:
                raise
            rows = []
        else:
            for row in rows:
                merged.setdefault(tuple(map(row.get, key)), {}).update(row)
            return
        if len(names) == 1:
            dropped.add(names[0])
            return
        for half in _halves(names):
            self._merge_fields(part, half, merged, dropped)


def _is_in(field: str, values: Sequence[str]) -> Json:
    return {"field": field, "operator": "IN", "value": list(values)}


def _halves(names: Sequence[str]) -> list[Sequence[str]]:
    middle = (len(names) + 1) // 2
    return [names[:middle], names[middle:]]


def _chunks(rows: Sequence[Json]) -> Iterator[list[Json]]:
    for start in range(0, len(rows), PAGE_ROWS):
        yield list(rows[start : start + PAGE_ROWS])
