"""What both sides read: the same account, days and fields."""

from datetime import date, timedelta

from pipeline_assets.clock import utcnow

ACCOUNT = "act_10000001"

FIELDS = tuple(
    """account_id campaign_id campaign_name adset_id adset_name ad_id ad_name impressions clicks
    spend reach frequency ctr cpm cpc inline_link_clicks inline_link_click_ctr actions action_values
    cost_per_action_type purchase_roas outbound_clicks video_play_actions
    video_thruplay_watched_actions video_p25_watched_actions video_p50_watched_actions
    video_p75_watched_actions video_p95_watched_actions video_p100_watched_actions
    video_avg_time_watched_actions""".split()  # noqa: SIM905 - a list of 30 would be 30 lines
)


def window_of(days: int) -> tuple[date, date]:
    """The last `days` days, today included."""
    today = utcnow().date()
    return today - timedelta(days - 1), today
