"""What all reader pages share: a brand's rows of one dataset with banner, filters, table and CSV.

A page declares a `ReaderPage`, takes the `View` that it opens for a request, and renders a template
that extends `reader_page.html`. Belongs here: what the address asks for, when figures are withheld,
polls, and the pages of rows. Does not: what one page alone shows, which is plain code in its own
module.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from pipeline_assets.brands.models import Brand
from pipeline_assets.control.readiness import etag_of, read_readiness
from pipeline_assets.datasets import Reader, home_job
from pipeline_assets.freshness.readiness import BrandsReadiness, DatasetReadiness, Readiness
from pipeline_assets.people.features import is_hidden
from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.schemas import TableSchema
from pipeline_assets.storage.json_lists import Held, holds
from pipeline_assets.storage.listing import (
    Beside,
    Listing,
    Selection,
    count_held,
    count_values,
    iterate_listing,
    read_listing,
)
from pipeline_assets.web.background import Pulse
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import Anybody, PageViewer, ViewedBrand
from pipeline_assets.web.pages.csv_lines import answer_csv, csv_cell
from pipeline_assets.web.pages.listing import address
from pipeline_assets.web.pages.schedules import jobs_with
from pipeline_assets.web.problems import Problem, not_found
from pipeline_assets.web.templating import render

PAGE_SIZE = 50
NOTHING = "(none)"
"""How the address writes that a choice's column has no value."""

_MAX_TEXT = 200

Text = Annotated[
    str, StringConstraints(max_length=_MAX_TEXT, strip_whitespace=True, pattern=r"^[^\x00]*$")
]


class Asked(BaseModel):
    """What every reader page's address may ask for; an empty parameter is as if not there."""

    model_config = ConfigDict(frozen=True)

    q: Text = ""
    sort: Text = ""
    order: Literal["", "asc", "desc"] = ""
    page: Annotated[int, Field(ge=1, le=100_000)] = 1
    seen: Text = ""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""}


def _read_asked(asked: Annotated[Asked, Query()]) -> Asked:
    return asked  # in a dependency of its own: a route may have parameters of its own beside it


AskedQuery = Annotated[Asked, Depends(_read_asked)]


def shown_brand(reader: Reader) -> Callable[..., Brand]:
    """A route's dependency: the brand, unless its organization does not use this page."""

    def find(brand: ViewedBrand, web: Web) -> Brand:
        if is_hidden(web.engine, brand.organization_id, reader):
            raise not_found("such page")
        return brand

    return find


def page_tag(readiness: Readiness | BrandsReadiness, pulse: Pulse, of_page: str = "") -> str:
    """Changes with the banner's words and the machinery's trouble, and so with every sync."""
    shown = f"{etag_of(readiness)} {pulse.is_daemon_alive} {pulse.trouble} {of_page}"
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class ReaderPage:
    """A reader's page as it is declared.

    Its table shows rows of `schema`, the dataset that they are withheld with; `where` holds for all
    of them. `columns` are what the rows hold (None: all); `besides` adds what other datasets know
    of them, by the dataset that it comes from: all None where that is withheld. `choices` are the
    columns that can be filtered by, with their labels; those in `held` are no columns but what a
    column's JSON lists hold. Rows can be sorted by `sortable`; `sort` is the order at first. `csv`
    are the CSV's columns (empty: all that the rows hold).
    """

    reader: Reader
    schema: TableSchema
    sort: str
    is_descending: bool = True
    columns: tuple[str, ...] | None = None
    besides: Mapping[str, Beside] = field(default_factory=dict)
    where: tuple[sa.ColumnElement[bool], ...] = ()
    sortable: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    choices: Mapping[str, str]
    held: Mapping[str, Held] = field(default_factory=dict)
    csv: tuple[str, ...] = ()
    item: str = "row"
    """What people call one row."""
    items: str = ""
    """What they call several, unless it is `item` with an s."""

    def open(
        self,
        request: Request,
        web: Web,
        brand: ViewedBrand,
        principal: PageViewer,
        asked: AskedQuery,
    ) -> "View":
        """The page as somebody asks for it: a route's dependency.

        Raises:
            Problem: 404, it is hidden; 422, the address means nothing.
        """
        return self._view(request, web, brand, principal, asked)

    def open_csv(
        self, request: Request, web: Web, brand: ViewedBrand, principal: Anybody, asked: AskedQuery
    ) -> "View":
        """The same for the CSV, which programs may ask for too.

        Raises:
            Problem: as `open` does.
        """
        return self._view(request, web, brand, principal, asked)

    def _view(
        self, request: Request, web: Context, brand: Brand, principal: Principal, asked: Asked
    ) -> "View":
        shown_brand(self.reader)(brand, web)
        if asked.sort not in {"", self.sort, *self.sortable}:
            raise Problem(
                422,
                f"Rows cannot be sorted by {asked.sort}.",
                advice=f"They can by {', '.join(self.sortable)}.",
            )
        now = web.now()
        return View(
            page=self,
            request=request,
            web=web,
            brand=brand,
            principal=principal,
            asked=asked,
            chosen=_chosen(request, self),
            readiness=read_readiness(web.engine, brand.id, web.pages[self.reader], now=now),
            now=now,
        )


