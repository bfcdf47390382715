"""Who may call: versions, tokens, proofs, grants. Raises the error that Meta answers with.

Source: Meta Graph API v26.0, changelog (lives of versions), "Access tokens", "Secure requests".
"""

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from pipeline_assets.simulator.answers import GraphError
from pipeline_assets.simulator.world import PAGES_SCOPE, AppSpec, TokenSpec, World

CURRENT_VERSION = 26
_VERSION_ENDS = {
    21: date(2027, 1, 21),
    22: date(2027, 5, 20),
    23: date(2027, 10, 8),
    24: date(2028, 2, 18),
    25: date(2028, 7, 29),
}
_READ_SCOPES = {"ads_read", "ads_management"}
_SUBCODE_TEXTS = {
    458: "The user has not authorized application",
    460: "The session has been invalidated because the user changed their password",
    467: "The session is invalid because the user logged out",
}


def check_version(segment: str, *, now: datetime) -> None:
    """Refuse a version that has ended or never was (`segment` as in `v26.0`).

    Raises:
        GraphError: 2635 or 2500.
    """
    match = re.fullmatch(r"v(\d{1,3})\.0", segment)
    number = int(match[1]) if match else CURRENT_VERSION + 1
    if number > CURRENT_VERSION:
        raise GraphError(2500, f"Unknown path components: /{segment}")
    if number < CURRENT_VERSION and _VERSION_ENDS.get(number, date.min) <= now.date():
        raise GraphError(
            2635,
            "(#2635) You are calling a deprecated version of the Ads API. Please update to the "
            f"latest version: v{CURRENT_VERSION}.0.",
        )


def check_token(
    world: World, token: str | None, params: Mapping[str, str], *, now: datetime
) -> TokenSpec:
    """The token's spec, when it and its proof are good.

    Raises:
        GraphError: 104, 190 or 100.
    """
    if not token:
        raise GraphError(104, "An access token is required to request this resource.")
    spec = world.find_token(token)
    if spec is None:
        raise GraphError(190, "Invalid OAuth access token - Cannot parse access token")
    if error := token_error(spec, now=now):
        raise error
    _check_proof(world.app, token, params.get("appsecret_proof"))
    return spec


def token_error(spec: TokenSpec, *, now: datetime) -> GraphError | None:
    """Why a known token is no longer good; None when it is."""
    if spec.error_subcode is not None:
        text = _SUBCODE_TEXTS.get(spec.error_subcode, "The session is invalid")
        return GraphError(
            190, f"Error validating access token: {text}.", subcode=spec.error_subcode
        )
    if spec.expires_at is not None and now >= spec.expires_at:
        pattern = "%A, %d-%b-%y %H:%M:%S UTC"
        ended, current = spec.expires_at.astimezone(UTC), now.astimezone(UTC)
        return GraphError(
            190,
            "Error validating access token: Session has expired on "
            f"{ended.strftime(pattern)}. The current time is {current.strftime(pattern)}.",
            subcode=463,
        )
    return None


def _check_proof(app: AppSpec, token: str, proof: str | None) -> None:
    if proof is None:
        if app.proof_required:
            raise _method_error("API calls from the server require an appsecret_proof argument")
        return
    expected = hmac.new(app.secret.encode(), token.encode(), sha256).hexdigest()
    if not hmac.compare_digest(proof.encode(), expected.encode()):
        raise _method_error("Invalid appsecret_proof provided in the API argument")


def _method_error(message: str) -> GraphError:
    return GraphError(100, message, type_="GraphMethodException")


def check_grant(spec: TokenSpec, account_id: str) -> None:
    """Refuse an account that the token was not granted, or a token without the scope.

    Raises:
        GraphError: 200.
    """
    if not _READ_SCOPES & set(spec.scopes):
        raise GraphError(200, "(#200) Requires ads_read or ads_management permission", status=403)
    if not spec.sees(account_id):
        raise GraphError(
            200,
            "(#200) Ad account owner has NOT grant ads_management or ads_read permission",
            status=403,
        )


def check_page_grant(spec: TokenSpec, account_id: str) -> None:
    """Refuse who may not read what belongs to the account's page.

    Raises:
        GraphError: 283 without the scope, 10 without the page.
    """
    if PAGES_SCOPE not in spec.scopes:
        raise GraphError(
            283, f"(#283) Requires {PAGES_SCOPE} permission to manage the object", status=403
        )
    if not spec.reads_page(account_id):
        raise page_refused()


def page_refused() -> GraphError:
    """10: the object is a page's, and the token neither the page's nor good enough for it."""
    return GraphError(
        10,
        f"(#10) This endpoint requires the '{PAGES_SCOPE}' permission or the 'Page Public "
        "Content Access' feature.",
        status=403,
    )


def debug_token(world: World, caller: str | None, token: str, *, now: datetime) -> dict[str, Any]:
    """What `/debug_token` says of a token; asked with the app's own token or with a good one.

    Raises:
        GraphError: 190, the caller is neither.
    """
    if caller != f"{world.app.id}|{world.app.secret}":
        check_token(world, caller, {}, now=now)
    spec = world.find_token(token)
    error = token_error(spec, now=now) if spec else GraphError(190, "Invalid OAuth access token.")
    data: dict[str, Any] = {
        "app_id": world.app.id,
        "type": "PAGE" if spec and spec.is_page else "SYSTEM_USER",
        "application": world.app.name,
        "data_access_expires_at": 0,
        "is_valid": error is None,
    }
    if spec is not None:
        data |= {
            "expires_at": int(spec.expires_at.timestamp()) if spec.expires_at else 0,
            "issued_at": 1767225600,
            "scopes": list(spec.scopes),
            "granular_scopes": [{"scope": scope} for scope in spec.scopes],
            "user_id": "122100000000000001",
        }
    if error is not None:
        data["error"] = {"code": error.code, "message": error.message, "subcode": error.subcode}
    return {"data": data}
