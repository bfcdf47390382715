"""The registry of requirements: which consumer page needs which datasets, and how young.

Every reader of the catalogue is a page; an installation's pages file adds its own, or replaces one
by its name. Judging a page is in `readiness.py`.
"""

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline_assets.datasets import DATASETS, Reader
from pipeline_assets.errors import InvalidConfigError


@dataclass(frozen=True, kw_only=True)
class Need:
    """One dataset that a page reads. `max_age` None: as old as the brand's own window allows.

    `withhold`: without usable data of it the page must show nothing; else it shows the rest.
    """

    dataset: str
    max_age: timedelta | None = None
    withhold: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """One consumer page. The first need is the one that a banner names first.

    `across_brands` pages belong to no brand: they ask about all at once. `action` is what to do
    when its data is too old, in place of the usual advice to sync it.
    """

    name: str
    title: str
    needs: tuple[Need, ...]
    across_brands: bool = False
    action: str = ""


_LEADING = {
    Reader.AD_PERFORMANCE: "meta_ads_performance",
    Reader.BRAND_RESEARCH: "ad_assets",
    Reader.HOOK_ANALYSIS: "ad_classifications",
    Reader.CONGRUENCE_INSIGHTS: "congruence_analysis",
    Reader.TEMPLATE_QUEUE: "template_approvals",
    Reader.TEMPLATE_EVALUATION: "templates_scraped",
    Reader.CREATIONS_REVIEW: "ad_creations",
    Reader.COMPETITOR_RESEARCH: "competitor_ads",
    Reader.REDDIT_RESEARCH: "reddit_posts",
    Reader.AMAZON_REVIEWS: "amazon_reviews",
}
"""The dataset that each page is about: its figures are withheld without it."""

_ACROSS_BRANDS = {Reader.TEMPLATE_QUEUE}


def _built_in(reader: Reader) -> Page:
    """A reader's page; what it is not about, it does without."""
    leading = _LEADING[reader]
    others = [
        dataset.key
        for dataset in DATASETS.values()
        if reader in dataset.readers and dataset.key != leading
    ]
    return Page(
        name=reader.value,
        title=reader.value.replace("_", " ").capitalize(),
        needs=(Need(dataset=leading, withhold=True), *(Need(dataset=key) for key in others)),
        across_brands=reader in _ACROSS_BRANDS,
    )


PAGES: Mapping[str, Page] = {reader.value: _built_in(reader) for reader in Reader}
"""The page of every reader, by its name."""


def load_pages(file: Path | None) -> Mapping[str, Page]:
    """Every page by its name: the readers', and those of the installation's pages file.

    Raises:
        InvalidConfigError: the file cannot be read; one sentence with the place and what is wrong.
    """
    if file is None:
        return PAGES
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        entries = _PagesFile.model_validate(content).pages
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"])) or "the whole"
        reason = problem["msg"].removeprefix("Value error, ")
        raise InvalidConfigError(
            f"The pages file {file}: {place}: {reason[0].lower()}{reason[1:]}.", advice=_EXAMPLE
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidConfigError(f"The pages file {file} cannot be read: {reason}.") from error
    return {**PAGES, **{entry.name: entry.as_page() for entry in entries}}


def find_page(pages: Mapping[str, Page], name: str) -> Page:
    """The page of this name.

    Raises:
        InvalidConfigError: there is none.
    """
    if name in pages:
        return pages[name]
    close = difflib.get_close_matches(name, pages, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise InvalidConfigError(
        f"There is no page {name[:100]!r}.", advice=f"{hint}Pages are {', '.join(pages)}."
    )


_EXAMPLE = (
    "A page is written like {name: weekly_report, title: Weekly report, "
    "needs: [{dataset: meta_ads_performance, max_age_hours: 6, withhold: true}]}."
)


_T = TypeVar("_T")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _check_dataset(key: str) -> str:
    if key not in DATASETS:
        close = difflib.get_close_matches(key, DATASETS, n=1)
        hint = f"; did you mean {close[0]}" if close else f"; datasets are {', '.join(DATASETS)}"
        raise ValueError(f"there is no dataset {key[:100]!r}{hint}")
    return key


class _NeedEntry(_Entry):
    dataset: Annotated[str, AfterValidator(_check_dataset)]
    max_age_hours: Annotated[float, Field(gt=0, le=24 * 366, allow_inf_nan=False)] | None = None
    withhold: bool = False

    def as_need(self) -> Need:
        hours = self.max_age_hours
        max_age = timedelta(hours=hours) if hours is not None else None
        return Need(dataset=self.dataset, max_age=max_age, withhold=self.withhold)


def _check_distinct_datasets(needs: tuple[_NeedEntry, ...]) -> tuple[_NeedEntry, ...]:
    return _distinct(needs, [need.dataset for need in needs])


class _PageEntry(_Entry):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    needs: Annotated[
        tuple[_NeedEntry, ...], Field(min_length=1), AfterValidator(_check_distinct_datasets)
    ]
    across_brands: bool = False
    action: Annotated[str, Field(max_length=500)] = ""

    def as_page(self) -> Page:
        return Page(
            name=self.name,
            title=self.title,
            needs=tuple(need.as_need() for need in self.needs),
            across_brands=self.across_brands,
            action=self.action,
        )


def _check_distinct_pages(pages: tuple[_PageEntry, ...]) -> tuple[_PageEntry, ...]:
    return _distinct(pages, [page.name for page in pages])


class _PagesFile(_Entry):
    pages: Annotated[tuple[_PageEntry, ...], AfterValidator(_check_distinct_pages)]


def _distinct(entries: tuple[_T, ...], names: list[str]) -> tuple[_T, ...]:
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        raise ValueError(f"named more than once: {', '.join(doubled)}")
    return entries
