"""The page "Hook analysis" of a brand: which hooks, angles and formats work, and each creative.

What creatives are tagged with is of `ad_classifications`; what came of them, of the scorecard. A
picture that several creatives show has one scorecard row: its figures stand at the one creative
that the scorecard names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator

from pipeline_assets.datasets import Reader
from pipeline_assets.schemas import AD_CLASSIFICATIONS
from pipeline_assets.storage.listing import BRAND, Beside, read_groups
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.web.pages.reader_page import ReaderPage, Text, View

router = APIRouter()

UNKNOWN = "unknown"
DIMENSIONS = {
    "hook_type": "Hook",
    "messaging_angle": "Angle",
    "visual_format": "Format",
    "asset_type": "Asset",
    "awareness_stage": "Awareness",
    "emotion": "Emotion",
    "offer_type": "Offer",
    "cta": "Asks for",
    "funnel_stage": "Funnel",
    "media_type": "Media",
}
"""The tag columns and what people call them."""

FIGURES = ("spend", "roas", "hook_rate", "hold_rate", "link_ctr", "cvr")
_OF_SCORE = ("currency", "label", "label_reason", "purchase_value", "impressions", *FIGURES)


def _creatives() -> Beside:
    """The names and texts of each creative's ads; the first by the alphabet where they differ."""
    ads = DATASET_TABLES["meta_ad_creatives"].c
    texts = {"ad_name": ads.ad_name, "headline": ads.title, "primary_text": ads.body}
    rows = (
        sa.select(ads.creative_id, *(sa.func.min(each).label(n) for n, each in texts.items()))
        .where(ads.brand_id == BRAND)
        .group_by(ads.creative_id)
        .subquery("creatives")
    )
    return Beside(rows=rows, on=("creative_id",), columns={name: name for name in texts})


def _scores() -> Beside:
    """Each creative's row of the scorecard; the one with the most spend, should it have two."""
    scores = DATASET_TABLES["scorecard"].c
    place = sa.func.row_number().over(
        partition_by=scores.creative_id,
        order_by=(scores.spend.desc().nulls_last(), scores.creative_key, scores.currency),
    )
    names = ("creative_id", *_OF_SCORE)
    numbered = (
        sa.select(*(scores[name] for name in names), place.label("place"))
        .where(scores.brand_id == BRAND)
        .subquery("numbered")
    ).c
    # Of each single row; without the grouping SQLite would go through all of them for each of ours.
    rows = (
        sa.select(numbered.creative_id, *(sa.func.min(numbered[n]).label(n) for n in _OF_SCORE))
        .where(numbered.place == 1)
        .group_by(numbered.creative_id)
        .subquery("scores")
    )
    return Beside(rows=rows, on=("creative_id",), columns={name: name for name in _OF_SCORE})


PAGE = ReaderPage(
    reader=Reader.HOOK_ANALYSIS,
    schema=AD_CLASSIFICATIONS,
    item="creative",
    sort="spend",
    sortable=(*FIGURES, "ad_name", "hook_type", "messaging_angle", "visual_format", "label"),
    columns=("creative_id", *DIMENSIONS, "tags", "classifier", "fallback_reason"),
    besides={
        "meta_ad_creatives": _creatives(),
        "ad_thumbnails": Beside(
            rows=DATASET_TABLES["ad_thumbnails"],
            on=("creative_id",),
            columns={"thumbnail_sha256": "sha256"},
        ),
        "scorecard": _scores(),
    },
    searched=("creative_id", "ad_name", "headline", "primary_text"),
    choices={**DIMENSIONS, "label": "Result"},
    csv=(
        *("creative_id", "ad_name", "headline", "primary_text", *DIMENSIONS, "tags", "classifier"),
        *("currency", "label", "label_reason", *FIGURES),
    ),
)


def _check_dimension(name: str) -> str:
    if name not in DIMENSIONS:
        raise ValueError(f"creatives are compared by {', '.join(DIMENSIONS)}")
    return name


Dimension = Annotated[str, AfterValidator(_check_dimension)]
Measure = Literal["spend", "hook_rate", "roas"]


@router.get("/brands/{brand}/hook-analysis", name="hook_analysis")
def hook_analysis(
    view: Annotated[View, Depends(PAGE.open)],
    by: Dimension = "hook_type",
    measure: Measure = "spend",
    currency: Text = "",
) -> Response:
    """The page: bars by one dimension, hooks by angles, and the creatives."""
    if view.is_seen() or view.is_withheld:
        return view.render("hook_analysis.html")
    bars = _read_groups(view, (by,))
    currencies = _by_spend(bars)
    shown = currency if currency in currencies else next(iter(currencies), None)
    cells = _read_groups(view, ("hook_type", "messaging_angle"))
    return view.render(
        "hook_analysis.html",
        by=by,
        measure=measure,
        currency=shown,
        currencies=list(currencies),
        dimensions=DIMENSIONS,
        figures=_in_currency(bars, (by,), shown),
        matrix=Matrix.of(_in_currency(cells, ("hook_type", "messaging_angle"), shown), measure),
    )


