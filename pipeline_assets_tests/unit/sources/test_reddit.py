import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    PipelineError,
    RateLimitedError,
    SourceUnavailableError,
)
from pipeline_assets.simulator.faults import Fault, FaultKind
from pipeline_assets.simulator.reddit import (
    CLIENT_ID,
    CLIENT_SECRET,
    PASSWORD,
    TOKEN_PATH,
    USERNAME,
)
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import World
from pipeline_assets.sources import reddit
from pipeline_assets.sources.reddit import (
    CircularListingError,
    Post,
    RedditApp,
    RedditClient,
    SubredditClosedError,
    _read_page,
)

if TYPE_CHECKING:
    from conftest import Clock

LONG_AGO = datetime(2025, 9, 1, tzinfo=UTC)
EVERYTHING = "e"  # every post of the simulator has an e
APP = RedditApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, username=USERNAME)

Connect = Callable[..., RedditClient]


@pytest.fixture
def simulator(clock: "Clock") -> Iterator[SimulatorServer]:
    with SimulatorServer(World(accounts=(), tokens=()), now=clock.now) as server:
        yield server


@pytest.fixture
def connect(simulator: SimulatorServer, clock: "Clock", store: Any) -> Connect:
    def build(app: RedditApp = APP) -> RedditClient:
        return RedditClient(
            app,
            base_url=simulator.url,
            login_url=simulator.url,
            budgets=store,
            now=clock.now,
            sleep=clock.sleep,
            max_wait_seconds=60,
        )

    return build


def read(
    client: RedditClient, *, term: str = EVERYTHING, since: datetime = LONG_AGO, of: str = "skin"
) -> list[Post]:
    with client:
        return [post for page in client.search(of, term, since=since) for post in page.posts]


def searches(simulator: SimulatorServer) -> int:
    return sum(1 for call in simulator.reddit.calls if call.path != TOKEN_PATH)


def test_a_search_gives_every_post_once_newest_first(
    simulator: SimulatorServer, connect: Connect
) -> None:
    posts = read(connect())
    sent = simulator.reddit.posts("skin")
    assert [post.post_id for post in posts] == [each["name"] for each in sent]
    assert len(posts) > 150  # more than a page
    assert searches(simulator) == 2
    assert [post.posted_at for post in posts] == sorted(
        (post.posted_at for post in posts), reverse=True
    )


def test_a_post_is_read_as_sent_and_nobody_is_named(
    simulator: SimulatorServer, connect: Connect
) -> None:
    sent = next(each for each in simulator.reddit.posts("skin") if each["is_self"])
    post = next(post for post in read(connect()) if post.post_id == sent["name"])
    assert (post.title, post.body, post.score) == (sent["title"], sent["selftext"], sent["score"])
    assert (post.comment_count, post.upvote_ratio) == (sent["num_comments"], sent["upvote_ratio"])
    assert post.permalink == "https://www.reddit.com" + sent["permalink"]
    assert post.posted_at.timestamp() == sent["created_utc"]
    assert post.link_url is None
    assert sent["author"] not in str(post)


def test_a_link_has_an_address_and_no_text(simulator: SimulatorServer, connect: Connect) -> None:
    sent = next(each for each in simulator.reddit.posts("skin") if not each["is_self"])
    post = next(post for post in read(connect()) if post.post_id == sent["name"])
    assert (post.body, post.link_url, post.is_removed) == (None, sent["url"], False)


def test_removed_text_is_not_passed_on(simulator: SimulatorServer, connect: Connect) -> None:
    gone = simulator.reddit.posts("skin")[3]["name"]
    simulator.reddit.gone.add(gone)
    post = next(post for post in read(connect()) if post.post_id == gone)
    assert (post.body, post.is_removed) == (None, True)


def test_paging_stops_at_the_page_that_reaches_the_time_asked_for(
    simulator: SimulatorServer, connect: Connect, clock: "Clock"
) -> None:
    assert len(read(connect(), since=clock.instant - timedelta(days=5))) == 100
    assert searches(simulator) == 1


def test_a_listing_that_begins_again_is_left_and_told(
    simulator: SimulatorServer, connect: Connect
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_STUCK))
    with pytest.raises(CircularListingError, match="begins again after 100 posts"):
        read(connect())
    assert searches(simulator) == 2


def test_a_listing_ends_where_reddit_lists_no_more_and_says_so(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reddit, "MAX_POSTS", 100)
    with connect() as client:
        (page,) = client.search("skin", EVERYTHING, since=LONG_AGO)
    assert page.is_cut_off
    monkeypatch.undo()
    with connect() as client:
        assert not any(
            page.is_cut_off for page in client.search("skin", EVERYTHING, since=LONG_AGO)
        )


def test_one_token_serves_all_searches_and_calls_say_who_we_are(
    simulator: SimulatorServer, connect: Connect
) -> None:
    client = connect()
    read(client)
    read(client, term="serum")
    paths = [call.path for call in simulator.reddit.calls]
    assert paths.count(TOKEN_PATH) == 1
    (agent,) = {call.user_agent for call in simulator.reddit.calls}
    assert re.fullmatch(rf"\w+:pipeline-assets:v[\d.]+ \(by /u/{USERNAME}\)", agent)


def test_a_script_app_signs_in_as_its_user(connect: Connect) -> None:
    assert read(connect(replace(APP, password=PASSWORD)))
    with pytest.raises(CredentialError, match=r"sign in as demo_reader.*invalid_grant") as refused:
        read(connect(replace(APP, password="Wrong-password-9")))
    assert "Wrong-password-9" not in str(refused.value)


