"""Pages whose accessibility no other browser test looks at: by day, by night and on a phone."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, Page

from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Visitor
    from web.conftest import Site

TABS = ("users", "tokens", "brands", "features", "audit", "organizations", "health")
PATHS = ("/brands", "/history", "/active", "/account", *(f"/admin/{tab}" for tab in TABS))


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_accessible_by_day_by_night_and_on_a_phone(mighty: "Visitor", path: str) -> None:
    site = mighty.site
    queued = site.person(Role.OPERATOR).post("/brands/globex/sync", data={"job": "meta_sync"})
    assert queued.status_code == 303
    site.program(Role.VIEWER)
    began = site.clock.now - timedelta(hours=1)
    for run_id, outcome in (("run-1", "succeeded"), ("run-2", "failed")):
        site.store_attempt(
            "acme",
            "meta_ads_performance",
            run_id,
            began_at=began,
            ended_at=began,
            outcome=outcome,
            error_message="<b>Long</b> " * 50 if outcome == "failed" else None,
        )
    page = mighty.open(path)
    page.evaluate("document.querySelectorAll('main details').forEach(e => e.open = true)")
    mighty.assert_accessible()
    page.emulate_media(color_scheme="dark")
    mighty.assert_accessible()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    mighty.assert_accessible()


def test_the_sign_in_and_a_page_that_is_not_there_are_accessible(
    mighty: "Visitor", sqlite_site: "Site", window: BrowserContext
) -> None:
    mighty.open("/no-such-page")
    mighty.assert_accessible()
    window.clear_cookies()
    page: Page = mighty.open("/")
    assert page.url.startswith(f"{sqlite_site.url}/sign-in")
    mighty.assert_accessible()
    page.emulate_media(color_scheme="dark")
    mighty.assert_accessible()
