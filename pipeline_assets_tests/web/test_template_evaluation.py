"""The page "Template evaluation" over HTTP: what became of templates, charts, table, CSV."""

import csv
import html
import io
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pipeline_assets.control.item_decisions import decide
from pipeline_assets.freshness.pages import load_pages
from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import AD_CREATIONS, TEMPLATE_APPROVALS, TEMPLATES_SCRAPED

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/brands/sole/template-evaluation"
SOURCES = {"templates": {"page_ids": ["1"], "countries": ["FR"]}}
DATASETS = ("templates_scraped", "template_approvals", "ad_creations")


def ready(site: "Site") -> "Client":
    """A viewer's browser; the brand has a templates source, synced an hour ago."""
    site.add_brand("sole", sources=SOURCES)
    for dataset in DATASETS:
        site.store_status("sole", dataset)
    return site.person(Role.VIEWER)


def put(site: "Site", ad: str, state: str = "", score: float = 0, **values: Any) -> None:
    """Stores a template, with what was decided of it unless `state` is empty."""
    decided = {
        "decided_by": values.pop("decided_by", "rules"),
        "reasons": values.pop("reasons", [f"Its score is {score:g}"]),
        "score_parts": values.pop("score_parts", []),
        "is_overruled": values.pop("is_overruled", False),
    }
    row = {"library_ad_id": ad, "page_name": "Shoes & Co", "title": f"Title {ad}"}
    site.store_rows(TEMPLATES_SCRAPED, row | {"source": "ad_library"} | values, brand_id="sole")
    if state:
        judged = {"template_id": ad, "state": state, "rule_state": state, "score": score}
        site.store_rows(TEMPLATE_APPROVALS, judged | decided, brand_id="sole")


def draft(site: "Site", template: str, *states: str) -> None:
    drafts = [
        {"draft_id": f"{template}-{number}", "template_id": template, "review_state": state}
        for number, state in enumerate(states)
    ]
    site.store_rows(AD_CREATIONS, *drafts, brand_id="sole")


def titles(page: str) -> list[str]:
    """The templates in the table, in its order."""
    return re.findall(
        r'<br><small class="muted"><bdi class="clamp " title="Title \w+">(.*?)<', page
    )


def lines(page: str, table: str) -> list[str]:
    """The words of each line of a table, by its class."""
    body = page.partition(f'<table class="{table}">')[2].partition("<tbody>")[2]
    rows = re.findall(r"<tr.*?</tr>", body.partition("</tbody>")[0], re.DOTALL)
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in rows]


def scores(page: str) -> dict[str, str]:
    """The bars that stand for a template at least."""
    (label,) = re.findall(r'class="scores" [^>]*aria-label="Templates by score: ([^"]+)"', page)
    bars = dict(each.split(": ") for each in label.split("; "))
    assert len(bars) == 10
    return {name: words for name, words in bars.items() if words != "none"}


def test_templates_are_followed_from_being_found_to_approved_drafts(site: "Site") -> None:
    viewer = ready(site)
    for ad in ("1", "2", "3"):
        put(site, ad, "approved", 80)
    put(site, "4", "rejected", 10)
    put(site, "5", "pending", 50)
    put(site, "6", "rejected", 80, duplicate_of="1")
    put(site, "7")
    draft(site, "1", "approved", "approved", "draft")
    draft(site, "2", "rejected")
    draft(site, "4", "draft")
    page = viewer.page(PATH)
    assert lines(page, "funnel") == [
        "Found 1 of them a copy of others 7 100 %",
        "Approved 3 43 %",
        "Used in drafts 1 not approved any more 3 43 %",
        "With an approved draft 1 14 %",
    ]
    assert "<b>1</b> waits for a person." in page
    assert "<b>5</b> drafts were made from them: 2 approved, 1 rejected, 2 to review." in page
    assert 'href="/template-queue?brand=sole"' in page
    assert 'href="/brands/sole/creations-review"' in page
    assert '<a href="/brands/sole/creations-review?q=1">3</a>' in page
    assert titles(viewer.page(PATH, sort="draft_count"))[:3] == ["Title 1", "Title 2", "Title 4"]
    approved = viewer.page(PATH, state="approved")
    assert lines(approved, "funnel")[2] == "Used in drafts 2 67 %"


def test_bars_count_scores_by_state_without_copies_that_only_share_a_fate(site: "Site") -> None:
    viewer = ready(site)
    for number, score in enumerate((0, 9.9, 10, 69.9)):
        put(site, f"r{number}", "rejected", score)
    put(site, "p", "pending", 69)
    put(site, "a", "approved", 100)
    put(site, "copy", "rejected", 95, duplicate_of="a")
    put(site, "hand", "approved", 35, duplicate_of="a", decided_by="user:ann@north.example")
    put(site, "new")
    page = viewer.page(PATH)
    assert scores(page) == {
        "0 to 10": "2 rejected",
        "10 to 20": "1 rejected",
        "30 to 40": "1 approved",
        "60 to 70": "1 pending, 1 rejected",
        "90 to 100": "1 approved",
    }
    assert "A copy is left out of the bars: it shares the fate of what they copy." in page
    assert "Not judged yet <b>1</b>" in page
    assert titles(page)[:2] == ["Title a", "Title copy"]
    assert titles(page)[-1] == "Title new"


