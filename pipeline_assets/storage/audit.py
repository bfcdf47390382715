"""The audit log: who changed what, when. Entries are added, never changed; retention ends them."""

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, insert, or_, select, tuple_

from pipeline_assets.redaction import redact
from pipeline_assets.storage.tables import audit_log


@dataclass(frozen=True)
class AuditEntry:
    """One change: `actor` (`cli:alice`) did `action` (`brand.pause`) to `target` (`acme`)."""

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    organization_id: str | None
    request_id: str | None
    detail: Mapping[str, Any]

    @property
    def position(self) -> tuple[datetime, str]:
        """Where the entry stands in the log: what `read_audit` reads on from."""
        return self.at, self.id

    def as_row(self) -> dict[str, Any]:
        """The entry as plain values, keys as the columns are called."""
        return asdict(self)


def record(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    action: str,
    target: str,
    organization_id: str | None = None,
    request_id: str | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Add an entry in the caller's transaction: the change and its entry stand or fall together.

    `detail` takes what JSON can hold, dates and instants; secrets in it are masked.
    """
    connection.execute(
        insert(audit_log).values(
            id=_next_id(),
            at=at,
            actor=actor,
            action=action,
            target=target,
            organization_id=organization_id,
            request_id=request_id,
            detail=_redacted(detail or {}),
        )
    )


def read_audit(
    engine: Engine,
    *,
    organization_ids: Collection[str] | None = None,
    target: str | None = None,
    limit: int,
    before: tuple[datetime, str] | None = None,
) -> list[AuditEntry]:
    """The newest entries, newest first, at most `limit`.

    `target` finds that target and what belongs to it: `acme` also `acme:meta_sync`. `before` is the
    position of the last entry of the page before.
    """
    columns = audit_log.c
    statement = select(audit_log).order_by(columns.at.desc(), columns.id.desc()).limit(limit)
    if organization_ids is not None:
        statement = statement.where(columns.organization_id.in_(organization_ids))
    if target is not None:
        below = columns.target.startswith(f"{target}:", autoescape=True)
        statement = statement.where(or_(columns.target == target, below))
    if before is not None:
        statement = statement.where(tuple_(columns.at, columns.id) < before)
    with engine.connect() as connection:
        return [AuditEntry(**row) for row in connection.execute(statement).mappings()]


def _next_id() -> str:
    """An id that sorts as entries are written: many are of the same instant."""
    return f"{time.time_ns():016x}{uuid4().hex[:16]}"


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {str(key): _redacted(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(part) for part in value]
    return value
