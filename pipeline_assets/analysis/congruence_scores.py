"""Scores what an ad says against what its page says, 0-10 each, with the reasons in words.

Belongs here: what of an ad and a page is compared; message, visual and tone; another product or
language. Does not: offers (`congruence_offers.py`), frames, totals and the outcome
(`congruence.py`), cutting texts (`congruence_texts.py`).
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pipeline_assets.analysis.congruence_texts import (
    Manner,
    find_language,
    find_manner,
    is_known_language,
    pairs_of,
    stems_of,
    words_of,
)
from pipeline_assets.analysis.offers import Amount, Kind, Offers, find_offers
from pipeline_assets.analysis.picture_sketches import Sketch, colour_overlap, shape_difference

BEST = 10.0

_FEWEST_AD_WORDS = 8  # fewer show no manner
_FEWEST_PAGE_WORDS = 15
_OTHER_PRODUCT_BELOW = 2.0  # of the message: next to nothing of the ad is on the page
_FAINT = 4.5  # of the message: enough only where the page sells something
_MOST_IN_OTHER_LANGUAGE = 2.0
_FEWEST_FUNCTION_WORDS = 0.19  # of all words; lists of goods have fewer, prose has 0.25 to 0.5
_FEWEST_LIST_NUMBERS = 0.1
_SHOWN_WORDS = 6

_SAME_PICTURE = 0.16  # of the bits differ, 10 of 64: cropped, scaled, a badge laid over it
_NO_COMMON_COLOUR, _OTHER_PICTURE = 2.0, 8.0

# What a headline's words and the text's are worth, and how much of the page's first words the ad
# said before: fitted to the labelled pairs of the benchmark (those not held back).
_HEADLINE, _BODY, _ECHO = 0.45, 0.25, 0.30
_TELLING_HEADLINE = 4  # telling words; the product's name alone is half a message
_BELOW_THE_FOLD = 0.6  # a word that only the page's main text has
_PAIR_BONUS = 0.15  # whole phrases are taken over
_NAME_BONUS = 0.10  # the page's product is named in full
_FULL = 0.62  # so much of it reads as the same message: nobody repeats every word


@dataclass(frozen=True)
class Score:
    """0-10, or None where there is nothing to judge by; why, in words; what is severely wrong."""

    value: float | None
    evidence: tuple[str, ...]
    mismatches: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoPicture:
    """Why there is no sketch of a picture, in words; `is_final`: asking again would not help."""

    reason: str
    is_final: bool


@dataclass(frozen=True)
class _Part:
    words: tuple[str, ...]
    stems: dict[str, str]
    pairs: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class AdText:
    """One headline and primary text of an ad; what is compared of them is read when asked for."""

    headline_text: str
    body_text: str

    @property
    def headline(self) -> dict[str, str]:
        """The headline's telling words, by stem."""
        return _read_part(self.headline_text).stems

    @property
    def body(self) -> dict[str, str]:
        """The primary text's."""
        return _read_part(self.body_text).stems

    @cached_property
    def stems(self) -> dict[str, str]:
        """The telling words of both."""
        return self.headline | self.body

    @cached_property
    def pairs(self) -> AbstractSet[tuple[str, str]]:
        """Telling words that follow each other in one of them."""
        return _read_part(self.headline_text).pairs | _read_part(self.body_text).pairs

    @cached_property
    def language(self) -> str | None:
        """The language of both together."""
        return find_language(self._text, self._words)

    @cached_property
    def offers(self) -> Offers:
        """What both offer."""
        return find_offers(self._text)

    @cached_property
    def manner(self) -> Manner:
        """How both speak."""
        return find_manner(self._text, self._words, self.language)

    @property
    def _text(self) -> str:
        return f"{self.headline_text}\n{self.body_text}"

    @property
    def _words(self) -> Sequence[str]:
        return _read_part(self.headline_text).words + _read_part(self.body_text).words


@lru_cache(maxsize=1_024)
def _read_part(text: str) -> _Part:
    words = words_of(text)
    return _Part(tuple(words), stems_of(words), frozenset(pairs_of(words)))


@dataclass(frozen=True, kw_only=True)
class PageText:
    """A page's texts as far as they are compared: the first words a visitor reads, and the rest."""

    first: dict[str, str]
    rest: dict[str, str]
    lead: dict[str, str]
    pairs: set[tuple[str, str]]
    price: Amount | None
    first_offers: Offers
    offers: Offers
    products: tuple[tuple[str, frozenset[str]], ...]
    language: str | None
    manner: Manner

    @property
    def stems(self) -> AbstractSet[str]:
        """The telling words of all of it."""
        return self.first.keys() | self.rest.keys()

    @property
    def prices(self) -> tuple[Amount, ...]:
        """Every price that it names, its product's own first."""
        named = self.offers.of_kind(Kind.PRICE, Kind.SEVERAL)
        return (self.price, *named) if self.price else named

    @property
    def rates(self) -> tuple[Amount, ...]:
        """What it costs for each of something, or in how large a part."""
        return self.offers.of_kind(Kind.RATE)