def test_a_token_that_has_ended_is_renewed_before_it_is_used(
    simulator: SimulatorServer, connect: Connect, clock: "Clock"
) -> None:
    client = connect()
    read(client)
    clock.instant += timedelta(days=1)
    read(client)
    statuses = [call.status for call in simulator.reddit.calls]
    assert set(statuses) == {200}
    assert [call.path for call in simulator.reddit.calls].count(TOKEN_PATH) == 2


def test_a_token_withdrawn_early_is_renewed_once(
    simulator: SimulatorServer, connect: Connect
) -> None:
    client = connect()
    read(client)
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_EXPIRED, count=1))
    assert read(client)
    assert [call.status for call in simulator.reddit.calls].count(401) == 1


def test_credentials_that_are_not_accepted_are_not_tried_for_ever(
    simulator: SimulatorServer, connect: Connect
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_EXPIRED))
    with pytest.raises(CredentialError):
        read(connect())
    assert len(simulator.reddit.calls) == 2
    with pytest.raises(CredentialError, match="the access token"):
        read(connect(replace(APP, client_secret="another-secret")))


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (FaultKind.REDDIT_PRIVATE, SubredditClosedError, "r/skin cannot be .* .HTTP 403: private"),
        (FaultKind.REDDIT_BANNED, SubredditClosedError, "r/skin cannot be read .HTTP 404: banned"),
        (FaultKind.REDDIT_NO_SUCH, SubredditClosedError, "r/skin cannot be read .HTTP 302"),
        (FaultKind.REDDIT_BLOCKED, AccessError, "blocks our calls"),
        (FaultKind.REDDIT_UNAVAILABLE, SourceUnavailableError, "HTTP 503"),
        (FaultKind.REDDIT_HTML, SourceUnavailableError, "HTTP 200"),
        (FaultKind.REDDIT_TOKEN_REFUSED, CredentialError, "the access token"),
    ],
)
def test_each_trouble_has_its_error(
    simulator: SimulatorServer,
    connect: Connect,
    fault: FaultKind,
    expected: type[PipelineError],
    words: str,
) -> None:
    simulator.faults.add(Fault(kind=fault))
    with pytest.raises(PipelineError, match=words) as raised:
        read(connect())
    assert type(raised.value) is expected


def test_a_blip_is_sat_out(simulator: SimulatorServer, connect: Connect, clock: "Clock") -> None:
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_UNAVAILABLE, count=2))
    assert read(connect())
    assert clock.slept == [0.5, 1.5]


@pytest.mark.parametrize("fault", [FaultKind.REDDIT_LIMIT, FaultKind.REDDIT_USED_UP])
def test_a_short_limit_is_waited_for(
    simulator: SimulatorServer, connect: Connect, clock: "Clock", fault: FaultKind
) -> None:
    simulator.faults.add(Fault(kind=fault, count=1, seconds=20))
    assert len(read(connect())) > 150
    assert clock.slept == [20]


def test_a_long_limit_tells_when_to_come_back_and_holds_for_all_who_share_the_app(
    simulator: SimulatorServer, connect: Connect, clock: "Clock"
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_LIMIT, count=1, seconds=300))
    with pytest.raises(RateLimitedError) as limited:
        read(connect())
    assert limited.value.retry_after_seconds == 300
    asked = len(simulator.reddit.calls)
    clock.instant += timedelta(seconds=100)
    with pytest.raises(RateLimitedError) as again:
        read(connect(), of="coffee")
    assert again.value.retry_after_seconds == 200
    assert len(simulator.reddit.calls) == asked
    clock.instant += timedelta(seconds=200)
    assert read(connect())


def test_posts_that_lack_what_a_post_has_are_told_not_swallowed(
    simulator: SimulatorServer, connect: Connect
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.REDDIT_CHANGED, count=1))
    with connect() as client:
        first = next(client.search("skin", EVERYTHING, since=LONG_AGO))
    assert first.posts == []
    assert len(first.rejected) == 100
    assert first.rejected[0] == "created_utc: Input should be a valid number"


def test_a_closed_door_is_no_answer_and_no_secret_is_told(
    simulator: SimulatorServer, connect: Connect, clock: "Clock"
) -> None:
    client = connect()
    simulator.stop()
    with pytest.raises(SourceUnavailableError, match=r"no answer: .+ takes no connect") as closed:
        read(client)
    assert CLIENT_SECRET not in str(closed.value) + repr(APP) + repr(closed.value.__cause__)


def test_people_are_not_named_and_no_text_holds_what_a_database_refuses(
    simulator: SimulatorServer,
) -> None:
    sent = simulator.reddit.posts("skin")[0] | {
        "title": "Thanks u/some_body\x00!",
        "selftext": "As /u/Some-Body said, see r/skin/u/x and you/me.",
        "removed_by_category": None,
    }
    (post,) = _read_page([{"kind": "t3", "data": sent}]).posts
    assert post.title == "Thanks u/…!"
    assert post.body == "As /u/… said, see r/skin/u/x and you/me."


def test_what_is_no_post_is_passed_over_and_what_is_nothing_is_told() -> None:
    page = _read_page(
        [{"kind": "t5", "data": {}}, "rubbish", {"kind": "t3"}, {"kind": "t3", "data": 1}]
    )
    assert page.posts == []
    assert len(page.rejected) == 3
