"""What a host's robots.txt allows our reader. Source: RFC 9309; Crawl-delay as crawlers read it."""

from dataclasses import dataclass, field

from protego import Protego

USER_AGENT_TOKEN = "pipeline-assets"  # noqa: S105 - the name that robots.txt may call us by
MAX_ROBOTS_BYTES = 500 * 1024
"""RFC 9309 asks for at least so much to be read; what follows is ignored."""
MAX_CRAWL_DELAY_SECONDS = 5.0
"""A longer delay would keep a run waiting for hours: one page after the other is polite enough."""


@dataclass(frozen=True)
class RobotsRules:
    """The rules of one scheme, host and port; `problem` is why nothing at all may be read."""

    problem: str | None = None
    _rules: Protego | None = field(default=None, repr=False)

    def allows(self, url: str) -> bool:
        """Whether the page may be asked for."""
        if self.problem is not None:
            return False
        return self._rules is None or self._rules.can_fetch(url, USER_AGENT_TOKEN)

    @property
    def delay_seconds(self) -> float:
        """The pause that the host wants between two requests, at most five seconds."""
        delay = self._rules.crawl_delay(USER_AGENT_TOKEN) if self._rules else None
        return min(max(delay or 0.0, 0.0), MAX_CRAWL_DELAY_SECONDS)


ALLOW_ALL = RobotsRules()


def rules_of_answer(status_code: int, body: bytes) -> RobotsRules:
    """The rules that an answer for /robots.txt sets.

    No such file (4xx) allows everything. A server in trouble (5xx, and 429, which says too many
    requests and nothing of the file) allows nothing.
    """
    if status_code == 429 or status_code >= 500:
        return RobotsRules(problem=f"robots.txt answered {status_code}, so nothing may be read.")
    if not 200 <= status_code < 300:
        return ALLOW_ALL
    text = body[:MAX_ROBOTS_BYTES].decode("utf-8-sig", errors="replace").replace("\0", "")
    return RobotsRules(_rules=Protego.parse(text))
