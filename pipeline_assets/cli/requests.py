"""`pipeline-assets requests`: the stored wishes to run a job, what they are at, and their end."""

from datetime import datetime
from typing import Any

import click

from pipeline_assets.cli.installation import actor, open_dagster, open_installation
from pipeline_assets.cli.output import console, json_option, print_json, print_table
from pipeline_assets.clock import utcnow
from pipeline_assets.control.request_progress import (
    DatasetProgress,
    RequestProgress,
    read_progress,
)
from pipeline_assets.control.requests import (
    Request,
    RequestState,
    cancel_request,
    find_request_id,
    get_request,
    list_requests,
)
from pipeline_assets.control.targets import is_all_brands, read_target
from pipeline_assets.freshness.ages import age_text
from pipeline_assets.resources.installation import Installation

SHOWN_ID = 8
"""So many characters tell a hundred thousand ids apart, as good as always."""

state_option = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in RequestState]),
    help="Only in this state (repeatable).",
)


@click.group()
def requests() -> None:
    """Requests: each stored wish to run a job for a brand, whoever or whatever made it."""


@requests.command("list")
@click.option("--brand", "brand_id", metavar="BRAND", help="Only this brand's.")
@click.option("--job", help="Only this job's.")
@state_option
@click.option("--all", "is_all", is_flag=True, help="Archived ones too.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_(
    *,
    brand_id: str | None,
    job: str | None,
    states: tuple[str, ...],
    is_all: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List requests, the newest first.

    \b
    pipeline-assets requests list --brand acme --state queued --state running
    """
    engine = open_installation().engine
    if brand_id is not None:
        read_target(engine, brand_id)  # refuses an unknown one
    found = list_requests(
        engine,
        brand_ids=[brand_id] if brand_id is not None else None,
        job=job,
        states=[RequestState(state) for state in states] or None,
        is_archived=None if is_all else False,
        limit=limit,
    )
    if as_json:
        print_json([vars(request) for request in found])
    elif found:
        columns = ["id", "brand_id", "job", "state", "try", "trigger", "requested_by"]
        print_table([*columns, "requested_at", "when"], [_list_row(request) for request in found])
    else:
        click.echo("No request. `pipeline-assets sync BRAND` makes one.")


@requests.command()
@click.argument("request_id", metavar="ID")
@json_option
def show(*, request_id: str, as_json: bool) -> None:
    """Show one request: what it waits for, what each dataset is at, or how it ended.

    ID may be the first six characters or more.

    \b
    pipeline-assets requests show 3f2a9c1e
    """
    installation = open_installation()
    found = find_request_id(installation.engine, request_id)
    refresh(installation)
    progress = progress_of(installation, found)
    if as_json:
        print_json(progress_row(progress))
        return
    request = progress.request
    hidden = {"outcomes", "records", "error_class", "error_message", "advice"}
    row = {name: value for name, value in vars(request).items() if name not in hidden}
    row["waits_for"] = progress.waits_for
    print_table(["field", "value"], [{"field": name, "value": row[name]} for name in row])
    click.echo()
    print_datasets(progress)


@requests.command()
@click.argument("request_id", metavar="ID")
@json_option
def cancel(*, request_id: str, as_json: bool) -> None:
    """Cancel a request: a queued one at once, a running one as soon as its run has stopped.

    ID may be the first six characters or more.

    \b
    pipeline-assets requests cancel 3f2a9c1e
    """
    installation = open_installation()
    found = find_request_id(installation.engine, request_id)
    cancel_request(installation.engine, found, actor=actor(), now=utcnow())
    refresh(installation)  # stops its run without waiting for the sensor
    request = get_request(installation.engine, found)
    if as_json:
        print_json(vars(request))
    elif request.state is RequestState.CANCELLED:
        click.echo(f"{describe(request)} is cancelled.")
    else:
        click.echo(f"{describe(request)} is being cancelled: its run is asked to stop.")


def refresh(installation: Installation) -> None:
    """Bring requests and status up to date with Dagster's log, as its sensor does every 5 s."""
    from pipeline_assets.control.projector import project  # noqa: PLC0415 - heavy
    from pipeline_assets.control.retries import policies_of  # noqa: PLC0415

    policies = policies_of(installation.settings)
    with open_dagster(installation.settings) as instance:
        project(instance, installation.engine, policies=policies)


def describe(request: Request) -> str:
    """A request in a few words."""
    return f"{request.job} for {request.brand_id} (request {request.id[:SHOWN_ID]})"


def progress_of(installation: Installation, request_id: str) -> RequestProgress:
    """How far a request is now."""
    return read_progress(
        installation.engine,
        request_id,
        now=utcnow(),
        default_app_id=installation.settings.meta_app_id,
    )


def progress_row(progress: RequestProgress) -> dict[str, Any]:
    """A request and how far it is as plain values, the request's own columns first."""
    return {
        **vars(progress.request),
        "waits_for": progress.waits_for,
        "blocked_until": progress.blocked_until,
        "progress": [vars(dataset) for dataset in progress.datasets],
        "retry": vars(progress.retry) if progress.retry else None,
        "left_out": dict(progress.left_out),
    }


def print_datasets(progress: RequestProgress) -> None:
    """Print each dataset's outcome and, below, what is missing or wrong and what to do about it."""
    rows = [_dataset_row(each) for each in progress.datasets]
    has_several_brands = is_all_brands(progress.request.brand_id)
    columns = ["brand_id"] if has_several_brands else []
    print_table([*columns, "dataset", "outcome", "records"], rows)
    output = console()
    for brand_id, reason in progress.left_out.items():
        output.print(f"{brand_id} is left out: {reason}.", markup=False)
    for each in progress.datasets:
        if each.missing is not None:
            whose = f"{each.brand_id} " if has_several_brands else ""
            output.print(f"{whose}{each.dataset}: {each.missing}", markup=False)
    for line in _problems(progress):
        output.print(line, markup=False)
    if progress.retry is not None:
        output.print(f"\n{next_try_text(progress.retry)}", markup=False)


def next_try_text(retry: Request) -> str:
    """When which datasets are tried again."""
    at = f"{retry.not_before:%Y-%m-%d %H:%M:%S} UTC"
    which = ", ".join(retry.dataset_keys)
    if retry.brand_ids is not None:
        which += f" for {', '.join(retry.brand_ids)}"
    return f"Next try at {at}, of {which} (request {retry.id[:SHOWN_ID]})."


def duration_text(since: datetime | None, until: datetime | None) -> str:
    """How long it took, or takes until now; a dash before it began."""
    if since is None:
        return "-"
    return age_text(((until or utcnow()) - since).total_seconds())


def _list_row(request: Request) -> dict[str, Any]:
    return {
        **vars(request),
        "id": request.id[:SHOWN_ID],
        "try": request.attempt,
        "when": _when(request),
    }


def _when(request: Request) -> str:
    now = utcnow()
    if request.state is RequestState.QUEUED:
        wait = (request.not_before - now).total_seconds()
        return f"in {age_text(wait)}" if wait > 0 else "as soon as there is room"
    if request.started_at is None:
        return ""
    ended = "" if request.finished_at else "for "
    return f"{ended}{duration_text(request.started_at, request.finished_at)}"


def _dataset_row(each: DatasetProgress) -> dict[str, Any]:
    done = f" {each.done} of {each.total}" if each.total else ""
    return {
        "brand_id": each.brand_id,
        "dataset": each.dataset,
        "outcome": each.outcome or f"{each.stage or ''}{done}",
        "records": each.records,
    }


def _problems(progress: RequestProgress) -> list[str]:
    """Each distinct error once, with the datasets that it stopped, or the brands of several."""
    problems: dict[tuple[str | None, str | None, str | None], list[str]] = {}
    request = progress.request
    for each in progress.datasets:
        if each.error_class is not None:
            key = (each.error_class, each.error_message, each.advice)
            whose = each.brand_id if is_all_brands(request.brand_id) else each.dataset
            problems.setdefault(key, []).append(whose)
    if not problems and request.error_class is not None:  # it ended before it tried any
        problems[request.error_class, request.error_message, request.advice] = []
    lines = []
    for (error_class, message, advice), names in problems.items():
        where = f" in {', '.join(names)}" if names else ""
        lines += ["", f"{error_class}{where}", f"  {message}"]
        if advice:
            lines.append(f"  What to do: {advice}")
    return lines
