"""Keeps secrets out of whatever people and logs get to see.

The first defence is never to put a secret into a URL or a message; this is the second one, applied
at the edges (error messages, logs, command output) to text that came from elsewhere.
"""

import re

_NAMES = r"(?:access_token|input_token|appsecret_proof|client_secret|password)"
_PROSE = r"(?-i::[ ][A-Za-z][a-z]{0,11}[ ]+[A-Za-z(])"  # a word, and the sentence goes on
_SECRET_PARAMETER = re.compile(
    rf"""(
        {_NAMES}(?:=|%3D|\\*["']\s*:\s*)       # a parameter, or a key as in JSON or a dict's repr
        | ^[\ \t{{[-]*\w*{_NAMES}\s*:\s*       # a header, or a key as in YAML
        | {_NAMES}(?!{_PROSE})\s*:\s*          # the like within a line, unless it is a sentence
    )
    (\\*["'])?(?(2) (?:(?!\2)(?:\\.|[^\\\n]))+ | [^&\s"'<>,}}]+ )
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_BEARER = re.compile(r"(Bearer\s+)[A-Za-z0-9._~+/|-]+=*", re.IGNORECASE)
_META_TOKEN = re.compile(r"\bEAA[A-Za-z0-9]{12,}\b")
_API_TOKEN = re.compile(r"\bpa_[A-Za-z0-9_-]{43}")  # one of our own
_APIFY_TOKEN = re.compile(r"\bapify_api_[A-Za-z0-9]{12,}")
_URL_PASSWORD = re.compile(r"(://[^\s:/@]+:)[^\s@/]+(@)")

MASK = "[redacted]"

_known_secrets: set[str] = set()


def register_secret(value: str) -> None:
    """From now on `redact` masks this very value wherever it stands, in this process."""
    if len(value) >= 6:  # a shorter one would mask ordinary words
        _known_secrets.add(value)


def redact(text: str) -> str:
    """The text with every registered secret and everything shaped like a token masked."""
    for secret in sorted(_known_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _SECRET_PARAMETER.sub(rf"\1\2{MASK}", text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    text = _META_TOKEN.sub(MASK, text)
    text = _API_TOKEN.sub(MASK, text)
    text = _APIFY_TOKEN.sub(MASK, text)
    return _URL_PASSWORD.sub(rf"\1{MASK}\2", text)
