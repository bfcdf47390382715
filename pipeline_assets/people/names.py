"""What people and tokens may be called."""

import re
import unicodedata

from pipeline_assets.errors import InvalidConfigError

_MAX_NAME = 200
_MAX_EMAIL = 254  # the longest address that mail can be sent to (RFC 5321)
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")


def normalize_email(text: str) -> str:
    """An email address as it is stored and compared: without spaces around it, in lower case."""
    return text.strip().lower()


def is_email(text: str) -> bool:
    """Whether a normalized text can be somebody's address here; only mail proves that it is."""
    return len(text) <= _MAX_EMAIL and text.isprintable() and _EMAIL.fullmatch(text) is not None


def check_email(text: str) -> str:
    """The address, normalized.

    Raises: InvalidConfigError when it cannot be one.
    """
    email = normalize_email(text)
    if not is_email(email):
        raise InvalidConfigError(
            f"{text[:_MAX_EMAIL]!r} is not an email address.",
            advice=f"Write it like alice@agency.example, with at most {_MAX_EMAIL} characters.",
        )
    return email


def check_name(text: str) -> str:
    """The name of a person or token, without spaces around it.

    Raises: InvalidConfigError when it is empty, too long, or holds control characters.
    """
    name = text.strip()
    if not 1 <= len(name) <= _MAX_NAME or any(map(_is_unwritable, name)):
        raise InvalidConfigError(
            f"{name[:_MAX_NAME]!r} cannot be a name.",
            advice=f"A name has 1 to {_MAX_NAME} characters, all of them in one line.",
        )
    return name


def _is_unwritable(character: str) -> bool:
    """Control characters, and halves of characters, which no database takes."""
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
