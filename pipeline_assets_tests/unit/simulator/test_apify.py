"""The simulated Apify answers as the real one is documented to."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from pipeline_assets.simulator.server import SimulatorServer

AUTH = {"Authorization": "Bearer apify_api_TokenOfTheSimulatorsTests01"}


@pytest.fixture
def call(server: SimulatorServer) -> Callable[..., requests.Response]:
    def send(method: str, path: str, *, headers: Any = None, **options: Any) -> requests.Response:
        return requests.request(
            method, f"{server.url}/v2/{path}", headers=headers or AUTH, timeout=10, **options
        )

    return send


def test_a_run_goes_from_ready_to_succeeded_as_time_passes(
    server: SimulatorServer, clock: Any, call: Callable[..., requests.Response]
) -> None:
    server.apify.run_seconds = 20
    answer = call("POST", "acts/junglee~amazon-reviews-scraper/runs", json={"asins": []})
    assert answer.status_code == 201
    run = answer.json()["data"]
    statuses = [run["status"]]
    for seconds in (10, 9.9, 0.1):
        clock.advance(seconds)
        statuses.append(call("GET", f"actor-runs/{run['id']}").json()["data"]["status"])
    assert statuses == ["READY", "RUNNING", "RUNNING", "SUCCEEDED"]


def test_items_come_in_pages_whose_headers_tell_the_whole(
    server: SimulatorServer, call: Callable[..., requests.Response]
) -> None:
    server.apify.run_seconds = 0
    wished = {"asins": ["B0ABCDEFGH"], "maxReviews": 30}
    run = call("POST", "acts/junglee~amazon-reviews-scraper/runs", json=wished).json()["data"]
    pages = [
        call("GET", f"datasets/{run['defaultDatasetId']}/items?offset={offset}&limit=20")
        for offset in (0, 20, 40)
    ]
    assert [len(page.json()) for page in pages] == [20, 15, 0]
    assert [page.headers["X-Apify-Pagination-Total"] for page in pages] == ["35", "35", "35"]
    assert pages[1].headers["X-Apify-Pagination-Offset"] == "20"
    assert pages[1].headers["X-Apify-Pagination-Limit"] == "20"
    assert pages[1].headers["X-Apify-Pagination-Count"] == "15"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "error_type"),
    [
        ("POST", "acts/a~reviews/runs", {"Authorization": ""}, 401, "user-or-token-not-found"),
        ("POST", "acts/a~b/runs", AUTH, 404, "record-not-found"),
        ("GET", "actor-runs/nobody", AUTH, 404, "record-not-found"),
        ("GET", "datasets/nobody/items", AUTH, 404, "record-not-found"),
        ("GET", "users/me", AUTH, 404, "page-not-found"),
    ],
)
def test_an_error_has_a_type_and_a_message(
    call: Callable[..., requests.Response],
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    error_type: str,
) -> None:
    answer = call(method, path, headers=headers, json={} if method == "POST" else None)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["type"] == error_type
    assert error["message"]
