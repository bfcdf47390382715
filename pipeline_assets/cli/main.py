"""The command's root and the one place where its errors become text and exit codes.

Exit codes: 0 done, 1 it could not be done (one sentence on standard error says why), 2 the command
line itself is wrong. A command that waits for work also ends with 3 when some of it failed, 4 when
it failed, 5 when somebody cancelled it; 130 is Ctrl-C. With `--json`, standard output holds JSON
and nothing else.
"""

import importlib
import io
import sys
import traceback
from collections.abc import Sequence

import click

from pipeline_assets import __version__
from pipeline_assets.errors import PipelineError
from pipeline_assets.redaction import redact

_COMMANDS = {
    "setup": "pipeline_assets.cli.setup:setup",
    "up": "pipeline_assets.cli.up:up",
    "brands": "pipeline_assets.cli.brands:brands",
    "organizations": "pipeline_assets.cli.organizations:organizations",
    "users": "pipeline_assets.cli.people:users",
    "tokens": "pipeline_assets.cli.people:tokens",
    "features": "pipeline_assets.cli.people:features",
    "sync": "pipeline_assets.cli.sync:sync",
    "status": "pipeline_assets.cli.status:status",
    "ready": "pipeline_assets.cli.ready:ready",
    "history": "pipeline_assets.cli.history:history",
    "requests": "pipeline_assets.cli.requests:requests",
    "cadences": "pipeline_assets.cli.cadences:cadences",
    "resync": "pipeline_assets.cli.resync:resync",
    "resyncs": "pipeline_assets.cli.resync:resyncs",
    "audit": "pipeline_assets.cli.audit:audit",
    "doctor": "pipeline_assets.cli.doctor:doctor",
    "retention": "pipeline_assets.cli.retention:retention",
    "demo": "pipeline_assets.cli.demo:demo",
}


class _LazyGroup(click.Group):
    """Imports a command's module only when that command is used: Dagster takes a second to load."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, package_name="pipeline-assets")
def root() -> None:
    """Know for every brand and dataset whether ad data is fresh enough to use, and keep it so."""


def main() -> None:
    """Run the command and end the process with its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 gets ? for its marks
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, the process's own if None; returns its exit code.

    Raises:
        SystemExit: the reader of our output has gone (`… | head`); click and Rich see to it that
            nothing more is said.
    """
    try:
        code = root.main(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PipelineError as error:
        advice = f"\n{error.advice}" if error.advice else ""
        click.echo(redact(f"Error: {error}{advice}"), err=True)
        return 1
    except UnicodeEncodeError:
        click.echo("Error: The command line holds bytes that are no text in UTF-8.", err=True)
        return 1
    except Exception as error:  # noqa: BLE001 - the edge: a bug is shown as one, without secrets
        click.echo(redact(traceback.format_exc()), err=True)
        click.echo(redact(f"Error: a bug in pipeline-assets: {error}"), err=True)
        return 1
    return code if isinstance(code, int) else 0
