"""`pipeline-assets ready`: may a page show its data? For people, and for shell scripts."""

import click

from pipeline_assets.cli.installation import open_installation
from pipeline_assets.cli.output import json_option, print_json
from pipeline_assets.clock import utcnow
from pipeline_assets.control.readiness import read_readiness, read_readiness_across
from pipeline_assets.freshness.pages import find_page
from pipeline_assets.freshness.readiness import Answer, Kind

_ALL_BRANDS = "*"

_EXIT_CODES = {Answer.READY: 0, Answer.DEGRADED: 3, Answer.WITHHOLD: 4}

_MARKS = {
    Kind.OK: ("●", "green"),
    Kind.INFO: ("·", None),
    Kind.WARNING: ("◐", "yellow"),
    Kind.ERROR: ("✗", "red"),
}


@click.command()
@click.argument("brand_id", metavar="BRAND")
@click.argument("page_name", metavar="PAGE")
@json_option
@click.pass_context
def ready(context: click.Context, *, brand_id: str, page_name: str, as_json: bool) -> None:
    """Tell whether a page may show a brand's data, and if not, why and what to do.

    PAGE is ad_performance or any other consumer page, also one of your own (PIPELINE_PAGES_FILE).
    BRAND '*' asks about all brands at once, as pages such as template_queue need it.

    The exit code is the answer: 0 ready, 3 degraded (some of it is missing, old or at risk),
    4 withhold (do not show its figures), 1 there is no answer.

    \b
    pipeline-assets ready acme ad_performance || exit 0
    pipeline-assets ready '*' template_queue --json
    """
    installation = open_installation()
    engine = installation.engine
    page = find_page(installation.pages, page_name)
    now = utcnow()
    readiness = (
        read_readiness_across(engine, page, now=now)
        if brand_id == _ALL_BRANDS
        else read_readiness(engine, brand_id, page, now=now)
    )
    if as_json:
        print_json(readiness.as_row())
    else:
        for line in readiness.lines:
            mark, colour = _MARKS[line.kind]
            click.echo(f"{click.style(mark, fg=colour)} {line.text}")
    context.exit(_EXIT_CODES[readiness.answer])