def test_parts_of_the_score_are_means_of_what_is_known(site: "Site") -> None:
    viewer = ready(site)

    def parts(days: float, reach: float | None) -> list[dict[str, Any]]:
        known = {"points": reach or 0, "most": 0 if reach is None else 15}
        return [
            {"name": "days_running", "points": days, "most": 30, "why": f"{days:g} points of days"},
            {"name": "eu_reach", **known, "why": "it reached some"},
            {"name": "copies", "points": 0, "most": 0, "why": "not known"},
        ]

    put(site, "1", "approved", 80, score_parts=parts(30, 10))
    put(site, "2", "approved", 70, score_parts=parts(20, None))
    put(site, "3", "rejected", 20, score_parts=parts(4, None))
    put(site, "4", "rejected", 80, score_parts=parts(30, None), duplicate_of="1")
    put(site, "5", "pending", 50, score_parts=parts(15, None))
    page = viewer.page(PATH)
    assert lines(page, "parts") == ["Days running 25.0 4.0 30", "Reach in the EU 10.0 – 15"]
    assert lines(page, "own-parts")[0] == "Days running 30.0 of 30 30 points of days"
    only = viewer.page(PATH, state="pending")
    assert "No template is approved or rejected yet." in only


def test_advertisers_are_compared_by_how_long_their_templates_ran(site: "Site") -> None:
    viewer = ready(site)
    put(site, "1", "approved", 80, days_running=100, is_active=True, started_on=date(2026, 1, 1))
    put(site, "2", "rejected", 8, days_running=10, eu_reach=1234)
    put(site, "3", page_name=None)
    page = viewer.page(PATH)
    assert lines(page, "advertisers") == ["Shoes & Co 55 100 days 2 1", "not known – – 1 0"]
    assert "2026-01-01 – running" in page
    assert ">1,234<" in page
    for number in range(11):
        put(site, f"m{number}", page_name=f"Maker {number}")
    assert "The 10 with the most templates of 13 advertisers." in viewer.page(PATH)


def test_a_row_says_who_decided_and_why_and_filters_find_it(sqlite_site: "Site") -> None:
    viewer = ready(sqlite_site)
    ann = "user:ann@north.example"
    put(
        sqlite_site,
        *("1", "approved", 20),
        decided_by=ann,
        is_overruled=True,
        reasons=["Our tone", "Its score is 20, below 30"],
        preview_sha256="a" * 64,
        titles=["One", "Two"],
        bodies=["All of the text"],
        library_url="https://library.example/?id=1",
        landing_url="javascript:alert(1)",
    )
    put(sqlite_site, "2", "rejected", 10, source="somebody/actor", page_name="Boots")
    put(sqlite_site, "3", "pending", 50)
    put(sqlite_site, "4", "rejected", 20, duplicate_of="1")
    page = viewer.page(PATH)
    assert ">ann@north.example</bdi>, against the rules ·" in page
    for words in ("Our tone", "Its score is 20, below 30", "One", "Two", "All of the text"):
        assert f">{words}</bdi>" in page
    assert f'src="/brands/sole/media/{"a" * 64}"' in page
    assert 'href="https://library.example/?id=1"' in page
    assert 'href="javascript' not in page
    assert re.findall(r'href="[^"]*q=1"[^>]*>a copy<', page)
    assert titles(viewer.page(PATH, decider="a person")) == ["Title 1"]
    assert titles(viewer.page(PATH, decider="rules")) == ["Title 4", "Title 2"]
    assert titles(viewer.page(PATH, decider="(none)")) == ["Title 3"]
    assert titles(viewer.page(PATH, page_name="Boots", source="somebody/actor")) == ["Title 2"]
    assert titles(viewer.page(PATH, q="title 3")) == ["Title 3"]
    assert titles(viewer.page(PATH, sort="copy_count", order="desc"))[0] == "Title 1"


def test_a_decision_is_shown_by_the_next_poll(sqlite_site: "Site") -> None:
    viewer = ready(sqlite_site)
    put(sqlite_site, "1", "pending", 50, reasons=[])

    def poll(page: str) -> httpx.Response:
        (url,) = re.findall(r'hx-get="([^"]+seen=[^"]+)"', page)
        return viewer.get(html.unescape(url))

    page = viewer.page(PATH)
    assert poll(page).status_code == 204
    for decision in ("approved", "rejected", "pending"):
        sqlite_site.clock.pass_by(seconds=1)
        decide(
            sqlite_site.engine,
            brand_id="sole",
            dataset="template_approvals",
            item_id="1",
            decision=decision,
            reason="Look",
            actor="user:ann@north.example",
            now=sqlite_site.clock.now,
        )
        changed = poll(page)
        assert f'<span class="fate {decision}">' in changed.text
        page = changed.text
    assert poll(page).status_code == 204


