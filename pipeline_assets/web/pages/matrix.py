"""The freshness matrix: how much of its allowed age each brand's dataset has used, and exports."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, NamedTuple

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.brands.models import allowed_age
from pipeline_assets.brands.registry import BrandSummary
from pipeline_assets.control.requests import RequestState
from pipeline_assets.control.status import BrandOverview, Cell, read_overview
from pipeline_assets.datasets import DATASETS
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.people.roles import Principal
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import PageViewer, shown
from pipeline_assets.web.pages.csv_lines import answer_csv
from pipeline_assets.web.pages.listing import address, cut_page
from pipeline_assets.web.problems import Problem
from pipeline_assets.web.templating import render

router = APIRouter(dependencies=[Depends(shown("pipeline_manager"))])

PAGE_SIZE = 100
WORST, NAME = "worst", "name"

GROUPS = tuple(dict.fromkeys(dataset.group for dataset in DATASETS.values()))

_JSON_ROWS_AT_ONCE = 200


class Order(StrEnum):
    """The direction of a sort; `desc` has the worst or the last name first."""

    ASC = "asc"
    DESC = "desc"


class Used(NamedTuple):
    """One cell: its state and the share of the allowed age that is used, 1 being too old.

    None where nothing can be too old: never synced, not configured, or without a limit.
    """

    state: State
    ratio: float | None
    last_success_at: datetime | None
    activity: RequestState | None

    @property
    def badness(self) -> float:
        """What sorts cells: the used share; to have no data is as bad as data just too old."""
        if self.state is State.NOT_CONFIGURED:
            return -1
        if self.last_success_at is None:
            return 1
        return self.ratio or 0

    @property
    def percent(self) -> str:
        """The used share, such as `83 %`; empty where there is none."""
        return "" if self.ratio is None else f"{self.ratio * 100:,.0f} %"

    @property
    def word(self) -> str:
        """What stands in the place of the share."""
        if self.state is State.NOT_CONFIGURED:
            return "–"
        return self.state.value if self.last_success_at is None else "no limit"

    @property
    def step(self) -> int:
        """The filled twentieths of its bar."""
        return min(20, round((self.ratio or 0) * 20))


class MatrixRow(NamedTuple):
    """One brand's cells by dataset, those of the chosen columns; `worst` is one of them."""

    brand: BrandSummary
    is_paused: bool
    cells: Mapping[str, Used]

    @property
    def worst(self) -> Used:
        """The cell that needs somebody's attention first."""
        return max(self.cells.values(), key=lambda cell: cell.badness)


class Filters(NamedTuple):
    """What the address asks for."""

    q: str
    group: str
    sort: str
    order: Order | None

    @property
    def keys(self) -> list[str]:
        """The datasets of the chosen group."""
        return [each.key for each in DATASETS.values() if self.group in {"", each.group}]

    @property
    def direction(self) -> Order:
        """The order asked for, or else the one that is of more use."""
        return self.order or (Order.ASC if self.sort == NAME else Order.DESC)


def _filters(
    q: Annotated[str, Query(max_length=200)] = "",
    group: Annotated[str, Query(max_length=50)] = "",
    sort: Annotated[str, Query(max_length=50)] = WORST,
    order: Order | None = None,
) -> Filters:
    """The filters; a column outside the group is no order."""
    filters = Filters(q, group, sort, order)
    if not filters.keys:
        raise Problem(422, f"There is no group {group!r}.", advice=f"Groups: {', '.join(GROUPS)}.")
    if sort not in {WORST, NAME, *DATASETS}:
        known = ", ".join((WORST, NAME, *DATASETS))
        raise Problem(422, f"There is no order {sort!r}.", advice=f"Orders: {known}.")
    return filters if sort in {WORST, NAME, *filters.keys} else filters._replace(sort=WORST)


Asked = Annotated[Filters, Depends(_filters)]


@router.get("/matrix", name="matrix")
def show_matrix(
    request: Request,
    principal: PageViewer,
    web: Web,
    asked: Asked,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    rows: Annotated[str, Query(max_length=20_000)] = "",
) -> Response:
    """The grid, one page of it; `rows` are the brands of a poll, as on Health."""
    now = web.now()
    everything = _read(web, principal, asked, now=now)
    shown_page = cut_page(select(everything, asked), page, PAGE_SIZE)
    if rows:
        by_id = {each.brand.id: each for each in everything}
        kept = [by_id[brand_id] for brand_id in rows.split(",") if brand_id in by_id]
        shown_page = replace(shown_page, items=kept)
    query = address(request, page=None, rows=None).removeprefix(request.url.path)
    return render(
        request,
        "matrix.html",
        now=now,
        pulse=web.background.pulse,
        page=shown_page,
        asked=asked,
        titles={dataset.key: dataset.title for dataset in DATASETS.values()},
        groups=GROUPS,
        has_brands=bool(everything),
        csv_url=f"/matrix.csv{query}",
        json_url=f"/matrix.json{query}",
        poll_url=address(request, rows=",".join(each.brand.id for each in shown_page.items)),
        address=lambda **changes: address(request, **{"rows": None, **changes}),
        sorted_by=lambda column: _sorted_by(request, asked, column),
    )


