"""Reading rows of actors, whose field names and notations change from one to the next.

Belongs here: names written alike, texts without markup, dates in any notation. Does not: which
fields a row of ads or reviews has (`library_ads.py`, `amazon_reviews.py`).
"""

import contextlib
import html
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from pipeline_assets.redaction import redact

_BREAK = re.compile(r"<(?:br|/p|/div|/li)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_SPACES = re.compile(r"[ \t\r\f\v\xa0]+")
_LINES = re.compile(r" *\n\s*\n\s*| *\n *")
_INSTANT = TypeAdapter(datetime)
_ENGLISH_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WORDED_DATES = (
    re.compile(rf"\b{_ENGLISH_MONTH} +(?P<day>\d{{1,2}}),? +(?P<year>\d{{4}})\b", re.IGNORECASE),
    re.compile(rf"\b(?P<day>\d{{1,2}})\.? +{_ENGLISH_MONTH} +(?P<year>\d{{4}})\b", re.IGNORECASE),
)


class UnreadableRowError(Exception):
    """A row that lacks what it cannot do without; `fields` names what is missing or wrong."""

    def __init__(self, fields: list[str]) -> None:
        super().__init__(", ".join(fields))
        self.fields = fields


class ActorRow(BaseModel):
    """A row by its folded names; fields that nobody asked for do not matter."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


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
    """The day that a Unix time, an ISO text or an English date names, in UTC.

    Raises: ValueError for anything else.
    """
    try:
        instant = _INSTANT.validate_python(value)
    except ValidationError:
        return _read_worded_date(str(value))
    return (instant.astimezone(UTC) if instant.tzinfo else instant).date()


def _read_worded_date(text: str) -> date:
    for pattern in _WORDED_DATES:
        if found := pattern.search(text):
            worded = f"{found['day']} {found['month'][:3]} {found['year']}"
            with contextlib.suppress(ValueError):  # a day that the month does not have
                return datetime.strptime(worded, "%d %b %Y").replace(tzinfo=UTC).date()
    raise ValueError(f"{text[:60]!r} is no date")


def _text_of(value: Any) -> Any:
    """A text however it is wrapped: `{"text": …}`, `{"markup": {"__html": …}}`."""
    if isinstance(value, Mapping):
        value = value.get("text") or value.get("html") or _text_of(value.get("markup"))
    return plain_text(value)


Text = Annotated[str | None, BeforeValidator(_text_of)]
Day = Annotated[date | None, BeforeValidator(read_date)]
