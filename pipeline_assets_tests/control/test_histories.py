"""What holds whatever happens: made-up worlds of wishes, runs, crashes, late ends and delays.

Each example is a list of events. Dagster's side of them is played by `World`, whose runs reach the
projection late, in any order within a page, and again and again; our side is the real code.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline_assets.control.dagster_log import (
    Failure,
    Materialization,
    RunHistory,
    RunState,
    StepHistory,
)
from pipeline_assets.control.launching import Launch, choose_launches
from pipeline_assets.control.requests import Request, RequestState, Trigger, cancel_request
from pipeline_assets.control.retries import RetryPolicies, RetryPolicy
from pipeline_assets.control.run_tags import REQUEST_ID
from pipeline_assets.datasets import JOBS, upstream_of
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import audit_log, dataset_attempts, dataset_status, requests

PERFORMANCE, CREATIVES, THUMBNAILS, ASSETS, CLASSES = JOBS["meta_sync"].datasets
RETRIES = 2
DOWN = Failure("SourceUnavailableError", "Meta did not answer.")
EXPIRED = Failure("CredentialError", "The token has expired.")
SUPERSEDED = Failure("SupersededError", "A newer attempt has written this.")
LOST = Failure("WorkerLost", "The worker is gone.")
WISHES = [
    ("meta_sync", None),
    ("meta_sync", (PERFORMANCE,)),
    ("meta_sync", (CREATIVES, THUMBNAILS)),
    ("asset_download", None),  # another job with a dataset of meta_sync's
]
TRIGGERS = [Trigger.MANUAL, Trigger.SCHEDULE, Trigger.API, Trigger.SCHEDULE]
LIVING = {RunState.WAITING, RunState.ACTIVE, RunState.CANCELLING}


@dataclass(eq=False)
class FakeRun:
    """A run in Dagster: `patience` is how long after a crash it may be run again."""

    id: str
    brand: str
    job: str
    owner: str | None
    tags: dict[str, str]
    created_at: datetime
    steps: dict[str, StepHistory]
    ancestors: tuple[str, ...] = ()
    state: RunState = RunState.WAITING
    started_at: datetime | None = None
    ended_at: datetime | None = None
    patience: timedelta | None = None
    child: str | None = None
    is_zombie: bool = False
    failure: Failure | None = None

    def open_steps(self) -> list[str]:
        """Those that can still be done, in order."""
        failed = {key for key, step in self.steps.items() if step.failed_at}
        return [
            key
            for key, step in self.steps.items()
            if not step.failed_at and not step.materialization and not upstream_of(key) & failed
        ]

    def is_final(self, now: datetime) -> bool:
        if self.state in LIVING or self.ended_at is None:
            return False
        if self.state is not RunState.FAILED or self.patience is None:
            return True
        return self.child is None and now - self.ended_at >= self.patience

    def history(self, now: datetime) -> RunHistory:
        return RunHistory(
            run_id=self.id,
            job=self.job,
            state=self.state,
            tags=self.tags,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            failure=self.failure,
            is_final=self.is_final(now),
            ancestors=self.ancestors,
            is_started_by_us=self.owner is not None,
            steps={(self.brand, key): step for key, step in self.steps.items()},
        )


@dataclass
class World:
    """Dagster and the people around it; every event takes a second."""

    loop: Any
    runs: dict[str, FakeRun] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    last_success: dict[tuple[str, str], tuple[datetime, datetime]] = field(default_factory=dict)
    ended: dict[str, RequestState] = field(default_factory=dict)
    shown_success: dict[tuple[str, str], datetime] = field(default_factory=dict)

    # ---- events: each takes a number that chooses among what is possible

    def wish(self, number: int) -> None:
        job, datasets = WISHES[number % 4]
        brand, trigger = ("acme", "globex")[number // 4 % 2], TRIGGERS[number // 8 % 4]
        with suppress(InvalidConfigError):  # the active request is just being cancelled
            self.loop.wish(brand, job, trigger=trigger, datasets=datasets)

    def launch(self, number: int) -> None:
        """A beat of the sensor, whose daemon may die before it has created all runs."""
        chosen = choose_launches(self.loop.engine, now=self.loop.now, slots=2)
        assert chosen.rejected_count == 0
        for launch in chosen.launches[: 1 + number % 8]:
            self._launch(launch)

    def launch_and_cancel(self, number: int) -> None:
        """Somebody cancels after the sensor has read the table and before the run is there."""
        chosen = choose_launches(self.loop.engine, now=self.loop.now, slots=2).launches
        if chosen:
            launch = chosen[number % len(chosen)]
            self._cancel(launch.request_id)
            self._launch(launch)

    def start_in_dagster(self, number: int) -> None:
        job, datasets = WISHES[number % 4]
        brand = ("acme", "globex")[number // 4 % 2]
        self._create(brand, job, datasets or JOBS[job].datasets, owner=None)

    def repeat_in_dagster(self, number: int) -> None:
        over = [run for run in self.runs.values() if run.state not in LIVING]
        if over:
            old = over[number % len(over)]
            self._create(old.brand, old.job, tuple(old.steps), owner=None, tags=old.tags)

    def start(self, number: int) -> None:
        """Dagster lets one run at a time into a lane."""
        lanes = {
            (run.brand, run.job)
            for run in self.runs.values()
            if run.state in {RunState.ACTIVE, RunState.CANCELLING}
        }
        waiting = [
            run
            for run in self.runs.values()
            if run.state is RunState.WAITING and (run.brand, run.job) not in lanes
        ]
        if waiting:
            run = waiting[number % len(waiting)]
            run.state, run.started_at = RunState.ACTIVE, self.loop.now
            self._changed(run)

    def work(self, number: int) -> None:
        run = self._pick(RunState.ACTIVE, number)
        if run is not None:
            self._work(run, number // 8)

    def crash(self, number: int) -> None:
        """Its worker dies, or is only thought dead; Dagster may run it again."""
        run = self._pick(RunState.ACTIVE, number // 8)
        if run is not None:
            self._end(run, RunState.FAILED, LOST)
            run.is_zombie = number % 2 == 1
            run.patience = timedelta(minutes=15) if number % 3 else timedelta(seconds=30)

    def think_dead(self, number: int) -> None:
        """A worker is given up, and everybody believes it."""
        run = self._pick(RunState.ACTIVE, number)
        if run is not None:
            self._end(run, RunState.FAILED, LOST)
            run.is_zombie, run.patience = True, timedelta(0)
            while self.unseen:
                self.project(number)

    def run_again(self, number: int) -> None:
        """Dagster keeps its promise, sometimes long after we gave it up."""
        promised = [
            run
            for run in self.runs.values()
            if run.state is RunState.FAILED
            and run.patience == timedelta(minutes=15)
            and run.child is None
            and len(run.ancestors) < 2
        ]
        if not promised:
            return
        old = promised[number % len(promised)]
        left = tuple(key for key, step in old.steps.items() if not step.materialization)
        if left:
            new = self._create(old.brand, old.job, left, owner=old.owner, tags=old.tags)
            new.ancestors = (old.id, *old.ancestors)
            old.child = new.id
            self._changed(old)

    def end_late(self, number: int) -> None:
        """A worker that was thought dead ends its work."""
        zombies = [run for run in self.runs.values() if run.is_zombie]
        if not zombies:
            return
        run = zombies[number % len(zombies)]
        run.is_zombie = False
        while open_steps := run.open_steps():
            self._begin_step(run, open_steps[0])
            self._end_step(run, open_steps[0], None)
        if not any(step.failed_at for step in run.steps.values()):
            self._end(run, RunState.SUCCEEDED, None)

    def cancel(self, number: int) -> None:
        active = [request for request in self.loop.all() if request.state.is_active]
        if active:
            self._cancel(active[number % len(active)].id)

    def stop(self, number: int) -> None:
        """A run that was asked to stop has stopped."""
        run = self._pick(RunState.CANCELLING, number)
        if run is not None:
            self._end(run, RunState.CANCELLED, None)

    def cancel_in_dagster(self, number: int) -> None:
        run = self._pick(RunState.WAITING, number)
        if run is not None:
            self._end(run, RunState.CANCELLED, None)

    def wait(self, number: int) -> None:
        self.loop.now += timedelta(minutes=number % 8 * (number // 8))

    def project(self, number: int) -> None:
        """A page of the oldest changes; with it some runs again that were applied before.

        What is read of a run is its state now, also when only an earlier change is due.
        """
        size = 1 + number % 8
        page, self.unseen = self.unseen[:size], self.unseen[size:]
        chance = random.Random(number)
        again = [run_id for run_id in self.runs if chance.random() < 0.2]
        page += [run_id for run_id in again if run_id not in {*page, *self.unseen}]
        chance.shuffle(page)
        stopped = self.loop.apply(*(self.runs[each].history(self.loop.now) for each in page))
        for run_id in stopped:
            self._stop(self.runs[run_id])
        self.check()

    # ---- how they happen

    def _launch(self, launch: Launch) -> None:
        """Dagster makes one run of a key, however often it is asked."""
        if launch.request_id not in {run.owner for run in self.runs.values()}:
            datasets = launch.datasets or JOBS[launch.job].datasets
            self._create(launch.brand_ids[0], launch.job, datasets, owner=launch.request_id)

    def _create(
        self,
        brand: str,
        job: str,
        datasets: tuple[str, ...],
        *,
        owner: str | None,
        tags: dict[str, str] | None = None,
    ) -> FakeRun:
        run = FakeRun(
            id=str(UUID(int=len(self.runs) + 1)),
            brand=brand,
            job=job,
            owner=owner,
            tags=dict(tags or ({REQUEST_ID: owner} if owner else {})),
            created_at=self.loop.now,
            steps={key: StepHistory(planned_at=self.loop.now) for key in datasets},
        )
        self.runs[run.id] = run
        self._changed(run)
        return run

    def _pick(self, state: RunState, number: int) -> FakeRun | None:
        found = [run for run in self.runs.values() if run.state is state]
        return found[number % len(found)] if found else None

    def _changed(self, run: FakeRun) -> None:
        """The newest change stands last in the log."""
        self.unseen = [each for each in self.unseen if each != run.id] + [run.id]
        self.loop.now += timedelta(seconds=1)

    def _work(self, run: FakeRun, number: int) -> None:
        open_steps = run.open_steps()
        if not open_steps:
            failed = any(step.failed_at for step in run.steps.values())
            self._end(run, RunState.FAILED if failed else RunState.SUCCEEDED, None)
            return
        key = open_steps[0]
        self._begin_step(run, key)
        if number:
            failure = {1: DOWN, 2: EXPIRED}.get(number)
            self._end_step(run, key, failure)

    def _begin_step(self, run: FakeRun, key: str) -> None:
        if run.steps[key].started_at is None:
            run.steps[key].started_at = self.loop.now
            self._changed(run)

    def _end_step(self, run: FakeRun, key: str, failure: Failure | None) -> None:
        """A write by an attempt that began before the one that wrote last is refused."""
        step = run.steps[key]
        assert step.started_at is not None
        newest = self.last_success.get((run.brand, key))
        if failure is None and newest is not None and newest[0] > step.started_at:
            failure = SUPERSEDED
        if failure is not None:
            step.failed_at, step.failure = self.loop.now, failure
        else:
            step.materialization = Materialization(self.loop.now, {"records": 1})
            self.last_success[run.brand, key] = (step.started_at, self.loop.now)
        self._changed(run)

    def _end(self, run: FakeRun, state: RunState, failure: Failure | None) -> None:
        run.state, run.ended_at, run.failure = state, self.loop.now, failure
        self._changed(run)

    def _cancel(self, request_id: str) -> None:
        cancel_request(self.loop.engine, request_id, actor="cli:bob", now=self.loop.now)

    def _stop(self, run: FakeRun) -> None:
        if run.state is RunState.WAITING:
            self._end(run, RunState.CANCELLED, None)
        elif run.state is RunState.ACTIVE:
            run.state = RunState.CANCELLING
            self._changed(run)

    # ---- what holds at any time

    def check(self) -> None:
        found = self.loop.all()
        self._check_lanes(found)
        self._check_ends(found)
        self._check_chains(found)
        self._check_status()

    def _check_lanes(self, found: list[Request]) -> None:
        lanes = [
            (request.brand_id, request.job)
            for request in found
            if request.state.is_active and request.trigger is not Trigger.DAGSTER
        ]
        assert len(lanes) == len(set(lanes))

    def _check_ends(self, found: list[Request]) -> None:
        for request in found:
            if request.state.is_active:
                assert request.id not in self.ended, "it is active again"
                assert request.finished_at is None
            else:
                self.ended[request.id] = request.state
                assert request.finished_at is not None
                assert request.finished_at <= self.loop.now
            if request.state is RequestState.SUCCEEDED:
                assert set(request.outcomes or {}) == set(request.dataset_keys)
                assert set((request.outcomes or {}).values()) == {"succeeded"}
                assert request.error_class is None
            if request.state is RequestState.FAILED:
                assert request.error_class is not None

    def _check_chains(self, found: list[Request]) -> None:
        retries = [request for request in found if request.trigger is Trigger.RETRY]
        assert len({retry.retry_of for retry in retries}) == len(retries), "one follows each"
        assert all(2 <= retry.attempt <= 1 + RETRIES for retry in retries)
        for chain_id in {request.chain_id for request in found}:
            chain = [request for request in found if request.chain_id == chain_id]
            if not any(request.trigger is Trigger.DAGSTER for request in chain):
                assert len(chain) <= 1 + RETRIES

    def _check_status(self) -> None:
        with self.loop.engine.connect() as connection:
            for row in connection.execute(sa.select(dataset_status)):
                key = row.brand_id, row.dataset
                before = self.shown_success.get(key)
                if before is not None:
                    assert row.last_success_at is not None
                    assert row.last_success_at >= before
                if row.last_success_at is not None:
                    self.shown_success[key] = row.last_success_at

    # ---- and what holds in the end

    def finish(self) -> None:
        """Everything ends: nobody wishes any more, Dagster keeps no promise, all is projected."""
        while living := [run for run in self.runs.values() if run.state in LIVING]:
            for run in living:
                if run.state is RunState.ACTIVE and run.open_steps():
                    self._work(run, 3)
                elif run.state is RunState.ACTIVE:
                    self._work(run, 0)
                elif run.state is RunState.WAITING:
                    run.state, run.started_at = RunState.ACTIVE, self.loop.now
                else:
                    self._end(run, RunState.CANCELLED, None)
        self.loop.now += timedelta(minutes=16)
        self.unseen = list(self.runs)
        while self.unseen:
            self.project(7)
        found = self.loop.all()
        assert {request.state for request in found if request.state.is_active} <= {"queued"}
        self._check_outcomes(found)
        self._check_last_attempts()
        before = self.loop.tables()
        again = list(self.runs.values())
        random.Random(len(again)).shuffle(again)
        assert self.loop.apply(*(run.history(self.loop.now) for run in again)) == []
        assert self.loop.tables() == before

    def _check_outcomes(self, found: list[Request]) -> None:
        """An ended request's outcomes are those of the last attempts in its runs."""
        with self.loop.engine.connect() as connection:
            attempts = connection.execute(
                sa.select(dataset_attempts).order_by(dataset_attempts.c.planned_at)
            ).all()
        for request in found:
            last = {row.dataset: row.outcome for row in attempts if row.request_id == request.id}
            assert (request.outcomes or {}) == last
        for run in self.runs.values():
            assert len([row for row in attempts if row.run_id == run.id]) == len(run.steps)

    def _check_last_attempts(self) -> None:
        """An older attempt never hides a newer one, whatever came in which order."""
        with self.loop.engine.connect() as connection:
            rows = {
                (row.brand_id, row.dataset): row
                for row in connection.execute(sa.select(dataset_status))
            }
        begun: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
        for run in self.runs.values():
            for key, step in run.steps.items():
                begun.setdefault((run.brand, key), []).append(
                    (step.started_at or step.planned_at, run.id)
                )
        assert set(rows) == set(begun)
        for key, row in rows.items():
            at, run_id = max(begun[key])
            assert (row.last_attempt_run_id, row.last_attempt_started_at) == (run_id, at)
            _, stored_at = self.last_success.get(key, (None, None))
            assert row.last_success_at == stored_at


