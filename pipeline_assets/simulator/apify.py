"""Apify: runs that take their time, data sets in pages, and two kinds of actors.

An actor whose name speaks of ads gathers ads of the Ad Library, one that speaks of reviews gathers
reviews; no other is known. Names with `curious` or `axesso` write their rows in the other notation
of their kind. What is not there gives no row and no error: see `library_copy` and `review_copy`.
Any token that begins with `apify_api_` is good.

Source: Apify API v2, "Run Actor", "Get run", "Get dataset items", "Errors".
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pipeline_assets.simulator import library_copy, review_copy
from pipeline_assets.simulator.calls import Call, CallLog, token_hash
from pipeline_assets.simulator.exchange import Response
from pipeline_assets.simulator.faults import BODY_FAULTS, Endpoint, Fault, FaultKind, Faults

_Row = dict[str, Any]
_DEFAULT_LIMIT = 250_000  # what Apify gives at once where nobody says less
_REPEATED_EVERY = 7
_FOREIGN_EVERY = 25
_ENDINGS = {
    FaultKind.APIFY_RUN_FAILED: ("FAILED", "The actor crashed: TypeError in page handler"),
    FaultKind.APIFY_RUN_TIMED_OUT: ("TIMED-OUT", "The run timed out after 3600 seconds"),
    FaultKind.APIFY_RUN_ABORTED: ("ABORTED", "The run was aborted by the user"),
    FaultKind.APIFY_RUN_STUCK: ("RUNNING", "Waiting for the browser"),
}
_RENAMED = {
    **dict.fromkeys(("adArchiveID", "ad_archive_id"), "advertIdentifier"),
    **dict.fromkeys(("snapshot",), "creative_v2"),
    **dict.fromkeys(("reviewId", "reviewUrl"), "reference"),
    **dict.fromkeys(("ratingScore", "rating"), "sentiment"),
}


class _ApifyError(Exception):
    """An error as Apify answers it."""

    def __init__(
        self, status: int, type_: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = list((headers or {}).items())
        self.body = {"error": {"type": type_, "message": message}}


_ERRORS: dict[FaultKind, Callable[[Fault], _ApifyError]] = {
    FaultKind.APIFY_UNAUTHORIZED: lambda _: _ApifyError(
        401, "user-or-token-not-found", "User was not found or authentication token is not valid"
    ),
    FaultKind.APIFY_PLAN_LIMIT: lambda _: _ApifyError(
        402,
        "not-enough-usage-to-run-paid-actor",
        "By launching this job you will exceed your remaining usage.",
    ),
    FaultKind.APIFY_ACTOR_MISSING: lambda _: _ApifyError(
        404, "record-not-found", "Actor was not found"
    ),
    FaultKind.APIFY_BAD_INPUT: lambda _: _ApifyError(
        400, "invalid-input", "Input is not valid: Field input.startUrls is required"
    ),
    FaultKind.APIFY_RATE_LIMIT: lambda fault: _ApifyError(
        429,
        "rate-limit-exceeded",
        "You have exceeded the rate limit of 60 requests per second",
        {"Retry-After": str(int(fault.seconds))},
    ),
    FaultKind.APIFY_ERROR: lambda _: _ApifyError(
        500, "internal-error", "There was an internal error"
    ),
    FaultKind.APIFY_RUN_GONE: lambda _: _ApifyError(
        404, "record-not-found", "Actor run was not found"
    ),
    FaultKind.APIFY_DATASET_GONE: lambda _: _ApifyError(
        404, "record-not-found", "Dataset was not found"
    ),
}
_ITEM_FAULTS = frozenset(
    {
        FaultKind.APIFY_EMPTY,
        FaultKind.APIFY_SCHEMA_CHANGED,
        FaultKind.APIFY_ROWS_BROKEN,
        FaultKind.APIFY_KEYS_COLLIDE,
    }
)


@dataclass(frozen=True, kw_only=True)
class _Run:
    id: str
    actor: str
    run_input: Mapping[str, Any]
    started: float
    seconds: float
    ending: tuple[str, str]
    today: date

    @property
    def dataset_id(self) -> str:
        return f"DS{self.id}"


@dataclass(frozen=True, kw_only=True)
class ApifyRequest:
    """A call; `segments` of the path behind /v2, `base_url` without a path."""

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    body: bytes
    base_url: str
    token: str


class Apify:
    """The runs of one simulator; safe to call from many threads."""

    def __init__(
        self,
        *,
        faults: Faults,
        calls: CallLog,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        stopping: threading.Event,
    ) -> None:
        self._faults = faults
        self._calls = calls
        self._now = now
        self._monotonic = monotonic
        self._stopping = stopping
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self.run_seconds = 0.05
        """How long a run takes; may be changed for the runs to come."""

    def finish_runs(self) -> None:
        """Whatever is under way has ended."""
        with self._lock:
            self._runs = {key: replace(run, seconds=0.0) for key, run in self._runs.items()}

    def clear(self) -> None:
        """Forget all runs."""
        with self._lock:
            self._runs.clear()

    @property
    def inputs(self) -> tuple[Mapping[str, Any], ...]:
        """What the runs so far were given, in their order."""
        with self._lock:
            return tuple(run.run_input for run in self._runs.values())

    def respond(self, request: ApifyRequest) -> Response:
        """The answer to a call; it is logged."""
        endpoint = _endpoint(request)
        headers: list[tuple[str, str]] = []
        try:
            status, body, headers = self._answer(request, endpoint)
        except _ApifyError as error:
            status, body, headers = error.status, error.body, error.headers
        self._calls.add(
            Call(
                at=self._now(),
                method=request.method,
                path=f"/v2/{'/'.join(request.segments)}",
                params=dict(request.query),
                status=status,
                token_hash=token_hash(request.token),
                account=None,
                endpoint=endpoint,
            )
        )
        spoiled_by = self._faults.take(BODY_FAULTS, None, endpoint)
        return Response(status=status, body=body, headers=headers, spoiled_by=spoiled_by)

    def _answer(
        self, request: ApifyRequest, endpoint: Endpoint
    ) -> tuple[int, Any, list[tuple[str, str]]]:
        if not request.token.startswith("apify_api_"):
            raise _ERRORS[FaultKind.APIFY_UNAUTHORIZED](Fault(kind=FaultKind.APIFY_UNAUTHORIZED))
        if fault := self._faults.take(_ERRORS, None, endpoint):
            raise _ERRORS[fault.kind](fault)
        match request.method, request.segments:
            case "POST", ("acts", actor, "runs"):
                run = self._start(actor.replace("~", "/"), request.body)
                return 201, {"data": self._show(run)}, []
            case "GET", ("actor-runs", run_id):
                run = self._find(run_id)
                self._wait(run, float(request.query.get("waitForFinish", 0)))
                return 200, {"data": self._show(run)}, []
            case "GET", ("datasets", dataset_id, "items"):
                return self._page(self._find(dataset_id.removeprefix("DS")), request)
            case _:
                raise _ApifyError(404, "page-not-found", "We have nothing at this address")

    def _start(self, actor: str, body: bytes) -> _Run:
        if not {"ads", "reviews"} & set(actor.replace("/", "-").split("-")):
            raise _ApifyError(404, "record-not-found", "Actor was not found")
        fault = self._faults.take(_ENDINGS, None, Endpoint.APIFY_START)
        with self._lock:
            run = _Run(
                id=f"run{len(self._runs) + 1:013d}",
                actor=actor,
                run_input=json.loads(body or b"{}"),
                started=self._monotonic(),
                seconds=self.run_seconds,
                ending=_ENDINGS[fault.kind] if fault else ("SUCCEEDED", "Finished"),
                today=self._now().date(),
            )
            self._runs[run.id] = run
        return run

    def _find(self, run_id: str) -> _Run:
        with self._lock:
            run = self._runs.get(run_id)
        if run is None:
            raise _ApifyError(404, "record-not-found", "Actor run was not found")
        return run

    def _wait(self, run: _Run, seconds: float) -> None:
        if run.ending[0] != "RUNNING":
            left = run.started + run.seconds - self._monotonic()
            self._stopping.wait(min(seconds, max(0.0, left)))

    def _show(self, run: _Run) -> _Row:
        elapsed = self._monotonic() - run.started
        status, message = run.ending
        if elapsed < run.seconds:
            status = "READY" if elapsed < run.seconds / 10 else "RUNNING"
            message = "Starting"
        return {
            "id": run.id,
            "actId": run.actor.replace("/", "~"),
            "status": status,
            "statusMessage": message,
            "defaultDatasetId": run.dataset_id,
            "startedAt": self._now().isoformat(),
        }

    def _page(
        self, run: _Run, request: ApifyRequest
    ) -> tuple[int, list[_Row], list[tuple[str, str]]]:
        fault = self._faults.take(_ITEM_FAULTS, None, Endpoint.APIFY_ITEMS)
        rows = list(_rows(run, request.base_url))
        if fault:
            rows = _spoil(rows, fault.kind)
        offset = int(request.query.get("offset", 0))
        limit = int(request.query.get("limit", _DEFAULT_LIMIT))
        page = rows[offset : offset + limit]
        headers = [
            ("X-Apify-Pagination-Total", str(len(rows))),
            ("X-Apify-Pagination-Offset", str(offset)),
            ("X-Apify-Pagination-Limit", str(limit)),
            ("X-Apify-Pagination-Count", str(len(page))),
        ]
        return 200, page, headers


def _endpoint(request: ApifyRequest) -> Endpoint:
    match request.segments:
        case ("acts", *_):
            return Endpoint.APIFY_START
        case ("datasets", *_):
            return Endpoint.APIFY_ITEMS
        case _:
            return Endpoint.APIFY_RUN


def _rows(run: _Run, base_url: str) -> Iterator[_Row]:
    """What the actor gathers; some rows come twice, as they do."""
    rows = _review_rows(run) if "reviews" in run.actor else _ad_rows(run, base_url)
    for place, row in enumerate(rows):
        yield row
        if place % _REPEATED_EVERY == _REPEATED_EVERY - 1:
            yield row


def _spoil(rows: list[_Row], kind: FaultKind) -> list[_Row]:
    match kind:
        case FaultKind.APIFY_EMPTY:
            return []
        case FaultKind.APIFY_SCHEMA_CHANGED:
            return [{_RENAMED.get(name, name): row[name] for name in row} for row in rows]
        case FaultKind.APIFY_KEYS_COLLIDE:
            ids = {name: rows[0][name] for name in _RENAMED if name in rows[0]}
            ids.pop("snapshot", None)
            ids.pop("ratingScore", None)
            ids.pop("rating", None)
            return [{**row, **ids} for row in rows]
        case _:
            return [{"error": "blocked"} if at % 2 else row for at, row in enumerate(rows)]


def _ad_rows(run: _Run, base_url: str) -> list[_Row]:
    """The ads of the searches whose addresses the input holds, at most as many as it says."""
    found: list[_Row] = []
    show = _snake_ad if "curious" in run.actor else _camel_ad
    for address in run.run_input.get("startUrls") or run.run_input.get("urls") or ():
        query = parse_qs(urlsplit(address["url"]).query)
        pages, terms = query.get("view_all_page_id", []), query.get("q", [])
        ads = library_copy.find_ads(pages, terms, run.today)
        each = int(run.run_input.get("resultsLimit", len(ads)))
        found += [show(ad, base_url, run.today) for ad in ads[:each]]
    return found


def _epoch(day: date) -> int:
    return int(datetime.combine(day, time(7), UTC).timestamp())


def _camel_ad(ad: library_copy.ForeignAd, base_url: str, today: date) -> _Row:
    url = library_copy.picture_url(base_url, ad, today=today)
    media: _Row = {"images": [{"original_image_url": url, "resized_image_url": url}], "videos": []}
    if ad.has_video:
        video = url.replace("_n.jpg", "_n.mp4")
        media = {
            "images": [],
            "videos": [{"video_hd_url": video, "video_preview_image_url": url}],
        }
    return {
        "adArchiveID": ad.id,
        "pageID": ad.page_id,
        "pageName": ad.page_name,
        "isActive": True,
        "startDate": _epoch(ad.starts),
        "endDate": _epoch(today),
        "publisherPlatform": [each.upper() for each in ad.platforms],
        "collationCount": ad.copies,
        "snapshot": {
            "body": {"text": ad.body},
            "title": ad.headline,
            "caption": ad.host,
            "link_description": ad.description,
            "link_url": ad.link_url,
            "cta_text": ad.button,
            "cta_type": ad.button_type,
            "page_name": ad.page_name,
            "cards": [],
            **media,
        },
    }


def _snake_ad(ad: library_copy.ForeignAd, base_url: str, today: date) -> _Row:
    url = library_copy.picture_url(base_url, ad, today=today)
    markup = ad.body.replace("&", "&amp;").replace("\n", "<br />")
    card = {"title": ad.headline, "link_url": ad.link_url, "original_image_url": url}
    return {
        "ad_archive_id": ad.id,
        "page_id": ad.page_id,
        "is_active": True,
        "start_date": _epoch(ad.starts),
        "start_date_formatted": f"{ad.starts} 07:00:00",
        "publisher_platform": [each.upper() for each in ad.platforms],
        "collation_count": ad.copies,
        "snapshot": {
            "body": {"markup": {"__html": markup}},
            "caption": ad.host,
            "cta_text": ad.button,
            "link_description": ad.description,
            "page_name": ad.page_name,
            "cards": [card],
            "images": [],
            "videos": [],
        },
    }


def _review_rows(run: _Run) -> list[_Row]:
    """The newest reviews of each product, and some of a product that nobody asked for."""
    show = _axesso_review if "axesso" in run.actor else _junglee_review
    found: list[_Row] = []
    for asin in run.run_input.get("asins") or ():
        newest = review_copy.reviews_of(asin, run.today)[: int(run.run_input["maxReviews"])]
        for place, review in enumerate(newest):
            found.append(show(review))
            if place % _FOREIGN_EVERY == _FOREIGN_EVERY - 1:
                found.append({**show(review), "asin": "B0SPONSORED", "productAsin": "B0SPONSORED"})
    return found


def _junglee_review(review: review_copy.ForeignReview) -> _Row:
    return {
        "productAsin": review.asin,
        "productTitle": review.product_title,
        "ratingScore": review.stars,
        "reviewTitle": review.title,
        "reviewDescription": review.body,
        "reviewUrl": f"https://www.amazon.com/gp/customer-reviews/{review.id}?ASIN={review.asin}",
        "reviewedIn": f"Reviewed in the United States on {review.day:%B} {review.day.day}, "
        f"{review.day.year}",
        "date": review.day.isoformat(),
        "country": "United States",
        "isVerified": review.is_verified,
        "variant": review.variant,
        "reviewReaction": _reaction(review.helpful),
        "username": "Amazon Customer",
    }


def _axesso_review(review: review_copy.ForeignReview) -> _Row:
    return {
        "reviewId": review.id,
        "asin": review.asin,
        "productTitle": review.product_title,
        "rating": f"{review.stars}.0 out of 5 stars",
        "title": review.title,
        "text": review.body,
        "date": f"Reviewed in the United States on {review.day:%B} {review.day.day}, "
        f"{review.day.year}",
        "verified": review.is_verified,
        "numberOfHelpful": review.helpful,
        "variationList": [review.variant],
    }


def _reaction(helpful: int) -> str | None:
    if helpful < 2:
        return "One person found this helpful" if helpful else None
    return f"{helpful} people found this helpful"
