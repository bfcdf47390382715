"""What is computed from the stored ads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.assets.model_tags import (
    AskedContent,
    ModelTags,
    ask_model,
    read_picture_names,
)

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

MAX_UNKNOWN_RATIO = 0.5
"""More unknown hooks than known ones means that the texts or the rules went wrong."""


@dataclass(frozen=True)
class _Classifier:
    """Who is to tag, and what each creative is to it: the hash of what it reads."""

    name: str
    version: str
    hashes: Mapping[str, str]
    pictures: Mapping[str, str]

    def has_tagged(self, row: Row) -> bool:
        """Whether the row is its work, of the version that it has now."""
        from pipeline_assets.analysis.taxonomy import TAXONOMY_VERSION  # noqa: PLC0415

        return (row["classifier"], row["classifier_version"], row["taxonomy_version"]) == (
            self.name,
            self.version,
            TAXONOMY_VERSION,
        )


@dataset_asset(
    "ad_classifications", checks=("most_hooks_are_recognised", "language_model_answered")
)
def ad_classifications(attempt: Attempt) -> Outcome:
    """Each creative tagged with closed vocabularies: format, hook, angle, awareness, offer, funnel.

    Source: the stored creatives, by rules over text, call to action and naming; or, for a brand
    that has configured one, by a language model that sees the pictures too, if its server takes any
    (`pictures_left_out`). What it cannot tag, for want of an answer or of money, the rules tag; its
    row says why, and the next run asks again.
    Each tag has its evidence and a confidence. Creatives that read and look the same are tagged
    once, in this run or in one before.

    Check: at most half of the creatives have an unknown hook, and the language model, where there
    is one, tagged all that it was to tag.
    """
    creatives = _read_creatives(attempt)
    classifier = _classifier(attempt, creatives)
    kept = _known_rows(attempt, creatives, classifier)
    open_ones = creatives[~creatives["creative_id"].isin([row["creative_id"] for row in kept])]
    by_rules = _tag_by_rules(open_ones)
    model_tags = _ask_model(attempt, open_ones, classifier)
    new = [
        _row(row, classifier, model_tags) | {"classified_at": attempt.started_at}
        for row in by_rules
    ]
    rows = [*kept, *new]
    always = {"brand_id": attempt.brand.id, "fetched_at": attempt.started_at}
    return Outcome(
        records=attempt.replace_rows(row | always for row in rows),
        distinct_ads=_distinct_ads(creatives),
        checks={
            "most_hooks_are_recognised": _hook_check(rows),
            "language_model_answered": _model_check(attempt, rows),
        },
        metadata={
            "classified": len(new),
            "unchanged": len(kept),
            "language_model_calls": model_tags.calls,
            "language_model_usd": float(model_tags.cost_usd),
            "pictures_left_out": model_tags.pictures_left_out,
        },
    )


def _read_creatives(attempt: Attempt) -> pd.DataFrame:
    from pipeline_assets.analysis.classification import INPUT_COLUMNS  # noqa: PLC0415
    from pipeline_assets.schemas import META_AD_CREATIVES  # noqa: PLC0415
    from pipeline_assets.storage.tables import DATASET_TABLES  # noqa: PLC0415

    return attempt.read_frame(
        META_AD_CREATIVES,
        columns=["ad_id", *INPUT_COLUMNS],
        where=[DATASET_TABLES[META_AD_CREATIVES.name].c.error.is_(None)],
    )


def _classifier(attempt: Attempt, creatives: pd.DataFrame) -> _Classifier:
    """The language model where the brand has one, else the rules."""
    from pipeline_assets.analysis import classification, model_tagging  # noqa: PLC0415

    source = attempt.brand.sources.language_model
    if source is None:
        hashes = cast("dict[str, str]", classification.content_hashes(creatives).to_dict())
        return _Classifier(
            classification.CLASSIFIER, classification.CLASSIFIER_VERSION, hashes, pictures={}
        )
    pictures = read_picture_names(attempt)
    return _Classifier(
        source.model,
        model_tagging.ASKING_VERSION,
        {
            creative_id: model_tagging.hash_asked(creative, pictures.get(creative_id))
            for (creative_id, _), creative in classification.read_creatives(creatives)
        },
        pictures,
    )


def _known_rows(attempt: Attempt, creatives: pd.DataFrame, classifier: _Classifier) -> list[Row]:
    """A row for each creative whose content is tagged already, be it another creative's."""
    known = {row["content_hash"]: row for row in attempt.read_rows() if classifier.has_tagged(row)}
    accounts = dict(zip(creatives["creative_id"], creatives["ad_account_id"], strict=True))
    return [
        known[content_hash]
        | {
            "creative_id": creative_id,
            "ad_account_id": accounts[creative_id],
            "fallback_reason": None,
        }
        for creative_id, content_hash in classifier.hashes.items()
        if content_hash in known
    ]


def _tag_by_rules(creatives: pd.DataFrame) -> list[Row]:
    from pipeline_assets.analysis.classification import classify_ads  # noqa: PLC0415

    return cast("list[Row]", classify_ads(creatives).to_dict("records"))


def _ask_model(attempt: Attempt, creatives: pd.DataFrame, classifier: _Classifier) -> ModelTags:
    """What the brand's language model says of each content; nothing when it has none."""
    from pipeline_assets.analysis.classification import read_creatives  # noqa: PLC0415

    source = attempt.brand.sources.language_model
    if source is None:
        return ModelTags()
    asked = {
        classifier.hashes[creative_id]: (creative, classifier.pictures.get(creative_id))
        for (creative_id, _), creative in read_creatives(creatives)
    }
    return ask_model(attempt, source, [AskedContent(each, *asked[each]) for each in asked])


def _row(by_rules: Row, classifier: _Classifier, model_tags: ModelTags) -> Row:
    """The rules' row, with the language model's tags in their place where there are some."""
    content_hash = classifier.hashes[by_rules["creative_id"]]
    tags = model_tags.tags.get(content_hash)
    if tags is None:
        return by_rules | {"fallback_reason": model_tags.reasons.get(content_hash)}
    return by_rules | {
        **{dimension: tag["value"] for dimension, tag in tags.items()},
        "tags": tags,
        "content_hash": content_hash,
        "classifier": classifier.name,
        "classifier_version": classifier.version,
        "fallback_reason": None,
    }


def _distinct_ads(creatives: pd.DataFrame) -> int:
    return int(creatives.loc[creatives["creative_id"].notna(), "ad_id"].nunique())


def _hook_check(rows: list[Row]) -> Check:
    unknown = sum(1 for row in rows if row["hook_type"] == "unknown")
    return Check(
        unknown <= MAX_UNKNOWN_RATIO * len(rows),
        f"{unknown} of {len(rows)} creatives have an unknown hook.",
        {"creatives": len(rows), "unknown_hooks": unknown},
    )


def _model_check(attempt: Attempt, rows: list[Row]) -> Check:
    source = attempt.brand.sources.language_model
    if source is None:
        return Check(True, "No language model is configured; the rules tag.")
    reasons = Counter(row["fallback_reason"] for row in rows if row["fallback_reason"])
    figures = {"creatives": len(rows), "tagged_by_rules": reasons.total()}
    if not reasons:
        return Check(True, f"{source.model} tagged all {len(rows)} creatives.", figures)
    return Check(
        False,
        f"The rules tagged {reasons.total()} of {len(rows)} creatives in place of "
        f"{source.model}. {reasons.most_common(1)[0][0]}",
        figures,
        is_warning=True,
    )