# Most of the time work goes on; what is rare comes often enough to meet everything else.
EVENTS: list[Callable[[World, int], None]] = [
    *[World.work] * 8,
    *[World.project] * 5,
    *[World.wish, World.launch, World.start] * 3,
    *[World.crash, World.run_again, World.think_dead, World.end_late, World.wait] * 2,
    World.launch_and_cancel,
    World.start_in_dagster,
    World.repeat_in_dagster,
    World.cancel,
    World.stop,
    World.cancel_in_dagster,
]
History = list[tuple[Callable[[World, int], None], int]]
HISTORIES = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.integers(0, 63)), min_size=40, max_size=90
)
BEGINNING: History = [(World.wish, 0), (World.wish, 5), (World.launch, 7), (World.start, 0)]


def live_through(loop: Any, history: History) -> None:
    with write_transaction(loop.engine) as connection:
        for table in (requests, dataset_attempts, dataset_status, audit_log):
            connection.execute(table.delete())
    loop.policies = RetryPolicies(RetryPolicy(count=RETRIES, base=timedelta(minutes=1)))
    world = World(loop)
    for event, number in BEGINNING + history:
        event(world, number)
        loop.now += timedelta(seconds=1)
    world.finish()


def examples(count: int) -> Callable[[Any], Any]:
    """The same ones each time: a failure is nobody's bad luck."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # add Phase.shrink to look into a failure: it takes minutes
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@examples(20)
@given(history=HISTORIES)
def test_whatever_happens_the_rules_hold_on_sqlite(loop: Any, history: History) -> None:
    live_through(loop, history)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@examples(6)
@given(history=HISTORIES)
def test_whatever_happens_the_rules_hold_on_postgresql(loop: Any, history: History) -> None:
    live_through(loop, history)
