"""The pages that a brand's active ads lead to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.errors import SourceUnavailableError, TooManyBadItemsError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline_assets.sources.web_pages import PageContent, PageVisit

Row = dict[str, Any]

MAX_VERSIONS = 50
MAX_UNREACHABLE_RATIO = 0.2
MAX_UNREADABLE_RATIO = 0.5
MAX_LOST_PRICE_RATIO = 0.5

_REACHABLE, _READABLE, _PRICES = (
    "pages_are_reachable",
    "most_pages_can_be_read",
    "prices_are_still_found",
)
_UNREACHABLE_STATES = frozenset({"failed", "not_found", "refused"})
"""A visitor who clicks meets nothing either; the other states are between shops and programs."""

# Before the job is ended what was read is stored; the next run begins with what was not.
_RUNTIME_SHARE = 0.75


@dataset_asset("landing_pages", checks=(_REACHABLE, _READABLE, _PRICES))
def landing_pages(attempt: Attempt) -> Outcome:
    """What the pages say that active ads lead to: heading, first words, product, price, discount.

    Source: the pages themselves over HTTP, as robots.txt allows, in a run one at a time per host,
    without a browser. A page that cannot be read now keeps what it said when it last could, beside
    the state of now; the contents seen are kept in `versions`.

    Check: at most a fifth of the pages are missing, refused or without an answer; at most half
    cannot be read for this or another reason (blocked, disallowed, need a browser); and of the
    pages that had a price at most half have lost it.
    """
    from pipeline_assets.analysis.destinations import destinations  # noqa: PLC0415

    leads = destinations(_read_active_creatives(attempt))
    ad_counts = {str(url): int(count) for url, count in leads["url"].value_counts().items()}
    before = {row["url"]: row for row in attempt.read_rows() if row["url"] in ad_counts}
    visits = _visit(attempt, sorted(ad_counts, key=lambda url: _last_read(before.get(url))))
    _refuse_silence(visits)
    rows = dict(before)
    for visit in visits:
        rows[visit.url] = update_row(attempt, before.get(visit.url), visit)
    for url, row in rows.items():
        row["ad_count"] = ad_counts[url]
    unread = len(ad_counts) - len(visits)
    return Outcome(
        records=attempt.replace_rows(rows.values()),
        distinct_ads=int(leads["ad_id"].nunique()),
        checks={
            _REACHABLE: _check_reachable(visits),
            _READABLE: _check_readable(visits),
            _PRICES: check_prices(before, visits),
        },
        metadata={
            "states": dict(Counter(visit.state.value for visit in visits)),
            "changed": sum(row["changed_at"] == attempt.started_at for row in rows.values()),
            "hosts": len({row["host"] for row in rows.values()}),
        },
        incomplete=_out_of_time(attempt, unread, len(ad_counts)) if unread else None,
    )


def _read_active_creatives(attempt: Attempt) -> pd.DataFrame:
    from pipeline_assets.analysis.destinations import INPUT_COLUMNS  # noqa: PLC0415
    from pipeline_assets.schemas import META_AD_CREATIVES  # noqa: PLC0415
    from pipeline_assets.storage.tables import DATASET_TABLES  # noqa: PLC0415

    table = DATASET_TABLES[META_AD_CREATIVES.name]
    return attempt.read_frame(
        META_AD_CREATIVES,
        columns=INPUT_COLUMNS,
        where=[table.c.effective_status == "ACTIVE"],
    )


def _last_read(row: Row | None) -> str:
    """Orders pages by when they were last asked for, new ones first."""
    return row["fetched_at"].isoformat() if row else ""


def _visit(attempt: Attempt, urls: Sequence[str]) -> list[PageVisit]:
    """The visits of all pages, or of as many as there is time for."""
    from pipeline_assets.sources.web_pages import visit_pages  # noqa: PLC0415

    deadline = time.monotonic() + _seconds(attempt)
    visits: list[PageVisit] = []
    with attempt.installation.public_http(attempt.brand) as http:
        for visit in visit_pages(http, urls):
            visits.append(visit)
            attempt.heartbeat.progress(len(visits), len(urls), "pages visited")
            if time.monotonic() > deadline:
                break
    return visits


def _seconds(attempt: Attempt) -> float:
    return _RUNTIME_SHARE * attempt.max_runtime.total_seconds()


def _refuse_silence(visits: Sequence[PageVisit]) -> None:
    """Fail when not one host gave an answer: then the fault is more likely on our side.

    Raises: TooManyBadItemsError.
    """
    if visits and all(visit.is_silence for visit in visits):
        raise TooManyBadItemsError(
            f"None of {len(visits)} landing pages gave an answer, for example: "
            f"{visits[0].reason} What was stored before is kept.",
            advice="Look whether this machine reaches the internet, and the shop with a browser.",
        )


def update_row(attempt: Attempt, before: Row | None, visit: PageVisit) -> Row:
    """The page's row after a visit: what it said stays as it was when it cannot be read now."""
    from pipeline_assets.sources.web_pages import host_name  # noqa: PLC0415

    row = before or {
        **dict.fromkeys(attempt.schema.column_names),
        "brand_id": attempt.brand.id,
        "url": visit.url,
        "host": host_name(visit.url),
        "versions": [],
        "first_seen_at": attempt.started_at,
    }
    return {
        **row,
        "state": visit.state.value,
        "status_code": visit.status_code,
        "final_url": visit.final_url,
        "redirect_count": visit.redirect_count,
        "seconds": round(visit.seconds, 3),
        "error": visit.reason,
        "fetched_at": attempt.started_at,
        **(_said(attempt, row, visit.content) if visit.content else {}),
    }


