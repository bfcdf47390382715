"""What goes wrong at the web's edge, in one shape: JSON for programs, a page for people."""

import http
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from pipeline_assets.errors import PermanentError, PipelineError, TransientError
from pipeline_assets.redaction import redact
from pipeline_assets.web.paths import path_of
from pipeline_assets.web.templating import render

_CODES = {
    400: "invalid",
    401: "not_signed_in",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    500: "bug",
    503: "unavailable",
}

_USUAL_WAIT_SECONDS = 5.0


class Problem(Exception):  # noqa: N818 - it is an answer, often of the caller's making
    """An answer that is not what was asked for: a status, a sentence, and what to do about it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        advice: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.advice = advice
        self.retry_after_seconds = retry_after_seconds


def not_found(what: str) -> Problem:
    """What does not exist, and what belongs to somebody else: nobody can tell them apart."""
    return Problem(404, f"There is no {what}, or none that you may see.")


def add_problem_handlers(app: FastAPI) -> None:
    """Make every failure of every route an answer of the one shape."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(PipelineError, _answer_pipeline_error)
    app.add_exception_handler(OperationalError, _answer_dagster_storage)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_bug)


def is_for_programs(request: Request) -> bool:
    """Whether the answer is read by a program; a banner is fetched by the page that shows it."""
    path = request.url.path
    return path.startswith(("/api/", "/banner/")) and path != "/api/docs"


def _answer(request: Request, problem: Problem) -> Response:
    headers = {}
    wait = problem.retry_after_seconds
    if wait is not None or problem.status == 503:
        headers["Retry-After"] = str(max(1, round(wait or _USUAL_WAIT_SECONDS)))
    message, advice = redact(str(problem)), redact(problem.advice)
    if is_for_programs(request):
        if problem.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        error = {"code": _CODES[problem.status], "message": message, "advice": advice}
        return JSONResponse({"error": error}, status_code=problem.status, headers=headers)
    is_htmx = "hx-request" in request.headers
    if problem.status == 401:
        # A part of a page is no place to come back to, nor is what was to be done.
        page = request.headers.get("hx-current-url", "") if is_htmx else str(request.url)
        following = urlencode({"next": path_of(page if request.method == "GET" else "")})
        target = f"{request.app.url_path_for('sign_in_page')}?{following}"
        if is_htmx:
            return Response(status_code=401, headers={"HX-Redirect": target})
        return RedirectResponse(target, status_code=303)
    if is_htmx:  # it shows the sentence and leaves the page as it is
        headers["HX-Reswap"] = "none"
        return Response(f"{message} {advice}".strip(), problem.status, headers, "text/plain")
    return render(
        request,
        "problem.html",
        status=problem.status,
        phrase=http.HTTPStatus(problem.status).phrase,
        message=message,
        advice=advice,
        status_code=problem.status,
        headers=headers,
    )


def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(request, error)


def _answer_pipeline_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PipelineError)
    if isinstance(error, PermanentError):
        return _answer(request, Problem(422, str(error), advice=error.advice))
    wait = error.retry_after_seconds if isinstance(error, TransientError) else None
    problem = Problem(503, str(error), advice=error.advice, retry_after_seconds=wait)
    return _answer(request, problem)


def _answer_dagster_storage(request: Request, error: Exception) -> Response:
    """Our own database's errors are of our tree; this one is of the storage that Dagster opens."""
    assert isinstance(error, OperationalError)
    first_line = str(error.orig or error).strip().partition("\n")[0]
    return _answer(
        request,
        Problem(
            503,
            f"Dagster's storage cannot be used: {first_line}",
            advice="It is tried again by itself; `pipeline-assets doctor` tells more.",
            retry_after_seconds=5,
        ),
    )


def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _answer(request, Problem(422, f"The body is no JSON: {first['ctx']['error']}."))
    place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    sentence = f"{place} cannot be used: {first['msg'][0].lower()}{first['msg'][1:]}."
    return _answer(request, Problem(422, sentence))


def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _answer(request, not_found("such page"))
    status = error.status_code if error.status_code in _CODES else 400
    return _answer(request, Problem(status, f"{error.detail.rstrip('.')}."))


def _answer_bug(request: Request, error: Exception) -> Response:
    """The server logs it with its traceback; what is shown holds no secret."""
    return _answer(
        request,
        Problem(
            500,
            f"A bug in pipeline-assets: {type(error).__name__}.",
            advice="The server's log holds what happened.",
        ),
    )