def test_the_csv_has_the_templates_that_the_filters_find(sqlite_site: "Site") -> None:
    ready(sqlite_site)
    put(sqlite_site, "1", "approved", 81.5, title="=1+1", titles=["=1+1", "b"], eu_reach=7)
    put(sqlite_site, "2", "rejected", 10, duplicate_of="1")
    draft(sqlite_site, "1", "approved", "draft")
    program = sqlite_site.program(Role.VIEWER)
    answer = program.get("/brands/sole/template-evaluation.csv", params={"state": "approved"})
    assert answer.headers["content-disposition"].endswith('"template-evaluation_sole.csv"')
    (row,) = csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")))
    wanted = {
        "library_ad_id": "1",
        "title": "'=1+1",
        "eu_reach": "7",
        "state": "approved",
        "score": "81.5",
        "reasons": "Its score is 81.5",
        "copy_count": "1",
        "draft_count": "2",
        "approved_draft_count": "1",
    }
    assert {name: row[name] for name in wanted} == wanted


def test_each_part_is_hidden_with_the_data_that_it_rests_on(
    sqlite_site: "Site", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = ", ".join(f"{{dataset: {each}, withhold: true}}" for each in DATASETS)
    file = tmp_path / "pages.yaml"
    file.write_text(f"pages: [{{name: template_evaluation, title: T, needs: [{needs}]}}]")
    monkeypatch.setattr(sqlite_site.installation, "pages", load_pages(file))
    sqlite_site.add_brand("sole", sources=SOURCES)
    viewer = sqlite_site.person(Role.VIEWER)
    put(sqlite_site, "1", "approved", 81.5, body="Old text", page_name="Boots")
    draft(sqlite_site, "1", "approved")
    assert "The templates are not shown" in viewer.page(PATH)
    assert "Boots" not in viewer.page(PATH)
    assert viewer.get(f"{PATH}.csv").status_code == 409
    sqlite_site.store_status("sole", "templates_scraped")
    page = viewer.page(PATH)
    assert "Approvals are not shown" in page
    assert "Drafts are not shown" in page
    assert lines(page, "funnel") == ["Found 1 100 %"]
    assert titles(page) == ["Title 1"]
    assert "81.5" not in page
    assert 'class="fate' not in page
    sqlite_site.store_status("sole", "ad_creations")
    assert lines(viewer.page(PATH), "funnel")[1:] == [
        "Used in drafts 1 100 %",
        "With an approved draft 1 100 %",
    ]
    sqlite_site.store_status("sole", "template_approvals")
    assert "81.5" in viewer.page(PATH)


def test_an_empty_page_says_why(sqlite_site: "Site") -> None:
    viewer = ready(sqlite_site)
    assert "No template yet" in viewer.page(PATH)
    put(sqlite_site, "1")
    assert "No template is judged yet" in viewer.page(PATH)
    assert "No template matches the filter" in viewer.page(PATH, q="nothing")
    bare = viewer.get("/brands/acme/template-evaluation").text
    assert "Not configured for this brand" in bare
    assert "templates:\n  page_ids:" in bare
    set_feature(
        sqlite_site.engine,
        organization_id="north",
        feature="template_evaluation",
        is_shown=False,
        actor="test",
        now=sqlite_site.clock.now,
    )
    for path in (PATH, f"{PATH}.csv"):
        assert viewer.get(path).status_code == 404


def test_bad_input_is_text_or_refused_in_words(sqlite_site: "Site", nasty: str) -> None:
    viewer = ready(sqlite_site)
    part = {"name": nasty, "points": 1, "most": 2, "why": nasty}
    put(
        sqlite_site,
        *("1", "approved", 80),
        **dict.fromkeys(("page_name", "title", "body", "cta", "source", "matched_by"), nasty),
        **dict.fromkeys(("decided_by", "description", "landing_url", "library_url"), nasty),
        **{name: [nasty] for name in ("titles", "bodies", "reasons", "platforms")},
        score_parts=[part],
    )
    page = viewer.page(PATH, page_name=nasty[:200]) + viewer.page(PATH)
    assert "<script>alert" not in page
    assert " style=" not in page
    for params in ({"sort": "raw"}, {"page": "0"}, {"q": "x" * 10_000}, {"state": "x" * 10_000}):
        assert viewer.get(PATH, params=params).status_code == 422, params
    assert "There is no page 9" in viewer.page(PATH, page="9")
    assert viewer.get("/brands/nobody/template-evaluation").status_code == 404
