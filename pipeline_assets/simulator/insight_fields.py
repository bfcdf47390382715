"""How each insights field is shown, by its name in Meta's API.

Every number is a string; None stands for a key that is omitted (zero, or not there at this level).
Source: Meta Marketing API v26.0, Ads Insights reference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_assets.simulator.metrics import Metrics
from pipeline_assets.simulator.world import Ad, ObjectKind

ATTRIBUTION_SETTINGS = ("7d_click_1d_view", "7d_click", "1d_click")
"""One per ad set, in turn."""

OBJECTIVES = (
    ("OUTCOME_SALES", "OFFSITE_CONVERSIONS"),
    ("OUTCOME_TRAFFIC", "LANDING_PAGE_VIEWS"),
    ("OUTCOME_AWARENESS", "REACH"),
)
"""Objective and optimization goal, one pair per campaign, in turn."""

_CLICK_WINDOWS = {"1d_click": 60, "7d_click": 85, "28d_click": 90}
"""Percent of a conversion's count that falls into a window of clicks; `1d_view` has the rest."""

_ACTIONS: tuple[tuple[str, str, bool], ...] = (
    ("link_click", "inline_link_clicks", True),
    ("landing_page_view", "landing_page_views", True),
    ("omni_landing_page_view", "landing_page_views", True),
    ("video_view", "video_3s", True),
    ("page_engagement", "page_engagement", True),
    ("post_engagement", "page_engagement", True),
    ("post_reaction", "reactions", True),
    ("comment", "comments", True),
    ("onsite_conversion.post_save", "saves", True),
    ("view_content", "view_content", False),
    ("omni_view_content", "view_content", False),
    ("offsite_conversion.fb_pixel_view_content", "view_content", False),
    ("add_to_cart", "add_to_cart", False),
    ("omni_add_to_cart", "add_to_cart", False),
    ("initiate_checkout", "initiate_checkout", False),
    ("omni_initiated_checkout", "initiate_checkout", False),
    ("purchase", "purchases", False),
    ("omni_purchase", "purchases", False),
    ("offsite_conversion.fb_pixel_purchase", "purchases", False),
    ("lead", "leads", False),
    ("onsite_conversion.lead_grouped", "leads", False),
)
"""Action type, the figure it counts, and whether it happens on the ad (one day after a click).

The types overlap: whoever adds them up counts people twice.
"""

_PURCHASE_TYPES = ("purchase", "omni_purchase", "offsite_conversion.fb_pixel_purchase")


@dataclass(frozen=True, slots=True)
class Row:
    """What a row is made of; `ad` is the first ad behind it, which names campaign and ad set."""

    metrics: Metrics
    ad: Ad
    level: str
    windows: Sequence[str]
    without_reach: bool

    def is_at_least(self, level: str) -> bool:
        """Whether the row is as fine as that level, so that it has its id and name."""
        order = ("account", "campaign", "adset", "ad")
        return order.index(self.level) >= order.index(level)

    @property
    def reach(self) -> int:
        """People, or 0 when Meta withholds it."""
        return 0 if self.without_reach else self.metrics.distinct_reach

    def money(self, minor: int) -> str | None:
        """An amount in whole units of the currency, as short as it can be written."""
        if not minor:
            return None
        if self.ad.account.minor_units == 1:
            return str(minor)
        return f"{minor / 100:.2f}".rstrip("0").rstrip(".")

    def cost(self, of: int, *, times: int = 1) -> str | None:
        """Spend per one of something."""
        if not of or not self.metrics.spend:
            return None
        return f"{self.metrics.spend * times / self.ad.account.minor_units / of:.6f}"


Formatter = Callable[[Row], Any]


def _count(name: str) -> Formatter:
    return lambda row: str(getattr(row.metrics, name)) if getattr(row.metrics, name) else None


