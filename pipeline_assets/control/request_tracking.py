"""What Dagster's runs do to requests: launched, running, ended, tried again, adopted.

Called by the projector within its transaction, after the runs' attempts are stored. Applying a run
twice changes nothing. A request's end may be revised by a later truth (a worker thought dead that
succeeded after all), but nothing makes an ended request active again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from pipeline_assets.control import resyncs
from pipeline_assets.control.dagster_log import Failure, RunHistory, RunState
from pipeline_assets.control.requests import (
    IS_ACTIVE,
    URGENT_PRIORITY,
    USUAL_PRIORITY,
    Request,
    RequestState,
    Trigger,
    as_requests,
)
from pipeline_assets.control.retries import Retry, RetryPolicies, Setback, plan_retry
from pipeline_assets.control.run_tags import ALL_BRANDS, REQUEST_ID
from pipeline_assets.control.targets import (
    all_brands_id,
    is_all_brands,
    organization_of,
    read_owners,
)
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.storage.engine import dialect_insert
from pipeline_assets.storage.tables import dataset_attempts, requests

Row = dict[str, Any]

_TOO_LATE = timedelta(days=1)
"""A failure found out this late (a log read for the first time) starts nothing by itself."""

_NOT_TRIED = "NotTried"
_NEVER = datetime.max.replace(tzinfo=UTC)
_WORST_FIRST = ("failed", "skipped", "cancelled", "succeeded")
PARTIAL = "partial"
"""The outcome of a dataset that some brands of a run over several have, and others have not."""

_FATAL = frozenset(key for key, dataset in DATASETS.items() if dataset.fatal)


def with_known_owners(
    connection: sa.Connection, histories: Sequence[RunHistory]
) -> list[RunHistory]:
    """The histories, each with the request that has its run already.

    When somebody deletes a crashed run from Dagster, the log no longer tells whose work the run
    that Dagster started after it goes on with.
    """
    query = sa.select(requests.c.run_id, requests.c.id).where(
        requests.c.run_id.in_([history.run_id for history in histories])
    )
    known = {row.run_id: row.id for row in connection.execute(query)}
    return [
        history
        if known.get(history.run_id, history.owner_id) == history.owner_id
        else replace(
            history,
            is_started_by_us=True,
            tags={**history.tags, REQUEST_ID: known[history.run_id]},
        )
        for history in histories
    ]


def track_runs(
    connection: sa.Connection,
    histories: Sequence[RunHistory],
    *,
    policies: RetryPolicies,
    now: datetime,
) -> list[str]:
    """Bring the runs' requests up to date; returns the runs that must be stopped.

    Those are the living runs of requests that somebody has cancelled.
    """
    in_order = sorted(histories, key=lambda history: (history.created_at, history.run_id))
    _adopt(connection, in_order)
    _requests_of(connection, [history.owner_id for history in in_order], lock=True)
    to_stop = []
    for history in in_order:
        # Read now: what an earlier run of this batch brought about may have ended it.
        request = _requests_of(connection, [history.owner_id])[history.owner_id]
        changes = _changes(connection, request, history)
        if changes:
            _store(connection, request.id, changes)
            after = _requests_of(connection, [request.id])[request.id]
            _follow_up(connection, request, after, policies=policies, now=now)
            request = after
        if request.cancel_requested_at is not None and history.state in {
            RunState.WAITING,
            RunState.ACTIVE,
        }:
            to_stop.append(history.run_id)
    return to_stop


def runs_of_active_requests(connection: sa.Connection) -> list[str]:
    """The runs that active requests are with: few, because few are started at a time."""
    query = sa.select(requests.c.run_id).where(IS_ACTIVE, requests.c.run_id.is_not(None))
    return list(connection.execute(query).scalars())


def runs_of_cancelled_requests(connection: sa.Connection) -> list[str]:
    """The runs of active requests that somebody has cancelled: they are to be stopped."""
    query = sa.select(requests.c.run_id).where(
        IS_ACTIVE, requests.c.run_id.is_not(None), requests.c.cancel_requested_at.is_not(None)
    )
    return list(connection.execute(query).scalars())


def end_deleted(connection: sa.Connection, run_ids: Iterable[str], *, now: datetime) -> None:
    """End the active requests whose run somebody has deleted from Dagster."""
    ended = connection.execute(
        requests.update()
        .where(requests.c.run_id.in_(list(run_ids)), IS_ACTIVE)
        .values(
            state=RequestState.FAILED,
            finished_at=now,
            error_class="RunDeleted",
            error_message="Its run was deleted from Dagster before it ended.",
            advice="Ask for it again if it is still wanted.",
        )
        .returning(requests)
    )
    for request in as_requests(ended):
        if request.resync_id is not None:
            resyncs.piece_ended(connection, request, now=now)


def _adopt(connection: sa.Connection, histories: Sequence[RunHistory]) -> None:
    """Make requests of the runs that have none: a person started them in Dagster itself."""
    wanted = {history.owner_id: history for history in reversed(histories)}
    missing = set(wanted) - set(_requests_of(connection, list(wanted)))
    if not missing:
        return
    repeated = _requests_of(
        connection, [h.request_id for h in histories if h.owner_id in missing and h.request_id]
    )
    owners = read_owners(connection, {brand for each in missing for brand, _ in wanted[each].steps})
    for owner_id in sorted(missing):
        history = wanted[owner_id]
        before = repeated.get(history.request_id or "")
        brand_id = _target_of(history, owners)
        connection.execute(
            dialect_insert(connection, requests)
            .values(
                id=owner_id,
                organization_id=organization_of(brand_id) or owners.get(brand_id),
                brand_id=brand_id,
                brand_ids=sorted({brand for brand, _ in history.steps})
                if is_all_brands(brand_id)
                else None,
                job=history.job,
                datasets=sorted({key for _, key in history.steps}, key=list(DATASETS).index),
                state=RequestState.LAUNCHED,
                trigger=Trigger.DAGSTER,
                requested_by=history.tags.get("dagster/user", "dagster"),
                reason="Started in Dagster itself.",
                requested_at=history.created_at,
                not_before=history.created_at,
                priority=USUAL_PRIORITY,
                attempt=before.attempt + 1 if before else 1,
                chain_id=before.chain_id if before else owner_id,
                retry_of=before.id if before else None,
                run_id=history.run_id,
            )
            .on_conflict_do_nothing()
        )


def _target_of(history: RunHistory, owners: Mapping[str, str]) -> str:
    """Its one brand; `*<organization>` for several of one where its job does such, else `*`."""
    found = {brand for brand, _ in history.steps}
    if len(found) == 1:
        return found.pop()
    organizations = {owners.get(brand) for brand in found}
    organization_id = organizations.pop() if len(organizations) == 1 else None
    if organization_id is None or not JOBS[history.job].across_brands:
        return ALL_BRANDS
    return all_brands_id(organization_id)


def _changes(connection: sa.Connection, request: Request, history: RunHistory) -> Row:
    """What the run makes different in its request.

    Of a crashed run and those that Dagster started for it again, the last one tells the state: the
    worker of an earlier one may still live and end after all.
    """
    values: Row = {}
    if history.started_at and history.started_at < (request.started_at or _NEVER):
        values["started_at"] = history.started_at
    if request.run_id in {None, history.run_id, *history.ancestors}:
        values["run_id"] = history.run_id
        if history.is_final:
            values |= _end(connection, request, history)
        elif request.state.is_active:
            has_started = history.state is not RunState.WAITING or bool(history.ancestors)
            values["state"] = RequestState.RUNNING if has_started else RequestState.LAUNCHED
    return {name: value for name, value in values.items() if getattr(request, name) != value}


def _end(connection: sa.Connection, request: Request, history: RunHistory) -> Row:
    of_brands = _last_attempts(connection, request.id)
    attempts = _over_brands(of_brands)
    outcomes = {key: row["outcome"] for key, row in attempts.items()}
    forgotten = [key for key in request.dataset_keys if key not in outcomes]
    is_cancelled = history.state is RunState.CANCELLED
    state = RequestState.CANCELLED if is_cancelled else state_of(outcomes)
    if state is RequestState.SUCCEEDED and forgotten:
        state = RequestState.PARTIAL
    values = {
        "state": state,
        "finished_at": history.ended_at,
        "outcomes": outcomes,
        "records": sum(row["records"] or 0 for row in attempts.values()),
    }
    if state in {RequestState.SUCCEEDED, RequestState.CANCELLED}:
        return values | _error(None, None, None)
    worst = next((attempts[key] for key in without_success(outcomes)), None)
    if worst is None:
        failure = history.failure or _not_tried(forgotten)
        return values | _error(failure.error_class, failure.message, failure.advice or None)
    is_for_all = is_all_brands(request.brand_id)
    message = _in_all(of_brands, worst) if is_for_all else worst["error_message"]
    return values | _error(worst["error_class"], message, worst["advice"])


def _error(error_class: str | None, message: str | None, advice: str | None) -> Row:
    return {"error_class": error_class, "error_message": message, "advice": advice}


def _in_all(of_brands: Mapping[tuple[str, str], Row], worst: Row) -> str:
    """The error of one brand as that of a request for several."""
    outcomes = [row["outcome"] for (key, _), row in of_brands.items() if key == worst["dataset"]]
    bad_count = sum(outcome != "succeeded" for outcome in outcomes)
    which = f"{bad_count} of {len(outcomes)} brands, first {worst['brand_id']}"
    return f"{which}: {worst['error_message'] or 'it did not end.'}"


def _last_attempts(connection: sa.Connection, request_id: str) -> dict[tuple[str, str], Row]:
    """The last ended attempt of each (dataset, brand)."""
    columns = dataset_attempts.c
    query = (
        sa.select(dataset_attempts)
        .where(columns.request_id == request_id, columns.outcome.is_not(None))
        .order_by(columns.planned_at, columns.run_id)
    )
    return {
        (row["dataset"], row["brand_id"]): dict(row) for row in connection.execute(query).mappings()
    }


def _over_brands(attempts: Mapping[tuple[str, str], Row]) -> dict[str, Row]:
    """The attempt at each dataset, in the catalogue's order.

    Of a run over several brands it is the worst one's, with the records of all; its outcome is
    `PARTIAL` when it went well for others.
    """
    by_dataset: dict[str, list[Row]] = {key: [] for key in DATASETS}
    for (dataset, _), row in sorted(attempts.items()):
        by_dataset.setdefault(dataset, []).append(row)
    found = {}
    for dataset, rows in by_dataset.items():
        if rows:
            worst = min(rows, key=lambda row: _WORST_FIRST.index(row["outcome"]))
            has_success = any(row["outcome"] == "succeeded" for row in rows)
            is_mixed = has_success and worst["outcome"] != "succeeded"
            found[dataset] = {
                **worst,
                "records": sum(row["records"] or 0 for row in rows),
                "outcome": PARTIAL if is_mixed else worst["outcome"],
            }
    return found


def state_of(outcomes: Mapping[str, str]) -> RequestState:
    """How a wish ended whose datasets ended like this; failed when none was tried."""
    failed = {key for key, outcome in outcomes.items() if outcome not in {"succeeded", PARTIAL}}
    if outcomes and not failed:
        is_partial = PARTIAL in outcomes.values()
        return RequestState.PARTIAL if is_partial else RequestState.SUCCEEDED
    if failed & _FATAL or failed == outcomes.keys():
        return RequestState.FAILED
    return RequestState.PARTIAL


def without_success(outcomes: Mapping[str, str]) -> list[str]:
    """The datasets without success, those first whose error explains the whole's best."""
    without = [key for key, outcome in outcomes.items() if outcome != "succeeded"]
    return sorted(without, key=lambda key: (outcomes[key] != "failed", key not in _FATAL))


