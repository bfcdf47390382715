"""Refuses a window write by an attempt that is older than the one that wrote that window last.

Two attempts for the same brand and dataset can overlap (a worker thought dead that was only slow).
Each writes whole windows, so the one that started later saw the source later: its rows stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from pipeline_assets.errors import SupersededError
from pipeline_assets.storage.engine import dialect_insert
from pipeline_assets.storage.tables import window_writes

_REMEMBERED = timedelta(days=7)  # far longer than any run may last


@dataclass(frozen=True, kw_only=True)
class Scope:
    """A part of a brand's rows of one dataset: those with these values, in this window.

    `values` maps columns of the schema's `scope`; `since` and `until` are both inclusive, None is
    without end. `Scope()` is all of a brand's rows.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    since: date | None = None
    until: date | None = None

    def contains(self, values: Mapping[str, str], day: date | None) -> bool:
        """Whether a row with these scope values and this day belongs here."""
        return (
            all(values[name] == value for name, value in self.values.items())
            and (self.since is None or (day is not None and day >= self.since))
            and (self.until is None or (day is not None and day <= self.until))
        )

    def overlaps(self, other: "Scope") -> bool:
        """Whether a row can belong to both."""
        return (
            all(other.values.get(name, value) == value for name, value in self.values.items())
            and (self.since or date.min) <= (other.until or date.max)
            and (other.since or date.min) <= (self.until or date.max)
        )

    def covers(self, other: "Scope") -> bool:
        """Whether every row that belongs to the other belongs here."""
        return (
            self.values.items() <= other.values.items()
            and (self.since or date.min) <= (other.since or date.min)
            and (self.until or date.max) >= (other.until or date.max)
        )

    def describe(self) -> str:
        """For messages: `ad_account_id act_1, 2026-07-01 to 2026-07-25`."""
        parts = [f"{name} {value}" for name, value in self.values.items()]
        if self.since or self.until:
            parts.append(f"{self.since or 'the beginning'} to {self.until or 'the end'}")
        return ", ".join(parts) or "all rows"


@dataclass(frozen=True)
class _Write:
    """One scope and the start of the attempt that wrote it last."""

    scope: Scope
    attempt_started_at: datetime
    run_id: str | None


def claim_windows(
    connection: Connection,
    *,
    brand_id: str,
    dataset: str,
    scopes: Sequence[Scope],
    attempt_started_at: datetime,
    run_id: str | None,
) -> None:
    """Note that this attempt writes these scopes; other writers wait until the transaction ends.

    Raises: SupersededError when a later attempt has written an overlapping scope.
    """
    lock_windows(connection, brand_id=brand_id, dataset=dataset)
    row = (window_writes.c.brand_id == brand_id) & (window_writes.c.dataset == dataset)
    stored = connection.execute(select(window_writes.c.windows).where(row)).scalar_one()
    earlier = [_decode(entry) for entry in stored]
    for write in earlier:
        if write.attempt_started_at > attempt_started_at and any(
            write.scope.overlaps(scope) for scope in scopes
        ):
            raise SupersededError(
                f"{dataset} of {brand_id}: the attempt started at {attempt_started_at.isoformat()}"
                f" may not write, because run {write.run_id or 'unknown'}, started later at"
                f" {write.attempt_started_at.isoformat()}, has written {write.scope.describe()}.",
                advice="Nothing to do: the newer rows stay.",
            )
    windows = [
        *(write for write in earlier if _still_matters(write, scopes, attempt_started_at)),
        *(_Write(scope, attempt_started_at, run_id) for scope in scopes),
    ]
    connection.execute(
        update(window_writes).where(row).values(windows=[_encode(write) for write in windows])
    )


def lock_windows(connection: Connection, *, brand_id: str, dataset: str) -> None:
    """Let nobody else write the brand's rows of the dataset until the transaction ends."""
    anchor = dialect_insert(connection, window_writes).values(
        brand_id=brand_id, dataset=dataset, windows=[]
    )
    connection.execute(  # an update, even of nothing, locks the row on PostgreSQL
        anchor.on_conflict_do_update(
            index_elements=["brand_id", "dataset"], set_={"dataset": anchor.excluded.dataset}
        )
    )


def _still_matters(write: _Write, scopes: Sequence[Scope], now_written_at: datetime) -> bool:
    return write.attempt_started_at > now_written_at - _REMEMBERED and not any(
        scope.covers(write.scope) for scope in scopes
    )


def _encode(write: _Write) -> dict[str, object]:
    return {
        "values": dict(write.scope.values),
        "since": write.scope.since,
        "until": write.scope.until,
        "attempt_started_at": write.attempt_started_at,
        "run_id": write.run_id,
    }


def _decode(entry: Mapping[str, Any]) -> _Write:
    return _Write(
        scope=Scope(
            values=entry["values"],
            since=date.fromisoformat(entry["since"]) if entry["since"] else None,
            until=date.fromisoformat(entry["until"]) if entry["until"] else None,
        ),
        attempt_started_at=datetime.fromisoformat(entry["attempt_started_at"]),
        run_id=entry["run_id"],
    )
