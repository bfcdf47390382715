"""For other programs: ask whether a page may show a brand's data.

    client = ReadinessClient("https://pipeline.example.com", token)
    readiness = client.readiness("acme", "ad_performance")
    if not readiness.is_usable: ...

Stands alone: it needs `requests` and nothing else of this package, so the file can be copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

import requests

READY, DEGRADED, WITHHOLD, UNKNOWN = "ready", "degraded", "withhold", "unknown"


class ReadinessError(Exception):
    """There is no answer: the server cannot be reached, refuses, or says no such thing."""


@dataclass(frozen=True, kw_only=True)
class BannerLine:
    """One line to show; `kind` is ok, info, warning or error. The text is plain: escape it."""

    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DatasetReadiness:
    """One dataset as the page needs it; `state` is a word such as fresh, warn, stale, failing."""

    dataset: str
    title: str
    state: str
    last_success_at: datetime | None
    error_class: str | None
    error_message: str | None
    is_refreshing: bool
    action: str


@dataclass(frozen=True, kw_only=True)
class PageReadiness:
    """The answer for a page and a brand (None: across brands).

    `answer` is ready, degraded, withhold, or unknown when there is none now; then `datasets` and
    `checked_at` are those of the last answer there was, and `unknown_since` tells since when.
    """

    page: str
    brand: str | None
    answer: str
    checked_at: datetime | None
    datasets: tuple[DatasetReadiness, ...]
    lines: tuple[BannerLine, ...]
    unknown_since: datetime | None = None

    @property
    def is_usable(self) -> bool:
        """Whether the page may show its data."""
        return self.answer in {READY, DEGRADED}


@dataclass(frozen=True)
class _Kept:
    etag: str
    readiness: PageReadiness


class _BearerToken(requests.auth.AuthBase):
    """As an auth object, because a .netrc file would win over a plain header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class ReadinessClient:
    """Asks a pipeline's server; may be shared by threads, and is best kept: it polls cheaply.

    `token` is an API token (`pa_…`) of any role; `timeout` is in seconds. Without an answer it
    gives one that says `unknown`, so that a page never breaks; with `raises` a ReadinessError.
    """

    def __init__(
        self, base_url: str, token: str, *, timeout: float = 5, raises: bool = False
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._raises = raises
        self._session = requests.Session()
        self._session.auth = _BearerToken(token)
        self._kept: dict[tuple[str | None, str], _Kept] = {}
        self._unknown_since: dict[tuple[str | None, str], datetime] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def readiness(self, brand: str | None, page: str) -> PageReadiness:
        """Whether the page may show this brand's data; brand None asks across all brands.

        Raises:
            ReadinessError: there is no answer, and the client was made with `raises`.
        """
        key = (brand, page)
        try:
            found = self._ask(brand, page)
        except ReadinessError as error:
            if self._raises:
                raise
            since = self._unknown_since.setdefault(key, datetime.now(UTC))
            return self._unknown(brand, page, error, since)
        self._unknown_since.pop(key, None)
        return found

    def banner(self, brand: str | None, page: str) -> tuple[BannerLine, ...]:
        """The lines of the banner, the worst first.

        Raises:
            ReadinessError: as of `readiness`.
        """
        return self.readiness(brand, page).lines

    def _ask(self, brand: str | None, page: str) -> PageReadiness:
        kept = self._kept.get((brand, page))
        of_brand = f"/brands/{quote(brand, safe='')}" if brand is not None else ""
        response = self._get(
            f"{self._base_url}/api/v1{of_brand}/readiness/{quote(page, safe='')}",
            {"If-None-Match": kept.etag} if kept else {},
        )
        if response.status_code == requests.codes.not_modified and kept:
            same = replace(kept.readiness, checked_at=datetime.now(UTC))
            self._kept[brand, page] = _Kept(kept.etag, same)
            return same
        if response.status_code != requests.codes.ok:
            raise ReadinessError(_refusal(response))
        try:
            found = _parse(response.json())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ReadinessError(f"{self._base_url} does not answer like a pipeline.") from None
        if "ETag" in response.headers:
            self._kept[brand, page] = _Kept(response.headers["ETag"], found)
        return found

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        """Ask; once more if a connection that was kept open had been closed meanwhile."""
        for is_last in (False, True):
            try:
                return self._session.get(
                    url, headers=headers, timeout=self._timeout, allow_redirects=False
                )
            except requests.Timeout:
                break
            except requests.ConnectionError:
                if is_last:
                    raise ReadinessError(f"{self._base_url} cannot be reached.") from None
            except requests.RequestException as error:
                raise ReadinessError(f"{self._base_url} cannot be asked: {error}.") from None
        raise ReadinessError(f"{self._base_url} did not answer within {self._timeout:g} s.")

    def _unknown(
        self, brand: str | None, page: str, error: ReadinessError, since: datetime
    ) -> PageReadiness:
        kept = self._kept.get((brand, page))
        last = kept.readiness if kept else None
        text = f"Freshness unknown since {_clock(since)}: {error}"
        if last and last.checked_at:
            text += f" At {_clock(last.checked_at)} the answer was {last.answer}."
        return PageReadiness(
            page=page,
            brand=brand,
            answer=UNKNOWN,
            checked_at=last.checked_at if last else None,
            datasets=last.datasets if last else (),
            lines=(BannerLine(kind="warning", text=text),),
            unknown_since=since,
        )


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _refusal(response: requests.Response) -> str:
    """The server's own words if it has some."""
    try:
        error = response.json()["error"]
        return f"{error['message']} {error.get('advice') or ''}".strip()
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"The server answered {response.status_code}."


def _parse(row: Mapping[str, Any]) -> PageReadiness:
    return PageReadiness(
        page=row["page"],
        brand=row["brand"],
        answer=row["answer"],
        checked_at=_instant(row["checked_at"]),
        datasets=tuple(map(_parse_dataset, row.get("datasets", ()))),
        lines=tuple(BannerLine(kind=each["kind"], text=each["text"]) for each in row["lines"]),
    )


def _parse_dataset(row: Mapping[str, Any]) -> DatasetReadiness:
    return DatasetReadiness(
        dataset=row["dataset"],
        title=row["title"],
        state=row["state"],
        last_success_at=_instant(row["last_success_at"]),
        error_class=row["error_class"],
        error_message=row["error_message"],
        is_refreshing=row["is_refreshing"],
        action=row["action"],
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
