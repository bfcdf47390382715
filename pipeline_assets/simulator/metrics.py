"""What an ad delivered on one day: figures that follow from ad, day and the day's age alone.

All figures are whole numbers (money in minor units), so that sums over ads, days and breakdown
cells are exact. Belongs here: the figures and how they add up. Does not: how the API shows them
(`insights.py`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from operator import add
from typing import NamedTuple

FINAL_AFTER_DAYS = 28
"""From this age on a day's figures stand still (Meta Marketing API, Insights best practices)."""

_OFF_DAY_IN = 17  # about two days a month without delivery, so that rows are missing


class Metrics(NamedTuple):
    """Figures of one ad and day, or of many added up; `spend` and `purchase_value` in minor units.

    `reach` adds up people per ad and day; `peak_reach` is the largest part of that sum. People
    seen twice are taken out only where a row is shown (`distinct_reach`).
    """

    impressions: int = 0
    reach: int = 0
    clicks: int = 0
    inline_link_clicks: int = 0
    outbound_clicks: int = 0
    landing_page_views: int = 0
    spend: int = 0
    view_content: int = 0
    add_to_cart: int = 0
    initiate_checkout: int = 0
    purchases: int = 0
    purchase_value: int = 0
    leads: int = 0
    video_plays: int = 0
    video_2s: int = 0
    video_3s: int = 0
    thruplays: int = 0
    p25: int = 0
    p50: int = 0
    p75: int = 0
    p95: int = 0
    p100: int = 0
    video_30s: int = 0
    watch_seconds: int = 0
    reactions: int = 0
    comments: int = 0
    saves: int = 0
    peak_reach: int = 0

    @property
    def distinct_reach(self) -> int:
        """People who saw any of it: at least the best day's, at most the sum of all days."""
        return self.peak_reach + (self.reach - self.peak_reach) * 3 // 5

    @property
    def page_engagement(self) -> int:
        """Meta's sum of everything done with the post."""
        return self.inline_link_clicks + self.video_3s + self.reactions + self.comments + self.saves


NOTHING = Metrics()


@dataclass(frozen=True, slots=True)
class Traits:
    """What makes an ad good or bad, fixed for its life; ratios 0-1, money in minor units."""

    seed: int
    ad_id: str
    daily_impressions: float
    click_ratio: float
    hook_ratio: float
    hold_ratio: float
    conversion_ratio: float
    order_value: float
    cost_per_thousand: float
    frequency: float
    phase: float
    has_video: bool
    has_lead_form: bool
    video_seconds: float


def uniform(*parts: object, count: int) -> list[float]:
    """`count` (up to 16) numbers in [0, 1) that follow from the parts."""
    digest = blake2b(":".join(map(str, parts)).encode(), digest_size=64).digest()
    return [
        int.from_bytes(digest[4 * place : 4 * place + 4], "big") / 2**32 for place in range(count)
    ]


def draw_traits(
    seed: int, ad_id: str, *, video_seconds: float | None, has_lead_form: bool, minor_units: int
) -> Traits:
    """The traits that follow from seed and ad; `minor_units` is 100 for cents and 1 for yen."""
    draw = uniform(seed, ad_id, "traits", count=9)
    # Yen are about 150 to the dollar and have no minor unit, cents are 100 to it.
    money = 100.0 if minor_units == 100 else 150.0
    return Traits(
        seed=seed,
        ad_id=ad_id,
        daily_impressions=2000 * 12 ** draw[0],
        click_ratio=0.008 + 0.022 * draw[1],
        hook_ratio=0.18 + 0.30 * draw[2],
        hold_ratio=0.15 + 0.25 * draw[3],
        conversion_ratio=0.01 + 0.04 * draw[4],
        order_value=(25 + 95 * draw[5]) * money,
        cost_per_thousand=(4 + 14 * draw[6]) * money,
        frequency=1.05 + 0.45 * draw[7],
        phase=draw[8] * 60,
        has_video=video_seconds is not None,
        has_lead_form=has_lead_form,
        video_seconds=video_seconds or 0.0,
    )


def metrics_on(traits: Traits, day: date, *, age_days: int, elapsed: float) -> Metrics | None:
    """What the API knows of that day when it is `age_days` old; None when nothing was delivered.

    `elapsed` is the part of the day that is over (1.0 for every day but today). Conversions come
    in late and invalid traffic is taken out late: both stop after FINAL_AFTER_DAYS.
    """
    draw = uniform(traits.seed, traits.ad_id, day.toordinal(), count=10)
    if int(draw[0] * 2**32) % _OFF_DAY_IN == 0:
        return None
    week = (1.0, 0.97, 0.95, 1.0, 1.08, 1.2, 1.15)[day.weekday()]
    wave = 1 + 0.25 * math.sin((day.toordinal() + traits.phase) / 9)
    volume = traits.daily_impressions * week * wave * (0.8 + 0.4 * draw[1]) * elapsed
    impressions = int(volume * (1 + _surplus(age_days)))
    if impressions <= 0:
        return None
    return _derive(traits, draw, impressions, maturity=_maturity(age_days))


