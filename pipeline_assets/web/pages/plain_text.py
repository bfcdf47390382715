"""What no page reads: NUL characters, which PostgreSQL refuses to store or look for."""

from fastapi import Request

from pipeline_assets.web.problems import Problem


async def check_text(request: Request) -> None:
    """Return when path, query and form can be looked for and stored.

    Raises:
        Problem: 422 for a NUL character.
    """
    values = [request.url.path, *request.path_params.values(), *request.query_params.values()]
    if request.method == "POST":
        values += (await request.form()).values()
    if any(isinstance(value, str) and "\0" in value for value in values):
        raise Problem(422, "The request holds a NUL character, which cannot be stored.")
