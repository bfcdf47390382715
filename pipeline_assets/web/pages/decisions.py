"""The buttons of those who decide: whether a template may be used, whether a draft is good."""

from collections import Counter
from datetime import datetime
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Form, Request, Response

from pipeline_assets.control.item_decisions import RedraftedError, UnknownItemError, decide
from pipeline_assets.datasets import Reader
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.web.context import Context, Web
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


class _Wanted(NamedTuple):
    """An item that is decided of; of a draft also when what was shown of it was drafted."""

    brand_id: str
    item_id: str
    drafted_at: datetime | None


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
    of each `item`, `<brand>/<item>`. A draft's is `<brand>@<drafted_at>/<item>`: it is decided only
    if it is still what was shown. What is gone or changed meanwhile holds up no other.

    Raises:
        Problem: 409, a draft has changed, and the browser has no scripts to tell so on its page.
    """
    if dataset not in READERS:
        raise not_found("such page")
    if one:
        decision, _, only = one.partition(" ")
        item = [only]
    wanted = [_read(each) for each in dict.fromkeys(item or ())]
    if not wanted:
        raise Problem(422, "Nothing is ticked.", advice="Tick what the decision is about.")
    if len(wanted) > PAGE_SIZE:
        raise Problem(
            422,
            f"{len(wanted)} are ticked, and nothing was decided: {PAGE_SIZE} can be at once.",
            advice="Decide of one page after another.",
        )
    brands = {each.brand_id: visible_brand(web, principal, each.brand_id) for each in wanted}
    for brand in brands.values():
        check_role(principal, Role.OPERATOR, brand.organization_id)
        shown_brand(READERS[dataset])(brand, web)
    outcomes = Counter(_decide(web, principal, dataset, each, decision, reason) for each in wanted)
    said = _sentences(decision, outcomes)
    if outcomes["changed"] and "hx-request" not in request.headers:
        raise Problem(409, said, advice="Go back and reload the page.")
    of_brand = {"brand": wanted[0].brand_id} if dataset == "ad_creations" else {}
    page = request.app.url_path_for(READERS[dataset], **of_brand)
    return told(request, said, page=page)


def _read(item: str) -> _Wanted:
    place, _, item_id = item.partition("/")
    brand_id, _, drafted_at = place.partition("@")
    try:
        return _Wanted(
            brand_id, item_id, datetime.fromisoformat(drafted_at) if drafted_at else None
        )
    except ValueError:
        raise Problem(422, f"{drafted_at!r} is no time.", advice="Reload the page.") from None


def _decide(
    web: Context, principal: Principal, dataset: str, wanted: _Wanted, decision: str, reason: str
) -> str:
    """What became of it: `done`, `idle`, `gone` or `changed`."""
    try:
        decided = decide(
            web.engine,
            **wanted._asdict(),
            dataset=dataset,
            decision=decision,
            reason=reason,
            actor=principal.actor,
            now=web.now(),
        )
    except UnknownItemError:
        return "gone"
    except RedraftedError:
        return "changed"
    return "done" if decided.is_changed else "idle"


def _sentences(decision: str, outcomes: Counter[str]) -> str:
    done, idle, gone, changed = (outcomes[each] for each in ("done", "idle", "gone", "changed"))
    said = [f"{done} {_WORDS.get(decision, decision)}." if done else "Nothing was decided."]
    if idle:
        said.append(f"{idle} {'stays' if idle == 1 else 'stay'}: nobody had decided.")
    if gone:
        said.append(f"{gone} {'is' if gone == 1 else 'are'} gone from the source.")
    if changed:
        have, it = ("has", "it") if changed == 1 else ("have", "them")
        said.append(f"{changed} {have} changed since you saw {it}: look again.")
    return " ".join(said)
