"""The lists and nodes that can be read: which objects, which page of them, which of their fields.

Source: Meta Graph API v26.0, "Paginated results"; Marketing API references of the edges.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pipeline_assets.simulator import insights, nodes, paging
from pipeline_assets.simulator.answers import GraphError
from pipeline_assets.simulator.cdn import Cdn
from pipeline_assets.simulator.exchange import Request
from pipeline_assets.simulator.faults import Endpoint, FaultKind, Faults
from pipeline_assets.simulator.fields import project
from pipeline_assets.simulator.world import Account, Ad, Creative, ObjectKind

_HIDDEN_STATUSES = {"ARCHIVED", "DELETED"}
_TOO_MUCH = "Please reduce the amount of data you're asking for, then retry your request"

Item = TypeVar("Item")

NODE_ENDPOINTS = {
    ObjectKind.CAMPAIGN: Endpoint.CAMPAIGN,
    ObjectKind.ADSET: Endpoint.ADSET,
    ObjectKind.AD: Endpoint.AD,
    ObjectKind.CREATIVE: Endpoint.CREATIVE,
    ObjectKind.VIDEO: Endpoint.VIDEO,
    ObjectKind.PAGE: Endpoint.PAGE,
}
"""The nodes that can be read by their id."""


class Edges:
    """Reads nodes and lists of one world; every method answers with JSON or raises GraphError."""

    def __init__(self, *, cdn: Cdn, faults: Faults, now: Callable[[], datetime]) -> None:
        self._cdn = cdn
        self._faults = faults
        self._now = now

    def accounts(self, seen: Sequence[Account], request: Request) -> Any:
        """The accounts that a token sees."""
        asked = nodes.read_selection(request.params, default="id,account_id")
        view = self._view(request)
        return self._list(
            request,
            Endpoint.ACCOUNTS,
            None,
            seen,
            lambda account: project(asked, nodes.account_node(account, view), "AdAccount"),
        )

    def _view(self, request: Request, endpoint: Endpoint | None = None) -> nodes.View:
        def check_story(creative: Creative) -> None:
            if endpoint and self._faults.take(
                {FaultKind.STORY_INVALID},
                creative.account.id,
                endpoint,
                when=lambda fault: fault.field in {"", creative.id},
            ):
                raise GraphError(100, "Invalid parameter", subcode=2446211)

        return nodes.View(
            request.base_url, self._now(), self._cdn, check_story, caller=request.caller
        )

    def account(self, account: Account, request: Request) -> Any:
        """One account."""
        asked = nodes.read_selection(request.params, default="id,account_id")
        return project(asked, nodes.account_node(account, self._view(request)), "AdAccount")

    def node(self, account: Account, kind: ObjectKind, index: int, request: Request) -> Any:
        """One campaign, ad set, ad, creative, video or page."""
        view = self._view(request, NODE_ENDPOINTS[kind])
        asked = nodes.read_selection(request.params)
        match kind:
            case ObjectKind.CAMPAIGN:
                return project(asked, nodes.campaign_node(account, index, view), "Campaign")
            case ObjectKind.ADSET:
                return project(asked, nodes.adset_node(account, index, view), "AdSet")
            case ObjectKind.AD:
                return project(asked, nodes.ad_node(account.ads[index], view), "Ad")
            case ObjectKind.CREATIVE:
                sized = view.with_thumbnail(request.params)
                node = nodes.creative_node(account.creative(index), sized)
                return project(asked, node, "AdCreative")
            case ObjectKind.PAGE:
                return project(asked, nodes.page_node(account, view), "Page")
            case _:
                return project(asked, nodes.video_node(account, index, view), "AdVideo")

    def post(self, account: Account, index: int, request: Request) -> Any:
        """The post behind one creative."""
        view, asked = self._view(request), nodes.read_selection(request.params)
        return project(asked, nodes.post_node(account.creative(index), view), "Post")

    def campaigns(self, account: Account, request: Request) -> Any:
        """An account's campaigns."""
        view, asked = self._view(request), nodes.read_selection(request.params)
        filters = paging.read_filters(request.params)
        kept = [
            node
            for index in range(account.campaign_count)
            if _passes(node := nodes.campaign_node(account, index, view), "campaign", filters)
        ]
        return self._list(
            request,
            Endpoint.CAMPAIGNS,
            account,
            _with_status(kept, request.params),
            lambda node: project(asked, node, "Campaign"),
        )

    def adsets(self, account: Account, request: Request, *, campaign: int | None = None) -> Any:
        """An account's ad sets, or one campaign's."""
        view, asked = self._view(request), nodes.read_selection(request.params)
        filters = paging.read_filters(request.params)
        parent = None if campaign is None else account.object_id(ObjectKind.CAMPAIGN, campaign)
        kept = [
            node
            for index in range(account.adset_count)
            if _passes(node := nodes.adset_node(account, index, view), "adset", filters)
            and parent in {None, node["campaign_id"]}
        ]
        return self._list(
            request,
            Endpoint.ADSETS,
            account,
            _with_status(kept, request.params),
            lambda node: project(asked, node, "AdSet"),
        )

    def ads(
        self, account: Account, request: Request, *, parent: tuple[ObjectKind, int] | None = None
    ) -> Any:
        """An account's ads, or those of a campaign or ad set."""
        view, asked = self._view(request, Endpoint.ADS), nodes.read_selection(request.params)
        return self._list(
            request,
            Endpoint.ADS,
            account,
            _select_ads(account, request.params, self._now(), parent),
            lambda ad: project(asked, nodes.ad_node(ad, view), "Ad"),
        )

    def creatives(self, account: Account, request: Request) -> Any:
        """An account's creatives."""
        view = self._view(request, Endpoint.CREATIVES).with_thumbnail(request.params)
        asked = nodes.read_selection(request.params)
        return self._list(
            request,
            Endpoint.CREATIVES,
            account,
            self._existing(account, account.creative_indexes),
            lambda index: project(
                asked, nodes.creative_node(account.creative(index), view), "AdCreative"
            ),
        )

    def images(self, account: Account, request: Request) -> Any:
        """An account's images, all or by hash."""
        view = self._view(request)
        asked = nodes.read_selection(request.params, default="id,hash")
        hashes = paging.read_names(request.params, "hashes")
        known = account.images_by_hash
        chosen = [known[each] for each in hashes if each in known]
        return self._list(
            request,
            Endpoint.IMAGES,
            account,
            chosen if hashes else account.image_indexes,
            lambda index: project(asked, nodes.image_node(account, index, view), "AdImage"),
        )

    def videos(self, account: Account, request: Request) -> Any:
        """An account's videos."""
        view, asked = self._view(request), nodes.read_selection(request.params)
        return self._list(
            request,
            Endpoint.VIDEOS,
            account,
            self._existing(account, account.video_indexes),
            lambda index: project(asked, nodes.video_node(account, index, view), "AdVideo"),
        )

    def _existing(self, account: Account, creative_indexes: Sequence[int]) -> list[int]:
        """Those whose first ad exists already."""
        today = account.today(self._now())
        return [index for index in creative_indexes if account.ads[index].starts <= today]

    def _list(
        self,
        request: Request,
        endpoint: Endpoint,
        account: Account | None,
        items: Sequence[Item],
        show: Callable[[Item], Any],
    ) -> Any:
        account_id = account.id if account else None
        limit = paging.read_limit(request.params)
        check_page(self._faults, account_id, endpoint, limit)
        start = _read_offset(request.params.get("after"))
        is_empty = takes_empty_page(self._faults, account_id, endpoint)
        end = start if is_empty else min(start + limit, len(items))
        after = paging.encode_cursor(str(end))
        url = request.base_url + request.path
        page = paging.build_page(
            [show(item) for item in items[start:end]],
            before=paging.encode_cursor(str(start)),
            after=after,
            next_url=paging.link(url, request.params, after=after) if end < len(items) else None,
        )
        if request.params.get("summary") in {"true", "True", "1", "total_count"}:
            page["summary"] = {"total_count": len(items)}
        return page


