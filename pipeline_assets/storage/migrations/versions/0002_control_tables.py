"""Requests, cadences, resyncs, the audit log, and what they need of brands and attempts.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the control plane's tables; what is stored stays as it is."""
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_at"), "audit_log", ["at"])
    op.create_index(op.f("ix_audit_log_organization_id"), "audit_log", ["organization_id"])
    op.create_table(
        "cadences",
        sa.Column("brand_id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_tick_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_tick_result", sa.Text(), nullable=True),
        sa.Column("last_request_id", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("brand_id", "job", name=op.f("pk_cadences")),
    )
    op.create_index(op.f("ix_cadences_next_run_at"), "cadences", ["next_run_at"])
    op.create_table(
        "requests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("brand_id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("datasets", sa.JSON(), nullable=True),
        sa.Column("window_since", sa.Date(), nullable=True),
        sa.Column("window_until", sa.Date(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("chain_id", sa.Text(), nullable=False),
        sa.Column("retry_of", sa.Text(), nullable=True),
        sa.Column("resync_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcomes", sa.JSON(), nullable=True),
        sa.Column("records", sa.BigInteger(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("advice", sa.Text(), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index(
        "ix_requests_active",
        "requests",
        ["state"],
        sqlite_where=sa.text("state IN ('queued', 'launched', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'launched', 'running')"),
    )
    op.create_index(
        op.f("ix_requests_brand_id_requested_at"), "requests", ["brand_id", "requested_at"]
    )
    op.create_index(op.f("ix_requests_chain_id"), "requests", ["chain_id"])
    op.create_index(op.f("ix_requests_requested_at_id"), "requests", ["requested_at", "id"])
    op.create_index(op.f("ix_requests_resync_id"), "requests", ["resync_id"])
    op.create_index(op.f("ix_requests_run_id"), "requests", ["run_id"])
    op.create_index(
        "uq_requests_one_active",
        "requests",
        ["brand_id", "job"],
        unique=True,
        sqlite_where=sa.text(
            "state IN ('queued', 'launched', 'running') AND resync_id IS NULL AND \"trigger\" <> 'dagster'"
        ),
        postgresql_where=sa.text(
            "state IN ('queued', 'launched', 'running') AND resync_id IS NULL AND \"trigger\" <> 'dagster'"
        ),
    )
    op.create_index(
        "uq_requests_one_piece",
        "requests",
        ["resync_id"],
        unique=True,
        sqlite_where=sa.text(
            "state IN ('queued', 'launched', 'running') AND resync_id IS NOT NULL"
        ),
        postgresql_where=sa.text(
            "state IN ('queued', 'launched', 'running') AND resync_id IS NOT NULL"
        ),
    )
    op.create_table(
        "resyncs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("brand_id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("remaining_until", sa.Date(), nullable=False),
        sa.Column("piece_days", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("advice", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resyncs")),
    )
    op.create_index(op.f("ix_resyncs_brand_id"), "resyncs", ["brand_id"])
    op.create_index(
        "uq_resyncs_one_running",
        "resyncs",
        ["brand_id", "job"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.add_column(
        "brands", sa.Column("max_runtime_minutes", sa.JSON(), server_default="{}", nullable=False)
    )
    op.add_column("dataset_attempts", sa.Column("window_since", sa.Date(), nullable=True))
    op.add_column("dataset_attempts", sa.Column("window_until", sa.Date(), nullable=True))
    op.add_column(
        "dataset_attempts", sa.Column("began_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.execute("UPDATE dataset_attempts SET began_at = coalesce(started_at, planned_at)")
    op.drop_index(op.f("ix_dataset_attempts_brand_id_dataset_started_at"), "dataset_attempts")
    op.create_index(
        op.f("ix_dataset_attempts_brand_id_dataset_began_at_run_id"),
        "dataset_attempts",
        ["brand_id", "dataset", "began_at", "run_id"],
    )
    op.create_index(op.f("ix_dataset_attempts_request_id"), "dataset_attempts", ["request_id"])
    op.create_index(op.f("ix_dataset_attempts_ended_at"), "dataset_attempts", ["ended_at"])
