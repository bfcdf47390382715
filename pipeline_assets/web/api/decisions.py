"""Decisions: what people, and programs in their name, decide of templates and drafts."""

from datetime import datetime
from typing import Annotated, Literal

import fastapi
from fastapi import APIRouter
from pydantic import Field

from pipeline_assets.brands.models import Brand
from pipeline_assets.control.item_decisions import RedraftedError, UnknownItemError, decide
from pipeline_assets.people.roles import Principal
from pipeline_assets.web.api.shapes import Asked, Instant, Row, Shape
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import OperatedBrand, Operator
from pipeline_assets.web.problems import Problem, not_found

router = APIRouter(tags=["decisions"])

ItemId = Annotated[str, fastapi.Path(max_length=200)]
Reason = Annotated[str, Field(min_length=1, max_length=500, examples=["It fits our spring offer"])]


class TemplateDecision(Asked):
    """Whether a template may be used for drafts."""

    decision: Literal["approved", "rejected", "pending"]
    """`pending` gives it back to the rules; nothing happens to one that nobody has decided."""
    reason: Reason


class CreationDecision(Asked):
    """Whether a draft is good; nothing is published by it."""

    decision: Literal["approved", "rejected", "draft"]
    """`draft` takes the review back; nothing happens to one that nobody has reviewed."""
    reason: Reason
    drafted_at: Instant | None = None
    """The `drafted_at` of what was looked at. A sync may have drafted it anew since: then the
    answer is 409, and nothing is decided. Without it the decision is about what is stored now."""


class TemplateView(Shape):
    """How a template stands after a decision."""

    brand_id: str
    template_id: str
    state: str
    """`approved`, `rejected` or `pending`."""
    rule_state: str
    """What the rules alone say."""
    is_overruled: bool
    decided_by: str
    """`rules`, or who decided."""
    decided_at: datetime
    reasons: list[str]


class CreationView(Shape):
    """How a draft stands after a decision."""

    brand_id: str
    draft_id: str
    review_state: str
    """`approved`, `rejected` or `draft`."""
    reviewed_by: str | None
    review_reason: str | None
    reviewed_at: datetime | None
    drafted_at: datetime
    """Changes with its words and pictures."""


@router.post("/brands/{brand}/templates/{template_id}/decision", response_model=TemplateView)
def decide_template(
    principal: Operator,
    web: Web,
    brand: OperatedBrand,
    template_id: ItemId,
    asked: TemplateDecision,
) -> Row:
    """Overrule the rules about a template, or give it back to them."""
    return _decide(web, principal, brand, "template_approvals", template_id, asked)


@router.post("/brands/{brand}/creations/{draft_id}/decision", response_model=CreationView)
def decide_creation(
    principal: Operator, web: Web, brand: OperatedBrand, draft_id: ItemId, asked: CreationDecision
) -> Row:
    """Review a draft, or take its review back.

    With `drafted_at` only what was looked at is decided: 409 when it has changed since.
    """
    return _decide(web, principal, brand, "ad_creations", draft_id, asked, asked.drafted_at)


def _decide(
    web: Context,
    principal: Principal,
    brand: Brand,
    dataset: str,
    item_id: str,
    asked: TemplateDecision | CreationDecision,
    drafted_at: datetime | None = None,
) -> Row:
    try:
        decided = decide(
            web.engine,
            brand_id=brand.id,
            dataset=dataset,
            item_id=item_id,
            decision=asked.decision,
            reason=asked.reason,
            actor=principal.actor,
            now=web.now(),
            drafted_at=drafted_at,
        )
    except RedraftedError as error:
        raise Problem(409, str(error), advice=error.advice) from None
    except UnknownItemError:
        raise not_found(
            "such template" if dataset == "template_approvals" else "such draft"
        ) from None
    return decided.row
