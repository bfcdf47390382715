"""What an error of the Graph API means: decided by code and subcode, never by its text.

Texts are localised and change; codes are the contract. Belongs here: reading an error body, the
table of codes, the sentence for people. Does not: what is then done (client, paging, splitting).

Source: Meta Marketing API v26.0, "Error codes" and "Insights API error codes".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    InvalidConfigError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
    TransientError,
)
from pipeline_assets.redaction import redact

Json = dict[str, Any]
"""A JSON object as orjson reads it."""


class Remedy(Enum):
    """What to do about a failed call."""

    RETRY = auto()
    """A hiccup of Meta's: the same call may work in a moment."""
    ASK_LESS = auto()
    """Ask for smaller pages, fewer days, campaigns or fields."""
    AMBIGUOUS = auto()
    """Code 1 is a hiccup or a page that is too big; Meta's codes do not tell which."""
    ASK_OTHERWISE = auto()
    """Unknown trouble of a report: repeat it, then look for a field that cannot be delivered."""
    WAIT = auto()
    RENEW_TOKEN = auto()
    GET_ACCESS = auto()
    FIX_CONFIG = auto()
    GIVE_UP = auto()


class TooMuchDataError(SourceUnavailableError):
    """Meta cannot answer a question of this size; smaller ones may work.

    `page_may_shrink`: it may be the page that is too big (code 1), not the question as a whole.
    """

    def __init__(self, message: str, *, page_may_shrink: bool = False) -> None:
        super().__init__(message)
        self.page_may_shrink = page_may_shrink


class UnknownReportTroubleError(SourceUnavailableError):
    """Meta cannot make this report and does not say why (2/1504044)."""


class ObjectMissingError(AccessError):
    """The object does not exist or the token may not see it (100/33); Meta does not tell which."""


@dataclass(frozen=True, kw_only=True)
class GraphFailure:
    """A failed call as Meta told it. `code` is None when the answer was no Graph error at all."""

    status: int
    code: int | None = None
    subcode: int | None = None
    kind: str = ""
    message: str = ""
    is_transient: bool = False
    trace_id: str = ""

    @property
    def codes(self) -> str:
        """Code and subcode as people quote them: `190/463`, or the HTTP status."""
        if self.code is None:
            return f"HTTP {self.status}" if self.status else "no answer"
        return f"{self.code}/{self.subcode}" if self.subcode else str(self.code)


def read_failure(status: int, error: object) -> GraphFailure:
    """The failure in an `error` member; only message and code can be relied on, and barely."""
    if not isinstance(error, Mapping):
        return GraphFailure(status=status, message=str(error)[:200])
    text = error.get("error_user_msg") or error.get("message") or ""
    return GraphFailure(
        status=status,
        code=_number(error.get("code")),
        subcode=_number(error.get("error_subcode", error.get("subcode"))),  # debug_token's name
        kind=str(error.get("type") or ""),
        message=str(text),
        is_transient=error.get("is_transient") is True,
        trace_id=str(error.get("fbtrace_id") or ""),
    )


def read_run_failure(run: Mapping[str, Any]) -> GraphFailure:
    """Why a report run ended `Job Failed` (fields of v25.0 and later; older ones say nothing)."""
    return GraphFailure(
        status=200,
        code=_number(run.get("error_code")),
        subcode=_number(run.get("error_subcode")),
        message=str(run.get("error_user_msg") or run.get("error_message") or ""),
    )


def _number(value: object) -> int | None:
    try:
        return int(value) if isinstance(value, int | str) else None
    except ValueError:
        return None


_BY_SUBCODE = {
    (-3, 1504045): Remedy.ASK_LESS,
    (-2, 2490547): Remedy.RETRY,
    (1, 0): Remedy.AMBIGUOUS,  # 0 stands for no subcode
    (1, 99): Remedy.AMBIGUOUS,
    (2, 1504038): Remedy.ASK_LESS,
    (2, 1504041): Remedy.GIVE_UP,
    (2, 1504042): Remedy.GIVE_UP,
    (2, 1504044): Remedy.ASK_OTHERWISE,
    (10, 2332002): Remedy.GET_ACCESS,
    (100, 33): Remedy.GET_ACCESS,
    (100, 1487534): Remedy.ASK_LESS,
    (100, 1504018): Remedy.ASK_LESS,
    (100, 3191001): Remedy.GET_ACCESS,
    (190, 2069032): Remedy.GET_ACCESS,  # asks for the page's token; ours is good
}
_BY_CODE = {
    **dict.fromkeys(range(80000, 80015), Remedy.WAIT),  # limits of each business use case
    **dict.fromkeys(range(200, 300), Remedy.GET_ACCESS),
    -3: Remedy.ASK_LESS,
    -2: Remedy.RETRY,
    1: Remedy.RETRY,
    2: Remedy.RETRY,
    3: Remedy.GET_ACCESS,
    4: Remedy.WAIT,
    10: Remedy.GET_ACCESS,
    17: Remedy.WAIT,
    32: Remedy.WAIT,
    100: Remedy.GIVE_UP,
    102: Remedy.RENEW_TOKEN,
    104: Remedy.RENEW_TOKEN,
    190: Remedy.RENEW_TOKEN,
    341: Remedy.WAIT,
    368: Remedy.GET_ACCESS,
    613: Remedy.WAIT,
    960: Remedy.ASK_LESS,
    2500: Remedy.GIVE_UP,
    2635: Remedy.FIX_CONFIG,
    3018: Remedy.GIVE_UP,
    3910001: Remedy.RETRY,
}
_SCOPE = "ads_read"  # all that reading takes
_TOKEN_TROUBLE = {
    458: "the person removed the app",
    459: "the account behind it is stopped at a security check",
    460: "its password was changed",
    463: "it has expired",
    464: "the account behind it is not confirmed",
    467: "it was invalidated",
    492: "its session is invalid",
}


