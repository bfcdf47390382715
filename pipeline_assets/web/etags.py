"""Answers that cost nothing when they have not changed: a tag of what is shown, and 304."""

import hashlib

from fastapi import Request, Response

_HEADERS = {
    "Cache-Control": "private, no-cache",  # keep it, and ask each time whether it still holds
    "Vary": "Authorization, Cookie",
}


def tag_of(content: bytes) -> str:
    """A tag that changes with the content."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the asker has what the tag stands for; a proxy may have made the tag a weak one."""
    known = request.headers.get("if-none-match", "")
    return any(each.strip().removeprefix("W/") in {tag, "*"} for each in known.split(","))


def answer_unless_known(
    request: Request, content: bytes | str, *, tag: str, media_type: str = "application/json"
) -> Response:
    """The content with its tag, or 304 without a body when the asker has it already.

    The tag is weak on its way: parts of a content that change with each second, such as an age, may
    be left out of it.
    """
    headers = {"ETag": f"W/{tag}", **_HEADERS}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)
