"""The buttons of those who decide: whether a template may be used, whether a draft is good."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from pipeline_assets.control.item_decisions import UnknownItemError, decide
from pipeline_assets.datasets import Reader
from pipeline_assets.people.roles import Role
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import Operator, check_role, visible_brand
from pipeline_assets.web.pages.answers import told
from pipeline_assets.web.pages.reader_page import shown_brand
from pipeline_assets.web.problems import Problem, not_found

router = APIRouter()

READERS = {
    "template_approvals": Reader.TEMPLATE_QUEUE,
    "ad_creations": Reader.CREATIONS_REVIEW,
}
"""The page on which each dataset's items are decided."""

_WORDS = {"pending": "given back to the rules", "draft": "not reviewed any more"}

Name = Annotated[str, Form(max_length=300)]
Items = Annotated[list[Name] | None, Form(max_length=1000)]


@router.post("/decisions/{dataset}", name="decide")
def decide_items(
    request: Request,
    principal: Operator,
    web: Web,
    dataset: str,
    reason: Annotated[str, Form(max_length=500)] = "",
    one: Name = "",
    decision: Annotated[str, Form(max_length=50)] = "",
    item: Items = None,
) -> Response:
    """Store one reason for one item, or for all that are ticked.

    `one` is `<decision> <brand>/<item>` of the button that was pressed; without it, `decision` is
    of each `item`, `<brand>/<item>`. What is gone meanwhile holds up no other.
    """
    if dataset not in READERS:
        raise not_found("such page")
    if one:
        decision, _, only = one.partition(" ")
        item = [only]
    wanted = [each.partition("/") for each in dict.fromkeys(item or ())]
    if not wanted:
        raise Problem(422, "Nothing is ticked.", advice="Tick what the decision is about.")
    brands = {name: visible_brand(web, principal, name) for name, _, _ in wanted}
    for brand in brands.values():
        check_role(principal, Role.OPERATOR, brand.organization_id)
        shown_brand(READERS[dataset])(brand, web)
    gone = 0
    for brand_id, _, item_id in wanted:
        try:
            decide(
                web.engine,
                brand_id=brand_id,
                dataset=dataset,
                item_id=item_id,
                decision=decision,
                reason=reason,
                actor=principal.actor,
                now=web.now(),
            )
        except UnknownItemError:
            gone += 1
    done = len(wanted) - gone
    text = f"{done} {_WORDS.get(decision, decision)}." if done else "Nothing was decided."
    are = "is" if gone == 1 else "are"
    return told(request, f"{text} {gone} {are} gone from the source." if gone else text)
