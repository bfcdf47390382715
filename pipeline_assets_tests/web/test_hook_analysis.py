"""The page "Hook analysis" over HTTP: bars, matrix, creatives, CSV; and what it shares with all."""

import csv
import html
import io
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa

from pipeline_assets.freshness.pages import load_pages
from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import (
    AD_CLASSIFICATIONS,
    AD_THUMBNAILS,
    META_AD_CREATIVES,
    SCORECARD,
)
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/brands/acme/hook-analysis"
TAGS = ("hook_type", "messaging_angle", "visual_format", "asset_type", "awareness_stage")
MORE_TAGS = ("emotion", "cta", "offer_type", "funnel_stage", "media_type")
Put = Callable[..., None]


@pytest.fixture
def put(site: "Site") -> Put:
    """Stores a creative with its ad, its tags and, when it has a spend, its scorecard row."""

    def put(creative_id: str, spend: object = None, **values: Any) -> None:
        tags = {name: values.pop(name, "unknown") for name in (*TAGS, *MORE_TAGS)}
        told = {
            name: {"value": value, "confidence": 0.8, "evidence": [f"evidence of {value}"]}
            for name, value in tags.items()
        }
        site.store_rows(AD_CLASSIFICATIONS, {"creative_id": creative_id, "tags": told} | tags)
        site.store_rows(
            META_AD_CREATIVES,
            {
                "ad_id": creative_id,
                "creative_id": creative_id,
                "ad_name": values.pop("ad_name", f"Ad {creative_id}"),
                "title": values.pop("title", None),
            },
        )
        if spend is not None:
            site.store_rows(
                SCORECARD,
                {
                    "creative_id": creative_id,
                    "creative_key": f"image:{creative_id}",
                    "currency": "EUR",
                    "impressions": 1000,
                    "spend": Decimal(str(spend)),
                    "purchase_value": Decimal(0),
                    "label": "middle",
                }
                | values,
            )

    return put


@pytest.fixture(autouse=True)
def fresh(site: "Site") -> None:
    site.store_status("acme", "ad_classifications")


def names(page: str) -> list[str]:
    """The creatives in the table, in its order."""
    return re.findall(r'<div><bdi class="clamp " title="[^"]*">([^<]*)</bdi>', page)


def bars(page: str) -> list[list[str]]:
    """The texts of each bar's line."""
    body = page.partition('<table class="bars">')[2].partition("</table>")[0]
    lines = re.findall(r'<tr><th scope="row">(.*?)</tr>', body, re.DOTALL)
    return [re.sub(r"<[^>]+>", " ", line).split() for line in lines]


def test_bars_compare_what_the_hooks_have_spent_and_earned(viewer: "Client", put: Put) -> None:
    put("1", 100, hook_type="offer", purchase_value=Decimal(300), label="winner")
    put("2", 50, hook_type="offer", label="loser")
    put("3", 50, hook_type="question", hook_rate=0.30, impressions=1000)
    put("4", 0, hook_type="question", hook_rate=0.60, impressions=3000)
    put("5", hook_type="story")
    assert bars(viewer.page(PATH)) == [
        ["offer", "2", "150", "75", "%", "2.00x", "–", "1", "1"],
        ["question", "2", "50", "25", "%", "0.00x", "52.50", "%", "–", "–"],
        ["story", "1", "–", "–", "–", "–", "–"],
    ]
    by_angle = bars(viewer.page(PATH, by="messaging_angle"))
    assert by_angle == [["unknown", "5", "200", "100", "%", "1.50x", "52.50", "%", "1", "1"]]


def test_bars_and_matrix_are_of_what_the_filters_find(viewer: "Client", put: Put) -> None:
    put("1", 100, hook_type="offer", messaging_angle="value", asset_type="ugc")
    put("2", 40, hook_type="offer", messaging_angle="pain", asset_type="studio")
    page = viewer.page(PATH, asset_type="ugc")
    assert bars(page)[0][:4] == ["offer", "1", "100", "100"]
    assert heat(page) == {"offer": ["100"]}


