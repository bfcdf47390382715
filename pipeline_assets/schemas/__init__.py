"""The columns of every dataset: one declaration for everything that needs them.

Storage builds its tables from these, Dagster's metadata and the documentation show them. Columns
only: no SQL, no pandas, no Dagster. The order of `columns` is the order of a row's values.
"""

from pipeline_assets.schemas.analysis import CONGRUENCE_ANALYSIS, SCORECARD, SCORECARD_DAYS
from pipeline_assets.schemas.columns import Column, ColumnType, TableSchema
from pipeline_assets.schemas.meta import (
    AD_ASSETS,
    AD_CLASSIFICATIONS,
    AD_THUMBNAILS,
    META_AD_CREATIVES,
    META_ADS_PERFORMANCE,
)
from pipeline_assets.schemas.research import (
    AMAZON_REVIEWS,
    COMPETITOR_ADS,
    LANDING_PAGES,
    REDDIT_POSTS,
    TEMPLATES_SCRAPED,
)
from pipeline_assets.schemas.templates import AD_CREATIONS, TEMPLATE_APPROVALS

__all__ = [
    "AD_ASSETS",
    "AD_CLASSIFICATIONS",
    "AD_CREATIONS",
    "AD_THUMBNAILS",
    "AMAZON_REVIEWS",
    "COMPETITOR_ADS",
    "CONGRUENCE_ANALYSIS",
    "LANDING_PAGES",
    "META_ADS_PERFORMANCE",
    "META_AD_CREATIVES",
    "REDDIT_POSTS",
    "SCHEMAS",
    "SCORECARD",
    "SCORECARD_DAYS",
    "TABLES",
    "TEMPLATES_SCRAPED",
    "TEMPLATE_APPROVALS",
    "Column",
    "ColumnType",
    "TableSchema",
]


def _by_name(*schemas: TableSchema) -> dict[str, TableSchema]:
    return {schema.name: schema for schema in schemas}


SCHEMAS: dict[str, TableSchema] = _by_name(
    META_ADS_PERFORMANCE,
    META_AD_CREATIVES,
    AD_THUMBNAILS,
    AD_ASSETS,
    AD_CLASSIFICATIONS,
    LANDING_PAGES,
    CONGRUENCE_ANALYSIS,
    SCORECARD,
    TEMPLATES_SCRAPED,
    TEMPLATE_APPROVALS,
    AD_CREATIONS,
    COMPETITOR_ADS,
    REDDIT_POSTS,
    AMAZON_REVIEWS,
)
"""The table of every dataset, by its key, in the catalogue's order."""

TABLES: dict[str, TableSchema] = SCHEMAS | _by_name(SCORECARD_DAYS)
"""Every table of dataset rows: the datasets', and what a dataset writes beside its own."""
