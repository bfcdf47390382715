"""Tags ads with the closed vocabularies of `taxonomy.py`, by rules anybody can read.

Belongs here: what of a creative is read, how evidence adds up to a tag and its confidence. Does
not: the phrases and weights (`rules.yaml`), fetching or storing. Texts are read in English first;
what the rules cannot read stays `unknown`, with confidence 0.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, TypedDict
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from pipeline_assets.analysis.phrases import (
    START,
    Found,
    PhraseIndex,
    Token,
    covered_text,
    name_tokens,
    text_tokens,
)
from pipeline_assets.analysis.rules import Rule, load_rules
from pipeline_assets.analysis.taxonomy import DIMENSIONS, TAXONOMY_VERSION, MediaType, OfferType

CLASSIFIER = "rules"
CLASSIFIER_VERSION = "1.0.0"
"""Changes with the rules, their weights and this module's arithmetic."""

INPUT_COLUMNS = (
    "creative_id",
    "ad_account_id",
    "ad_name",
    "object_type",
    "media_type",
    "title",
    "body",
    "titles",
    "bodies",
    "call_to_action_type",
    "destination_url",
    "video_ids",
    "image_hashes",
)
OUTPUT_COLUMNS = (
    "creative_id",
    "ad_account_id",
    *DIMENSIONS,
    "tags",
    "content_hash",
    "classifier",
    "classifier_version",
    "taxonomy_version",
)

UNKNOWN = "unknown"

_READ_CHARACTERS = 3_000  # of each text; people see 125 before "See more"
_READ_TEXTS = 5  # of each kind; the most that Meta's asset feeds take
_OPENING_WORDS = 6  # a shorter first sentence ("Lisbon. October.") opens together with the next
_HEADLINE = 0.5  # how much a headline's opening counts beside the primary text's
_FADING = 0.05  # how much less each further word of the opening counts
_MOST_EVIDENCE = 5
_NEGATIONS = frozenset({"no", "not", "don't", "never", "without", "isn't", "aren't", "zero"})
_BETWEEN = frozenset({"a", "an", "any", "do", "the", "need"})

_MIN_STRENGTH = 0.25  # less than one weak phrase is no evidence
_RIVAL_DISCOUNT = 0.6  # how much of the runner-up's strength counts against the winner
_NO_OFFER_CONFIDENCE = 0.9  # an offer in words unknown to the rules stays possible
_ENGLISH = frozenset(
    {"the", "you", "your", "and", "with", "are", "our", "for", "this", "that", "from", "my", "at"}
    | {"by", "get", "how", "why", "what", "who", "can", "will", "they", "their", "out", "made"}
    | {"been", "here", "there", "more", "minutes"}
)  # words that the neighbouring languages do not spell alike

# A tag is judged after those that say something of it.
_ORDER = (
    "media_type",
    "offer_type",
    "hook_type",
    "messaging_angle",
    "awareness_stage",
    "emotion",
    "cta",
    "asset_type",
    "visual_format",
    "funnel_stage",
)


class Tag(TypedDict):
    """One judged dimension; `evidence` quotes what decided as `<field>: <words>`, or a field."""

    value: str
    confidence: float
    evidence: list[str]


@dataclass(frozen=True, kw_only=True)
class Creative:
    """Everything of a creative that the rules read, and nothing else: what the hash is taken of."""

    ad_names: tuple[str, ...]
    object_type: str
    media_type: str
    titles: tuple[str, ...]
    bodies: tuple[str, ...]
    call_to_action_type: str
    destination: str
    has_video: bool
    has_image: bool


