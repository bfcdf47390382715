"""What no route reads: characters that no database stores, and bodies of another kind than JSON."""

from fastapi import Request

from pipeline_assets.web.problems import Problem


async def check_request(request: Request) -> None:
    """Return when path, query and body can be read and stored.

    Raises:
        Problem: 422 for a NUL character, which PostgreSQL refuses, 415 for a body that is no JSON.
    """
    scope = request.scope
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise _nul()
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    body = await request.body()
    if not body:
        return
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Problem(
            415,
            f"A body of the kind {content_type[:100]!r} is not understood.",
            advice="Send JSON with `Content-Type: application/json`.",
        )
    if b"\\u0000" in body or b"\0" in body:
        raise _nul()


def _nul() -> Problem:
    return Problem(422, "The request holds a NUL character, which cannot be stored.")
