"""What can go wrong, per account and endpoint, for a number of answers or until cleared.

Belongs here: the kinds of faults, which answers they spoil, and the Graph errors they answer with
(Meta Marketing API v26.0, error and Insights error codes). What the other services answer stands
with them; the conditions that depend on data are checked where the data is (`insights.py`,
`reports.py`, `nodes.py`).
"""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from pipeline_assets.simulator.answers import GraphError, Usage


class Endpoint(StrEnum):
    """The kinds of calls, as faults and the call log name them."""

    ME = "me"
    ACCOUNTS = "accounts"
    DEBUG_TOKEN = "debug_token"  # noqa: S105  a path of the Graph API
    ACCOUNT = "account"
    CAMPAIGNS = "campaigns"
    ADSETS = "adsets"
    ADS = "ads"
    CREATIVES = "creatives"
    IMAGES = "images"
    VIDEOS = "videos"
    INSIGHTS = "insights"
    REPORT_START = "report_start"
    REPORT_STATUS = "report_status"
    REPORT_ROWS = "report_rows"
    AD = "ad"
    ADSET = "adset"
    CAMPAIGN = "campaign"
    CREATIVE = "creative"
    VIDEO = "video"
    PAGE = "page"
    POST = "post"
    BATCH = "batch"
    OTHER = "other"
    LIBRARY = "library"
    """Other advertisers' ads: ads_archive."""
    CDN = "cdn"
    APIFY_START = "apify_start"
    APIFY_RUN = "apify_run"
    APIFY_ITEMS = "apify_items"
    REDDIT_TOKEN = "reddit_token"  # noqa: S105  an endpoint
    REDDIT_SEARCH = "reddit_search"
    LANGUAGE_MODEL = "language_model"


_APIFY = frozenset({Endpoint.APIFY_START, Endpoint.APIFY_RUN, Endpoint.APIFY_ITEMS})
_GRAPH = (
    frozenset(Endpoint)
    - _APIFY
    - {Endpoint.CDN, Endpoint.REDDIT_TOKEN, Endpoint.REDDIT_SEARCH, Endpoint.LANGUAGE_MODEL}
)
_INSIGHTS = frozenset(
    {Endpoint.INSIGHTS, Endpoint.REPORT_START, Endpoint.REPORT_STATUS, Endpoint.REPORT_ROWS}
)
_ROWS = frozenset({Endpoint.INSIGHTS, Endpoint.REPORT_ROWS})
_EDGES = frozenset(
    {
        Endpoint.ACCOUNTS,
        Endpoint.CAMPAIGNS,
        Endpoint.ADSETS,
        Endpoint.ADS,
        Endpoint.CREATIVES,
        Endpoint.IMAGES,
        Endpoint.VIDEOS,
        Endpoint.LIBRARY,
    }
)


