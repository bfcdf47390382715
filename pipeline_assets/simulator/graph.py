"""The Graph API of one world: which call goes where, what may happen to it, what it answers.

Knows nothing of sockets: a `Request` in, a `Response` out (`server.py` sends it, and spoils how it
is sent when `Response.spoiled_by` says so).
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pipeline_assets.simulator import access, ad_library, paging
from pipeline_assets.simulator.answers import GraphError, Usage
from pipeline_assets.simulator.calls import Call, CallLog, token_hash, without_secrets
from pipeline_assets.simulator.cdn import Cdn
from pipeline_assets.simulator.edges import NODE_ENDPOINTS, Edges
from pipeline_assets.simulator.exchange import Request, Response
from pipeline_assets.simulator.faults import (
    BODY_FAULTS,
    ERROR_FAULTS,
    Endpoint,
    Fault,
    FaultKind,
    Faults,
    graph_error,
)
from pipeline_assets.simulator.fields import parse_fields, project
from pipeline_assets.simulator.reporting import Reporting
from pipeline_assets.simulator.reports import Reports
from pipeline_assets.simulator.world import Account, ObjectKind, TokenSpec, World

MAX_BATCH = 50


@dataclass(frozen=True)
class _Route:
    endpoint: Endpoint
    account: Account | None
    answer: Callable[[Request], Any]

    @property
    def account_id(self) -> str | None:
        return self.account.id if self.account else None


class Graph:
    """One world's Graph API; safe to call from many threads."""

    def __init__(
        self,
        world: World,
        *,
        cdn: Cdn,
        faults: Faults,
        calls: CallLog,
        reports: Reports,
        now: Callable[[], datetime],
    ) -> None:
        self._world = world
        self._faults = faults
        self._calls = calls
        self._reports = reports
        self._now = now
        self._edges = Edges(cdn=cdn, faults=faults, now=now)
        self._reporting = Reporting(faults=faults, reports=reports, now=now)
        self._edges_of_nobody: dict[str, tuple[Endpoint, Callable[[Request], Any]]] = {
            "": (Endpoint.BATCH, self._batch),
            "me": (Endpoint.ME, self._me),
            "me/adaccounts": (Endpoint.ACCOUNTS, self._my_accounts),
            "debug_token": (Endpoint.DEBUG_TOKEN, self._debug_token),
            "ads_archive": (Endpoint.LIBRARY, self._library),
        }
        self._account_edges: dict[str, tuple[Endpoint, Callable[[Account, Request], Any]]] = {
            "": (Endpoint.ACCOUNT, self._edges.account),
            "campaigns": (Endpoint.CAMPAIGNS, self._edges.campaigns),
            "adsets": (Endpoint.ADSETS, self._edges.adsets),
            "ads": (Endpoint.ADS, self._edges.ads),
            "adcreatives": (Endpoint.CREATIVES, self._edges.creatives),
            "adimages": (Endpoint.IMAGES, self._edges.images),
            "advideos": (Endpoint.VIDEOS, self._edges.videos),
            "insights": (Endpoint.INSIGHTS, self._reporting.account_insights),
        }

    def respond(self, request: Request) -> Response:
        """The answer to a call; it is logged."""
        request = _with_method_override(request)
        version, segments = _split_path(request.path)
        route = self._route(segments)
        if route.endpoint is Endpoint.INSIGHTS and request.method == "POST":
            route = replace(route, endpoint=Endpoint.REPORT_START)
        usage: Usage | None = None
        try:
            status, body = 200, self._answer(request, route, version)
        except GraphError as error:
            status, body, usage = error.status, error.body(self._trace_id()), error.usage
        spoiled_by = None
        if not request.in_batch:
            spoiled_by = self._faults.take(BODY_FAULTS, route.account_id, route.endpoint)
        headers = self._headers(request, route, version, usage)
        self._log(request, route, spoiled_status(spoiled_by, status))
        if spoiled_by and spoiled_by.kind is FaultKind.ERROR_IN_OK:
            body = GraphError(1, "An unknown error occurred").body(self._trace_id())
            return Response(status=200, body=body, headers=headers)
        if status >= 400:
            message = body["error"]["message"]
            challenge = f'OAuth "Facebook Platform" "invalid_request" "{message[:120]}"'
            headers.append(("WWW-Authenticate", challenge))
        return Response(status=status, body=body, headers=headers, spoiled_by=spoiled_by)

    def _answer(self, request: Request, route: _Route, version: str) -> Any:
        now = self._now()
        access.check_version(version, now=now)
        if "ids" in request.params:
            raise GraphError.bad_parameter("The parameter ids is no longer supported")
        if route.endpoint is not Endpoint.DEBUG_TOKEN and route.endpoint is not Endpoint.BATCH:
            spec = access.check_token(self._world, request.token, request.params, now=now)
            _check_grant(spec, route)
            request = replace(request, caller=spec)
        if fault := self._faults.take(ERROR_FAULTS, route.account_id, route.endpoint):
            raise graph_error(fault)
        return route.answer(request)

    def _log(self, request: Request, route: _Route, status: int) -> None:
        self._calls.add(
            Call(
                at=self._now(),
                method=request.method,
                path=request.path,
                params=without_secrets(request.params),
                status=status,
                token_hash=token_hash(request.token),
                account=route.account_id,
                endpoint=route.endpoint,
                in_batch=request.in_batch,
            )
        )

    def _trace_id(self) -> str:
        return f"A{len(self._calls):010d}"

    def _headers(
        self, request: Request, route: _Route, version: str, usage: Usage | None
    ) -> list[tuple[str, str]]:
        account_id = route.account_id or self._first_account(request.token)
        percent = min(60.0, 0.02 * self._calls.count(account_id))
        usual = Usage(
            app_pct=percent,
            account_pct=percent,
            business_pct=percent,
            insights_app_pct=percent / 2,
            insights_account_pct=percent,
        )
        number = account_id.removeprefix("act_") if account_id else self._world.app.id
        return [("facebook-api-version", version), *(usage or usual).headers(number)]

    def _first_account(self, token: str | None) -> str | None:
        spec = self._world.find_token(token or "")
        return next((each for each in self._world.accounts if spec and spec.sees(each)), None)

    # Routes

    def _route(self, segments: Sequence[str]) -> _Route:
        path = "/".join(segments)
        if path in self._edges_of_nobody:
            endpoint, answer = self._edges_of_nobody[path]
            return _Route(endpoint, None, answer)
        first, edge = segments[0], "/".join(segments[1:])
        if first in self._world.accounts:
            return self._account_route(self._world.accounts[first], edge)
        return self._object_route(first, edge)

    def _account_route(self, account: Account, edge: str) -> _Route:
        if edge not in self._account_edges:
            return _missing(account.id)
        endpoint, answer = self._account_edges[edge]
        return _Route(endpoint, account, lambda request: answer(account, request))

    def _object_route(self, object_id: str, edge: str) -> _Route:
        if re.fullmatch(r"\d+_\d+", object_id):
            return self._post_route(object_id)
        found = self._world.find(object_id)
        if found is None:
            return _missing(object_id)
        account, kind, index = found
        edges, reporting = self._edges, self._reporting
        match kind, edge:
            case ObjectKind.RUN, _:
                return self._run_route(account, object_id, edge)
            case ObjectKind.CAMPAIGN | ObjectKind.ADSET | ObjectKind.AD, "insights":
                endpoint: Endpoint = Endpoint.INSIGHTS
                answer = partial(reporting.insights, account, kind, index)
            case ObjectKind.CAMPAIGN | ObjectKind.ADSET, "ads":
                endpoint = Endpoint.ADS
                answer = partial(edges.ads, account, parent=(kind, index))
            case ObjectKind.CAMPAIGN, "adsets":
                endpoint, answer = Endpoint.ADSETS, partial(edges.adsets, account, campaign=index)
            case _, "" if kind in NODE_ENDPOINTS:
                endpoint = NODE_ENDPOINTS[kind]
                answer = partial(edges.node, account, kind, index)
            case _:
                return _missing(object_id)
        return _Route(endpoint, account, answer)

    def _post_route(self, story_id: str) -> _Route:
        page_id, _, post_id = story_id.partition("_")
        page, post = self._world.find(page_id), self._world.find(post_id)
        if page is None or page[1] is not ObjectKind.PAGE:
            return _Route(Endpoint.POST, None, _refuse_post)
        account = page[0]
        if post is None or post[:2] != (account, ObjectKind.POST):
            return replace(_missing(story_id), endpoint=Endpoint.POST, account=account)
        return _Route(Endpoint.POST, account, partial(self._edges.post, account, post[2]))

    def _run_route(self, account: Account, run_id: str, edge: str) -> _Route:
        run = self._reports.find(run_id)
        if run is None or edge not in {"", "insights"}:
            return _missing(run_id)
        reporting = self._reporting
        if edge == "insights":
            return _Route(Endpoint.REPORT_ROWS, account, lambda r: reporting.report_rows(run, r))
        return _Route(Endpoint.REPORT_STATUS, account, lambda _: reporting.report_status(run))

    # People and tokens

    def _me(self, request: Request) -> Any:
        me = {"id": "122100000000000001", "name": "Reporting system user"}
        return project(parse_fields(request.params.get("fields") or "id,name"), me, "User")

    def _my_accounts(self, request: Request) -> Any:
        spec = request.caller
        accounts = self._world.accounts.values()
        seen = [account for account in accounts if spec and spec.sees(account.id)]
        return self._edges.accounts(seen, request)

    def _library(self, request: Request) -> Any:
        fault = self._faults.take({FaultKind.EMPTY_PAGE}, None, Endpoint.LIBRARY)
        return ad_library.read_archive(
            request, today=self._now().date(), fault=fault.kind if fault else None
        )

    def _debug_token(self, request: Request) -> Any:
        inspected = request.params.get("input_token", "")
        return access.debug_token(self._world, request.token, inspected, now=self._now())

    # Batch

    def _batch(self, request: Request) -> Any:
        if request.method != "POST":
            raise GraphError.missing_object("")
        access.check_token(self._world, request.token, request.params, now=self._now())
        items = paging.read_json_list(request.params, "batch")
        if not items:
            raise GraphError.bad_parameter("batch must be a non-empty array")
        if len(items) > MAX_BATCH:
            raise GraphError(
                100,
                f"Too many requests in batch message. Maximum batch size is {MAX_BATCH}",
                type_="GraphBatchException",
            )
        with_headers = request.params.get("include_headers", "true") != "false"
        return [self._batch_item(request, item, with_headers=with_headers) for item in items]

    def _batch_item(self, request: Request, item: Any, *, with_headers: bool) -> Any:
        if not isinstance(item, dict) or not {"method", "relative_url"} <= set(item):
            raise GraphError.bad_parameter("each batch item must have method and relative_url")
        address = urlsplit(str(item["relative_url"]))
        path = "/" + address.path.lstrip("/")
        params = dict(parse_qsl(address.query, keep_blank_values=True))
        params |= dict(parse_qsl(str(item.get("body", "")), keep_blank_values=True))
        if request.params.get("appsecret_proof"):
            params.setdefault("appsecret_proof", request.params["appsecret_proof"])
        inner = Request(
            method=str(item["method"]).upper(),
            path=path,
            params=params,
            base_url=request.base_url,
            header_token=request.token,
            in_batch=True,
        )
        route = self._route(_split_path(path)[1])
        if self._faults.take({FaultKind.BATCH_NULL}, route.account_id, Endpoint.BATCH):
            self._log(inner, route, 0)
            return None
        response = self.respond(inner)
        answer: dict[str, Any] = {"code": response.status, "body": json.dumps(response.body)}
        if with_headers:
            answer["headers"] = [{"name": name, "value": value} for name, value in response.headers]
        return answer


