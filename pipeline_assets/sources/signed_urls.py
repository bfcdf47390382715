"""What a CDN's signed address says of itself.

Source: addresses on fbcdn.net are signed (`oh`) and end at `oe`, a Unix time in hexadecimal; a late
or altered one answers 403 with a text such as "URL signature expired" (Meta's CDN, as observed).
"""

from datetime import UTC, datetime
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

_SIGNED_BY = frozenset({"oe", "oh"})
_VOLATILE = frozenset({"oe", "oh", "stp", "ccb", "edm", "efg", "fbclid"})


def url_source_key(url: str) -> str:
    """What an address names, the same however often it is signed anew, on whatever host.

    Of a signed CDN address that is the path: its query holds signature, expiry, size (`stp`) and
    routing. Of any other, the path with its query less such parameters, in a fixed order.
    """
    try:
        parts = urlsplit(url)
        parameters = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return url  # no address at all: as it is, it names itself
    names = {name for name, _ in parameters}
    if names & _SIGNED_BY:
        return parts.path
    lasting = sorted(
        (name, value)
        for name, value in parameters
        if name not in _VOLATILE and not name.startswith("_nc_")
    )
    return f"{parts.path}?{urlencode(lasting)}" if lasting else parts.path


def signature_expires_at(url: str) -> datetime | None:
    """When a signed CDN address stops working; None when it does not say."""
    try:
        expiries = parse_qs(urlsplit(url).query).get("oe", [])
        return datetime.fromtimestamp(int(expiries[0], 16), UTC) if expiries else None
    except (ValueError, OverflowError, OSError):
        return None
