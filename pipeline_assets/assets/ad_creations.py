"""Ads drafted for a brand, for people to look at; nothing is ever published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.assets.draft_pictures import Background, Rendered, find_backgrounds, render
from pipeline_assets.errors import InvalidConfigError

if TYPE_CHECKING:
    from pipeline_assets.analysis.drafting import Draft, Template
    from pipeline_assets.analysis.drafting_texts import CustomerPhrase, Product
    from pipeline_assets.brands.models import TemplatesSource

Row = dict[str, Any]

_REVIEWED = ("approved", "rejected")

_SHOWN = 10

_TEMPLATE_COLUMNS = ("library_ad_id", "page_name", "title", "body", "cta")


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What drafts are made of, and in words what is missing for any."""

    drafts: list[Draft]
    products: list[Product]
    backgrounds: Mapping[str, Sequence[Background]]
    missing: str | None


@dataset_asset(
    "ad_creations",
    checks=("texts_fit", "drafts_are_not_copies", "approved_offers_hold"),
)
def ad_creations(attempt: Attempt) -> Outcome:
    """Draft ads from approved templates, the brand's best hooks and its products, with pictures.

    Source: the stored templates and their approvals, scorecard, classifications, landing pages,
    pictures, and what customers say on Reddit and Amazon where that is gathered; by rules. Of a
    template only the structure is used; every claim is the product page's or the own ad's, and
    `lineage` says which. A draft that a person approved or rejected stays as it is; the others
    follow what is known now. Nothing is ever published.

    Check: every headline has at most 40 characters, every primary text 125, every description 30,
    and every picture shows its whole headline.

    Check: no two drafts, rejected ones apart, say nearly the same.

    Check: the price and discount of every approved draft are still those of the product's page.
    """
    source = attempt.brand.sources.templates
    if source is None:
        raise InvalidConfigError(
            f"Brand {attempt.brand.id!r} has no templates source.",
            advice="Say whose ads to gather with `pipeline-assets brands apply`.",
        )
    attempt.heartbeat.progress(0, stage="drafting")
    stored = {row["draft_id"]: row for row in attempt.read_rows()}
    inputs = _draft(attempt, source, stored)
    drafted: list[Row] = []
    rendered = 0
    for draft in inputs.drafts:
        attempt.heartbeat.progress(len(drafted), total=len(inputs.drafts), stage="rendering")
        before = stored.get(draft.draft_id)
        pictures = render(attempt, draft, before, inputs.backgrounds)
        rendered += not pictures.is_kept
        drafted.append(_row(attempt, draft, pictures, before))
    rows: list[Row] = []  # as stored: known once the write has read what people decided
    records = attempt.replace_rows(_settled(attempt, drafted, rows))
    states = Counter(row["review_state"] for row in rows)
    return Outcome(
        records=records,
        checks={
            "texts_fit": _check_lengths(rows),
            "drafts_are_not_copies": _check_copies(rows),
            "approved_offers_hold": _check_offers(rows, inputs.products),
        },
        metadata={
            **{state: states[state] for state in ("draft", *_REVIEWED)},
            "rendered": rendered,
            **({"missing": inputs.missing} if inputs.missing else {}),
        },
    )


def _draft(attempt: Attempt, source: TemplatesSource, stored: Mapping[str, Row]) -> _Inputs:
    """Read what is known of the brand, and draft."""
    from pipeline_assets.analysis import drafting  # noqa: PLC0415
    from pipeline_assets.analysis.destinations import INPUT_COLUMNS, destinations  # noqa: PLC0415
    from pipeline_assets.schemas import (  # noqa: PLC0415
        LANDING_PAGES,
        META_AD_CREATIVES,
        SCORECARD,
    )

    creatives = attempt.read_frame(
        META_AD_CREATIVES,
        columns=list(dict.fromkeys([*INPUT_COLUMNS, *drafting.CREATIVE_COLUMNS])),
    )
    links = destinations(creatives)
    templates = _approved_templates(attempt)
    hooks = drafting.rank_hooks(
        attempt.read_frame(SCORECARD, columns=drafting.SCORECARD_COLUMNS),
        creatives,
        links,
        most=source.max_drafts,
    )
    products = drafting.read_products(attempt.read_rows(LANDING_PAGES))
    drafts = drafting.draft_ads(
        templates=templates,
        hooks=hooks,
        products=products,
        phrases=_phrases(attempt),
        max_drafts=source.max_drafts,
        policy_words=source.policy_words,
        reviewed=[
            drafting.Reviewed(
                draft_id=row["draft_id"],
                headline=row["headline"],
                primary_text=row["primary_text"],
            )
            for row in stored.values()
            if row["review_state"] in _REVIEWED
        ],
    )
    missing = {
        "no template is approved": templates,
        "the scorecard has no creative whose hook could be used": hooks,
        "no landing page that could be read names a product": products,
        "nothing that may be said fits, or all of it is drafted already": drafts,
    }
    reasons = [reason for reason, found in missing.items() if not found]
    return _Inputs(
        drafts=drafts,
        products=products,
        backgrounds=find_backgrounds(attempt, products, links),
        missing=f"Nothing new is drafted: {reasons[0]}." if reasons else None,
    )


