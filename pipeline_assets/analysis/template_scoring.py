"""Judges scraped templates by rules: a score by their signs of success, and what follows from it.

Nobody outside sees what an ad of others brings in. What can be seen is what its advertiser does
with it: who lets an ad run for long, and in many copies, pays for it every day. So the score
(0-100) adds up points for such signs, leaves out those that cannot be known of a template, and says
why of each. Pure: rows in, judgements out. What people decide comes on top (`settle`).
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline_assets.analysis.phrases import PhraseIndex, covered_text, text_tokens

RULES_VERSION = "1"
"""Changes whenever the same templates would be judged otherwise."""

POLICIES_PATH = Path(__file__).with_name("template_policies.yaml")

# Points at most. How long an ad runs comes first: it is the one sign that costs its advertiser
# money each day (the rule of thumb of those who read the Ad Library: 30 days good, 90 proven).
_MOST_DAYS, _MOST_ACTIVE, _MOST_COPIES = 30.0, 15.0, 15.0
_MOST_REACH, _MOST_COMPLETE, _MOST_RECENT = 15.0, 15.0, 10.0

_PROVEN_DAYS = 90
_MANY_COPIES = 4
"""As many running at once get all points: it is being scaled."""
_WIDE_REACH, _SMALL_REACH = 1_000_000, 1_000
"""Accounts in the EU for all points, and for none; between them each tenfold counts the same."""
_RECENT_DAYS, _OLD_DAYS = 30, 365
"""Since it last ran: all points up to the first, none from the second on."""

_LIBRARY = "ad_library"

Row = Mapping[str, Any]


class State(StrEnum):
    """Whether a template may be used."""

    APPROVED = "approved"
    REJECTED = "rejected"
    PENDING = "pending"
    """A person has to look."""


class Part(NamedTuple):
    """Points for one sign, of `most`; `most` 0 when nothing is known of it. `why` in words."""

    name: str
    points: float
    most: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """A brand's own: scores (0-100) that decide without a person, and words that never do."""

    approve_from: float
    reject_below: float
    policy_words: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the rules say of one template, `reasons` in words.

    `duplicate_of` is the template that it copies; it then shares that one's fate (`settle`).
    """

    template_id: str
    state: State
    score: float
    parts: tuple[Part, ...]
    policy_words: tuple[str, ...]
    reasons: tuple[str, ...]
    duplicate_of: str | None = None


def judge_templates(
    templates: Sequence[Row], *, thresholds: Thresholds, today: date
) -> list[Judgement]:
    """Judge each template by itself, in the order given.

    `templates` are rows of templates_scraped with all columns. A copy's `duplicate_of` is the
    oldest of its content that is among them.
    """
    originals = _originals(templates)
    running = Counter(_content(row) for row in templates if row["is_active"])
    return [
        _judge(
            row,
            thresholds=thresholds,
            today=today,
            copies=running[_content(row)],
            original=originals[_content(row)],
        )
        for row in templates
    ]


def settle(judgements: Iterable[Judgement], decided: Mapping[str, str]) -> list[Judgement]:
    """The judgements with each copy's own, now that it is known what people have decided.

    `decided` holds people's decisions by template. A copy of a template that is approved or
    rejected is rejected; one of a template that waits for a person waits with it.
    """
    judged = list(judgements)
    states = {each.template_id: decided.get(each.template_id, each.state) for each in judged}
    return [
        each
        if each.duplicate_of is None
        else _as_copy(each, each.duplicate_of, State(states[each.duplicate_of]))
        for each in judged
    ]


def _as_copy(judgement: Judgement, original: str, state: State) -> Judgement:
    if state is State.PENDING:
        reason = f"It is a copy of {original}, which waits for a person: decide that one."
        return replace(judgement, state=State.PENDING, reasons=(reason,))
    reason = f"It is a copy of {original}, which is {state.value} already."
    return replace(judgement, state=State.REJECTED, reasons=(reason,))


def _judge(
    row: Row, *, thresholds: Thresholds, today: date, copies: int, original: str
) -> Judgement:
    parts = (
        _days(row),
        _active(row),
        _copies(row, copies),
        _reach(row),
        _complete(row),
        _recent(row, today),
    )
    # Of what can be known: else every template of a country without figures would score low.
    score = round(100 * sum(part.points for part in parts) / sum(part.most for part in parts), 1)
    words = tuple(find_policy_words(_texts(row), thresholds.policy_words))
    state, reasons = _decide(score, words, parts, thresholds)
    template_id = str(row["library_ad_id"])
    return Judgement(
        template_id=template_id,
        state=state,
        score=score,
        parts=parts,
        policy_words=tuple(word for word, _ in words),
        reasons=reasons,
        duplicate_of=original if original != template_id else None,
    )


def _decide(
    score: float,
    words: Sequence[tuple[str, str]],
    parts: Sequence[Part],
    thresholds: Thresholds,
) -> tuple[State, tuple[str, ...]]:
    of_score = f"Its score is {score:g}"
    best = ", ".join(part.why for part in sorted(parts, key=_share, reverse=True)[:2])
    worst = ", ".join(part.why for part in sorted(parts, key=_share)[:2] if part.most)
    if score < thresholds.reject_below:
        return State.REJECTED, (f"{of_score}, below {thresholds.reject_below:g}: {worst}.",)
    if words:
        told = tuple(f"“{word}”: {why}." for word, why in words)
        return State.PENDING, (f"{of_score}, but policies may forbid what it says.", *told)
    if score < thresholds.approve_from:
        return State.PENDING, (
            f"{of_score}, below {thresholds.approve_from:g} where it would be approved: {worst}.",
        )
    if not parts[0].most:
        return State.PENDING, (f"{of_score}, but how long it ran is not known.",)
    return State.APPROVED, (f"{of_score}, at least {thresholds.approve_from:g}: {best}.",)


def _share(part: Part) -> float:
    return part.points / part.most if part.most else 0.5


def _days(row: Row) -> Part:
    days = row["days_running"]
    if days is None:
        return Part("days_running", 0, 0, "how long it ran is not known")
    ratio = min(math.log1p(max(days, 0)) / math.log1p(_PROVEN_DAYS), 1.0)
    return _part("days_running", ratio, _MOST_DAYS, f"it ran for {_counted(days, 'day')}")


def _active(row: Row) -> Part:
    why = "it is still running" if row["is_active"] else "it runs no more"
    return _part("still_active", float(row["is_active"]), _MOST_ACTIVE, why)


def _copies(row: Row, running: int) -> Part:
    others = max(running - int(row["is_active"]), 0)
    why = f"{_counted(others, 'copy', 'copies')} of it run at once" if others else "no copy runs"
    ratio = min(others / (_MANY_COPIES - 1), 1.0)
    return _part("copies", ratio, _MOST_COPIES, why)


def _reach(row: Row) -> Part:
    reach = row["eu_reach"]
    if reach is None:
        return Part("eu_reach", 0, 0, "its reach is not known: the library tells the EU's alone")
    steps = math.log10(_WIDE_REACH / _SMALL_REACH)
    ratio = math.log10(max(reach, 1) / _SMALL_REACH) / steps
    why = f"it reached {reach:,} accounts in the EU"
    return _part("eu_reach", min(max(ratio, 0.0), 1.0), _MOST_REACH, why)


def _complete(row: Row) -> Part:
    has = {"text": bool(row["body"]), "headline": bool(row["title"])}
    if row["source"] != _LIBRARY:  # which never tells pictures' addresses
        pictures = (row["image_urls"], row["video_urls"], row["preview_sha256"])
        has["picture or video"] = any(pictures)
    missing = [name for name, is_there in has.items() if not is_there]
    why = f"it has no {' and no '.join(missing)}" if missing else f"it has {', '.join(has)}"
    return _part("complete", 1 - len(missing) / len(has), _MOST_COMPLETE, why)


def _recent(row: Row, today: date) -> Part:
    last = today if row["is_active"] else row["stopped_on"] or _day(row["last_seen_at"])
    days = max((today - last).days, 0)
    why = "it ran today" if days == 0 else f"it last ran {_counted(days, 'day')} ago"
    ratio = (_OLD_DAYS - days) / (_OLD_DAYS - _RECENT_DAYS)
    return _part("recent", min(max(ratio, 0.0), 1.0), _MOST_RECENT, why)


def _part(name: str, ratio: float, most: float, why: str) -> Part:
    return Part(name, round(ratio * most, 1), most, why)


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _day(instant: datetime) -> date:
    return instant.date()


def _content(row: Row) -> str:
    return str(row["content_hash"])


def _originals(templates: Sequence[Row]) -> dict[str, str]:
    """By content, the oldest template that has it."""
    by_content: dict[str, list[Row]] = defaultdict(list)
    for row in templates:
        by_content[_content(row)].append(row)

    def age(row: Row) -> tuple[Any, ...]:
        return (row["started_on"] or date.max, row["first_seen_at"], row["library_ad_id"])

    return {
        content: str(min(rows, key=age)["library_ad_id"]) for content, rows in by_content.items()
    }


def _texts(row: Row) -> list[str]:
    every = [row["title"], row["body"], row["description"], *row["titles"], *row["bodies"]]
    return list(dict.fromkeys(filter(None, every)))


def find_policy_words(texts: Iterable[str], own: Collection[str]) -> list[tuple[str, str]]:
    """The words of the texts that policies forbid, as they stand there, each with why; each once.

    `own` are a brand's own forbidden words, found as whole words whatever their case.
    """
    found: dict[str, tuple[str, str]] = {}
    for text in texts:
        plain = unicodedata.normalize("NFKC", text)  # fancy letters hide words from no reader
        tokens = text_tokens(plain)
        for match in _policies().find(tokens):
            words = covered_text(plain, tokens, match)
            found.setdefault(words.casefold(), (words, match.rule))
        for word in own:
            if re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", plain.casefold()):
                found.setdefault(word.casefold(), (word, "the brand's own list has it"))
    return list(found.values())


@cache
def _policies() -> PhraseIndex[str]:
    """The forbidden phrases, each with why."""
    document = yaml.safe_load(POLICIES_PATH.read_text(encoding="utf-8"))
    return PhraseIndex(
        (phrase.strip(), section["why"])
        for section in document.values()
        for phrase in section["phrases"].replace("\n", ";").split(";")
        if phrase.strip()
    )
