"""Visiting many pages: many hosts at a time, one page at a time on each."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.sources.public_addresses import AddressRefusedError
from pipeline_assets.sources.public_http import (
    BodyTooLargeError,
    PublicHttp,
    TooManyRedirectsError,
)
from pipeline_assets.sources.web_pages.hosts import HostClosedError, Sleep, host_name
from pipeline_assets.sources.web_pages.judging import judge, wants_body
from pipeline_assets.sources.web_pages.requesting import (
    Answer,
    DisallowedError,
    HostBusyError,
    Requester,
    Stopwatch,
)
from pipeline_assets.sources.web_pages.visits import PageState, PageVisit

_MOST_THREADS = 128  # they mostly wait
# A big page's tree takes 50 MB and more. Far fewer would hold up hosts whose pages come together.
_UNDERSTOOD_AT_A_TIME = 16

_STATES: tuple[tuple[type[Exception], PageState], ...] = (
    (DisallowedError, PageState.DISALLOWED),
    (AddressRefusedError, PageState.REFUSED),
    (HostClosedError, PageState.FAILED),
    (TooManyRedirectsError, PageState.FAILED),
    (BodyTooLargeError, PageState.FAILED),
    (SourceUnavailableError, PageState.FAILED),
)


def visit_pages(
    http: PublicHttp, urls: Iterable[str], *, sleep: Sleep = time.sleep
) -> Iterator[PageVisit]:
    """Visit each address once and tell what was found, as the visits end.

    Polite: robots.txt is asked first and obeyed (RFC 9309), a host is asked for one thing at a
    time and rests between requests as it wants (Crawl-delay, Retry-After), redirects included; one
    that stays silent is left alone. Other calls, at the same time or later, know nothing of that.
    Whatever a page is, its visit ends as a `PageVisit`.
    """
    requester = Requester(http, sleep=sleep)
    by_host: dict[str, deque[str]] = {}
    for url in dict.fromkeys(urls):
        by_host.setdefault(host_name(url), deque()).append(url)
    count = sum(map(len, by_host.values()))
    results: SimpleQueue[PageVisit | BaseException] = SimpleQueue()
    stopped = threading.Event()
    # Twice as many threads as hosts: a page may wait to be understood while its host goes on.
    threads = max(1, min(_MOST_THREADS, 2 * len(by_host)))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pages")
    understanding = threading.Semaphore(_UNDERSTOOD_AT_A_TIME)

    def visit_next(waiting: deque[str]) -> None:
        url = waiting.popleft()
        try:
            visit = _request(requester, url)
            if waiting and not stopped.is_set():
                pool.submit(visit_next, waiting)
            if isinstance(visit, tuple):
                with understanding:
                    visit = _understand(*visit)
            results.put(visit)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            results.put(error)

    try:
        for waiting in by_host.values():
            pool.submit(visit_next, waiting)
        for _ in range(count):
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _request(requester: Requester, url: str) -> PageVisit | tuple[str, Answer, float]:
    """The answer of the page's host with the seconds it took, or the visit that has ended."""
    watch = Stopwatch()
    try:
        return url, requester.ask(url, watch, reads_body=wants_body), watch.seconds
    except HostBusyError as error:
        return url, error.answer, watch.seconds
    except tuple(kind for kind, _ in _STATES) as error:
        return PageVisit(
            url=url,
            state=next(state for kind, state in _STATES if isinstance(error, kind)),
            reason=str(error),
            redirect_count=watch.redirect_count,
            seconds=watch.seconds,
            is_silence=isinstance(error, SourceUnavailableError | HostClosedError),
        )


def _understand(url: str, answer: Answer, seconds: float) -> PageVisit:
    state, reason, page = judge(answer)
    return PageVisit(
        url=url,
        state=state,
        reason=reason,
        status_code=answer.status_code,
        final_url=answer.url,
        redirect_count=answer.redirect_count,
        seconds=seconds,
        content=page.content if page else None,
    )
