"""Email addresses and names, as people and programs give them."""

import pytest

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.names import check_email, check_name

LONGEST = "a" * (254 - 15) + "@agency.example"
assert len(LONGEST) == 254


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("alice@agency.example", "alice@agency.example"),
        ("  Alice@Agency.EXAMPLE\n", "alice@agency.example"),
        ("a@b", "a@b"),
        ("jürgen@büro.example", "jürgen@büro.example"),
        ("a+b@x.example", "a+b@x.example"),
        (LONGEST, LONGEST),
    ],
)
def test_an_address_is_stored_in_lower_case_without_spaces_around(text: str, email: str) -> None:
    assert check_email(text) == email


@pytest.mark.parametrize(
    "text",
    ["", "alice", "@x", "alice@", "a b@x", "a@b@c", "a@x\ny", "a@x\0", "a@\ud800", "a" + LONGEST],
)
def test_what_cannot_be_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfigError, match="is not an email address") as caught:
        check_email(text)
    assert len(str(caught.value)) < 400
    assert "alice@agency.example" in caught.value.advice


@pytest.mark.parametrize("text", ["A", "x" * 200, "Zoë 👩‍💻 <b>", "\u200fעדי"])
def test_a_name_may_hold_any_writing(text: str) -> None:
    assert check_name(f" {text} ") == text


@pytest.mark.parametrize("text", ["", "   ", "x" * 201, "a\nb", "a\0b", "a\ud800", "a\u2028b"])
def test_what_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfigError, match="cannot be a name") as caught:
        check_name(text)
    assert len(str(caught.value)) < 300