def heat(page: str) -> dict[str, list[str]]:
    """The matrix: for each hook the texts of its cells."""
    body = page.partition('<table class="heatmap">')[2].partition("</table>")[0]
    rows = re.findall(r'<th scope="row" class="sticky">([^<]+)</th>(.*?)</tr>', body, re.DOTALL)
    return {hook: re.findall(r"<td>(?:<a[^>]*>([^<]+)</a>)?</td>", cells) for hook, cells in rows}


def test_the_matrix_has_a_cell_for_each_hook_and_angle_what_is_unknown_last(
    viewer: "Client", put: Put
) -> None:
    put("1", 100, hook_type="unknown", messaging_angle="value")
    put("2", 40, hook_type="offer", messaging_angle="value", hook_rate=0.5)
    put("3", 60, hook_type="offer", messaging_angle="unknown")
    page = viewer.page(PATH)
    assert heat(page) == {"offer": ["40", "60"], "unknown": ["100", ""]}
    levels = re.findall(r'<td><a class="(level-[^"]+)"', page)
    assert levels == ["level-2", "level-3", "level-5"]
    assert heat(viewer.page(PATH, measure="hook_rate"))["offer"] == ["50.00 %", "–"]


def test_currencies_are_never_added_up(viewer: "Client", put: Put) -> None:
    put("1", 100, hook_type="offer")
    put("2", 900, hook_type="offer", currency="JPY")
    assert bars(viewer.page(PATH))[0][:3] == ["offer", "2", "900"]
    assert bars(viewer.page(PATH, currency="EUR"))[0][:3] == ["offer", "2", "100"]


def test_the_share_of_what_is_unknown_is_told(viewer: "Client", put: Put) -> None:
    put("1", 25, hook_type="unknown")
    put("2", 75, hook_type="offer")
    page = re.sub(r"<[^>]+>", "", viewer.page(PATH))
    assert "50 % of the creatives and 25 % of the spend have an unknown hook" in page
    assert "Every creative's hook is known" in viewer.page(PATH, hook_type="offer")


def test_creatives_have_picture_tags_with_evidence_and_result(
    viewer: "Client", put: Put, site: "Site"
) -> None:
    put("k1", 12.5, hook_type="social_proof", label="winner", label_reason="ROAS of the top tenth")
    site.store_rows(AD_THUMBNAILS, {"creative_id": "k1", "sha256": "a" * 64})
    page = viewer.page(PATH)
    assert f'src="/brands/acme/media/{"a" * 64}"' in page
    assert "80 % sure" in page
    assert "<bdi>evidence of social_proof</bdi>" in page
    assert '<span class="result winner">winner</span>' in page
    assert "ROAS of the top tenth" in page


def test_rows_sort_by_figures_of_the_scorecard_those_without_last(
    viewer: "Client", put: Put
) -> None:
    put("a", 10, roas=3.0)
    put("b", 30, roas=1.0)
    put("c")
    assert names(viewer.page(PATH)) == ["Ad b", "Ad a", "Ad c"]
    page = viewer.page(PATH, sort="roas")
    assert names(page) == ["Ad a", "Ad b", "Ad c"]
    turned = re.search(r'aria-sort="descending"><a href="([^"]+)"', page)
    assert turned is not None
    assert names(viewer.page(html.unescape(turned[1]))) == ["Ad b", "Ad a", "Ad c"]


def test_a_creative_with_two_scorecard_rows_stands_there_once(
    viewer: "Client", put: Put, site: "Site"
) -> None:
    put("a", 10)
    site.store_rows(
        SCORECARD,
        {"creative_id": "a", "creative_key": "x", "currency": "USD", "spend": Decimal(20)},
        {"creative_id": "a", "creative_key": "y", "currency": "USD", "spend": None},
    )
    assert bars(viewer.page(PATH))[0][:3] == ["unknown", "1", "20"]


