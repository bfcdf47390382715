"""Finds what people say in posts and reviews, in their own words: their pains, desires and doubts.

Belongs here: cutting a text into clauses, judging each by its cues, and counting what many people
say. Does not: the cues (`voice_of_customer.yaml`), the search for them (`phrases.py`), fetching.
The cues are English; a text in another language yields nothing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import ceil
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict, get_args

import pandas as pd
import yaml

from pipeline_assets.analysis.phrases import (
    MONEY,
    PERCENT,
    Found,
    PhraseIndex,
    Token,
    text_tokens,
)

CUES_PATH = Path(__file__).with_suffix(".yaml")

Kind = Literal["pain", "desire", "objection", "praise", "question"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MIN_WORDS, MAX_WORDS = 3, 20
TOP_COLUMNS = ("kind", "phrase", "count", "examples")

_READ_CHARACTERS = 20_000  # of a text; longer ones are rarely about one product
_MOST_EXAMPLES = 3
_SAME_RATIO = 0.5  # of the content words of two phrases that say the same
_WORDS_BEFORE_CUE = 6  # of a long clause: enough for the subject, the rest tells what of it

_WEIGHTS = {"strong": 0.8, "medium": 0.5}
_ASKED_WEIGHT = 0.6  # a question mark: more than a word, less than a cue that decides
_PREFERRED: tuple[Kind, ...] = ("desire", "objection", "pain", "question", "praise")

_SENTENCE_ENDS = frozenset(".!?")
_CLAUSE_OPENERS = frozenset({"but", "however", "although", "though", "except", "whereas"})
_TRIMMED = _CLAUSE_OPENERS | {"and", "so", "because", "plus", "also", "then", "or"}
_NEGATIONS = frozenset({"not", "no", "never", "without", "hardly", "barely", "nothing", "cannot"})
_NEGATION_REACH = 3  # words that may stand between: "not a great product"
_OF_NEGATION: Mapping[Kind, Kind | None] = {"praise": "pain"}  # other kinds say nothing, negated

_QUOTED_LINE = re.compile(r"^[ \t]*+(?:>|&gt;).*$", re.MULTILINE)  # somebody else's words
_LINK = re.compile(r"\[([^\[\]]{0,300})\]\([^()\s]{0,2000}\)")
_ADDRESS = re.compile(r"(?:https?://|www\.)\S++")
_MARKUP = re.compile(r"[*_~`#|]+|<[^<>]{0,200}>")

_OPEN_MARKS = ' ,:;-–—("“'
_SUFFIX = re.compile(r"(?<=...)(?:ing|ed|es|s|ly)$")


class Phrase(TypedDict):
    """A clause of 3 to 20 words as its writer put it, and what it expresses."""

    kind: Kind
    text: str


class _Cue(NamedTuple):
    kind: Kind
    weight: float


class _Clause(NamedTuple):
    """The tokens `first` to `last` (included) between two marks or conjunctions."""

    first: int
    last: int
    is_asked: bool


class _Said(NamedTuple):
    """What a clause expresses, if anything, and the cue that decided (None: a question mark)."""

    clause: _Clause
    kind: Kind | None
    cue: Found[_Cue] | None


def find_phrases(text: str) -> list[Phrase]:
    """What the text's writer says, in the order of the text, each wording once.

    A clause is of one kind, that of its strongest cue; what is negated counts as the opposite
    (praise) or not at all. Quoted lines, addresses and markup are not read.
    """
    readable = _readable(text[:_READ_CHARACTERS])
    tokens = text_tokens(readable)
    cues = _longest(load_lexicon().cues.find(tokens))
    said = [_Said(clause, *_judge(clause, tokens, cues)) for clause in _clauses(tokens)]
    phrases: dict[str, Phrase] = {}
    for place, each in enumerate(said):
        words = _own_words(readable, tokens, said, place) if each.kind else ""
        if each.kind and words:
            phrases.setdefault(words.casefold(), Phrase(kind=each.kind, text=words))
    return list(phrases.values())


def top_phrases(rows: pd.DataFrame) -> pd.DataFrame:
    """What is said most: TOP_COLUMNS, per kind, the most said first.

    `rows` has a row per post or review with `phrases` (a list of `Phrase`) and, if some count more
    than others, `weight` (a number, for the order only). Phrases of a kind that share half of their
    content words count as one, named by its shortest wording that comes most; `count` is in how
    many rows it is said, `examples` are at most three wordings.
    """
    groups = [group for kind in KINDS for group in _grouped(kind, rows)]
    return pd.DataFrame(
        [(g.kind, g.name, len(g.rows), g.examples) for g in groups], columns=list(TOP_COLUMNS)
    )


class _Lexicon(NamedTuple):
    cues: PhraseIndex[_Cue]
    empty_words: frozenset[str]


@cache
def load_lexicon() -> _Lexicon:
    """The words of `voice_of_customer.yaml`, read once; KeyError for what it must not lack."""
    document = yaml.safe_load(CUES_PATH.read_text(encoding="utf-8"))
    cues = (
        (phrase.strip(), _Cue(kind, _WEIGHTS[strength]))
        for kind in KINDS
        for strength, phrases in document["cues"][kind].items()
        for phrase in phrases.replace("\n", ";").split(";")
        if phrase.strip()
    )
    return _Lexicon(PhraseIndex(cues), frozenset(document["empty_words"].split()))


def _readable(text: str) -> str:
    """The text as its writer's words: without quotes of others, addresses and markup."""
    for pattern, replacement in (
        (_QUOTED_LINE, "."),
        (_LINK, r"\1"),
        (_ADDRESS, ""),
        (_MARKUP, ""),
    ):
        text = pattern.sub(replacement, text)
    return text


