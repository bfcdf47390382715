"""Reddit: posts of a subreddit that a search finds, newest first.

Belongs here: the token, the pages of a search, Reddit's limits, and its errors as ours. Does not:
which searches there are, what is already stored, what people say in the posts. Names of authors are
neither read nor passed on.

Source: Reddit's API documentation (search, listings), its OAuth2 and API wiki pages (grants,
User-Agent, X-Ratelimit headers).
"""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from requests.auth import AuthBase, HTTPBasicAuth

from pipeline_assets import __version__, clock
from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
    TransientError,
)
from pipeline_assets.redaction import redact, register_secret
from pipeline_assets.sources.api_http import (
    BearerAuth,
    BrokenAnswerError,
    exchange,
    open_session,
    read_json,
    read_number,
)
from pipeline_assets.sources.rate_budgets import BudgetStore

MAX_POSTS = 1000
"""A listing of Reddit's ends there, whatever else there is."""

_PAGE_POSTS = 100
_TIMEOUT_SECONDS = (5.0, 30.0)  # to connect, between two reads
_TOTAL_SECONDS = 90.0
_PAUSES_SECONDS = (0.5, 1.5, 3.0)  # between tries: a blip, not an outage
_TOKEN_MARGIN = timedelta(seconds=60)  # a token that ends while a call is under way is no use
_LIMIT_SECONDS = 60.0  # where a 429 does not say for how long: the window is a minute at least
_GONE = frozenset({"[removed]", "[deleted]"})
_MENTION = re.compile(r"(?<![\w/])(/?u)/[\w-]{2,20}")


class SubredditClosedError(AccessError):
    """The subreddit is private, banned, quarantined or does not exist; others can be read."""


class CircularListingError(SourceUnavailableError):
    """A listing begins again before its end; others can be read."""


@dataclass(frozen=True, kw_only=True)
class RedditApp:
    """An approved app; with `password` it signs in as its user (a script app), else as itself."""

    client_id: str
    client_secret: str = field(repr=False)
    username: str
    password: str | None = field(default=None, repr=False)

    @property
    def user_agent(self) -> str:
        """As Reddit asks for it: platform, app, version and whom to write to."""
        return f"{sys.platform}:pipeline-assets:v{__version__} (by /u/{self.username})"


@dataclass(frozen=True, kw_only=True)
class Post:
    """A post as Reddit has it now; `body` None: a link, or its text is gone (`is_removed`)."""

    post_id: str
    subreddit: str
    title: str
    body: str | None
    permalink: str
    link_url: str | None
    flair: str | None
    score: int
    comment_count: int
    upvote_ratio: float | None
    is_nsfw: bool
    posted_at: datetime
    is_removed: bool


@dataclass(frozen=True)
class SearchPage:
    """Posts in Reddit's order, and why others on the page could not be read.

    `is_cut_off`: there are older ones, which Reddit does not list.
    """

    posts: list[Post]
    rejected: list[str]
    is_cut_off: bool = False


_Text = Annotated[str, AfterValidator(lambda text: text.replace("\x00", ""))]  # no database has it


class _SentPost(BaseModel):
    """The fields of a `t3` that are used, by Reddit's names."""

    name: Annotated[str, Field(pattern=r"^t3_[0-9a-z]{1,16}$")]
    subreddit: Annotated[str, Field(pattern=r"^\w{1,64}$")]
    title: _Text
    permalink: Annotated[_Text, Field(pattern=r"^/")]
    created_utc: Annotated[float, Field(ge=0, le=4e9, allow_inf_nan=False)]
    score: int
    num_comments: int
    selftext: _Text = ""
    is_self: bool = False
    url: _Text | None = None
    link_flair_text: _Text | None = None
    upvote_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    over_18: bool = False
    removed_by_category: str | None = None


@dataclass(frozen=True)
class _Answer:
    """`status` 0: none came, and `problem` says why; `body` None: it is no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any
    problem: str = ""

    @property
    def said(self) -> str:
        """What went wrong, for people: by Reddit's word for it where there is one."""
        fields = self.body if isinstance(self.body, dict) else {}
        told = fields.get("reason") or fields.get("message") or fields.get("error") or self.problem
        code = f"HTTP {self.status}" if self.status else "no answer"
        return f"{code}: {redact(str(told))[:200]}" if told else code


@dataclass(frozen=True)
class _Token:
    auth: BearerAuth
    ends_at: datetime


