"""Judges each ad against the page it leads to: message, offer, visual, tone, and how it turns out.

Belongs here: frames in and out, the total with its cap, what makes a judgement stale, the outcome
in clicks and purchases. Does not: the comparisons (`congruence_scores.py`,
`congruence_offers.py`), fetching or storing.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from pipeline_assets.analysis.congruence_offers import score_offer
from pipeline_assets.analysis.congruence_scores import (
    AdText,
    NoPicture,
    PageText,
    Score,
    find_other_product,
    read_page_text,
    score_message,
    score_tone,
    score_visual,
)
from pipeline_assets.analysis.congruence_texts import stems_of, words_of
from pipeline_assets.analysis.offers import Amount
from pipeline_assets.analysis.picture_sketches import Sketch

JUDGE = "rules"
JUDGE_VERSION = "1.1.0"
"""Changes with the rules, their words and weights."""

AD_COLUMNS = (
    "ad_id",
    "url",
    "ad_account_id",
    "creative_id",
    "ad_name",
    "title",
    "body",
    "titles",
    "bodies",
    "picture_sha256",
)
AD_FACTS = AD_COLUMNS[2:5]
"""What a row says of its ad that no score rests on."""

PAGE_COLUMNS = (
    "url",
    "state",
    "status_code",
    "redirect_count",
    "language",
    "title",
    "h1",
    "hero_text",
    "description",
    "price",
    "currency",
    "discount",
    "product_names",
    "main_text",
    "picture_key",
)
FIGURE_COLUMNS = ("ad_id", "impressions", "inline_link_clicks", "purchases")
OUTPUT_COLUMNS = (
    "ad_id",
    "url",
    "ad_account_id",
    "creative_id",
    "ad_name",
    "page_state",
    "message",
    "offer",
    "visual",
    "tone",
    "total",
    "is_capped",
    "mismatches",
    "evidence",
    "confidence",
    "link_ctr",
    "cvr",
    "outcome",
    "judge",
    "judge_version",
    "input_hash",
)

WEIGHTS = {"message": 0.4, "offer": 0.3, "visual": 0.15, "tone": 0.15}
CAP = 6.0
"""The most that an ad with a severe mismatch can have (AdAlign's rule)."""

JUDGED_STATE = "ok"
NOT_READ = "not_read"
"""The state of a page that `landing_pages` does not hold yet."""

_READ_TEXTS = 5  # of each kind; the most that Meta's asset feeds take
_READ_CHARACTERS = 3_000  # of each text of an ad
_FEW_REDIRECTS = 2
_REDIRECT_LOSS = 0.5  # of the total: slower, and a parameter may be lost on the way

_FEWEST_IMPRESSIONS = 1_000
_FEWEST_CLICKS = 50
_FEWEST_ADS = 5  # for a median that means something
_FEWEST_EXPECTED = 8  # at the median's rate; then 60 % of it or less is chance 1 time in 10
_LOW_RATIO = 0.6


class Outcome(StrEnum):
    """What clicks and purchases say of the way from ad to purchase."""

    PAGE_SUSPECT = "page_suspect"
    """Many click, few buy: the page does not keep what the ad promised."""
    AD_SUSPECT = "ad_suspect"
    """Few click, but those buy."""
    FINE = "fine"
    WEAK = "weak"
    TOO_LITTLE_DATA = "too_little_data"


@dataclass(frozen=True, kw_only=True)
class _Page:
    """A row of `landing_pages`; `hash` is of all that is compared of it but its picture."""

    row: Mapping[str, Any]
    hash: str

    @property
    def state(self) -> str:
        """As the row says."""
        return _text(self.row["state"])


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """An ad and its page; `named`: products of any of the brand's pages that the ad names."""

    ad: Mapping[str, Any]
    headlines: tuple[str, ...]
    bodies: tuple[str, ...]
    page: _Page
    named: tuple[str, ...]

    @property
    def pictures(self) -> tuple[str, str] | None:
        """The names of the ad's and the page's picture, when there are both."""
        names = _text(self.ad["picture_sha256"]), _text(self.page.row["picture_key"])
        return names if all(names) and self.page.state == JUDGED_STATE else None

    def input_hash(self, *, with_pictures: bool) -> str:
        """Of everything that is compared."""
        pictures = self.pictures if with_pictures else None
        return _sha256([self.headlines, self.bodies, self.named, self.page.hash, pictures])


def judge(
    ads: pd.DataFrame,
    pages: pd.DataFrame,
    figures: pd.DataFrame,
    *,
    pictures: Mapping[str, Sketch | NoPicture] | None = None,
) -> pd.DataFrame:
    """A row per ad and url with OUTPUT_COLUMNS, in the order of `ads`.

    `ads` has AD_COLUMNS, a row per ad and destination; `pages` has PAGE_COLUMNS, rows of
    `landing_pages`: all of the brand's, as they tell its products; `figures` has FIGURE_COLUMNS,
    sums of the last 28 days, a row per ad: all of the brand's, as their medians are what each is
    compared with. `picture_sha256` names the ad's picture, `picture_key` the page's, whatever the
    address it is fetched from; `pictures` are their sketches by these names, or why there are none.

    Scores are 0-10, or None where there is nothing to judge by; only pages in state `ok` are
    judged. Of several headlines and texts the ones count that fit the page best. `total` is the
    weighted mean (WEIGHTS) of what could be judged, `confidence` the share of the weights judged.
    The same rows give the same result, whatever was judged before.

    Raises: ValueError when a column is missing, TypeError when a list column holds a text.
    """
    outcomes = judge_outcomes(figures)
    by_page: dict[str, list[tuple[int, _Pair]]] = defaultdict(list)
    for number, pair in enumerate(_pairs(ads, pages)):
        by_page[pair.ad["url"]].append((number, pair))
    rows: dict[int, dict[str, Any]] = {}
    for pairs in by_page.values():  # what is read of a page is kept no longer than its ads need it
        page = pairs[0][1].page
        text = _read_page_text(page.row) if page.state == JUDGED_STATE else None
        for number, pair in pairs:
            outcome = outcomes.get(pair.ad["ad_id"], NO_OUTCOME)
            rows[number] = {**_judged(pair, text, pictures or {}), **outcome}
    return pd.DataFrame(
        [rows[number] for number in sorted(rows)],
        columns=list(OUTPUT_COLUMNS),
        dtype="object",  # None stays None
    )


def input_hashes(ads: pd.DataFrame, pages: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The `input_hash` that `judge` writes, by (ad_id, url), without judging.

    It changes exactly when something that is compared changes. Pictures count as if it were known
    what they are: a row judged without them has another hash, and so is judged again, unless it is
    final that there is none.

    Raises: as `judge`.
    """
    return {
        (pair.ad["ad_id"], pair.ad["url"]): pair.input_hash(with_pictures=True)
        for pair in _pairs(ads, pages)
    }


NO_OUTCOME: Mapping[str, Any] = {
    "link_ctr": None,
    "cvr": None,
    "outcome": str(Outcome.TOO_LITTLE_DATA),
}
"""The outcome of an ad without figures."""


def judge_outcomes(figures: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Per ad_id `link_ctr`, `cvr` and `outcome`, measured by the medians of all ads given.

    Medians are of ads with at least 1,000 impressions and 50 link clicks, five of them. An ad is
    judged when as many clicks and purchases can be expected of it, at the medians' rates, that
    chance alone does not explain a low figure (60 % of the median).

    Raises: ValueError when a column is missing.
    """
    _check_columns(figures, FIGURE_COLUMNS, "figures")
    rows = figures.groupby("ad_id", sort=False)[list(FIGURE_COLUMNS[1:])].sum()
    impressions, clicks, purchases = (rows[name].astype(float) for name in FIGURE_COLUMNS[1:])
    ctr = clicks / impressions.where(impressions > 0)
    cvr = purchases / clicks.where(clicks > 0)
    is_sample = (impressions >= _FEWEST_IMPRESSIONS) & (clicks >= _FEWEST_CLICKS)
    enough = int(is_sample.sum()) >= _FEWEST_ADS
    usual_ctr = float(ctr[is_sample].median()) if enough else 0.0
    usual_cvr = float(cvr[is_sample].median()) if enough else 0.0
    is_judged = (impressions * usual_ctr >= _FEWEST_EXPECTED) & (
        clicks * usual_cvr >= _FEWEST_EXPECTED
    )
    return {
        str(ad_id): {
            "link_ctr": _number(ctr[ad_id]),
            "cvr": _number(cvr[ad_id]),
            "outcome": str(
                _outcome(ctr[ad_id] / usual_ctr, cvr[ad_id] / usual_cvr)
                if is_judged[ad_id]
                else Outcome.TOO_LITTLE_DATA
            ),
        }
        for ad_id in rows.index
    }


def _outcome(ctr_ratio: float, cvr_ratio: float) -> Outcome:
    """`ratio`: the ad's figure / the brand's median."""
    if ctr_ratio >= 1 and cvr_ratio < _LOW_RATIO:
        return Outcome.PAGE_SUSPECT
    if ctr_ratio < _LOW_RATIO and cvr_ratio >= 1:
        return Outcome.AD_SUSPECT
    return Outcome.WEAK if min(ctr_ratio, cvr_ratio) < _LOW_RATIO else Outcome.FINE


# ------------------------------------------------------------------------------ reading frames


def _pairs(ads: pd.DataFrame, pages: pd.DataFrame) -> list[_Pair]:
    _check_columns(ads, AD_COLUMNS, "ads")
    _check_columns(pages, PAGE_COLUMNS, "pages")
    read = [_read_page(row) for row in _records(pages, PAGE_COLUMNS)]
    by_url = {page.row["url"]: page for page in read}
    catalogue = _Catalogue(
        name for page in read for name in _list_of_texts(page.row["product_names"])
    )
    return [
        _pair(ad, by_url.get(ad["url"], _UNREAD), catalogue) for ad in _records(ads, AD_COLUMNS)
    ]


def _pair(ad: dict[str, Any], page: _Page, catalogue: "_Catalogue") -> _Pair:
    headlines = _read_texts(ad["title"], ad["titles"])
    bodies = _read_texts(ad["body"], ad["bodies"])
    named = catalogue.named_in(" ".join([*headlines, *bodies]))
    return _Pair(ad=ad, headlines=headlines, bodies=bodies, page=page, named=named)


def _records(frame: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    rows = frame[list(columns)].to_dict("records")
    return [{str(name): cell for name, cell in row.items()} for row in rows]


class _Catalogue:
    """The products that the brand's pages name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_stem: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        for name in sorted(set(names)):
            stems = stems_of(words_of(name))
            if len(stems) > 1:  # a single word such as "Serum" is no certain name
                self._by_stem[min(stems)][name] = frozenset(stems)

    def named_in(self, text: str) -> tuple[str, ...]:
        """The names whose every telling word is in the text, in alphabetical order."""
        stems = stems_of(words_of(text)).keys()
        named = (
            name
            for stem in stems & self._by_stem.keys()
            for name, words in self._by_stem[stem].items()
            if words <= stems
        )
        return tuple(sorted(named))


def _read_page(row: dict[str, Any]) -> _Page:
    is_judged = row["state"] == JUDGED_STATE
    compared = [name for name in PAGE_COLUMNS if name != "picture_key"]
    content = [_plain(row[name]) for name in compared] if is_judged else [row["state"]]
    return _Page(row=row, hash=_sha256(content))


def _read_page_text(row: Mapping[str, Any]) -> PageText:
    price = None
    if _is_known(row["price"]):
        currency = _text(row["currency"]).upper()
        price = Amount(Decimal(row["price"]), frozenset({currency} if currency else ()))
    return read_page_text(
        headings=(_text(row["title"]), _text(row["h1"])),
        lead=_text(row["hero_text"]),
        description=_text(row["description"]),
        main_text=_text(row["main_text"]),
        discount=_text(row["discount"]),
        price=price,
        product_names=_list_of_texts(row["product_names"]),
        declared_language=_text(row["language"]) or None,
    )


def _read_texts(first: object, others: object) -> tuple[str, ...]:
    texts = [_text(text)[:_READ_CHARACTERS].strip() for text in (first, *_list(others))]
    return tuple(dict.fromkeys(text for text in texts if text))[:_READ_TEXTS]


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else ""


def _list(cell: object) -> list[object]:
    if isinstance(cell, str):
        raise TypeError(f"a list of texts was expected, not the text {cell[:50]!r}")
    return list(cell) if isinstance(cell, list | tuple | np.ndarray) else []


def _list_of_texts(cell: object) -> list[str]:
    return [text for text in _list(cell) if isinstance(text, str)]


def _is_known(cell: object) -> bool:
    return cell is not None and cell is not pd.NA and cell == cell  # noqa: PLR0124 - NaN is not


def _plain(cell: object) -> object:
    """A cell as JSON can hold it, equal for equal values whatever their type."""
    if isinstance(cell, list | tuple | np.ndarray):
        return [_plain(each) for each in cell]
    if not _is_known(cell):
        return None
    return cell if isinstance(cell, str) else f"{Decimal(str(cell)).normalize():f}"


def _whole(cell: Any) -> int | None:
    return int(cell) if _is_known(cell) else None


def _number(cell: Any) -> float | None:
    return float(cell) if _is_known(cell) else None


def _check_columns(frame: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"the frame of {name} lacks the columns {', '.join(missing)}")


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


_UNREAD = _read_page(dict.fromkeys(PAGE_COLUMNS) | {"state": NOT_READ})


# ------------------------------------------------------------------------------------- judging


def _judged(
    pair: _Pair, text: PageText | None, pictures: Mapping[str, Sketch | NoPicture]
) -> dict[str, Any]:
    page = pair.page
    names = pair.pictures or ("", "")
    known = [pictures.get(name) for name in names]
    is_final = all(isinstance(each, Sketch) for each in known) or any(
        isinstance(each, NoPicture) and each.is_final for each in known
    )
    scores = _not_judged(page) if text is None else _best_scores(pair, text, *known)
    judged = {name: score.value for name, score in scores.items() if score.value is not None}
    weight = sum(WEIGHTS[name] for name in judged)
    total = sum(WEIGHTS[name] * value for name, value in judged.items()) / (weight or 1)
    evidence = {name: list(score.evidence) for name, score in scores.items()}
    redirect_count = _whole(page.row["redirect_count"]) or 0
    if judged and redirect_count > _FEW_REDIRECTS:
        total = max(total - _REDIRECT_LOSS, 0)
        evidence["page"] = [f"{redirect_count} redirects on the way."]
    mismatches = list(dict.fromkeys(line for score in scores.values() for line in score.mismatches))
    return {
        "ad_id": pair.ad["ad_id"],
        "url": pair.ad["url"],
        **{name: _text(pair.ad[name]) or None for name in AD_FACTS},
        "page_state": page.state,
        **{name: score.value for name, score in scores.items()},
        "total": round(min(total, CAP) if mismatches else total, 1) if judged else None,
        "is_capped": bool(judged and mismatches and total > CAP),
        "mismatches": mismatches,
        "evidence": evidence,
        "confidence": round(weight, 2),
        "judge": JUDGE,
        "judge_version": JUDGE_VERSION,
        "input_hash": pair.input_hash(with_pictures=is_final),
    }


def _not_judged(page: _Page) -> dict[str, Score]:
    nothing = Score(None, (f"The page is not judged: {page.state}.",))
    scores = dict.fromkeys(WEIGHTS, nothing)
    if page.state == "not_found":
        line = f"The page is gone: HTTP {_whole(page.row['status_code'])}."
        scores["offer"] = Score(None, (line,), (line,))
    return scores


def _best_scores(
    pair: _Pair,
    page: PageText,
    ad_picture: Sketch | NoPicture | None,
    page_picture: Sketch | NoPicture | None,
) -> dict[str, Score]:
    """Those of the headline and text that fit the page best; the first of equally good ones."""
    texts = [
        AdText(headline, body)
        for headline in pair.headlines or ("",)
        for body in pair.bodies or ("",)
    ]
    judged = [(text, score_message(text, page)) for text in texts]
    ad, message = max(judged, key=lambda one: -1.0 if one[1].value is None else one[1].value)
    other_product = find_other_product(ad, page, message, named=pair.named)
    return {
        "message": message,
        "offer": score_offer(ad, page, other_product=other_product),
        "visual": score_visual(ad_picture, page_picture),
        "tone": score_tone(ad, page),
    }
