"""Drafts ads from approved templates, the brand's best hooks and its products.

Belongs here: which of them come together, so that drafts are spread over all and none repeats
another, and where each draft comes from. Does not: their words (`drafting_texts.py`), their
pictures (`ad_pictures.py`). Pure and deterministic: the same rows give the same drafts.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from math import ceil
from typing import Any

import pandas as pd

from pipeline_assets.analysis.congruence_texts import words_of
from pipeline_assets.analysis.drafting_texts import (
    CustomerPhrase,
    Hook,
    Product,
    Structure,
    Texts,
    compose,
    customer_phrase,
    language_of,
    opening_of,
    read_product,
    read_structure,
    says_more_than_page,
)
from pipeline_assets.analysis.template_scoring import find_policy_words

DRAFTER = "rules"
DRAFTER_VERSION = "1.1.0"
"""Changes whenever the same rows would give other texts."""

COPY_RATIO = 0.8
"""Two drafts that share so much of their words are one."""

_MOST_TRIES = 40
"""Combinations tried for each draft wanted of a product, before it is believed to have no more."""

_MOST_PHRASES = 50
_PHRASE_KIND = "pain"
"""What a draft may take up; praise would be a testimonial that nobody gave for this product."""

_LABELS = {"winner": 0, "middle": 1, "too_early": 2}  # losers give no hook
_CONFIDENCES = {"high": 0, "medium": 1, "low": 2}

SCORECARD_COLUMNS = (
    *("creative_key", "creative_id", "currency", "ad_name", "hook_type", "hook_percentile"),
    *("click_percentile", "roas", "spend_share", "confidence", "label", "label_reason"),
)
CREATIVE_COLUMNS = ("creative_id", "title", "body", "call_to_action_type")

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Template:
    """An approved template, as much of it as drafts use."""

    template_id: str
    page_name: str | None
    cta: str | None
    score: float | None
    decided_by: str
    structure: Structure


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A drafted ad; `lineage` tells of every text where it comes from and why it may be said."""

    draft_id: str
    template_id: str
    creative_key: str
    product: Product
    hook_type: str | None
    texts: Texts
    lineage: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """A draft that a person has decided on: it stays as it is, and none is drafted like it."""

    draft_id: str
    headline: str
    primary_text: str


def draft_id(template_id: str, creative_key: str, product_url: str) -> str:
    """The name of what these three give, 64 hex digits."""
    return hashlib.sha256(f"{template_id}\n{creative_key}\n{product_url}".encode()).hexdigest()


def read_templates(templates: Iterable[Row], approvals: Iterable[Row]) -> list[Template]:
    """The approved ones, best score first: rows of templates_scraped and template_approvals."""
    approved = {row["template_id"]: row for row in approvals if row["state"] == "approved"}
    found = [
        Template(
            template_id=row["library_ad_id"],
            page_name=row["page_name"],
            cta=row["cta"],
            score=approved[row["library_ad_id"]]["score"],
            decided_by=approved[row["library_ad_id"]]["decided_by"],
            structure=read_structure(row),
        )
        for row in templates
        if row["library_ad_id"] in approved
    ]
    return sorted(found, key=lambda each: (-(each.score or 0), each.template_id))


def read_products(pages: Iterable[Row]) -> list[Product]:
    """The products of rows of landing_pages, the most advertised first.

    A product that several pages sell counts once, as its most advertised page tells of it. One that
    cannot be read now is as it was last read; one that is gone sells nothing.
    """
    there = [row for row in pages if row["state"] != "not_found"]
    ordered = sorted(there, key=lambda row: (-(row["ad_count"] or 0), row["url"]))
    products = filter(None, map(read_product, ordered))
    by_name: dict[str, Product] = {}
    for product in products:
        first = by_name.setdefault(product.name.casefold(), product)
        by_name[product.name.casefold()] = replace(first, urls=first.urls | product.urls)
    return list(by_name.values())


def read_phrases(top: pd.DataFrame) -> list[CustomerPhrase]:
    """What drafts may take up of `voice_of_customer.top_phrases`, most said first."""
    usable = top[top["kind"] == _PHRASE_KIND].sort_values(
        ["count", "phrase"], ascending=[False, True]
    )
    return [
        customer_phrase(kind, phrase, int(count))
        for kind, phrase, count in usable[["kind", "phrase", "count"]]
        .head(_MOST_PHRASES)
        .itertuples(index=False)
    ]


