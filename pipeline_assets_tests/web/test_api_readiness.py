"""The readiness gate over HTTP: its answers, 304, embed tokens, other sites, and the banner."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from pipeline_assets.client import ReadinessClient
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site

PAGE = "ad_performance"
NEEDED = ("meta_ads_performance", "meta_ad_creatives", "ad_thumbnails", "scorecard")
URL = f"/api/v1/brands/acme/readiness/{PAGE}"


def store_fresh(site: "Site", brand_id: str = "acme") -> None:
    for dataset in NEEDED:
        site.store_status(brand_id, dataset)


def test_a_fresh_brands_page_is_ready_with_one_green_line(site: "Site") -> None:
    store_fresh(site)
    found = site.program(Role.EMBED).get(URL).json()
    assert (found["page"], found["brand"], found["answer"]) == (PAGE, "acme", "ready")
    assert found["lines"] == [
        {"kind": "ok", "text": "Data fresh: Ad performance synced 60 min ago"}
    ]
    assert found["checked_at"] == "2026-03-10T12:00:00Z"
    assert found["datasets"][0]["last_success_at"] == "2026-03-10T11:00:00Z"


def test_an_old_leading_dataset_withholds_the_page_with_the_reason(site: "Site") -> None:
    site.store_status(
        "acme",
        NEEDED[0],
        last_success_at=site.clock.now - timedelta(days=11),
        error_class="CredentialError",
        error_message="The token has expired.",
        advice="Make a new token.",
    )
    found = site.program(Role.VIEWER).get(URL).json()
    assert found["answer"] == "withhold"
    assert found["datasets"][0]["withholds"] is True
    assert found["datasets"][0]["error_message"] == "The token has expired."
    assert found["datasets"][0]["action"] == "Make a new token."


def test_what_has_not_changed_is_answered_with_304_until_it_changes(site: "Site") -> None:
    store_fresh(site)
    program = site.program(Role.EMBED)
    first = program.get(URL)
    assert first.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["etag"]}
    site.clock.pass_by(seconds=2)
    again = program.get(URL, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    site.clock.pass_by(hours=3)
    assert program.get(URL, headers=known).status_code == 200


def test_the_client_of_other_programs_reads_it_and_keeps_what_has_not_changed(
    site: "Site",
) -> None:
    store_fresh(site)
    token = site.program(Role.EMBED).headers["Authorization"].removeprefix("Bearer ")
    client = ReadinessClient(site.url, token, raises=True)
    first = client.readiness("acme", PAGE)
    assert first.answer == "ready"
    assert first.datasets[0].last_success_at == site.clock.now - timedelta(hours=1)
    assert client.readiness("acme", PAGE).lines == first.lines
    assert client.readiness(None, PAGE).brand is None


def test_a_page_across_brands_names_the_stale_ones_of_ones_own_organization(
    site: "Site",
) -> None:
    store_fresh(site)
    site.store_status("rival", NEEDED[0], last_success_at=site.clock.now - timedelta(days=5))
    found = site.program(Role.EMBED).get(f"/api/v1/readiness/{PAGE}").json()
    assert found["brand"] is None
    assert found["answer"] == "degraded"
    assert found["counts"] == {"ready": 1, "degraded": 0, "withhold": 1, "not_configured": 0}
    assert [each["brand"] for each in found["brands"]] == ["globex"]


def test_an_unknown_page_is_told_with_those_that_are_alike(sqlite_site: "Site") -> None:
    answer = sqlite_site.program(Role.VIEWER).get("/api/v1/brands/acme/readiness/ad_perfomance")
    assert answer.status_code == 404
    assert answer.json()["error"]["advice"].startswith("Did you mean ad_performance?")


def test_a_page_of_the_installations_own_is_known_by_its_file(
    sqlite_site: "Site", tmp_path: Path
) -> None:
    read_pages_of(
        sqlite_site,
        tmp_path,
        "pages: [{name: weekly, title: Weekly, needs: [{dataset: ad_assets}]}]",
    )
    viewer = sqlite_site.program(Role.VIEWER)
    assert viewer.get("/api/v1/brands/acme/readiness/weekly").json()["answer"] == "degraded"
    names = [each["name"] for each in viewer.get("/api/v1/pages").json()["items"]]
    assert names[-1] == "weekly"


def test_a_pages_file_of_nonsense_is_said(sqlite_site: "Site", tmp_path: Path) -> None:
    read_pages_of(sqlite_site, tmp_path, "pages: nonsense")
    broken = sqlite_site.program(Role.VIEWER).get("/api/v1/brands/acme/readiness/weekly")
    assert (broken.status_code, broken.json()["error"]["code"]) == (503, "unavailable")
    assert "pages.yaml" in broken.json()["error"]["message"]


def read_pages_of(site: "Site", folder: Path, content: str) -> None:
    """Let the site's installation read a pages file with this content."""
    file = folder / "pages.yaml"
    file.write_text(content)
    settings = site.installation.settings
    site.installation.settings = settings.model_copy(update={"pages_file": file})


