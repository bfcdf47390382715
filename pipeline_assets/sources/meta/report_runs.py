"""Report runs: insights that Meta prepares in the background, from order to result.

Belongs here: ordering, polling, every state a run can be in. Does not: slicing and splitting.
Source: Meta Marketing API v26.0, "Asynchronous insights" and "Insights API error codes".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from pipeline_assets.errors import SourceRejectedError, SourceUnavailableError
from pipeline_assets.sources.meta.client import GraphClient, Params
from pipeline_assets.sources.meta.graph_failures import (
    Json,
    ObjectMissingError,
    Remedy,
    TooMuchDataError,
    read_run_failure,
    remedy_for,
)
from pipeline_assets.sources.meta.paging import PageSize, fetch_pages
from pipeline_assets.sources.meta.rate_budget import Usage

_FIRST_POLL_SECONDS = 0.2  # a small report is ready within a second
_POLL_GROWTH = 1.4
_LONGEST_POLL_SECONDS = 10.0
_ORDERS = 3  # a run that fails or is skipped is ordered again this often in all
_UNSEEN_SECONDS = 30.0  # just after its creation a run may not be found yet (100/33)
_STUCK_SECONDS = 300.0  # a run still at 0 % after this is never going to start
_LONGEST_RUN_SECONDS = 3600.0  # Meta's own advice of how long to poll
_RESULT_TRIES = 4  # "cannot include … in summary param" goes away within seconds


class _Outcome(Enum):
    DONE = auto()
    ORDER_AGAIN = auto()


@dataclass(frozen=True, kw_only=True)
class ReportOrder:
    """What to report on: an object's insights edge with its parameters."""

    object_id: str
    params: Params
    account_id: str


def fetch_report(
    client: GraphClient, order: ReportOrder, page_size: PageSize
) -> Iterator[list[Json]]:
    """The pages of a finished report.

    Raises:
        TooMuchDataError: the report is too large, or was not ready within an hour.
        UnknownReportTroubleError: it failed time and again without a reason.
    """
    run_id = _complete_run(client, order)
    for attempt in range(1, _RESULT_TRIES + 1):
        begun = False
        try:
            for rows in fetch_pages(
                client,
                f"{run_id}/insights",
                {},
                page_size=page_size,
                account_id=order.account_id,
                usage=Usage.ADS_INSIGHTS,
            ):
                begun = True
                yield rows
        except SourceRejectedError:
            # The run was made from the same parameters: rejecting them now is a passing quirk.
            if begun or attempt == _RESULT_TRIES:
                raise
            client.pause(attempt)
        else:
            return


def _complete_run(client: GraphClient, order: ReportOrder) -> str:
    """Order until a run completes; its id."""
    for number in range(1, _ORDERS + 1):
        run_id = _order_run(client, order)
        if _await_run(client, run_id, order, last=number == _ORDERS) is _Outcome.DONE:
            return run_id
        client.pause(number)
    raise SourceUnavailableError(
        f"Meta skipped or never began {_ORDERS} reports in a row for {order.account_id}."
    )


def _order_run(client: GraphClient, order: ReportOrder) -> str:
    body = client.post(
        f"{order.object_id}/insights",
        order.params,
        account_id=order.account_id,
        usage=Usage.ADS_INSIGHTS,
    )
    run_id = body.get("report_run_id")
    if not run_id:
        raise SourceUnavailableError(f"Meta took a report for {order.account_id} but gave no id.")
    return str(run_id)


def _await_run(client: GraphClient, run_id: str, order: ReportOrder, *, last: bool) -> _Outcome:
    """Poll until the run has ended one way or the other."""
    began = client.now()
    interval = _FIRST_POLL_SECONDS
    while True:
        client.sleep(interval)
        interval = min(interval * _POLL_GROWTH, _LONGEST_POLL_SECONDS)
        age_seconds = (client.now() - began).total_seconds()
        run = _read_run(client, run_id, order, age_seconds=age_seconds)
        outcome = _judge_run(client, run, order, last=last)
        if outcome is not None:
            return outcome
        if age_seconds > _STUCK_SECONDS and not run.get("async_percent_completion"):
            return _Outcome.ORDER_AGAIN
        if age_seconds > _LONGEST_RUN_SECONDS:
            raise TooMuchDataError(
                f"A report for {order.account_id} was not ready after "
                f"{_LONGEST_RUN_SECONDS / 60:.0f} minutes."
            )


def _read_run(client: GraphClient, run_id: str, order: ReportOrder, *, age_seconds: float) -> Json:
    try:
        return client.get(run_id, account_id=order.account_id, usage=Usage.ADS_INSIGHTS)
    except ObjectMissingError:
        if age_seconds > _UNSEEN_SECONDS:
            raise
        return {}


def _judge_run(
    client: GraphClient, run: Json, order: ReportOrder, *, last: bool
) -> _Outcome | None:
    """The run's outcome; None while it goes on. Only `Completed` at 100 % has all its rows."""
    status = run.get("async_status")
    if status == "Job Completed" and run.get("async_percent_completion") == 100:
        return _Outcome.DONE
    if status == "Job Skipped":
        return _Outcome.ORDER_AGAIN
    if status == "Job Failed":
        return _judge_failed_run(client, run, order, last=last)
    return None


def _judge_failed_run(
    client: GraphClient, run: Json, order: ReportOrder, *, last: bool
) -> _Outcome:
    failure = read_run_failure(run)
    remedy = remedy_for(failure)
    repeatable = remedy in {Remedy.RETRY, Remedy.AMBIGUOUS, Remedy.ASK_OTHERWISE, Remedy.WAIT}
    if repeatable and not last:
        if remedy is Remedy.WAIT:
            client.note_item({}, failure, account_id=order.account_id, usage=Usage.ADS_INSIGHTS)
        return _Outcome.ORDER_AGAIN
    if failure.code is None:
        # Before v25.0 a run fails without a reason; size is the most frequent one.
        raise TooMuchDataError(f"Reports for {order.account_id} fail and Meta does not say why.")
    raise client.error_for(failure, order.account_id)
