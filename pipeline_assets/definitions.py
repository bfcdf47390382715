"""What Dagster loads: `defs`. Light on purpose, because every run's process imports it."""

import dagster as dg

from pipeline_assets.assets.ad_analysis import ad_classifications
from pipeline_assets.assets.ad_assets import ad_assets
from pipeline_assets.assets.ad_creations import ad_creations
from pipeline_assets.assets.ad_thumbnails import ad_thumbnails
from pipeline_assets.assets.amazon_reviews import amazon_reviews
from pipeline_assets.assets.checks import build_fresh_checks
from pipeline_assets.assets.congruence import congruence_analysis
from pipeline_assets.assets.landing_pages import landing_pages
from pipeline_assets.assets.library_ads import competitor_ads, templates_scraped
from pipeline_assets.assets.meta_ads import meta_ad_creatives, meta_ads_performance
from pipeline_assets.assets.reddit_posts import reddit_posts
from pipeline_assets.assets.scorecard import scorecard
from pipeline_assets.assets.template_approvals import template_approvals
from pipeline_assets.automation.jobs import build_jobs
from pipeline_assets.automation.retention import build_retention
from pipeline_assets.automation.schedules import build_schedules
from pipeline_assets.automation.sensors import build_sensors
from pipeline_assets.resources.installation import Installation


def build_definitions(installation: Installation | None = None) -> dg.Definitions:
    """Everything of ours that Dagster runs; without an installation, that of the environment.

    The in-process executor is the default for all runs, also those of the asset page: one
    interpreter per run instead of one more per step.
    """
    assets = [
        meta_ads_performance,
        meta_ad_creatives,
        ad_thumbnails,
        ad_assets,
        ad_classifications,
        landing_pages,
        congruence_analysis,
        scorecard,
        templates_scraped,
        competitor_ads,
        amazon_reviews,
        reddit_posts,
        template_approvals,
        ad_creations,
    ]
    jobs = build_jobs()
    retention_job, retention_schedule = build_retention()
    return dg.Definitions(
        assets=assets,
        asset_checks=build_fresh_checks(),
        jobs=[*jobs, retention_job],
        schedules=[*build_schedules(), retention_schedule],
        sensors=build_sensors(jobs, assets),
        resources={"installation": installation or Installation()},
        executor=dg.in_process_executor,
    )


defs = build_definitions()