def _said(attempt: Attempt, row: Row, content: PageContent) -> Row:
    """The columns of what the page says, its history included."""
    said = {name: getattr(content, name) for name in row if hasattr(content, name)}
    said |= {"product_names": list(content.product_names), "read_at": attempt.started_at}
    if content.content_hash == row["content_hash"]:
        return said
    version = {
        "content_hash": content.content_hash,
        "seen_at": attempt.started_at.isoformat(),
        "title": content.title,
        "price": None if content.price is None else str(content.price),
        "currency": content.currency,
    }
    return {
        **said,
        "versions": [version, *row["versions"]][:MAX_VERSIONS],
        "changed_at": attempt.started_at if row["content_hash"] else None,
    }


def _check_reachable(visits: Sequence[PageVisit]) -> Check:
    states = [visit.state.value for visit in visits]
    unreachable = sum(state in _UNREACHABLE_STATES for state in states)
    return Check(
        unreachable <= MAX_UNREACHABLE_RATIO * len(visits),
        f"{unreachable} of {len(visits)} pages are missing, refused or gave no answer.",
        {"pages": len(visits), "unreachable": unreachable},
    )


def _check_readable(visits: Sequence[PageVisit]) -> Check:
    unreadable = sum(visit.content is None for visit in visits)
    return Check(
        unreadable <= MAX_UNREADABLE_RATIO * len(visits),
        f"{unreadable} of {len(visits)} pages could not be read.",
        {"pages": len(visits), "unreadable": unreadable},
        is_warning=True,
    )


def check_prices(before: Mapping[str, Row], visits: Sequence[PageVisit]) -> Check:
    """Whether prices that were found are found again: shops that were rebuilt hide them from us."""
    again = [
        visit.content
        for visit in visits
        if visit.content and before.get(visit.url, {}).get("price") is not None
    ]
    lost = sum(content.price is None for content in again)
    return Check(
        lost <= MAX_LOST_PRICE_RATIO * len(again),
        f"{lost} of {len(again)} pages that had a price have none now.",
        {"pages_with_a_price_before": len(again), "lost": lost},
        is_warning=True,
    )


def _out_of_time(attempt: Attempt, unread: int, total: int) -> SourceUnavailableError:
    minutes = _seconds(attempt) / 60
    return SourceUnavailableError(
        f"{unread} of {total} landing pages were not reached in {minutes:.0f} minutes, "
        "because their hosts are slow or want long pauses.",
        advice="Nothing needs to be done: the next run begins with them.",
    )
