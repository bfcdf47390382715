"""What two texts can be compared by without understanding them: words, language, manner.

Belongs here: cutting a text into stems of telling words, which language it is in, how it speaks.
Does not: the comparison (`congruence_scores.py`), offers (`offers.py`).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

from pipeline_assets.analysis.offers import read_words_file
from pipeline_assets.money import parse_number

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+(?:[.,']\d+)*")
_ELISION = re.compile(r"^(?:[cdjlmnst]|qu)'(?=\w)|'s$")
_SENTENCE_END = re.compile(r"[.!?…。！？]+(?:\s|$)|\n+")
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
# Written without spaces: pairs of letters stand for words.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")
_CONTRACTION = re.compile(r"\w['’](?:t|re|ve|ll|m|d)\b", re.IGNORECASE)

_SHORTEST_STEM = 4
_ENDINGS = ("ing", "ed", "es", "en", "er", "em", "e", "n", "a", "o", "i")
_FEWEST_COMMON_WORDS = 2  # one may be a name or another language's
_LONG_WORD = 6  # letters; longer ones are long by LIX
_FEWEST_COMMON_SHARE = 0.15  # of the words; a text of an unknown language has some by chance
_SCRIPTS = {name: name.lower() for name in ("CYRILLIC", "GREEK", "ARABIC", "HEBREW", "HANGUL")}
_SCRIPTS |= {"THAI": "thai", **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA"), "cjk")}


@dataclass(frozen=True)
class Manner:
    """How a text speaks.

    `readability` is LIX (words to a sentence + per cent of words of more than six letters: 20 is
    a children's book, 60 a statute), which needs no syllables of any language. `excitement` is
    exclamation marks and emoji to a sentence, `emotion` the share of words with a feeling,
    `function_words` and `numbers` those of words that only tie others together and of numbers.
    `formality` is 1 for Sie, vous, usted, -1 for du, tu, tú, 0 where the text shows neither.
    """

    word_count: int
    readability: float
    excitement: float
    emotion: float
    function_words: float
    numbers: float
    formality: int
    speaks_to_reader: bool
    is_colloquial: bool


def words_of(text: str) -> list[str]:
    """The words and numbers in order, in lower case, elisions (l'eau, shop's) cut off."""
    words: list[str] = _WORD.findall(text.casefold().replace("’", "'"))
    return [_ELISION.sub("", word) if "'" in word else word for word in words]


def stems_of(words: Iterable[str]) -> dict[str, str]:
    """The telling words by their stems, in order of first appearance: no common words.

    Numbers are compared by value: 12,400 and 12.400 are one.
    """
    stems: dict[str, str] = {}
    for word in words:
        if _is_common(word):
            continue
        for stem in _stems(word):
            stems.setdefault(stem, word)
    return stems


def pairs_of(words: Iterable[str]) -> set[tuple[str, str]]:
    """Telling words that follow each other, as pairs of stems."""
    telling = (stem for word in words if not _is_common(word) for stem in _stems(word))
    return set(pairwise(telling))


def find_language(text: str, words: Sequence[str]) -> str | None:
    """The language as an ISO 639-1 code by its common words, or a script's name; None if unsure.

    `words` are the text's. Knows those of `congruence_words.yaml`.
    """
    counts: Counter[str] = Counter()
    for word in words:
        counts.update(_languages_of_word().get(word, ()))
    (best, count), (_, second) = [*counts.most_common(2), ("", 0), ("", 0)][:2]
    if count > second and count >= max(_FEWEST_COMMON_WORDS, _FEWEST_COMMON_SHARE * len(words)):
        return best
    return _script_of(text)


def is_known_language(code: str) -> bool:
    """Whether `find_language` knows the language of this ISO 639-1 code."""
    return code in read_words_file()["common_words"]


def find_manner(text: str, words: Sequence[str], language: str | None) -> Manner:
    """How the text, these words, speaks; formality is known of the languages that show it."""
    sentences = max(len([part for part in _SENTENCE_END.split(text) if part.strip()]), 1)
    count = max(len(words), 1)
    long_words = sum(1 for word in words if len(word) > _LONG_WORD)
    feelings = _feelings()
    return Manner(
        word_count=len(words),
        readability=len(words) / sentences + 100 * long_words / count,
        excitement=(text.count("!") + len(_EMOJI.findall(text))) / sentences,
        emotion=sum(1 for word in words if word.startswith(feelings)) / count,
        function_words=sum(1 for word in words if _is_common(word)) / count,
        numbers=sum(1 for word in words if word[0].isdigit()) / count,
        formality=_formality(text, words, language),
        speaks_to_reader=not _words_named("reader").isdisjoint(words),
        is_colloquial=bool(_CONTRACTION.search(text)),
    )


@lru_cache(maxsize=65_536)
def _stems(word: str) -> tuple[str, ...]:
    if word[0].isdigit():
        try:
            return (f"{parse_number(word).normalize():f}",)
        except ValueError:  # a date, a version: 12.5.2026
            return (word,)
    if _UNSPACED.search(word):
        return tuple(word[i : i + 2] for i in range(max(len(word) - 1, 1)))
    letters = unicodedata.normalize("NFKD", word)
    return (_stem("".join(each for each in letters if not unicodedata.combining(each))),)


def _stem(word: str) -> str:
    """Endings of number and case cut off: enough for running and runner, not a grammar."""
    if word.endswith("s") and not word.endswith("ss") and len(word) > _SHORTEST_STEM:
        word = word[:-1]
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            word = word[: -len(ending)]
            break
    if len(word) >= _SHORTEST_STEM and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") else word


def _is_common(word: str) -> bool:
    return word in _common_words() or "'" in word  # don't, you're


def _formality(text: str, words: Sequence[str], language: str | None) -> int:
    document = read_words_file()
    if language not in document["formal"]:
        return 0
    informal, formal = document["informal"][language].split(), document["formal"][language].split()
    if language == "de":  # sie is she and they, Sie is you; at a sentence's start nobody can tell
        is_formal = bool(re.search(rf"(?<=[^\W\d_,;]\s|,\s)(?:{'|'.join(formal)})\b", text))
    else:
        is_formal = not set(formal).isdisjoint(words)
    return int(is_formal) - int(not set(informal).isdisjoint(words))


def _script_of(text: str) -> str | None:
    letters = [unicodedata.name(each, "").split(" ")[0] for each in text[:500] if each.isalpha()]
    scripts = Counter(_SCRIPTS.get(name.partition("-")[0]) for name in letters)
    script = scripts.most_common(1)[0][0] if scripts else None
    return script if scripts[script] > len(letters) / 3 else None


@cache
def _languages_of_word() -> dict[str, tuple[str, ...]]:
    languages: dict[str, tuple[str, ...]] = {}
    for language, words in read_words_file()["common_words"].items():
        for word in words.split():
            languages[word] = (*languages.get(word, ()), language)
    return languages


@cache
def _common_words() -> frozenset[str]:
    return frozenset(_languages_of_word())


@cache
def _feelings() -> tuple[str, ...]:
    return tuple(read_words_file()["emotion"].split())


@cache
def _words_named(name: str) -> frozenset[str]:
    return frozenset(read_words_file()[name].split())
