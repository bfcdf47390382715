"""Which pages the ads lead to, each under one address however the ads spell it.

Tracking parameters differ from ad to ad and say nothing of the page, so one page has one address
here, and what is known of it is kept once. Pure; reading the pages is `sources/web_pages`.
"""

import re
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

import idna
import pandas as pd

COLUMNS = ("ad_id", "creative_id", "ad_account_id", "url", "is_active")
"""The columns of `destinations`, in order."""

INPUT_COLUMNS = ("ad_id", "creative_id", "ad_account_id", "effective_status", "destination_urls")
"""The columns of `meta_ad_creatives` that it reads."""

TRACKING_PARAMETERS = frozenset(
    {
        "_ga", "_gl", "_hsenc", "_hsmi", "_kx", "ad_id", "adgroupid", "adid", "adset_id",
        "adset_name", "ad_name", "campaign_id", "campaign_name", "campaignid", "dclid", "ef_id",
        "epik", "fb_action_ids", "fb_source", "fbadid", "fbclid", "gad_source", "gbraid", "gclid",
        "gclsrc", "h_ad_id", "hsa_acc", "hsa_ad", "hsa_cam", "hsa_grp", "hsa_net", "hsa_src",
        "hsa_ver", "igsh", "igshid", "irclickid", "li_fat_id", "mc_cid", "mc_eid", "mkt_tok",
        "msclkid", "nbt", "placement", "rdt_cid", "s_kwcid", "sccid", "site_source_name",
        "tblci", "ttclid", "tw_source", "twclid", "vero_id", "wbraid", "yclid",
    }
)  # fmt: skip
"""Query parameters that tell where a click came from and never what is shown."""

_TRACKING_PREFIXES = ("utm_", "pk_", "mtm_", "matomo_")

_SHIM_HOSTS = frozenset({"l.facebook.com", "lm.facebook.com", "l.instagram.com"})
_METAS_HOSTS = ("facebook.com", "instagram.com", "messenger.com", "fb.com", "fb.me", "m.me")
_NO_PAGE_HOSTS = frozenset(
    {
        "apps.apple.com",
        "itunes.apple.com",
        "play.google.com",
        "wa.me",
        "api.whatsapp.com",
        "chat.whatsapp.com",
        "t.me",
    }
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MACRO = re.compile(r"\{\{.*?\}\}|%7B%7B.*?%7D%7D", re.IGNORECASE)
_MOST_SHIMS = 3
# An address is part of a key, and an entry of PostgreSQL's index holds 2,704 bytes, the brand's
# slug included.
_MOST_CHARACTERS = 2_000
_KEPT_IN_PATH = "/%:@!$&'()*+,;=~-._"
_KEPT_IN_QUERY = _KEPT_IN_PATH + "?[]"


def normalise_url(url: str) -> str | None:
    """The page's address without what differs from click to click; None for what is no web page.

    Meta's click shims are unwrapped; fragment, tracking parameters and parameters whose macro
    (`{{ad.id}}`) Meta has not filled in are dropped; scheme and host are lower case, the host in
    ASCII, a default port is left out and an empty path is `/`. Normalising twice changes nothing.

    No web pages are lead forms, apps, Messenger and Meta's own pages, addresses with a user name,
    a path that is a macro, and addresses of more than 2,000 characters.
    """
    parts = _unwrapped(url)
    if parts is None or _MACRO.search(parts.netloc + parts.path):
        return None
    host = _ascii_host(parts)
    if host is None or _is_no_page(host):
        return None
    path = quote(parts.path, safe=_KEPT_IN_PATH) or "/"
    query = quote(_kept_query(parts.query), safe=_KEPT_IN_QUERY)
    page = f"{parts.scheme}://{_with_port(host, parts)}{path}{'?' if query else ''}{query}"
    return page if len(page) <= _MOST_CHARACTERS else None


def destinations(creatives: pd.DataFrame) -> pd.DataFrame:
    """Where each ad leads: one row per ad and page, an ad's main page first.

    `creatives` has the `INPUT_COLUMNS` of `meta_ad_creatives`. The result has `COLUMNS`: `url` is
    normalised, `is_active` says that the ad is being delivered (its effective status is ACTIVE).
    Ads that lead to no web page have no row.
    """
    links = creatives.loc[:, list(INPUT_COLUMNS)].explode("destination_urls", ignore_index=True)
    addresses = {
        each: normalise_url(each)
        for each in links["destination_urls"].unique()
        if isinstance(each, str)
    }
    links["url"] = links["destination_urls"].map(addresses).astype("str")
    links["is_active"] = links["effective_status"].eq("ACTIVE").fillna(value=False).astype("bool")
    links = links[links["url"].notna()].drop_duplicates(["ad_account_id", "ad_id", "url"])
    return links.loc[:, list(COLUMNS)].reset_index(drop=True)


def _unwrapped(url: str) -> SplitResult | None:
    """The parts of the http(s) address behind Meta's click shims."""
    for _ in range(_MOST_SHIMS):
        parts = _split(url)
        if parts is None or parts.hostname not in _SHIM_HOSTS:
            return parts
        url = parse_qs(parts.query).get("u", [""])[0]
    return None


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url.strip())
        is_page = parts.scheme in _DEFAULT_PORTS and parts.hostname and parts.port != 0
    except ValueError:  # half an IPv6 address, a port that is no number
        return None
    has_user = parts.username is not None or parts.password is not None
    return parts if is_page and not has_user else None


def _ascii_host(parts: SplitResult) -> str | None:
    """The host as the name system knows it; None when it cannot be a name there."""
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        return f"[{host}]"
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None
    return name if re.fullmatch(r"[a-z0-9._-]+", name) else None


def _is_no_page(host: str) -> bool:
    is_metas = any(host == own or host.endswith(f".{own}") for own in _METAS_HOSTS)
    return is_metas or host in _NO_PAGE_HOSTS


def _with_port(host: str, parts: SplitResult) -> str:
    is_default = parts.port is None or parts.port == _DEFAULT_PORTS[parts.scheme]
    return host if is_default else f"{host}:{parts.port}"


def _kept_query(query: str) -> str:
    """The parameters that may choose what is shown, in their order and spelling."""
    return "&".join(part for part in query.split("&") if part and not _is_tracking(part))


def _is_tracking(parameter: str) -> bool:
    name = parameter.partition("=")[0].lower()
    return (
        name in TRACKING_PARAMETERS
        or name.startswith(_TRACKING_PREFIXES)
        or _MACRO.search(parameter) is not None
    )
