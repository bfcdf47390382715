"""The insights edge: rows at once, or a report run to poll and then to read.

Source: Meta Marketing API v26.0, Insights, "Insights asynchronous jobs".
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pipeline_assets.simulator import paging
from pipeline_assets.simulator.answers import GraphError
from pipeline_assets.simulator.edges import check_page, takes_empty_page
from pipeline_assets.simulator.exchange import Request
from pipeline_assets.simulator.faults import Endpoint, FaultKind, Faults
from pipeline_assets.simulator.insights import Query, read_page, read_query
from pipeline_assets.simulator.reports import Reports, Run, hits
from pipeline_assets.simulator.world import Account, ObjectKind


class Reporting:
    """Answers insights calls of one world; every method answers with JSON or raises GraphError."""

    def __init__(self, *, faults: Faults, reports: Reports, now: Callable[[], datetime]) -> None:
        self._faults = faults
        self._reports = reports
        self._now = now

    def account_insights(self, account: Account, request: Request) -> Any:
        """The insights edge of an account."""
        return self.insights(account, None, 0, request)

    def insights(
        self, account: Account, kind: ObjectKind | None, index: int, request: Request
    ) -> Any:
        """Rows (GET) or a new report run (POST)."""
        is_async = request.method == "POST"
        query = read_query(account, kind, index, request.params, now=self._now(), is_async=is_async)
        if is_async:
            return {"report_run_id": self._reports.start(query, self._faults).id}
        fault = self._faults.take(
            {FaultKind.FIELD_FAILS, FaultKind.TOO_MANY_ROWS},
            account.id,
            Endpoint.INSIGHTS,
            when=lambda fault: hits(fault.kind, fault.rows, fault.field, query),
        )
        if fault and fault.kind is FaultKind.FIELD_FAILS:
            raise GraphError(2, "An unknown error occurred", subcode=1504044, status=500)
        if fault:
            raise GraphError(100, "(#100) Too many rows requested", subcode=1487534)
        return self._rows(query, Endpoint.INSIGHTS, request)

    def _rows(self, query: Query, endpoint: Endpoint, request: Request) -> Any:
        limit = paging.read_limit(request.params)
        check_page(self._faults, query.account.id, endpoint, limit)
        before = request.params.get("after")
        if takes_empty_page(self._faults, query.account.id, endpoint):
            rows: list[dict[str, Any]] = []
            after, more = before or paging.encode_cursor("0:0:0"), True
        else:
            rows, after, more = read_page(query, limit=limit, after=before)
        url = request.base_url + request.path
        return paging.build_page(
            rows,
            before=before or paging.encode_cursor("0:0:0"),
            after=after,
            next_url=paging.link(url, request.params, after=after) if more else None,
        )

    def report_status(self, run: Run) -> Any:
        """The state of a run."""
        if self._faults.take({FaultKind.REPORT_RACE}, run.query.account.id, Endpoint.REPORT_STATUS):
            raise GraphError.missing_object(run.id)
        return run.state(self._reports.moment())

    def report_rows(self, run: Run, request: Request) -> Any:
        """The rows of a run that is complete."""
        account_id = run.query.account.id
        if self._faults.take({FaultKind.REPORT_SUMMARY_RACE}, account_id, Endpoint.REPORT_ROWS):
            raise GraphError.bad_parameter(
                "Cannot include impressions in summary param because they weren't there while "
                "creating the report run."
            )
        if not run.is_complete(self._reports.moment()):
            raise GraphError(
                2601,
                "(#2601) Error accessing adreport job.",
                subcode=1815107,
                transient=True,
                title="Loading async report failed",
            )
        return self._rows(run.query, Endpoint.REPORT_ROWS, request)
