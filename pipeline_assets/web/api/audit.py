"""The audit log: who changed what, when."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter

from pipeline_assets.people.roles import Role
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.web.api.shapes import Cursor, Limit, Listing, Name, Row, Shape, listing
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import Admin
from pipeline_assets.web.paging import cut, read_cursor

router = APIRouter(tags=["audit"])


class AuditEntryView(Shape):
    """One change."""

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    organization_id: str | None
    request_id: str | None
    detail: dict[str, Any]


@router.get("/audit", response_model=Listing[AuditEntryView])
def list_audit(
    principal: Admin,
    web: Web,
    target: Name | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Row:
    """List changes, the newest first; the target `acme` also finds `acme:meta_sync`."""
    found = read_audit(
        web.engine,
        organization_ids=principal.organizations_with(Role.ADMIN),
        target=target,
        limit=limit + 1,
        before=read_cursor(cursor),
    )
    return listing(*cut(found, limit, lambda entry: entry.position))
