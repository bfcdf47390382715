"""What is computed from the stored ads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset

if TYPE_CHECKING:
    import pandas as pd

MAX_UNKNOWN_RATIO = 0.5
"""More unknown hooks than known ones means that the texts or the rules went wrong."""


@dataset_asset("ad_classifications", checks=("most_hooks_are_recognised",))
def ad_classifications(attempt: Attempt) -> Outcome:
    """Each creative tagged with closed vocabularies: format, hook, angle, awareness, offer, funnel.

    Source: the stored creatives, by rules over text, call to action and naming; each tag has its
    evidence and a confidence. Unchanged creatives keep their tags.

    Check: at most half of the creatives have an unknown hook.
    """
    from pipeline_assets.analysis import classification  # noqa: PLC0415
    from pipeline_assets.schemas import META_AD_CREATIVES  # noqa: PLC0415
    from pipeline_assets.storage.tables import DATASET_TABLES  # noqa: PLC0415
    from pipeline_assets.storage.windows import (  # noqa: PLC0415
        Scope,
        read_frame,
        read_rows,
        replace_rows,
    )

    engine, brand_id = attempt.installation.engine, attempt.brand.id
    creatives = read_frame(
        engine,
        META_AD_CREATIVES,
        brand_id=brand_id,
        columns=["ad_id", *classification.INPUT_COLUMNS],
        where=[DATASET_TABLES[META_AD_CREATIVES.name].c.error.is_(None)],
    )
    hashes = classification.content_hashes(creatives)
    kept = [
        row
        for row in read_rows(engine, attempt.schema, brand_id=brand_id)
        if hashes.get(row["creative_id"]) == row["content_hash"] and _is_of_this_version(row)
    ]
    kept_ids = [row["creative_id"] for row in kept]
    new = classification.classify_ads(creatives[~creatives["creative_id"].isin(kept_ids)])
    rows: list[dict[str, Any]] = [
        *kept,
        *(
            {
                **row,
                "brand_id": brand_id,
                "classified_at": attempt.started_at,
                "fallback_reason": None,
            }
            for row in cast("list[dict[str, Any]]", new.to_dict("records"))
        ),
    ]
    names = attempt.schema.column_names
    written = replace_rows(
        engine,
        attempt.schema,
        brand_id=brand_id,
        scopes=[Scope()],
        chunks=[
            [tuple({**row, "fetched_at": attempt.started_at}[n] for n in names) for row in rows]
        ],
        attempt_started_at=attempt.started_at,
        run_id=attempt.run_id,
    )
    return Outcome(
        records=written.written,
        distinct_ads=_distinct_ads(creatives),
        checks={"most_hooks_are_recognised": _hook_check(rows)},
        metadata={"classified": len(new), "unchanged": len(kept)},
    )


def _is_of_this_version(row: dict[str, Any]) -> bool:
    from pipeline_assets.analysis import classification, taxonomy  # noqa: PLC0415

    return (row["classifier"], row["classifier_version"], row["taxonomy_version"]) == (
        classification.CLASSIFIER,
        classification.CLASSIFIER_VERSION,
        taxonomy.TAXONOMY_VERSION,
    )


def _distinct_ads(creatives: pd.DataFrame) -> int:
    return int(creatives.loc[creatives["creative_id"].notna(), "ad_id"].nunique())


def _hook_check(rows: list[dict[str, Any]]) -> Check:
    unknown = sum(1 for row in rows if row["hook_type"] == "unknown")
    return Check(
        unknown <= MAX_UNKNOWN_RATIO * len(rows),
        f"{unknown} of {len(rows)} creatives have an unknown hook.",
        {"creatives": len(rows), "unknown_hooks": unknown},
    )
