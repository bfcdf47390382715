"""What became of every wish: the request that it made and all further tries, read as one chain.

Belongs here: reading. What makes further tries is in `request_tracking.py`.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from pipeline_assets.control.request_tracking import PARTIAL, state_of, without_success
from pipeline_assets.control.requests import (
    ACTIVE_STATES,
    IS_ACTIVE,
    Request,
    RequestState,
    Trigger,
    as_requests,
)
from pipeline_assets.control.targets import is_all_brands
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.storage.tables import dataset_attempts, requests

Row = dict[str, Any]
Position = tuple[datetime, str]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One wish and what became of it; `chain_id` is the id of its first request.

    Who wished what, when and why is the first request's. `state` is the whole's: the furthest of
    its active requests', `cancelled` when the last try was, else what the datasets' `outcomes` come
    to, each dataset's being its last. `tries` counts those that got a run, `next_try_at` is when a
    further one may begin, `records` what the outcomes stored. The error is the one that stands in
    the way now: the newest of a dataset that has not succeeded since.
    """

    chain_id: str
    organization_id: str | None
    brand_id: str
    job: str
    datasets: tuple[str, ...] | None
    window_since: date | None
    window_until: date | None
    resync_id: str | None
    trigger: Trigger
    requested_by: str
    reason: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    state: RequestState
    tries: int
    next_try_at: datetime | None
    outcomes: dict[str, str]
    records: int
    error_class: str | None
    error_message: str | None
    advice: str | None
    run_ids: tuple[str, ...]
    requests: tuple[Request, ...]

    @property
    def position(self) -> Position:
        """Where the chain stands in the history: what `read_history` reads on from."""
        return self.requested_at, self.chain_id

    def as_row(self) -> Row:
        """The chain as plain values, keys as the requests' columns are called."""
        return {**vars(self), "requests": [vars(request) for request in self.requests]}


def read_history(
    engine: sa.Engine,
    *,
    organization_ids: Collection[str] | None = None,
    brand_ids: Collection[str] | None = None,
    job: str | None = None,
    dataset: str | None = None,
    states: Collection[RequestState] | None = None,
    error_class: str | None = None,
    trigger: Trigger | None = None,
    requested_by: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    before: Position | None = None,
) -> list[Chain]:
    """Chains, the newest wish first, at most `limit`; archived ones too.

    `dataset` is one that the wish asks for, `error_class` that of the error in the way now,
    `requested_by` any part of who wished it, whatever its case; `since` and `until` (exclusive) are
    about when it was wished, `before` is the position of the last chain of the page before. Three
    queries however many there are; with `states` or `error_class` three more for each doubling of
    the page, as long as too few of the chains that may fit do.
    """
    columns = requests.c
    filters: tuple[tuple[Any, Callable[[Any], sa.ColumnElement[bool]]], ...] = (
        (organization_ids, columns.organization_id.in_),
        (brand_ids, columns.brand_id.in_),
        (job, columns.job.__eq__),
        (dataset, _asks_for),
        (states, _may_be),
        (error_class, _may_have),
        (trigger, columns.trigger.__eq__),
        (requested_by, _is_wished_by),
        (since, columns.requested_at.__ge__),
        (until, columns.requested_at.__lt__),
    )
    firsts = (
        sa.select(columns.requested_at, columns.id)
        .where(columns.id == columns.chain_id)
        .where(*(condition(value) for value, condition in filters if value is not None))
        .order_by(columns.requested_at.desc(), columns.id.desc())
    )
    fits = _fitting(states, error_class)
    return _read_fitting(engine, firsts, fits, limit=limit, before=before)


def _fitting(
    states: Collection[RequestState] | None, error_class: str | None
) -> Callable[[Chain], bool] | None:
    """What the database cannot tell of a chain; None: it can tell all that is asked."""
    if states is None and error_class is None:
        return None
    return lambda chain: (
        (states is None or chain.state in states)
        and (error_class is None or chain.error_class == error_class)
    )


def _read_fitting(
    engine: sa.Engine,
    firsts: sa.Select[tuple[datetime, str]],
    fits: Callable[[Chain], bool] | None,
    *,
    limit: int,
    before: Position | None,
) -> list[Chain]:
    """The chains of the first requests that a query finds, as many as wanted of those that fit."""
    found: list[Chain] = []
    size = limit if fits is None else limit * 4  # many of those that may fit, do not
    position = sa.tuple_(requests.c.requested_at, requests.c.id)
    with engine.connect() as connection:
        while len(found) < limit:
            page = firsts if before is None else firsts.where(position < before)
            positions = [(row[0], row[1]) for row in connection.execute(page.limit(size))]
            chains = _read_chains(connection, [chain_id for _, chain_id in positions])
            found += chains if fits is None else filter(fits, chains)
            if len(positions) < size:
                break
            before, size = positions[-1], size * 2
    return found[:limit]


