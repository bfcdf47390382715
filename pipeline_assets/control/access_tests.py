"""What Meta last said of a brand's token and accounts when somebody asked; kept in the audit log.

Nobody's look at a page asks Meta: asking is a person's action, and its entry in the audit log holds
what was found. As old as the audit log reaches.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.control.brand_access import examine_brands
from pipeline_assets.errors import PipelineError
from pipeline_assets.sources.meta import Finding, GraphClient, inspect_token
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import audit_log

_ACTION = "brand.test_access"

TIMEOUT_SECONDS = 12.0
"""A person waits for it, and a browser's request ends after 20 s."""


@dataclass(frozen=True)
class AccessTest:
    """What was found, when and for whom. `expires_at` None: never, or it could not be learned."""

    at: datetime
    actor: str
    findings: Sequence[Finding]
    expires_at: datetime | None

    @property
    def is_ok(self) -> bool:
        """Whether nothing stands in the way of a sync."""
        return all(finding.ok for finding in self.findings)


def try_access(
    engine: sa.Engine,
    brand: Brand,
    client_of: Callable[[Brand], GraphClient],
    *,
    actor: str,
    now: datetime,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> AccessTest:
    """Ask Meta now and keep the answer; that it does not answer in time is a finding too."""
    access = examine_brands([brand], client_of, timeout_seconds=timeout_seconds)[brand.id]
    expires_at = None
    if isinstance(access, PipelineError):
        access = [Finding("token", ok=False, message=str(access), advice=access.advice)]
    elif isinstance(access, Exception):
        raise access
    elif any(finding.subject == "expiry" for finding in access):
        expires_at = inspect_token(client_of(brand)).expires_at
    detail = {"findings": [asdict(finding) for finding in access], "expires_at": expires_at}
    with write_transaction(engine) as connection:
        audit.record(
            connection,
            at=now,
            actor=actor,
            action=_ACTION,
            target=brand.id,
            organization_id=brand.organization_id,
            detail=detail,
        )
    return AccessTest(now, actor, access, expires_at)


def read_last_access(engine: sa.Engine, brand: Brand) -> AccessTest | None:
    """The last test that is kept; None: nobody has asked."""
    columns = audit_log.c
    query = (
        sa.select(columns.at, columns.actor, columns.detail)
        .where(columns.action == _ACTION, columns.target == brand.id)
        .where(columns.organization_id == brand.organization_id)
        .order_by(columns.at.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    expires_at = row.detail["expires_at"]
    return AccessTest(
        row.at,
        row.actor,
        [Finding(**finding) for finding in row.detail["findings"]],
        datetime.fromisoformat(expires_at) if expires_at else None,
    )