def _longest(found: Iterable[Found[_Cue]]) -> list[Found[_Cue]]:
    """The cues that lie in no longer one: "would love" is no "love"."""
    kept: list[Found[_Cue]] = []
    for cue in sorted(found, key=lambda each: (each.first, -each.last)):
        if not kept or cue.last > kept[-1].last or cue[1:] == kept[-1][1:]:
            kept.append(cue)
    return kept


def _clauses(tokens: Sequence[Token]) -> list[_Clause]:
    """Sentences, cut again before "but" and its like; what is asked ends in a question mark."""
    clauses, openings = [], [1]
    for place, token in enumerate([*tokens[1:], Token(".", ".", 0, 0)], start=1):
        if token.word in _SENTENCE_ENDS:
            bounds = zip(
                openings, [*(opening - 1 for opening in openings[1:]), place - 1], strict=True
            )
            asked = token.word == "?"
            clauses += [_Clause(first, last, asked) for first, last in bounds if first <= last]
            openings = [place + 1]
        elif token.word in _CLAUSE_OPENERS:
            openings.append(place)
    return clauses


def _judge(
    clause: _Clause, tokens: Sequence[Token], cues: Iterable[Found[_Cue]]
) -> tuple[Kind | None, Found[_Cue] | None]:
    signs: list[tuple[float, Kind, Found[_Cue] | None]] = [
        (found.rule.weight, kind, found)
        for found in cues
        if clause.first <= found.first <= clause.last
        and (kind := _kind_in_place(found, clause, tokens))
    ]
    if clause.is_asked:
        signs.append((_ASKED_WEIGHT, "question", None))
    if not signs:
        return None, None
    return max(signs, key=lambda sign: (sign[0], -_PREFERRED.index(sign[1])))[1:]


def _kind_in_place(found: Found[_Cue], clause: _Clause, tokens: Sequence[Token]) -> Kind | None:
    """What the cue says where it stands: nobody praises by asking, a negation turns it."""
    kind = found.rule.kind
    if clause.is_asked and kind == "praise":
        return None
    start = max(clause.first, found.first - _NEGATION_REACH)
    if any(_is_negation(tokens, place) for place in range(start, found.first)):
        return _OF_NEGATION.get(kind)
    return kind


def _is_negation(tokens: Sequence[Token], place: int) -> bool:
    word = tokens[place].word
    return (word in _NEGATIONS or word.endswith("n't")) and tokens[place + 1].word != "only"


