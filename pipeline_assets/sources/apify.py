"""Apify: starting an actor, waiting for its run and reading what it gathered.

Belongs here: one run from its input to its items, kept across attempts so that it is paid for once,
and Apify's errors as ours. Does not: what an actor is asked for and what its rows mean.

Source: Apify API v2, "Run Actor", "Get run", "Get dataset items", "Errors", "Rate limiting".
"""

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Protocol, Self

import orjson

from pipeline_assets import clock
from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    InvalidConfigError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
)
from pipeline_assets.redaction import redact, register_secret
from pipeline_assets.sources.api_http import (
    BearerAuth,
    BrokenAnswerError,
    RawAnswer,
    exchange,
    open_session,
    read_json,
    read_number,
)

RESUMABLE_FOR = timedelta(hours=24)
"""What a run gathered longer ago must not be passed off as today's."""

_WAIT_SECONDS = 60  # the most that Apify holds an answer back for
_PAGE_ITEMS = 1000
_TIMEOUT_SECONDS = (5.0, _WAIT_SECONDS + 15.0)  # to connect, between two reads
_TOTAL_SECONDS = 180.0
_ATTEMPTS = 4  # with the pauses below about four seconds: a blip, not an outage
_FIRST_PAUSE_SECONDS = 0.5
_POLL_PAUSE_SECONDS = 1.0  # where Apify does not hold its answer back
_RETRY_AFTER_SECONDS = 60.0  # for a run that goes on
_SUCCEEDED = "SUCCEEDED"
_ENDED_BADLY = frozenset({"FAILED", "TIMED-OUT", "ABORTED"})
_OF_THE_PLAN = re.compile(r"rent|limit-exceeded|not-enough-usage|platform-feature-disabled")


class RunGoneError(SourceUnavailableError):
    """Apify no longer has the run or its data set; the next attempt starts another."""


class RunFailedError(SourceUnavailableError):
    """The run ended FAILED; the next attempt starts another."""


