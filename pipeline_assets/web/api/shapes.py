"""What every route of the API shares: how texts, times, lists and errors look."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Body, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from pipeline_assets.clock import as_usable

Row = dict[str, Any]
Item = TypeVar("Item")

Instant = Annotated[AwareDatetime, AfterValidator(as_usable)]
"""A time from outside, with its offset; UTC from here on."""

Name = Annotated[str, Query(max_length=200)]
Names = Annotated[frozenset[Annotated[str, Query(max_length=200)]], Query(max_length=100)]
"""A filter that may be given several times: one of these."""
Reason = Annotated[str, Body(max_length=500)]
Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
Cursor = Annotated[
    str | None,
    Query(max_length=1000, description="`next_cursor` of the page before; none for the first."),
]
Since = Annotated[Instant | None, Query(description="Not before this time.")]
Until = Annotated[Instant | None, Query(description="Before this time.")]


class Shape(BaseModel):
    """A part of an answer; the texts under its fields describe them in the documentation."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class Asked(BaseModel):
    """A body from outside: unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )


class Listing(Shape, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None
    """For the page that follows; null on the last one."""


def listing(items: Sequence[object], next_cursor: str | None) -> Row:
    """A page and its cursor as the API tells them."""
    return {"items": items, "next_cursor": next_cursor}


class ErrorDetail(Shape):
    """What went wrong, for programs (`code`) and for people."""

    code: str
    """One of `not_signed_in` 401, `forbidden` 403, `not_found` 404, `method_not_allowed` 405, \
`conflict` 409, `too_large` 413, `unsupported_media_type` 415, `invalid` 422 (and 400), \
`too_many_requests` 429, `bug` 500, `unavailable` 503."""
    message: str
    """A sentence that stands alone."""
    advice: str
    """What to do about it; may be empty."""


class ErrorAnswer(Shape):
    """The one shape of every failure."""

    error: ErrorDetail


def _failure(description: str, code: str, message: str, advice: str = "") -> Row:
    example = {"error": {"code": code, "message": message, "advice": advice}}
    content = {"application/json": {"example": example}}
    return {"model": ErrorAnswer, "description": description, "content": content}


FAILURES: dict[int | str, Row] = {
    401: _failure(
        "Nobody who is known: no token or session, or one that is over.",
        "not_signed_in",
        "The token is unknown, revoked or over.",
        "Ask for a new one.",
    ),
    403: _failure(
        "Your role does not reach that far.",
        "forbidden",
        "This takes the role operator.",
        "Ask an admin for it.",
    ),
    404: _failure(
        "It does not exist, or belongs to an organization that is not yours.",
        "not_found",
        "There is no such brand, or none that you may see.",
    ),
    422: _failure(
        "The request cannot work as written.",
        "invalid",
        "There is no job 'meta_snyc'.",
        "Did you mean meta_sync?",
    ),
    "default": _failure(
        "Any other failure; 503 has the header `Retry-After`.",
        "unavailable",
        "The database cannot be reached.",
    ),
}
"""The failures that every route may answer with."""

CONFLICT: dict[int | str, Row] = {
    409: _failure(
        "Something stands against it right now.",
        "conflict",
        "Request 5f0c… has ended: it succeeded.",
    )
}
