"""The freshness banner in a page of another site: one script tag, another origin."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import BrowserContext, Page, expect

from pipeline_assets.freshness.pages import PAGES
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from web.conftest import Site

NEEDS = [need.dataset for need in PAGES["ad_performance"].needs]


@contextmanager
def foreign_site(html: str) -> Iterator[str]:
    """A web server of somebody else's, with one page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def embed(sqlite_site: "Site", window: BrowserContext) -> Iterator[Callable[..., Page]]:
    """`embed(token=…)`: a foreign page with the banner of acme's Ad performance, opened."""
    secret = sqlite_site.program(Role.EMBED).headers["Authorization"].removeprefix("Bearer ")
    opened: list[Any] = []

    def open_page(*, token: str = secret) -> Page:
        tag = (
            f'<script defer src="{sqlite_site.url}/static/banner.js" data-brand="acme"'
            f' data-page="ad_performance" data-token="{token}"></script>'
        )
        server = foreign_site(f"<!doctype html><title>Report</title><p>Sales</p>{tag}")
        url = server.__enter__()
        opened.append(server)
        page = window.new_page()
        page.goto(url)
        return page

    yield open_page
    for server in opened:
        server.__exit__(None, None, None)


def banner(page: Page, answer: str) -> Any:
    """The banner once it has this answer."""
    return page.locator(f'div[role=status][data-answer="{answer}"]')


def look_again(page: Page) -> None:
    """What a browser tells a page whose tab is looked at again."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def store(site: "Site", **values: Any) -> None:
    with write_transaction(site.engine) as connection:
        connection.execute(sa.delete(dataset_status))
    for dataset in NEEDS:
        site.store_status("acme", dataset, **(values if dataset == NEEDS[0] else {}))


def test_it_tells_each_answer_in_words_and_follows_what_changes(
    sqlite_site: "Site", embed: Callable[..., Page]
) -> None:
    store(sqlite_site, last_success_at=sqlite_site.clock.now - timedelta(minutes=5))
    page = embed()
    ready = banner(page, "ready")
    expect(ready.locator("p")).to_have_count(1)
    expect(ready.locator("p.ok")).to_contain_text("Data fresh: Ad performance synced 5 min ago")
    outcome = {"last_attempt_outcome": "failed", "error_class": "CredentialError"}
    image = '<img src=x onerror="document.title=1">'
    old = sqlite_site.clock.now - timedelta(days=11)
    store(sqlite_site, last_success_at=old, error_message=f"Expired {image}", **outcome)
    look_again(page)
    withheld = banner(page, "withhold")
    expect(withheld).to_contain_text("11 d")
    expect(withheld).to_contain_text(image)
    assert page.title() == "Report", "a text from outside stays a text"


def test_it_says_that_it_cannot_tell_and_why(
    sqlite_site: "Site", embed: Callable[..., Page], window: BrowserContext
) -> None:
    expect(banner(embed(token="pa_wrong"), "unknown")).to_contain_text("Freshness unknown")
    store(sqlite_site)
    page = embed()
    expect(banner(page, "ready")).to_be_visible()
    window.set_offline(True)
    look_again(page)
    expect(banner(page, "unknown")).to_contain_text("cannot be reached")
    window.set_offline(False)
    look_again(page)
    expect(banner(page, "ready")).to_be_visible()


def test_the_page_around_it_cannot_do_more_than_read_readiness(
    sqlite_site: "Site", embed: Callable[..., Page]
) -> None:
    store(sqlite_site)
    page = embed()
    expect(banner(page, "ready")).to_be_visible()
    answers = page.evaluate(
        """async ([base, token]) => {
          const ask = (path) => fetch(base + path, {headers: {Authorization: `Bearer ${token}`}})
            .then((answer) => answer.status, () => 'kept from it');
          return [await ask('/api/v1/brands/acme'), await ask('/api/v1/status')];
        }""",
        [sqlite_site.url, page.locator("script").get_attribute("data-token")],
    )
    assert all(answer in {"kept from it", 403} for answer in answers), answers