def _not_tried(datasets: Sequence[str]) -> Failure:
    """For what somebody asked for between the run's creation and our first sight of it."""
    return Failure(_NOT_TRIED, f"Asked for when its run was there: {', '.join(datasets)}.")


def _follow_up(
    connection: sa.Connection,
    before: Request,
    after: Request,
    *,
    policies: RetryPolicies,
    now: datetime,
) -> None:
    """What a change of state brings about: another try, the end of one, a resync's next piece."""
    if after.state.is_active or after.state is before.state:
        return
    if not before.state.is_active:  # a revision
        if after.state is RequestState.SUCCEEDED:
            _drop_waiting_retry(connection, after, now=now)
            if after.resync_id is not None:
                resyncs.piece_ended(connection, after, now=now)
        return
    is_retried = False
    if after.state in {RequestState.FAILED, RequestState.PARTIAL} and not _is_unwanted(
        after, now=now
    ):
        retry = _plan(connection, after, policies=policies)
        if retry is not None:
            is_retried = _store_retry(connection, after, retry, policies=policies, now=now)
    if after.resync_id is not None and not is_retried:
        resyncs.piece_ended(connection, after, now=now)


def _is_unwanted(request: Request, *, now: datetime) -> bool:
    return (
        request.cancel_requested_at is not None
        or request.brand_id == ALL_BRANDS  # nothing that a request could ask for
        or (request.finished_at is not None and now - request.finished_at > _TOO_LATE)
    )


