"""May a page show its data? The answer, the reasons, and the words of a banner. Pure.

The rules:

- Data is usable while it is younger than the page allows, also when the last try to refresh it
  failed. What ages (`warn`), or failed while it is still fresh, is said but changes no answer.
- `ready`: every dataset is usable and none is `failing`.
- `withhold`: a dataset that the page is about is not usable (too old, never synced, not
  configured). An 11-day-old figure with a small badge would be read as today's.
- `degraded`: everything else. The page works, and something in it is missing, old or at risk.
- A pause or a refresh that is under way changes the words, never the answer: neither makes data
  younger.

Error messages in the words came from outside: whoever puts them into HTML escapes them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pipeline_assets.datasets import DATASETS, home_job
from pipeline_assets.freshness.ages import age_text
from pipeline_assets.freshness.evaluate import State, evaluate_freshness
from pipeline_assets.freshness.pages import Need, Page

Row = dict[str, Any]

MAX_NAMED_BRANDS = 50
"""An answer across brands names so many of the worst; the counts are of all."""

_MAX_MESSAGE = 300  # a banner is read at a glance
_MAX_BRAND_LINES = 5


class Answer(StrEnum):
    """Whether a page may show its data; from best to worst."""

    READY = "ready"
    DEGRADED = "degraded"
    WITHHOLD = "withhold"


class Activity(StrEnum):
    """What is being done about a dataset."""

    RUNNING = "running"
    QUEUED = "queued"
    """Its run is about to start."""
    WAITING = "waiting"
    """Tried again later, at `next_try_at`."""


class Kind(StrEnum):
    """The weight of a banner's line."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class BannerLine:
    """One line of a banner, plain text."""

    kind: Kind
    text: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is stored of one dataset of a brand. `allowed_age` None: never too old.

    The error is that of the last attempt that ended; `failed_at` is None while the next one runs.
    """

    allowed_age: timedelta | None
    is_configured: bool
    last_success_at: datetime | None = None
    failed_at: datetime | None = None
    error_class: str | None = None
    error_message: str | None = None
    advice: str | None = None
    activity: Activity | None = None
    activity_since: datetime | None = None
    next_try_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A person's pause of a brand that holds now."""

    at: datetime
    reason: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetReadiness:
    """One dataset as a page needs it. `withholds`: the page shows nothing because of it."""

    dataset: str
    title: str
    state: State
    is_usable: bool
    withholds: bool
    last_success_at: datetime | None
    age_seconds: float | None
    allowed_seconds: float | None
    failed_at: datetime | None
    error_class: str | None
    error_message: str | None
    advice: str | None
    is_refreshing: bool
    activity: Activity | None
    activity_since: datetime | None
    next_try_at: datetime | None
    action: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether there is nothing to say but how fresh it is."""
        return self.state == State.FRESH and self.error_class is None

    def as_row(self) -> Row:
        """The fields as plain values."""
        activity = self.activity.value if self.activity else None
        return vars(self) | {"state": str(self.state), "activity": activity}


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The answer for one page and one brand at one instant."""

    page: str
    title: str
    brand_id: str
    answer: Answer
    checked_at: datetime
    pause: Pause | None
    datasets: tuple[DatasetReadiness, ...]

    @property
    def lines(self) -> list[BannerLine]:
        """The banner, as of the instant of the answer."""
        return banner_lines(self, self.checked_at)

    def as_row(self) -> Row:
        """The answer as plain values: what the API tells."""
        return {
            "page": self.page,
            "brand": self.brand_id,
            "answer": self.answer.value,
            "checked_at": self.checked_at,
            "paused_at": self.pause.at if self.pause else None,
            "paused_until": self.pause.until if self.pause else None,
            "datasets": [each.as_row() for each in self.datasets],
            "lines": _line_rows(self.lines),
        }


