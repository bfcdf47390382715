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
    text,
)
from sqlalchemy.types import TypeEngine

from pipeline_assets.schemas import TABLES, ColumnType, TableSchema
from pipeline_assets.storage.column_types import ExactDecimal, Timestamp

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
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


DATASET_TABLES: dict[str, Table] = {name: _dataset_table(schema) for name, schema in TABLES.items()}
"""Every table of dataset rows, by its schema's name."""

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
    Column("max_runtime_minutes", _json(), nullable=False, server_default="{}"),
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
    Column("window_since", Date),
    Column("window_until", Date),
    Column("planned_at", Timestamp),
    Column("started_at", Timestamp),
    Column("began_at", Timestamp),  # started_at, or planned_at before and without a start
    Column("ended_at", Timestamp),
    Column("outcome", Text),
    Column("records", BigInteger),
    Column("distinct_ads", BigInteger),
    Column("error_class", Text),
    Column("error_message", Text),
    Column("advice", Text),
    Column("retry_after_seconds", Float),
    Column("metadata", _json()),
    Index(None, "brand_id", "dataset", "began_at", "run_id"),
    Index(None, "request_id"),
    Index(None, "ended_at"),
    Index(None, "began_at", "run_id"),
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

# When a job runs for a brand. `checked_at` is when `next_run_at` was worked out.
cadences = Table(
    "cadences",
    METADATA,
    Column("brand_id", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("next_run_at", Timestamp, nullable=False, index=True),
    Column("checked_at", Timestamp, nullable=False),
    Column("last_tick_at", Timestamp),
    Column("last_tick_result", Text),
    Column("last_request_id", Text),
    Column("paused_at", Timestamp),
    Column("paused_reason", Text),
    Column("paused_until", Timestamp),
    Column("updated_at", Timestamp, nullable=False),
    Column("updated_by", Text, nullable=False),
)

_ACTIVE = "state IN ('queued', 'launched', 'running')"

requests = Table(
    "requests",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text),
    Column("brand_id", Text, nullable=False),  # or `*<organization>`: all of its brands
    Column("brand_ids", _json()),  # those of all that are meant; null: all
    Column("job", Text, nullable=False),
    Column("datasets", _json()),  # null: all of the job's
    Column("window_since", Date),
    Column("window_until", Date),
    Column("state", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_at", Timestamp, nullable=False),
    Column("not_before", Timestamp, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("chain_id", Text, nullable=False, index=True),  # the id of the chain's first request
    Column("retry_of", Text),
    Column("resync_id", Text, index=True),
    Column("run_id", Text, index=True),
    Column("started_at", Timestamp),
    Column("finished_at", Timestamp),
    Column("cancel_requested_at", Timestamp),
    Column("outcomes", _json()),  # dataset -> outcome, of those that this request ran
    Column("records", BigInteger),
    Column("error_class", Text),
    Column("error_message", Text),
    Column("advice", Text),
    Column("archived_at", Timestamp),
    Index(None, "requested_at", "id"),
    Index(None, "state", "requested_at"),
    Index(None, "brand_id", "requested_at"),
    Index(
        "ix_requests_active", "state", sqlite_where=text(_ACTIVE), postgresql_where=text(_ACTIVE)
    ),
)

# Wishes for the same brand and job are one wish; pieces of a resync and runs that a person started
# in Dagster stand beside it.
_ONE_WISH = f"{_ACTIVE} AND resync_id IS NULL AND \"trigger\" <> 'dagster'"
Index(
    "uq_requests_one_active",
    requests.c.brand_id,
    requests.c.job,
    unique=True,
    sqlite_where=text(_ONE_WISH),
    postgresql_where=text(_ONE_WISH),
)
_ONE_PIECE = f"{_ACTIVE} AND resync_id IS NOT NULL"
Index(
    "uq_requests_one_piece",
    requests.c.resync_id,
    unique=True,
    sqlite_where=text(_ONE_PIECE),
    postgresql_where=text(_ONE_PIECE),
)

# A long window synced again in pieces, the newest first: `remaining_until` is the last day to do.
resyncs = Table(
    "resyncs",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text),
    Column("brand_id", Text, nullable=False, index=True),
    Column("job", Text, nullable=False),
    Column("since", Date, nullable=False),
    Column("until", Date, nullable=False),
    Column("remaining_until", Date, nullable=False),
    Column("piece_days", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_at", Timestamp, nullable=False),
    Column("finished_at", Timestamp),
    Column("error_class", Text),
    Column("error_message", Text),
    Column("advice", Text),
)
Index(
    "uq_resyncs_one_running",
    resyncs.c.brand_id,
    resyncs.c.job,
    unique=True,
    sqlite_where=text("state = 'running'"),
    postgresql_where=text("state = 'running'"),
)

audit_log = Table(
    "audit_log",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("at", Timestamp, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False, index=True),
    Column("organization_id", Text, index=True),
    Column("request_id", Text),
    Column("detail", _json(), nullable=False),
)

# People and programs. Of passwords, sessions and tokens only hashes are stored.
users = Table(
    "users",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False, unique=True),  # in lower case
    Column("name", Text, nullable=False),
    Column("password_hash", Text),
    Column("roles", _json(), nullable=False),  # organization id or "*" -> role
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("disabled_at", Timestamp),
    Column("last_sign_in_at", Timestamp),
)

sessions = Table(
    "sessions",
    METADATA,
    Column("id", Text, primary_key=True),  # the SHA-256 of what the browser holds
    Column("user_id", Text, ForeignKey(users.c.id), nullable=False, index=True),
    Column("csrf_token", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("last_seen_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Column("address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("organization_id", Text, nullable=False),  # "*": all
    Column("role", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("last_used_at", Timestamp),
    Column("revoked_at", Timestamp),
)

sign_in_throttles = Table(
    "sign_in_throttles",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("failures", BigInteger, nullable=False),
    Column("first_failed_at", Timestamp, nullable=False),
    Column("blocked_until", Timestamp),
)

feature_switches = Table(
    "feature_switches",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("feature", Text, primary_key=True),
    Column("is_shown", Boolean, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("updated_by", Text, nullable=False),
)

# What Dagster was last told of each cell's freshness.
reported_freshness = Table(
    "reported_freshness",
    METADATA,
    Column("brand_id", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reported_at", Timestamp, nullable=False),
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

# What a person decided of an item of a dataset (a template, a draft). A sync writes the dataset
# anew, and applies it again.
item_decisions = Table(
    "item_decisions",
    METADATA,
    Column("brand_id", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("item_id", Text, primary_key=True),
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", Timestamp, nullable=False),
)

# Where a fetch that outlives its attempt stands: the actor's run that is paid for, a listing's end.
fetch_positions = Table(
    "fetch_positions",
    METADATA,
    Column("brand_id", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("position", _json(), nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

# What calls of a language model cost, by day in UTC: the cap is asked before each call.
model_spend = Table(
    "model_spend",
    METADATA,
    Column("brand_id", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_usd", ExactDecimal, nullable=False),
)