def _plan(connection: sa.Connection, request: Request, *, policies: RetryPolicies) -> Retry | None:
    attempts = _last_attempts(connection, request.id)
    setbacks = (
        _setbacks_of_brands(attempts)
        if is_all_brands(request.brand_id)
        else _setbacks_of_datasets(request, _over_brands(attempts))
    )
    return plan_retry(
        setbacks, attempt=request.attempt, policy=policies.of(request.job), key=request.id
    )


def _setbacks_of_datasets(request: Request, attempts: Mapping[str, Row]) -> dict[str, Setback]:
    setbacks: dict[str, Setback] = {}
    for key in request.dataset_keys:
        row = attempts.get(key)
        if key not in JOBS[request.job].datasets:  # Dagster's asset page runs any assets together
            continue
        if row is None:
            setbacks[key] = Setback(False, _NOT_TRIED)
        elif row["outcome"] in {"failed", "skipped"}:
            setbacks[key] = Setback(
                is_skipped=row["outcome"] == "skipped",
                error_class=row["error_class"] or "",
                retry_after_seconds=row["retry_after_seconds"],
            )
    return setbacks


def _setbacks_of_brands(attempts: Mapping[tuple[str, str], Row]) -> dict[str, Setback]:
    return {
        brand_id: Setback(False, row["error_class"] or "", row["retry_after_seconds"])
        for (_, brand_id), row in sorted(attempts.items())
        if row["outcome"] == "failed"
    }


