"""Reddit as far as a search needs it: access tokens, listings, limits and what goes wrong.

Posts are the same for a subreddit and a day, whoever asks; they speak of what the simulated shops
sell. Votes grow with a post's age. In a subreddit with "nothing" in its name nobody has posted, and
one whose name begins with "nosuchplace" does not exist.

Source: Reddit's API documentation and its wiki (OAuth2, API).
"""

import base64
import binascii
import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from pipeline_assets.simulator.exchange import WireAnswer
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind, Faults, faults_of

TOKEN_PATH = "/api/v1/access_token"  # noqa: S105  a path
CLIENT_ID, CLIENT_SECRET = "demo-reddit-app", "DemoRedditSecret5f2a9c"
USERNAME, PASSWORD = "demo_reader", "DemoRedditPassword7c1e"

_WINDOW_CALLS, _WINDOW_SECONDS = 1000, 600
_TOKEN_SECONDS = 86_400
_MOST_LISTED = 1000
_POSTS_A_DAY = 3
_DAYS = 60

_TOPICS = (
    *("serum", "barrier cream", "mineral sunscreen", "overnight mask"),
    *("espresso beans", "cold brew", "coffee subscription", "grinder"),
    *("running shoes", "trail shoes", "insoles", "sneakers"),
)
"""What the shops sell; any subreddit talks about all of it."""

_TITLES = (
    "Does anyone know a {topic} that lasts?",
    "Finally found a {topic} that works",
    "So tired of every {topic} I try",
    "Is an expensive {topic} worth it?",
    "Looking for a {topic} as a gift",
    "My honest review of three {topic} brands",
    "What's the best {topic} for beginners?",
    "PSA about your {topic}",
)
_TEXTS = (
    "My last {topic} fell apart after two weeks and customer service never responded.",
    "I've been struggling with this for years.",
    "I love how it feels, but it's way too expensive for what you get.",
    "I wish they made a {topic} for sensitive people. I'd pay double for that.",
    "Best purchase of the year, would buy again. It actually works and it's easy to use.",
    "Not worth the hype if you ask me. The cheap {topic} from the supermarket does the same.",
    "I'm on the fence because of the price. Has anyone tried it for more than a month?",
    "Fed up with brands that change the recipe. I used to love this {topic}.",
    "It doesn't irritate me at all, which is a first. Highly recommend.",
    "I'm worried about the subscription, hidden fees and all that.",
    "Please bring back the old size! The new one leaks in my bag.",
    "",
)
_FLAIRS = (None, "Question", "Review", "Discussion")


@dataclass(frozen=True)
class RedditCall:
    """One call as it came; `after` is where the page began."""

    path: str
    term: str
    after: str
    user_agent: str
    status: int


