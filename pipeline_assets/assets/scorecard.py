"""How each creative does, and the brand's totals day by day."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset

if TYPE_CHECKING:
    from pipeline_assets.schemas import TableSchema

TOLERANCE_RATIO = Decimal("0.01")
"""Spend that may lack: that of an ad or two whose creative could not be read."""

MAX_UNKNOWN_RATIO = 0.5
"""More unknown hooks than known ones do not tell which hooks work."""

_EXACT = Context(prec=15)  # so many digits of an amount come back from every database

Row = Mapping[str, Any]


@dataset_asset(
    "scorecard",
    checks=("no_figure_is_negative", "spend_is_that_of_all_ads", "most_hooks_are_known"),
)
def scorecard(attempt: Attempt) -> Outcome:
    """Each creative beside the brand's others: part of the spend, rank, weakest link, fatigue.

    Source: the stored daily figures, ads and classifications; nothing is fetched. A row is one
    video or picture, however many ads show it, in one currency, over the 28 days that end with the
    newest day there is data for. A second table, `scorecard_days`, has the totals of every stored
    day and currency.

    Check: no stored row has a negative count or spend; the creatives' spend is that of all ads
    (within 1 %); at most half of the creatives lack a known hook.
    """
    from pipeline_assets.schemas import SCORECARD_DAYS  # noqa: PLC0415
    from pipeline_assets.storage.ad_days import read_day_totals  # noqa: PLC0415

    with _no_search_for_cycles():
        attempt.heartbeat.progress(0, stage="adding up days and scoring creatives")
        with ThreadPoolExecutor(max_workers=1) as pool:  # the database adds up, this process scores
            totals = pool.submit(read_day_totals, attempt.installation.engine, attempt.brand.id)
            scored = _score(attempt)
            days = totals.result()
        # The dataset's own table comes last: an attempt that fails between has not succeeded, and
        # the next one writes both anew.
        attempt.heartbeat.progress(0, total=len(scored), stage="storing")
        _store(attempt, SCORECARD_DAYS, days)
        records = _store(attempt, attempt.schema, scored)
    return Outcome(
        records=records,
        distinct_ads=sum(row["ad_count"] for row in scored),
        checks={
            "no_figure_is_negative": _sign_check(days),
            "spend_is_that_of_all_ads": _spend_check(scored, days),
            "most_hooks_are_known": _hook_check(scored),
        },
        metadata={
            "labels": dict(Counter(row["label"] for row in scored)),
            "fatigued": sum(1 for row in scored if row["is_fatigued"]),
            "days": len(days),
        },
    )


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Without Python's search for cycles: among a million rows it takes a third of the time.

    There are none in rows: what is no longer needed goes at once, as ever.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _score(attempt: Attempt) -> list[Row]:
    from pipeline_assets.analysis import creative_days  # noqa: PLC0415
    from pipeline_assets.analysis.scorecard import OUTPUT_COLUMNS, score_creatives  # noqa: PLC0415
    from pipeline_assets.schemas import AD_CLASSIFICATIONS, META_AD_CREATIVES  # noqa: PLC0415
    from pipeline_assets.storage.ad_days import read_ad_days  # noqa: PLC0415
    from pipeline_assets.storage.ad_performance import read_stored_days  # noqa: PLC0415

    engine, brand_id = attempt.installation.engine, attempt.brand.id
    stored = read_stored_days(engine, brand_id)
    if stored is None:
        return []
    _, until = stored
    scored = score_creatives(
        read_ad_days(engine, brand_id, since=creative_days.first_day(until), until=until),
        attempt.read_frame(META_AD_CREATIVES, columns=creative_days.CREATIVE_COLUMNS),
        attempt.read_frame(AD_CLASSIFICATIONS, columns=creative_days.CLASS_COLUMNS),
        until=until,
    )
    rows = scored.itertuples(index=False, name=None)
    return [dict(zip(OUTPUT_COLUMNS, row, strict=True)) for row in rows]


def _store(attempt: Attempt, schema: TableSchema, rows: Sequence[Row]) -> int:
    """Make these the brand's only rows of the table; how many there are."""
    from pipeline_assets.schemas import ColumnType  # noqa: PLC0415

    facts = {"brand_id": attempt.brand.id, "fetched_at": attempt.started_at}
    amounts = [column.name for column in schema.columns if column.type is ColumnType.DECIMAL]
    whole = (
        {**row, **facts, **{name: _EXACT.create_decimal(row[name]) for name in amounts}}
        for row in rows
    )
    return attempt.replace_rows(whole, schema=schema)


def _sign_check(days: Sequence[Row]) -> Check:
    bad = {f"{day['date']} {day['currency']}": day["negative_rows"] for day in days}
    bad = {day: count for day, count in bad.items() if count}
    count = sum(bad.values())
    return Check(
        not bad,
        f"A count or the spend is negative in rows: {count}, the first of {next(iter(bad))}."
        if bad
        else "No stored row has a negative count or spend.",
        {"negative_rows": count},
    )


def _spend_check(scored: Sequence[Row], days: Sequence[Row]) -> Check:
    """Whether the creatives' spend is that of the same days; an unread creative's is missing."""
    from pipeline_assets.analysis.creative_days import first_day  # noqa: PLC0415

    of_creatives: dict[str, Decimal] = defaultdict(Decimal)
    of_days: dict[str, Decimal] = defaultdict(Decimal)
    for row in scored:
        of_creatives[row["currency"]] += row["spend"]
    for day in days:
        if day["date"] >= first_day(days[-1]["date"]):
            of_days[day["currency"]] += day["spend"]
    differing = [
        f"creatives {of_creatives[currency]} of ads {spend} {currency}"
        for currency, spend in of_days.items()
        if abs(of_creatives[currency] - spend) > TOLERANCE_RATIO * abs(spend)
    ]
    figures = {f"spend_{currency}": float(spend) for currency, spend in of_days.items()}
    if differing:
        return Check(False, f"Spend does not add up: {'; '.join(differing)}.", figures)
    return Check(True, "The creatives' spend is that of all ads.", figures)


def _hook_check(scored: Sequence[Row]) -> Check:
    unknown = sum(1 for row in scored if row["hook_type"] in {None, "unknown"})
    return Check(
        unknown <= MAX_UNKNOWN_RATIO * len(scored),
        f"{unknown} of {len(scored)} creatives lack a known hook.",
        {"creatives": len(scored), "unknown_hooks": unknown},
    )
