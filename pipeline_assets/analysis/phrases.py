"""Finds many phrases in a text at once, in time linear in its length.

Belongs here: cutting texts and ad names into tokens, the phrase notation, and the search. Does not:
what a phrase means (`rules.yaml`, `classification.py`).

The notation, token by token: a word; `a/b` either word; `*` any one word or figure; `#` a number,
`%` a percentage, `$` an amount of money; `^` the beginning of the text; a punctuation mark (a line
break counts as a full stop). Case and the shape of apostrophes do not matter.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Generic, NamedTuple, TypeVar

RuleT = TypeVar("RuleT")

START = "^"
ANY = "*"
NUMBER, PERCENT, MONEY = "#", "%", "$"
_NOT_ANY = frozenset('.,:?!"★^')
_SAME = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
_SAME_MARK = {"…": ".", "\n": ".", ";": ".", "؟": "?", "？": "?", "！": "!", "。": ".", "：": ":"}
_SAME_MARK |= dict.fromkeys("“”„«»", '"') | {"⭐": "★"}

# Possessive quantifiers: no backtracking into a run of digits, however long.
_TOKEN = re.compile(
    r"""
      (?P<money>[$€£¥₹]\s?\d[\d.,]*+ | \d[\d.,]*+\s?[$€£¥₹])
    | (?P<percent>\d[\d.,]*+\s?[%٪％])
    | (?P<number>\d[\d.,]*+)
    | (?P<word>[^\W\d_]++(?:['’‘ʼ][^\W\d_]++)*+)
    | (?P<mark>[.,:;?!…\n"“”„«»★⭐؟？！。：])
    """,
    re.VERBOSE,
)
_NAME_TOKEN = re.compile(
    r"[A-Z]+?(?=vs[A-Z])|vs(?=[A-Z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+"
)


class Token(NamedTuple):
    """A piece of a text: what phrases compare, its class (`#`, `%`, `$` or itself), its place."""

    word: str
    kind: str
    start: int
    end: int


class Found(NamedTuple, Generic[RuleT]):
    """A phrase's rule and the tokens `first` to `last` (included) that it matched."""

    rule: RuleT
    first: int
    last: int


def text_tokens(text: str) -> list[Token]:
    """The tokens of prose, in order, after one that stands for the text's beginning."""
    tokens = [Token(START, START, 0, 0)]
    kinds = {"money": MONEY, "percent": PERCENT, "number": NUMBER}
    for match in _TOKEN.finditer(text):
        piece, group = match.group(), str(match.lastgroup)
        if group == "mark":
            word = kind = _SAME_MARK.get(piece, piece)
        else:
            word = piece.translate(_SAME).casefold()
            kind = kinds.get(group, word)
        tokens.append(Token(word, kind, match.start(), match.end()))
    return tokens


def name_tokens(name: str) -> list[Token]:
    """The tokens of an ad name such as `UsVsThem_UGC-v2`: us, vs, them, ugc, v, 2."""
    tokens = [Token(START, START, 0, 0)]
    for match in _NAME_TOKEN.finditer(name):
        word = match.group().casefold()
        tokens.append(Token(word, NUMBER if word.isdigit() else word, match.start(), match.end()))
    return tokens


def covered_text(text: str, tokens: list[Token], found: Found[RuleT]) -> str:
    """The stretch of the text that a found phrase covers, letter by letter."""
    covered = tokens[found.first : found.last + 1]
    start = next(token.start for token in covered if token.word != START)
    return text[start : covered[-1].end]


@dataclass
class _Node(Generic[RuleT]):
    next: "dict[str, _Node[RuleT]]" = field(default_factory=dict)
    rules: list[RuleT] = field(default_factory=list)


class PhraseIndex(Generic[RuleT]):
    """All phrases of a kind in one prefix tree; each carries its rule."""

    def __init__(self, phrases: Iterable[tuple[str, RuleT]]) -> None:
        self._root: _Node[RuleT] = _Node()
        for phrase, rule in phrases:
            self._add(phrase, rule)

    def _add(self, phrase: str, rule: RuleT) -> None:
        words = phrase.casefold().split()
        if not words or words[0] == ANY or words == [START]:
            raise ValueError(f"a phrase must begin with something to look for: {phrase!r}")
        for spelling in product(*(word.split("/") for word in words)):
            node = self._root
            for word in spelling:
                node = node.next.setdefault(word, _Node())
            node.rules.append(rule)

    def find(self, tokens: list[Token]) -> Iterator[Found[RuleT]]:
        """Every occurrence of every phrase, by where it begins."""
        for first in range(len(tokens)):
            yield from self._find_at(tokens, first)

    def _find_at(self, tokens: list[Token], first: int) -> Iterator[Found[RuleT]]:
        nodes = [self._root]
        for last in range(first, len(tokens)):
            nodes = [child for node in nodes for child in _children(node, tokens[last])]
            if not nodes:
                return
            for node in nodes:
                for rule in node.rules:
                    yield Found(rule, first, last)


def _children(node: _Node[RuleT], token: Token) -> list[_Node[RuleT]]:
    keys = [token.word] if token.kind == token.word else [token.word, token.kind]
    if token.word not in _NOT_ANY:
        keys.append(ANY)
    return [node.next[key] for key in keys if key in node.next]