class Reddit:
    """The service; `calls` says what was asked.

    `gone` are posts whose text has been removed, `hidden` posts that are not there (yet).
    """

    def __init__(self, *, faults: Faults, now: Callable[[], datetime]) -> None:
        self._faults = faults
        self._now = now
        self._lock = threading.Lock()
        self._tokens: dict[str, datetime] = {}
        self._used = 0
        self.calls: list[RedditCall] = []
        self.gone: set[str] = set()
        self.hidden: set[str] = set()

    def handles(self, path: str) -> bool:
        """Whether the path is one of Reddit's."""
        return path == TOKEN_PATH or path.startswith("/r/")

    def respond(
        self, path: str, query: Mapping[str, str], headers: "Message[str, str]", body: bytes
    ) -> WireAnswer:
        """The answer to a call; `headers` finds names in any case."""
        with self._lock:
            if path == TOKEN_PATH:
                answer = self._token(headers, dict(parse_qsl(body.decode())))
            else:
                answer = self._search(path, query, headers)
            self.calls.append(
                RedditCall(
                    path,
                    query.get("q", ""),
                    query.get("after", ""),
                    headers.get("User-Agent") or "",
                    answer.status,
                )
            )
        return answer

    def posts(self, subreddit: str) -> list[dict[str, Any]]:
        """All posts of a subreddit that are there, newest first, as Reddit sends them."""
        if "nothing" in subreddit.casefold():
            return []
        today = self._now().date()
        days = [today - timedelta(days=ago) for ago in range(_DAYS)]
        posts = [
            self._post(
                subreddit, datetime(day.year, day.month, day.day, tzinfo=self._now().tzinfo), n
            )
            for day in days
            for n in reversed(range(_POSTS_A_DAY))
        ]
        now = self._now().timestamp()
        return [p for p in posts if p["created_utc"] <= now and p["name"] not in self.hidden]

    def _post(self, subreddit: str, day: datetime, number: int) -> dict[str, Any]:
        chance = random.Random(f"{subreddit.casefold()} {day:%Y-%m-%d} {number}")
        topic = chance.choice(_TOPICS)
        title = chance.choice(_TITLES).format(topic=topic)
        first, second = chance.sample(_TEXTS, 2)
        text = f"{first}\n\n{second}".format(topic=topic).strip()
        post_id = f"{chance.getrandbits(40):x}"
        created = day + timedelta(hours=24 / _POSTS_A_DAY * number, minutes=chance.randrange(300))
        age_days = max((self._now() - created) / timedelta(days=1), 0)
        is_link = chance.random() < 0.1
        is_gone = f"t3_{post_id}" in self.gone
        slug = title.casefold().replace(" ", "_").strip("?")
        permalink = f"/r/{subreddit}/comments/{post_id}/{slug}/"
        return {
            "name": f"t3_{post_id}",
            "id": post_id,
            "subreddit": subreddit,
            "author": f"reader_{chance.randrange(10_000)}",
            "title": title,
            "selftext": "[removed]" if is_gone else "" if is_link else text,
            "removed_by_category": "moderator" if is_gone else None,
            "is_self": not is_link,
            "permalink": permalink,
            "url": f"https://blog.example/{post_id}"
            if is_link
            else f"https://www.reddit.com{permalink}",
            "link_flair_text": chance.choice(_FLAIRS),
            "score": int(chance.randrange(2, 60) * min(age_days, 10)),
            "num_comments": int(chance.randrange(1, 12) * min(age_days, 10)),
            "upvote_ratio": round(chance.uniform(0.6, 1), 2),
            "over_18": False,
            "created_utc": created.timestamp(),
        }

    def _token(self, headers: "Message[str, str]", form: Mapping[str, str]) -> WireAnswer:
        if self._faults.take({FaultKind.REDDIT_TOKEN_LIMIT}, None, Endpoint.REDDIT_TOKEN):
            return _json(429, {"message": "Too Many Requests", "error": 429}, retry_after=30)
        refused = self._faults.take({FaultKind.REDDIT_TOKEN_REFUSED}, None, Endpoint.REDDIT_TOKEN)
        if refused or _basic(headers) != (CLIENT_ID, CLIENT_SECRET):
            return _json(401, {"message": "Unauthorized", "error": 401})
        if form.get("grant_type") == "password":
            if (form.get("username"), form.get("password")) != (USERNAME, PASSWORD):
                return _json(200, {"error": "invalid_grant"})
        elif form.get("grant_type") != "client_credentials":
            return _json(200, {"error": "unsupported_grant_type"})
        token = (
            f"bearer{len(self._tokens)}made-up-{random.Random(len(self._tokens)).getrandbits(64):x}"
        )
        self._tokens[token] = self._now() + timedelta(seconds=_TOKEN_SECONDS)
        answer = {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": _TOKEN_SECONDS,
            "scope": "*",
        }
        return _json(200, answer)

    def _search(
        self, path: str, query: Mapping[str, str], headers: "Message[str, str]"
    ) -> WireAnswer:
        subreddit = path.removeprefix("/r/").partition("/")[0]
        fault = self._faults.take(faults_of("reddit"), subreddit, Endpoint.REDDIT_SEARCH)
        kind = fault.kind if fault else None
        if kind is FaultKind.REDDIT_EXPIRED:
            self._tokens.clear()
        refusal = self._refusal(headers) or (
            _REFUSALS[fault.kind](fault) if fault and fault.kind in _REFUSALS else None
        )
        if refusal:
            return refusal
        if subreddit.casefold().startswith("nosuchplace"):
            return _json(404, {"message": "Not Found", "error": 404})
        self._used = self._used % _WINDOW_CALLS + 1
        left = 0.0 if kind is FaultKind.REDDIT_USED_UP else float(_WINDOW_CALLS - self._used)
        seconds = fault.seconds if fault and left == 0 else _WINDOW_SECONDS - self._used % 60
        listing = self._listing(subreddit, query, kind)
        limits = (
            ("X-Ratelimit-Used", str(self._used)),
            ("X-Ratelimit-Remaining", f"{left:.1f}"),
            ("X-Ratelimit-Reset", f"{seconds:.0f}"),
        )
        return WireAnswer(200, json.dumps(listing).encode(), limits)

    def _refusal(self, headers: "Message[str, str]") -> WireAnswer | None:
        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        ends_at = self._tokens.get(token) if scheme.casefold() == "bearer" else None
        if ends_at is None or ends_at <= self._now():
            return _json(401, {"message": "Unauthorized", "error": 401})
        if "(by /u/" not in (headers.get("User-Agent") or ""):
            return _json(429, {"message": "Too Many Requests", "error": 429}, retry_after=60)
        return None

    def _listing(
        self, subreddit: str, query: Mapping[str, str], fault: FaultKind | None
    ) -> dict[str, Any]:
        words = query.get("q", "").casefold().split()
        found = [
            post
            for post in self.posts(subreddit)
            if all(word in f"{post['title']} {post['selftext']}".casefold() for word in words)
        ][:_MOST_LISTED]
        after = "" if fault is FaultKind.REDDIT_STUCK else query.get("after", "")
        names = [post["name"] for post in found]
        start = names.index(after) + 1 if after in names else 0
        limit = min(int(query.get("limit", "25")), 100)
        if fault is FaultKind.REDDIT_OVERLAP:
            start = max(0, start - limit // 2)
        page = found[start : start + limit]
        has_more = fault is FaultKind.REDDIT_STUCK or start + limit < len(found)
        if fault is FaultKind.REDDIT_CHANGED:
            page = [{**post, "created_utc": None} for post in page]
        return {
            "kind": "Listing",
            "data": {
                "after": page[-1]["name"] if page and has_more else None,
                "before": None,
                "dist": len(page),
                "children": [{"kind": "t3", "data": post} for post in page],
            },
        }


_PAGE = WireAnswer(200, b"<!doctype html><html><body>Reddit</body></html>", (), "text/html")


def _json(status: int, body: object, *, retry_after: float | None = None) -> WireAnswer:
    headers = (("Retry-After", f"{retry_after:.0f}"),) if retry_after is not None else ()
    return WireAnswer(status, json.dumps(body).encode(), headers)


_REFUSALS: dict[FaultKind, Callable[[Fault], WireAnswer]] = {
    FaultKind.REDDIT_LIMIT: lambda fault: _json(
        429, {"message": "Too Many Requests", "error": 429}, retry_after=fault.seconds
    ),
    FaultKind.REDDIT_PRIVATE: lambda _: _json(
        403, {"reason": "private", "message": "Forbidden", "error": 403}
    ),
    FaultKind.REDDIT_BANNED: lambda _: _json(
        404, {"reason": "banned", "message": "Not Found", "error": 404}
    ),
    FaultKind.REDDIT_NO_SUCH: lambda _: WireAnswer(302, b"", (("Location", "/subreddits/search"),)),
    FaultKind.REDDIT_BLOCKED: lambda _: WireAnswer(403, _PAGE.body, (), "text/html"),
    FaultKind.REDDIT_UNAVAILABLE: lambda _: WireAnswer(503, _PAGE.body, (), "text/html"),
    FaultKind.REDDIT_HTML: lambda _: _PAGE,
}


def _basic(headers: "Message[str, str]") -> tuple[str, str] | None:
    scheme, _, encoded = (headers.get("Authorization") or "").partition(" ")
    if scheme.casefold() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password