class FaultKind(StrEnum):
    """Every fault; what each answers is in `_ERRORS` or where it is taken.

    Those of a service other than the Graph API begin with its name.
    """

    APP_LIMIT = "app_limit"
    APP_INSIGHTS_LIMIT = "app_insights_limit"
    ACCOUNT_LIMIT = "account_limit"
    SCORE_LIMIT = "score_limit"
    CUSTOM_LIMIT = "custom_limit"
    INSIGHTS_LIMIT = "insights_limit"
    MANAGEMENT_LIMIT = "management_limit"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  the name of a fault
    TOKEN_INVALID = "token_invalid"  # noqa: S105  the name of a fault
    FORBIDDEN = "forbidden"
    MISSING_PERMISSION = "missing_permission"
    MISSING_PAGE_PERMISSION = "missing_page_permission"
    OBJECT_MISSING = "object_missing"
    ACCOUNT_TROUBLE = "account_trouble"
    UNKNOWN_ERROR = "unknown_error"
    SERVICE_ERROR = "service_error"
    REPORT_INTERMITTENT = "report_intermittent"
    SYNC_TIMEOUT = "sync_timeout"

    UNAVAILABLE = "unavailable"
    HTML_ERROR = "html_error"
    HTML_OK = "html_ok"
    TRUNCATED_JSON = "truncated_json"
    BROKEN_BODY = "broken_body"
    DROPPED_CONNECTION = "dropped_connection"
    ERROR_IN_OK = "error_in_ok"
    SLOW_BODY = "slow_body"
    EMPTY_PAGE = "empty_page"
    BATCH_NULL = "batch_null"

    FIELD_FAILS = "field_fails"
    PAGE_TOO_BIG = "page_too_big"
    TOO_MANY_ROWS = "too_many_rows"
    REPORT_TOO_LARGE = "report_too_large"
    REPORT_FAILED = "report_failed"
    REPORT_SKIPPED = "report_skipped"
    REPORT_STUCK = "report_stuck"
    REPORT_RACE = "report_race"
    REPORT_SUMMARY_RACE = "report_summary_race"
    STORY_INVALID = "story_invalid"

    CDN_EXPIRED = "cdn_expired"
    CDN_ALTERED = "cdn_altered"
    CDN_MISSING = "cdn_missing"
    CDN_HTML = "cdn_html"
    CDN_CUT_IMAGE = "cdn_cut_image"
    CDN_OVERSIZED = "cdn_oversized"
    CDN_BOMB = "cdn_bomb"

    IDENTITY_UNCONFIRMED = "identity_unconfirmed"

    APIFY_UNAUTHORIZED = "apify_unauthorized"
    APIFY_PLAN_LIMIT = "apify_plan_limit"
    APIFY_ACTOR_MISSING = "apify_actor_missing"
    APIFY_BAD_INPUT = "apify_bad_input"
    APIFY_RATE_LIMIT = "apify_rate_limit"
    APIFY_ERROR = "apify_error"
    APIFY_RUN_FAILED = "apify_run_failed"
    APIFY_RUN_TIMED_OUT = "apify_run_timed_out"
    APIFY_RUN_ABORTED = "apify_run_aborted"
    APIFY_RUN_STUCK = "apify_run_stuck"
    APIFY_RUN_GONE = "apify_run_gone"
    APIFY_DATASET_GONE = "apify_dataset_gone"
    APIFY_EMPTY = "apify_empty"
    APIFY_SCHEMA_CHANGED = "apify_schema_changed"
    APIFY_ROWS_BROKEN = "apify_rows_broken"
    APIFY_KEYS_COLLIDE = "apify_keys_collide"

    REDDIT_LIMIT = "reddit_limit"
    """429 with Retry-After."""
    REDDIT_USED_UP = "reddit_used_up"
    """A good answer that says that no call is left for `seconds`."""
    REDDIT_PRIVATE = "reddit_private"
    REDDIT_BANNED = "reddit_banned"
    REDDIT_NO_SUCH = "reddit_no_such"
    """A redirect to the search for subreddits."""
    REDDIT_BLOCKED = "reddit_blocked"
    """403 with HTML: the client as a whole."""
    REDDIT_EXPIRED = "reddit_expired"
    """401: the bearer is no longer good, whatever was promised."""
    REDDIT_UNAVAILABLE = "reddit_unavailable"
    REDDIT_HTML = "reddit_html"
    """HTTP 200 with a page."""
    REDDIT_CHANGED = "reddit_changed"
    """Posts without the fields that a post has."""
    REDDIT_STUCK = "reddit_stuck"
    """The first page again, whatever `after` says."""
    REDDIT_OVERLAP = "reddit_overlap"
    """Half of each page again on the next one."""
    REDDIT_TOKEN_REFUSED = "reddit_token_refused"  # noqa: S105  the name of a fault
    REDDIT_TOKEN_LIMIT = "reddit_token_limit"  # noqa: S105  the name of a fault

    MODEL_REFUSED_KEY = "model_refused_key"
    MODEL_LIMIT = "model_limit"
    MODEL_NO_CREDIT = "model_no_credit"
    MODEL_ERROR = "model_error"
    MODEL_REJECTED = "model_rejected"
    """400: the request is called wrong."""
    MODEL_TOO_LARGE = "model_too_large"
    """413."""
    MODEL_BLIND = "model_blind"
    """500 to every call with a picture, as llama.cpp's server answers for a model without eyes."""
    MODEL_INVALID_JSON = "model_invalid_json"
    MODEL_WRONG_VOCABULARY = "model_wrong_vocabulary"
    MODEL_MISSING_AD = "model_missing_ad"
    """One entry fewer in every list of objects."""
    MODEL_CHATTING = "model_chatting"
    """Words instead of the form."""
    MODEL_NO_CHOICES = "model_no_choices"
    """An answer with no choice in it, and no word of what it cost."""
    MODEL_SLOW = "model_slow"
    MODEL_NO_USAGE = "model_no_usage"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: whose calls it spoils, how many of them, after how many good ones.

    `account` None is every account; a call that belongs to no account matches only such a fault.
    For Reddit it is the subreddit that is searched.
    `endpoint` None is every endpoint that the kind makes sense for. `count` None is until cleared.
    `seconds` and `minutes` are the times told by rate-limit headers (`seconds` also how long a
    slow answer takes), `rows` a limit of rows or an image's size in bytes, `field` a field's name
    (for `story_invalid` one creative's id; empty is all).
    """

    kind: FaultKind
    account: str | None = None
    endpoint: Endpoint | None = None
    count: int | None = None
    after_calls: int = 0
    seconds: float = 300
    minutes: int = 5
    rows: int = 0
    field: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Fault":
        """The fault that a JSON object describes.

        Raises:
            ValueError: a key, kind or endpoint that does not exist, or no kind.
        """
        unknown = set(values) - {each.name for each in fields(cls)}
        if unknown or "kind" not in values:
            raise ValueError(f"a fault has no {sorted(unknown)}" if unknown else "kind is missing")
        endpoint = values.get("endpoint")
        return cls(
            **{
                **values,
                "kind": FaultKind(values["kind"]),
                "endpoint": Endpoint(endpoint) if endpoint else None,
            }
        )

    def to_json(self) -> dict[str, Any]:
        """The object that `from_json` reads."""
        return asdict(self)

    def spoils(self, account: str | None, endpoint: Endpoint) -> bool:
        """Whether a call of that account at that endpoint is meant."""
        if self.account is not None and self.account != account:
            return False
        if self.endpoint is Endpoint.INSIGHTS:  # the insights edge, read (GET) or asked (POST)
            return endpoint in {Endpoint.INSIGHTS, Endpoint.REPORT_START}
        if self.endpoint is not None:
            return self.endpoint is endpoint
        return endpoint in _WHERE.get(self.kind, _GRAPH)


def faults_of(service: str) -> frozenset[FaultKind]:
    """The faults of a service other than the Graph API: those whose names begin with its name."""
    return frozenset(kind for kind in FaultKind if kind.value.startswith(f"{service}_"))


_WHERE: dict[FaultKind, Collection[Endpoint]] = {
    FaultKind.MISSING_PAGE_PERMISSION: {Endpoint.PAGE, Endpoint.POST, Endpoint.VIDEO},
    FaultKind.APP_INSIGHTS_LIMIT: _INSIGHTS,
    FaultKind.INSIGHTS_LIMIT: _INSIGHTS,
    FaultKind.MANAGEMENT_LIMIT: _GRAPH - _INSIGHTS,
    FaultKind.REPORT_INTERMITTENT: _INSIGHTS,
    FaultKind.SYNC_TIMEOUT: {Endpoint.INSIGHTS},
    FaultKind.EMPTY_PAGE: _EDGES | _ROWS,
    FaultKind.FIELD_FAILS: {Endpoint.INSIGHTS, Endpoint.REPORT_START},
    FaultKind.PAGE_TOO_BIG: _EDGES | _ROWS,
    FaultKind.TOO_MANY_ROWS: {Endpoint.INSIGHTS, Endpoint.REPORT_START},
    FaultKind.REPORT_TOO_LARGE: {Endpoint.REPORT_START},
    FaultKind.REPORT_FAILED: {Endpoint.REPORT_START},
    FaultKind.REPORT_SKIPPED: {Endpoint.REPORT_START},
    FaultKind.REPORT_STUCK: {Endpoint.REPORT_START},
    FaultKind.REPORT_RACE: {Endpoint.REPORT_STATUS},
    FaultKind.REPORT_SUMMARY_RACE: {Endpoint.REPORT_ROWS},
    FaultKind.BATCH_NULL: {Endpoint.BATCH},
    FaultKind.STORY_INVALID: {Endpoint.CREATIVE, Endpoint.CREATIVES, Endpoint.ADS, Endpoint.AD},
    FaultKind.IDENTITY_UNCONFIRMED: {Endpoint.LIBRARY},
    **{kind: {Endpoint.CDN} for kind in faults_of("cdn")},
    **dict.fromkeys(faults_of("apify"), _APIFY),
    **{kind: {Endpoint.APIFY_START} for kind in faults_of("apify_run")},
    FaultKind.APIFY_PLAN_LIMIT: {Endpoint.APIFY_START},
    FaultKind.APIFY_ACTOR_MISSING: {Endpoint.APIFY_START},
    FaultKind.APIFY_BAD_INPUT: {Endpoint.APIFY_START},
    FaultKind.APIFY_RUN_GONE: {Endpoint.APIFY_RUN},
    **{
        kind: {Endpoint.APIFY_ITEMS}
        for kind in (
            FaultKind.APIFY_DATASET_GONE,
            FaultKind.APIFY_EMPTY,
            FaultKind.APIFY_SCHEMA_CHANGED,
            FaultKind.APIFY_ROWS_BROKEN,
            FaultKind.APIFY_KEYS_COLLIDE,
        )
    },
    **{kind: {Endpoint.REDDIT_SEARCH} for kind in faults_of("reddit")},
    **{kind: {Endpoint.REDDIT_TOKEN} for kind in faults_of("reddit_token")},
    **{kind: {Endpoint.LANGUAGE_MODEL} for kind in faults_of("model")},
}

_EXPIRED = (
    "Error validating access token: Session has expired on Friday, 18-Aug-26 05:00:00 PDT. "
    "The current time is Saturday, 19-Aug-26 01:23:45 PDT."
)
_THROTTLED = "There have been too many calls to this ad-account. Wait a bit and try again."


def unconfirmed_identity() -> GraphError:
    """10/2332002: the Ad Library answers only people who have confirmed who and where they are."""
    return GraphError(
        10,
        "(#10) Application does not have permission for this action",
        subcode=2332002,
        title="App role required",
        user_message="To access the API you will need to follow the steps at "
        "facebook.com/ads/library/api.",
    )


def _error(code: int, message: str, **more: Any) -> Callable[[Fault], GraphError]:
    return lambda _: GraphError(code, message, **more)


_ERRORS: dict[FaultKind, Callable[[Fault], GraphError]] = {
    FaultKind.APP_LIMIT: _error(
        4, "(#4) Application request limit reached", transient=True, usage=Usage(app_pct=100)
    ),
    FaultKind.APP_INSIGHTS_LIMIT: _error(
        4,
        "(#4) Too many API requests",
        subcode=1504022,
        usage=Usage(app_pct=100, insights_app_pct=100),
    ),
    FaultKind.ACCOUNT_LIMIT: lambda fault: GraphError(
        17,
        "(#17) User request limit reached",
        subcode=2446079,
        title="Ad-account Request Limit Reached",
        user_message=_THROTTLED,
        usage=Usage(account_pct=100, reset_seconds=fault.seconds),
    ),
    FaultKind.SCORE_LIMIT: lambda fault: GraphError(
        613,
        "(#613) Calls to this api have exceeded the rate limit.",
        subcode=1487742,
        user_message=_THROTTLED,
        usage=Usage(account_pct=100, reset_seconds=fault.seconds),
    ),
    FaultKind.CUSTOM_LIMIT: _error(613, "(#613) Calls to this api have exceeded the rate limit."),
    FaultKind.INSIGHTS_LIMIT: lambda fault: GraphError(
        80000,
        "(#80000) There have been too many calls from this ad-account. Wait a bit and try again.",
        subcode=2446079,
        user_message=_THROTTLED,
        usage=Usage(business_pct=100, regain_minutes=fault.minutes, insights_account_pct=100),
    ),
    FaultKind.MANAGEMENT_LIMIT: lambda fault: GraphError(
        80004,
        "(#80004) There have been too many calls to this ad-account. Wait a bit and try again.",
        subcode=2446079,
        user_message=_THROTTLED,
        usage=Usage(business_pct=100, regain_minutes=fault.minutes, business_type="ads_management"),
    ),
    FaultKind.TOKEN_EXPIRED: _error(190, _EXPIRED, subcode=463),
    FaultKind.TOKEN_INVALID: _error(
        190, "Error validating access token: The session is invalid.", subcode=467
    ),
    FaultKind.FORBIDDEN: _error(
        200,
        "(#200) Ad account owner has NOT grant ads_management or ads_read permission",
        status=403,
    ),
    FaultKind.MISSING_PERMISSION: _error(
        10, "(#10) Application does not have permission for this action", status=403
    ),
    FaultKind.MISSING_PAGE_PERMISSION: _error(
        283, "(#283) Requires pages_read_engagement permission to manage the object", status=403
    ),
    FaultKind.IDENTITY_UNCONFIRMED: lambda _: unconfirmed_identity(),
    FaultKind.OBJECT_MISSING: lambda _: GraphError.missing_object("0"),
    FaultKind.ACCOUNT_TROUBLE: _error(3910001, "(#3910001) The ad account has a problem"),
    FaultKind.UNKNOWN_ERROR: _error(
        1, "An unknown error occurred", subcode=99, status=500, transient=True
    ),
    FaultKind.SERVICE_ERROR: _error(
        2,
        "Service temporarily unavailable",
        status=500,
        transient=True,
    ),
    FaultKind.REPORT_INTERMITTENT: _error(
        2, "Service temporarily unavailable", subcode=1504043, status=500, transient=True
    ),
    FaultKind.SYNC_TIMEOUT: _error(
        100, "(#100) Invalid parameter", subcode=1504018, title="Your request timed out"
    ),
}

ERROR_FAULTS = frozenset(_ERRORS)
"""The faults that are a Graph error and nothing else."""

BODY_FAULTS = frozenset(
    {
        FaultKind.UNAVAILABLE,
        FaultKind.HTML_ERROR,
        FaultKind.HTML_OK,
        FaultKind.TRUNCATED_JSON,
        FaultKind.BROKEN_BODY,
        FaultKind.DROPPED_CONNECTION,
        FaultKind.ERROR_IN_OK,
        FaultKind.SLOW_BODY,
    }
)
"""The faults that spoil how an answer is sent."""

CDN_FAULTS = faults_of("cdn")
"""The faults of the CDN alone; with `endpoint` cdn it knows the BODY_FAULTS as well."""


def graph_error(fault: Fault) -> GraphError:
    """The error that one of ERROR_FAULTS answers with."""
    return _ERRORS[fault.kind](fault)


@dataclass
class _Armed:
    fault: Fault
    passed: int = 0
    spoiled: int = 0

    def fires(self) -> bool:
        """Count one matching call; whether it is spoiled."""
        if self.passed < self.fault.after_calls:
            self.passed += 1
            return False
        if self.fault.count is not None and self.spoiled >= self.fault.count:
            return False
        self.spoiled += 1
        return True


class Faults:
    """The faults in force; safe to change while the server answers."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """From the next call on these are in force, after those that already are."""
        with self._lock:
            self._armed += [_Armed(fault) for fault in faults]

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._armed.clear()

    @property
    def active(self) -> tuple[Fault, ...]:
        """Those that can still spoil an answer."""
        with self._lock:
            return tuple(
                armed.fault
                for armed in self._armed
                if armed.fault.count is None or armed.spoiled < armed.fault.count
            )

    def take(
        self,
        kinds: Collection[FaultKind],
        account: str | None,
        endpoint: Endpoint,
        *,
        when: Callable[[Fault], bool] = lambda _: True,
    ) -> Fault | None:
        """The first fault of these kinds that spoils this call; it is counted."""
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if (
                    fault.kind in kinds
                    and fault.spoils(account, endpoint)
                    and when(fault)
                    and armed.fires()
                ):
                    return fault
        return None