def _surplus(age_days: int) -> float:
    """Share of impressions that a young day still shows and that is later called invalid."""
    return max(0.0, 0.012 - 0.004 * age_days)


def _maturity(age_days: int) -> float:
    """Share (0-1) of a day's conversions that are known at that age."""
    if age_days >= FINAL_AFTER_DAYS:
        return 1.0
    return 1 - 0.4 * (1 - age_days / FINAL_AFTER_DAYS) ** 2


def _derive(traits: Traits, draw: Sequence[float], impressions: int, *, maturity: float) -> Metrics:
    clicks = int(impressions * traits.click_ratio * (1.2 + 0.4 * draw[2]))
    links = int(clicks * (0.62 + 0.1 * draw[3]))
    outbound = int(links * 0.94)
    landed = int(outbound * (0.72 + 0.15 * draw[4]))
    reach = max(1, int(impressions / (traits.frequency * (0.95 + 0.1 * draw[5]))))
    orders = 0 if traits.has_lead_form else links * traits.conversion_ratio
    purchases = int(orders * (0.7 + 0.6 * draw[6]) * maturity + draw[7] * 0.9)
    leads = int(links * traits.conversion_ratio * 2.5 * maturity) if traits.has_lead_form else 0
    purchases = 0 if traits.has_lead_form else purchases
    video = _video(traits, draw, impressions) if traits.has_video else {}
    return Metrics(
        impressions=impressions,
        reach=reach,
        peak_reach=reach,
        clicks=clicks,
        inline_link_clicks=links,
        outbound_clicks=outbound,
        landing_page_views=landed,
        spend=int(impressions * traits.cost_per_thousand / 1000 * (0.9 + 0.2 * draw[8])),
        view_content=int(landed * 0.83),
        add_to_cart=purchases * 3 + int(landed * 0.04),
        initiate_checkout=purchases * 2,
        purchases=purchases,
        purchase_value=int(purchases * traits.order_value * (0.85 + 0.3 * draw[9])),
        leads=leads,
        reactions=int(impressions * 0.0031 * (0.5 + draw[2])),
        comments=int(impressions * 0.0004 * (0.5 + draw[3])),
        saves=int(impressions * 0.0006 * (0.5 + draw[4])),
        **video,
    )


def _video(traits: Traits, draw: Sequence[float], impressions: int) -> dict[str, int]:
    plays = int(impressions * (0.9 + 0.08 * draw[2]))
    three = min(plays, int(impressions * traits.hook_ratio * (0.9 + 0.2 * draw[3])))
    thruplays = int(three * traits.hold_ratio * (0.9 + 0.2 * draw[4]))
    hold = traits.hold_ratio
    return {
        "video_plays": plays,
        "video_2s": min(plays, int(three * 1.15)),
        "video_3s": three,
        "thruplays": thruplays,
        "p25": int(three * (0.55 + hold / 2)),
        "p50": int(three * (0.3 + hold / 2)),
        "p75": int(three * (0.12 + hold * 0.6)),
        "p95": int(three * hold * 0.6),
        "p100": int(three * hold * 0.5),
        "video_30s": int(thruplays * 0.4) if traits.video_seconds >= 30 else 0,
        "watch_seconds": int(plays * traits.video_seconds * (0.1 + hold / 3)),
    }


def add_up(parts: Iterable[Metrics]) -> Metrics:
    """The exact sum; `peak_reach` is the largest single one."""
    total = NOTHING
    for part in parts:
        peak = max(total.peak_reach, part.peak_reach)
        total = Metrics._make(map(add, total, part))._replace(peak_reach=peak)
    return total


def split(metrics: Metrics, shares: Sequence[int]) -> list[Metrics]:
    """One part per share (positive, in any unit); the parts add up to the whole exactly.

    Order values follow the purchases, so that a part without purchases has no value.
    """
    parts, total, low = [], sum(shares), 0
    for share in shares:
        high = low + share
        part = Metrics._make(value * high // total - value * low // total for value in metrics)
        parts.append(
            part._replace(
                purchase_value=_value_share(metrics, low, high, total), peak_reach=part.reach
            )
        )
        low = high
    return parts


def _value_share(metrics: Metrics, low: int, high: int, total: int) -> int:
    if not metrics.purchases:
        return 0
    value, count = metrics.purchase_value, metrics.purchases
    return value * (count * high // total) // count - value * (count * low // total) // count
