import pytest
from hypothesis import given
from hypothesis import strategies as st

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


NAMES = ("access_token", "input_token", "appsecret_proof", "client_secret", "password")
# A letter that is none of the mask's, then whatever a token may be made of.
SECRETS = st.from_regex(r"Q[A-Za-z0-9._~+/|-]{5,40}", fullmatch=True)
WORDY_SECRETS = st.from_regex(r"q[a-z]{5,40}", fullmatch=True)
PLACES = (
    "GET https://api.example/me?{name}={secret}&limit=5",
    "next=https%3A%2F%2Fx%3F{name}%3D{secret}",
    '{{"{name}": "{secret}", "limit": 5}}',
    '{{"{name}":"{secret}"}}',
    '{{"body": "{{\\"{name}\\": \\"{secret}\\"}}"}}',
    "{{'{name}': '{secret}', 'limit': 5}}",
    "RedditSource(client_id='a', {name}='{secret}')",
    '{{"{name}": "the {secret}", "limit": 5}}',
    "user: me\n{name}: {secret}\nlimit: 5",
    "reddit:\n  - {name}: {secret} # ours",
    "X_{name}: {secret} and more",
    "{{{name}: {secret}, limit: 5}}",
    '{name}: "{secret}"',
    "sent {name}: {secret}",
)
PROSE = ("Check the brand's client_id and {name}: ", "There is no {name}: ", "two ({name}: ")


@given(
    name=st.sampled_from([*NAMES, *map(str.upper, NAMES)]),
    secret=SECRETS | WORDY_SECRETS,
    place=st.sampled_from(PLACES),
)
def test_a_secrets_value_is_masked_in_whatever_form_it_is_logged(
    name: str, secret: str, place: str
) -> None:
    shown = redact(place.format(name=name, secret=secret))
    assert secret not in shown
    assert MASK in shown


@given(name=st.sampled_from(NAMES), secret=SECRETS.map("{}0".format))
def test_what_is_no_word_is_masked_within_a_sentence_too(name: str, secret: str) -> None:
    assert secret not in redact(f"they said {name}: {secret} is over")


@given(
    opening=st.sampled_from(PROSE),
    name=st.sampled_from(NAMES),
    word=st.from_regex(r"[A-Za-z][a-z]{0,11}", fullmatch=True),
)
def test_a_sentence_about_a_secret_stays_whole(opening: str, name: str, word: str) -> None:
    text = f"{opening.format(name=name)}{word} app must be approved for Reddit's API."
    assert redact(text) == text


def test_a_long_text_is_redacted_quickly() -> None:
    long = 300_000  # minutes, if each character were looked at once for each other one
    for text in ("-" * long, "a" * long, " " * long, "password:" + " " * long):
        assert redact(text) == text


def test_a_registered_secret_is_masked_though_it_looks_like_nothing() -> None:
    register_secret("plain-words-as-token")
    assert redact("it said plain-words-as-token twice") == f"it said {MASK} twice"


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Brand acme: 3 of 40 thumbnails at https://cdn.example/a/b.jpg?stp=x could not be read."
    assert redact(text) == text
