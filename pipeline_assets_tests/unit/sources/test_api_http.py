"""What an API's answer says, also where its texts are cut in the middle of a character."""

import json

import pytest

from pipeline_assets.sources.api_http import read_json


def test_a_text_that_ends_in_half_an_emoji_is_read() -> None:
    cut = json.dumps(
        [{"text": "Glow \N{SPARKLES} up \N{FIRE}", "\ud83d": 1}, {"text": "so \ud83d"}]
    )
    assert read_json(cut.encode()) == [
        {"text": "Glow \N{SPARKLES} up \N{FIRE}", "\N{REPLACEMENT CHARACTER}": 1},
        {"text": "so \N{REPLACEMENT CHARACTER}"},
    ]
    assert read_json(cut) == read_json(cut.encode())


def test_an_escaped_backslash_before_such_digits_is_no_half_of_anything() -> None:
    assert read_json(rb'["C:\\ud83d"]') == ["C:\\ud83d"]


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b'{"a": NaN}', b'["\xff"]', b"[" * 100_000, b'{"a": 1} {}']
)
def test_what_is_no_json_is_said_in_one_way(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(content)