def check_page(faults: Faults, account_id: str | None, endpoint: Endpoint, limit: int) -> None:
    """Refuse a page that a fault finds too big.

    Raises:
        GraphError: 1, with HTTP 500 and without a subcode.
    """
    if faults.take(
        {FaultKind.PAGE_TOO_BIG}, account_id, endpoint, when=lambda fault: limit > fault.rows
    ):
        raise GraphError(1, _TOO_MUCH, status=500)


def takes_empty_page(faults: Faults, account_id: str | None, endpoint: Endpoint) -> bool:
    """Whether a fault wants this page empty, with a `next` all the same."""
    return bool(faults.take({FaultKind.EMPTY_PAGE}, account_id, endpoint))


def _read_offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    position = paging.decode_cursor(cursor)
    if not position.isdecimal():
        raise GraphError.bad_parameter("Invalid cursors values.")
    return int(position)


def _passes(node: nodes.Node, kind: str, filters: Sequence[paging.Filter]) -> bool:
    values = {f"{kind}.{name}": node[name] for name in ("id", "name", "effective_status")}
    if kind == "adset":
        values["campaign.id"] = node["campaign_id"]
    return all(each.accepts(values) for each in filters)


def _with_status(found: list[nodes.Node], params: Mapping[str, str]) -> list[nodes.Node]:
    wanted = paging.read_names(params, "effective_status")
    return [node for node in found if not wanted or node["effective_status"] in wanted]


def _select_ads(
    account: Account,
    params: Mapping[str, str],
    now: datetime,
    parent: tuple[ObjectKind, int] | None,
) -> list[Ad]:
    """The ads that a list shows: archived and deleted ones only when their status is named."""
    filters = paging.read_filters(params)
    wanted = paging.read_names(params, "effective_status")
    names_status = wanted or any(each.field.endswith("effective_status") for each in filters)
    kept = []
    for ad in account.ads_on(account.today(now)):
        if parent and parent[1] != (
            ad.campaign_index if parent[0] is ObjectKind.CAMPAIGN else ad.adset_index
        ):
            continue
        if (ad.status not in wanted) if wanted else False:
            continue
        if not names_status and ad.status in _HIDDEN_STATUSES:
            continue
        if filters and not all(each.accepts(_ad_values(ad)) for each in filters):
            continue
        kept.append(ad)
    return kept


def _ad_values(ad: Ad) -> dict[str, Any]:
    values = insights.filter_values(ad)
    own = {name.removeprefix("ad."): value for name, value in values.items() if "ad." in name[:3]}
    return {**values, **own}
