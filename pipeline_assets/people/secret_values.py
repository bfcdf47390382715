"""Random values that are handed out once, of which only a digest is stored."""

import hashlib
import secrets


def draw_secret() -> str:
    """43 characters, safe in URLs and headers, that nobody can guess (32 random bytes)."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """The SHA-256 of a secret, in hex. Nothing slower is needed: nobody can try all values."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