def remedy_for(failure: GraphFailure) -> Remedy:
    """What to do; an unknown code is retried when Meta calls it transient or answered 5xx."""
    code = failure.code
    if code is None:
        return Remedy.WAIT if failure.status == 429 else Remedy.RETRY
    known = _BY_SUBCODE.get((code, failure.subcode or 0)) or _BY_CODE.get(code)
    if known is not None:
        return known
    return Remedy.RETRY if failure.is_transient or failure.status >= 500 else Remedy.GIVE_UP


def lacks_proof(failure: GraphFailure) -> bool:
    """Meta asks for an appsecret_proof or does not accept the one sent.

    Both come as code 100 without subcode and type GraphMethodException; an object that is missing
    has the same type with subcode 33.
    """
    return failure.code == 100 and not failure.subcode and failure.kind == "GraphMethodException"


def error_for(failure: GraphFailure, *, subject: str) -> PipelineError:
    """The error to raise for `subject` (an ad account, or what was read), without any secret."""
    if lacks_proof(failure):
        return CredentialError(
            _sentence(f"Meta does not accept the call for {subject} without app proof", failure),
            advice="Give the app secret that belongs to the token's app.",
        )
    match remedy_for(failure):
        case Remedy.RENEW_TOKEN:
            return token_error(failure, subject=subject)
        case Remedy.GET_ACCESS:
            return _access_error(failure, subject=subject)
        case Remedy.FIX_CONFIG | Remedy.GIVE_UP as remedy:
            return _rejected_error(failure, remedy, subject=subject)
        case remedy:
            return _transient_error(failure, remedy, subject=subject)


def token_trouble(failure: GraphFailure) -> str:
    """What is wrong with a token, in words and with its codes."""
    why = _TOKEN_TROUBLE.get(failure.subcode or 0, "it is not valid")
    if failure.code == 104:
        why = "its signature or the app's proof is wrong"
    return f"{why} (code {failure.codes})"


def token_error(failure: GraphFailure, *, subject: str) -> CredentialError:
    """The error for a token that Meta no longer takes, naming the account that was asked."""
    return CredentialError(
        f"Meta refuses the token used for {subject}: {token_trouble(failure)}.",
        advice="Make a new token (a system user's, with ads_read) and put it where the brand's "
        "token reference points.",
    )


def _access_error(failure: GraphFailure, *, subject: str) -> AccessError:
    if (failure.code, failure.subcode) == (100, 33):
        return ObjectMissingError(
            _sentence(f"{subject} does not exist or the token may not see it", failure),
            advice=f"Check the id and assign it to the token's user with {_SCOPE}.",
        )
    if failure.code == 368:
        return AccessError(
            _sentence(f"Meta has blocked the app or user for abuse; asked was {subject}", failure),
            advice="Look into Meta's account quality page; do not call again before it is lifted.",
        )
    return AccessError(
        _sentence(f"The token may not read {subject}", failure),
        advice=f"Assign {subject} to the token's user and grant the scope {_SCOPE}.",
    )


def _rejected_error(failure: GraphFailure, remedy: Remedy, *, subject: str) -> PipelineError:
    if remedy is Remedy.FIX_CONFIG:
        return InvalidConfigError(
            _sentence("The Graph API version that is asked for has ended", failure),
            advice="Set PIPELINE_GRAPH_VERSION to a version that Meta still serves.",
        )
    return SourceRejectedError(_sentence(f"Meta rejects what is asked of {subject}", failure))


def _transient_error(failure: GraphFailure, remedy: Remedy, *, subject: str) -> TransientError:
    if remedy is Remedy.WAIT:
        return RateLimitedError(_sentence(f"Meta limits the calls for {subject}", failure))
    if remedy in {Remedy.ASK_LESS, Remedy.AMBIGUOUS}:
        return TooMuchDataError(
            _sentence(f"Meta asks for less data at once for {subject}", failure),
            page_may_shrink=remedy is Remedy.AMBIGUOUS,
        )
    if remedy is Remedy.ASK_OTHERWISE:
        return UnknownReportTroubleError(
            _sentence(f"Meta cannot make a report for {subject}", failure)
        )
    return SourceUnavailableError(
        _sentence(f"Meta did not answer properly for {subject}", failure),
        advice="Usually it passes by itself. If not, check this machine's network and "
        "PIPELINE_GRAPH_URL, then Meta's status page.",
    )


def _sentence(what: str, failure: GraphFailure) -> str:
    said = f": {redact(failure.message)[:300]}" if failure.message else "."
    trace = f" [fbtrace_id {failure.trace_id}]" if failure.trace_id else ""
    return f"{what} (code {failure.codes}){said}{trace}"
