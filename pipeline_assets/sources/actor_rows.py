"""Reading rows of actors, whose field names and notations change from one to the next.

Belongs here: names written alike, texts without markup, dates in any notation, what a row can do
without. Does not: which fields a row of ads or reviews has (`library_ads.py`, `amazon_reviews.py`).
"""

import contextlib
import html
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from pipeline_assets.redaction import redact

_BREAK = re.compile(r"<(?:br|/p|/div|/li)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_SPACES = re.compile(r"[ \t\r\f\v\xa0]+")
_LINES = re.compile(r" *\n\s*\n\s*| *\n *")
_INSTANT = TypeAdapter(datetime)
_MONTHS_BY_LANGUAGE = """
jan feb mar apr may jun jul aug sep oct nov dec
january february march april may june july august september october november december
januar februar märz april mai juni juli august september oktober november dezember
janvier février mars avril mai juin juillet août septembre octobre novembre décembre
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
januari februari maart april mei juni juli augustus september oktober november december
januari februari mars april maj juni juli augusti september oktober november december
stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık
يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر
"""
_MONTHS = {"sept": 9} | {
    name: number
    for months in _MONTHS_BY_LANGUAGE.strip().splitlines()
    for number, name in enumerate(months.split(), start=1)
}
_DAY = r"\b(?P<day>\d{1,2})(?:st|nd|rd|th|er|o)?"  # compatible form makes "o" of "º"
_MONTH = r"(?P<month>[^\W\d_]+)"
_YEAR = r"(?P<year>\d{4})\b"
_WORDED_DATES = (
    re.compile(rf"{_DAY}\W+(?:de\W+)?{_MONTH}\W+(?:del?\W+)?{_YEAR}"),
    re.compile(rf"\b{_MONTH}\W+{_DAY}\W+{_YEAR}"),
    re.compile(r"\b(?P<year>\d{4})年 ?(?P<month>\d{1,2})月 ?(?P<day>\d{1,2})日"),
)


class UnreadableRowError(Exception):
    """A row that lacks what it cannot do without; `fields` names what is missing or wrong."""

    def __init__(self, fields: list[str]) -> None:
        super().__init__(", ".join(fields))
        self.fields = fields


class ActorRow(BaseModel):
    """A row by its folded names; fields that nobody asked for do not matter."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


RowT = TypeVar("RowT", bound=ActorRow)


def fold(value: Any) -> Any:
    """The same without empty values, and every name in small letters without marks.

    So `adArchiveID` and `ad_archive_id` are one name: `adarchiveid`.
    """
    if isinstance(value, Mapping):
        folded: dict[str, Any] = {}
        for name, each in value.items():
            kept = fold(each)
            if kept not in (None, "", [], {}):
                folded.setdefault(re.sub(r"[^a-z0-9]", "", str(name).lower()), kept)
        return folded
    if isinstance(value, list):
        return [kept for each in value if (kept := fold(each)) not in (None, "", [], {})]
    return value


def without_nul(value: Any) -> Any:
    """The same without NUL characters, which no text column of PostgreSQL takes."""
    if isinstance(value, Mapping):
        return {without_nul(str(name)): without_nul(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_nul(each) for each in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def without_secrets(value: Any) -> Any:
    """The same without values that carry a token: what may be stored as it was sent.

    `ad_snapshot_url`, whose very purpose is to carry one, is left out.
    """
    if isinstance(value, Mapping):
        return {
            str(name): without_secrets(each)
            for name, each in value.items()
            if name != "ad_snapshot_url"
        }
    if isinstance(value, list):
        return [without_secrets(each) for each in value]
    return redact(value) if isinstance(value, str) else value


def plain_text(value: Any) -> str | None:
    """A text without markup, entities and needless spaces; None when nothing is left."""
    if not isinstance(value, str):
        return None
    text = _TAG.sub("", _BREAK.sub("\n", value))
    text = _SPACES.sub(" ", html.unescape(text))
    return _LINES.sub(lambda gap: "\n\n" if gap[0].count("\n") > 1 else "\n", text).strip() or None


def read_date(value: Any) -> date:
    """The day that a Unix time, an ISO text or a date in a shop's language names, in UTC.

    Raises: ValueError for anything else.
    """
    try:
        instant = _INSTANT.validate_python(value)
    except ValidationError:
        return _read_worded_date(str(value))
    return (instant.astimezone(UTC) if instant.tzinfo else instant).date()


def _read_worded_date(text: str) -> date:
    compatible = unicodedata.normalize("NFKC", text)
    for pattern in _WORDED_DATES:
        for found in pattern.finditer(compatible):
            named = found["month"]
            month = int(named) if named.isdecimal() else _MONTHS.get(named.casefold(), 0)
            with contextlib.suppress(ValueError):  # no month, or a day that it does not have
                return date(int(found["year"]), month, int(found["day"]))
    raise ValueError(f"{text[:60]!r} is no date")


def read_fields(
    model: type[RowT], folded: Mapping[str, Any], shown_names: Mapping[str, str]
) -> tuple[RowT, str | None]:
    """A row's fields, and what is wrong with those that it can do without: they are left out.

    Those are the ones that have a default. `shown_names` tells folded names as actors write them.

    Raises: UnreadableRowError, when another field is missing or wrong.
    """
    row = dict(folded)
    problems: list[str] = []
    while True:
        try:
            fields = model.model_validate(row)
        except ValidationError as error:
            names = {str(each["loc"][0]) for each in error.errors(include_url=False)}
        else:
            return fields, f"Left out as unreadable: {', '.join(problems)}." if problems else None
        if missing := names - row.keys():
            raise UnreadableRowError(sorted(shown_names.get(name, name) for name in missing))
        for name in sorted(names):
            value = redact(repr(row.pop(name)))[:60]
            problems.append(f"{shown_names.get(name, name)} {value}")


def _text_of(value: Any) -> Any:
    """A text however it is wrapped: `{"text": …}`, `{"markup": {"__html": …}}`."""
    if isinstance(value, Mapping):
        value = value.get("text") or value.get("html") or _text_of(value.get("markup"))
    return plain_text(value)


Text = Annotated[str | None, BeforeValidator(_text_of)]
Day = Annotated[date | None, BeforeValidator(read_date)]
