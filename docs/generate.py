"""Writes the reference pages that follow from the code: `make docs`; a test compares them."""

import textwrap
from pathlib import Path

import click

from pipeline_assets.cli.main import root
from pipeline_assets.datasets import DATASETS
from pipeline_assets.schemas import SCHEMAS, TableSchema
from pipeline_assets.settings import Settings
from pipeline_assets.web.api.docs import describe
from pipeline_assets.web.app import build_app

FOLDER = Path(__file__).parent


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    return {
        "api.md": _api(),
        "commands.md": _commands(),
        "datasets.md": _datasets(),
        "settings.md": _settings(),
    }


def _api() -> str:
    intro = textwrap.dedent("""\
        # API

        The server describes itself at `/api/docs`, where one can try it, and as OpenAPI at
        `/api/v1/openapi.json`.

        """)
    description = describe(build_app())
    rows = [
        f"| `{method.upper()} {path}` | {operation['summary']} |"
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    table = "\n".join(["| route | what it does |\n|---|---|", *rows])
    return "\n".join([intro + description["info"]["description"], table, _BANNER])


_BANNER = """
## The banner

The readiness of a page in words, to put into any page:

```html
<script src="https://pipeline.example.com/static/banner.js"
        data-brand="acme" data-page="ad_performance" data-token="pa_…"></script>
```

It shows itself where it stands, in a shadow root that no style of the page reaches, keeps itself up
to date, and says so when the server is away. Readers of the page can read the token: make one with
the role `embed`, which opens readiness and banners alone. Without `data-brand` the answer is across
all brands of the token. `GET /banner/{brand}/{page}` is the same as a piece of HTML, for pages made
on a server (brand `*`: all brands).
"""


def _commands() -> str:
    intro = textwrap.dedent("""\
        # Commands

        `pipeline-assets COMMAND --help` says the same. With `--json`, standard output holds JSON
        with the tables' own column names and nothing else; times are ISO 8601 in UTC.

        Exit codes: 0 done, 1 it could not be done (one sentence on standard error says why and
        what to do), 2 the command line is wrong, 130 Ctrl-C. With `--wait` also how the work ended:
        0 succeeded, 3 some of it failed (partial), 4 failed, 5 cancelled.
        """)
    return "\n".join([intro, *_command_sections(root, "pipeline-assets")])


def _command_sections(command: click.Command, path: str) -> list[str]:
    settings = {**root.context_settings, "max_content_width": 95}
    context = click.Context(command, info_name=path, **settings)
    sections = [f"## `{path}`\n\n```\n{command.get_help(context)}\n```\n"]
    if command is root:
        sections = []
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            sections += _command_sections(child, f"{path} {name}")
    return sections


def _datasets() -> str:
    intro = textwrap.dedent("""\
        # Datasets

        Keys and columns of every dataset; the table has the dataset's name. They are declared in
        `pipeline_assets/schemas/` and shown in Dagster's UI as column schema.
        """)
    return "\n".join([intro, *map(_dataset_section, SCHEMAS.values())])


def _dataset_section(schema: TableSchema) -> str:
    dataset = DATASETS[schema.name]
    key = ", ".join(f"`{name}`" for name in schema.key)
    readers = ", ".join(reader.value for reader in dataset.readers)
    rows = [
        f"| `{column.name}` | {column.type.value}{'' if column.nullable else ', always'} "
        f"| {column.description} |"
        for column in schema.columns
    ]
    return "\n".join(
        [
            f"## `{schema.name}`\n",
            f"{dataset.title}. Key: {key}. Read by: {readers}.\n",
            "| column | type | what it holds |\n|---|---|---|",
            *rows,
            "",
        ]
    )


def _settings() -> str:
    intro = textwrap.dedent("""\
        # Settings

        Environment variables, read from the environment and from the `.env` of the working folder;
        a variable that says two different things in the two is an error. `pipeline-assets setup`
        writes `.env` with `DAGSTER_HOME`, an absolute folder: database, media and run history live
        there unless a setting below places them elsewhere.

        | variable | default | what it does |
        |---|---|---|""")
    rows = [
        f"| `PIPELINE_{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join([intro, *rows, ""])


def _default(value: object) -> str:
    if value is None:
        return ""
    return f"`{list(value) if isinstance(value, tuple) else value}`"


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
        print(f"wrote docs/{name}")
