"""The cadences that a brand starts with: the catalogue's, for what it has configured."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.control.cadence_ticks import Preset, next_tick, preset_cron
from pipeline_assets.control.targets import all_brands_id
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import cadences


def suggested_cadences(brand: Brand) -> dict[str, Preset]:
    """The preset of each job that the brand's sources allow.

    A preset's minute follows from brand and job, so many brands spread over the hour.
    """
    return {
        job.name: Preset(job.suggested_cadence)
        for job in JOBS.values()
        if job.suggested_cadence
        and all(brand.sources.has(DATASETS[key].source) for key in job.datasets)
    }


def set_suggested_cadences(
    engine: sa.Engine,
    brands: Iterable[Brand],
    *,
    before: Iterable[Brand] = (),
    actor: str,
    now: datetime,
) -> list[str]:
    """Set them in the brands' own time zones, where a job has no cadence yet; starts no run.

    `before` is what some of the brands were until now: a job that their sources allowed then keeps
    what people made of it, none included.
    A job that does all brands of an organization in one run has one cadence for all of them, which
    the first brand that wants it brings. Returns what was set as `brand:job`, in that order.
    """
    known = {brand.id: suggested_cadences(brand).keys() for brand in before}
    set_ones = []
    with write_transaction(engine) as connection:
        for brand in brands:
            for job, preset in suggested_cadences(brand).items():
                if job in known.get(brand.id, ()):
                    continue
                is_shared = JOBS[job].across_brands
                target_id = all_brands_id(brand.organization_id) if is_shared else brand.id
                cron = preset_cron(preset, target_id, job)
                added = connection.execute(
                    dialect_insert(connection, cadences)
                    .values(
                        brand_id=target_id,
                        job=job,
                        cron=cron,
                        timezone=brand.timezone,
                        next_run_at=next_tick(cron, brand.timezone, now),
                        checked_at=now,
                        updated_at=now,
                        updated_by=actor,
                    )
                    .on_conflict_do_nothing()
                )
                if added.rowcount:
                    target = f"{target_id}:{job}"
                    audit.record(
                        connection,
                        at=now,
                        actor=actor,
                        action="cadence.set",
                        target=target,
                        organization_id=brand.organization_id,
                        detail={"cron": cron, "timezone": brand.timezone, "was": None},
                    )
                    set_ones.append(target)
    return sorted(set_ones)
