"""Take the pictures of docs/screenshots from a demo that runs (`make run`), by day and by night.

    python docs/screenshots.py http://127.0.0.1:8400 demo@example.com PASSWORD

It needs Chromium and the development dependencies.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "screenshots"
PAGES = {
    "health": "/?open=initech:meta_ads_performance",
    "matrix": "/matrix",
    "schedules": "/schedules",
    "active": "/active",
    "history": "/history",
    "brand": "/brands/initech",
    "ad_performance": "/brands/acme/ad-performance",
    "hook_analysis": "/brands/acme/hook-analysis",
    "congruence_insights": "/brands/acme/congruence-insights",
    "brand_research": "/brands/acme/brand-research",
    "template_queue": "/template-queue",
    "template_evaluation": "/brands/acme/template-evaluation",
    "creations_review": "/brands/acme/creations-review",
    "competitor_research": "/brands/acme/competitor-research",
    "reddit_research": "/brands/acme/reddit-research",
    "amazon_reviews": "/brands/acme/amazon-reviews",
    "admin": "/admin",
    "api": "/api/docs",
}
COLOURS = 128  # enough for pages, and a third of the bytes


def main() -> None:
    url, email, password = sys.argv[1:]
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{url}/sign-in")
        page.get_by_label("Email").fill(email)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{url}/")
        for name, path in PAGES.items():
            page.goto(url + path)
            page.wait_for_load_state("networkidle")
            for scheme in ("light", "dark"):
                _take(page, name, scheme)
        browser.close()


def _take(page: Page, name: str, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.wait_for_timeout(300)  # charts are drawn again in the other colours
    picture = Image.open(io.BytesIO(page.screenshot()))
    file = FOLDER / f"{name}-{scheme}.png"
    picture.convert("RGB").quantize(COLOURS).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
