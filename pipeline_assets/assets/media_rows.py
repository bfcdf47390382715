"""What both media datasets share: the creatives they are for, and how their rows are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pipeline_assets.assets.attempt import Attempt, Check, Outcome
from pipeline_assets.assets.bad_items import BadItems
from pipeline_assets.assets.media_fetch import Fetched, StoredMedia
from pipeline_assets.errors import PipelineError

Row = dict[str, Any]

STORE_CHECK = "media_are_in_the_store"


def read_creatives(attempt: Attempt) -> dict[str, Row]:
    """The brand's creatives by id: the first ad's row stands for all ads of a creative."""
    from pipeline_assets.schemas import META_AD_CREATIVES  # noqa: PLC0415

    rows = attempt.read_rows(
        META_AD_CREATIVES,
        columns=[
            "ad_account_id",
            "ad_id",
            "creative_id",
            "image_hashes",
            "video_ids",
            "image_url",
            "thumbnail_url",
            "object_story_id",
        ],
    )
    creatives: dict[str, Row] = {}
    for row in rows:
        if row["creative_id"]:
            creative = creatives.setdefault(str(row["creative_id"]), {**row, "ad_ids": set()})
            creative["ad_ids"].add(row["ad_id"])
    return creatives


def is_in_store(attempt: Attempt, sha256: str | None) -> bool:
    """Whether the bytes are still there: a row alone does not prove it."""
    return sha256 is not None and attempt.installation.media.has(sha256)


def note_result(
    attempt: Attempt, row: Row, result: StoredMedia | PipelineError, bad: BadItems, *, name: str
) -> None:
    """Put a fetched item, or why there is none, onto its row."""
    if isinstance(result, StoredMedia):
        row |= {k: v for k, v in asdict(result).items() if k in row}
        row["stored_at"] = attempt.started_at
    else:
        row["error"] = str(result)
        bad.add(f"{name}: {result}")


def group_by_account(ids: Iterable[str], rows: Mapping[str, Row]) -> dict[str, list[str]]:
    """The ids by the ad account that their rows name."""
    grouped: dict[str, list[str]] = {}
    for item_id in ids:
        grouped.setdefault(rows[item_id]["ad_account_id"], []).append(item_id)
    return grouped


def write_media_rows(
    attempt: Attempt,
    rows: list[Row],
    bad: BadItems,
    creatives: Mapping[str, Row],
    fetched: Fetched,
) -> Outcome:
    """Replace the brand's rows and tell what was stored; refuses when too many items are bad."""
    bad.refuse_too_many()
    records = attempt.replace_rows({**row, "fetched_at": attempt.started_at} for row in rows)
    creative_ids = {row["creative_id"] for row in rows}
    ads: set[str] = set().union(*(creatives[c]["ad_ids"] for c in creative_ids))
    new = [result for result in fetched.values() if isinstance(result, StoredMedia)]
    return Outcome(
        records=records,
        distinct_ads=len(ads),
        checks={
            STORE_CHECK: Check(
                bad.count * 20 <= bad.total,
                f"{bad.count} of {bad.total} {bad.kind} are not in the media store.",
                {"items": bad.total, "missing": bad.count},
            )
        },
        metadata={
            **bad.metadata(),
            "fetched": len(new),
            "fetched_bytes": sum(item.byte_count for item in new),
            "unchanged": bad.total - len(fetched),
        },
    )
