"""Where somebody goes on to: paths of ours, whatever the browser says."""

from urllib.parse import parse_qsl, urlencode, urlsplit

_LONGEST = 2000


def path_of(address: str) -> str:
    """Path and query of a page's address, `/` for what is none.

    Without `rows`, by which a poll keeps its order: whoever comes anew sees the page as it is.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    kept = [each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0] != "rows"]
    query = f"?{urlencode(kept)}" if kept else ""
    return safe_path(parts.path + query)


def safe_path(path: str) -> str:
    """A path of ours to go on to; whatever could lead elsewhere becomes the first page."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_ours and path.isprintable() and len(path) <= _LONGEST else "/"
