"""Whether people have seen enough of a creative: the rules of fatigue, with their figures.

A day is judged by the seven that end with it, because single days are mostly chance.
"""

import numpy as np

from pipeline_assets.analysis.creative_days import WEEK_DAYS, CreativeDays, Floats
from pipeline_assets.analysis.scorecard_rules import (
    CPC_RISES_RATIO,
    CTR_FALLS_RATIO,
    FATIGUE_DAYS,
    MAX_FREQUENCY,
    MIN_FATIGUE_CLICKS,
    MIN_IMPRESSIONS,
)

Reasons = list[list[str]]


def find_fatigue(days: CreativeDays) -> Reasons:
    """Per creative, which rules hold, in words."""
    reasons: Reasons = [[] for _ in range(len(days.facts))]
    clicks = days.rolling_weeks("inline_link_clicks")
    _add_fallen_ctr(reasons, days.rolling_weeks("impressions"), clicks)
    _add_high_frequency(reasons, days)
    _add_risen_cpc(reasons, days.rolling_weeks("spend"), clicks, days.currency)
    return reasons


def _add_fallen_ctr(reasons: Reasons, impressions: Floats, clicks: Floats) -> None:
    """Where a fifth lack of MIN_FATIGUE_CLICKS or more that the CTR's peak would have brought."""
    ctr = _ratio(clicks, impressions)
    peak = np.where(clicks >= MIN_FATIGUE_CLICKS, ctr, 0).max(axis=1)
    expected = impressions[:, -FATIGUE_DAYS:] * peak[:, np.newaxis]
    has_fallen = clicks[:, -FATIGUE_DAYS:] <= (1 - CTR_FALLS_RATIO) * expected
    for row in np.flatnonzero((has_fallen & (expected >= MIN_FATIGUE_CLICKS)).all(axis=1)):
        reasons[row].append(
            f"Link CTR at least {100 * CTR_FALLS_RATIO:.0f} % under its peak for {FATIGUE_DAYS} "
            f"days: {100 * ctr[row, -1]:.2f} % in the last 7 days, {100 * peak[row]:.2f} % at best."
        )


def _add_high_frequency(reasons: Reasons, days: CreativeDays) -> None:
    # Reach of days is added up: people reached on several days make the real frequency higher.
    impressions = days.rolling_weeks("reached_impressions")[:, -1]
    frequency = _ratio(impressions, days.rolling_weeks("reach")[:, -1])
    is_high = (frequency > MAX_FREQUENCY) & (impressions >= MIN_IMPRESSIONS)
    for row in np.flatnonzero(is_high):
        reasons[row].append(
            f"Frequency of at least {frequency[row]:.2f} in the last 7 days, above "
            f"{MAX_FREQUENCY:g}."
        )


def _add_risen_cpc(reasons: Reasons, spend: Floats, clicks: Floats, currency: str) -> None:
    """Where the week before the risen ones, and each of them, had MIN_FATIGUE_CLICKS."""
    cpc = _ratio(spend, clicks)
    before = cpc.shape[1] - FATIGUE_DAYS - WEEK_DAYS  # ends where the first risen week begins
    was, became = cpc[:, before, np.newaxis], cpc[:, -FATIGUE_DAYS:]
    is_sure = (clicks[:, -FATIGUE_DAYS:] >= MIN_FATIGUE_CLICKS).all(axis=1)
    is_sure &= clicks[:, before] >= MIN_FATIGUE_CLICKS
    has_risen = ((became >= (1 + CPC_RISES_RATIO) * was) & (was > 0)).all(axis=1)
    for row in np.flatnonzero(has_risen & is_sure):
        reasons[row].append(
            f"Cost per link click at least {100 * CPC_RISES_RATIO:.0f} % up for {FATIGUE_DAYS} "
            f"days: {became[row, -1]:,.2f} {currency} in the last 7 days, "
            f"{was[row, 0]:,.2f} before."
        )


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, 0 where it divides by 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
