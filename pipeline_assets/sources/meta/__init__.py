"""Meta's Graph API: insights, ads, creatives and media addresses of ad accounts.

What the rest of the package uses is listed here; the modules below are its parts.
"""

from pipeline_assets.sources.meta.account_spend import fetch_account_spend
from pipeline_assets.sources.meta.accounts import (
    AdAccount,
    Finding,
    TokenFacts,
    check_access,
    fetch_ad_account,
    inspect_token,
)
from pipeline_assets.sources.meta.client import GraphClient
from pipeline_assets.sources.meta.creative_parsing import page_of_story
from pipeline_assets.sources.meta.creatives import (
    Ad,
    CreativeChunk,
    CreativeRead,
    creative_row,
    fetch_ads,
    fetch_creative_rows,
    fetch_creatives,
    refresh_row,
)
from pipeline_assets.sources.meta.insight_parts import InsightsQuery
from pipeline_assets.sources.meta.insights import InsightsStream, fetch_insights
from pipeline_assets.sources.meta.media import (
    ImageAddress,
    ThumbnailAddress,
    VideoAddress,
    fetch_image_addresses,
    fetch_thumbnail_addresses,
    fetch_video_addresses,
)
from pipeline_assets.sources.meta.pages import fetch_page_ids
from pipeline_assets.sources.meta.performance_rows import (
    PERFORMANCE_FIELDS,
    performance_query,
    performance_row_parser,
)
from pipeline_assets.sources.meta.windows import DateWindow, account_today, performance_window

__all__ = [
    "PERFORMANCE_FIELDS",
    "Ad",
    "AdAccount",
    "CreativeChunk",
    "CreativeRead",
    "DateWindow",
    "Finding",
    "GraphClient",
    "ImageAddress",
    "InsightsQuery",
    "InsightsStream",
    "ThumbnailAddress",
    "TokenFacts",
    "VideoAddress",
    "account_today",
    "check_access",
    "creative_row",
    "fetch_account_spend",
    "fetch_ad_account",
    "fetch_ads",
    "fetch_creative_rows",
    "fetch_creatives",
    "fetch_image_addresses",
    "fetch_insights",
    "fetch_page_ids",
    "fetch_thumbnail_addresses",
    "fetch_video_addresses",
    "inspect_token",
    "page_of_story",
    "performance_query",
    "performance_row_parser",
    "performance_window",
    "refresh_row",
]