def read_chains(
    engine: sa.Engine,
    chain_ids: Sequence[str],
    *,
    organization_ids: Collection[str] | None = None,
) -> list[Chain]:
    """These chains in this order, without those that are not there or another organization's."""
    columns = requests.c
    known = sa.select(columns.id).where(columns.id.in_(chain_ids), columns.id == columns.chain_id)
    if organization_ids is not None:
        known = known.where(columns.organization_id.in_(organization_ids))
    with engine.connect() as connection:
        found = set(connection.execute(known).scalars())
        return _read_chains(connection, [each for each in chain_ids if each in found])


def read_runs(engine: sa.Engine, chain: Chain) -> dict[str, list[str]]:
    """The ids of the runs of each of a chain's requests, the oldest first.

    A request has several when Dagster has started a crashed one again; `run_ids` has the last.
    """
    columns = dataset_attempts.c
    query = (
        sa.select(columns.request_id, columns.run_id)
        .where(columns.request_id.in_([request.id for request in chain.requests]))
        .order_by(columns.planned_at, columns.run_id)
    )
    runs: dict[str, list[str]] = {request.id: [] for request in chain.requests}
    with engine.connect() as connection:
        for request_id, run_id in connection.execute(query):
            runs[request_id].append(run_id)
    return {
        request.id: list(dict.fromkeys([*runs[request.id], *filter(None, [request.run_id])]))
        for request in chain.requests
    }


def _asks_for(dataset: str) -> sa.ColumnElement[bool]:
    """Whether a request asks for the dataset: by its name, or for all of a job that has it."""
    jobs = [job.name for job in JOBS.values() if dataset in job.datasets]
    named = sa.cast(requests.c.datasets, sa.Text).contains(f'"{dataset}"', autoescape=True)
    return named | (requests.c.datasets.is_(None) & requests.c.job.in_(jobs))


def _is_wished_by(part: str) -> sa.ColumnElement[bool]:
    return requests.c.requested_by.icontains(part, autoescape=True)


def _may_have(error_class: str) -> sa.ColumnElement[bool]:
    """Whether one of a chain's requests, or a try at a dataset, failed with such an error."""
    attempts = dataset_attempts.c
    failed = sa.select(attempts.request_id).where(
        attempts.error_class == error_class, attempts.outcome == "failed"
    )
    members = sa.select(requests.c.chain_id).where(
        (requests.c.error_class == error_class) | requests.c.id.in_(failed)
    )
    return requests.c.id.in_(members)


def _may_be(states: Collection[RequestState]) -> sa.ColumnElement[bool]:
    """Whether one of a chain's requests lets the whole be in one of these states."""
    wanted = set(states)
    if wanted & {RequestState.FAILED, RequestState.PARTIAL}:
        wanted |= {RequestState.FAILED, RequestState.PARTIAL}  # tries together may make the other
    members = sa.select(requests.c.chain_id).where(requests.c.state.in_(wanted))
    if wanted <= set(ACTIVE_STATES):
        members = members.where(IS_ACTIVE)  # which an index finds
    return requests.c.id.in_(members)


def _read_chains(connection: sa.Connection, chain_ids: Sequence[str]) -> list[Chain]:
    if not chain_ids:
        return []
    query = sa.select(requests).where(requests.c.chain_id.in_(chain_ids))
    members: dict[str, list[Request]] = defaultdict(list)
    for request in as_requests(connection.execute(query)):
        if not _is_dropped(request):
            members[request.chain_id].append(request)
    without = [r.id for each in members.values() for r in each if _has_setback(r)]
    setbacks = _read_setbacks(connection, without) if without else {}
    return [
        _chain(sorted(members[each], key=lambda r: (r.requested_at, r.attempt)), setbacks)
        for each in chain_ids
    ]


def _is_dropped(request: Request) -> bool:
    """Whether it is a further try that was called off because the one before did succeed."""
    return (
        request.state is RequestState.CANCELLED
        and request.trigger is Trigger.RETRY
        and request.run_id is None
        and request.cancel_requested_at is None
    )


def _has_setback(request: Request) -> bool:
    """Whether its attempts tell more of its error; of several brands' its own words tell most."""
    has_failed = any(outcome != "succeeded" for outcome in (request.outcomes or {}).values())
    return has_failed and not is_all_brands(request.brand_id)