def read_page_text(
    *,
    headings: Sequence[str],
    lead: str,
    description: str,
    main_text: str,
    discount: str,
    price: Amount | None,
    product_names: Sequence[str],
    declared_language: str | None,
) -> PageText:
    """Prepare a page: `headings` are title and h1, `lead` the first words below them.

    What the texts show of their language counts more than what the page declares: shops translate
    texts and forget the declaration.
    """
    above = "\n".join([*headings, lead, description, discount])
    of_lead, of_above, of_main = words_of(lead), words_of(above), words_of(main_text)
    language = find_language(f"{above}\n{main_text}", [*of_above, *of_main])
    language = language or _primary(declared_language)
    first_offers = _together(find_offers(above), find_offers(discount, is_discount=True))
    return PageText(
        first=stems_of(of_above),
        rest=stems_of([*of_main, *words_of(" ".join(product_names))]),
        lead=stems_of([*words_of(" ".join(headings[1:])), *of_lead]),
        pairs=pairs_of(of_above) | pairs_of(of_main),
        price=price,
        first_offers=first_offers,
        offers=_together(first_offers, find_offers(main_text)),
        products=tuple((name, frozenset(stems_of(words_of(name)))) for name in product_names),
        language=language,
        manner=find_manner(f"{lead}\n{main_text}", [*of_lead, *of_main], language),
    )


def score_message(ad: AdText, page: PageText) -> Score:
    """How much of what the ad speaks of the page takes up, and takes up first."""
    if not ad.stems:
        return Score(None, ("The ad has no text to compare.",))
    if not page.first and not page.rest:
        return Score(None, ("The page has no text to compare.",))
    headline = _HEADLINE * min(len(ad.headline) / _TELLING_HEADLINE, 1)
    parts = [(headline, _coverage(ad.headline, page)), (_BODY, _coverage(ad.body, page))]
    if page.lead:
        echo = sum(1 for stem in page.lead if stem in ad.stems) / len(page.lead)
        parts.append((_ECHO, echo))
    known = [(weight, share) for weight, share in parts if share is not None]
    share = sum(weight * part for weight, part in known) / sum(weight for weight, _ in known)
    if ad.pairs:
        share += _PAIR_BONUS * len(ad.pairs & page.pairs) / len(ad.pairs)
    if named_share(ad, page) == 1:
        share += _NAME_BONUS
    value = BEST * share / _FULL
    if _is_other_language(ad, page):  # numbers and names are the same, the message is not read
        value = min(value, _MOST_IN_OTHER_LANGUAGE)
    return Score(rounded(value), _message_evidence(ad, page), _language_mismatch(ad, page))


def find_other_product(
    ad: AdText, page: PageText, message: Score, *, named: Sequence[str]
) -> str | None:
    """Why ad and page are about different things, in words; None when they are not.

    `named` are products of the brand that the ad names.
    """
    if _is_other_language(ad, page):
        return None  # the words differ anyway
    on_page = page.products[0][0] if page.products else "something else"
    share = named_share(ad, page)
    absent = [name for name in named if not stems_of(words_of(name)).keys() <= page.stems]
    if absent and share < 1:
        return f"Other product: the ad speaks of {absent[0]}, the page of {on_page}."
    is_priced = bool(ad.offers.of_kind(Kind.PRICE, Kind.RATE))
    sells_nothing = is_priced and not (page.prices or page.rates or page.products)
    limit = _FAINT if sells_nothing else _OTHER_PRODUCT_BELOW
    is_unlike = message.value is not None and message.value < limit
    if share > 0 or not is_unlike or page.manner.word_count < _FEWEST_PAGE_WORDS:
        return None
    return f"Other product: the page is about {on_page}, hardly a word of the ad is on it."


def score_visual(ad: Sketch | NoPicture | None, page: Sketch | NoPicture | None) -> Score:
    """Whether the ad's picture is the page's preview picture, or at least has its colours.

    What the pictures show is not known without a model, so another picture is never the best.
    """
    if not isinstance(ad, Sketch) or not isinstance(page, Sketch):
        reasons = [each.reason for each in (ad, page) if isinstance(each, NoPicture)]
        why = "; ".join(reasons) or "there are not pictures of both."
        return Score(None, (f"Not compared: {why}",))
    if shape_difference(ad, page) <= _SAME_PICTURE:
        return Score(BEST, ("The page shows the ad's picture.",))
    overlap = colour_overlap(ad, page)
    value = _NO_COMMON_COLOUR + overlap * (_OTHER_PICTURE - _NO_COMMON_COLOUR)
    return Score(rounded(value), (f"Another picture; {overlap:.0%} of the colours are the same.",))