def test_an_embed_token_reads_readiness_and_banner_and_nothing_else(sqlite_site: "Site") -> None:
    embedded = sqlite_site.program(Role.EMBED)
    assert embedded.get(URL).status_code == 200
    assert embedded.get(f"/banner/acme/{PAGE}").status_code == 200
    for path in ("/api/v1/brands/acme", "/api/v1/status", "/api/v1/pages", "/"):
        assert embedded.get(path).status_code in {403, 404}, path


def test_the_banner_is_a_piece_of_html_in_which_texts_from_outside_are_text(
    site: "Site",
) -> None:
    site.store_status(
        "acme",
        NEEDED[0],
        last_success_at=None,
        last_attempt_outcome="failed",
        error_class="CredentialError",
        error_message="<img src=x onerror=alert(1)>",
    )
    embedded = site.program(Role.EMBED)
    answer = embedded.get(f"/banner/acme/{PAGE}")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith('<section class="freshness-banner withhold"')
    assert "&lt;img src=x onerror=alert(1)&gt;" in answer.text
    assert "<img" not in answer.text
    same = embedded.get(f"/banner/acme/{PAGE}", headers={"If-None-Match": answer.headers["etag"]})
    assert same.status_code == 304


def test_the_banner_across_brands_has_a_star_for_the_brand(sqlite_site: "Site") -> None:
    answer = sqlite_site.program(Role.EMBED).get(f"/banner/*/{PAGE}")
    assert "2 of 2 brands not ready." in answer.text


def test_a_banner_without_a_valid_token_is_refused_and_not_led_to_the_sign_in(
    sqlite_site: "Site",
) -> None:
    answer = sqlite_site.anonymous().get(f"/banner/acme/{PAGE}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_signed_in")


@pytest.mark.parametrize("path", [URL, f"/api/v1/readiness/{PAGE}", f"/banner/acme/{PAGE}"])
def test_scripts_of_other_sites_may_read_readiness_and_banner(
    sqlite_site: "Site", path: str
) -> None:
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    before = sqlite_site.anonymous().options(path, headers=asked)
    assert before.status_code == 204
    assert before.headers["access-control-allow-methods"] == "GET"
    assert "Authorization" in before.headers["access-control-allow-headers"]
    for client in (sqlite_site.program(Role.EMBED), sqlite_site.anonymous()):
        answer = client.get(path, headers={"Origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/api/v1/me", "/api/v1/brands/acme/status", "/sign-in"])
def test_scripts_of_other_sites_may_read_nothing_else(sqlite_site: "Site", path: str) -> None:
    answer = sqlite_site.program(Role.ADMIN).get(path, headers={"Origin": "https://shop.example"})
    assert "access-control-allow-origin" not in answer.headers
    before = sqlite_site.anonymous().options(path, headers={"Origin": "https://shop.example"})
    assert before.status_code == 405


def test_pages_of_other_sites_may_load_the_banners_script_and_no_other_file(
    sqlite_site: "Site",
) -> None:
    anybody = sqlite_site.anonymous()
    policy = "cross-origin-resource-policy"
    assert anybody.get("/static/banner.js").headers[policy] == "cross-origin"
    assert anybody.get("/static/app.js").headers[policy] == "same-origin"


def test_readiness_is_answered_with_two_queries_however_many_datasets(
    sqlite_site: "Site",
) -> None:
    store_fresh(sqlite_site)
    program = sqlite_site.program(Role.EMBED)
    program.get(URL)  # the token's last use is written once a minute
    asked: list[str] = []
    sa.event.listen(
        sqlite_site.engine, "before_cursor_execute", lambda *args: asked.append(args[2])
    )
    assert program.get(URL).status_code == 200
    assert len([each for each in asked if each.startswith("SELECT")]) == 2
