"""Every table: the datasets' (built from `schemas.py`) and the control plane's.

What a released database looks like is written in `migrations/`; a test holds both together.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

from pipeline_assets.schemas import SCHEMAS, ColumnType, TableSchema
from pipeline_assets.storage.column_types import ExactDecimal, Timestamp

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
"""All tables. Tests compare it with a migrated database; nothing creates tables from it."""


def _json() -> JSON:
    return JSON(none_as_null=True)


_COLUMN_TYPES: dict[ColumnType, TypeEngine[Any]] = {
    ColumnType.TEXT: Text(),
    ColumnType.INTEGER: BigInteger(),
    ColumnType.DECIMAL: ExactDecimal(),
    ColumnType.FLOAT: Float(),
    ColumnType.BOOLEAN: Boolean(),
    ColumnType.DATE: Date(),
    ColumnType.TIMESTAMP: Timestamp(),
    ColumnType.JSON: _json(),
}


def _dataset_table(schema: TableSchema) -> Table:
    table = Table(
        schema.name,
        METADATA,
        *(
            Column(
                column.name,
                _COLUMN_TYPES[column.type],
                nullable=column.nullable,
            )
            for column in schema.columns
        ),
        PrimaryKeyConstraint(*schema.key),
    )
    if schema.window_column:  # reads of a period span all of a brand's scopes
        Index(None, table.c.brand_id, table.c[schema.window_column])
    return table


DATASET_TABLES: dict[str, Table] = {
    name: _dataset_table(schema) for name, schema in SCHEMAS.items()
}
"""The table of every dataset that is built, by dataset key."""

organizations = Table(
    "organizations",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
)

brands = Table(
    "brands",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey(organizations.c.id), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("currency", Text),
    Column("sources", _json(), nullable=False),
    Column("windows", _json(), nullable=False),
    Column("paused_at", Timestamp),
    Column("paused_reason", Text),
    Column("paused_until", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

# A removed brand's history stays: attempts and status do not refer to `brands`.
dataset_attempts = Table(
    "dataset_attempts",
    METADATA,
    Column("brand_id", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("run_id", Text, primary_key=True, index=True),
    Column("job", Text),
    Column("request_id", Text),
    Column("organization_id", Text),
    Column("planned_at", Timestamp),
    Column("started_at", Timestamp),
    Column("ended_at", Timestamp),
    Column("outcome", Text),
    Column("records", BigInteger),
    Column("distinct_ads", BigInteger),
    Column("error_class", Text),
    Column("error_message", Text),
    Column("advice", Text),
    Column("retry_after_seconds", Float),
    Column("metadata", _json()),
    Index(None, "brand_id", "dataset", "started_at"),
)

dataset_status = Table(
    "dataset_status",
    METADATA,
    Column("brand_id", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("organization_id", Text, index=True),
    Column("last_attempt_run_id", Text),
    Column("last_attempt_started_at", Timestamp),
    Column("last_attempt_ended_at", Timestamp),
    Column("last_attempt_outcome", Text),
    Column("last_success_run_id", Text),
    Column("last_success_at", Timestamp),
    Column("records_affected", BigInteger),
    Column("distinct_ads", BigInteger),
    Column("error_class", Text),
    Column("error_message", Text),
    Column("advice", Text),
    Column("retry_after_seconds", Float),
    Column("metadata", _json()),
)

projection_cursors = Table(
    "projection_cursors",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("position_at", Timestamp),
    Column("revision", BigInteger, nullable=False),
)

run_heartbeats = Table(
    "run_heartbeats",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("brand_id", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("process_started_at", Timestamp, nullable=False),
    Column("done", BigInteger),
    Column("total", BigInteger),
    Column("stage", Text),
    Column("beat_at", Timestamp, nullable=False),
)

rate_budgets = Table(
    "rate_budgets",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("usage_pct", Float, nullable=False),
    Column("detail", _json(), nullable=False),
    Column("blocked_until", Timestamp),
    Column("reason", Text, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

# Which attempt last wrote which window of a dataset; the row is also the writers' lock.
window_writes = Table(
    "window_writes",
    METADATA,
    Column("brand_id", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("windows", _json(), nullable=False),
)
