"""Async report runs: their states over time and how they fail.

A run takes `report_seconds`: Not Started, Started, Running, Completed; it can show 100 percent a
moment before it is Completed. Source: Meta Marketing API v26.0, "Insights asynchronous jobs" (the
error keys of a failed run are there since v25.0).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from pipeline_assets.simulator.faults import Endpoint, FaultKind, Faults
from pipeline_assets.simulator.insights import Query
from pipeline_assets.simulator.world import ObjectKind

_RUN_FAULTS = {
    FaultKind.REPORT_FAILED,
    FaultKind.REPORT_SKIPPED,
    FaultKind.REPORT_STUCK,
    FaultKind.REPORT_TOO_LARGE,
    FaultKind.TOO_MANY_ROWS,
    FaultKind.FIELD_FAILS,
}

_FAILURES: dict[FaultKind, tuple[int, int, str]] = {
    FaultKind.REPORT_FAILED: (-2, 2490547, "Report Failed"),
    FaultKind.REPORT_TOO_LARGE: (-3, 1504045, "Report Too Large"),
    FaultKind.TOO_MANY_ROWS: (100, 1487534, "Too many rows"),
    FaultKind.FIELD_FAILS: (2, 1504044, "Unknown error"),
}


@dataclass(frozen=True)
class Run:
    """One report run; `started` and `seconds` are in the injected monotonic clock."""

    id: str
    query: Query
    started: float
    seconds: float
    fault: FaultKind | None

    def is_complete(self, moment: float) -> bool:
        """Whether its rows can be read."""
        return self.fault is None and moment - self.started >= self.seconds

    def state(self, moment: float) -> dict[str, Any]:
        """The run as the API shows it at that moment."""
        status, percent = self._progress((moment - self.started) / max(self.seconds, 1e-9))
        created = int(self.query.now.timestamp())
        state = {
            "id": self.id,
            "account_id": self.query.account.number,
            "time_ref": created,
            "async_status": status,
            "async_percent_completion": percent,
            "is_running": status in {"Job Started", "Job Running"},
            "date_start": self.query.periods[0][0].isoformat(),
            "date_stop": self.query.periods[-1][1].isoformat(),
        }
        if status in {"Job Completed", "Job Failed", "Job Skipped"}:
            state["time_completed"] = created + round(self.seconds)
        if status == "Job Failed" and self.fault:
            code, subcode, title = _FAILURES[self.fault]
            state |= {
                "error_code": code,
                "error_subcode": subcode,
                "error_message": title,
                "error_user_title": title,
                "error_user_msg": "The report could not be made. Please try again later.",
            }
        return state

    def _progress(self, share: float) -> tuple[str, int]:
        if share < 0.1 or (self.fault is FaultKind.REPORT_STUCK and share < 0.2):
            return "Job Not Started", 0
        if share < 0.2 or self.fault is FaultKind.REPORT_STUCK:
            return "Job Started", 0
        if self.fault and share >= 0.6:
            return ("Job Skipped" if self.fault is FaultKind.REPORT_SKIPPED else "Job Failed"), 60
        if share < 1:
            return "Job Running", min(100, int(share * 105))
        return "Job Completed", 100


class Reports:
    """All runs of a server, by id."""

    def __init__(self, *, monotonic: Callable[[], float], seconds: float) -> None:
        self._monotonic = monotonic
        self._runs: dict[str, Run] = {}
        self._numbers = count(1)
        self.seconds = seconds

    def start(self, query: Query, faults: Faults) -> Run:
        """A new run; what will go wrong with it is settled now."""
        fault = faults.take(
            _RUN_FAULTS,
            query.account.id,
            Endpoint.REPORT_START,
            when=lambda fault: hits(fault.kind, fault.rows, fault.field, query),
        )
        run = Run(
            id=query.account.object_id(ObjectKind.RUN, next(self._numbers)),
            query=query,
            started=self._monotonic(),
            seconds=self.seconds,
            fault=fault.kind if fault else None,
        )
        self._runs[run.id] = run
        return run

    def find(self, run_id: str) -> Run | None:
        """The run with that id."""
        return self._runs.get(run_id)

    def moment(self) -> float:
        """Now, in the clock that runs are measured by."""
        return self._monotonic()

    def clear(self) -> None:
        """All runs are forgotten."""
        self._runs.clear()
        self._numbers = count(1)


def hits(kind: FaultKind, rows: int, field: str, query: Query) -> bool:
    """Whether a fault with a condition applies to the query; one without always does."""
    if kind in {FaultKind.TOO_MANY_ROWS, FaultKind.REPORT_TOO_LARGE}:
        return query.row_estimate > rows
    if kind is FaultKind.FIELD_FAILS:
        return field in query.fields
    return True
