"""The catalogue: every dataset and every job once, with what everybody needs to know of them.

Belongs here: names, windows, who is fatal, what feeds what, who reads it. Does not: columns
(`schemas/`), how a dataset is fetched (`assets/`), anything of Dagster's.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

WARN_RATIO = 0.8
"""A dataset warns when this share of its allowed age is used: time left to act before it fails."""


class Source(StrEnum):
    """The part of a brand's configuration that a dataset needs to be fetched at all."""

    META = "meta"
    TEMPLATES = "templates"
    COMPETITORS = "competitors"
    REDDIT = "reddit"
    AMAZON = "amazon"


class Reader(StrEnum):
    """The consumer pages that read datasets."""

    AD_PERFORMANCE = "ad_performance"
    BRAND_RESEARCH = "brand_research"
    HOOK_ANALYSIS = "hook_analysis"
    CONGRUENCE_INSIGHTS = "congruence_insights"
    TEMPLATE_QUEUE = "template_queue"
    TEMPLATE_EVALUATION = "template_evaluation"
    CREATIONS_REVIEW = "creations_review"
    COMPETITOR_RESEARCH = "competitor_research"
    REDDIT_RESEARCH = "reddit_research"
    AMAZON_REVIEWS = "amazon_reviews"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One Dagster asset, partitioned by brand. `key` is asset key and table name at once.

    `fail_after` is how old the data may be before it must not be used (None: never too old).
    A `fatal` dataset's failure fails its job; another's leaves the job partial.
    Without its `upstream` a dataset is not made. Its `companions`, made from the same, it reads as
    far as they are there: a run that does both does them first, whether they succeed or not.
    """

    key: str
    title: str
    group: str
    kinds: tuple[str, ...]
    source: Source
    fail_after: timedelta | None
    readers: tuple[Reader, ...]
    upstream: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    fatal: bool = False

    @property
    def warn_after(self) -> timedelta | None:
        """The age at which the dataset starts to warn."""
        return self.fail_after * WARN_RATIO if self.fail_after else None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A set of datasets refreshed together; a Dagster job of the same name.

    `max_runtime` is its stuck threshold: a run older than that is ended. `across_brands` jobs do
    all brands of an organization in one run. A job over several sources does what the brand has
    configured. `suggested_cadence` is the preset that a new brand
    starts with (None: another job does the same); between two ticks nothing gets old enough to
    warn.
    """

    name: str
    title: str
    datasets: tuple[str, ...]
    max_runtime: timedelta
    suggested_cadence: str | None = None
    across_brands: bool = False

    def datasets_with(self, sources: Collection[str]) -> tuple[str, ...]:
        """The datasets that a run of it does for a brand with these sources; none: it cannot run.

        Of one source it is all or nothing.
        """
        return tuple(key for key in self.datasets if DATASETS[key].source in sources)


def _hours(count: int) -> timedelta:
    return timedelta(hours=count)


FULL_SYNC = "full_sync"
"""The job that does everything that a brand has configured."""

_DATASETS = (
    Dataset(
        key="meta_ads_performance",
        title="Ad performance",
        group="meta",
        kinds=("meta", "sql"),
        source=Source.META,
        fail_after=_hours(24),
        readers=(Reader.AD_PERFORMANCE,),
        fatal=True,
    ),
    Dataset(
        key="meta_ad_creatives",
        title="Ads and creatives",
        group="meta",
        kinds=("meta", "sql"),
        source=Source.META,
        fail_after=_hours(24),
        readers=(Reader.AD_PERFORMANCE, Reader.TEMPLATE_EVALUATION),
    ),
    Dataset(
        key="ad_thumbnails",
        title="Thumbnails",
        group="media",
        kinds=("meta", "image"),
        source=Source.META,
        fail_after=_hours(48),
        readers=(Reader.AD_PERFORMANCE,),
        upstream=("meta_ad_creatives",),
    ),
    Dataset(
        key="ad_assets",
        title="Images and videos",
        group="media",
        kinds=("meta", "image", "video"),
        source=Source.META,
        fail_after=_hours(72),
        readers=(Reader.BRAND_RESEARCH, Reader.TEMPLATE_EVALUATION),
        upstream=("meta_ad_creatives",),
    ),
    Dataset(
        key="ad_classifications",
        title="Ad classifications",
        group="analysis",
        kinds=("python", "sql"),
        source=Source.META,
        fail_after=_hours(48),
        readers=(Reader.HOOK_ANALYSIS, Reader.CONGRUENCE_INSIGHTS),
        upstream=("meta_ad_creatives",),
        companions=("ad_thumbnails", "ad_assets"),  # a language model is shown the pictures
    ),
    Dataset(
        key="landing_pages",
        title="Landing pages",
        group="research",
        kinds=("web", "sql"),
        source=Source.META,
        fail_after=_hours(168),
        readers=(Reader.CONGRUENCE_INSIGHTS, Reader.BRAND_RESEARCH),
        upstream=("meta_ad_creatives",),
    ),
    Dataset(
        key="congruence_analysis",
        title="Congruence of ads and pages",
        group="analysis",
        kinds=("python", "sql"),
        source=Source.META,
        fail_after=_hours(168),
        readers=(Reader.CONGRUENCE_INSIGHTS,),
        upstream=("meta_ad_creatives", "landing_pages"),
        companions=("ad_thumbnails",),  # set beside the page's picture
    ),
    Dataset(
        key="scorecard",
        title="Creative scorecard",
        group="analysis",
        kinds=("python", "sql"),
        source=Source.META,
        fail_after=_hours(168),
        readers=(Reader.AD_PERFORMANCE, Reader.HOOK_ANALYSIS),
        upstream=("meta_ads_performance", "ad_classifications"),
    ),
    Dataset(
        key="templates_scraped",
        title="Scraped templates",
        group="templates",
        kinds=("web", "sql"),
        source=Source.TEMPLATES,
        fail_after=_hours(168),
        readers=(Reader.TEMPLATE_QUEUE, Reader.TEMPLATE_EVALUATION),
    ),
    Dataset(
        key="template_approvals",
        title="Template approvals",
        group="templates",
        kinds=("python", "sql"),
        source=Source.TEMPLATES,
        fail_after=_hours(24),
        readers=(Reader.TEMPLATE_QUEUE, Reader.TEMPLATE_EVALUATION),
        upstream=("templates_scraped",),
    ),
    Dataset(
        key="ad_creations",
        title="Drafted ads",
        group="templates",
        kinds=("python", "sql"),
        source=Source.TEMPLATES,
        fail_after=None,
        readers=(Reader.CREATIONS_REVIEW, Reader.TEMPLATE_EVALUATION),
        upstream=(
            "template_approvals",
            "ad_classifications",
            "landing_pages",
            "scorecard",
            "ad_assets",
        ),
    ),
    Dataset(
        key="competitor_ads",
        title="Competitor ads",
        group="research",
        kinds=("web", "sql"),
        source=Source.COMPETITORS,
        fail_after=_hours(168),
        readers=(Reader.COMPETITOR_RESEARCH,),
    ),
    Dataset(
        key="reddit_posts",
        title="Reddit posts",
        group="research",
        kinds=("reddit", "sql"),
        source=Source.REDDIT,
        fail_after=_hours(24),
        readers=(Reader.REDDIT_RESEARCH,),
    ),
    Dataset(
        key="amazon_reviews",
        title="Amazon reviews",
        group="research",
        kinds=("amazon", "sql"),
        source=Source.AMAZON,
        fail_after=_hours(168),
        readers=(Reader.AMAZON_REVIEWS,),
    ),
)