def score_tone(ad: AdText, page: PageText) -> Score:
    """Whether both speak in the same manner: address, excitement, difficulty."""
    if _is_other_language(ad, page):
        return Score(0.0, (f"The ad speaks {ad.language}, the page {page.language}.",))
    a, b = ad.manner, page.manner
    if a.word_count < _FEWEST_AD_WORDS or b.word_count < _FEWEST_PAGE_WORDS:
        return Score(None, (f"Too few words: {a.word_count} and {b.word_count}.",))
    losses = [
        (5.0 * (a.formality * b.formality < 0), "One addresses formally, the other does not."),
        (
            min(max(abs(a.readability - b.readability) - 15, 0) / 8, 3.0),
            f"Difficulty (LIX) {a.readability:.0f} in the ad, {b.readability:.0f} on the page.",
        ),
        (
            min(max(abs(a.excitement - b.excitement) - 0.3, 0) * 3, 3.0),
            f"{a.excitement:.1f} exclamations a sentence in the ad, {b.excitement:.1f} on page.",
        ),
        (
            1.5 * (a.speaks_to_reader and not b.speaks_to_reader),
            "Only the ad speaks to the reader.",
        ),
        (min(max(a.emotion - b.emotion - 0.05, 0) * 15, 1.5), "The ad is more emotional."),
        (3.5 * (_is_list(b) and not _is_list(a)), "The page lists where the ad speaks."),
        (0.5 * (a.is_colloquial != b.is_colloquial), "Only one of them is colloquial."),
    ]
    evidence = tuple(line for loss, line in losses if loss > 0)
    value = BEST - sum(loss for loss, _ in losses)
    return Score(rounded(value), evidence or ("Both speak in the same manner.",))


def _is_list(manner: Manner) -> bool:
    return manner.function_words < _FEWEST_FUNCTION_WORDS and manner.numbers >= _FEWEST_LIST_NUMBERS


# ------------------------------------------------------------------------------------- message


def _coverage(stems: Iterable[str], page: PageText) -> float | None:
    """The share of the words that the page has; those of its main text alone count less."""
    found = [
        1.0 if stem in page.first else _BELOW_THE_FOLD if stem in page.rest else 0.0
        for stem in stems
    ]
    return sum(found) / len(found) if found else None


def _message_evidence(ad: AdText, page: PageText) -> tuple[str, ...]:
    first = [word for stem, word in ad.stems.items() if stem in page.first]
    below = [word for stem, word in ad.stems.items() if stem in page.rest and word not in first]
    missing = [
        word
        for stem, word in ad.headline.items()
        if stem not in page.first and stem not in page.rest
    ]
    lines = [
        ("In the page's first words: ", first),
        ("Only further down: ", below),
        ("Of the headline not on the page: ", missing),
    ]
    found = tuple(f"{line}{', '.join(words[:_SHOWN_WORDS])}." for line, words in lines if words)
    return found or ("No telling word of the ad is on the page.",)


def _is_other_language(ad: AdText, page: PageText) -> bool:
    return None not in {ad.language, page.language} and ad.language != page.language


def _language_mismatch(ad: AdText, page: PageText) -> tuple[str, ...]:
    if not _is_other_language(ad, page):
        return ()
    return (f"Other language: the ad is in {ad.language}, the page in {page.language}.",)


def _primary(language: str | None) -> str | None:
    code = (language or "").replace("_", "-").split("-")[0].lower()
    return code if is_known_language(code) else None


def named_share(ad: AdText, page: PageText) -> float:
    """The largest share of a product's name that the ad has, 0-1."""
    return max((share_of_name(stems, ad) for _, stems in page.products), default=0.0)


def share_of_name(stems: frozenset[str], ad: AdText) -> float:
    """The share of a name's telling words that the ad has, 0-1."""
    return len(stems & ad.stems.keys()) / len(stems) if stems else 0.0


def _together(one: Offers, other: Offers) -> Offers:
    return Offers(
        amounts=tuple(dict.fromkeys((*one.amounts, *other.amounts))),
        percents=tuple(dict.fromkeys((*one.percents, *other.percents))),
        is_shipping_free=one.is_shipping_free or other.is_shipping_free,
        is_shipping_paid=one.is_shipping_paid or other.is_shipping_paid,
        is_several_for_less=one.is_several_for_less or other.is_several_for_less,
        is_something_free=one.is_something_free or other.is_something_free,
        has_code=one.has_code or other.has_code,
    )


def rounded(value: float) -> float:
    """A score with one decimal, within 0-10."""
    return round(min(max(value, 0.0), BEST), 1)
