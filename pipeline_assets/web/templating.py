"""Templates: one environment, what every page has, and how instants and states are written."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from pipeline_assets import __version__
from pipeline_assets.clock import timezone_names
from pipeline_assets.control import targets
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.freshness.ages import age_text
from pipeline_assets.people.roles import Role

STATIC_FOLDER = Path(__file__).parent / "static"
ZONE_COOKIE = "pipeline_assets_zone"


def render(
    request: Request,
    template: str,
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """The page that the template makes of these values and of what every page has.

    For a poll or a click of htmx only the page's part `live` is made: `base.html` sees to it.
    """
    session = getattr(request.state, "session", None)
    is_partial = request.headers.get("hx-request-type") == "partial"
    page = (
        _environment()
        .get_template(template)
        .render(
            request=request,
            session=session,
            principal=session.principal if session else None,
            hidden=getattr(request.state, "hidden_features", frozenset()),
            zone=zone_name(request),
            is_partial=is_partial,
            **values,
        )
    )
    return HTMLResponse(page, status_code, dict(headers or {}) | {"Vary": "HX-Request-Type"})


def render_text(template: str, **values: Any) -> str:
    """A fragment by itself, for embedding elsewhere."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline_assets.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ago": ago, "age": age_text, "instant": instant_text, "utc": _utc}
    environment.globals |= {
        "static": _static,
        "version": __version__,
        "DATASETS": DATASETS,
        "JOBS": JOBS,
        "Role": Role,
        "whose": targets.in_words,
    }
    return environment


@cache
def _static(name: str) -> str:
    """The address of a static file; it changes with the file, so that browsers may keep it."""
    digest = hashlib.sha256((STATIC_FOLDER / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def ago(instant: datetime, now: datetime) -> str:
    """Such as `5 min ago` or `in 3 h`; `now` within a second of it."""
    seconds = (now - instant).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{age_text(seconds)} ago" if seconds > 0 else f"in {age_text(-seconds)}"


def instant_text(instant: datetime, zone: str) -> str:
    """The instant in a time zone, and in UTC beside it."""
    utc = _utc(instant)
    if zone == "UTC":
        return utc
    return f"{instant.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S} {zone} ({utc})"


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@cache
def zones() -> tuple[str, ...]:
    """Every time zone that may be chosen."""
    return tuple(sorted(timezone_names()))


def zone_name(request: Request) -> str:
    """The zone that the person has chosen, or UTC."""
    chosen = request.cookies.get(ZONE_COOKIE, "")
    return chosen if chosen in zones() else "UTC"