@dataclass(frozen=True, kw_only=True)
class BrandsReadiness:
    """The answer for one page across brands: `ready` when all are, `withhold` when none is usable.

    `counts` has the number of brands for each answer, and under `not_configured` those that have
    none of the page's sources and so say nothing. `brands` are the worst that are not ready.
    """

    page: str
    title: str
    answer: Answer
    checked_at: datetime
    counts: Mapping[str, int]
    brands: tuple[Readiness, ...]
    lines: list[BannerLine]

    def as_row(self) -> Row:
        """The answer as plain values: what the API tells."""
        return {
            "page": self.page,
            "brand": None,
            "answer": self.answer.value,
            "checked_at": self.checked_at,
            "counts": dict(self.counts),
            "brands": [brand.as_row() for brand in self.brands],
            "lines": _line_rows(self.lines),
        }


def _line_rows(lines: Sequence[BannerLine]) -> list[Row]:
    return [{"kind": line.kind.value, "text": line.text} for line in lines]


def judge_page(
    page: Page,
    facts: Mapping[str, Facts],
    *,
    brand_id: str,
    pause: Pause | None = None,
    now: datetime,
) -> Readiness:
    """The answer for one brand; `facts` has every dataset that the page needs."""
    judged = (_judge_dataset(need, facts[need.dataset], now=now) for need in page.needs)
    datasets = tuple(
        each if each.is_fine else replace(each, action=_action(page, each, brand_id, pause))
        for each in judged
    )
    return Readiness(
        page=page.name,
        title=page.title,
        brand_id=brand_id,
        answer=_answer(datasets),
        checked_at=now,
        pause=pause,
        datasets=datasets,
    )


def _answer(datasets: Sequence[DatasetReadiness]) -> Answer:
    if any(dataset.withholds for dataset in datasets):
        return Answer.WITHHOLD
    if all(dataset.state in {State.FRESH, State.WARN} for dataset in datasets):
        return Answer.READY
    return Answer.DEGRADED


def _judge_dataset(need: Need, facts: Facts, *, now: datetime) -> DatasetReadiness:
    freshness = evaluate_freshness(
        last_success_at=facts.last_success_at,
        is_last_attempt_failed=facts.error_class is not None,
        fail_after=facts.allowed_age,
        is_configured=facts.is_configured,
        now=now,
    )
    is_usable = freshness.age is not None and freshness.stale_since is None
    return DatasetReadiness(
        dataset=need.dataset,
        title=DATASETS[need.dataset].title,
        state=freshness.state,
        is_usable=is_usable,
        withholds=need.withhold and not is_usable,
        last_success_at=facts.last_success_at,
        age_seconds=freshness.age.total_seconds() if freshness.age is not None else None,
        allowed_seconds=facts.allowed_age.total_seconds() if facts.allowed_age else None,
        failed_at=facts.failed_at if facts.error_class else None,
        error_class=facts.error_class,
        error_message=facts.error_message,
        advice=facts.advice,
        is_refreshing=facts.activity in {Activity.RUNNING, Activity.QUEUED},
        activity=facts.activity,
        activity_since=facts.activity_since,
        next_try_at=facts.next_try_at,
    )


def _action(page: Page, dataset: DatasetReadiness, brand_id: str, pause: Pause | None) -> str:
    """The next step for one that is not fine; none while it is refreshed."""
    if dataset.is_refreshing:
        return ""
    if dataset.state == State.NOT_CONFIGURED:
        source = DATASETS[dataset.dataset].source.value
        return f"Add the brand's source {source} with `pipeline-assets brands apply`."
    if pause is not None:
        return f"Resume the brand with `pipeline-assets brands resume {brand_id}`."
    job = home_job(dataset.dataset).name
    sync = f"Sync it now with `pipeline-assets sync {brand_id} {job}`."
    is_tried_again = dataset.activity is Activity.WAITING
    return dataset.advice or page.action or ("" if is_tried_again else sync)


def banner_lines(readiness: Readiness, now: datetime) -> list[BannerLine]:
    """The answer in words, the worst first: one green line when there is nothing else to say."""
    fine = [dataset for dataset in readiness.datasets if dataset.is_fine]
    lines = [
        _problem_line(dataset, readiness.pause, now)
        for dataset in readiness.datasets
        if not dataset.is_fine
    ]
    lines.sort(key=lambda line: _WORST_FIRST.index(line.kind))
    if lines and fine:
        ages = ", ".join(f"{each.title} {_ago(each, now)}" for each in fine)
        lines.append(BannerLine(Kind.INFO, f"Fresh: {ages}."))
    elif fine:
        lines.append(_all_fresh_line(fine, now))
    return lines + _refreshing_lines(fine, now)


