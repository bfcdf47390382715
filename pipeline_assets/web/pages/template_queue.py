"""The page "Template queue": the templates of all brands that one may see, decided one by one.

What is decided is stored by `decisions.py`. A brand whose approvals must not be shown is left out
and named; the others do not wait for it.
"""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.brands.registry import BrandSummary, read_summaries
from pipeline_assets.control.item_decisions import read_last_reasons, read_tag
from pipeline_assets.control.readiness import read_each_readiness
from pipeline_assets.control.targets import all_brands_id
from pipeline_assets.datasets import Reader, Source
from pipeline_assets.freshness.readiness import (
    Answer,
    BrandsReadiness,
    DatasetReadiness,
    Readiness,
    judge_brands,
)
from pipeline_assets.people.features import organizations_with
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.storage.template_queue import (
    Group,
    QueueFilter,
    Row,
    count_queue,
    iterate_queue,
    read_queue,
    read_sources,
)
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import PageViewer, Viewer
from pipeline_assets.web.pages.csv_lines import answer_csv, csv_cell
from pipeline_assets.web.pages.listing import address
from pipeline_assets.web.pages.reader_page import Asked, Text, page_tag
from pipeline_assets.web.problems import Problem, not_found
from pipeline_assets.web.templating import render

router = APIRouter()

PAGE_SIZE = 24
DATASET = "template_approvals"
JOB = "template_approval"

_READER = Reader.TEMPLATE_QUEUE
_LAST_REASONS = 12
_SHORT_TEXT = 280
_LEFT_OUT_NAMED = 10
_CSV = (
    *("brand_id", "template_id", "state", "decided_by", "decided_at", "reasons", "rule_state"),
    *("is_overruled", "score", "policy_words", "duplicate_of", "page_name", "title", "body"),
    *("source", "days_running", "started_on", "is_active", "library_url"),
)


class QueueAsked(Asked):
    """What the address may ask for besides a search and a page."""

    brand: Text = ""
    state: Literal["pending", "approved", "rejected", "any"] = "pending"
    decided_by: Text = ""
    source: Text = ""


AskedQuery = Annotated[QueueAsked, Query()]


@router.get("/template-queue", name="template_queue")
def show_queue(request: Request, principal: PageViewer, web: Web, asked: AskedQuery) -> Response:
    """One page of the queue; a poll that has seen it is answered with nothing."""
    queue = _open(web, principal, asked)
    pulse = web.background.pulse
    tag = page_tag(queue.readiness, pulse, queue.tag)
    if asked.seen == tag:
        return Response(status_code=204)
    return render(
        request,
        "template_queue.html",
        now=queue.now,
        pulse=pulse,
        readiness=queue.readiness,
        queue=queue,
        asked=asked,
        cards=queue.cards(),
        reasons=read_last_reasons(
            web.engine, brand_ids=queue.shown, dataset=DATASET, limit=_LAST_REASONS
        ),
        poll_url=address(request, seen=tag, page=asked.page if asked.page > 1 else None),
        address=lambda **changes: address(request, **{"seen": None, **changes}),
        job=JOB,
        bare_name=bare_name,
    )


@router.get("/template-queue.csv", name="template_queue_csv")
def queue_csv(principal: Viewer, web: Web, asked: AskedQuery) -> StreamingResponse:
    """All templates that the filters find, in the page's order.

    Raises:
        Problem: 409, what is asked for must not be shown.
    """
    queue = _open(web, principal, asked)
    if queue.is_withheld:
        raise Problem(
            409,
            f"Templates are not shown: those of {queue.left_out} are too old.",
            advice="The page tells why, and what to do.",
        )
    rows = iterate_queue(web.engine, queue.wanted)
    cells = ([csv_cell(row[name]) for name in _CSV] for row in rows)
    return answer_csv(queue.csv_name, _CSV, cells)


def _open(web: Context, principal: Principal, asked: QueueAsked) -> "Queue":
    organization_ids = organizations_with(web.engine, _READER, principal.organization_ids)
    if not organization_ids:
        raise not_found("such page")
    page, now = web.pages[_READER], web.now()
    each = read_each_readiness(web.engine, page, now=now, organization_ids=organization_ids)
    with web.engine.connect() as connection:
        brands = read_summaries(connection, organization_ids=organization_ids)
    return Queue(
        web=web,
        principal=principal,
        asked=asked,
        brands=brands,
        each=each,
        readiness=judge_brands(page, each, now=now),
        now=now,
    )