_JOBS = (
    Job(
        name="meta_sync",
        title="Sync Meta ads",
        datasets=(
            "meta_ads_performance",
            "meta_ad_creatives",
            "ad_thumbnails",
            "ad_assets",
            "ad_classifications",
        ),
        max_runtime=_hours(2),  # a first sync of a big account downloads all of its media
        suggested_cadence="every_6_hours",
    ),
    Job(
        name="asset_download",
        title="Download images and videos",
        datasets=("ad_assets",),
        max_runtime=_hours(2),
    ),
    Job(
        name="ad_classification",
        title="Classify ads",
        datasets=("ad_classifications",),
        max_runtime=_hours(1),
    ),
    Job(
        name="landing_page_scrape",
        title="Read landing pages",
        datasets=("landing_pages",),
        max_runtime=_hours(2),  # one page at a time per shop, by courtesy
        suggested_cadence="twice_weekly",
    ),
    Job(
        name="congruence_reanalysis",
        title="Judge congruence",
        datasets=("congruence_analysis",),
        max_runtime=_hours(1),
        suggested_cadence="daily",
    ),
    Job(
        name="scorecard",
        title="Score creatives",
        datasets=("scorecard",),
        max_runtime=timedelta(minutes=30),
        suggested_cadence="daily",
    ),
    Job(
        name="template_scrape",
        title="Gather templates",
        datasets=("templates_scraped",),
        max_runtime=_hours(1),
        suggested_cadence="twice_weekly",
    ),
    Job(
        name="template_approval",
        title="Queue templates for approval",
        datasets=("template_approvals",),
        max_runtime=timedelta(minutes=30),
        suggested_cadence="every_6_hours",
        across_brands=True,
    ),
    Job(
        name="ad_creation",
        title="Draft ads",
        datasets=("ad_creations",),
        max_runtime=timedelta(minutes=30),
        suggested_cadence="weekly",
    ),
    Job(
        name="competitor_scrape",
        title="Gather competitor ads",
        datasets=("competitor_ads",),
        max_runtime=_hours(1),
        suggested_cadence="twice_weekly",
    ),
    Job(
        name="reddit_research",
        title="Gather Reddit posts",
        datasets=("reddit_posts",),
        max_runtime=_hours(1),
        suggested_cadence="every_6_hours",
    ),
    Job(
        name="amazon_review_scrape",
        title="Gather Amazon reviews",
        datasets=("amazon_reviews",),
        max_runtime=_hours(1),
        suggested_cadence="twice_weekly",
    ),
    Job(
        name=FULL_SYNC,
        title="Sync everything",
        datasets=tuple(dataset.key for dataset in _DATASETS),
        max_runtime=_hours(4),  # the longest of the others, one after the other in part
    ),
)

DATASETS: dict[str, Dataset] = {dataset.key: dataset for dataset in _DATASETS}
"""Every dataset by its key, upstream before downstream."""

JOBS: dict[str, Job] = {job.name: job for job in _JOBS}
"""Every job by its name."""


def home_job(dataset_key: str) -> Job:
    """The job that a dataset belongs to first of all: the one a lone run of it counts as."""
    return next(job for job in _JOBS if dataset_key in job.datasets)


def upstream_of(dataset_key: str) -> frozenset[str]:
    """Every dataset that this one rests on, directly or through others."""
    direct = DATASETS[dataset_key].upstream
    return frozenset(direct).union(*map(upstream_of, direct))
