"""What an answer is made of before it is sent: Graph errors and the usage told in headers.

Source: Meta Graph API v26.0, "Handling errors", "Rate limits" (header formats).
"""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How far limits are used up: percentages 0-100; `reset_seconds`, `regain_minutes` to wait."""

    app_pct: float = 0
    account_pct: float = 0
    reset_seconds: float = 0
    business_pct: float = 0
    regain_minutes: int = 0
    business_type: str = "ads_insights"
    insights_app_pct: float = 0
    insights_account_pct: float = 0

    def headers(self, account_number: str) -> list[tuple[str, str]]:
        """The four rate-limit headers; Meta gives the one in seconds, the other in minutes."""
        tier = "development_access"
        business = {
            "type": self.business_type,
            "call_count": int(self.business_pct),
            "total_cputime": int(self.business_pct * 0.4),
            "total_time": int(self.business_pct * 0.5),
            "estimated_time_to_regain_access": self.regain_minutes,
            "ads_api_access_tier": tier,
        }
        values: dict[str, Any] = {
            "x-app-usage": {
                "call_count": int(self.app_pct),
                "total_cputime": int(self.app_pct * 0.3),
                "total_time": int(self.app_pct * 0.4),
            },
            "x-ad-account-usage": {
                "acc_id_util_pct": round(self.account_pct, 2),
                "reset_time_duration": int(self.reset_seconds),
                "ads_api_access_tier": tier,
            },
            "x-business-use-case-usage": {account_number: [business]},
            "x-fb-ads-insights-throttle": {
                "app_id_util_pct": round(self.insights_app_pct, 2),
                "acc_id_util_pct": round(self.insights_account_pct, 2),
                "ads_api_access_tier": tier,
            },
        }
        return [(name, json.dumps(value)) for name, value in values.items()]


class GraphError(Exception):
    """An error as the Graph API answers it; `usage` is what its headers tell."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        subcode: int | None = None,
        status: int = 400,
        type_: str = "OAuthException",
        transient: bool = False,
        title: str = "",
        user_message: str = "",
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.subcode = subcode
        self.status = status
        self.type = type_
        self.transient = transient
        self.title = title
        self.user_message = user_message
        self.usage = usage

    @classmethod
    def missing_object(cls, object_id: str) -> "GraphError":
        """100/33: the object does not exist, or the token may not know that it does."""
        return cls(
            100,
            f"Unsupported get request. Object with ID '{object_id}' does not exist, cannot be "
            "loaded due to missing permissions, or does not support this operation. Please read "
            "the Graph API documentation at https://developers.facebook.com/docs/graph-api",
            subcode=33,
            type_="GraphMethodException",
        )

    @classmethod
    def bad_parameter(cls, detail: str) -> "GraphError":
        """100: a parameter, field or filter that does not exist or does not fit."""
        return cls(100, f"(#100) {detail}")

    def body(self, trace_id: str) -> dict[str, Any]:
        """The JSON body; only message, type, code and fbtrace_id are always there."""
        error: dict[str, Any] = {"message": self.message, "type": self.type, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
            error["is_transient"] = self.transient
        elif self.transient:
            error["is_transient"] = True
        if self.title:
            error["error_user_title"] = self.title
        if self.user_message:
            error["error_user_msg"] = self.user_message
        error["fbtrace_id"] = trace_id
        return {"error": error}
