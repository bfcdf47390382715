"""What a brand may look like: checked on the way in, one clear sentence for what is wrong.

A brand names its secrets (`env:NAME`, `file:/path`) and never holds them; `resolve_secret` reads
them when they are needed.
"""

import difflib
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from pipeline_assets.clock import timezone_names
from pipeline_assets.datasets import DATASETS, JOBS, Dataset, Job, Source
from pipeline_assets.errors import CredentialError, InvalidConfigError
from pipeline_assets.redaction import redact, register_secret

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_AD_ACCOUNT = re.compile(r"act_[0-9]{1,32}")
_SECRET_REF = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")
_CURRENCY = re.compile(r"[A-Z]{3}")
_ACTOR = re.compile(r"[A-Za-z0-9._-]{1,64}[/~][A-Za-z0-9._-]{1,64}")
_HTTP_URL = re.compile(r"https?://[^\s/?#@]+[^\s?#@]*")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # PostgreSQL refuses NUL, UTF-8 half a character
_MAX_DEPTH = 32  # far beyond any actor's input, far below where YAML's and JSON's writers give up


def _refuse(allowed: str) -> PydanticCustomError:
    return PydanticCustomError("not_allowed", "{allowed}", {"allowed": allowed})


def _check_slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise _refuse(
            "1 to 63 characters of a-z, 0-9, - and _, the first one a letter or digit, "
            "such as acme-shoes"
        )
    return value


def _check_timezone(value: str) -> str:
    if value not in timezone_names():
        close = _closest(value, timezone_names(), "Europe/Berlin")
        raise _refuse(f"an IANA time zone such as {close}")
    return value