def test_filters_offer_values_with_counts_and_keep_what_else_was_asked(
    viewer: "Client", put: Put
) -> None:
    put("a", 1, hook_type="offer", funnel_stage="top")
    put("b", 1, hook_type="offer", funnel_stage="bottom")
    put("c", 1, hook_type="how_to", funnel_stage="top")
    put("d", hook_type="how_to", funnel_stage="top", title="Trail shoes")
    page = viewer.page(PATH, funnel_stage="top", by="emotion")
    assert names(page) == ["Ad a", "Ad c", "Ad d"]
    assert options(page, "hook_type") == ["any", "how to (2)", "offer (1)"]
    assert options(page, "funnel_stage") == ["any", "top (3)", "bottom (1)"]
    assert options(page, "label") == ["any", "middle (2)", "(none) (1)"]
    assert '<input type="hidden" name="by" value="emotion">' in page
    assert names(viewer.page(PATH, label="(none)")) == ["Ad d"]
    assert names(viewer.page(PATH, q="trail")) == ["Ad d"]
    nothing = viewer.page(PATH, q="nothing like it", by="emotion", hook_type="story")
    assert "No creative matches the filter" in nothing
    assert options(nothing, "hook_type") == ["any", "story (0)"]
    clear = re.search(r'href="([^"]+)#rows">Clear the filter', nothing)
    assert clear is not None
    assert html.unescape(clear[1]) == f"{PATH}?by=emotion"


def options(page: str, name: str) -> list[str]:
    select = page.partition(f'<select name="{name}">')[2].partition("</select>")[0]
    return re.findall(r">([^<>]+)</option>", select)


def test_pages_cut_the_rows_and_the_csv_has_all_of_them(viewer: "Client", put: Put) -> None:
    for number in range(51):
        put(f"{number:02}", 1)
    assert len(names(viewer.page(PATH))) == 50
    assert names(viewer.page(PATH, page=2)) == ["Ad 50"]
    assert "There is no page 3" in viewer.page(PATH, page=3)
    rows = rows_of(viewer.get(f"{PATH}.csv?page=2"))
    assert len(rows) == 51


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def test_the_csv_is_exactly_what_the_filters_find_and_no_name_is_a_formula(
    viewer: "Client", put: Put
) -> None:
    put("a", "0.10", hook_type="offer", ad_name="=cmd()", roas=1 / 3)
    put("b", hook_type="story")
    answer = viewer.get(f"{PATH}.csv", params={"hook_type": "offer"})
    assert answer.headers["content-disposition"] == (
        'attachment; filename="hook-analysis_acme.csv"'
    )
    (row,) = rows_of(answer)
    assert (row["ad_name"], row["roas"], row["hook_rate"]) == ("'=cmd()", "0.333333", "")
    assert Decimal(row["spend"]) == Decimal("0.10")
    assert '"evidence":["evidence of offer"]' in row["tags"]


@pytest.mark.parametrize("hours_ago", [None, 48.1])
def test_withheld_tags_and_figures_stand_nowhere(
    site: "Site", viewer: "Client", put: Put, hours_ago: float | None
) -> None:
    put("a", 77.77)
    at = site.clock.now - timedelta(hours=hours_ago) if hours_ago else None
    with write_transaction(site.engine) as connection:
        connection.execute(sa.update(dataset_status).values(last_success_at=at))
    page = viewer.page(PATH)
    assert "The tags and figures are not shown" in page
    assert "pipeline-assets sync acme meta_sync" in page
    assert "77.77" not in page
    assert "Ad a" not in page
    answer = viewer.get(f"{PATH}.csv")
    assert answer.status_code == 409
    assert "77.77" not in answer.text


def test_a_brand_without_the_source_is_told_how_to_add_it(site: "Site", viewer: "Client") -> None:
    site.add_brand("bare", sources={})
    page = viewer.page("/brands/bare/hook-analysis")
    assert "Not configured for this brand" in page


def test_no_creative_is_not_the_same_as_no_match(viewer: "Client", put: Put) -> None:
    assert "No creative yet" in viewer.page(PATH)
    put("globex only")
    assert "No creative yet" not in viewer.page(PATH)


def test_figures_wait_for_the_scorecard(viewer: "Client", put: Put) -> None:
    put("a", hook_type="offer")
    page = viewer.page(PATH)
    assert "they come with the scorecard" in page
    assert bars(page) == [["offer", "1"]]
    assert "heatmap" not in page