_WORST_FIRST = (Kind.ERROR, Kind.WARNING, Kind.INFO, Kind.OK)


def _all_fresh_line(fine: Sequence[DatasetReadiness], now: datetime) -> BannerLine:
    """The one that the page is about; and the oldest, when it is older by what one can see."""
    first, oldest = fine[0], max(fine, key=lambda each: each.age_seconds or 0)
    text = f"Data fresh: {first.title} synced {_ago(first, now)}"
    if _ago(oldest, now) != _ago(first, now):
        text += f"; the oldest, {oldest.title}, {_ago(oldest, now)}"
    return BannerLine(Kind.OK, text)


def _refreshing_lines(fine: Sequence[DatasetReadiness], now: datetime) -> list[BannerLine]:
    """What a run refreshes that was fresh already, in one line for each way to say it."""
    titles: dict[str, list[str]] = {}
    for dataset in fine:
        if dataset.is_refreshing:
            titles.setdefault(_being_done(dataset, now), []).append(dataset.title)
    return [
        BannerLine(Kind.INFO, f"{', '.join(of_words)}: {words}.")
        for words, of_words in titles.items()
    ]


def explain(dataset: DatasetReadiness, pause: Pause | None, now: datetime) -> str:
    """One dataset in words, with what to do."""
    if dataset.is_fine:
        return f"{dataset.title} synced {_ago(dataset, now)}."
    return _problem_line(dataset, pause, now).text


def _problem_line(dataset: DatasetReadiness, pause: Pause | None, now: datetime) -> BannerLine:
    reasons = "; ".join(_reasons(dataset, pause, now))
    if dataset.withholds:
        text = f"{dataset.title} not shown: {reasons}."
    elif dataset.error_class:
        text = f"{dataset.title} {reasons}."
    else:
        text = f"{dataset.title}: {reasons}."
    return BannerLine(_kind(dataset), f"{text} {dataset.action}".strip())


def _kind(dataset: DatasetReadiness) -> Kind:
    if dataset.withholds:
        return Kind.WARNING if dataset.is_refreshing else Kind.ERROR
    return Kind.INFO if dataset.is_refreshing and dataset.error_class is None else Kind.WARNING


def _reasons(dataset: DatasetReadiness, pause: Pause | None, now: datetime) -> Iterator[str]:
    if dataset.state == State.NOT_CONFIGURED:
        yield "not configured for this brand"
        return
    if dataset.error_class:
        yield _failed(dataset, now)
    yield _how_old(dataset, now)
    if pause is not None:
        reason = f": {_clip(pause.reason)}" if pause.reason else ""
        yield f"syncing is paused, since {_span(now - pause.at)}{reason}"
    if dataset.activity:
        yield _being_done(dataset, now)


def _failed(dataset: DatasetReadiness, now: datetime) -> str:
    when = f" {_span(now - dataset.failed_at)} ago" if dataset.failed_at else ""
    return f"failed{when}: {_clip(dataset.error_message or dataset.error_class or '')}"


def _how_old(dataset: DatasetReadiness, now: datetime) -> str:
    if dataset.last_success_at is None:
        return "never synced"
    if dataset.error_class and dataset.is_usable:
        return f"showing data from {_ago(dataset, now)}"
    allowed = timedelta(seconds=dataset.allowed_seconds or 0)
    if dataset.is_usable:
        left = dataset.last_success_at + allowed - now
        return f"last synced {_ago(dataset, now)}, too old in {_span(left)}"
    return f"last synced {_ago(dataset, now)}, allowed age {_span(allowed)}"


def _being_done(dataset: DatasetReadiness, now: datetime) -> str:
    if dataset.activity is Activity.WAITING and dataset.next_try_at is not None:
        return f"next try in {_span(dataset.next_try_at - now)}"
    words = "being refreshed now" if dataset.activity is Activity.RUNNING else "queued to refresh"
    if dataset.activity_since is None or now - dataset.activity_since < _BRIEF:
        return words
    return f"{words}, since {_span(now - dataset.activity_since)}"


