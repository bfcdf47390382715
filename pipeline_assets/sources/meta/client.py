"""The Graph API client: calls that are retried, kept within Meta's limits and judged by code.

Belongs here: one call from asking the budget to a body or an error of `errors.py`. Does not: pages,
batches, reports (their own modules), what the bodies mean.
"""

import copy
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

import orjson

from pipeline_assets import clock
from pipeline_assets.errors import (
    AccessError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
)
from pipeline_assets.sources.api_http import BrokenAnswerError
from pipeline_assets.sources.meta.graph_failures import (
    GraphFailure,
    Json,
    Remedy,
    error_for,
    read_failure,
    remedy_for,
    token_error,
)
from pipeline_assets.sources.meta.rate_budget import RateBudget, Usage
from pipeline_assets.sources.meta.transport import Answer, GraphTransport
from pipeline_assets.sources.rate_budgets import BudgetStore

Params = Mapping[str, object]
"""Parameters as Python values; lists and mappings are sent as JSON."""

_ATTEMPTS = 4  # with the pauses below about five seconds: a blip, not an outage
_FIRST_PAUSE_SECONDS = 0.5
_AMBIGUOUS_ATTEMPTS = 2  # code 1 on a page: once more as it is, then the caller asks for less
_MAX_WAITS = 5  # a limit that returns this often is not ours to sit out


class _TokenState:
    """Whether Meta has refused the token; shared by all views of a client."""

    def __init__(self) -> None:
        self.refusal: GraphFailure | None = None


