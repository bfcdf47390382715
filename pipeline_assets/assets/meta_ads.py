"""What Meta's Marketing API says of a brand's ads: daily performance, and the ads themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.accounts import AccountResults, for_each_account
from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.assets.bad_items import BadItems

if TYPE_CHECKING:
    from pipeline_assets.sources.meta import CreativeChunk, DateWindow, GraphClient
    from pipeline_assets.storage.windows import RowSpool

TOLERANCE_RATIO = Decimal("0.01")
"""Meta's figures of the last days move while they are read: more than this is not movement."""


@dataclass
class _AccountPerformance:
    """One account's rows on their way to the table, and what was counted while they passed."""

    spool: RowSpool
    window: DateWindow
    currency: str
    ad_ids: set[str] = field(default_factory=set)
    spend: Decimal = Decimal(0)
    spend_of_account: Decimal = Decimal(0)
    missing_fields: frozenset[str] = frozenset()
    dropped_fields: frozenset[str] = frozenset()


@dataset_asset("meta_ads_performance", checks=("spend_matches_account_total",))
def meta_ads_performance(attempt: Attempt) -> Outcome:
    """Daily figures of every ad: spend, reach, clicks, purchases, video views.

    Source: Meta Marketing API, insights at ad level, one row per ad and day of the ad account's
    time zone. Each sync reads the last 28 days again, because Meta changes them for so long;
    younger rows are marked provisional.

    Check: the ads' spend adds up to the account's own total (within 1 %).
    """
    from pipeline_assets.storage.windows import Scope, replace_rows  # noqa: PLC0415

    with ExitStack() as spools:
        accounts = for_each_account(
            attempt, lambda client, account: _read_performance(attempt, client, account, spools)
        )
        attempt.heartbeat.progress(0, stage="storing")
        written = replace_rows(
            attempt.installation.engine,
            attempt.schema,
            brand_id=attempt.brand.id,
            scopes=[
                Scope(
                    values={"ad_account_id": account_id},
                    since=read.window.since,
                    until=read.window.until,
                )
                for account_id, read in accounts.by_account.items()
            ],
            chunks=itertools.chain.from_iterable(
                read.spool for read in accounts.by_account.values()
            ),
            attempt_started_at=attempt.started_at,
            run_id=attempt.run_id,
        )
    reads = accounts.by_account.values()
    return Outcome(
        records=written.written,
        distinct_ads=len(set().union(*(read.ad_ids for read in reads))),
        checks={"spend_matches_account_total": _spend_check(accounts)},
        metadata=_performance_metadata(accounts),
        incomplete=accounts.incomplete,
    )


def _read_performance(
    attempt: Attempt, client: GraphClient, account_id: str, spools: ExitStack
) -> _AccountPerformance:
    from pipeline_assets.sources import meta  # noqa: PLC0415
    from pipeline_assets.storage.windows import RowSpool  # noqa: PLC0415

    account = meta.fetch_ad_account(client, account_id)
    since, until = attempt.window or (None, None)
    window = meta.performance_window(
        attempt.started_at, account.timezone_name, since=since, until=until
    )
    if window.clamped:
        attempt.log(f"{account_id}: Meta keeps 37 months, so the window begins on {window.since}.")
    read = _AccountPerformance(
        spools.enter_context(RowSpool(attempt.schema)), window, account.currency
    )
    parse = meta.performance_row_parser(
        brand_id=attempt.brand.id,
        account_id=account_id,
        currency=account.currency,
        today=meta.account_today(attempt.started_at, account.timezone_name),
        fetched_at=attempt.started_at,
    )
    ad_id = attempt.schema.column_names.index("ad_id")
    spend = attempt.schema.column_names.index("spend")
    with meta.fetch_insights(client, meta.performance_query(account_id, window)) as stream:
        for chunk in stream:
            rows = parse(chunk)
            read.spool.append(rows)
            read.ad_ids.update(row[ad_id] for row in rows)
            read.spend += sum(row[spend] for row in rows)
            attempt.heartbeat.progress(read.spool.row_count, stage=f"{account_id}: rows read")
    read.missing_fields, read.dropped_fields = stream.missing_fields, stream.dropped_fields
    read.spend_of_account = meta.fetch_account_spend(client, account_id, window)
    return read


def _spend_check(accounts: AccountResults[_AccountPerformance]) -> Check:
    differing = [
        f"{account_id}: ads {read.spend} against account {read.spend_of_account} {read.currency}"
        for account_id, read in accounts.by_account.items()
        if abs(read.spend - read.spend_of_account) > TOLERANCE_RATIO * read.spend_of_account
    ]
    figures: dict[str, Any] = {
        account_id: float(read.spend) for account_id, read in accounts.by_account.items()
    }
    if differing:
        return Check(False, f"Spend does not add up: {'; '.join(differing)}.", figures)
    return Check(True, "The ads' spend adds up to each account's own total.", figures)