def _read_setbacks(
    connection: sa.Connection, request_ids: Sequence[str]
) -> dict[tuple[str, str], Row]:
    """The last failed attempt of each request at each dataset."""
    columns = dataset_attempts.c
    query = (
        sa.select(
            columns.request_id,
            columns.dataset,
            columns.records,
            columns.error_class,
            columns.error_message,
            columns.advice,
        )
        .where(columns.request_id.in_(request_ids), columns.outcome == "failed")
        .order_by(columns.planned_at, columns.run_id)
    )
    rows = connection.execute(query).mappings()
    return {(row["request_id"], row["dataset"]): dict(row) for row in rows}


def _chain(tries: Sequence[Request], setbacks: Mapping[tuple[str, str], Row]) -> Chain:
    first, last = tries[0], tries[-1]
    latest = {key: request for request in tries for key in _outcomes(request)}
    outcomes = {key: _outcome(tries, key) for key in in_order(latest)}
    active = [request for request in tries if request.state.is_active]
    state = _state(active, last, outcomes)
    is_solved = state is RequestState.SUCCEEDED
    error = None if is_solved else _error(tries, latest, outcomes, setbacks)
    return Chain(
        chain_id=first.chain_id,
        organization_id=first.organization_id,
        brand_id=first.brand_id,
        job=first.job,
        datasets=first.datasets,
        window_since=first.window_since,
        window_until=first.window_until,
        resync_id=first.resync_id,
        trigger=first.trigger,
        requested_by=first.requested_by,
        reason=first.reason,
        requested_at=first.requested_at,
        started_at=min((r.started_at for r in tries if r.started_at), default=None),
        finished_at=None
        if active
        else max((r.finished_at for r in tries if r.finished_at), default=None),
        state=state,
        tries=sum(request.run_id is not None for request in tries),
        next_try_at=min(
            (r.not_before for r in active if r.state is RequestState.QUEUED and r is not first),
            default=None,
        ),
        outcomes=outcomes,
        records=_records(tries, latest, setbacks),
        error_class=error["error_class"] if error else None,
        error_message=error["error_message"] if error else None,
        advice=error["advice"] if error else None,
        run_ids=tuple(request.run_id for request in tries if request.run_id),
        requests=tuple(tries),
    )


def _outcome(tries: Sequence[Request], dataset: str) -> str:
    """How a dataset ended: as its last try did.

    One that some brands have stays partial whatever the tries for the others come to.
    """
    ends = [each[dataset] for each in map(_outcomes, tries) if dataset in each]
    return PARTIAL if ends[-1] == "failed" and PARTIAL in ends else ends[-1]


def _outcomes(request: Request) -> Mapping[str, str]:
    """How a request's datasets ended; one that failed before it tried any failed them all."""
    if request.outcomes or request.state is not RequestState.FAILED:
        return request.outcomes or {}
    return dict.fromkeys(request.dataset_keys, "failed")


def in_order(keys: Iterable[str]) -> list[str]:
    """Dataset keys in the catalogue's order, then those that it no longer has."""
    known = {key: number for number, key in enumerate(DATASETS)}
    return sorted(keys, key=lambda key: (known.get(key, len(known)), key))


def _state(active: Sequence[Request], last: Request, outcomes: Mapping[str, str]) -> RequestState:
    if active:
        return max((request.state for request in active), key=ACTIVE_STATES.index)
    if last.state is RequestState.CANCELLED:
        return RequestState.CANCELLED
    return state_of(outcomes)


def _error(
    tries: Sequence[Request],
    latest: Mapping[str, Request],
    outcomes: Mapping[str, str],
    setbacks: Mapping[tuple[str, str], Row],
) -> Row | None:
    for key in without_success(outcomes):
        setback = setbacks.get((latest[key].id, key))
        if setback is not None:
            return setback
    # Nothing was tried at all, or the attempts are older than what retention keeps.
    of_requests = (vars(request) for request in reversed(tries) if request.error_class)
    return next(of_requests, None)


def _records(
    tries: Sequence[Request],
    latest: Mapping[str, Request],
    setbacks: Mapping[tuple[str, str], Row],
) -> int:
    """What the tries stored, without what a later try of the same dataset has stored again."""
    stored = sum(request.records or 0 for request in tries)
    again = (
        setbacks[request.id, key]["records"] or 0
        for request in tries
        for key, outcome in (request.outcomes or {}).items()
        if outcome == "failed" and latest[key] is not request and (request.id, key) in setbacks
    )
    return stored - sum(again)
