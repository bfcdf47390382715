"""What became of a page: the state it was found in and, when it could be read, what it says."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline_assets.sources.web_pages.content import PageContent


class PageState(StrEnum):
    """How a page was found; every state but `ok` has a reason beside it."""

    OK = "ok"
    BLOCKED = "blocked"
    """The shop keeps programs out: 401, 403, or a challenge instead of the page."""
    NEEDS_JS = "needs_js"
    """Without a browser there is hardly a word on it."""
    DISALLOWED = "disallowed"
    """robots.txt asks not to read it; it was not asked for."""
    REFUSED = "refused"
    """It leads to an address that is not public; nothing was asked for there."""
    NOT_FOUND = "not_found"
    NOT_HTML = "not_html"
    FAILED = "failed"
    """No answer, a broken one, or one that says try again later."""


@dataclass(frozen=True, kw_only=True)
class PageVisit:
    """One page as it was found; `content` only when `state` is `ok`.

    `reason` is why it is not. `seconds` is how long the answers took, waits for the host's turn
    left out. Without any answer `status_code` and `final_url` are None.
    """

    url: str
    state: PageState
    reason: str | None = None
    status_code: int | None = None
    final_url: str | None = None
    redirect_count: int | None = None
    seconds: float = 0.0
    content: PageContent | None = None
    is_silence: bool = False
    """Nobody gave a whole answer: there is no such host, or our own network does not reach it."""