def _percent(part: str) -> Formatter:
    def show(row: Row) -> str | None:
        value = getattr(row.metrics, part)
        return f"{100 * value / row.metrics.impressions:.6f}" if value else None

    return show


def _single(name: str, action_type: str) -> Formatter:
    def show(row: Row) -> list[dict[str, str]] | None:
        value = getattr(row.metrics, name)
        return [{"action_type": action_type, "value": str(value)}] if value else None

    return show


def _object(level: str, value: Callable[[Ad], Any]) -> Formatter:
    return lambda row: value(row.ad) if row.is_at_least(level) else None


def _stats(row: Row, action_type: str, value: int, *, on_ad: bool) -> dict[str, str]:
    stats = {"action_type": action_type, "value": str(value)}
    for window in row.windows:
        if part := _in_window(value, window, on_ad=on_ad):
            stats[window] = str(part)
    return stats


def _in_window(value: int, window: str, *, on_ad: bool) -> int:
    """The part that a window holds; 0 (no key) for those Meta no longer fills, as 7d_view."""
    if window in _CLICK_WINDOWS:
        return value if on_ad else value * _CLICK_WINDOWS[window] // 100
    if window == "1d_view" and not on_ad:
        return value - value * _CLICK_WINDOWS["7d_click"] // 100
    return 0


def _actions(row: Row) -> list[dict[str, str]] | None:
    return [
        _stats(row, action_type, value, on_ad=on_ad)
        for action_type, name, on_ad in _ACTIONS
        if (value := getattr(row.metrics, name))
    ] or None


def _action_values(row: Row) -> list[dict[str, str]] | None:
    if not row.metrics.purchases:
        return None
    shown = []
    for action_type in _PURCHASE_TYPES:
        stats = {"action_type": action_type, "value": row.money(row.metrics.purchase_value) or "0"}
        for window in row.windows:
            part = _in_window(row.metrics.purchase_value, window, on_ad=False)
            if part and (text := row.money(part)):
                stats[window] = text
        shown.append(stats)
    return shown


def _cost_per_action(row: Row) -> list[dict[str, str]] | None:
    return [
        {"action_type": action_type, "value": cost}
        for action_type, name, _ in _ACTIONS
        if (cost := row.cost(getattr(row.metrics, name)))
    ] or None


def _roas(action_type: str) -> Formatter:
    def show(row: Row) -> list[dict[str, str]] | None:
        if not row.metrics.purchases or not row.metrics.spend:
            return None
        value = f"{row.metrics.purchase_value / row.metrics.spend:.6f}"
        return [{"action_type": action_type, "value": value}]

    return show


def _results(row: Row) -> list[dict[str, Any]]:
    result: dict[str, Any] = {"indicator": "actions:offsite_conversion.fb_pixel_purchase"}
    if row.metrics.purchases:
        value = {"value": str(row.metrics.purchases), "attribution_windows": ["default"]}
        result["values"] = [value]
    return [result]


def _average_watched(row: Row) -> list[dict[str, str]] | None:
    if not row.metrics.video_plays:
        return None
    average = row.metrics.watch_seconds // row.metrics.video_plays
    return [{"action_type": "video_view", "value": str(average)}] if average else None


