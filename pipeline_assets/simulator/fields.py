"""The `fields` parameter: reading its grammar and cutting a node down to what was asked.

Grammar: names separated by commas, each with optional `.modifier(value)` and optional `{fields}`.
Source: Meta Graph API v26.0, "Field expansion".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline_assets.simulator.answers import GraphError

_TOKEN = re.compile(r"\s*(?:(?P<name>\w+)|(?P<modifier>\.\w+\([^)]*\))|(?P<mark>[{},]))")


@dataclass
class Selection:
    """What was asked of a node: each field with what was asked of it; `modifiers` of the field."""

    fields: dict[str, "Selection"] = field(default_factory=dict)
    modifiers: dict[str, str] = field(default_factory=dict)


NodeBuilder = Callable[[Selection], Any]
"""A field that is a node of its own: called with what was asked of it."""


def parse_fields(text: str) -> Selection:
    """What a `fields` parameter asks for.

    Raises:
        GraphError: 2500, the text does not follow the grammar.
    """
    root = Selection()
    stack, last, position = [root], Selection(), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or (match["mark"] == "}" and len(stack) == 1):
            raise _syntax_error(text, position)
        if match["name"]:
            last = stack[-1].fields.setdefault(match["name"], Selection())
        elif match["modifier"]:
            key, _, value = match["modifier"][1:-1].partition("(")
            last.modifiers[key] = value
        elif match["mark"] == "{":
            stack.append(last)
        elif match["mark"] == "}":
            last = stack.pop()
        position = match.end()
    if len(stack) != 1:
        raise _syntax_error(text, position)
    return root


def _syntax_error(text: str, position: int) -> GraphError:
    return GraphError(
        2500, f'Syntax error "Expected end of string" at character {position}: {text[:80]}'
    )


def project(selection: Selection, node: Mapping[str, Any], node_type: str) -> dict[str, Any]:
    """The asked fields of a node that have a value, and always its id.

    A value of None is a field that exists but has nothing to show: it is omitted.

    Raises:
        GraphError: 100, a field that this type of node does not have.
    """
    answer: dict[str, Any] = {}
    for name, asked in selection.fields.items():
        if name not in node:
            raise GraphError.bad_parameter(
                f"Tried accessing nonexisting field ({name}) on node type ({node_type})"
            )
        value = node[name]
        shown = value(asked) if callable(value) else cut(value, asked)
        if shown is not None:
            answer[name] = shown
    if "id" in node:
        answer.setdefault("id", node["id"])
    return answer


def cut(value: Any, asked: Selection) -> Any:
    """A plain value, and of an object in it only the parts that were asked (all by default)."""
    if not asked.fields:
        return value
    if isinstance(value, Mapping):
        if "data" in value and "data" not in asked.fields:  # an edge: its objects are meant
            return {**value, "data": cut(value["data"], asked)}
        return {name: cut(value[name], sub) for name, sub in asked.fields.items() if name in value}
    if isinstance(value, list):
        return [cut(item, asked) for item in value]
    return value