def _approved_templates(attempt: Attempt) -> list[Template]:
    from pipeline_assets.analysis.drafting import read_templates  # noqa: PLC0415
    from pipeline_assets.schemas import TEMPLATE_APPROVALS, TEMPLATES_SCRAPED  # noqa: PLC0415
    from pipeline_assets.storage.tables import DATASET_TABLES  # noqa: PLC0415

    approvals = attempt.read_rows(
        TEMPLATE_APPROVALS,
        columns=("template_id", "state", "score", "decided_by"),
        where=[DATASET_TABLES[TEMPLATE_APPROVALS.name].c.state == "approved"],
    )
    return read_templates(
        attempt.read_rows(TEMPLATES_SCRAPED, columns=_TEMPLATE_COLUMNS), approvals
    )


def _phrases(attempt: Attempt) -> list[CustomerPhrase]:
    """What customers say, where it is gathered."""
    import pandas as pd  # noqa: PLC0415

    from pipeline_assets.analysis.drafting import read_phrases  # noqa: PLC0415
    from pipeline_assets.analysis.voice_of_customer import top_phrases  # noqa: PLC0415
    from pipeline_assets.schemas import AMAZON_REVIEWS, REDDIT_POSTS  # noqa: PLC0415

    said = [
        attempt.read_frame(schema, columns=["phrases"]) for schema in (REDDIT_POSTS, AMAZON_REVIEWS)
    ]
    return read_phrases(top_phrases(pd.concat(said, ignore_index=True)))


def _row(attempt: Attempt, draft: Draft, pictures: Rendered, before: Row | None) -> Row:
    """A draft's row; what it says and shows again was drafted then: people decide of that."""
    from pipeline_assets.analysis.drafting import DRAFTER, DRAFTER_VERSION  # noqa: PLC0415

    texts = draft.texts
    shown: Row = {
        "headline": texts.headline,
        "primary_text": texts.primary_text,
        "description": texts.description,
        "cta": texts.cta.value,
        "pictures": pictures.pictures,
    }
    is_same = before is not None and all(before[name] == shown[name] for name in shown)
    return {
        "brand_id": attempt.brand.id,
        "draft_id": draft.draft_id,
        "template_id": draft.template_id,
        "creative_key": draft.creative_key,
        "product_name": draft.product.name,
        "product_url": draft.product.url,
        "hook_type": draft.hook_type,
        **shown,
        "lineage": {**draft.lineage, "picture": pictures.lineage},
        "review_state": "draft",
        "reviewed_by": None,
        "review_reason": None,
        "reviewed_at": None,
        "drafter": DRAFTER,
        "drafter_version": DRAFTER_VERSION,
        "drafted_at": before["drafted_at"] if before and is_same else attempt.started_at,
        "fetched_at": attempt.started_at,
    }


def _settled(attempt: Attempt, drafted: Sequence[Row], rows: list[Row]) -> Iterator[Row]:
    """The rows to store, made while nobody else can write: no review is lost in between."""
    from pipeline_assets.control.item_decisions import read_decisions  # noqa: PLC0415

    decisions = read_decisions(
        attempt.installation.engine, brand_id=attempt.brand.id, dataset=attempt.dataset.key
    )
    # As it was before this write: another connection does not see what this one has deleted.
    reviewed = [row for row in attempt.read_rows() if row["draft_id"] in decisions]
    rows.extend({**row, "fetched_at": attempt.started_at} for row in reviewed)
    rows.extend(row for row in drafted if row["draft_id"] not in decisions)
    yield from rows


def _check_lengths(rows: Sequence[Row]) -> Check:
    from pipeline_assets.analysis.drafting_texts import (  # noqa: PLC0415
        MAX_DESCRIPTION,
        MAX_HEADLINE,
        MAX_PRIMARY_TEXT,
    )

    limits = {
        "headline": MAX_HEADLINE,
        "primary_text": MAX_PRIMARY_TEXT,
        "description": MAX_DESCRIPTION,
    }
    too_long = [
        f"{row['draft_id'][:12]} {name}"
        for row in rows
        for name, limit in limits.items()
        if len(row[name] or "") > limit
    ]
    not_drawn = [
        row["draft_id"][:12] for row in rows if not row["lineage"]["picture"]["is_headline_whole"]
    ]
    return Check(
        not too_long and not not_drawn,
        f"{len(too_long)} texts are too long, {len(not_drawn)} headlines could not be drawn.",
        {"too_long": too_long[:_SHOWN], "not_drawn": not_drawn[:_SHOWN]},
        is_warning=True,
    )


def _check_copies(rows: Sequence[Row]) -> Check:
    from pipeline_assets.analysis.drafting import find_copies  # noqa: PLC0415

    pairs = find_copies(
        (row["draft_id"], row["headline"], row["primary_text"])
        for row in rows
        if row["review_state"] != "rejected"
    )
    return Check(
        not pairs,
        f"{len(pairs)} pairs of drafts say nearly the same.",
        {"pairs": [f"{one[:12]} {other[:12]}" for one, other in pairs[:_SHOWN]]},
    )


def _check_offers(rows: Sequence[Row], products: Sequence[Product]) -> Check:
    """Whether what people approved is still true; a page that cannot be read does not tell."""
    from pipeline_assets.analysis.drafting import offer_of  # noqa: PLC0415

    now = {product.url: offer_of(product) for product in products}
    approved = [row for row in rows if row["review_state"] == "approved"]
    changed = [
        row["draft_id"][:12]
        for row in approved
        if (offer := now.get(row["product_url"])) is not None
        and any(row["lineage"]["product"][name] != offer[name] for name in offer)
    ]
    return Check(
        not changed,
        f"{len(changed)} of {len(approved)} approved drafts name a price or discount that the"
        " product's page no longer has.",
        {"approved": len(approved), "changed": changed[:_SHOWN]},
        is_warning=True,
    )