def rank_hooks(
    scorecard: pd.DataFrame,
    creatives: pd.DataFrame,
    links: pd.DataFrame,
    *,
    most: int,
) -> list[Hook]:
    """The brand's best hooks, at most `most`, each opening once.

    Winners come first, then middle ones, then those too new to tell; losers never. Among equals
    the surer figures count first, then the place of the hook rate (of the clicks where there is no
    video), ROAS and spend. `scorecard` has SCORECARD_COLUMNS, `creatives` CREATIVE_COLUMNS,
    `links` those of `destinations.destinations`.
    """
    chosen = scorecard[scorecard["label"].isin(_LABELS) & scorecard["creative_id"].notna()]
    ranked = (
        chosen.assign(
            label_rank=chosen["label"].map(_LABELS),
            confidence_rank=chosen["confidence"].map(_CONFIDENCES),
            place=chosen["hook_percentile"].fillna(chosen["click_percentile"]).fillna(-1.0),
            roas_rank=chosen["roas"].fillna(-1.0),
            spend_rank=chosen["spend_share"].fillna(0.0),
        )
        .sort_values(
            ["label_rank", "confidence_rank", "place", "roas_rank", "spend_rank", "creative_key"],
            ascending=[True, True, False, False, False, True],
        )
        .drop_duplicates("creative_key")
    )
    texts = creatives.dropna(subset=["creative_id"]).drop_duplicates("creative_id")
    by_id = texts.set_index("creative_id")
    urls = links.groupby("creative_id")["url"].agg(frozenset)
    return list(_distinct_hooks(ranked, by_id, urls, most=most))


def _distinct_hooks(
    ranked: pd.DataFrame, texts: pd.DataFrame, urls: "pd.Series[Any]", *, most: int
) -> Iterator[Hook]:
    seen: set[tuple[str | None, str | None]] = set()
    for row in ranked.to_dict("records"):
        creative_id, hook_type = row["creative_id"], _text(row["hook_type"])
        if creative_id not in texts.index:
            continue
        title, body, button = (_text(texts.at[creative_id, name]) for name in CREATIVE_COLUMNS[1:])
        opening = opening_of(body, title)
        if (opening, hook_type) in seen or not (opening or hook_type):
            continue
        seen.add((opening, hook_type))
        yield Hook(
            creative_key=row["creative_key"],
            creative_id=creative_id,
            ad_name=_text(row["ad_name"]),
            hook_type=hook_type,
            opening=opening,
            language=language_of(f"{body or ''}\n{title or ''}"),
            call_to_action=button,
            urls=urls.get(creative_id, frozenset()),
            why=f"{row['label']}, confidence {row['confidence']}: {row['label_reason']}",
        )
        if len(seen) == most:
            return


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def draft_ads(
    *,
    templates: Sequence[Template],
    hooks: Sequence[Hook],
    products: Sequence[Product],
    phrases: Sequence[CustomerPhrase],
    max_drafts: int,
    policy_words: Sequence[str] = (),
    reviewed: Sequence[Reviewed] = (),
) -> list[Draft]:
    """At most `max_drafts` drafts, spread over products, templates and hooks; no near copies.

    Nothing is said that the brand's own ad, the product's page or a customer does not say: a line
    with a number or an offer that the page lacks, a word that policies forbid, the name of another
    product or of a template's advertiser is left out. Those in `reviewed` are not drafted again
    and do not count.
    """
    drafter = _Drafter(_Judge(templates, products, policy_words), phrases, reviewed)
    tries = _MOST_TRIES * ceil(max_drafts / max(len(products), 1))
    turns = deque(
        (product, islice(_combinations(templates, hooks, start=at), tries))
        for at, product in enumerate(products)
    )
    drafts: list[Draft] = []
    while turns and len(drafts) < max_drafts:
        product, combinations = turns.popleft()
        tried = (drafter.draft(product, template, hook) for template, hook in combinations)
        found = next(filter(None, tried), None)
        if found:
            drafts.append(found)
            turns.append((product, combinations))
    return drafts


def _combinations(
    templates: Sequence[Template], hooks: Sequence[Hook], *, start: int
) -> Iterator[tuple[Template, Hook]]:
    """Every pair once, each next one another of both, if it can; `start` shifts where it begins."""
    for turn in range(len(templates) * len(hooks)):
        # Turns with the same template differ in turn // len(templates), so in their hook.
        shift = start + turn % len(templates) + turn // len(templates)
        yield templates[(start + turn) % len(templates)], hooks[shift % len(hooks)]


