"""Parameters that every list shares: limit, cursors, filtering, JSON values."""

import base64
import binascii
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pipeline_assets.simulator.answers import GraphError

DEFAULT_LIMIT = 25

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "EQUAL": operator.eq,
    "NOT_EQUAL": operator.ne,
    "IN": lambda value, wanted: value in wanted,
    "NOT_IN": lambda value, wanted: value not in wanted,
    "GREATER_THAN": operator.gt,
    "GREATER_THAN_OR_EQUAL": operator.ge,
    "LESS_THAN": operator.lt,
    "LESS_THAN_OR_EQUAL": operator.le,
    "CONTAIN": lambda value, wanted: wanted in value,
    "NOT_CONTAIN": lambda value, wanted: wanted not in value,
}


@dataclass(frozen=True)
class Filter:
    """One condition of a `filtering` parameter; a list is kept as a tuple of text."""

    field: str
    operator: str
    value: Any

    def accepts(self, values: Mapping[str, Any]) -> bool:
        """Whether an object with these values is let through.

        Raises:
            GraphError: 100, a field that cannot be filtered by, or a value of the wrong type.
        """
        if self.field not in values:
            raise GraphError.bad_parameter(
                f"Filtering field {self.field} with operation {self.operator.lower()} is not "
                "supported"
            )
        value, wanted = values[self.field], self.value
        if isinstance(value, int) and not isinstance(wanted, tuple):
            wanted = _number(wanted)
        try:
            return _OPERATORS[self.operator](value, wanted)
        except TypeError as error:
            raise GraphError.bad_parameter("filtering value has the wrong type") from error


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise GraphError.bad_parameter(f"{value!r} is not a number") from error


def read_filters(params: Mapping[str, str]) -> tuple[Filter, ...]:
    """The conditions of the `filtering` parameter.

    Raises:
        GraphError: 100, not a list of {field, operator, value} or an unknown operator.
    """
    filters = []
    for item in read_json_list(params, "filtering"):
        if not isinstance(item, dict) or not {"field", "operator", "value"} <= set(item):
            raise GraphError.bad_parameter("filtering must be a list of field, operator and value")
        if item["operator"] not in _OPERATORS:
            raise GraphError.bad_parameter(f"filtering operator {item['operator']} is not valid")
        value = item["value"]
        value = tuple(map(str, value)) if isinstance(value, list) else value
        if not isinstance(value, tuple | str | int | float):
            raise GraphError.bad_parameter("filtering value must be text, a number or an array")
        filters.append(Filter(str(item["field"]), item["operator"], value))
    return tuple(filters)


def read_json(params: Mapping[str, str], name: str) -> Any:
    """A parameter's JSON value; None when it is not given.

    Raises:
        GraphError: 100, it is not JSON.
    """
    if name not in params:
        return None
    try:
        return json.loads(params[name])
    except ValueError as error:
        raise GraphError.bad_parameter(f"param {name} must be valid JSON") from error


def read_json_list(params: Mapping[str, str], name: str) -> list[Any]:
    """A parameter's JSON list; empty when it is not given.

    Raises:
        GraphError: 100, it is not a JSON list.
    """
    value = read_json(params, name)
    if value is not None and not isinstance(value, list):
        raise GraphError.bad_parameter(f"param {name} must be an array")
    return value or []


def read_names(params: Mapping[str, str], name: str) -> tuple[str, ...]:
    """A list of names, as JSON or separated by commas: Meta takes both."""
    text = params.get(name, "").strip()
    names = read_json_list(params, name) if text.startswith("[") else text.split(",")
    return tuple(str(each).strip() for each in names if str(each).strip())


def read_limit(params: Mapping[str, str]) -> int:
    """The size of a page.

    Raises:
        GraphError: 100, it is not a positive number.
    """
    text = params.get("limit", str(DEFAULT_LIMIT))
    if not text.isdecimal() or int(text) < 1:
        raise GraphError.bad_parameter("param limit must be a positive integer")
    return int(text)


def encode_cursor(position: str) -> str:
    """An opaque cursor, as Meta's look: base64 that ends in ZD."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=") + "ZD"


def decode_cursor(cursor: str) -> str:
    """The position that `encode_cursor` hid.

    Raises:
        GraphError: 100, no cursor of ours.
    """
    text = cursor.removesuffix("ZD")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise GraphError.bad_parameter("Invalid cursors values.") from error


def build_page(data: list[Any], *, before: str, after: str, next_url: str | None) -> dict[str, Any]:
    """A list's answer: `next` is absent on the last page, the cursors are there all the same."""
    if not data and next_url is None:
        return {"data": []}
    paging: dict[str, Any] = {"cursors": {"before": before, "after": after}}
    if next_url is not None:
        paging["next"] = next_url
    return {"data": data, "paging": paging}


def link(url: str, params: Mapping[str, str], **changes: str) -> str:
    """The address of the same list with other parameters (a token sent as one is kept)."""
    kept = {name: value for name, value in params.items() if name not in {"after", "before"}}
    return f"{url}?{urlencode({**kept, **changes})}"