def _closest(value: str, known: Collection[str], otherwise: str) -> str:
    """The known name most like the value, whatever its case; else `otherwise`."""
    by_folded = {name.casefold(): name for name in sorted(known)}
    close = difflib.get_close_matches(value.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[close[0]] if close else otherwise


def _check_currency(value: str) -> str:
    if not _CURRENCY.fullmatch(value):
        raise _refuse("an ISO 4217 code such as EUR")
    return value


def _normalise_ad_account(value: object) -> object:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return f"act_{text}" if isinstance(text, str) and text.isdecimal() else text


def _check_ad_account(value: str) -> str:
    if not _AD_ACCOUNT.fullmatch(value):
        raise _refuse("an ad account id such as act_1234567890")
    return value


def _check_distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    doubled = [each for each, times in Counter(value).items() if times > 1]
    if doubled:
        raise _refuse(f"a list without doubles ({', '.join(doubled)} comes twice)")
    return value


def _check_secret_ref(value: str) -> str:
    if not _SECRET_REF.fullmatch(value):
        raise _refuse("the place of the secret, env:NAME or file:/path, never the secret itself")
    return value


def _check_graph_url(value: str) -> str:
    if not _HTTP_URL.fullmatch(value):
        raise _refuse("an http(s) address without user, query or fragment")
    return value.rstrip("/")


def _check_actor(value: str) -> str:
    if not _ACTOR.fullmatch(value):
        raise _refuse("an actor's name such as apify/facebook-ads-scraper")
    return value.replace("~", "/")


def _check_windows(value: dict[str, float]) -> dict[str, float]:
    for key in value:
        if key not in DATASETS:
            like = _closest(key, DATASETS, "meta_ads_performance")
            raise _refuse(f"hours by dataset key such as {like}; {key} is no dataset")
    return value


def _check_max_runtimes(value: dict[str, float]) -> dict[str, float]:
    for name in value:
        if name not in JOBS:
            like = _closest(name, JOBS, "meta_sync")
            raise _refuse(f"minutes by job such as {like}; {name} is no job")
    return value


def _check_storable(value: object, depth: int = 0) -> None:
    """Return when every database can store the value as it is, and every page write it."""
    match value:
        case str():
            if _UNSTORABLE.search(value):
                raise _refuse("text without NUL and other characters that cannot be stored")
        case dict() | list() | tuple():
            if depth == _MAX_DEPTH:  # which one that holds itself reaches too
                raise _refuse(f"nested at most {_MAX_DEPTH} deep")
            for each in chain(value, value.values()) if isinstance(value, dict) else value:
                _check_storable(each, depth + 1)
        case int() | float():
            if not abs(value) < 2**63:  # nor is nan
                raise _refuse("of numbers below 2^63, which 64 bits hold")
        case None | date() | BaseModel():  # a model has checked itself
            pass
        case _:
            raise _refuse("of texts, numbers, lists and mappings")


Slug = Annotated[str, AfterValidator(_check_slug)]
AdAccount = Annotated[
    str, BeforeValidator(_normalise_ad_account), AfterValidator(_check_ad_account)
]
SecretRef = Annotated[str, AfterValidator(_check_secret_ref)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Subreddit = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{2,32}$")]
PageId = Annotated[str, Field(pattern=r"^[0-9]{1,32}$")]
Asin = Annotated[str, Field(pattern=r"^[A-Z0-9]{10}$")]
Words = Annotated[str, Field(min_length=1, max_length=100)]
LongWords = Annotated[str, Field(min_length=1, max_length=200)]
_DISTINCT = AfterValidator(_check_distinct)
MAX_WINDOW_HOURS = 24 * 366
Hours = Annotated[float, Field(gt=0, le=MAX_WINDOW_HOURS, allow_inf_nan=False)]
RuntimeMinutes = Annotated[float, Field(gt=0, le=7 * 24 * 60, allow_inf_nan=False)]


class StrictModel(BaseModel):
    """Unknown keys are errors, values do not change, an error never shows what was put in.

    Each field can be stored in every database, also what is put into an actor's free input.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        coerce_numbers_to_str=True,  # YAML reads an id of bare digits as a number
    )

    @field_validator("*")
    @classmethod
    def _is_storable(cls, value: object) -> object:
        _check_storable(value)
        return value


class MetaSource(StrictModel):
    """A brand's ad accounts at Meta and how to reach them.

    `graph_url` overrides the installation's Graph address for this brand.
    """

    ad_accounts: Annotated[tuple[AdAccount, ...], Field(min_length=1), _DISTINCT]
    token: SecretRef
    app_id: Annotated[str, Field(pattern=r"^[0-9]+$")] | None = None
    app_secret: SecretRef | None = None
    graph_url: Annotated[str, AfterValidator(_check_graph_url)] | None = None


class ApifyActor(StrictModel):
    """An actor on Apify that gathers data for the brand: the user's own choice, and bill.

    `actor` is its name, `user/actor`; `input` is added to what we ask of it, and wins.
    """

    actor: Annotated[str, AfterValidator(_check_actor)]
    token: SecretRef
    input: dict[str, Any] = {}


class LibrarySource(StrictModel):
    """Whose ads to gather: by the advertisers' pages or by words, in these countries.

    From Meta's Ad Library, with `token` or else the brand's own Meta token; or, when there is an
    `actor`, from it.
    """

    page_ids: Annotated[tuple[PageId, ...], _DISTINCT] = ()
    search_terms: Annotated[tuple[Words, ...], _DISTINCT] = ()
    countries: Annotated[tuple[Country, ...], Field(min_length=1), _DISTINCT] = ("US",)
    token: SecretRef | None = None
    actor: ApifyActor | None = None
    max_ads: Annotated[int, Field(ge=1, le=10_000)] = 500

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not self.page_ids and not self.search_terms:
            raise _refuse("given page_ids, search_terms or both")
        return self


class TemplatesSource(LibrarySource):
    """Where ad templates come from, and which of them are approved without a person.

    Scores are 0-100: from `approve_from` on a template is approved, below `reject_below` rejected,
    between them a person decides. Any of `policy_words` keeps it from being approved by itself.
    """

    approve_from: Annotated[float, Field(ge=0, le=100)] = 70
    reject_below: Annotated[float, Field(ge=0, le=100)] = 30
    policy_words: Annotated[tuple[Words, ...], _DISTINCT] = ()
    max_drafts: Annotated[int, Field(ge=1, le=200)] = 12

    @model_validator(mode="after")
    def _leaves_no_overlap(self) -> Self:
        if self.reject_below > self.approve_from:
            raise _refuse(
                f"given a reject_below (30 if left out, now {self.reject_below:g}) that is not "
                f"above approve_from (70 if left out, now {self.approve_from:g})"
            )
        return self


class RedditSource(StrictModel):
    """An approved Reddit app, and where to look for which words.

    With `username` and `password` it signs in as that account (a script app), else as the app.
    """

    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    client_secret: SecretRef
    username: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    password: SecretRef | None = None
    subreddits: Annotated[tuple[Subreddit, ...], Field(min_length=1), _DISTINCT]
    search_terms: Annotated[tuple[LongWords, ...], Field(min_length=1), _DISTINCT]
    keep_days: Annotated[int, Field(ge=1, le=3660)] = 365


class AmazonSource(StrictModel):
    """The products whose reviews an actor gathers."""

    asins: Annotated[tuple[Asin, ...], Field(min_length=1), _DISTINCT]
    country: Country = "US"
    actor: ApifyActor
    max_reviews: Annotated[int, Field(ge=1, le=10_000)] = 500


class LanguageModelSource(StrictModel):
    """A language model that classifies ads in place of the rules, as far as its money reaches.

    `model` is `provider:name`, such as `openai:gpt-5-mini`; `base_url` an OpenAI-compatible server.
    `daily_usd` is the most that a day (in UTC) may cost, by the two prices per million tokens.
    """

    model: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*:[^\s]+$")]
    api_key: SecretRef | None = None
    base_url: Annotated[str, AfterValidator(_check_graph_url)] | None = None
    daily_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    input_usd_per_million: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    output_usd_per_million: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Sources(StrictModel):
    """The outside systems that a brand has configured."""

    meta: MetaSource | None = None
    templates: TemplatesSource | None = None
    competitors: LibrarySource | None = None
    reddit: RedditSource | None = None
    amazon: AmazonSource | None = None
    language_model: LanguageModelSource | None = None

    @property
    def configured(self) -> frozenset[str]:
        """The sources that the brand has, by their names in `Source`."""
        return frozenset(name for name, value in self if value is not None)

    def has(self, source: Source) -> bool:
        """Whether the brand has configured what a dataset of this source needs."""
        return source in self.configured


class Brand(StrictModel):
    """One brand as the registry keeps it.

    `windows` overrides a dataset's allowed age, in hours, and `max_runtime_minutes` how long a run
    of a job may take.
    """

    id: Slug
    organization_id: Slug = "default"
    name: LongWords
    timezone: Annotated[str, AfterValidator(_check_timezone)]
    currency: Annotated[str, AfterValidator(_check_currency)] | None = None
    sources: Sources = Sources()
    windows: Annotated[dict[str, Hours], AfterValidator(_check_windows)] = {}
    max_runtime_minutes: Annotated[
        dict[str, RuntimeMinutes], AfterValidator(_check_max_runtimes)
    ] = {}
    paused_at: AwareDatetime | None = None
    paused_reason: str | None = None
    paused_until: AwareDatetime | None = None

    def is_paused(self, now: datetime) -> bool:
        """Whether a person's pause holds at this instant; it ends at `paused_until` by itself."""
        return self.paused_at is not None and (self.paused_until is None or now < self.paused_until)

    def fail_after(self, dataset: Dataset) -> timedelta | None:
        """How old this brand's data of the dataset may be; None: never too old."""
        return allowed_age(dataset, self.windows)

    def max_runtime(self, job: Job) -> timedelta:
        """How long a run of the job may take for this brand."""
        minutes = self.max_runtime_minutes.get(job.name)
        return timedelta(minutes=minutes) if minutes is not None else job.max_runtime


def allowed_age(dataset: Dataset, windows: Mapping[str, float]) -> timedelta | None:
    """How old a dataset may be for a brand with these windows; None: never too old.

    The windows may be unchecked: hours that no brand may have count as none.
    """
    hours = windows.get(dataset.key)
    if not isinstance(hours, int | float) or not 0 < hours <= MAX_WINDOW_HOURS:
        return dataset.fail_after
    return timedelta(hours=hours)


class Organization(StrictModel):
    """A tenant of the installation: owns brands, sees nobody else's."""

    id: Slug
    name: LongWords


def parse_organization(data: Mapping[str, Any]) -> Organization:
    """The organization that the data describes; errors as of `parse_brand`."""
    try:
        return Organization.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise InvalidConfigError(f"Organization {data['id']}: {_explain(problem)}.") from None


def parse_brand(data: Mapping[str, Any]) -> Brand:
    """The brand that the data describes.

    Raises: InvalidConfigError, one sentence with the field, the value seen and what is allowed.
    """
    try:
        return Brand.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        # `from None`: the original holds the whole input, in which a secret may stand.
        raise InvalidConfigError(f"Brand {data.get('id', '?')}: {_explain(problem)}.") from None


_MODELS: dict[tuple[int | str, ...], type[BaseModel]] = {
    (): Brand,
    ("sources",): Sources,
    ("sources", "meta"): MetaSource,
    ("sources", "templates"): TemplatesSource,
    ("sources", "templates", "actor"): ApifyActor,
    ("sources", "competitors"): LibrarySource,
    ("sources", "competitors", "actor"): ApifyActor,
    ("sources", "reddit"): RedditSource,
    ("sources", "amazon"): AmazonSource,
    ("sources", "amazon", "actor"): ApifyActor,
    ("sources", "language_model"): LanguageModelSource,
}

# Where somebody may have written the secret itself instead of its place.
_HIDDEN = {
    *Source,
    "language_model",
    "sources",
    "token",
    "app_secret",
    "client_secret",
    "password",
    "api_key",
    "input",
}


_SHAPES = {
    r"^[A-Z]{2}$": "a country's two capital letters such as FR",
    r"^[A-Za-z0-9_]{2,32}$": "a subreddit's name without r/ such as BuyItForLife",
    r"^[0-9]{1,32}$": "a page's id, digits only, such as 15087023444",
    r"^[A-Z0-9]{10}$": "ten capital letters and digits such as B0ABCDEFGH",
    r"^[0-9]+$": "digits only such as 1234567890",
    r"^[A-Za-z0-9_-]{1,64}$": "the app's id, letters, digits, - and _, such as aBcDeF-12",
    r"^[A-Za-z0-9_-]{1,32}$": "an account's name without u/ such as shoes_team",
    r"^[a-z][a-z0-9-]*:[^\s]+$": "provider:name such as openai:gpt-5-mini",
}
"""What each pattern of a field stands for."""


def _explain(problem: ErrorDetails) -> str:
    *parent, last = problem["loc"]
    field = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"{field} is missing"
    if problem["type"] == "extra_forbidden":
        known = _MODELS[tuple(parent)].model_fields
        return f"{field} is not known; known are {', '.join(known)}"
    rule = _rule(problem)
    value = problem["input"]
    if last in _HIDDEN or not isinstance(value, str | int | float | bool | None):
        return f"{field} cannot be used: {rule}"
    return f"{field} is {redact(repr(value)[:100])}: {rule}"


def _rule(problem: ErrorDetails) -> str:
    """What is allowed, in the words of a brands file."""
    match problem["type"]:
        case "not_allowed":
            return f"it must be {problem['msg']}"
        case "string_pattern_mismatch":
            return f"it must be {_SHAPES[problem['ctx']['pattern']]}"
        case "tuple_type":
            return "it must be a list such as [one, another]"
        case "too_short":
            return "it must be a list of at least one"
        case "model_type" | "dict_type":
            return "it must hold names and their values such as {name: value}"
        case _:
            return problem["msg"][0].lower() + problem["msg"][1:]


def resolve_secret(ref: str) -> str:
    """The secret that `env:NAME` or `file:/path` names now; from here on `redact` masks it.

    Raises: CredentialError when there is none; InvalidConfigError for anything but a reference.
    """
    if not _SECRET_REF.fullmatch(ref):
        raise InvalidConfigError(
            "A secret must be given by its place, env:NAME or file:/path.",
            advice="Put the secret itself into an environment variable or a file.",
        )
    kind, _, place = ref.partition(":")
    secret = (os.environ.get(place, "") if kind == "env" else _read_secret_file(ref, place)).strip()
    if not secret:
        raise CredentialError(
            f"The secret {ref} is missing or empty.",
            advice="Set the environment variable where Dagster runs."
            if kind == "env"
            else "Write the secret into that file.",
        )
    register_secret(secret)
    if len(secret.split()) > 1:
        raise CredentialError(
            f"The secret {ref} holds more than one word.",
            advice="Keep nothing but the secret there.",
        )
    return secret


def _read_secret_file(ref: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CredentialError(
            f"The secret {ref} cannot be read ({reason}).",
            advice="Let the user that runs Dagster read that file.",
        ) from None
