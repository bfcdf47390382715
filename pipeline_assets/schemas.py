"""The columns of every dataset that is built: one declaration for everything that needs them.

Storage builds its tables from these, Dagster's metadata and the documentation show them. Columns
only: no SQL, no pandas, no Dagster. The order of `columns` is the order of a row's values.
"""

from dataclasses import dataclass
from enum import StrEnum


class ColumnType(StrEnum):
    """What a column holds, in Python's terms."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    """Exact: money (in the account's currency) and figures that a source may send with decimals."""
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    """An aware UTC instant."""
    JSON = "json"


@dataclass(frozen=True)
class Column:
    """One column; `description` gives unit and meaning for readers of the table."""

    name: str
    type: ColumnType
    description: str
    nullable: bool = True


@dataclass(frozen=True)
class TableSchema:
    """A dataset's table: its columns in order and the key that names a row.

    Rows are replaced by scope: all of a brand's rows whose `scope` columns equal the given values
    and, where there is a `window_column`, whose date lies in the window.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    scope: tuple[str, ...] = ()
    window_column: str | None = None

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names in the order of a row's values."""
        return tuple(column.name for column in self.columns)


def _text(name: str, description: str, *, nullable: bool = True) -> Column:
    return Column(name, ColumnType.TEXT, description, nullable)


def _count(name: str, description: str) -> Column:
    return Column(name, ColumnType.INTEGER, description, nullable=False)


_BRAND = _text("brand_id", "The brand's slug", nullable=False)
_ACCOUNT = _text("ad_account_id", "Meta ad account, with its act_ prefix", nullable=False)
_CREATIVE = _text("creative_id", "Meta creative id", nullable=False)
_FETCHED = Column(
    "fetched_at", ColumnType.TIMESTAMP, "Start of the attempt that wrote the row", nullable=False
)
_ITEM_ERROR = _text("error", "Why this item could not be read; empty when it could")

META_ADS_PERFORMANCE = TableSchema(
    name="meta_ads_performance",
    key=("brand_id", "ad_account_id", "date", "ad_id"),
    scope=("ad_account_id",),
    window_column="date",
    columns=(
        _BRAND,
        _ACCOUNT,
        Column("date", ColumnType.DATE, "Day in the ad account's time zone", nullable=False),
        _text("ad_id", "Meta ad id", nullable=False),
        _text("ad_name", "Name of the ad"),
        _text("adset_id", "Meta ad set id"),
        _text("adset_name", "Name of the ad set"),
        _text("campaign_id", "Meta campaign id"),
        _text("campaign_name", "Name of the campaign"),
        _count("impressions", "Times the ad was on a screen"),
        Column("reach", ColumnType.INTEGER, "People who saw the ad; empty when Meta withholds it"),
        _count("clicks", "All clicks"),
        _count("inline_link_clicks", "Clicks on links in the ad"),
        Column("spend", ColumnType.DECIMAL, "Amount spent, in `currency`", nullable=False),
        _text("currency", "ISO 4217 code of the account's currency", nullable=False),
        Column("purchases", ColumnType.DECIMAL, "Purchases, of one action type", nullable=False),
        Column(
            "purchase_value",
            ColumnType.DECIMAL,
            "Value of these purchases, in `currency`",
            nullable=False,
        ),
        _text("purchase_action_type", "The action type that both purchase figures count"),
        _count("landing_page_views", "Loads of the landing page after a click"),
        _count("video_plays", "Starts of the video"),
        _count("video_3s_views", "Plays of 3 seconds or more (action type video_view)"),
        _count("thruplays", "Plays of 15 seconds or to the end"),
        _count("p25", "Plays that reached 25 % of the video"),
        _count("p50", "Plays that reached 50 % of the video"),
        _count("p75", "Plays that reached 75 % of the video"),
        _count("p95", "Plays that reached 95 % of the video"),
        _count("p100", "Plays that reached the video's end"),
        _text("attribution_setting", "The ad set's attribution setting, as Meta names it"),
        Column(
            "provisional",
            ColumnType.BOOLEAN,
            "Younger than 28 days when fetched: Meta may still change it",
            nullable=False,
        ),
        Column("actions", ColumnType.JSON, "Meta's actions list as sent"),
        Column("action_values", ColumnType.JSON, "Meta's action_values list as sent"),
        _FETCHED,
    ),
)

META_AD_CREATIVES = TableSchema(
    name="meta_ad_creatives",
    key=("brand_id", "ad_account_id", "ad_id"),
    scope=("ad_account_id",),
    columns=(
        _BRAND,
        _ACCOUNT,
        _text("ad_id", "Meta ad id", nullable=False),
        _text("ad_name", "Name of the ad"),
        _text("adset_id", "Meta ad set id"),
        _text("campaign_id", "Meta campaign id"),
        _text("status", "Status set by people"),
        _text("effective_status", "Status after campaign, ad set and review"),
        Column("ad_created_at", ColumnType.TIMESTAMP, "When the ad was made"),
        Column("ad_updated_at", ColumnType.TIMESTAMP, "When the ad was last changed"),
        _text("creative_id", "Meta creative id; empty when the ad shows none"),
        _text("creative_name", "Name of the creative"),
        _text("object_type", "Meta's kind: SHARE, VIDEO, PHOTO, STATUS, …"),
        _text("media_type", "image, video, carousel, collection or unknown"),
        _text("title", "Headline, the first where there are many"),
        _text("body", "Primary text, the first where there are many"),
        Column("titles", ColumnType.JSON, "All headlines, list of text"),
        Column("bodies", ColumnType.JSON, "All primary texts, list of text"),
        _text("call_to_action_type", "SHOP_NOW, LEARN_MORE, …"),
        _text("destination_url", "Where a click leads, with url_tags; empty for forms and apps"),
        Column("destination_urls", ColumnType.JSON, "All destinations, list of text"),
        Column("image_hashes", ColumnType.JSON, "Hashes of its images, list of text"),
        Column("video_ids", ColumnType.JSON, "Ids of its videos, list of text"),
        _text("image_url", "Signed address of the image; expires within days"),
        _text("thumbnail_url", "Signed address of the thumbnail; expires within days"),
        _text("object_story_id", "Post behind the ad, <page>_<post>"),
        _text("instagram_permalink_url", "The post on Instagram"),
        _text("url_tags", "Tracking parameters that Meta appends"),
        _ITEM_ERROR,
        _FETCHED,
    ),
)

AD_THUMBNAILS = TableSchema(
    name="ad_thumbnails",
    key=("brand_id", "creative_id"),
    columns=(
        _BRAND,
        _CREATIVE,
        _ACCOUNT,
        _text("source_key", "What the address names without its signature: unchanged, no refetch"),
        _text("sha256", "Name of the bytes in the media store; empty when there are none"),
        _text("content_type", "image/jpeg, image/png, image/webp or image/gif"),
        Column("byte_count", ColumnType.INTEGER, "Size in bytes"),
        Column("width", ColumnType.INTEGER, "Pixels"),
        Column("height", ColumnType.INTEGER, "Pixels"),
        Column("stored_at", ColumnType.TIMESTAMP, "When the bytes were fetched"),
        _ITEM_ERROR,
        _FETCHED,
    ),
)

AD_ASSETS = TableSchema(
    name="ad_assets",
    key=("brand_id", "creative_id", "media_type", "media_id"),
    columns=(
        _BRAND,
        _CREATIVE,
        _text("media_type", "image or video", nullable=False),
        _text("media_id", "Image hash or video id", nullable=False),
        _ACCOUNT,
        _text("state", "stored, poster_only (a video without source) or failed", nullable=False),
        _text("sha256", "Name of the bytes in the media store; empty when there are none"),
        _text("content_type", "image/… or video/mp4"),
        Column("byte_count", ColumnType.INTEGER, "Size in bytes"),
        Column("width", ColumnType.INTEGER, "Pixels"),
        Column("height", ColumnType.INTEGER, "Pixels"),
        Column("duration_seconds", ColumnType.FLOAT, "Length of a video"),
        _text("poster_sha256", "A video's still picture in the media store"),
        Column("stored_at", ColumnType.TIMESTAMP, "When the bytes were fetched"),
        _ITEM_ERROR,
        _FETCHED,
    ),
)

AD_CLASSIFICATIONS = TableSchema(
    name="ad_classifications",
    key=("brand_id", "creative_id"),
    columns=(
        _BRAND,
        _CREATIVE,
        _ACCOUNT,
        _text("media_type", "image, video, carousel, collection or unknown", nullable=False),
        _text("asset_type", "ugc, studio, founder, testimonial, …", nullable=False),
        _text("visual_format", "The look: single_image, talking_head, …", nullable=False),
        _text("hook_type", "How the first words win attention", nullable=False),
        _text("messaging_angle", "What the argument rests on", nullable=False),
        _text("awareness_stage", "Schwartz's stage of the reader", nullable=False),
        _text("emotion", "The feeling it plays on", nullable=False),
        _text("cta", "What the ad asks for", nullable=False),
        _text("offer_type", "What is offered", nullable=False),
        _text("funnel_stage", "top, middle or bottom", nullable=False),
        Column(
            "tags",
            ColumnType.JSON,
            "Per tag: {value, confidence (0-1), evidence (list of text)}",
            nullable=False,
        ),
        _text("content_hash", "sha256 of what was read: unchanged, not redone", nullable=False),
        _text("classifier", "Which classifier tagged it", nullable=False),
        _text("classifier_version", "Its version", nullable=False),
        _text("taxonomy_version", "Version of the closed vocabularies", nullable=False),
        Column("classified_at", ColumnType.TIMESTAMP, "When it was tagged", nullable=False),
        _FETCHED,
    ),
)

SCHEMAS: dict[str, TableSchema] = {
    schema.name: schema
    for schema in (
        META_ADS_PERFORMANCE,
        META_AD_CREATIVES,
        AD_THUMBNAILS,
        AD_ASSETS,
        AD_CLASSIFICATIONS,
    )
}
"""The datasets that are built, by key."""