_BRIEF = timedelta(seconds=90)


def _ago(dataset: DatasetReadiness, now: datetime) -> str:
    assert dataset.last_success_at is not None
    age = now - dataset.last_success_at
    return "just now" if age < _BRIEF else f"{_span(age)} ago"


def _span(length: timedelta) -> str:
    """A length in one short unit, never in seconds: what is shown must not change with each."""
    return "a minute" if length < _BRIEF else age_text(length.total_seconds())


def _clip(text: str) -> str:
    one_line = " ".join(text.split()).removesuffix(".")
    return one_line if len(one_line) <= _MAX_MESSAGE else f"{one_line[:_MAX_MESSAGE]}…"


def judge_brands(page: Page, brands: Sequence[Readiness], *, now: datetime) -> BrandsReadiness:
    """The answer across brands, from that of each of them."""
    used = [brand for brand in brands if not _is_unused(brand)]
    troubled = sorted((b for b in used if b.answer is not Answer.READY), key=_worst_first)
    counts: dict[str, int] = {
        answer.value: sum(brand.answer is answer for brand in used) for answer in Answer
    }
    if not used or counts[Answer.WITHHOLD] == len(used):
        answer = Answer.WITHHOLD
    else:
        answer = Answer.DEGRADED if troubled else Answer.READY
    return BrandsReadiness(
        page=page.name,
        title=page.title,
        answer=answer,
        checked_at=now,
        counts=counts | {State.NOT_CONFIGURED.value: len(brands) - len(used)},
        brands=tuple(troubled[:MAX_NAMED_BRANDS]),
        lines=_brands_lines(page, used, troubled, now=now),
    )


def _is_unused(brand: Readiness) -> bool:
    return all(dataset.state is State.NOT_CONFIGURED for dataset in brand.datasets)


def _worst_first(brand: Readiness) -> tuple[bool, float, str]:
    ages = [dataset.age_seconds for dataset in brand.datasets if dataset.state != State.FRESH]
    oldest = max((math.inf if age is None else age for age in ages), default=0.0)
    return brand.answer is not Answer.WITHHOLD, -oldest, brand.brand_id


def _brands_lines(
    page: Page, used: Sequence[Readiness], troubled: Sequence[Readiness], *, now: datetime
) -> list[BannerLine]:
    if not used:
        return [BannerLine(Kind.ERROR, _nobody(page))]
    if not troubled:
        return [_all_brands_fresh_line(used, now)]
    kind = Kind.ERROR if len(troubled) == len(used) else Kind.WARNING
    lines = [BannerLine(kind, f"{len(troubled)} of {_brand_count(used)} not ready.")]
    for brand in troubled[:_MAX_BRAND_LINES]:
        worst = banner_lines(brand, now)[0]
        lines.append(BannerLine(worst.kind, f"{brand.brand_id}: {worst.text}"))
    if len(troubled) > _MAX_BRAND_LINES:
        more = len(troubled) - _MAX_BRAND_LINES
        lines.append(BannerLine(Kind.WARNING, f"And {more} more."))
    return lines


def _nobody(page: Page) -> str:
    leading = next((need for need in page.needs if need.withhold), page.needs[0])
    title = DATASETS[leading.dataset].title
    return f"{title} not shown: not configured for any brand."


def _all_brands_fresh_line(used: Sequence[Readiness], now: datetime) -> BannerLine:
    cells = [(dataset, brand.brand_id) for brand in used for dataset in brand.datasets]
    oldest, brand_id = max(cells, key=lambda cell: cell[0].age_seconds or 0)
    return BannerLine(
        Kind.OK,
        f"Data fresh: {_brand_count(used)}; the oldest, {oldest.title} of {brand_id}, "
        f"{_ago(oldest, now)}",
    )


def _brand_count(brands: Sequence[Readiness]) -> str:
    return "1 brand" if len(brands) == 1 else f"{len(brands)} brands"
