"""Ad accounts, and whether a token reaches them: what a person wants to know before a sync.

Source: Meta Marketing API v26.0, "Ad Account" and "Debug-Token".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline_assets.errors import PipelineError
from pipeline_assets.sources.meta.client import GraphClient
from pipeline_assets.sources.meta.graph_failures import read_failure, token_trouble

READ_SCOPE = "ads_read"
_ALSO_READS = "ads_management"
_ACTIVE = 1
_STATUS_IN_WORDS = {
    1: "active",
    2: "disabled",
    3: "unsettled (a payment is due)",
    7: "under risk review",
    8: "waiting for settlement",
    9: "in its grace period",
    100: "about to be closed",
    101: "closed",
    201: "active",
    202: "closed",
}
_SOON = timedelta(days=14)


@dataclass(frozen=True)
class AdAccount:
    """An ad account. `currency` is ISO 4217, `timezone_name` an IANA zone."""

    id: str
    name: str
    timezone_name: str
    currency: str
    account_status: int

    @property
    def is_active(self) -> bool:
        """Whether ads may run in it; its figures can be read either way."""
        return self.account_status in {_ACTIVE, 201}

    @property
    def status_in_words(self) -> str:
        """Meta's status number for people."""
        return _STATUS_IN_WORDS.get(self.account_status, f"in status {self.account_status}")


@dataclass(frozen=True)
class TokenFacts:
    """What Meta says of a token. `expires_at` None: never. `problem` is empty when it is valid."""

    is_valid: bool
    expires_at: datetime | None
    scopes: tuple[str, ...]
    type: str
    application: str
    problem: str


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what, whether it is fine, and what to do if not."""

    subject: str
    ok: bool
    message: str
    advice: str = ""


def fetch_ad_account(client: GraphClient, account_id: str) -> AdAccount:
    """The account's name, zone, currency and status. `account_id` has its act_ prefix."""
    body = client.get(
        account_id,
        {"fields": "account_id,name,timezone_name,currency,account_status"},
        account_id=account_id,
    )
    return AdAccount(
        id=account_id,
        name=str(body.get("name") or account_id),
        timezone_name=str(body.get("timezone_name") or "UTC"),
        currency=str(body.get("currency") or ""),
        account_status=int(body.get("account_status") or 0),
    )


def inspect_token(client: GraphClient) -> TokenFacts:
    """Validity, expiry and scopes of the client's token.

    Raises:
        PipelineError: Meta does not let the token or app ask; see `GraphClient.get`.
    """
    data = client.debug_token().get("data") or {}
    error = data.get("error")
    return TokenFacts(
        is_valid=data.get("is_valid") is True,
        expires_at=_instant(data.get("expires_at")),
        scopes=tuple(data.get("scopes") or ()),
        type=str(data.get("type") or ""),
        application=str(data.get("application") or ""),
        problem=token_trouble(read_failure(200, error)) if error else "",
    )


def check_access(client: GraphClient, account_ids: Sequence[str]) -> list[Finding]:
    """Whether the token is valid, lasts, may read, and reaches each account; one finding each.

    A failure is a finding, never an exception. `subject` is `token`, `expiry`, `scopes` or the
    account's id.
    """
    return [*_check_token(client), *(_check_account(client, each) for each in account_ids)]


def _check_token(client: GraphClient) -> list[Finding]:
    try:
        facts = inspect_token(client)
    except PipelineError as error:
        return [Finding("token", ok=False, message=str(error), advice=error.advice)]
    if not facts.is_valid:
        return [
            Finding(
                "token",
                ok=False,
                message=f"Meta refuses the token: {facts.problem or 'it gives no reason'}.",
                advice="Make a new token and put it where the brand's token reference points.",
            )
        ]
    kind = facts.type.replace("_", " ").lower() or "unknown kind"
    return [
        Finding("token", ok=True, message=f"Valid ({kind}, app {facts.application or 'unnamed'})."),
        _check_expiry(facts.expires_at, client.now()),
        _check_scopes(facts.scopes),
    ]


def _check_expiry(expires_at: datetime | None, now: datetime) -> Finding:
    if expires_at is None:
        return Finding("expiry", ok=True, message="Never expires.")
    message = f"Expires at {expires_at:%Y-%m-%d %H:%M} UTC."
    if expires_at - now > _SOON:
        return Finding("expiry", ok=True, message=message)
    return Finding(
        "expiry",
        ok=False,
        message=message,
        advice="Replace it before then; a system user's token can be made without an expiry.",
    )


def _check_scopes(scopes: Sequence[str]) -> Finding:
    listed = ", ".join(scopes) or "none"
    if READ_SCOPE in scopes or _ALSO_READS in scopes:
        return Finding("scopes", ok=True, message=f"May read ads ({listed}).")
    return Finding(
        "scopes",
        ok=False,
        message=f"Lacks {READ_SCOPE}; it has {listed}.",
        advice=f"Make the token anew with the permission {READ_SCOPE}.",
    )


def _check_account(client: GraphClient, account_id: str) -> Finding:
    try:
        account = fetch_ad_account(client, account_id)
    except PipelineError as error:
        return Finding(account_id, ok=False, message=str(error), advice=error.advice)
    where = f"{account.currency}, {account.timezone_name}"
    message = f"{account.name} is {account.status_in_words} ({where})."
    if account.is_active:
        return Finding(account_id, ok=True, message=message)
    return Finding(
        account_id,
        ok=False,
        message=message,
        advice="Put the account in order in Meta's Business settings, or take it off the brand.",
    )


def _instant(value: object) -> datetime | None:
    """Meta's seconds since 1970; 0 or nothing is never."""
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int) and value > 0 else None
