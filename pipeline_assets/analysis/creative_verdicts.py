"""Which creatives win and which lose, in whatever currency.

Motion calls a creative a winner that has ten times the median spend and at least 500 dollars: a
rule for big accounts in one currency. Here the brand's own return in the currency is the measure,
and chance is kept out. A winner's ROAS (cost per purchase, where purchases have no value) is better
than that of all the brand's spend even at the unlucky end of its 80 % interval, with at least the
median creative's spend; a loser's is worse even at the lucky end. What could not bring
ENOUGH_PURCHASES yet is too early to judge.
"""

from dataclasses import dataclass

import pandas as pd

from pipeline_assets.analysis.scorecard_rules import ENOUGH_PURCHASES, MIN_IMPRESSIONS

_TAIL_Z = 1.2816  # 10 % of a normal distribution lie beyond: an interval of 80 %


def find_verdicts(sums: pd.DataFrame, currency: str) -> tuple[list[str], list[str]]:
    """Label (winner, middle, loser or too_early) and reason of each row of sums."""
    total = sums.sum()
    is_seen = sums["impressions"] >= MIN_IMPRESSIONS
    yardstick = _Yardstick(
        currency,
        float(total["spend"]),
        float(total["purchases"]),
        float(total["purchase_value"]),
        float(sums.loc[is_seen, "spend"].median()),
    )
    names = ("impressions", "spend", "purchases", "purchase_value")
    rows = zip(*(sums[name].tolist() for name in names), strict=True)
    verdicts = [_verdict(*row, yardstick=yardstick) for row in rows]
    return [label for label, _ in verdicts], [reason for _, reason in verdicts]


@dataclass(frozen=True)
class _Yardstick:
    """What a creative has to beat: what the brand gets for its money in this currency."""

    currency: str
    spend: float
    purchases: float
    purchase_value: float
    median_spend: float

    @property
    def counts_value(self) -> bool:
        """Whether purchases have a value; otherwise each counts as one."""
        return self.purchase_value > 0

    @property
    def level(self) -> float:
        """Value (or number) of purchases per unit of spend."""
        return (self.purchase_value if self.counts_value else self.purchases) / self.spend

    def describe(self, gain: float) -> str:
        """A gain per unit of spend as people name it: ROAS, or what a purchase costs."""
        if self.counts_value:
            return f"{gain:.2f}"
        return f"{1 / gain:,.2f} {self.currency}" if gain > 0 else "any amount"

    def describe_range(self, low: float, middle: float, high: float) -> str:
        """A gain and the ends of its interval."""
        if self.counts_value:
            return f"ROAS {middle:.2f}, {low:.2f} to {high:.2f}"
        if middle <= 0:
            return f"Cost per purchase: unknown, {self.describe(high)} or more"
        return (
            f"Cost per purchase: {self.describe(middle)}, "
            f"{self.describe(high)} to {self.describe(low)}"
        )


def _verdict(
    impressions: float,
    spend: float,
    purchases: float,
    purchase_value: float,
    *,
    yardstick: _Yardstick,
) -> tuple[str, str]:
    too_early = _why_too_early(impressions, spend, purchases, yardstick)
    if too_early:
        return "too_early", too_early
    low, middle, high = _gains(spend, purchases, purchase_value, yardstick)
    say, level = yardstick.describe, yardstick.level
    found = f"{yardstick.describe_range(low, middle, high)} with 80 % confidence"
    if high < level:
        return "loser", f"{found}: worse than the brand's {say(level)}."
    if low <= level:
        return "middle", f"{found}: not surely better or worse than the brand's {say(level)}."
    better = f"{found}: better than the brand's {say(level)}"
    spent = f"{spend:,.2f} {yardstick.currency}"
    median = f"the median creative's {yardstick.median_spend:,.2f}"
    if spend < yardstick.median_spend:
        return "middle", f"{better}, but it has spent {spent}, less than {median}."
    return "winner", f"{better}, with {spent} spent, at least {median}."


def _why_too_early(
    impressions: float, spend: float, purchases: float, yardstick: _Yardstick
) -> str | None:
    if impressions < MIN_IMPRESSIONS:
        return f"{impressions:,.0f} impressions; it takes {MIN_IMPRESSIONS:,}."
    if min(yardstick.purchases, yardstick.spend) <= 0:
        return f"The brand has no purchases in {yardstick.currency} to compare with."
    if spend <= 0:
        return "Nothing was spent on it."
    expected = spend * yardstick.purchases / yardstick.spend
    if max(expected, purchases) < ENOUGH_PURCHASES:
        return (
            f"{spend:,.2f} {yardstick.currency} bring {expected:.1f} purchases at the brand's "
            f"average; it takes {ENOUGH_PURCHASES}."
        )
    return None


def _gains(
    spend: float, purchases: float, purchase_value: float, yardstick: _Yardstick
) -> tuple[float, float, float]:
    """Low end, middle and high end of what a unit of spend brings."""
    count = max(purchases, 0.0)
    worth = 1.0
    if yardstick.counts_value:
        worth = purchase_value / count if count else yardstick.purchase_value / yardstick.purchases
    low, high = _poisson_interval(count)
    return low * worth / spend, count * worth / spend, high * worth / spend


def _poisson_interval(count: float) -> tuple[float, float]:
    """The 80 % interval of a count's mean, by Byar's approximation.

    Source: Breslow and Day, Statistical Methods in Cancer Research II (1987), section 2.3.
    """
    low = count * max(0.0, 1 - 1 / (9 * count) - _TAIL_Z / (3 * count**0.5)) ** 3 if count else 0.0
    above = count + 1
    return low, above * (1 - 1 / (9 * above) + _TAIL_Z / (3 * above**0.5)) ** 3
