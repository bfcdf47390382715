"""What is left of every source's rate limits, shared by all processes.

A key names who shares a limit (an app, an ad account, …) and is the source's business.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine, case, or_, select

from pipeline_assets.clock import utcnow
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import rate_budgets


class RateBudgetTable:
    """The stored budgets: asked before a call, told after one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read_blocked_until(self, keys: Sequence[str]) -> dict[str, datetime]:
        """Until when each key was last blocked, aware UTC, past ones too; others are left out."""
        statement = select(rate_budgets.c.key, rate_budgets.c.blocked_until).where(
            rate_budgets.c.key.in_(keys), rate_budgets.c.blocked_until.is_not(None)
        )
        with self._engine.connect() as connection:
            return {row.key: row.blocked_until for row in connection.execute(statement)}

    def record(
        self,
        key: str,
        *,
        usage_pct: float,
        detail: Mapping[str, object],
        blocked_until: datetime | None,
        reason: str,
    ) -> None:
        """Store the newest usage, and the block if it ends later than the stored one.

        So neither a call that knows of no block nor an earlier answer shortens a block; `reason`
        stays with the block that it belongs to.
        """
        with write_transaction(self._engine) as connection:
            insert = dialect_insert(connection, rate_budgets).values(
                key=key,
                usage_pct=usage_pct,
                detail=dict(detail),
                blocked_until=blocked_until,
                reason=reason,
                updated_at=utcnow(),
            )
            stored, new = rate_budgets.c, insert.excluded
            stands = stored.blocked_until.is_not(None) & or_(
                new.blocked_until.is_(None), new.blocked_until < stored.blocked_until
            )
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["key"],
                    set_={
                        "usage_pct": new.usage_pct,
                        "detail": new.detail,
                        "blocked_until": case(
                            (stands, stored.blocked_until), else_=new.blocked_until
                        ),
                        "reason": case((stands, stored.reason), else_=new.reason),
                        "updated_at": new.updated_at,
                    },
                )
            )