def _sorted_by(request: Request, asked: Filters, column: str) -> str:
    """The address of the matrix in this column's order, in the other direction if it is already."""
    turned = Order.ASC if asked.direction is Order.DESC else Order.DESC
    order = turned if asked.sort == column else None
    return address(request, sort=None if column == WORST else column, order=order)


@router.get("/matrix.csv", name="matrix_csv")
def matrix_csv(principal: PageViewer, web: Web, asked: Asked) -> StreamingResponse:
    """All brands that match, a line each; used shares in percent."""
    now = web.now()
    found = select(_read(web, principal, asked, now=now), asked)
    header = ["brand_id", "name", "organization_id", "is_paused"]
    for key in asked.keys:
        header += [f"{key}_state", f"{key}_used_pct", f"{key}_last_success_at"]
    return answer_csv(f"{_name(now)}.csv", header, map(_csv_row, found))


def _csv_row(row: MatrixRow) -> list[object]:
    values: list[object] = [row.brand.id, row.brand.name, row.brand.organization_id]
    values.append("yes" if row.is_paused else "no")
    for cell in row.cells.values():
        values += [cell.state.value, _used_pct(cell), _instant(cell.last_success_at)]
    return values


@router.get("/matrix.json", name="matrix_json")
def matrix_json(principal: PageViewer, web: Web, asked: Asked) -> StreamingResponse:
    """All brands that match: `{"checked_at", "brands": [{"brand_id", …, "datasets": {…}}]}`."""
    now = web.now()
    found = select(_read(web, principal, asked, now=now), asked)
    return StreamingResponse(
        _json_pieces(found, now),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{_name(now)}.json"'},
    )


def _json_pieces(found: Sequence[MatrixRow], now: datetime) -> Iterator[bytes]:
    yield b'{"checked_at":%b,"brands":[' % orjson.dumps(_instant(now))
    for start in range(0, len(found), _JSON_ROWS_AT_ONCE):
        piece = found[start : start + _JSON_ROWS_AT_ONCE]
        yield (b"," if start else b"") + b",".join(orjson.dumps(_json_row(row)) for row in piece)
    yield b"]}"


def _json_row(row: MatrixRow) -> dict[str, object]:
    return {
        "brand_id": row.brand.id,
        "name": row.brand.name,
        "organization_id": row.brand.organization_id,
        "is_paused": row.is_paused,
        "datasets": {
            key: {
                "state": cell.state.value,
                "used_pct": _used_pct(cell),
                "last_success_at": _instant(cell.last_success_at),
            }
            for key, cell in row.cells.items()
        },
    }


def _read(web: Context, principal: Principal, asked: Filters, *, now: datetime) -> list[MatrixRow]:
    """Every brand that the principal may see, with the cells of the chosen group."""
    overview = read_overview(web.engine, now=now, organization_ids=principal.organization_ids)
    keys = asked.keys
    return [_row(each, keys, now=now) for each in overview]


def _row(each: BrandOverview, keys: Sequence[str], *, now: datetime) -> MatrixRow:
    cells = {key: _used(each.brand, key, each.cells[key], now=now) for key in keys}
    return MatrixRow(each.brand, each.is_paused, cells)


def _used(brand: BrandSummary, key: str, cell: Cell, *, now: datetime) -> Used:
    allowed = allowed_age(DATASETS[key], brand.windows)
    ratio = None
    if cell.state is not State.NOT_CONFIGURED and cell.last_success_at is not None and allowed:
        ratio = max(0.0, (now - cell.last_success_at) / allowed)
    return Used(cell.state, ratio, cell.last_success_at, cell.activity)


def select(rows: Sequence[MatrixRow], asked: Filters) -> list[MatrixRow]:
    """The rows whose brand matches the search, in the order asked for; those alike by name."""
    search = asked.q.casefold()
    found = [row for row in rows if search in f"{row.brand.id} {row.brand.name}".casefold()]
    is_reversed = asked.direction is Order.DESC
    by_name = sorted(found, key=_name_of, reverse=is_reversed and asked.sort == NAME)
    if asked.sort == NAME:
        return by_name
    return sorted(by_name, key=_badness_by(asked.sort), reverse=is_reversed)


def _name_of(row: MatrixRow) -> tuple[str, str]:
    return row.brand.name.casefold(), row.brand.id


def _badness_by(sort: str) -> Callable[[MatrixRow], tuple[bool, float]]:
    """How bad a row is in this column. Nobody has to act on a paused brand: they come behind."""

    def badness(row: MatrixRow) -> tuple[bool, float]:
        cell = row.worst if sort == WORST else row.cells[sort]
        return not row.is_paused, cell.badness

    return badness


def _used_pct(cell: Used) -> float | None:
    return None if cell.ratio is None else round(cell.ratio * 100, 1)


def _instant(at: datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _name(now: datetime) -> str:
    return f"freshness_{now:%Y-%m-%dT%H%MZ}"
