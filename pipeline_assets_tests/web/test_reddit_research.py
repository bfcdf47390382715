"""The page "Reddit research" over HTTP: weeks, subreddits, what people say, posts, CSV."""

import csv
import html
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.people.features import set_feature
from pipeline_assets.schemas import REDDIT_POSTS
from pipeline_assets.web.pages import voices

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/brands/shoes/reddit-research"
SOURCE = {
    "client_id": "abc",
    "client_secret": "env:SECRET_OF_TESTS",
    "username": "shoes_team",
    "subreddits": ["running"],
    "search_terms": ["shoes"],
}
Put = Callable[..., None]


@pytest.fixture
def site(sqlite_site: "Site") -> "Site":
    """A server whose brand's posts have been read an hour ago."""
    sqlite_site.add_brand("shoes", sources={"reddit": SOURCE})
    sqlite_site.store_status("shoes", "reddit_posts")
    return sqlite_site


@pytest.fixture
def put(site: "Site") -> Put:
    """Stores a post that says something, by `says` such as `{"pain": ["hurts my feet"]}`."""

    def put(post_id: str, *, days_ago: float = 1, says: Any = None, **values: Any) -> None:
        phrases = [{"kind": k, "text": text} for k, texts in (says or {}).items() for text in texts]
        row = {
            "brand_id": "shoes",
            "post_id": post_id,
            "title": f"Post {post_id}",
            "subreddit": "running",
            "matched_terms": ["shoes"],
            "permalink": f"https://www.reddit.com/r/running/comments/{post_id}/",
            "posted_at": site.clock.now - timedelta(days=days_ago),
            "phrases": phrases,
        }
        site.store_rows(REDDIT_POSTS, row | values)

    return put


def titles(page: str) -> list[str]:
    """The posts in the table, in its order."""
    return re.findall(r'class="sticky"><a [^>]*><bdi[^>]*>([^<]*)</bdi>', page)


def options(page: str, name: str) -> list[str]:
    select = page.partition(f'<select name="{name}">')[2].partition("</select>")[0]
    return re.findall(r">([^<>]+)</option>", select)


def sayings(page: str, kind: str) -> list[tuple[str, str]]:
    """What is said of a kind, and by how many."""
    card = page.partition(f'<h3 id="said-{kind}">')[2].partition("</section>")[0]
    return re.findall(r'<span class="saying"><bdi>([^<]*)</bdi></span> <b[^>]*>(\d+)</b>', card)


def test_what_many_say_stands_first_and_its_wordings_lead_to_the_posts(
    viewer: "Client", put: Put
) -> None:
    put("t3_a", says={"pain": ["the soles hurt my feet"], "praise": ["I love the laces"]})
    put("t3_b", says={"pain": ["these soles really hurt my feet", "they smell like old fish"]})
    page = viewer.page(PATH)
    assert sayings(page, "pain") == [
        ("the soles hurt my feet", "2"),
        ("they smell like old fish", "1"),
    ]
    assert sayings(page, "praise") == [("I love the laces", "1")]
    assert sayings(page, "desire") == []
    wording = r'<a href="([^"]+)"[^>]*rel="noopener noreferrer"><bdi[^>]*>“these soles really'
    assert re.findall(wording, page) == ["https://www.reddit.com/r/running/comments/t3_b/"]
    assert "from 2 posts" in page


def test_only_the_newest_are_listened_to_and_the_page_says_so(
    viewer: "Client", put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "MAX_HEARD", 2)
    for number in range(3):
        put(f"t3_{number}", days_ago=number, says={"pain": [f"trouble of day {number} here"]})
    page = viewer.page(PATH)
    assert "from the newest 2 of 3 posts" in page
    assert "trouble of day 2 here" not in page.partition('id="rows"')[0]


def test_filters_find_subreddits_terms_and_what_is_said(viewer: "Client", put: Put) -> None:
    put("t3_a", says={"pain": ["it is too narrow", "it is too stiff"], "praise": ["I love it so"]})
    put("t3_b", days_ago=2, matched_terms=["shoes", "soles"], subreddit="BuyItForLife")
    put("t3_c", days_ago=3, matched_terms=["soles"], says={"pain": ["it is so heavy"]})
    page = viewer.page(PATH)
    assert titles(page) == ["Post t3_a", "Post t3_b", "Post t3_c"]
    assert options(page, "term") == ["any", "shoes (2)", "soles (2)"]
    assert options(page, "kind") == ["any", "pain (2)", "praise (1)", "(none) (1)"]
    assert titles(viewer.page(PATH, term="soles")) == ["Post t3_b", "Post t3_c"]
    assert titles(viewer.page(PATH, term="sole")) == []
    assert titles(viewer.page(PATH, kind="pain")) == ["Post t3_a", "Post t3_c"]
    assert titles(viewer.page(PATH, kind="(none)")) == ["Post t3_b"]
    narrowed = viewer.page(PATH, kind="pain", term="soles")
    assert titles(narrowed) == ["Post t3_c"]
    assert options(narrowed, "kind") == ["any", "pain (1)", "(none) (1)"]
    assert sayings(narrowed, "pain") == [("it is so heavy", "1")]
    assert titles(viewer.page(PATH, q="T3_B", sort="score")) == ["Post t3_b"]
    assert titles(viewer.page(PATH, subreddit="BuyItForLife")) == ["Post t3_b"]


