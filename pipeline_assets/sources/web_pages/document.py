"""A page's HTML as a tree, and the lines that a visitor sees of it, in order."""

from collections.abc import Iterator
from dataclasses import dataclass

import charset_normalizer
import lxml.etree
import lxml.html
from w3lib.encoding import html_to_unicode

_DETECTED_BYTES = 64 * 1024
_INVISIBLE = frozenset(
    {"script", "style", "noscript", "template", "svg", "iframe", "object", "head", "datalist"}
)
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "br", "button", "caption", "dd",
        "details", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1",
        "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option", "p",
        "picture", "pre", "section", "select", "summary", "table", "tbody", "td", "tfoot", "th",
        "thead", "tr", "ul",
    }
)  # fmt: skip
_MACHINERY = frozenset({"nav", "footer", "button", "select", "label", "dialog"})
"""Parts that are read by nobody who reads the page from its top."""


@dataclass(frozen=True)
class Line:
    """Some words of one block. `is_footer`: in the page's footer; `is_copy`: meant to be read."""

    text: str
    is_footer: bool
    is_copy: bool
    is_after_h1: bool


def decode(body: bytes, content_type: str | None) -> str:
    """The text, by byte order mark, else HTTP header, else the page's own word, else its bytes."""
    try:
        text = html_to_unicode(content_type, body, auto_detect_fun=_detected_encoding)[1]
    except (LookupError, UnicodeError):  # Python's codecs that are no charset: hex, idna, undefined
        text = body.decode(_detected_encoding(body), "replace")
    return text.replace("\0", "")


def _detected_encoding(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        best = charset_normalizer.from_bytes(body[:_DETECTED_BYTES]).best()
        return best.encoding if best else "cp1252"
    return "utf-8"


def parse(text: str) -> lxml.html.HtmlElement | None:
    """The tree; None when there is nothing in it."""
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        return lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.LxmlError, ValueError):
        return None


def squeeze(text: str | None) -> str:
    """The words with one space between them, without control characters."""
    words = " ".join((text or "").split())
    if words.isprintable():
        return words
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


def visible_lines(tree: lxml.html.HtmlElement) -> list[Line]:
    """What a visitor sees, block by block."""
    return [line for line in _lines(tree) if line.text]


def _lines(tree: lxml.html.HtmlElement) -> Iterator[Line]:
    words: list[str] = []
    open_blocks: list[str] = []
    seen_h1 = False

    def line() -> Line:
        text = squeeze("".join(words))
        words.clear()
        return Line(
            text,
            is_footer="footer" in open_blocks,
            is_copy=not _MACHINERY.intersection(open_blocks),
            is_after_h1=seen_h1 and "h1" not in open_blocks,
        )

    walk = lxml.etree.iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        tag = str(element.tag)
        is_start, is_block = event == "start", tag in _BLOCKS
        is_shown = tag not in _INVISIBLE and not _is_hidden(element)
        if is_block:
            yield line()
        if is_start and not is_shown:
            walk.skip_subtree()
        elif is_start:
            open_blocks.extend([tag] if is_block else [])
            words.append(element.text or "")
        else:
            if is_block and is_shown:
                open_blocks.pop()
                seen_h1 = seen_h1 or tag == "h1"
            words.append(element.tail or "")
    yield line()


def _is_hidden(element: lxml.html.HtmlElement) -> bool:
    style = (element.get("style") or "").replace(" ", "").lower()
    return element.get("hidden") is not None or "display:none" in style