class RunMemory(Protocol):
    """Where the run that is under way outlives a killed attempt."""

    def read(self) -> Mapping[str, Any] | None:
        """What was stored last."""

    def store(self, position: Mapping[str, Any]) -> None:
        """Keep it, before anything else happens."""

    def forget(self) -> None:
        """The next attempt starts a run of its own."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is wanted of an actor (`user/name`), until when, and how many items at most.

    `on_progress` gets the number of items read so far.
    """

    actor: str
    run_input: Mapping[str, Any]
    max_items: int
    deadline: datetime
    memory: RunMemory
    on_progress: Callable[[int], None]

    @property
    def input_hash(self) -> str:
        """What tells the runs of one input from those of another."""
        text = orjson.dumps([self.actor, self.run_input], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()

    def name_run(self, run_id: str) -> str:
        """A run as messages call it."""
        return f"run {run_id} of actor {self.actor}"


@dataclass(frozen=True)
class ActorItems:
    """What a run gave: items as sent, at most as many as were asked for."""

    run_id: str
    items: list[Any]
    is_resumed: bool


class _Call(Enum):
    START = auto()
    RUN = auto()
    ITEMS = auto()


@dataclass(frozen=True)
class _Answer:
    """`status` 0: none came, and `message` says why."""

    status: int
    headers: Mapping[str, str]
    body: Any
    message: str = ""

    @property
    def error_type(self) -> str:
        """Apify's word for the error; empty where it gives none."""
        return str(self._error.get("type") or "")

    @property
    def said(self) -> str:
        """What went wrong, for people: by Apify's message where there is one."""
        told = self._error.get("message") or self.message
        code = f"HTTP {self.status} {self.error_type}".strip() if self.status else "no answer"
        return f"{code}: {redact(str(told))[:300]}" if told else code

    @property
    def _error(self) -> Mapping[str, Any]:
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return error if isinstance(error, dict) else {}


class ApifyClient:
    """Runs actors with one token; the token travels in a header only.

    A limit that ends within `max_wait_seconds` is waited for.
    """

    def __init__(
        self,
        *,
        token: str,
        base_url: str = "https://api.apify.com",
        now: Callable[[], datetime] = clock.utcnow,
        sleep: Callable[[float], None] = time.sleep,
        max_wait_seconds: float = 60.0,
    ) -> None:
        register_secret(token)
        self._base_url = base_url.rstrip("/")
        self._now = now
        self._sleep = sleep
        self._max_wait_seconds = max_wait_seconds
        self._session = open_session()
        self._session.auth = BearerAuth(token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def gather(self, order: Order) -> ActorItems:
        """The items of a run of the order's actor with its input.

        A run with the same input that `order.memory` holds, and that began within a day, is gone on
        with instead of starting another; the caller has it forgotten once the items are stored.

        Raises:
            CredentialError, AccessError (the plan), InvalidConfigError (actor or input): for good.
            SourceRejectedError: the run timed out or was aborted.
            SourceUnavailableError: it failed, or goes on after the deadline (and is resumed then).
            RateLimitedError: a limit that lasts longer than this client waits.
        """
        known = self._resumable(order)
        if known is not None:
            with contextlib.suppress(RunGoneError):  # forgotten; another run is what is left
                return self._finish(order, known, is_resumed=True)
        return self._finish(order, self._start(order), is_resumed=False)

    def _resumable(self, order: Order) -> str | None:
        position = order.memory.read()
        if position is None or position["input_hash"] != order.input_hash:
            return None
        age = self._now() - datetime.fromisoformat(position["started_at"])
        return str(position["run_id"]) if age < RESUMABLE_FOR else None

    def _start(self, order: Order) -> str:
        path = f"acts/{order.actor.replace('/', '~')}/runs"
        # `maxItems` is the most that an actor which is paid by result may charge for.
        params = {"maxItems": str(order.max_items)}
        answer = self._call(_Call.START, f"actor {order.actor}", path, params, order.run_input)
        run_id = str(_run_of(answer, order.actor)["id"])
        order.memory.store(
            {
                "run_id": run_id,
                "input_hash": order.input_hash,
                "started_at": self._now().isoformat(),
            }
        )
        return run_id

    def _finish(self, order: Order, run_id: str, *, is_resumed: bool) -> ActorItems:
        try:
            dataset_id = self._wait(order, run_id)
            items: list[Any] = []
            for page in self._pages(order, run_id, dataset_id):
                items += page
                order.on_progress(len(items))
        except (RunGoneError, RunFailedError, SourceRejectedError):
            order.memory.forget()
            raise
        return ActorItems(run_id, items[: order.max_items], is_resumed)

    def _wait(self, order: Order, run_id: str) -> str:
        """The data set of the run, once it has succeeded."""
        subject = order.name_run(run_id)
        while True:
            left = (order.deadline - self._now()).total_seconds()
            wait = {"waitForFinish": str(int(min(max(left, 0), _WAIT_SECONDS)))}
            answer = self._call(_Call.RUN, subject, f"actor-runs/{run_id}", wait)
            run = _run_of(answer, order.actor)
            status = run["status"]
            if status == _SUCCEEDED:
                return str(run["defaultDatasetId"])
            if status in _ENDED_BADLY:
                raise _error_of_run(subject, status, str(run.get("statusMessage") or ""))
            if self._now() >= order.deadline:
                raise SourceUnavailableError(
                    f"Apify's {subject} is still {status}.",
                    advice="It goes on by itself, and the next try goes on with it.",
                    retry_after_seconds=_RETRY_AFTER_SECONDS,
                )
            self._sleep(_POLL_PAUSE_SECONDS)

    def _pages(self, order: Order, run_id: str, dataset_id: str) -> Iterator[list[Any]]:
        """The data set page by page."""
        subject = f"the data set of {order.name_run(run_id)}"
        offset, total = 0, 1.0
        while offset < min(total, order.max_items):
            answer = self._call(
                _Call.ITEMS,
                subject,
                f"datasets/{dataset_id}/items",
                {
                    "format": "json",
                    "clean": "1",
                    "offset": str(offset),
                    "limit": str(min(_PAGE_ITEMS, order.max_items - offset)),
                },
            )
            if not isinstance(answer.body, list):
                raise SourceUnavailableError(f"Apify answered no list of items for {subject}.")
            offset += _PAGE_ITEMS
            told = read_number(answer.headers, "X-Apify-Pagination-Total")
            # Where the total is missing, a page with nothing in it is the end.
            total = told if told is not None else offset + 1 if answer.body else 0
            yield answer.body

    def _call(
        self,
        call: _Call,
        subject: str,
        path: str,
        params: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
    ) -> _Answer:
        """The answer to a call that Apify took; blips and short limits are sat out.

        A start is sent again only where Apify says that it was not taken: a second run would cost
        as much as the first.
        """
        attempt = 0
        while True:
            attempt += 1
            answer = self._exchange(f"{self._base_url}/v2/{path}", params, body)
            if 200 <= answer.status < 300:
                return answer
            error = _error_for(answer, call, subject)
            pause = self._pause_before_next(error, call, attempt)
            if pause is None:
                raise error
            self._sleep(pause)

    def _pause_before_next(self, error: PipelineError, call: _Call, attempt: int) -> float | None:
        """How long to wait before the same call is sent again; None: it is not."""
        if attempt >= _ATTEMPTS or isinstance(error, RunGoneError):
            return None
        pause = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
        if isinstance(error, RateLimitedError):
            pause = pause if error.retry_after_seconds is None else error.retry_after_seconds
            return pause if pause <= self._max_wait_seconds else None
        is_safe = isinstance(error, SourceUnavailableError) and call is not _Call.START
        return pause if is_safe else None

    def _exchange(
        self, url: str, params: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> _Answer:
        try:
            answer = exchange(
                self._session,
                "GET" if body is None else "POST",
                url,
                total_seconds=_TOTAL_SECONDS,
                timeout=_TIMEOUT_SECONDS,
                params=params,
                data=None if body is None else orjson.dumps(body),
                headers={} if body is None else {"Content-Type": "application/json"},
            )
        except BrokenAnswerError as error:
            return _Answer(0, {}, None, str(error))
        return _parsed(answer)


def _run_of(answer: _Answer, actor: str) -> Mapping[str, Any]:
    run = answer.body.get("data") if isinstance(answer.body, dict) else None
    if not isinstance(run, dict) or not {"id", "status", "defaultDatasetId"} <= set(run):
        raise SourceUnavailableError(f"Apify answered without the run of actor {actor}.")
    return run


def _error_of_run(subject: str, status: str, message: str) -> PipelineError:
    """A run that ended without success: a failure may pass, running out of time costs the same."""
    text = f"Apify's {subject} ended {status}{f': {redact(message)[:300]}' if message else '.'}"
    match status:
        case "FAILED":
            return RunFailedError(
                text, advice="The run's log on Apify says more; the next try starts another run."
            )
        case "TIMED-OUT":
            return SourceRejectedError(
                text, advice="Ask it for less, or give it more time by the brand's `actor.input`."
            )
        case _:
            return SourceRejectedError(
                text, advice="Somebody stopped it on Apify: sync again when it may run."
            )


def _error_for(answer: _Answer, call: _Call, subject: str) -> PipelineError:
    """What an answer that is not the one asked for means."""
    status, said = answer.status, answer.said
    if status == 429:  # before the plan's limits, whose types look alike
        return RateLimitedError(
            f"Apify's limit is reached at {subject} ({said}).",
            retry_after_seconds=read_number(answer.headers, "Retry-After"),
        )
    if status == 402 or _OF_THE_PLAN.search(answer.error_type):
        return AccessError(
            f"The Apify plan does not allow {subject} ({said}).",
            advice="Look at usage and limits in Apify's billing; some actors have to be rented.",
        )
    if status in {401, 403}:
        return CredentialError(
            f"Apify refuses the token for {subject} ({said}).",
            advice="Copy a token that may run this actor from Apify's settings (API & Integrations)"
            " to where the brand's `actor.token` points.",
        )
    if status == 404 and call is not _Call.START:
        return RunGoneError(f"Apify no longer has {subject} ({said}).")
    if 400 <= status < 500 and status != 408:
        return _refusal(call, subject, said, is_missing=status == 404)
    return SourceUnavailableError(
        f"Apify did not answer properly for {subject} ({said}).",
        advice="Usually it passes by itself. If not, look at Apify's status page and at "
        "PIPELINE_APIFY_URL.",
    )


def _refusal(call: _Call, subject: str, said: str, *, is_missing: bool) -> PipelineError:
    if call is not _Call.START:
        return SourceRejectedError(f"Apify calls the request for {subject} wrong ({said}).")
    if is_missing:
        return InvalidConfigError(
            f"Apify has no {subject} ({said}).",
            advice="Correct the brand's `actor.actor`: user/name, as in its address on Apify.",
        )
    return InvalidConfigError(
        f"Apify does not take the input for {subject} ({said}).",
        advice="Set what this actor expects in the brand's `actor.input`.",
    )


def _parsed(raw: RawAnswer) -> _Answer:
    with contextlib.suppress(ValueError):
        return _Answer(raw.status, raw.headers, read_json(raw.content))
    if raw.status >= 400:  # a proxy's page: the status says enough
        return _Answer(raw.status, raw.headers, None)
    problem = f"HTTP {raw.status} with {len(raw.content)} bytes that are no JSON"
    return _Answer(0, raw.headers, None, problem)