def spoiled_status(fault: Fault | None, status: int) -> int:
    """The HTTP status that is sent in the end; 0 when none is."""
    changed = {
        FaultKind.DROPPED_CONNECTION: 0,
        FaultKind.UNAVAILABLE: 503,
        FaultKind.HTML_ERROR: 500,
        FaultKind.HTML_OK: 200,
        FaultKind.ERROR_IN_OK: 200,
    }
    return changed.get(fault.kind, status) if fault else status


def _with_method_override(request: Request) -> Request:
    """A POST with `method=get` is a GET whose parameters were too long for an address."""
    method = request.params.get("method", "").upper()
    if request.method == "POST" and method in {"GET", "POST"}:
        params = {name: value for name, value in request.params.items() if name != "method"}
        return replace(request, method=method, params=params)
    return request


def _split_path(path: str) -> tuple[str, list[str]]:
    """The version (the current one when none is given) and the segments behind it."""
    segments = [segment for segment in path.split("/") if segment]
    if segments and segments[0].startswith("v") and segments[0][1:2].isdigit():
        return segments[0], segments[1:]
    return f"v{access.CURRENT_VERSION}.0", segments


def _missing(object_id: str) -> _Route:
    def answer(_: Request) -> Any:
        raise GraphError.missing_object(object_id)

    return _Route(Endpoint.OTHER, None, answer)


def _refuse_post(_: Request) -> Any:
    raise access.page_refused()


def _check_grant(spec: TokenSpec, route: _Route) -> None:
    """Refuse a token that was not given what it asks for: the ad account, its page, or as a page.

    A post is read with its page's token, a video with either.
    """
    if route.account is None:
        return
    if route.endpoint is Endpoint.POST and not spec.is_page:
        raise access.page_refused()
    if route.endpoint in {Endpoint.PAGE, Endpoint.POST} or (
        spec.is_page and route.endpoint is Endpoint.VIDEO
    ):
        access.check_page_grant(spec, route.account.id)
    else:
        access.check_grant(spec, route.account.id)