def _play_curve(row: Row) -> list[dict[str, Any]] | None:
    plays = row.metrics.video_plays
    if not plays:
        return None
    marks = ("video_plays", "video_2s", "video_3s", "p25", "p50", "p75", "p95", "p100")
    curve = [100 * getattr(row.metrics, mark) // plays for mark in marks]
    return [{"action_type": "video_view", "value": curve}]


def _reach(row: Row) -> str | None:
    return str(row.reach) if row.reach else None


def _frequency(row: Row) -> str | None:
    return f"{row.metrics.impressions / row.reach:.6f}" if row.reach else None


def _campaign_id(ad: Ad) -> str:
    return ad.account.object_id(ObjectKind.CAMPAIGN, ad.campaign_index)


def _adset_id(ad: Ad) -> str:
    return ad.account.object_id(ObjectKind.ADSET, ad.adset_index)


FIELDS: dict[str, Formatter] = {
    "account_id": lambda row: row.ad.account.number,
    "account_name": lambda row: row.ad.account.spec.name,
    "account_currency": lambda row: row.ad.account.spec.currency,
    "campaign_id": _object("campaign", _campaign_id),
    "campaign_name": _object("campaign", lambda ad: ad.account.campaign_name(ad.campaign_index)),
    "adset_id": _object("adset", _adset_id),
    "adset_name": _object("adset", lambda ad: ad.account.adset_name(ad.adset_index)),
    "ad_id": _object("ad", lambda ad: ad.id),
    "ad_name": _object("ad", lambda ad: ad.name),
    "objective": _object("campaign", lambda ad: OBJECTIVES[ad.campaign_index % 3][0]),
    "buying_type": _object("campaign", lambda _: "AUCTION"),
    "optimization_goal": _object("adset", lambda ad: OBJECTIVES[ad.campaign_index % 3][1]),
    "attribution_setting": _object("adset", lambda ad: ATTRIBUTION_SETTINGS[ad.adset_index % 3]),
    "created_time": _object("ad", lambda ad: ad.starts.isoformat()),
    "updated_time": _object("ad", lambda ad: ad.updated_date.isoformat()),
    "quality_ranking": _object("ad", lambda _: "UNKNOWN"),
    "engagement_rate_ranking": _object("ad", lambda _: "UNKNOWN"),
    "conversion_rate_ranking": _object("ad", lambda _: "UNKNOWN"),
    "impressions": _count("impressions"),
    "reach": _reach,
    "frequency": _frequency,
    "clicks": _count("clicks"),
    "spend": lambda row: row.money(row.metrics.spend),
    "cpm": lambda row: row.cost(row.metrics.impressions, times=1000),
    "cpc": lambda row: row.cost(row.metrics.clicks),
    "cpp": lambda row: row.cost(row.reach, times=1000),
    "ctr": _percent("clicks"),
    "inline_link_clicks": _count("inline_link_clicks"),
    "inline_link_click_ctr": _percent("inline_link_clicks"),
    "cost_per_inline_link_click": lambda row: row.cost(row.metrics.inline_link_clicks),
    "inline_post_engagement": _count("page_engagement"),
    "outbound_clicks": _single("outbound_clicks", "outbound_click"),
    "actions": _actions,
    "action_values": _action_values,
    "cost_per_action_type": _cost_per_action,
    "purchase_roas": _roas("omni_purchase"),
    "website_purchase_roas": _roas("offsite_conversion.fb_pixel_purchase"),
    "results": _results,
    "objective_results": _results,
    "video_play_actions": _single("video_plays", "video_view"),
    "video_continuous_2_sec_watched_actions": _single("video_2s", "video_view"),
    "video_thruplay_watched_actions": _single("thruplays", "video_view"),
    "video_30_sec_watched_actions": _single("video_30s", "video_view"),
    "video_p25_watched_actions": _single("p25", "video_view"),
    "video_p50_watched_actions": _single("p50", "video_view"),
    "video_p75_watched_actions": _single("p75", "video_view"),
    "video_p95_watched_actions": _single("p95", "video_view"),
    "video_p100_watched_actions": _single("p100", "video_view"),
    "video_avg_time_watched_actions": _average_watched,
    "video_play_curve_actions": _play_curve,
    **{
        # Valid fields for which these accounts never have a value.
        name: lambda _: None
        for name in (
            "conversions",
            "conversion_values",
            "cost_per_conversion",
            "catalog_segment_value",
            "canvas_avg_view_time",
            "estimated_ad_recallers",
            "full_view_impressions",
            "instant_experience_clicks_to_open",
            "mobile_app_purchase_roas",
            "social_spend",
        )
    },
}
"""Every field that can be asked for, by name."""
