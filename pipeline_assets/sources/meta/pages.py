"""What only a page's own token may read: its videos' files and the posts that were boosted.

Source: Meta Graph API v26.0, "Page" (`access_token`), "Page post" and "Video".
"""

from collections.abc import Iterable, Iterator, Sequence

from pipeline_assets.errors import AccessError, CredentialError, SourceRejectedError
from pipeline_assets.sources.meta import creative_parsing
from pipeline_assets.sources.meta.batch import BatchRead, BatchResult, fetch_batched
from pipeline_assets.sources.meta.client import GraphClient

_PAGE_FIELDS = "effective_object_story_id,object_story_id,object_story_spec{page_id}"


def fetch_page_ids(
    client: GraphClient, account_id: str, creative_ids: Sequence[str]
) -> dict[str, str]:
    """The page of each creative that names one, by the creative's id."""
    reads = [BatchRead(each, each, {"fields": _PAGE_FIELDS}) for each in creative_ids]
    return {
        result.item_id: page_id
        for result in fetch_batched(client, reads, account_id=account_id)
        if (page_id := creative_parsing.page_id(result.body or {}))
    }


def fetch_as_pages(
    client: GraphClient, reads: Iterable[tuple[str, BatchRead]], *, account_id: str
) -> Iterator[BatchResult]:
    """A result for each `(page_id, read)` whose page lets us in; the others are absent.

    The calls count for the account.

    Raises:
        CredentialError: our own token is refused; a page's that is, only closes that page.
        RateLimitedError, SourceUnavailableError: what concerns all of them.
    """
    by_page: dict[str, list[BatchRead]] = {}
    for page_id, read in reads:
        by_page.setdefault(page_id, []).append(read)
    for page_id, of_page in by_page.items():
        page = client.for_page(page_id, account_id=account_id)
        if page is not None:
            yield from _fetch_as_page(page, of_page, account_id=account_id)


def _fetch_as_page(
    page: GraphClient, reads: list[BatchRead], *, account_id: str
) -> list[BatchResult]:
    try:
        return list(fetch_batched(page, reads, account_id=account_id))
    except (AccessError, CredentialError, SourceRejectedError):
        return []  # as without the page's token
