"""The thumbnails of a brand's creatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline_assets.assets.attempt import Attempt, Outcome, dataset_asset
from pipeline_assets.assets.bad_items import BadItems
from pipeline_assets.assets.media_fetch import ItemKey, MediaItem, fetch_media
from pipeline_assets.assets.media_rows import (
    STORE_CHECK,
    Row,
    group_by_account,
    is_in_store,
    note_result,
    read_creatives,
    write_media_rows,
)
from pipeline_assets.errors import AccessError, PipelineError


@dataset_asset("ad_thumbnails", checks=(STORE_CHECK,))
def ad_thumbnails(attempt: Attempt) -> Outcome:
    """The thumbnail of every creative, as bytes in the media store.

    Source: Meta's CDN; its addresses expire within days, so the bytes are kept. A picture whose
    address names the same file as before is not fetched again.

    Check: every creative has its thumbnail, but for one in twenty.
    """
    from pipeline_assets.sources.signed_urls import url_source_key  # noqa: PLC0415

    creatives = read_creatives(attempt)
    stored = {row["creative_id"]: row for row in attempt.read_rows()}
    rows: dict[str, Row] = {}
    items: list[MediaItem] = []
    for creative_id, creative in creatives.items():
        url = creative["thumbnail_url"]
        source_key = url_source_key(url) if url else None
        row = stored.get(creative_id)
        if row and row["source_key"] == source_key and is_in_store(attempt, row["sha256"]):
            rows[creative_id] = row
        else:
            rows[creative_id] = _blank(attempt, creative_id, creative, source_key=source_key)
            items.append(MediaItem(("image", creative_id), is_video=False, url=url))
    addresses = _ThumbnailAddresses(attempt, creatives)
    fetched = fetch_media(attempt, items, refresh=addresses.read)
    bad = BadItems("thumbnails", total=len(rows))
    for (_, creative_id), result in fetched.items():
        note_result(attempt, rows[creative_id], result, bad, name=f"creative {creative_id}")
    return write_media_rows(attempt, list(rows.values()), bad, creatives, fetched)


class _ThumbnailAddresses:
    """Reads the thumbnails' addresses anew, account by account, 50 to a call."""

    def __init__(self, attempt: Attempt, creatives: Mapping[str, Row]) -> None:
        self._attempt, self._creatives = attempt, creatives

    def read(self, keys: Sequence[ItemKey]) -> dict[ItemKey, str | PipelineError]:
        from pipeline_assets.sources import meta  # noqa: PLC0415

        client = self._attempt.installation.graph_client(self._attempt.brand)
        found: dict[ItemKey, str | PipelineError] = {}
        ids = [creative_id for _, creative_id in keys]
        for account_id, of_account in group_by_account(ids, self._creatives).items():
            answers = meta.fetch_thumbnail_addresses(client, account_id, of_account)
            for creative_id in of_account:
                answer = answers.get(creative_id)
                problem = (answer and answer.problem) or "Meta names no thumbnail for it."
                found["image", creative_id] = (answer and answer.url) or AccessError(problem)
        return found


def _blank(attempt: Attempt, creative_id: str, creative: Row, *, source_key: str | None) -> Row:
    return {
        **dict.fromkeys(attempt.schema.column_names),
        "brand_id": attempt.brand.id,
        "creative_id": creative_id,
        "ad_account_id": creative["ad_account_id"],
        "source_key": source_key,
    }
