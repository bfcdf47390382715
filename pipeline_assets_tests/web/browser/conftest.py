"""A real browser, Debian's Chromium, on the pages of a real server."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from pipeline_assets.people.roles import Role
from pipeline_assets.web.identity import SESSION_COOKIE

if TYPE_CHECKING:
    from conftest import Site


class Visitor:
    """A browser window of somebody who is signed in; notes what the console complains of."""

    def __init__(
        self, site: "Site", context: BrowserContext, role: Role, organization: str = "north"
    ) -> None:
        self.site = site
        session = site.person(role, organization)
        cookie = session.cookies[SESSION_COOKIE]
        context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": site.url}])
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self._note(said.type, said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        is_network = "Failed to load resource" in text or "Failed to fetch" in text
        if kind == "error" and not is_network:  # a test may take the network away
            self.complaints.append(text)

    def open(self, path: str) -> Page:
        self.page.goto(self.site.url + path)
        return self.page

    def assert_accessible(self) -> None:
        """No finding of axe-core that it calls serious or worse."""
        found = Axe().run(self.page)
        serious = [
            f"{each['id']}: {each['nodes'][0]['html'][:200]}"
            for each in found.response["violations"]
            if each["impact"] in {"serious", "critical"}
        ]
        assert serious == []


@pytest.fixture
def window(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def operator(sqlite_site: "Site", window: BrowserContext) -> Iterator[Visitor]:
    """An operator of north; at the end nothing may have broken the page's scripts or its CSP."""
    visitor = Visitor(sqlite_site, window, Role.OPERATOR)
    yield visitor
    assert visitor.complaints == []


@pytest.fixture
def admin(sqlite_site: "Site", window: BrowserContext) -> Iterator[Visitor]:
    visitor = Visitor(sqlite_site, window, Role.ADMIN)
    yield visitor
    assert visitor.complaints == []


@pytest.fixture
def mighty(sqlite_site: "Site", window: BrowserContext) -> Iterator[Visitor]:
    """An admin of the whole installation, who sees every page."""
    visitor = Visitor(sqlite_site, window, Role.ADMIN, "*")
    yield visitor
    assert visitor.complaints == []
