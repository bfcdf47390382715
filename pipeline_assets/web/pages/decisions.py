"""The buttons of those who decide: whether a template may be used, whether a draft is good."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from pipeline_assets.control.item_decisions import UnknownItemError, decide
from pipeline_assets.datasets import Reader
from pipeline_assets.people.roles import Role
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import Operator, check_role, visible_brand
from pipeline_assets.web.pages.answers import told
from pipeline_assets.web.pages.reader_page import PAGE_SIZE, shown_brand
from pipeline_assets.web.problems import Problem, not_found

router = APIRouter()

READERS = {
    "template_approvals": Reader.TEMPLATE_QUEUE,
    "ad_creations": Reader.CREATIONS_REVIEW,
}
"""The page on which each dataset's items are decided."""

_WORDS = {"pending": "given back to the rules", "draft": "not reviewed any more"}

Name = Annotated[str, Form(max_length=300)]
Items = Annotated[list[Name] | None, Form()]


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
    if len(wanted) > PAGE_SIZE:
        raise Problem(
            422,
            f"{len(wanted)} are ticked, and nothing was decided: {PAGE_SIZE} can be at once.",
            advice="Decide of one page after another.",
        )
    brands = {name: visible_brand(web, principal, name) for name, _, _ in wanted}
    for brand in brands.values():
        check_role(principal, Role.OPERATOR, brand.organization_id)
        shown_brand(READERS[dataset])(brand, web)
    outcomes: Counter[str] = Counter()
    for brand_id, _, item_id in wanted:
        try:
            decided = decide(
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
            outcomes["gone"] += 1
        else:
            outcomes["done" if decided.is_changed else "idle"] += 1
    of_brand = {"brand": wanted[0][0]} if dataset == "ad_creations" else {}
    page = request.app.url_path_for(READERS[dataset], **of_brand)
    return told(request, _sentences(decision, outcomes), page=page)


def _sentences(decision: str, outcomes: Counter[str]) -> str:
    done, idle, gone = (outcomes[each] for each in ("done", "idle", "gone"))
    said = [f"{done} {_WORDS.get(decision, decision)}." if done else "Nothing was decided."]
    if idle:
        said.append(f"{idle} {'stays' if idle == 1 else 'stay'}: nobody had decided.")
    if gone:
        said.append(f"{gone} {'is' if gone == 1 else 'are'} gone from the source.")
    return " ".join(said)