def _performance_metadata(accounts: AccountResults[_AccountPerformance]) -> dict[str, Any]:
    reads = accounts.by_account
    missing = {
        account: sorted(read.missing_fields)
        for account, read in reads.items()
        if read.missing_fields
    }
    dropped = {
        account: sorted(read.dropped_fields)
        for account, read in reads.items()
        if read.dropped_fields
    }
    return {
        "windows": {a: f"{r.window.since} to {r.window.until}" for a, r in reads.items()},
        "fields_asked_but_not_returned": missing,
        "fields_dropped": dropped,
    }


@dataset_asset("meta_ad_creatives", checks=("ads_have_readable_creatives",))
def meta_ad_creatives(attempt: Attempt) -> Outcome:
    """Every ad with the creative it shows: texts, destination, images, videos, status.

    Source: Meta Marketing API, the account's ads (archived and deleted ones too) and their
    creatives. A creative is read again only when its ad has changed.

    Check: at most one ad in twenty lacks a readable creative.
    """
    from pipeline_assets.storage.windows import Scope, replace_rows  # noqa: PLC0415

    accounts = for_each_account(
        attempt, lambda client, account: _read_creatives(attempt, client, account)
    )
    rows = [row for account_rows in accounts.by_account.values() for row in account_rows]
    names = attempt.schema.column_names
    ad_id, creative_id, error = (names.index(n) for n in ("ad_id", "creative_id", "error"))
    bad = BadItems("creatives", total=len(rows))
    for row in rows:
        if row[error]:
            bad.add(f"ad {row[ad_id]}: {row[error]}")
    bad.refuse_too_many()
    written = replace_rows(
        attempt.installation.engine,
        attempt.schema,
        brand_id=attempt.brand.id,
        scopes=[Scope(values={"ad_account_id": account_id}) for account_id in accounts.by_account],
        chunks=[rows],
        attempt_started_at=attempt.started_at,
        run_id=attempt.run_id,
    )
    without = sum(1 for row in rows if row[error] or not row[creative_id])
    return Outcome(
        records=written.written,
        distinct_ads=len({row[ad_id] for row in rows}),
        checks={
            "ads_have_readable_creatives": Check(
                without * 20 <= len(rows),
                f"{without} of {len(rows)} ads lack a readable creative.",
                {"ads": len(rows), "without_creative": without},
            )
        },
        metadata={**bad.metadata(), "distinct_creatives": len({row[creative_id] for row in rows})},
        incomplete=accounts.incomplete,
    )


def _read_creatives(
    attempt: Attempt, client: GraphClient, account_id: str
) -> list[tuple[Any, ...]]:
    from pipeline_assets.sources import meta  # noqa: PLC0415

    stored = _StoredCreatives(attempt, account_id)
    chunks = meta.fetch_creative_rows(
        client,
        account_id,
        brand_id=attempt.brand.id,
        fetched_at=attempt.started_at,
        known=stored.known,
    )
    rows: list[tuple[Any, ...]] = []
    for chunk in chunks:
        rows.extend(chunk.rows)
        rows.extend(stored.renewed(chunk, fetched_at=attempt.started_at))
        attempt.heartbeat.progress(len(rows), stage=f"{account_id}: ads read")
    return rows


class _StoredCreatives:
    """The rows of an account from earlier syncs: those that are still true need not be read."""

    def __init__(self, attempt: Attempt, account_id: str) -> None:
        from pipeline_assets.storage.tables import DATASET_TABLES  # noqa: PLC0415

        columns = DATASET_TABLES[attempt.schema.name].c
        rows = attempt.read_rows(
            where=[columns.ad_account_id == account_id, columns.error.is_(None)]
        )
        self._by_creative = {row["creative_id"]: tuple(row.values()) for row in rows}
        self.known: frozenset[tuple[str, datetime]] = frozenset(
            (row["creative_id"], row["ad_updated_at"])
            for row in rows
            if row["creative_id"] and row["ad_updated_at"]
        )

    def renewed(self, chunk: CreativeChunk, *, fetched_at: datetime) -> Iterator[tuple[Any, ...]]:
        """The stored rows of a chunk's unchanged ads, with what is the ad's own taken from now."""
        from pipeline_assets.sources import meta  # noqa: PLC0415

        for ad in chunk.unchanged:
            yield meta.refresh_row(self._by_creative[ad.creative_id], ad, fetched_at=fetched_at)