@dataclass(frozen=True)
class Option:
    """A value that a filter offers, for people, and how many templates have it."""

    value: str
    label: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The queue for one request. `brands` and `each` (their readiness) are those one may see."""

    web: Context
    principal: Principal
    asked: QueueAsked
    brands: Mapping[str, BrandSummary]
    each: Sequence[Readiness]
    readiness: BrandsReadiness
    now: datetime

    # --- brands

    @cached_property
    def shown(self) -> Sequence[str]:
        """The brands whose templates may be shown."""
        usable = (each.brand_id for each in self.each if each.answer is not Answer.WITHHOLD)
        return [brand_id for brand_id in usable if brand_id in self.brands]

    @property
    def configured(self) -> Sequence[BrandSummary]:
        """The brands that have a source of templates."""
        return [each for each in self.brands.values() if Source.TEMPLATES in each.sources]

    @cached_property
    def _left_out(self) -> Sequence[str]:
        shown = set(self.shown)
        return [each.id for each in self.configured if each.id not in shown]

    @property
    def left_out(self) -> str:
        """The brands with a source whose templates must not be shown, in words; empty: none."""
        more = len(self._left_out) - _LEFT_OUT_NAMED
        named = ", ".join(self._left_out[:_LEFT_OUT_NAMED])
        return f"{named} and {more} more" if more > 0 else named

    @property
    def csv_name(self) -> str:
        """The name of the download: it tells when templates of some brands are not in it."""
        count = 0 if self.asked.brand else len(self._left_out)
        missing = f"_without_{count}_of_{len(self.configured)}_brands" if count else ""
        return f"template-queue{missing}.csv"

    @property
    def is_withheld(self) -> bool:
        """Whether all that is asked for must not be shown."""
        return self.asked.brand in self._left_out or (bool(self._left_out) and not self.shown)

    @property
    def failed_gatherings(self) -> Sequence[tuple[str, DatasetReadiness]]:
        """The brands that are asked for whose last gathering of templates failed, not too many."""
        found = (
            (each.brand_id, dataset)
            for each in self.each
            if self.asked.brand in {"", each.brand_id}
            for dataset in each.datasets
            if dataset.dataset == "templates_scraped" and dataset.error_class
        )
        return list(itertools.islice(found, _LEFT_OUT_NAMED))

    @property
    def targets(self) -> Mapping[str, str]:
        """By organization what the asker may sync to have its templates judged anew."""
        ids = sorted({each.organization_id for each in self.configured})
        return {
            each: all_brands_id(each) for each in ids if self.principal.may(Role.OPERATOR, each)
        }

    @property
    def tag(self) -> str:
        """Changes with every decision and with every sync of a brand."""
        successes = (found.last_success_at for each in self.each for found in each.datasets)
        newest = max(filter(None, successes), default=None)
        decided = read_tag(self.web.engine, brand_ids=self.shown, dataset=DATASET)
        return f"{newest} {decided}"

    # --- templates

    @property
    def wanted(self) -> QueueFilter:
        """What the address asks for."""
        asked = self.asked
        return QueueFilter(
            brand_ids=self.shown,
            brand_id=asked.brand,
            state="" if asked.state == "any" else asked.state,
            decided_by=asked.decided_by,
            source=asked.source,
            text=asked.q,
        )

    @cached_property
    def _groups(self) -> Sequence[Group]:
        return count_queue(self.web.engine, self.wanted) if self.shown else ()

    def _counts(self, name: str) -> Counter[str]:
        """How many templates have each value of a group's field, as the other filters find them."""
        others = {"brand_id", "state", "decided_by"} - {name}
        wanted = {other: getattr(self.wanted, other) for other in others}
        counts: Counter[str] = Counter()
        for group in self._groups:
            if all(not value or getattr(group, other) == value for other, value in wanted.items()):
                counts[getattr(group, name)] += group.count
        if chosen := getattr(self.wanted, name):
            counts.setdefault(chosen, 0)  # what is chosen is offered, even if nothing has it
        return counts

    @cached_property
    def states(self) -> Counter[str]:
        """How many templates are in each state, and in `any`."""
        counts = self._counts("state")
        return counts + Counter(any=counts.total())

    @property
    def total(self) -> int:
        """How many templates the filters find."""
        return self.states[self.asked.state]

    @property
    def has_templates(self) -> bool:
        """Whether any is there, whatever brand, state and decider are asked for."""
        return bool(self._groups)

    @property
    def is_filtered(self) -> bool:
        """Whether anything but the state narrows the queue."""
        asked = self.asked
        return bool(asked.q or asked.brand or asked.decided_by or asked.source)

    @property
    def page_count(self) -> int:
        """On how many pages the found templates are."""
        return max(1, -(-self.total // PAGE_SIZE))

    @property
    def page(self) -> int:
        """The page shown: the last one when the address asks beyond, as after the last decision."""
        return min(self.asked.page, self.page_count)

    @property
    def brand_options(self) -> Sequence[Option]:
        """The brands to filter by, by name."""
        counts = self._counts("brand_id")
        names = {each.id: each.name for each in self.brands.values()}
        options = (Option(each, names.get(each, each), n) for each, n in counts.items())
        return sorted(options, key=lambda option: (option.label.casefold(), option.value))

    @property
    def decider_options(self) -> Sequence[Option]:
        """The rules and the people who decided, the most frequent first."""
        counts = self._counts("decided_by")
        return [Option(each, bare_name(each), n) for each, n in counts.most_common()]

    @property
    def sources(self) -> Sequence[str]:
        """Where templates come from."""
        return read_sources(self.web.engine, self.shown)

    def cards(self) -> Sequence["Card"]:
        """The templates of the page."""
        if not self.total:
            return ()
        rows = read_queue(
            self.web.engine,
            self.wanted,
            limit=PAGE_SIZE,
            offset=(self.page - 1) * PAGE_SIZE,
        )
        return [self._card(row) for row in rows]

    def _card(self, row: Row) -> "Card":
        brand = self.brands[row["brand_id"]]
        may_decide = self.principal.may(Role.OPERATOR, brand.organization_id)
        return Card(row=row, brand=brand, may_decide=may_decide)

    @property
    def may_decide(self) -> bool:
        """Whether the asker may decide of any of these templates."""
        return any(
            self.principal.may(Role.OPERATOR, self.brands[each].organization_id)
            for each in self.shown
        )


@dataclass(frozen=True)
class Part:
    """A part of a score: `start` and `width` in the whole of 100, no width when it is unknown."""

    name: str
    points: float
    most: float
    why: str
    start: float
    width: float


Piece = tuple[str, bool]
"""A piece of a text, and whether policies forbid it."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A template as it is shown: its row, and what is made of it."""

    row: Row
    brand: BrandSummary
    may_decide: bool

    @property
    def item(self) -> str:
        """What the buttons send."""
        return f"{self.brand.id}/{self.row['template_id']}"

    @property
    def title(self) -> Sequence[Piece]:
        """The headline."""
        return self._marked(self.row["title"] or "")

    @property
    def text(self) -> Sequence[Piece]:
        """The text, as far as a card has room for it."""
        body = self.row["body"] or ""
        short = body[:_SHORT_TEXT].rstrip()
        return self._marked(f"{short}…" if len(body) > _SHORT_TEXT else body)

    @property
    def all_texts(self) -> Sequence[Sequence[Piece]]:
        """Every text of the ad, where there is more than the card shows."""
        row = self.row
        every = [*(row["titles"] or ()), *(row["bodies"] or ()), row["description"]]
        texts = [each for each in dict.fromkeys([row["title"], row["body"], *every]) if each]
        is_more = set(texts) - {row["title"], row["body"]} or len(row["body"] or "") > _SHORT_TEXT
        return [self._marked(text) for text in texts] if is_more else ()

    @property
    def parts(self) -> Sequence[Part]:
        """What the score is made of, one part beside the other."""
        found = self.row["score_parts"]
        whole = sum(part["most"] for part in found) or 1
        widths = [100 * part["points"] / whole for part in found]
        starts = itertools.accumulate(widths, initial=0)
        return [
            Part(**part, start=start, width=width)
            for part, start, width in zip(found, starts, widths, strict=False)
        ]

    def _marked(self, text: str) -> Sequence[Piece]:
        forbidden = sorted(self.row["policy_words"], key=len, reverse=True)
        if not forbidden:
            return [(text, False)]
        pattern = "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in forbidden)
        pieces = re.split(f"({pattern})", text, flags=re.IGNORECASE)
        return [(piece, bool(number % 2)) for number, piece in enumerate(pieces) if piece]


def bare_name(actor: str) -> str:
    """Who decided, for people: without the kind that stands before."""
    return "the rules" if actor == "rules" else actor.partition(":")[2] or actor
