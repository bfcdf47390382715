"""The time zone in which somebody sees times, and instants that they choose in it."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Form, Request

from pipeline_assets.clock import as_usable
from pipeline_assets.control.cadence_ticks import read_zone
from pipeline_assets.web.problems import Problem
from pipeline_assets.web.templating import zone_name


def zone_of(request: Request) -> ZoneInfo:
    """The zone that the person has chosen, or UTC."""
    return ZoneInfo(zone_name(request))


def _until(
    until: Annotated[str, Form(max_length=40)] = "",
    until_zone: Annotated[str, Form(max_length=64)] = "UTC",
) -> datetime | None:
    """The instant of the fields `until` and `until_zone`; None when none was chosen.

    Raises:
        Problem: it is no time.
        InvalidConfigError: it is no time zone.
    """
    if not until.strip():
        return None
    zone = read_zone(until_zone)
    try:
        chosen = datetime.fromisoformat(until.strip())
        return as_usable(chosen if chosen.tzinfo else chosen.replace(tzinfo=zone))
    except ValueError:
        raise Problem(
            422, f"{until!r} is not a time.", advice="Write it like 2026-01-31T08:00."
        ) from None


Until = Annotated[datetime | None, Depends(_until)]
"""When a pause ends, of a form with the fields of `pause_fields` in `schedules_forms.html`."""