@router.get("/brands/{brand}/hook-analysis.csv", name="hook_analysis_csv")
def hook_analysis_csv(view: Annotated[View, Depends(PAGE.open_csv)]) -> StreamingResponse:
    """The creatives that the filters find, with tags and figures."""
    return view.answer_csv()


@dataclass(frozen=True, kw_only=True)
class Group:
    """Creatives that are tagged alike, and their figures in one currency.

    `spend_share` is of all shown groups' spend. Rates are those of all impressions together.
    """

    values: tuple[str, ...]
    creative_count: int
    spend: Decimal | None
    spend_share: float | None
    roas: float | None
    hook_rate: float | None
    winner_count: int
    loser_count: int


def _read_groups(view: View, by: Sequence[str]) -> list[Mapping[str, Any]]:
    """The sums of the creatives that the filters find, by tags and currency (None: no figures)."""
    selection = view.selection()
    column = selection.column
    has_hook = column("hook_rate").is_not(None)
    hooked = column("hook_rate") * column("impressions")

    figures: dict[str, sa.ColumnElement[Any]] = {
        "creative_count": sa.func.count(),
        "spend": sa.func.sum(column("spend")),
        "purchase_value": sa.func.sum(column("purchase_value")),
        "hooked": sa.func.sum(hooked),
        "hookable": sa.func.sum(sa.case((has_hook, column("impressions")))),
        "winner_count": sa.func.count().filter(column("label") == "winner"),
        "loser_count": sa.func.count().filter(column("label") == "loser"),
    }
    return read_groups(view.web.engine, selection, by=(*by, "currency"), figures=figures)


def _by_spend(groups: Sequence[Mapping[str, Any]]) -> dict[str, Decimal]:
    """The currencies that have figures, the one with the most spend first."""
    spend: dict[str, Decimal] = {}
    for group in groups:
        if group["currency"] is not None:
            before = spend.get(group["currency"], Decimal(0))
            spend[group["currency"]] = before + (group["spend"] or 0)
    return dict(sorted(spend.items(), key=lambda item: (-item[1], item[0])))


def _in_currency(
    groups: Sequence[Mapping[str, Any]], by: Sequence[str], currency: str | None
) -> list[Group]:
    """A group for each tag, with the figures of this currency, the highest spend first."""
    counts: dict[tuple[str, ...], int] = {}
    sums: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for group in groups:
        values = tuple(group[name] for name in by)
        counts[values] = counts.get(values, 0) + group["creative_count"]
        if currency is not None and group["currency"] == currency:
            sums[values] = group
    spend = sum((each["spend"] or Decimal(0) for each in sums.values()), Decimal(0))
    found = [_group(values, count, sums.get(values, {}), spend) for values, count in counts.items()]
    return sorted(found, key=lambda each: (-(each.spend or 0), -each.creative_count, each.values))


def _group(
    values: tuple[str, ...], count: int, sums: Mapping[str, Any], all_spend: Decimal
) -> Group:
    spend = sums.get("spend")
    return Group(
        values=values,
        creative_count=count,
        spend=spend,
        spend_share=_ratio(spend, all_spend),
        roas=_ratio(sums.get("purchase_value"), spend),
        hook_rate=_ratio(sums.get("hooked"), sums.get("hookable")),
        winner_count=sums.get("winner_count", 0),
        loser_count=sums.get("loser_count", 0),
    )


def _ratio(part: Any, whole: Any) -> float | None:
    return None if part is None or not whole else float(part) / float(whole)


@dataclass(frozen=True)
class Matrix:
    """Hooks by angles: the groups by (hook, angle), and the level of each one's figure.

    Levels are 0 (nothing) to 5 (the highest); a cell without a figure has none.
    """

    hooks: Sequence[str]
    angles: Sequence[str]
    cells: Mapping[tuple[str, ...], Group]
    levels: Mapping[tuple[str, ...], int]

    @classmethod
    def of(cls, groups: Sequence[Group], measure: Measure) -> "Matrix":
        """Hooks and angles in the order of their first group, what is unknown last."""
        figures = {each.values: getattr(each, measure) for each in groups}
        highest = max((value for value in figures.values() if value is not None), default=None)
        levels = {
            values: round(float(value) / float(highest) * 5)
            for values, value in figures.items()
            if value is not None and highest
        }
        return cls(
            hooks=_distinct(each.values[0] for each in groups),
            angles=_distinct(each.values[1] for each in groups),
            cells={each.values: each for each in groups},
            levels=levels,
        )


def _distinct(values: Any) -> list[str]:
    return sorted(dict.fromkeys(values), key=lambda value: value == UNKNOWN)