class GraphClient:
    """Calls the Graph API with one token; share one between all accounts and threads of a run.

    Once Meta has refused the token, every later call fails at once without being sent. A limit
    that ends within `max_wait_seconds` is waited for; nobody calls while it is closed.
    """

    def __init__(
        self,
        *,
        token: str,
        budgets: BudgetStore,
        app_id: str = "",
        app_secret: str = "",
        base_url: str = "https://graph.facebook.com",
        version: str = "v26.0",
        now: Callable[[], datetime] = clock.utcnow,
        sleep: Callable[[float], None] = time.sleep,
        max_wait_seconds: float = 60.0,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 60.0,
        total_timeout_seconds: float = 180.0,
    ) -> None:
        self._transport = GraphTransport(
            token=token,
            app_secret=app_secret,
            base_url=base_url,
            connect_timeout_seconds=connect_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
            total_timeout_seconds=total_timeout_seconds,
        )
        self._app_bearer = f"{app_id}|{app_secret}" if app_id and app_secret else ""
        self._budget = RateBudget(budgets, app_id=app_id, now=now)
        self._token_state = _TokenState()
        self._of_pages: dict[str, GraphClient | None] = {}
        self._of_pages_lock = threading.Lock()
        self._max_wait_seconds = max_wait_seconds
        self.version = version
        self.now = now
        self.sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def until(self, stop: threading.Event) -> "GraphClient":
        """A view of this client whose waits end with `StoppedError` as soon as `stop` is set."""
        view = copy.copy(self)
        outer_sleep = self.sleep

        def sleep(seconds: float) -> None:
            while seconds > 0 and not stop.is_set():
                step = min(seconds, 0.25)  # how late a stop may be noticed
                outer_sleep(step)
                seconds -= step
            if stop.is_set():
                raise StoppedError

        view.sleep = sleep
        return view

    def for_page(self, page_id: str, *, account_id: str) -> "GraphClient | None":
        """A view of this client that calls as the page; None where its token is not ours to have.

        Meta is asked once for each page. The view shares budgets and connections, but not the
        fate of its token: where Meta refuses that one, ours is as good as before.

        Raises:
            CredentialError: our own token is refused. TransientError: Meta cannot say now.
        """
        with self._of_pages_lock:  # held while asking, so that nobody asks a second time
            if page_id not in self._of_pages:
                token = self._fetch_page_token(page_id, account_id)
                self._of_pages[page_id] = self._with_token(token) if token else None
            return self._of_pages[page_id]

    def _fetch_page_token(self, page_id: str, account_id: str) -> str | None:
        try:
            page = self.get(page_id, {"fields": "access_token"}, account_id=account_id)
        except (AccessError, SourceRejectedError):
            return None
        return page.get("access_token")

    def _with_token(self, token: str) -> "GraphClient":
        view = copy.copy(self)
        # Set on a copy of this very object.
        view._transport = self._transport.with_token(token)  # noqa: SLF001
        view._token_state = _TokenState()  # noqa: SLF001
        return view

    def get(
        self,
        path: str,
        params: Params | None = None,
        *,
        account_id: str | None = None,
        usage: Usage = Usage.ADS_MANAGEMENT,
    ) -> Json:
        """Read `path` (without version). `account_id` names the budget and the error's subject.

        Raises:
            CredentialError, AccessError, SourceRejectedError, InvalidConfigError: for good.
            RateLimitedError: a limit that lasts longer than this client waits.
            TooMuchDataError: ask for less. SourceUnavailableError: still failing after retries.
        """
        return _expect_object(self.call("GET", path, params, account_id=account_id, usage=usage))

    def post(
        self,
        path: str,
        params: Params | None = None,
        *,
        account_id: str | None = None,
        usage: Usage = Usage.ADS_MANAGEMENT,
    ) -> Json:
        """Like `get`, with a form; after a dropped answer Meta may get it twice."""
        return _expect_object(self.call("POST", path, params, account_id=account_id, usage=usage))

    def debug_token(self) -> Json:
        """What Meta knows of our token; asked as the app where its id and secret are given."""
        return _expect_object(
            self.call(
                "GET",
                "debug_token",
                {"input_token": self._transport.token},
                bearer=self._app_bearer,
            )
        )

    def call(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        account_id: str | None = None,
        usage: Usage = Usage.ADS_MANAGEMENT,
        bearer: str = "",
    ) -> Any:
        """The parsed body, an object or a list; the one way out for every call. See `get`."""
        subject = account_id or path
        sent = encode_params(params or {})
        attempt = waits = 0
        while True:
            if not bearer:
                self._refuse_dead_token(subject)
            waits += self._wait_for_budget(account_id, usage, waits=waits)
            outcome = self._try(method, path, sent, bearer=bearer)
            if isinstance(outcome, Answer):
                self._budget.note_headers(outcome.headers, account_id)
                failure = failure_in(outcome)
                if failure is None:
                    return outcome.body
            else:
                failure = outcome
            remedy = remedy_for(failure)
            if remedy is Remedy.WAIT:
                self._budget.note_limit(failure, account_id, usage)
                continue  # and wait before the next try, or give up where that is too long
            attempt += 1
            if attempt >= _attempts_for(remedy, sent):
                # With another bearer it is not our token that is refused.
                raise (
                    error_for(failure, subject=subject)
                    if bearer
                    else self.error_for(failure, subject)
                )
            self.pause(attempt)

    def error_for(self, failure: GraphFailure, subject: str) -> PipelineError:
        """The error to raise for `subject`; remembers when it is the token that is refused."""
        if remedy_for(failure) is Remedy.RENEW_TOKEN:
            self._token_state.refusal = failure
        return error_for(failure, subject=subject)

    def note_item(
        self,
        headers: Mapping[str, str],
        failure: GraphFailure | None,
        *,
        account_id: str | None,
        usage: Usage,
    ) -> None:
        """Feed the budget with one item of a batch, which has headers and limits of its own."""
        self._budget.note_headers(headers, account_id)
        if failure is not None and remedy_for(failure) is Remedy.WAIT:
            self._budget.note_limit(failure, account_id, usage)

    def pause(self, attempt: int) -> None:
        """Wait before the next try: doubling from half a second, half of it left to chance."""
        seconds = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
        self.sleep(seconds * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, hides nothing

    def _try(
        self, method: str, path: str, sent: Mapping[str, str], *, bearer: str
    ) -> Answer | GraphFailure:
        versioned = path if path == "debug_token" else f"{self.version}/{path}"
        try:
            return self._transport.exchange(method, versioned, sent, bearer=bearer)
        except BrokenAnswerError as error:
            return GraphFailure(status=0, message=str(error))

    def _refuse_dead_token(self, subject: str) -> None:
        refusal = self._token_state.refusal
        if refusal is not None:
            raise token_error(refusal, subject=subject)

    def _wait_for_budget(self, account_id: str | None, usage: Usage, *, waits: int) -> int:
        """Wait until calls may go; returns how often it waited.

        Raises:
            RateLimitedError: the block lasts too long, or came back too often.
        """
        count = 0
        while block := self._budget.find_block(account_id, usage):
            key, until = block
            seconds = (until - self.now()).total_seconds()
            if seconds > self._max_wait_seconds or waits + count >= _MAX_WAITS:
                raise RateLimitedError(
                    f"Meta's limit for {_in_words(key)} is reached (asked for "
                    f"{account_id or 'the app'}); free again at {until:%Y-%m-%d %H:%M:%S} UTC.",
                    retry_after_seconds=max(seconds, 1.0),
                )
            self.sleep(max(seconds, 0.0))
            count += 1
        return count


class StoppedError(Exception):
    """The one who asked no longer wants the answer."""


def encode_params(params: Params) -> dict[str, str]:
    """Parameters as the Graph API takes them: text as it is, anything else as JSON."""
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in params.items()
    }


def failure_in(answer: Answer) -> GraphFailure | None:
    """The failure that an answer holds; an HTTP 200 may hold one, and a 5xx may hold no error."""
    body = answer.body
    if isinstance(body, dict) and "error" in body:
        return read_failure(answer.status, body["error"])
    if answer.status >= 400 or not isinstance(body, dict | list):
        return GraphFailure(status=answer.status, message="the body is not what Meta documents")
    return None


def _attempts_for(remedy: Remedy, sent: Mapping[str, str]) -> int:
    """How often a call is sent at most.

    Code 1 may be a hiccup or too big a page. A page that can shrink is tried only once more as it
    is: a smaller page heals both, while sending the big one again only pays its time-out again.
    """
    if remedy is Remedy.AMBIGUOUS and int(sent.get("limit", "1")) > 1:
        return _AMBIGUOUS_ATTEMPTS
    return _ATTEMPTS if remedy in {Remedy.RETRY, Remedy.AMBIGUOUS} else 1


def _in_words(key: str) -> str:
    kind, _, rest = key.partition(":")
    account, _, usage = rest.partition(":")
    if kind == "app":
        return f"the app {rest}"
    return f"{account}, {usage}" if usage else account


def _expect_object(body: Any) -> Json:
    if isinstance(body, dict):
        return body
    raise SourceUnavailableError("Meta answered a list where it documents an object.")
