"""The status of every brand and dataset, as people and programs ask for it."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import list_brands
from pipeline_assets.datasets import DATASETS
from pipeline_assets.freshness.evaluate import State, evaluate_freshness
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.storage.tables import dataset_status, run_heartbeats

Row = dict[str, Any]


@dataclass(frozen=True)
class DatasetState:
    """One cell of the matrix: the stored status, judged at one instant."""

    brand_id: str
    organization_id: str
    dataset: str
    state: State
    age_seconds: float | None
    used_ratio: float | None
    stale_since: datetime | None
    is_running: bool
    is_paused: bool
    progress: Row | None
    last_success_at: datetime | None
    last_success_run_id: str | None
    last_attempt_started_at: datetime | None
    last_attempt_ended_at: datetime | None
    last_attempt_outcome: str | None
    last_attempt_run_id: str | None
    records_affected: int | None
    distinct_ads: int | None
    error_class: str | None
    error_message: str | None
    advice: str | None
    retry_after_seconds: float | None

    def as_row(self) -> Row:
        """The cell as plain values, keys as the columns are called."""
        return asdict(self)


def read_states(
    engine: sa.Engine, *, now: datetime, brand_ids: set[str] | None = None
) -> list[DatasetState]:
    """Every brand's datasets, brand by brand, in the catalogue's order; three queries in all."""
    chosen = [b for b in list_brands(engine) if brand_ids is None or b.id in brand_ids]
    with engine.connect() as connection:
        statuses = _by_brand_and_dataset(connection, dataset_status, brand_ids)
        heartbeats = _by_brand_and_dataset(connection, run_heartbeats, brand_ids)
    return [
        _judge(
            brand, key, statuses.get((brand.id, key), {}), heartbeats.get((brand.id, key)), now=now
        )
        for brand in chosen
        for key in DATASETS
        if key in SCHEMAS
    ]


def _by_brand_and_dataset(
    connection: sa.Connection, table: sa.Table, brand_ids: set[str] | None
) -> dict[tuple[str, str], Row]:
    query = sa.select(table)
    if brand_ids is not None:
        query = query.where(table.c.brand_id.in_(brand_ids))
    rows = connection.execute(query).mappings()
    return {(row["brand_id"], row["dataset"]): dict(row) for row in rows}


def _judge(
    brand: Brand, key: str, status: Row, heartbeat: Row | None, *, now: datetime
) -> DatasetState:
    dataset = DATASETS[key]
    is_failed = status.get("error_class") is not None
    freshness = evaluate_freshness(
        last_success_at=status.get("last_success_at"),
        is_last_attempt_failed=is_failed,
        fail_after=brand.fail_after(dataset),
        is_configured=brand.sources.has(dataset.source),
        now=now,
    )
    return DatasetState(
        brand_id=brand.id,
        organization_id=brand.organization_id,
        dataset=key,
        state=freshness.state,
        age_seconds=freshness.age.total_seconds() if freshness.age is not None else None,
        used_ratio=freshness.used_ratio,
        stale_since=freshness.stale_since,
        is_running=bool(status) and status["last_attempt_outcome"] is None,
        is_paused=brand.is_paused(now),
        progress=_progress(heartbeat),
        **{name: status.get(name) for name in _STATUS_COLUMNS},
    )


_STATUS_COLUMNS = (
    "last_success_at",
    "last_success_run_id",
    "last_attempt_started_at",
    "last_attempt_ended_at",
    "last_attempt_outcome",
    "last_attempt_run_id",
    "records_affected",
    "distinct_ads",
    "error_class",
    "error_message",
    "advice",
    "retry_after_seconds",
)


def _progress(heartbeat: Row | None) -> Row | None:
    if heartbeat is None:
        return None
    return {name: heartbeat[name] for name in ("done", "total", "stage", "beat_at")}