def test_weeks_begin_on_monday_and_are_counted_without_a_gap(viewer: "Client", put: Put) -> None:
    # Now is Tuesday noon, 2026-03-10.
    for number, days_ago in enumerate((0, 1.49, 1.51, 8.49, 8.51, 400)):
        put(f"t3_{number}", days_ago=days_ago)
    page = viewer.page(PATH)
    columns = re.findall(r"<title>(Week of [^<]+)</title>", page)
    assert len(columns) == 12
    assert columns[-4:] == [
        "Week of 2026-02-16: 0 posts",
        "Week of 2026-02-23: 1 post",
        "Week of 2026-03-02: 2 posts",
        "Week of 2026-03-09: 2 posts, so far",
    ]
    assert "<b>3 posts</b> in the last four whole weeks, 0 in the four before" in page
    assert "1 post is older" in page


def test_subreddits_are_compared_and_can_be_chosen(viewer: "Client", put: Put) -> None:
    put("t3_a", score=10, comment_count=3)
    put("t3_b", score=20, comment_count=4)
    put("t3_c", score=1000, subreddit="BuyItForLife")
    table = viewer.page(PATH).partition('<table class="counted">')[2].partition("</table>")[0]
    lines = [re.sub(r"<[^>]+>", " ", line).split() for line in table.split("<tr>")[2:]]
    assert lines == [["r/running", "2", "15", "4"], ["r/BuyItForLife", "1", "1,000", "0"]]
    assert f'href="{PATH}?subreddit=BuyItForLife"' in table


def test_the_csv_is_what_the_filters_find_and_no_title_is_a_formula(
    viewer: "Client", put: Put
) -> None:
    put("t3_a", title="=cmd()", says={"pain": ["it is too narrow"]}, matched_terms=["a", "b"])
    put("t3_b")
    answer = viewer.get(f"{PATH}.csv", params={"kind": "pain"})
    assert 'filename="reddit-research_shoes.csv"' in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["title"], row["matched_terms"]) == ("'=cmd()", "a | b")
    assert row["phrases"] == '[{"kind":"pain","text":"it is too narrow"}]'


def test_whatever_was_posted_is_text(viewer: "Client", put: Put, nasty: str) -> None:
    texts = ("title", "subreddit", "body", "flair", "link_url", "error")
    says = {"pain": [nasty, "plain words here"]}
    put("t3_a", **dict.fromkeys(texts, nasty), says=says, matched_terms=[nasty])
    put("t3_b", permalink="javascript:alert(2)", says={"desire": ["something of my own"]})
    put("t3_c", body=None, link_url="javascript:alert(3)")
    page = viewer.page(PATH) + viewer.page(PATH, term=nasty[:200], subreddit="<i>", q="<u>")
    assert "<script>alert" not in page
    assert 'href="javascript' not in page
    assert "<i>" not in page
    assert "<u>" not in page
    assert " style=" not in page
    assert "alert(2)" not in page
    assert "javascript:alert(3)" in page


def test_an_address_that_means_nothing_is_refused_in_words(viewer: "Client") -> None:
    for path in (PATH, f"{PATH}.csv"):
        for query in ("sort=phrases", "order=up", f"term={'x' * 10_000}", "is_nsfw=maybe"):
            answer = viewer.get(f"{path}?{query}")
            assert answer.status_code == 422, query
            assert "bug" not in answer.text


def test_no_posts_no_sync_no_source_and_no_page_are_told_apart(
    site: "Site", viewer: "Client", put: Put
) -> None:
    assert "No post yet" in viewer.page(PATH)
    put("t3_a", says={"pain": ["it is too narrow"]})
    assert "No post matches the filter" in viewer.page(PATH, q="nothing like it")
    bare = html.unescape(viewer.page("/brands/acme/reddit-research"))
    assert "Not configured for this brand" in bare
    assert "search_terms: [" in bare
    site.add_brand("late", sources={"reddit": SOURCE})
    month_ago = site.clock.now - timedelta(days=30)
    site.store_status("late", "reddit_posts", last_success_at=month_ago)
    put("t3_b", brand_id="late", says={"pain": ["it is too narrow"]})
    late = viewer.page("/brands/late/reddit-research")
    assert "The posts are not shown" in late
    assert "too narrow" not in late
    assert viewer.get("/brands/late/reddit-research.csv").status_code == 409
    now = site.clock.now
    set_feature(site.engine, "north", "reddit_research", is_shown=False, actor="test", now=now)
    assert viewer.get(PATH).status_code == viewer.get(f"{PATH}.csv").status_code == 404


def test_another_brands_posts_are_not_there(viewer: "Client", put: Put) -> None:
    put("t3_a", brand_id="globex", says={"pain": ["it is too narrow"]})
    put("t3_b")
    page = viewer.page(PATH)
    assert titles(page) == ["Post t3_b"]
    assert options(page, "kind") == ["any", "(none) (1)"]
    assert "narrow" not in page.partition('id="rows"')[0].replace("narrow them", "")
