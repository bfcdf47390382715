"""What an answer means: the page itself, or one of the ways in which it is withheld."""

from collections.abc import Mapping

from urllib3.response import HTTPResponse

from pipeline_assets.sources.public_http import PublicResponse
from pipeline_assets.sources.web_pages.content import ReadPage, read_page
from pipeline_assets.sources.web_pages.requesting import Answer
from pipeline_assets.sources.web_pages.visits import PageState

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_MOST_WORDS_OF_A_CHALLENGE = 120
_SEARCHED_BYTES = 100_000
_SHOWN_CHARACTERS = 100
_REFUSALS = {
    401: (PageState.BLOCKED, "it keeps programs out"),
    403: (PageState.BLOCKED, "it keeps programs out"),
    404: (PageState.NOT_FOUND, "there is no such page"),
    410: (PageState.NOT_FOUND, "the page is gone"),
    429: (PageState.FAILED, "too many requests"),
}
_COMPRESSIONS = frozenset({"br", "compress", "dcb", "dcz", "x-compress", "zstd"}).difference(
    HTTPResponse.CONTENT_DECODERS
)
"""Nobody asked for these and nothing here undoes them. Other odd names stand before plain text."""

_CHALLENGE_HEADERS = {"cf-mitigated": "Cloudflare", "x-datadome": "DataDome"}
_CHALLENGE_MARKS = {
    b"/cdn-cgi/challenge-platform/": "Cloudflare",
    b"cf-chl-": "Cloudflare",
    b"captcha-delivery.com": "DataDome",
    b"px-captcha": "HUMAN",
    b"_incapsula_resource": "Imperva",
    b"awswafcookiedomainlist": "AWS WAF",
    b"/_sec/cp_challenge/": "Akamai",
    b"errors.edgesuite.net": "Akamai",
    b"hcaptcha.com/1/api.js": "hCaptcha",
    b"google.com/recaptcha": "reCAPTCHA",
    b"checking your browser": "the shop",
    b"verify you are human": "the shop",
}
"""What the pages of well-known guards contain. Shops load some of them on good pages too, so a mark
alone is no challenge: the page must be short as well."""

Judgement = tuple[PageState, str | None, ReadPage | None]
"""The state, the reason of every state but `ok`, and what was read."""


def wants_body(response: PublicResponse) -> bool:
    """Whether an answer's body may be a page or a challenge."""
    return _is_html(response.headers) and _compression(response.headers) is None


def judge(answer: Answer) -> Judgement:
    """The state that an answer puts its page in."""
    page = _read(answer)
    if guard := _challenger(answer, page):
        reason = f"{guard} asks for proof of a person (HTTP {answer.status_code})."
        return PageState.BLOCKED, reason, None
    if refusal := _refusal(answer):
        return *refusal, None
    if page is None or (page.visible_words == 0 and not page.runs_scripts):
        return PageState.FAILED, "The page is empty.", None
    if page.needs_js:
        reason = f"Without a browser it shows {page.visible_words} words only."
        return PageState.NEEDS_JS, reason, None
    return PageState.OK, None, page


def _refusal(answer: Answer) -> tuple[PageState, str] | None:
    """State and reason of an answer whose head says that it is no page; None for others."""
    if not 200 <= answer.status_code < 300:
        state, what = _REFUSALS.get(answer.status_code, (PageState.FAILED, "no page"))
        return state, f"The shop answered {answer.status_code}: {what}."
    if not _is_html(answer.headers):
        kind = answer.headers["Content-Type"][:_SHOWN_CHARACTERS]
        return PageState.NOT_HTML, f"It is no web page but {kind}."
    if compression := _compression(answer.headers):
        return PageState.FAILED, f"The shop compressed it in a way not asked for: {compression}."
    return None


def _read(answer: Answer) -> ReadPage | None:
    if answer.body is None:
        return None
    return read_page(answer.body, url=answer.url, content_type=answer.headers.get("Content-Type"))


def _is_html(headers: Mapping[str, str]) -> bool:
    """By its type; an answer that names none is taken for a page, as browsers do."""
    content_type = headers.get("Content-Type", "text/html").partition(";")[0]
    return content_type.strip().lower() in _HTML_TYPES


def _compression(headers: Mapping[str, str]) -> str | None:
    """The compression that cannot be undone; None where there is none."""
    names = (each.strip().lower() for each in headers.get("Content-Encoding", "").split(","))
    return next((name for name in names if name in _COMPRESSIONS), None)


def _challenger(answer: Answer, page: ReadPage | None) -> str | None:
    """Whose challenge stands where the page should be; None when it is none."""
    if answer.headers.get("cf-mitigated", "").lower() == "challenge":
        return _CHALLENGE_HEADERS["cf-mitigated"]
    is_error = answer.status_code in {401, 403, 429, 503}
    if is_error and "x-datadome" in answer.headers:
        return _CHALLENGE_HEADERS["x-datadome"]
    if page is None or page.visible_words > _MOST_WORDS_OF_A_CHALLENGE:
        return None
    if not is_error and not page.runs_scripts:
        return None
    start = (answer.body or b"")[:_SEARCHED_BYTES].lower()
    return next((guard for mark, guard in _CHALLENGE_MARKS.items() if mark in start), None)
