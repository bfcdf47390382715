"""`pipeline-assets sync`: have a brand's data fetched now."""

from typing import TYPE_CHECKING

import click

from pipeline_assets.cli.following import (
    EXIT_CODES,
    START_DAGSTER,
    View,
    check_timeout,
    follow,
    lines_of,
    timeout_option,
    wait_option,
)
from pipeline_assets.cli.installation import actor, open_dagster, open_installation
from pipeline_assets.cli.output import json_option, print_json
from pipeline_assets.cli.requests import (
    SHOWN_ID,
    describe,
    duration_text,
    print_datasets,
    progress_of,
    progress_row,
)
from pipeline_assets.clock import utcnow
from pipeline_assets.control.dagster_log import is_daemon_alive
from pipeline_assets.control.projector import project
from pipeline_assets.control.request_progress import RequestProgress
from pipeline_assets.control.requests import (
    ACTIVE_STATES,
    Request,
    RequestState,
    Trigger,
    Wish,
    list_requests,
    narrowed,
    request_sync,
)
from pipeline_assets.control.retries import policies_of
from pipeline_assets.control.targets import read_target
from pipeline_assets.datasets import JOBS
from pipeline_assets.resources.installation import Installation

if TYPE_CHECKING:
    import dagster as dg


@click.command()
@click.argument("brand_id", metavar="BRAND")
@click.argument("job", default="meta_sync")
@click.option("--dataset", "datasets", multiple=True, metavar="KEY", help="Only this (repeatable).")
@click.option("--reason", default="", help="Why, for those who wonder.")
@wait_option
@timeout_option
@json_option
@click.pass_context
def sync(
    context: click.Context,
    *,
    brand_id: str,
    job: str,
    datasets: tuple[str, ...],
    reason: str,
    is_waited_for: bool,
    timeout_seconds: float | None,
    as_json: bool,
) -> None:
    """Have a job run for a brand as soon as possible; JOB is meta_sync unless another is named.

    A job that does all brands of an organization in one run takes `*ORGANIZATION` for BRAND too.
    If it is queued or running already, that is the one you get. With --wait the exit code tells
    how it ended: 0 succeeded, 3 partial, 4 failed, 5 cancelled.

    \b
    pipeline-assets sync acme
    pipeline-assets sync acme --dataset ad_assets --reason "new campaign" --wait
    pipeline-assets sync '*default' template_approval
    """
    check_timeout(timeout_seconds, is_waited_for=is_waited_for)
    wish = Wish(
        brand_id=brand_id,
        job=job,
        trigger=Trigger.MANUAL,
        requested_by=actor(),
        reason=reason,
        datasets=datasets or None,
    )
    installation = open_installation()
    # First of all: an unknown brand gets its clear error.
    wish = narrowed(read_target(installation.engine, brand_id), wish)
    with open_dagster(installation.settings) as instance:
        before, request, is_new = _request(installation, instance, wish)
        told = _what_happened(before, request, is_new=is_new)
        missing = _left_out(request, wish)
        if is_waited_for:
            click.echo(told, err=True)
            click.echo(missing, err=True, nl=bool(missing))
            progress = _follow(installation, instance, request, timeout_seconds)
            _print_end(progress, is_new=is_new, as_json=as_json)
            context.exit(EXIT_CODES[progress.request.state])
        is_alive = is_daemon_alive(instance, now=utcnow())
    progress = progress_of(installation, request.id)
    if as_json:
        print_json({**progress_row(progress), "is_new": is_new, "is_daemon_alive": is_alive})
        return
    click.echo(told)
    click.echo(missing, nl=bool(missing))
    if not is_alive:
        click.echo(f"Dagster's daemon is not running: it waits until that is. {START_DAGSTER}")
    elif progress.waits_for:
        click.echo(f"It waits for {progress.waits_for}.")
    click.echo(_afterwards(request))


def _request(
    installation: Installation, instance: "dg.DagsterInstance", wish: Wish
) -> tuple[Request | None, Request, bool]:
    """Store the wish; returns the request as it was before, as it is now, and whether it is new."""
    engine = installation.engine
    # What is known of requests may be as old as the sensor's last beat, or much older without one.
    project(instance, engine, policies=policies_of(installation.settings))
    active = list_requests(
        engine, brand_ids=[wish.brand_id], job=wish.job, states=ACTIVE_STATES, is_archived=None
    )
    request, is_new = request_sync(engine, wish, now=utcnow())
    before = next((each for each in active if each.id == request.id), None)
    return before, request, is_new


def _what_happened(before: Request | None, request: Request, *, is_new: bool) -> str:
    what = describe(request)
    if is_new:
        return f"Queued {what}."
    asker = f"asked for by {request.requested_by}"
    if request.state is RequestState.RUNNING:
        since = f" since {request.started_at:%Y-%m-%d %H:%M:%S} UTC" if request.started_at else ""
        return f"Already running{since}, {asker}: {what}."
    if request.state is RequestState.LAUNCHED:
        return f"Already launched, {asker}: {what}."
    if before is not None and before.not_before > request.not_before:
        when = f"{before.not_before:%Y-%m-%d %H:%M:%S} UTC"
        what_time = f"its next try at {when}" if request.attempt > 1 else f"{when} to begin"
        return f"Was waiting for {what_time}: now it comes at once, {what}."
    return f"Already queued since {request.requested_at:%Y-%m-%d %H:%M:%S} UTC, {asker}: {what}."


def _left_out(request: Request, wish: Wish) -> str:
    """What a request that has begun cannot take in any more."""
    wanted = wish.datasets if wish.datasets is not None else JOBS[wish.job].datasets
    missing = [key for key in wanted if key not in request.dataset_keys]
    if not missing:
        return ""
    return f"It has begun without {', '.join(missing)}: ask for that again when it has ended."


def _afterwards(request: Request) -> str:
    short = request.id[:SHOWN_ID]
    return (
        f"`pipeline-assets requests show {short}` tells how it is, "
        f"`pipeline-assets requests cancel {short}` ends it."
    )


def _follow(
    installation: Installation,
    instance: "dg.DagsterInstance",
    request: Request,
    timeout_seconds: float | None,
) -> RequestProgress:
    def look() -> View:
        progress = progress_of(installation, request.id)
        return View(lines_of(progress), is_last=not progress.request.state.is_active)

    follow(
        installation,
        instance,
        look,
        what=f"request {request.id[:SHOWN_ID]}",
        afterwards=_afterwards(request),
        timeout_seconds=timeout_seconds,
    )
    return progress_of(installation, request.id)


def _print_end(progress: RequestProgress, *, is_new: bool, as_json: bool) -> None:
    if as_json:
        print_json({**progress_row(progress), "is_new": is_new})
        return
    print_datasets(progress)
    request = progress.request
    took = duration_text(request.started_at, request.finished_at)
    click.echo(f"\n{describe(request)}: {request.state.value} after {took}.")
