"""What Amazon's customers say of a brand's products, or of a rival's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.actor_runs import (
    READABLE_CHECK,
    gather_rows,
    store_rows,
)
from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.errors import InvalidConfigError

if TYPE_CHECKING:
    from pipeline_assets.brands.models import AmazonSource
    from pipeline_assets.sources.amazon_reviews import Review

PRODUCTS_CHECK = "products_have_reviews"
IDS_CHECK = "ids_name_one_review_each"

Row = dict[str, Any]
_Key = tuple[str, str]
_Found = list[tuple["Review", Any]]


@dataset_asset("amazon_reviews", checks=(READABLE_CHECK, PRODUCTS_CHECK, IDS_CHECK))
def amazon_reviews(attempt: Attempt) -> Outcome:
    """Reviews of the products that the brand names, with the phrases in which people speak.

    Source: an Apify actor of the brand's own choice, one run for all products. Reviews of earlier
    runs stay, so an actor may give the newest ones only; rows of other products are left out.

    Check: nineteen in twenty rows can be read, every product has reviews, and an id stands for one
    review.
    """
    from pipeline_assets.sources import amazon_reviews as source_rows  # noqa: PLC0415

    source = attempt.brand.sources.amazon
    if source is None:
        raise InvalidConfigError(
            f"Brand {attempt.brand.id!r} names no products on Amazon.",
            advice="Give it a source `amazon` with ASINs and an actor.",
        )
    gathered = gather_rows(
        attempt,
        source.actor,
        source_rows.build_actor_input(source.asins, source.country, source.max_reviews),
        wanted=source.max_reviews * len(source.asins),
        read=partial(source_rows.read_actor_row, asins=frozenset(source.asins)),
        nothing=f"no review of {', '.join(source.asins[:5])} in {source.country}",
    )
    found, reader = gathered.items, gathered.reader
    rows = _merge(attempt, source, found)
    return Outcome(
        records=store_rows(attempt, rows.values()),
        checks={
            READABLE_CHECK: reader.check(),
            PRODUCTS_CHECK: _products_check(source, found),
            IDS_CHECK: _ids_check(found),
        },
        metadata={
            **gathered.metadata(),
            "found": len({_key(review) for review, _ in found}),
            "of_other_products": reader.total - reader.rejected - len(found),
            "partly_read": len({_key(review) for review, _ in found if review.problem}),
        },
    )


def _key(review: Review) -> _Key:
    return review.asin, review.review_id


def _merge(attempt: Attempt, source: AmazonSource, found: _Found) -> dict[_Key, Row]:
    """The rows to store by product and id: those found now, and those of earlier runs."""
    from pipeline_assets.analysis.voice_of_customer import find_phrases  # noqa: PLC0415
    from pipeline_assets.sources.actor_rows import without_secrets  # noqa: PLC0415

    rows: dict[_Key, Row] = {
        (row["asin"], row["review_id"]): row
        for row in attempt.read_rows()
        if row["asin"] in source.asins
    }
    for review, raw in found:
        known = rows.get(_key(review))
        told = asdict(review)
        rows[_key(review)] = {
            **told,
            "brand_id": attempt.brand.id,
            "country": review.country or source.country,
            "error": told.pop("problem"),
            "raw": without_secrets(raw),
            "first_seen_at": known["first_seen_at"] if known else attempt.started_at,
        }
    for row in rows.values():  # of all, for they may be told by other rules than those stored
        text = "\n".join(filter(None, (row["title"], row["body"])))
        row["phrases"] = [dict(phrase) for phrase in find_phrases(text)]
        row["fetched_at"] = attempt.started_at
    return rows


def _products_check(source: AmazonSource, found: _Found) -> Check:
    counts: Mapping[str, int] = Counter(asin for asin, _ in {_key(each) for each, _ in found})
    without = [asin for asin in source.asins if not counts.get(asin)]
    figures = {"reviews_by_product": dict(counts), "without_reviews": without}
    if not without:
        return Check(True, f"Each of {len(source.asins)} products has reviews.", figures)
    return Check(
        False,
        f"{len(without)} of {len(source.asins)} products gave no review: {', '.join(without)}.",
        figures,
        is_warning=True,
    )


def _ids_check(found: Sequence[tuple[Review, Any]]) -> Check:
    contents: dict[_Key, set[tuple[str | None, str | None]]] = {}
    for review, _ in found:
        contents.setdefault(_key(review), set()).add((review.title, review.body))
    clashes = sorted(review_id for (_, review_id), texts in contents.items() if len(texts) > 1)
    return Check(
        not clashes,
        f"{len(clashes)} ids stand for several different reviews"
        + (f", for example {clashes[0]}." if clashes else "."),
        {"ids": len(contents), "clashes": clashes[:20]},
    )
