import pytest

from pipeline_assets.redaction import MASK, redact, register_secret


@pytest.mark.parametrize(
    "text",
    [
        "GET https://graph.facebook.com/v26.0/me?access_token=s3cr3t-value&limit=5",
        "next=https%3A%2F%2Fx%3Faccess_token%3Ds3cr3t-value",
        '{"access_token": "s3cr3t-value"}',
        "Authorization: Bearer s3cr3t-value",
        "debug_token?input_token=s3cr3t-value",
        "postgresql://user:s3cr3t-value@db.example/pipeline",
        "the token EAAs3cr3tvalueABCDEF was refused",
        "the API token pa_s3cr3t" + "x" * 37 + " is over",
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(text: str) -> None:
    shown = redact(text)
    assert "s3cr3t" not in shown
    assert MASK in shown


def test_a_registered_secret_is_masked_though_it_looks_like_nothing() -> None:
    register_secret("plain-words-as-token")
    assert redact("it said plain-words-as-token twice") == f"it said {MASK} twice"


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Brand acme: 3 of 40 thumbnails at https://cdn.example/a/b.jpg?stp=x could not be read."
    assert redact(text) == text
