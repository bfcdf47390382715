"""Shows each brand's freshness inside Dagster: the result of the asset check `fresh`.

Dagster's own freshness is an asset's as a whole. A result is reported, without starting a run, when
what it says changes and when there is newer data: a materialization makes Dagster forget the result
before it. `reported_freshness` remembers what was reported last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import dagster as dg
import sqlalchemy as sa

# No public name; without it Dagster takes every result for one about older data.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from pipeline_assets.brands.models import allowed_age
from pipeline_assets.brands.registry import read_summaries
from pipeline_assets.control.readiness import read_readiness
from pipeline_assets.datasets import DATASETS
from pipeline_assets.freshness import FRESH_CHECK
from pipeline_assets.freshness.evaluate import Limits, State, evaluate_state
from pipeline_assets.freshness.pages import Need, Page
from pipeline_assets.freshness.readiness import DatasetReadiness, explain
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import dataset_status, reported_freshness

MAX_REPORTS = 200
"""At a time. Dagster stores each result in transactions of its own: this many take seconds."""

_AT_A_TIME = 20  # so many are repeated at most after a crash


class _Change(NamedTuple):
    """What there is to report of a cell, as `reported_freshness` keeps it; the run to name."""

    brand_id: str
    dataset: str
    said: str
    run_id: str


@dataclass(frozen=True)
class FreshCheck:
    """What the check says of one dataset of a brand; `metadata` are the figures behind it."""

    brand_id: str
    dataset: str
    is_passed: bool
    severity: dg.AssetCheckSeverity
    description: str
    metadata: Mapping[str, Any]

    def as_result(self) -> dg.AssetCheckResult:
        """For a run that executes the check."""
        return dg.AssetCheckResult(
            passed=self.is_passed,
            severity=self.severity,
            description=self.description,
            metadata=dict(self.metadata),
        )


def check_freshness(
    engine: sa.Engine, brand_id: str, datasets: Sequence[str], *, now: datetime
) -> list[FreshCheck]:
    """What the check says of these datasets of a brand now, one query in all.

    Raises:
        InvalidConfigError: there is no such brand.
    """
    needs = tuple(Need(dataset=key) for key in datasets)
    page = Page(name=FRESH_CHECK, title=FRESH_CHECK, needs=needs)
    readiness = read_readiness(engine, brand_id, page, now=now)
    return [
        _check(
            brand_id, dataset, f"{now:%Y-%m-%d %H:%M} UTC: {explain(dataset, readiness.pause, now)}"
        )
        for dataset in readiness.datasets
    ]


def _check(brand_id: str, dataset: DatasetReadiness, description: str) -> FreshCheck:
    is_passed = dataset.state in {State.FRESH, State.WARN}
    is_mild = dataset.state in {State.FRESH, State.WARN, State.NOT_CONFIGURED}
    metadata: dict[str, Any] = {"state": str(dataset.state)}
    if dataset.last_success_at is not None:
        metadata["last_success"] = dg.MetadataValue.timestamp(dataset.last_success_at)
    if dataset.allowed_seconds is not None:
        metadata["allowed_age_hours"] = dataset.allowed_seconds / 3600
    if dataset.error_class is not None:
        metadata["error_class"] = dataset.error_class
    if dataset.action:
        metadata["what_to_do"] = dataset.action
    return FreshCheck(
        brand_id=brand_id,
        dataset=dataset.dataset,
        is_passed=is_passed,
        severity=dg.AssetCheckSeverity.WARN if is_mild else dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata=metadata | {"see": f"pipeline-assets status --brand {brand_id}"},
    )


def report_changes(
    instance: dg.DagsterInstance, engine: sa.Engine, *, now: datetime, limit: int = MAX_REPORTS
) -> int:
    """Report to Dagster what has changed since it was told last; returns how many results.

    At most `limit`, changes before first results; what was never tried has none. A crash repeats
    some: harmless.
    """
    changes = _changes(engine, now=now)[:limit]
    for start in range(0, len(changes), _AT_A_TIME):
        some = changes[start : start + _AT_A_TIME]
        for change in some:
            (check,) = check_freshness(engine, change.brand_id, [change.dataset], now=now)
            _report(instance, check, run_id=change.run_id)
        _remember(engine, some, now=now)
    return len(changes)


def _report(instance: dg.DagsterInstance, check: FreshCheck, *, run_id: str) -> None:
    """Store a result as one of the run that last tried the dataset: Dagster's pages link to it.

    The public `report_runless_asset_event` would do, but Dagster 1.13 takes one result for each
    partition from it and fails at the second: its unique index counts the missing run as one. The
    result of a run replaces that run's one before.
    """
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
        job_name="",
        event_specific_data=dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(check.dataset),
            check_name=FRESH_CHECK,
            passed=check.is_passed,
            severity=check.severity,
            description=check.description,
            metadata=check.metadata,
            partition=check.brand_id,
            target_materialization_data=_latest_data(instance, check),
        ),
    )
    instance.report_dagster_event(event, run_id=run_id)


def _latest_data(
    instance: dg.DagsterInstance, check: FreshCheck
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """The materialization that the result is about: Dagster shows no result of any other."""
    latest = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(check.dataset), asset_partitions=[check.brand_id]
        ),
        limit=1,
    ).records
    if not latest:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=latest[0].storage_id, run_id=latest[0].run_id, timestamp=latest[0].timestamp
    )


def _changes(engine: sa.Engine, *, now: datetime) -> list[_Change]:
    """What Dagster was told otherwise, then what it was told nothing of."""
    with engine.connect() as connection:
        columns = reported_freshness.c
        rows = connection.execute(sa.select(columns.brand_id, columns.dataset, columns.state))
        reported = {(brand_id, dataset): said for brand_id, dataset, said in rows}
        current = list(_read_said(connection, now=now))
    changed = [each for each in current if reported.get(each[:2], each.said) != each.said]
    return changed + [each for each in current if each[:2] not in reported]


def _read_said(connection: sa.Connection, *, now: datetime) -> Iterator[_Change]:
    """What there is to say of every cell that was ever tried."""
    summaries = read_summaries(connection)
    columns = dataset_status.c
    query = sa.select(
        columns.brand_id,
        columns.dataset,
        columns.last_attempt_run_id,
        columns.last_success_run_id,
        columns.last_success_at,
        columns.error_class,
    ).order_by(columns.brand_id, columns.dataset)
    for row in connection.execute(query):
        if row.brand_id not in summaries or row.dataset not in DATASETS:
            continue
        brand, dataset = summaries[row.brand_id], DATASETS[row.dataset]
        state = evaluate_state(
            row.last_success_at,
            row.error_class is not None,
            limits=Limits.at(now, fail_after=allowed_age(dataset, brand.windows)),
            is_configured=dataset.source in brand.sources,
        )
        said = f"{state.value} {row.error_class or '-'} {row.last_success_run_id or '-'}"
        yield _Change(row.brand_id, row.dataset, said, row.last_attempt_run_id)


def _remember(engine: sa.Engine, changes: Sequence[_Change], *, now: datetime) -> None:
    with write_transaction(engine) as connection:
        insert = dialect_insert(connection, reported_freshness)
        changed = {name: insert.excluded[name] for name in ("state", "reported_at")}
        connection.execute(
            insert.on_conflict_do_update(index_elements=["brand_id", "dataset"], set_=changed),
            [
                {
                    "brand_id": change.brand_id,
                    "dataset": change.dataset,
                    "state": change.said,
                    "reported_at": now,
                }
                for change in changes
            ],
        )
