"""What a page says to its visitor, read from its HTML.

Whatever the HTML is, reading it never fails: what is not there or cannot be understood is None.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from hashlib import sha256
from itertools import islice
from typing import Any
from urllib.parse import urljoin, urlsplit

import lxml.html
import trafilatura

from pipeline_assets.sources.web_pages.document import (
    Line,
    decode,
    parse,
    squeeze,
    visible_lines,
)
from pipeline_assets.sources.web_pages.products import meta, read_offer
from pipeline_assets.sources.web_pages.wording import (
    ASKING,
    BUYING,
    DISCOUNT,
    MAY_BE_DISCOUNT,
    NO_MAIN_BUTTON,
)

MAX_MAIN_TEXT_CHARACTERS = 20_000
FEWEST_WORDS = 25
"""A page of fewer words that runs scripts shows the rest of itself to browsers only."""

_MAX_CHARACTERS = 500
_HERO_CHARACTERS = 300
_DISCOUNT_CHARACTERS = 120
_SEARCHED_CHARACTERS = 1_000
_MAX_URL_CHARACTERS = 2_000
_BUTTON_CHARACTERS, _BUTTON_WORDS = 40, 6
_MAX_BUTTONS = 2_000
_MAX_ELEMENTS = 30_000
_WORDS_TO_DETECT = 20
# Languages without spaces: each of their signs counts as a word.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
_LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*")
_CLAUSE_END = re.compile(r"(?<=[.!?…])\s+|\s[|•·–—]\s")
_BUTTON_CLASS = re.compile(r"(^|[\s_-])(btn|button|cta)", re.IGNORECASE)
_PARTS_WITHOUT_MAIN_BUTTON = frozenset({"nav", "header", "footer", "dialog"})
# What differs between two loads of the same page: moments, and marks made for one visitor.
_VOLATILE = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?"
    r"|\b\d{1,2}:\d{2}(:\d{2})?(\s?[ap]m)?\b"
    r"|\b\d{10,}\b"
    r"|\b(?=[0-9a-z_-]{0,99}\d)(?=[0-9a-z_-]{0,99}[a-z])[0-9a-z_-]{16,}\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class PageContent:
    """What a page says; texts are squeezed to single spaces and None where it has none.

    `price` is the first product's, in `currency` (ISO 4217). `language` is BCP 47, as declared or
    else as detected. `main_text` is at most 20,000 characters.
    """

    language: str | None
    title: str | None
    h1: str | None
    hero_text: str | None
    description: str | None
    canonical_url: str | None
    image_url: str | None
    price: Decimal | None
    currency: str | None
    discount: str | None
    cta: str | None
    product_names: tuple[str, ...]
    main_text: str

    @property
    def word_count(self) -> int:
        """Words of the main text."""
        return count_words(self.main_text)

    @property
    def content_hash(self) -> str:
        """A sha256 over what is read on the page, deaf to moments and to marks of one visitor.

        Addresses are left out, because pictures have signed ones.
        """
        said = (
            *(self.title, self.h1, self.hero_text, self.price, self.currency, self.discount),
            *(self.cta, "\n".join(self.product_names), self.main_text),
        )
        texts = ("" if each is None else _VOLATILE.sub("", str(each)) for each in said)
        return sha256("\0".join(texts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ReadPage:
    """A page's content, and what tells whether it is the page at all.

    `visible_words` counts all words that a visitor sees; `runs_scripts` also stands for a page
    that sends its visitor on by itself.
    """

    content: PageContent
    visible_words: int
    runs_scripts: bool

    @property
    def needs_js(self) -> bool:
        """Whether most of the page is hidden from who runs no scripts."""
        return self.runs_scripts and self.visible_words < FEWEST_WORDS


def read_page(body: bytes, *, url: str, content_type: str | None = None) -> ReadPage | None:
    """What the HTML at that final address says; None when nothing is in it.

    `content_type` is the HTTP header's value.
    """
    tree = parse(decode(body, content_type))
    if tree is None:
        return None
    lines = visible_lines(tree)
    main_text = _main_text(tree) or "\n".join(line.text for line in lines if line.is_copy)
    language = _language(tree, main_text)
    offer = read_offer(tree, lines, language=language)
    content = PageContent(
        language=language,
        title=_title(tree),
        h1=_h1(tree),
        hero_text=_hero_text(lines),
        description=meta(tree, "description", "og:description") or None,
        canonical_url=_link(tree, url, "//link[@rel='canonical']/@href"),
        image_url=_link(tree, url, "//meta[@property='og:image' or @name='og:image']/@content"),
        price=offer.price,
        currency=offer.currency,
        discount=_discount(lines),
        cta=_cta(tree),
        product_names=offer.names,
        main_text=main_text[:MAX_MAIN_TEXT_CHARACTERS],
    )
    visible_words = sum(count_words(line.text) for line in lines)
    return ReadPage(content=content, visible_words=visible_words, runs_scripts=_runs_scripts(tree))


def count_words(text: str) -> int:
    """Words; each sign of a language without spaces counts as one."""
    return sum(1 for _ in _WORD.finditer(text))


def _main_text(tree: lxml.html.HtmlElement) -> str:
    """The main text by trafilatura, which knows what is text and what is around it.

    Empty where it finds none, and for a page so big that it would take minutes.
    """
    if next(islice(tree.iter(), _MAX_ELEMENTS, None), None) is not None:
        return ""
    try:
        document = trafilatura.bare_extraction(
            copy.deepcopy(tree), include_comments=False, favor_recall=True
        )
    except (ValueError, RecursionError, AttributeError, TypeError, IndexError, KeyError):
        return ""  # its own trouble with odd HTML; the visible words stand in
    text = getattr(document, "text", None) or ""
    return "\n".join(filter(None, map(squeeze, text.splitlines())))


def _title(tree: lxml.html.HtmlElement) -> str | None:
    titles = (
        squeeze("".join(each.itertext())) for each in tree.xpath("//title[not(ancestor::svg)]")
    )
    return _short(next(filter(None, titles), "") or meta(tree, "og:title"))


def _h1(tree: lxml.html.HtmlElement) -> str | None:
    headings = (squeeze(" ".join(element.itertext())) for element in tree.iter("h1"))
    return _short(next(filter(None, headings), ""))


def _hero_text(lines: Sequence[Line]) -> str | None:
    """The first words after the heading; from the page's top where there is no heading."""
    copy_lines = [line for line in lines if line.is_copy]
    after = [line.text for line in copy_lines if line.is_after_h1]
    return _short(" ".join(after or [line.text for line in copy_lines]), _HERO_CHARACTERS)


