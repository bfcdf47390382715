"""How each creative does beside the brand's other creatives, over 28 days.

Belongs here: rates, places among the others, confidence, change, and the whole row of it. Does not:
the sums and what a creative is (`creative_days.py`), the figures' definitions (`ad_figures.py`),
fatigue and labels (`creative_fatigue.py`, `creative_verdicts.py`), thresholds
(`scorecard_rules.py`).

The days end with the newest there is data for, in the ad accounts' time zones. That day may still
be under way, and purchases come in late: of the last days spend, CVR and ROAS lean low.
"""

from collections.abc import Iterable
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline_assets.analysis.ad_figures import FIGURES
from pipeline_assets.analysis.creative_days import (
    WEEK_COUNT,
    AdDays,
    CreativeDays,
    add_up,
    first_day,
)
from pipeline_assets.analysis.creative_fatigue import find_fatigue
from pipeline_assets.analysis.creative_verdicts import find_verdicts
from pipeline_assets.analysis.scorecard_rules import (
    BREAKS_BELOW_PERCENTILE,
    CONFIDENCE_HIGH,
    CONFIDENCE_MEDIUM,
    MIN_EVENTS,
    MIN_IMPRESSIONS,
    SCORER_VERSION,
)

LINKS = {"hook": "hook_rate", "hold": "hold_rate", "click": "link_ctr", "convert": "cvr"}
"""The chain that a person goes along, and the rate of each link."""

CHANGES = (*LINKS.values(), "spend", "roas")
"""Figures whose last 7 days are set against the 7 before."""

OUTPUT_COLUMNS = (
    "creative_key",
    "currency",
    "creative_id",
    "ad_name",
    "media_type",
    "hook_type",
    "messaging_angle",
    "ad_count",
    "since",
    "until",
    "impressions",
    "spend",
    "spend_share",
    "purchases",
    "purchase_value",
    "roas",
    "cpa",
    "frequency",
    *LINKS.values(),
    *(f"{link}_percentile" for link in LINKS),
    "confidence",
    "change",
    "is_fatigued",
    "fatigue_reasons",
    "label",
    "label_reason",
    "weakest_link",
    "scorer_version",
)

_WILSON_Z = 1.96  # of an interval of 95 %


def score_creatives(
    ad_days: Iterable[AdDays],
    creatives: pd.DataFrame,
    classes: pd.DataFrame,
    *,
    until: date,
) -> pd.DataFrame:
    """A row per creative and currency with figures in the 28 days that end with `until`.

    Takes what `creative_days.add_up` takes. The result has OUTPUT_COLUMNS, by currency and
    creative_key; what is not known is None. spend and purchase_value are Decimals. A percentile is
    the mean rank among all rows of the brand, whatever their currency, that have MIN_IMPRESSIONS
    and a rate of at least MIN_EVENTS clicks or views: 100 * (those below + half of those equal,
    itself among them) / all. Equal rates are equal, the only one has 50.
    """
    days = add_up(ad_days, creatives, classes, until=until)
    if not days:
        return pd.DataFrame(columns=list(OUTPUT_COLUMNS), dtype="object")
    scored = pd.concat([_score(each) for each in days], ignore_index=True)
    scored["since"], scored["until"] = first_day(until), until
    scored["scorer_version"] = SCORER_VERSION
    _rank(scored)
    columns = scored[list(OUTPUT_COLUMNS)].astype("object")
    return columns.where(columns.notna(), None)


def _score(days: CreativeDays) -> pd.DataFrame:
    """One currency's rows: everything but the places among all of the brand's creatives."""
    scored, sums = days.facts.copy(), days.sums()
    for name in ("spend", "purchase_value"):
        scored[name] = pd.Series(days.exact_sums(name), dtype="object")
    scored["spend_share"] = sums["spend"] / (sums["spend"].sum() or np.nan)
    scored["impressions"] = sums["impressions"].astype("int64")
    scored["purchases"] = sums["purchases"]
    scored["frequency"] = sums["reached_impressions"] / _not_zero(sums["reach"])
    for name in ("roas", "cpa", *LINKS.values()):
        scored[name] = _figure(name, sums, scored["has_video"])
    for name in LINKS.values():
        scored[f"{name}_sample"] = sums[FIGURES[name].denominator or ""]
    scored["currency"] = days.currency
    scored["confidence"] = _confidence(sums)
    scored["change"] = pd.Series(_changes(days), dtype="object")
    scored["fatigue_reasons"] = pd.Series(find_fatigue(days), dtype="object")
    scored["is_fatigued"] = scored["fatigue_reasons"].map(bool)
    scored["label"], scored["label_reason"] = find_verdicts(sums, days.currency)
    return scored


def _figure(name: str, sums: pd.DataFrame, has_video: pd.Series) -> pd.Series:
    """A figure of each row; NaN where it divides by 0, and of videos where there is none."""
    figure = FIGURES[name]
    values = sums[figure.numerator]
    if figure.denominator is not None:
        values = figure.factor * values / _not_zero(sums[figure.denominator])
    return values.where(has_video) if name in {"hook_rate", "hold_rate"} else values


def _not_zero(values: pd.Series) -> pd.Series:
    return values.where(values != 0)


def _confidence(sums: pd.DataFrame) -> npt.NDArray[np.str_]:
    """How sure the link CTR is, by the width of its interval."""
    count = sums["impressions"].clip(lower=1).to_numpy()
    ratio = np.clip(sums["inline_link_clicks"].to_numpy() / count, 0, 1)
    squared = _WILSON_Z**2
    middle = ratio + squared / (2 * count)
    half = _WILSON_Z * np.sqrt(ratio * (1 - ratio) / count + squared / (4 * count**2))
    width = half / middle
    is_low = (sums["impressions"] < MIN_IMPRESSIONS) | (width > CONFIDENCE_MEDIUM)
    return np.select([is_low, width > CONFIDENCE_HIGH], ["low", "medium"], "high")


def _changes(days: CreativeDays) -> list[dict[str, dict[str, float | None]]]:
    before = days.sums(WEEK_COUNT - 2, WEEK_COUNT - 1)
    after = days.sums(WEEK_COUNT - 1, WEEK_COUNT)
    columns = []
    for name in CHANGES:
        was, became = (_figure(name, sums, days.facts["has_video"]) for sums in (before, after))
        change = (became - was) / _not_zero(was)
        values = (each.astype("object").where(each.notna(), None) for each in (was, became, change))
        columns.append(
            [
                {"before": each[0], "after": each[1], "change": each[2]}
                for each in zip(*values, strict=True)
            ]
        )
    return [dict(zip(CHANGES, row, strict=True)) for row in zip(*columns, strict=True)]


def _rank(scored: pd.DataFrame) -> None:
    """Add each link's percentile in the cohort, and the first link that is broken."""
    scored["weakest_link"] = None
    is_in_cohort = scored["impressions"] >= MIN_IMPRESSIONS
    for link, rate in reversed(LINKS.items()):
        takes_part = is_in_cohort & (scored[f"{rate}_sample"] >= MIN_EVENTS)
        ranks = scored[rate].where(takes_part).rank(method="average")
        percentile = 100 * (ranks - 0.5) / ranks.count()
        scored[f"{link}_percentile"] = percentile
        scored.loc[percentile < BREAKS_BELOW_PERCENTILE, "weakest_link"] = link