@dataclass
class _Evidence:
    """What has been found for each value of each dimension: words, where they stand, their weight.

    The same words found again (in headline and text, in every variant) are no further evidence.
    """

    found: dict[str, dict[str, dict[str, tuple[float, str]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )

    def add(self, rule: Rule, where: str, words: str = "", factor: float = 1.0) -> None:
        quote = f"{where}: {words}" if words else where
        key, weight = (words or where).casefold(), rule.weight * factor
        known = self.found[rule.dimension][rule.value]
        if key not in known or known[key][0] < weight:
            known[key] = (weight, quote)


def classify_ads(creatives: pd.DataFrame) -> pd.DataFrame:
    """One row per creative in the order of first appearance, with OUTPUT_COLUMNS.

    `creatives` has INPUT_COLUMNS, a row per ad (rows of `meta_ad_creatives`); rows without a
    creative_id are left out, the ads of one creative are read together. Every tag column holds a
    value of its vocabulary; `tags` maps each tag column to a `Tag`. The same rows give the same
    result, whatever was classified before.

    Raises: ValueError when a column is missing, TypeError when a list column holds a text.
    """
    rows = [_classified_row(*key, creative) for key, creative in read_creatives(creatives)]
    return pd.DataFrame(rows, columns=list(OUTPUT_COLUMNS))


def content_hashes(creatives: pd.DataFrame) -> "pd.Series[str]":
    """The `content_hash` that `classify_ads` writes, by creative_id, without classifying.

    It changes exactly when something that the rules read changes: tracking parameters of the
    destination, for one, do not count.

    Raises: ValueError when a column is missing, TypeError when a list column holds a text.
    """
    hashes = {key[0]: hash_of(creative) for key, creative in read_creatives(creatives)}
    return pd.Series(hashes, dtype="str", name="content_hash").rename_axis("creative_id")


def classify(creative: Creative) -> dict[str, Tag]:
    """The tag of every dimension."""
    evidence = _Evidence()
    _search_texts(creative, evidence)
    _search_names(creative, evidence)
    _look_up_fields(creative, evidence)
    tags: dict[str, Tag] = {}
    for dimension in _ORDER:
        tag = _judge(dimension, evidence)
        if dimension == "offer_type" and tag["value"] == UNKNOWN:
            tag = _no_offer(creative)
        tags[dimension] = tag
        for rule in load_rules().implied.get((dimension, tag["value"]), ()):
            evidence.add(rule, tag["evidence"][0], factor=tag["confidence"])
    return {dimension: tags[dimension] for dimension in DIMENSIONS}


# ------------------------------------------------------------------------------ reading frames


def read_creatives(creatives: pd.DataFrame) -> list[tuple[tuple[str, str], Creative]]:
    """What is read of each creative, by (creative_id, ad_account_id), in order of appearance.

    Raises: ValueError when a column is missing, TypeError when a list column holds a text.
    """
    missing = [column for column in INPUT_COLUMNS if column not in creatives.columns]
    if missing:
        raise ValueError(f"the frame of creatives lacks the columns {', '.join(missing)}")
    ads: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in creatives[list(INPUT_COLUMNS)].to_dict("records"):
        if creative_id := _text(row["creative_id"]):
            ads[creative_id].append({str(name): cell for name, cell in row.items()})
    return [
        ((creative_id, _text(rows[0]["ad_account_id"])), _creative(rows))
        for creative_id, rows in ads.items()
    ]


def _creative(ads: list[dict[str, Any]]) -> Creative:
    row = ads[0]
    return Creative(
        ad_names=tuple(sorted({_text(ad["ad_name"])[:_READ_CHARACTERS] for ad in ads} - {""})),
        object_type=_text(row["object_type"]).upper(),
        media_type=_text(row["media_type"]),
        titles=_read_texts(row["title"], row["titles"]),
        bodies=_read_texts(row["body"], row["bodies"]),
        call_to_action_type=_text(row["call_to_action_type"]).upper(),
        destination=_place(_text(row["destination_url"])),
        has_video=bool(_list(row["video_ids"])),
        has_image=bool(_list(row["image_hashes"])),
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


def _place(url: str) -> str:
    """The host that a click leads to; the rest is the shop's business and full of tracking."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # not an address at all
        return ""


def hash_of(creative: Creative) -> str:
    """The sha256 of what is read of a creative."""
    return hashlib.sha256(json.dumps(asdict(creative), sort_keys=True).encode()).hexdigest()


def _classified_row(creative_id: str, ad_account_id: str, creative: Creative) -> dict[str, object]:
    tags = classify(creative)
    return {
        "creative_id": creative_id,
        "ad_account_id": ad_account_id,
        **{dimension: tag["value"] for dimension, tag in tags.items()},
        "tags": tags,
        "content_hash": hash_of(creative),
        "classifier": CLASSIFIER,
        "classifier_version": CLASSIFIER_VERSION,
        "taxonomy_version": TAXONOMY_VERSION,
    }


# ---------------------------------------------------------------------------- finding evidence


def _search_texts(creative: Creative, evidence: _Evidence) -> None:
    texts = [("title", text) for text in creative.titles]
    texts += [("body", text) for text in creative.bodies]
    for name, text in texts:
        tokens = text_tokens(text)
        for found in _found(load_rules().text, tokens):
            evidence.add(found.rule, name, covered_text(text, tokens, found))
    # People read the primary text first; a headline stands below the picture.
    openings = [("body", text, 1.0) for text in creative.bodies[:1]]
    openings += [
        ("title", text, 1.0 if not openings else _HEADLINE) for text in creative.titles[:1]
    ]
    for name, text, factor in openings:
        tokens = _opening(text_tokens(text))
        for found in _found(load_rules().opening, tokens):
            words = covered_text(text, tokens, found)
            fading = 1 + _FADING * max(found.first - 1, 0)
            evidence.add(found.rule, name, words, factor / fading)


def _found(phrases: PhraseIndex[Rule], tokens: list[Token]) -> list[Found[Rule]]:
    """What holds: the longest phrases of each dimension, without negated ones."""
    longest = _longest(phrases.find(tokens))
    return [found for found in longest if not _is_negated(tokens, found.first)]


def _longest(matches: Iterable[Found[Rule]]) -> list[Found[Rule]]:
    """Without those whose every word lies in longer matches of the same dimension."""
    covered: dict[str, set[int]] = defaultdict(set)
    kept: list[Found[Rule]] = []
    by_length = sorted(matches, key=lambda found: found.first - found.last)
    for _, as_long in groupby(by_length, key=lambda found: found.last - found.first):
        new = [
            found
            for found in as_long
            if not covered[found.rule.dimension].issuperset(_places(found))
        ]
        for found in new:
            covered[found.rule.dimension].update(_places(found))
        kept += new
    return kept


def _places(found: Found[Rule]) -> range:
    return range(found.first, found.last + 1)


def _is_negated(tokens: list[Token], first: int) -> bool:
    """Whether `no`, `don't`, … stands before, directly or with one small word between."""
    before = [token.word for token in tokens[max(first - 2, 0) : first]]
    if before and before[-1] in _BETWEEN:
        before.pop()
    return bool(before) and before[-1] in _NEGATIONS


def _opening(tokens: list[Token]) -> list[Token]:
    """The first sentence, with those after it until there are enough words to judge."""
    words = 0
    for index, token in enumerate(tokens):
        if token.word in {".", "?", "!"} and words >= _OPENING_WORDS:
            return tokens[: index + 1]
        words += token.word not in {".", "?", "!", ",", ":", '"', START}
    return tokens


def _search_names(creative: Creative, evidence: _Evidence) -> None:
    for name in creative.ad_names:
        tokens = name_tokens(name)
        for found in _found(load_rules().ad_name, tokens):
            evidence.add(found.rule, "ad_name", covered_text(name, tokens, found))


def _look_up_fields(creative: Creative, evidence: _Evidence) -> None:
    rules = load_rules()
    _look_up_media_type(creative, evidence)
    for name in ("media_type", "call_to_action_type"):
        value = getattr(creative, name)
        for rule in rules.fields.get((name, value), ()):
            evidence.add(rule, name, value)
    for rule in rules.destinations.get(creative.destination, ()):
        evidence.add(rule, "destination_url", creative.destination)


def _look_up_media_type(creative: Creative, evidence: _Evidence) -> None:
    """What the source says; only where it says nothing, what the other fields let expect."""
    if creative.media_type in set(MediaType) - {MediaType.UNKNOWN}:
        rule = Rule("media_type", creative.media_type, 1.0)
        evidence.add(rule, "media_type", creative.media_type)
        return
    for rule in load_rules().fields.get(("object_type", creative.object_type), ()):
        evidence.add(rule, "object_type", creative.object_type)
    if creative.has_video:
        evidence.add(Rule("media_type", MediaType.VIDEO, 0.8), "video_ids")
    elif creative.has_image:
        evidence.add(Rule("media_type", MediaType.IMAGE, 0.6), "image_hashes")  # may be a carousel


# ------------------------------------------------------------------------------------- judging


def _judge(dimension: str, evidence: _Evidence) -> Tag:
    """The value with the most evidence, or unknown; ties go by the vocabulary's order."""
    found = evidence.found[dimension]
    strengths = {value: _strength(found[value].values()) for value in found}
    order = [str(value) for value in DIMENSIONS[dimension]]
    ranked = sorted(strengths, key=lambda value: (-strengths[value], order.index(value)))
    if not ranked or strengths[ranked[0]] < _MIN_STRENGTH:
        return Tag(value=UNKNOWN, confidence=0.0, evidence=[])
    winner = ranked[0]
    rival = strengths[ranked[1]] if len(ranked) > 1 else 0.0
    confidence = strengths[winner] * (1 - _RIVAL_DISCOUNT * rival)
    quotes = sorted(found[winner].values(), key=lambda found: (-found[0], found[1]))
    return Tag(
        value=winner,
        confidence=round(confidence, 2),
        evidence=list(dict.fromkeys(quote for _, quote in quotes))[:_MOST_EVIDENCE],
    )


def _strength(found: Iterable[tuple[float, str]]) -> float:
    """Independent hints add up without ever reaching certainty: 1 - product of (1 - weight)."""
    doubt = 1.0
    for weight, _ in found:
        doubt *= 1 - weight
    return 1 - doubt


def _no_offer(creative: Creative) -> Tag:
    """`none` for a text that could be read, and names no offer; else unknown."""
    fields = [("title", creative.titles), ("body", creative.bodies)]
    read = [
        name
        for name, texts in fields
        if any(_ENGLISH & {token.word for token in text_tokens(text)} for text in texts)
    ]
    if not read:
        return Tag(value=UNKNOWN, confidence=0.0, evidence=[])
    return Tag(value=OfferType.NONE, confidence=_NO_OFFER_CONFIDENCE, evidence=read)