def _short(text: str, most_characters: int = _MAX_CHARACTERS) -> str | None:
    """The text's beginning, cut between words; None for no text."""
    if len(text) > most_characters:
        text = text[:most_characters].rsplit(" ", 1)[0]
    return text or None


def _language(tree: lxml.html.HtmlElement, main_text: str) -> str | None:
    declared = (tree.get("lang"), meta(tree, "og:locale"), meta(tree, "content-language"))
    for each in declared:
        code = (each or "").strip().replace("_", "-")
        if _LANGUAGE.fullmatch(code):
            base, *rest = code.split("-")
            return "-".join([base.lower(), *(p.upper() if len(p) == 2 else p for p in rest)])
    if count_words(main_text[:2_000]) < _WORDS_TO_DETECT:
        return None
    return str(_language_detector()(main_text[:2_000])[0])


@cache
def _language_detector() -> Any:
    """Loaded for the first page that does not say: it takes half a second."""
    from py3langid import classify  # noqa: PLC0415

    return classify


def _link(tree: lxml.html.HtmlElement, url: str, path: str) -> str | None:
    """The first web address at that place of the page, made absolute."""
    for found in tree.xpath(path):
        try:
            link = urljoin(url, squeeze(found))
            scheme = urlsplit(link).scheme
        except ValueError:
            continue
        if scheme in {"http", "https"} and len(link) <= _MAX_URL_CHARACTERS:
            return link
    return None


def _discount(lines: Sequence[Line]) -> str | None:
    """The first discount in the page's own words: the clause that it stands in."""
    for line in lines:
        text = line.text[:_SEARCHED_CHARACTERS]  # a megabyte of digits would take for ever
        if line.is_footer or not MAY_BE_DISCOUNT.search(text):
            continue
        if found := DISCOUNT.search(text):
            clauses = _CLAUSE_END.split(text)
            clause = next((each for each in clauses if each and found[0] in each), found[0])
            return clause if len(clause) <= _DISCOUNT_CHARACTERS else found[0]
    return None


def _cta(tree: lxml.html.HtmlElement) -> str | None:
    """The main button's words: the first that sells, else that asks for a step, else any."""
    elements = islice(tree.iter("a", "button", "input"), _MAX_BUTTONS)
    words = [text for element in elements if (text := _button(element))]
    for wording in (BUYING, ASKING):
        for text in words:
            if wording.search(text):
                return text
    return words[0] if words else None


def _button(element: lxml.html.HtmlElement) -> str:
    """The words of an element that looks like a main button; empty for others."""
    if element.tag == "input":
        looks_so, text = element.get("type") in {"submit", "button"}, element.get("value")
    else:
        is_named_so = _BUTTON_CLASS.search(element.get("class") or "") is not None
        looks_so = is_named_so or "button" in {element.tag, element.get("role")}
        text = "".join(element.itertext())
    words = squeeze(text)
    if not looks_so or not words or len(words) > _BUTTON_CHARACTERS:
        return ""
    is_short = count_words(words) > 0 and len(words.split()) <= _BUTTON_WORDS
    if not is_short or NO_MAIN_BUTTON.search(words):
        return ""
    around = {str(each.tag) for each in element.iterancestors()}
    return "" if around & _PARTS_WITHOUT_MAIN_BUTTON else words


def _runs_scripts(tree: lxml.html.HtmlElement) -> bool:
    is_sent_on = tree.xpath(
        "//meta[translate(@http-equiv, 'REFSH', 'refsh')='refresh' and contains(@content, '=')]"
    )
    scripts = (each for each in tree.iter("script") if "json" not in (each.get("type") or ""))
    return bool(is_sent_on) or next(scripts, None) is not None