def _own_words(text: str, tokens: Sequence[Token], said: Sequence[_Said], place: int) -> str:
    """The clause as it stands, cut around its cue; a too short one takes in a silent neighbour.

    A headline is no neighbour of the text below it.
    """
    (first, last, _), _, cue = said[place]
    for clause, kind, _ in (*said[place + 1 : place + 2], *said[max(place - 1, 0) : place]):
        both = min(first, clause.first), max(last, clause.last)
        is_one_line = "\n" not in text[tokens[both[0]].start : tokens[both[1]].end]
        if kind is None and is_one_line and len(_words(text, tokens, first, last)) < MIN_WORDS:
            first, last = both
    needed = cue.first if cue else last
    while first < needed and (tokens[first].word in _TRIMMED or not _is_word(tokens[first])):
        first += 1
    if len(_words(text, tokens, first, last)) > MAX_WORDS:
        first = max(first, needed - _WORDS_BEFORE_CUE) if cue else first
    cut = _words(text, tokens, first, last)[:MAX_WORDS]
    words = " ".join(cut).rstrip(_OPEN_MARKS)
    return words if len(words.split()) >= MIN_WORDS else ""


def _is_word(token: Token) -> bool:
    return token.word[0].isalnum() or token.kind in (PERCENT, MONEY)


def _words(text: str, tokens: Sequence[Token], first: int, last: int) -> list[str]:
    return text[tokens[first].start : tokens[last].end].split()


@dataclass
class _Group:
    """Phrases of a kind that say the same; `words` are those of the first."""

    kind: Kind
    words: frozenset[str]
    rows: set[int] = field(default_factory=set)
    wordings: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return self.examples[0]

    @property
    def examples(self) -> list[str]:
        """The wordings that come most, of those the shortest."""
        ordered = sorted(self.wordings, key=lambda each: (-self.wordings[each], len(each), each))
        return ordered[:_MOST_EXAMPLES]


def _grouped(kind: Kind, rows: pd.DataFrame) -> list[_Group]:
    """The groups of a kind, the weightiest first."""
    weights = rows["weight"].tolist() if "weight" in rows else [1.0] * len(rows)
    said = [
        (row, phrase["text"], _content_words(phrase["text"]))
        for row, phrases in enumerate(rows["phrases"])
        for phrase in phrases
        if phrase["kind"] == kind
    ]
    rarity = Counter(word for _, _, words in said for word in words)
    groups = _Groups(kind, rarity)
    # The shortest first: a group is named for what its phrases have in common.
    for row, text, words in sorted(said, key=lambda each: (len(each[2]), each[1], each[0])):
        group = groups.like(words)
        group.rows.add(row)
        group.wordings[text] += 1
    return sorted(
        groups,
        key=lambda each: (-sum(weights[row] for row in each.rows), -len(each.rows), each.name),
    )


class _Groups:
    """Groups that are found by a word they share, without comparing each with each.

    Two sets that share half of their words share one of their rarer ones: only those are looked up.
    """

    def __init__(self, kind: Kind, rarity: Mapping[str, int]) -> None:
        self._kind, self._rarity = kind, rarity
        self._all: list[_Group] = []
        self._by_rare_word: dict[str, list[_Group]] = defaultdict(list)

    def __iter__(self) -> Iterator[_Group]:
        return iter(self._all)

    def like(self, words: frozenset[str]) -> _Group:
        """The group of what shares half of its words with these; a new one if there is none."""
        rare = self._rare(words)
        near = (group for word in rare for group in self._by_rare_word[word])
        for group in near:
            if len(group.words & words) >= _SAME_RATIO * len(group.words | words):
                return group
        group = _Group(self._kind, words)
        self._all.append(group)
        for word in rare:
            self._by_rare_word[word].append(group)
        return group

    def _rare(self, words: frozenset[str]) -> list[str]:
        ordered = sorted(words, key=lambda word: (self._rarity[word], word))
        return ordered[: len(words) - ceil(_SAME_RATIO * len(words)) + 1]


def _content_words(text: str) -> frozenset[str]:
    """What a phrase is about: its words without endings and without those that say little."""
    words = [token.word for token in text_tokens(text) if _is_word(token)]
    telling = [word for word in words if word not in load_lexicon().empty_words]
    return frozenset(_SUFFIX.sub("", word) for word in telling or words or [text.casefold()])