def _store_retry(
    connection: sa.Connection,
    request: Request,
    retry: Retry,
    *,
    policies: RetryPolicies,
    now: datetime,
) -> bool:
    tries = policies.of(request.job).count + 1
    is_urgent_no_more = min(request.priority, USUAL_PRIORITY)
    is_by_brand = is_all_brands(request.brand_id)
    stored = connection.execute(
        dialect_insert(connection, requests)
        .values(
            id=str(uuid4()),
            organization_id=request.organization_id,
            brand_id=request.brand_id,
            brand_ids=list(retry.names) if is_by_brand else None,
            job=request.job,
            datasets=request.datasets if is_by_brand else list(retry.names),
            window_since=request.window_since,
            window_until=request.window_until,
            state=RequestState.QUEUED,
            trigger=Trigger.RETRY,
            requested_by=request.requested_by,
            reason=f"Try {request.attempt + 1} of {tries} after {request.error_class}.",
            requested_at=now,
            not_before=(request.finished_at or now) + retry.wait,
            priority=is_urgent_no_more,
            attempt=request.attempt + 1,
            chain_id=request.chain_id,
            retry_of=request.id,
            resync_id=request.resync_id,
        )
        .on_conflict_do_nothing()  # somebody's newer wish is queued already: it does the work
        .returning(requests.c.id)
    ).scalar_one_or_none()
    return stored is not None


def _drop_waiting_retry(connection: sa.Connection, request: Request, *, now: datetime) -> None:
    connection.execute(
        requests.update()
        .where(
            requests.c.retry_of == request.id,
            requests.c.trigger == Trigger.RETRY,
            requests.c.state == RequestState.QUEUED,
            requests.c.priority < URGENT_PRIORITY,  # else somebody has joined it, and waits
        )
        .values(
            state=RequestState.CANCELLED,
            finished_at=now,
            cancel_requested_at=now,  # its run may be there already
            error_message="Not needed: the try before succeeded after all.",
        )
    )


def _requests_of(
    connection: sa.Connection, ids: Iterable[str], *, lock: bool = False
) -> dict[str, Request]:
    """These requests by id; locked, nobody cancels or widens one until the transaction's end."""
    query = sa.select(requests).where(requests.c.id.in_(set(ids))).order_by(requests.c.id)
    found = connection.execute(query.with_for_update() if lock else query)
    return {request.id: request for request in as_requests(found)}


def _store(connection: sa.Connection, request_id: str, values: Row) -> None:
    connection.execute(requests.update().where(requests.c.id == request_id).values(values))