class _Drafter:
    """Drafts one combination after the other, each unlike those before."""

    def __init__(
        self,
        judge: "_Judge",
        phrases: Sequence[CustomerPhrase],
        reviewed: Sequence[Reviewed],
    ) -> None:
        self._judge, self._phrases = judge, phrases
        self._reviewed = {each.draft_id for each in reviewed}
        self._said = [_words(each.headline, each.primary_text) for each in reviewed]

    def draft(self, product: Product, template: Template, hook: Hook) -> Draft | None:
        """The draft; None when it is reviewed already, nothing fits, or it repeats another."""
        name = draft_id(template.template_id, hook.creative_key, product.url)
        if name in self._reviewed:
            return None
        texts = compose(
            template.structure,
            hook,
            product,
            self._phrases,
            template_cta=template.cta,
            turn=int(name[:8], 16),
            allows=self._judge.allows,
        )
        if texts is None:
            return None
        words = _words(texts.headline, texts.primary_text)
        if any(_is_copy(words, each) for each in self._said):
            return None
        self._said.append(words)
        return _draft(name, template, hook, product, texts)


class _Judge:
    """Says whether a line may stand in a draft."""

    def __init__(
        self, templates: Sequence[Template], products: Sequence[Product], words: Sequence[str]
    ) -> None:
        self._foreign = {_spaced(each.page_name) for each in templates if each.page_name} - {"  "}
        self._names = {_spaced(product.name) for product in products} - {"  "}
        self._find = cache(lambda text: bool(find_policy_words([text], words)))

    def allows(self, text: str, product: Product) -> bool:
        said, own = _spaced(text), _spaced(product.name)
        is_of_others = any(name in said and name not in own for name in self._names)
        is_foreign = any(
            name in said and name not in _spaced(product.page_text) for name in self._foreign
        )
        is_told = not says_more_than_page(text, product)
        return is_told and not (is_of_others or is_foreign or self._find(text))


def _spaced(text: str) -> str:
    """The words with one space around each, for finding whole words within."""
    return f" {' '.join(words_of(text))} "


def _words(*texts: str) -> frozenset[str]:
    return frozenset(words_of(" ".join(texts)))


def _is_copy(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= COPY_RATIO * len(one | other)


def find_copies(drafts: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Pairs of ids of (id, headline, primary text) that say nearly the same."""
    words = [(name, _words(headline, text)) for name, headline, text in drafts]
    return [
        (name, other)
        for at, (name, own) in enumerate(words)
        for other, others in words[at + 1 :]
        if _is_copy(own, others)
    ]


def _draft(name: str, template: Template, hook: Hook, product: Product, texts: Texts) -> Draft:
    return Draft(
        draft_id=name,
        template_id=template.template_id,
        creative_key=hook.creative_key,
        product=product,
        hook_type=hook.hook_type,
        texts=texts,
        lineage={
            "template": _lineage_of_template(template),
            "hook": {
                "creative_key": hook.creative_key,
                "creative_id": hook.creative_id,
                "ad_name": hook.ad_name,
                "hook_type": hook.hook_type,
                "opening": hook.opening,
                "why": hook.why,
            },
            "product": {
                "url": product.url,
                "name": product.name,
                **offer_of(product),
                "why": "an active ad leads to its page",
            },
            "phrases": [] if texts.phrase is None else [_lineage_of_phrase(texts.phrase)],
            "texts": [{"field": field, **line._asdict()} for field, line in texts.lines],
            "language": product.language,
            "language_note": _language_note(product),
        },
    )


def offer_of(product: Product) -> dict[str, str | None]:
    """Price, currency and discount as text, as a lineage keeps them."""
    price = None if product.price is None else f"{product.price.normalize():f}"
    return {"price": price, "currency": product.currency, "discount": product.discount}


def _lineage_of_template(template: Template) -> dict[str, Any]:
    structure = template.structure
    score = "no score" if template.score is None else f"score {template.score:g}"
    return {
        "template_id": template.template_id,
        "page_name": template.page_name,
        "order": list(structure.beats),
        "headline": structure.device,
        "is_list": structure.is_list,
        "why": f"approved by {template.decided_by}, {score}; only its structure is used",
    }


def _lineage_of_phrase(phrase: CustomerPhrase) -> dict[str, Any]:
    why = f"{phrase.said} posts or reviews say so"
    return {"kind": phrase.kind, "phrase": phrase.text, "count": phrase.said, "why": why}


def _language_note(product: Product) -> str | None:
    if product.is_in_its_language:
        return None
    return (
        f"The page is in {product.declared_language!r}, for which there are no patterns: "
        f"the draft is in {product.language!r}."
    )