def _chosen(request: Request, page: ReaderPage) -> dict[str, str]:
    chosen = {}
    for name in page.choices:
        value = request.query_params.get(name, "").strip()
        if len(value) > _MAX_TEXT:
            raise Problem(422, f"{name} cannot be used: it has more than {_MAX_TEXT} characters.")
        if value:
            chosen[name] = value
    return chosen


@dataclass(frozen=True)
class Option:
    """A value that a filter offers: as the address writes it, for people, in how many rows."""

    value: str
    label: str
    count: int
    is_chosen: bool


@dataclass(frozen=True)
class Filter:
    """A column to filter by, with the values that the rows have which the other filters find."""

    name: str
    label: str
    options: Sequence[Option]


@dataclass(frozen=True, kw_only=True)
class View:
    """A reader page of a brand for one request. What is read is read once, when it is asked for."""

    page: ReaderPage
    request: Request
    web: Context
    brand: Brand
    principal: Principal
    asked: Asked
    chosen: Mapping[str, str]
    readiness: Readiness
    now: datetime

    # --- readiness

    def of(self, dataset: str) -> DatasetReadiness | None:
        """How a dataset stands; None when the page's requirement does not name it."""
        return next((each for each in self.readiness.datasets if each.dataset == dataset), None)

    def withholds(self, dataset: str) -> bool:
        """Whether what rests on this dataset must not be shown."""
        found = self.of(dataset)
        return found is not None and found.withholds

    @property
    def dataset(self) -> str:
        """The dataset whose rows are in the table."""
        return self.page.schema.name

    @property
    def is_withheld(self) -> bool:
        """Whether the table must not be shown."""
        return self.withholds(self.dataset)

    @property
    def sync_jobs(self) -> list[str]:
        """The jobs that bring the page's datasets up to date, if the asker may start them."""
        if not self.principal.may(Role.OPERATOR, self.brand.organization_id):
            return []
        runnable = jobs_with(self.brand.sources.configured)
        needed = (home_job(each.dataset).name for each in self.readiness.datasets)
        return [job for job in dict.fromkeys(needed) if job in runnable]

    # --- what the address asks for

    def address(self, **changes: Any) -> str:
        """The page's address with some of its parameters changed; None leaves one out."""
        return address(self.request, **{"seen": None, **changes})

    @property
    def sort(self) -> str:
        """The column that the rows are sorted by."""
        return self.asked.sort or self.page.sort

    @property
    def is_descending(self) -> bool:
        """Whether they are so from the highest down."""
        if self.asked.order:
            return self.asked.order == "desc"
        return self.page.is_descending if self.sort == self.page.sort else True

    def sorted_by(self, column: str) -> str:
        """The address of the rows by this column; a second click turns them round."""
        turned = "asc" if column == self.sort and self.is_descending else "desc"
        return self.address(sort=column, order=turned)

    @property
    def is_filtered(self) -> bool:
        """Whether a filter or a search leaves rows out."""
        return bool(self.asked.q or self.chosen)

    @property
    def clear_url(self) -> str:
        """The address without filters and search."""
        return self.address(q=None, **dict.fromkeys(self.page.choices))

    @property
    def csv_url(self) -> str:
        """The address of the same rows as CSV."""
        path = self.request.url.path
        return f"{path}.csv{self.address(page=None).removeprefix(path)}"

    @property
    def kept(self) -> Mapping[str, str]:
        """The parameters that the form of the filters has to keep."""
        mine = {"q", "page", "seen", *self.page.choices}
        return {name: v for name, v in self.request.query_params.items() if name not in mine and v}

    # --- rows

    def selection(self, *, without: str = "") -> Selection:
        """The rows that filters and search find; without one of the filters, if it is named.

        Raises:
            Problem: 422, a filter's value cannot be one of its column's.
        """
        found = Selection(
            schema=self.page.schema,
            brand_id=self.brand.id,
            columns=self.page.columns,
            besides=self._besides,
            text=self.asked.q,
            searched=self.page.searched,
            sort=self.sort,
            is_descending=self.is_descending,
        )
        chosen = {name: value for name, value in self.chosen.items() if name != without}
        where = [self._is(found, name, value) for name, value in chosen.items()]
        return replace(found, where=(*self.page.where, *where))

    def _is(self, selection: Selection, name: str, written: str) -> sa.ColumnElement[bool]:
        held = self.page.held.get(name)
        if held:
            text = None if written == NOTHING else written
            return holds(selection.column(held.column), text, held.key)
        return _is(selection.column(name), name, written)

    @property
    def _besides(self) -> tuple[Beside, ...]:
        return tuple(
            replace(beside, is_withheld=self.withholds(dataset))
            for dataset, beside in self.page.besides.items()
        )

    @cached_property
    def listing(self) -> Listing:
        """The rows of the page that is asked for."""
        offset = (self.asked.page - 1) * PAGE_SIZE
        return read_listing(self.web.engine, self.selection(), limit=PAGE_SIZE, offset=offset)

    @property
    def page_count(self) -> int:
        """On how many pages the found rows are."""
        return max(1, -(-self.listing.total // PAGE_SIZE))

    @cached_property
    def has_rows(self) -> bool:
        """Whether the brand has any row, whatever the filters say."""
        if self.listing.total or not self.is_filtered:
            return self.listing.total > 0
        unfiltered = replace(self.selection(), where=self.page.where, text="")
        return read_listing(self.web.engine, unfiltered, limit=1).total > 0

    @cached_property
    def filters(self) -> Sequence[Filter]:
        """What the rows can be filtered by."""
        return [self._filter(name, label) for name, label in self.page.choices.items()]

    def _filter(self, name: str, label: str) -> Filter:
        engine, others = self.web.engine, self.selection(without=name)
        held = self.page.held.get(name)
        counts = count_held(engine, others, held) if held else count_values(engine, others, name)
        written = {_written(value): count for value, count in counts.items()}
        chosen = self.chosen.get(name, "")
        if chosen:
            written.setdefault(chosen, 0)
        return Filter(
            name,
            label,
            [
                Option(value, words(value), count, value == chosen)
                for value, count in written.items()
            ],
        )

    # --- answers

    def tag(self, state: str = "") -> str:
        """What a poll is told apart by; `state` is what else the page shows may depend on."""
        return page_tag(self.readiness, self.web.background.pulse, state)

    def is_seen(self, state: str = "") -> bool:
        """Whether a poll that has seen what stands there asks again: answer it `unchanged()`."""
        return self.asked.seen == self.tag(state)

    @staticmethod
    def unchanged() -> Response:
        """The answer to a poll that leaves everything as it is."""
        return Response(status_code=204)

    def render(self, template: str, *, state: str = "", **values: Any) -> Response:
        """The page by its template, which has the view as `view`, with `values` beside it.

        For a poll that has seen it, nothing; `values` that cost much are best made after asking
        `is_seen`.
        """
        if self.is_seen(state):
            return self.unchanged()
        page = self.asked.page
        return render(
            self.request,
            template,
            now=self.now,
            view=self,
            brand=self.brand,
            readiness=self.readiness,
            pulse=self.web.background.pulse,
            poll_url=self.address(seen=self.tag(state), page=page if page > 1 else None),
            words=words,
            **values,
        )

    def answer_csv(self) -> StreamingResponse:
        """All rows that the filters find, in the page's order.

        Raises:
            Problem: 409, they are withheld.
        """
        if self.is_withheld:
            raise Problem(
                409,
                f"The figures of {self.brand.id} are not shown: the data is not fresh enough.",
                advice="The page tells why, and what to do.",
            )
        columns = self._csv_columns
        rows = iterate_listing(self.web.engine, self.selection())
        place = self.request.url.path.rpartition(f"/brands/{self.brand.id}/")[2]
        name = f"{place.removesuffix('.csv').replace('/', '-')}_{self.brand.id}.csv"
        return answer_csv(
            name, columns, ([csv_cell(row[each]) for each in columns] for row in rows)
        )

    @property
    def _csv_columns(self) -> Sequence[str]:
        own = self.page.columns or self.page.schema.column_names
        beside = (name for each in self.page.besides.values() for name in each.columns)
        return self.page.csv or (*(name for name in own if name != "brand_id"), *beside)


def words(value: Any) -> str:
    """A value of a closed vocabulary for people."""
    return str(value).replace("_", " ")


def _written(value: Any) -> str:
    """A column's value as the address writes it."""
    if value is None:
        return NOTHING
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _is(column: sa.ColumnElement[Any], name: str, written: str) -> sa.ColumnElement[bool]:
    if written == NOTHING:
        return column.is_(None)
    if isinstance(column.type, sa.Boolean):
        if written not in {"yes", "no"}:
            raise Problem(422, f"{name} cannot be used: it is yes or no.")
        return column.is_(written == "yes")
    if isinstance(column.type, sa.Integer):
        if not written.isascii() or not written.isdigit() or len(written) > 15:
            raise Problem(422, f"{name} cannot be used: it is a whole number.")
        return column == int(written)
    return column == written
