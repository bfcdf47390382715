"""A small installation around a test's own asset functions: real database, real Dagster.

And `loop`, for what takes days or goes wrong in rare ways: the real tables, and runs made up.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.assets.attempt import Attempt, Outcome, dataset_asset
from pipeline_assets.brands.models import parse_brand, parse_organization
from pipeline_assets.brands.registry import add_brand, add_organization
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.control.dagster_log import (
    INCOMPLETE,
    Failure,
    Materialization,
    RunHistory,
    RunState,
    StepHistory,
)
from pipeline_assets.control.projector import apply_histories
from pipeline_assets.control.requests import (
    Request,
    Trigger,
    Wish,
    as_requests,
    get_request,
    request_sync,
)
from pipeline_assets.control.retries import RetryPolicies
from pipeline_assets.control.run_tags import REQUEST_ID
from pipeline_assets.datasets import JOBS, upstream_of
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_attempts, dataset_status, requests

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
Compute = Callable[[Attempt], Outcome]
Row = dict[str, Any]


@pytest.fixture
def installation(database_url: str, engine: sa.Engine, tmp_path: Path) -> Installation:
    settings = Settings(database_url=database_url, media_url=str(tmp_path / "media"))
    for brand_id in ("acme", "globex"):
        source = {"ad_accounts": ["act_1"], "token": "env:NOT_SET_ANYWHERE"}
        brand = {"id": brand_id, "name": brand_id, "timezone": "UTC", "sources": {"meta": source}}
        add_brand(engine, parse_brand(brand), actor="test", now=NOW)
    return Installation(settings)


@pytest.fixture
def instance(dagster_home: str) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=dagster_home) as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme", "globex"])
        yield instance


@pytest.fixture
def run(
    installation: Installation, instance: dg.DagsterInstance
) -> Callable[..., dg.ExecuteInProcessResult]:
    """`run(performance=…, creatives=…, thumbnails=…)`: those datasets in one run of meta_sync."""
    keys = {
        "performance": "meta_ads_performance",
        "creatives": "meta_ad_creatives",
        "thumbnails": "ad_thumbnails",
    }

    def run_job(*, brand: str = "acme", **computes: Compute) -> dg.ExecuteInProcessResult:
        assets: list[Any] = [
            dataset_asset(keys[name], checks=("fine",))(compute)
            for name, compute in computes.items()
        ]
        definitions = dg.Definitions(
            assets=assets,
            jobs=[dg.define_asset_job("meta_sync", dg.AssetSelection.all())],
            resources={"installation": installation},
            executor=dg.in_process_executor,
        )
        job = definitions.resolve_job_def("meta_sync")
        return job.execute_in_process(instance=instance, partition_key=brand, raise_on_error=False)

    return run_job


class ControlLoop:
    """Requests in the real tables, and a made-up Dagster whose time is moved by hand.

    Brands: acme and globex (Meta), bare (no source), and rival, which is another organization's.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.now = NOW
        self.policies = RetryPolicies()
        add_organization(
            engine, parse_organization({"id": "other", "name": "Other"}), actor="test", now=NOW
        )
        self.add_brand("acme", app_id="1", ad_accounts=["act_1"])
        self.add_brand("globex", app_id="2", ad_accounts=["act_2"])
        self.add_brand("bare")
        self.add_brand("rival", organization="other", ad_accounts=["act_3"])

    def add_brand(
        self, brand_id: str, *, organization: str = "default", minutes: float = 0, **source: Any
    ) -> None:
        data: Row = {"id": brand_id, "name": brand_id, "timezone": "UTC"}
        data["organization_id"] = organization
        if source:
            data["sources"] = {"meta": {"token": "env:NOT_SET_ANYWHERE", **source}}
        if minutes:
            data["max_runtime_minutes"] = {"meta_sync": minutes}
        add_brand(self.engine, parse_brand(data), actor="test", now=NOW)

    def pass_time(self, **by: float) -> None:
        self.now += timedelta(**by)

    def wish(
        self,
        brand_id: str = "acme",
        job: str = "meta_sync",
        *,
        trigger: Trigger = Trigger.MANUAL,
        requested_by: str = "cli:alice",
        **more: Any,
    ) -> Request:
        """The request that serves a new wish."""
        wish = Wish(brand_id=brand_id, job=job, trigger=trigger, requested_by=requested_by, **more)
        return request_sync(self.engine, wish, now=self.now)[0]

    def run(
        self,
        request: Request | None = None,
        state: RunState = RunState.SUCCEEDED,
        *,
        brand_id: str = "acme",
        brand_ids: Sequence[str] = (),
        job: str = "meta_sync",
        datasets: Sequence[str] | None = None,
        fails: Mapping[str, Failure] | None = None,
        lost: Collection[str] = (),
        incomplete: Mapping[str, Failure] | None = None,
        records: int = 10,
        window: tuple[date, date] | None = None,
        run_id: str | None = None,
        created_at: datetime | None = None,
        tags: Mapping[str, str] | None = None,
        failure: Failure | None = None,
        is_final: bool | None = None,
        ancestors: tuple[str, ...] = (),
    ) -> RunHistory:
        """A run as its log says it now; without a request it is one from Dagster's own UI.

        What does not fail, does not stand behind something that does, and is not `lost` with the
        run's worker, succeeds with so many records. It was created a minute before it started, and
        ends now.
        """
        if request is not None:
            brand_id, job = request.brand_id, request.job
            datasets = datasets or request.dataset_keys
            window = window or request.window
            tags = {REQUEST_ID: request.id} | dict(tags or {})
        created_at = created_at or self.now - timedelta(minutes=2)
        steps = {
            (brand, key): self._step(
                key,
                StepHistory(planned_at=created_at, window=window),
                state,
                fails=fails or {},
                lost=lost,
                incomplete=incomplete or {},
                records=records,
            )
            for brand in brand_ids or [brand_id]
            for key in datasets or JOBS[job].datasets
        }
        return RunHistory(
            run_id=run_id or str(uuid4()),
            job=job,
            state=state,
            tags=tags or {},
            created_at=created_at,
            started_at=None if state is RunState.WAITING else created_at + timedelta(minutes=1),
            ended_at=self.now if state.is_ended else None,
            failure=failure,
            is_final=state.is_ended if is_final is None else is_final,
            ancestors=ancestors,
            is_started_by_us=request is not None,
            steps=steps,
        )

    def _step(
        self,
        key: str,
        step: StepHistory,
        state: RunState,
        *,
        fails: Mapping[str, Failure],
        lost: Collection[str],
        incomplete: Mapping[str, Failure],
        records: int,
    ) -> StepHistory:
        if state is RunState.WAITING or upstream_of(key) & set(fails):
            return step
        step.started_at = step.planned_at + timedelta(minutes=1)
        if key in fails:
            step.failed_at, step.failure = self.now, fails[key]
        elif state.is_ended and state is not RunState.CANCELLED and key not in lost:
            metadata: Row = {"records": records, "distinct_ads": 1}
            if key in incomplete:
                metadata[f"{INCOMPLETE}_error_class"] = incomplete[key].error_class
                metadata[f"{INCOMPLETE}_error_message"] = incomplete[key].message
            step.materialization = Materialization(self.now, metadata)
        return step

    def apply(self, *histories: RunHistory) -> list[str]:
        """Project the runs; returns those to stop."""
        with write_transaction(self.engine) as connection:
            return self.apply_in(connection, *histories)

    def apply_in(self, connection: sa.Connection, *histories: RunHistory) -> list[str]:
        """The same within a transaction."""
        return apply_histories(connection, histories, policies=self.policies, now=self.now)

    def see(self, request: Request) -> Request:
        """The request as it is now."""
        return get_request(self.engine, request.id)

    def all(self, **values: Any) -> list[Request]:
        """The requests with these values, the oldest first."""
        query = sa.select(requests).order_by(requests.c.requested_at, requests.c.attempt)
        for name, value in values.items():
            query = query.where(requests.c[name] == value)
        with self.engine.connect() as connection:
            return as_requests(connection.execute(query))

    def tables(self) -> list[list[Row]]:
        """All that the projection writes."""
        found = []
        with self.engine.connect() as connection:
            for table in (requests, dataset_attempts, dataset_status):
                rows = connection.execute(sa.select(table).order_by(*table.primary_key))
                found.append([dict(row) for row in rows.mappings()])
        return found


@pytest.fixture
def loop(engine: sa.Engine) -> ControlLoop:
    return ControlLoop(engine)


@pytest.fixture
def beat(database_url: str, engine: sa.Engine) -> Callable[[dg.DagsterInstance], Any]:
    """One beat of the real `launch_requests`; it asks the real clock what is due."""
    installation = Installation(Settings(database_url=database_url))
    repository = build_definitions(installation).get_repository_def()
    sensor = repository.get_sensor_def("launch_requests")

    def evaluate(instance: dg.DagsterInstance) -> Any:
        # As Dagster's code server does: `build_sensor_context` cannot see partitions.
        context = dg.SensorEvaluationContext(
            instance_ref=instance.get_ref(),
            last_tick_completion_time=None,
            last_run_key=None,
            cursor=None,
            log_key=None,
            repository_name=repository.name,
            repository_def=repository,
            sensor_name="launch_requests",
            definitions=None,
            resources={"installation": installation},
        )
        with context:
            return sensor.evaluate_tick(context)

    return evaluate