class RedditClient:
    """Searches on behalf of one app; whoever shares its `budgets` shares the app's limit.

    A limit that ends within `max_wait_seconds` is waited for.
    """

    def __init__(
        self,
        app: RedditApp,
        *,
        base_url: str,
        login_url: str,
        budgets: BudgetStore,
        now: Callable[[], datetime] = clock.utcnow,
        sleep: Callable[[float], None] = time.sleep,
        max_wait_seconds: float = 60.0,
    ) -> None:
        register_secret(app.client_secret)
        if app.password:
            register_secret(app.password)
        self._app = app
        self._base_url, self._login_url = base_url.rstrip("/"), login_url.rstrip("/")
        self._budgets = budgets
        self._budget_key = f"reddit:{app.client_id}"
        self._now, self._sleep = now, sleep
        self._max_wait_seconds = max_wait_seconds
        self._token: _Token | None = None
        self._session = open_session()
        self._session.headers["User-Agent"] = app.user_agent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def search(self, subreddit: str, term: str, *, since: datetime) -> Iterator[SearchPage]:
        """The pages of a search, newest posts first, down to the page with a post before `since`.

        At most 1,000 posts: Reddit lists no more. The last page may hold posts before `since`.

        Raises:
            SubredditClosedError: this subreddit cannot be read.
            CircularListingError: after the page that showed nothing but known posts.
            CredentialError, AccessError: app or user is not accepted, or blocked.
            RateLimitedError: a limit that lasts longer than this client waits.
            SourceUnavailableError: no answer, or one that is no listing; short retries were tried.
        """
        after, count, known = "", 0, set[str]()
        while True:
            listing = self._read_listing(subreddit, term, after)
            children = listing["children"]
            count += len(children)
            after = str(listing.get("after") or "")
            page = _read_page(children)
            is_last = not (after and children) or any(post.posted_at < since for post in page.posts)
            is_cut_off = not is_last and count >= MAX_POSTS
            yield replace(page, is_cut_off=is_cut_off)
            if is_last or is_cut_off:
                return
            ids = {post.post_id for post in page.posts}
            if ids and ids <= known:
                raise CircularListingError(
                    f"Reddit's list of r/{subreddit} for {term!r} begins again after {len(known)}"
                    " posts: the older ones cannot be read.",
                    advice="Usually it passes by itself: the next sync reads them.",
                )
            known |= ids

    def _read_listing(self, subreddit: str, term: str, after: str) -> Mapping[str, Any]:
        params = {
            "q": term,
            "restrict_sr": "1",
            "sort": "new",
            "t": "all",
            "limit": str(_PAGE_POSTS),
            "raw_json": "1",  # texts as written, without HTML entities
            **({"after": after} if after else {}),
        }
        body = self._get(f"{self._base_url}/r/{subreddit}/search", params, f"r/{subreddit}")
        listing = body.get("data") if isinstance(body, dict) else None
        if not isinstance(listing, dict) or not isinstance(listing.get("children"), list):
            raise SourceUnavailableError(
                f"Reddit answered the search in r/{subreddit} with no listing.",
                advice="If it stays so, Reddit has changed its API: update pipeline_assets.",
            )
        return listing

    def _get(self, url: str, params: Mapping[str, str], subject: str) -> Any:
        """What is answered with our token; one that has been withdrawn early is renewed once."""
        token = self._token
        if token is not None and token.ends_at - _TOKEN_MARGIN > self._now():
            with contextlib.suppress(CredentialError):
                return self._call("GET", url, auth=token.auth, subject=subject, params=params)
        self._token = self._fetch_token()
        return self._call("GET", url, auth=self._token.auth, subject=subject, params=params)

    def _fetch_token(self) -> _Token:
        grant = {"grant_type": "client_credentials"}
        if self._app.password:
            grant = {
                "grant_type": "password",
                "username": self._app.username,
                "password": self._app.password,
            }
        body = self._call(
            "POST",
            f"{self._login_url}/api/v1/access_token",
            auth=HTTPBasicAuth(self._app.client_id, self._app.client_secret),
            subject="the access token",
            data=grant,
        )
        told = body if isinstance(body, dict) else {}
        if "error" in told:  # Reddit says so with HTTP 200
            reason = redact(str(told["error"]))
            raise CredentialError(
                f"Reddit refuses to sign in as {self._app.username} ({reason}).",
                advice="Check the brand's username and password; the app must be a script app of "
                "that user, and the user must not use two-factor authentication.",
            )
        if not isinstance(told.get("access_token"), str):
            raise SourceUnavailableError("Reddit answered the request for a token without one.")
        register_secret(told["access_token"])
        seconds = float(told.get("expires_in") or 3600)
        ends_at = self._now() + timedelta(seconds=seconds)
        return _Token(BearerAuth(told["access_token"]), ends_at)

    def _call(
        self,
        method: str,
        url: str,
        *,
        auth: AuthBase,
        subject: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of a good answer; blips and short limits are sat out."""
        for pause in (*_PAUSES_SECONDS, None):
            self._wait_for_room()
            answer = self._exchange(method, url, auth=auth, params=params, data=data)
            self._note_limits(answer)
            if answer.status == 200 and answer.body is not None:
                return answer.body
            error = _error_for(answer, subject)
            if pause is None or not isinstance(error, TransientError):
                raise error
            if isinstance(error, SourceUnavailableError):
                self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _wait_for_room(self) -> None:
        """Wait until the app's limit lets a call through.

        Raises: RateLimitedError when that takes longer than this client waits.
        """
        until = self._budgets.read_blocked_until([self._budget_key]).get(self._budget_key)
        seconds = (until - self._now()).total_seconds() if until else 0.0
        if seconds > self._max_wait_seconds:
            raise _limit_error(seconds)
        if seconds > 0:
            self._sleep(seconds)

    def _note_limits(self, answer: _Answer) -> None:
        """Tell all who share the app when it may not call for a while."""
        used, remaining, reset = (
            read_number(answer.headers, f"X-Ratelimit-{name}")
            for name in ("Used", "Remaining", "Reset")
        )
        seconds = 0.0
        if answer.status == 429:
            seconds = read_number(answer.headers, "Retry-After") or reset or _LIMIT_SECONDS
        elif remaining is not None and remaining < 1:
            seconds = reset or _LIMIT_SECONDS
        if seconds <= 0:
            return
        self._budgets.record(
            self._budget_key,
            usage_pct=100.0,
            detail={"used": used, "remaining": remaining, "reset_seconds": reset},
            blocked_until=self._now() + timedelta(seconds=seconds),
            reason="HTTP 429" if answer.status == 429 else "X-Ratelimit-Remaining",
        )

    def _exchange(self, method: str, url: str, **sent: Any) -> _Answer:
        try:
            answer = exchange(
                self._session,
                method,
                url,
                total_seconds=_TOTAL_SECONDS,
                timeout=_TIMEOUT_SECONDS,
                **sent,
            )
        except BrokenAnswerError as error:
            return _Answer(0, {}, None, str(error))
        body = None
        with contextlib.suppress(ValueError):
            body = read_json(answer.content)
        return _Answer(answer.status, answer.headers, body)


def _read_page(children: list[Any]) -> SearchPage:
    page = SearchPage([], [])
    for child in children:
        try:
            kind, data = child["kind"], child["data"]
            if kind == "t3":  # a search for posts may still show a subreddit or user
                page.posts.append(_to_post(_SentPost.model_validate(data)))
        except (TypeError, KeyError):
            page.rejected.append("an item without kind and data")
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            page.rejected.append(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}")
    return page


def _to_post(sent: _SentPost) -> Post:
    is_removed = bool(sent.removed_by_category) or sent.selftext in _GONE
    return Post(
        post_id=sent.name,
        subreddit=sent.subreddit,
        title=_clean(sent.title),
        body=None if is_removed else _clean(sent.selftext) or None,
        permalink=f"https://www.reddit.com{sent.permalink}",
        link_url=None if sent.is_self else sent.url,
        flair=_clean(sent.link_flair_text or "") or None,
        score=sent.score,
        comment_count=sent.num_comments,
        upvote_ratio=sent.upvote_ratio,
        is_nsfw=sent.over_18,
        posted_at=datetime.fromtimestamp(sent.created_utc, UTC),
        is_removed=is_removed,
    )


def _clean(text: str) -> str:
    """The text without people's user names."""
    return _MENTION.sub(r"\1/…", text).strip()


def _error_for(answer: _Answer, subject: str) -> PipelineError:
    """What an answer that is of no use means."""
    status = answer.status
    if status == 401:
        return CredentialError(
            f"Reddit does not accept our credentials for {subject} ({answer.said}).",
            advice="Check the brand's client_id and client_secret: the app must be approved for "
            "Reddit's API.",
        )
    if status == 429:
        return _limit_error(read_number(answer.headers, "Retry-After") or _LIMIT_SECONDS)
    closed = status in {403, 404} and answer.body is not None
    if subject.startswith("r/") and (closed or 300 <= status < 400):  # 3xx: to a list of others
        return SubredditClosedError(
            f"{subject} cannot be read ({answer.said}).",
            advice="It is private, banned or does not exist: take it off the brand's subreddits.",
        )
    if status == 403:
        return AccessError(
            f"Reddit blocks our calls for {subject} ({answer.said}).",
            advice="The app must be approved for Reddit's API; ask Reddit's support.",
        )
    if 400 <= status < 500 and status != 408:
        return SourceRejectedError(f"Reddit calls the request for {subject} wrong ({answer.said}).")
    return SourceUnavailableError(
        f"Reddit did not answer properly for {subject} ({answer.said}).",
        advice="Usually it passes by itself. If not, look at Reddit's status page.",
    )


def _limit_error(seconds: float) -> RateLimitedError:
    return RateLimitedError(
        f"The Reddit app has used up its calls for the next {seconds:.0f} s.",
        retry_after_seconds=seconds,
    )