def test_withheld_figures_leave_the_tags_where_they_are(
    site: "Site",
    viewer: "Client",
    put: Put,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "pages.yaml"
    needs = "[{dataset: ad_classifications, withhold: true}, {dataset: scorecard, withhold: true}]"
    file.write_text(f"pages: [{{name: hook_analysis, title: Hooks, needs: {needs}}}]")
    monkeypatch.setattr(site.installation, "pages", load_pages(file))
    put("a", 77.77, hook_type="offer", roas=6.66, label="winner")
    for page in (
        viewer.page(PATH),
        viewer.page(PATH, sort="roas"),
        viewer.page(PATH, label="winner"),
    ):
        assert "The figures are not shown" in page
        assert "77.77" not in page
        assert "6.66" not in page
    assert names(viewer.page(PATH)) == ["Ad a"]
    assert bars(viewer.page(PATH)) == [["offer", "1"]]
    assert "No creative matches the filter" in viewer.page(PATH, label="winner")
    (row,) = rows_of(viewer.get(f"{PATH}.csv"))
    assert (row["hook_type"], row["spend"], row["label"]) == ("offer", "", "")
    site.store_status("acme", "scorecard")
    assert "77.77" in viewer.page(PATH)


def test_whatever_names_hold_is_text(viewer: "Client", put: Put, nasty: str) -> None:
    put("a", 1, ad_name=nasty, title=nasty, hook_type=nasty, currency="<i>", label_reason=nasty)
    page = viewer.page(PATH, q="<script>", hook_type=nasty[:200])
    assert "<script>alert" not in page + viewer.page(PATH)
    assert "<i>" not in page + viewer.page(PATH)
    assert " style=" not in page
    assert rows_of(viewer.get(f"{PATH}.csv"))[0]["ad_name"] == nasty


def test_an_address_that_means_nothing_is_refused_in_words(viewer: "Client") -> None:
    long = "x" * 10_000
    for query in (
        *("sort=creative", "sort=tags", "order=up", "page=0", "page=1e9", "q=%00", f"q={long}"),
        *(f"hook_type={long}", "label=%00"),
    ):
        for path in (PATH, f"{PATH}.csv"):
            answer = viewer.get(f"{path}?{query}")
            assert answer.status_code == 422, query
            assert "bug" not in answer.text
    for query in ("by=nonsense", "measure=cpa", f"currency={long}"):
        assert viewer.get(f"{PATH}?{query}").status_code == 422, query
    assert "No creative" in viewer.page(f"{PATH}?hook_type=nonsense&currency=nonsense")


def test_a_poll_that_has_seen_what_stands_there_is_answered_with_nothing(
    viewer: "Client", put: Put, site: "Site"
) -> None:
    put("a", 1)
    poll = re.search(r'<main [^>]*hx-get="([^"]+)"', viewer.page(PATH, by="emotion"))
    assert poll is not None
    url = html.unescape(poll[1])
    assert viewer.get(url).status_code == 204
    with write_transaction(site.engine) as connection:
        connection.execute(sa.update(dataset_status).values(last_success_at=site.clock.now))
    assert "seen=" not in "".join(re.findall(r'<a [^>]*href="([^"]+)"', viewer.page(url)))


def test_the_page_is_not_there_where_its_organization_hides_it(
    site: "Site", viewer: "Client"
) -> None:
    assert f'href="{PATH}"' in viewer.page("/brands/acme")
    now = site.clock.now
    set_feature(site.engine, "north", "hook_analysis", is_shown=False, actor="test", now=now)
    assert viewer.get(PATH).status_code == 404
    assert viewer.get(f"{PATH}.csv").status_code == 404
    assert f'href="{PATH}"' not in viewer.page("/brands/acme")


def test_sync_now_is_there_for_those_who_may(site: "Site", viewer: "Client") -> None:
    assert "Sync now" not in viewer.page(PATH)
    operator = site.person(Role.OPERATOR)
    assert 'hx-post="/brands/acme/sync"' in operator.page(PATH)


def test_programs_may_read_the_csv_but_not_those_that_read_readiness_alone(
    site: "Site", put: Put
) -> None:
    put("a", 1)
    assert len(rows_of(site.program(Role.VIEWER).get(f"{PATH}.csv"))) == 1
    for path in (PATH, f"{PATH}.csv"):
        assert site.program(Role.EMBED).get(path).status_code in {403, 404}
