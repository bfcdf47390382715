"""Bad input of every kind gets the one error shape, never a bug."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from pipeline_assets.people.roles import Role
from pipeline_assets.settings import Settings

if TYPE_CHECKING:
    from conftest import Site

JSON = {"Content-Type": "application/json"}


def check(answer: Any, status: int, code: str) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "advice"]
    assert body["error"]["code"] == code
    return body["error"]


def test_every_failure_has_the_one_shape(sqlite_site: "Site") -> None:
    operator = sqlite_site.program(Role.OPERATOR)
    anybody = sqlite_site.anonymous()
    check(anybody.get("/api/v1/me"), 401, "not_signed_in")
    assert anybody.get("/api/v1/me").headers["www-authenticate"] == "Bearer"
    check(
        anybody.get("/api/v1/me", headers={"Authorization": "Bearer pa_no"}), 401, "not_signed_in"
    )
    check(anybody.get("/api/v1/me", headers={"Authorization": "Basic eA=="}), 401, "not_signed_in")
    check(operator.post("/api/v1/brands", json={}), 403, "forbidden")
    check(operator.get("/api/v1/nothing"), 404, "not_found")
    check(operator.delete("/api/v1/brands/acme"), 405, "method_not_allowed")
    check(operator.post("/api/v1/requests", content=b"{", headers=JSON), 422, "invalid")
    check(operator.post("/api/v1/requests", content=b"\xff\xfe", headers=JSON), 422, "invalid")
    check(operator.post("/api/v1/requests", content=b'"\\ud800"', headers=JSON), 422, "invalid")
    check(operator.post("/api/v1/requests"), 422, "invalid")
    check(operator.post("/api/v1/requests", data={"brand": "acme"}), 415, "unsupported_media_type")
    check(
        operator.post("/api/v1/requests", content=b"{}", headers={"Content-Type": "text/plain"}),
        415,
        "unsupported_media_type",
    )


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_body_of_ten_megabytes_is_refused(sqlite_site: "Site", is_declared: bool) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    operator = sqlite_site.program(Role.OPERATOR)
    content: Any = b"".join(pieces()) if is_declared else pieces()
    answer = operator.post("/api/v1/requests", content=content, headers=JSON)
    check(answer, 413, "too_large")


def test_a_nul_character_is_refused_wherever_it_stands(site: "Site") -> None:
    operator = site.program(Role.OPERATOR)
    for path in (
        "/api/v1/brands/ac%00me",
        "/api/v1/attempts?brand=ac%00me",
        "/api/v1/audit?target=%00",
        "/api/v1/requests/%00",
        "/api/v1/history/%00/log",
        "/api/v1/readiness/%00",
    ):
        check(operator.get(path), 422, "invalid")
    check(
        operator.post("/api/v1/brands/acme/pause", json={"reason": "for \0 good"}), 422, "invalid"
    )


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=99999999999999999999999999",
        "limit=many",
        "since=yesterday",
        "since=2026-03-10T12:00:00",
        "since=0001-01-01T00:00:00%2B14:00",
        "until=9999-12-31T23:59:59-14:00",
        "until=1e300",
        "outcome=done",
        f"brand={'b' * 10_000}",
        f"cursor={'c' * 10_000}",
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(sqlite_site: "Site", query: str) -> None:
    answer = sqlite_site.program(Role.VIEWER).get(f"/api/v1/attempts?{query}")
    message = check(answer, 422, "invalid")["message"]
    assert message.startswith(query.partition("=")[0])
    assert len(message) < 200


@pytest.mark.parametrize(
    "path", ["attempts", "history", "requests", "resyncs", "audit", "status", "brands", "cadences"]
)
def test_a_cursor_that_is_none_of_ours_is_refused(sqlite_site: "Site", path: str) -> None:
    admin = sqlite_site.program(Role.ADMIN)
    for cursor in ("", "nonsense", "%F0%9F%92%84", "AAAA", "MjAyNi0xMy0wMVQwMDowMDowMCswMDowMCBh"):
        answer = admin.get(f"/api/v1/{path}?cursor={cursor}")
        assert check(answer, 422, "invalid")["message"] == "The cursor is none of ours."


def test_ids_of_any_kind_are_unknown_and_no_bug(sqlite_site: "Site") -> None:
    operator = sqlite_site.program(Role.OPERATOR)
    for odd in ("x" * 5000, "%F0%9F%92%84", "%ff", "..", "%27%20OR%201=1", "مرحبا", "*"):
        for path in ("brands/{}", "requests/{}", "resyncs/{}", "history/{}", "readiness/{}"):
            assert operator.get(f"/api/v1/{path.format(odd)}").status_code == 404, (path, odd)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://nobody@127.0.0.1:1/none", "cannot be reached"),
        ("sqlite:////{folder}/empty.db", "pipeline-assets"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_with_the_time_to_come_back(
    sqlite_site: "Site", tmp_path: Path, url: str, message: str
) -> None:
    viewer = sqlite_site.program(Role.VIEWER)
    settings = Settings(database_url=SecretStr(url.format(folder=tmp_path)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sqlite_site.installation.__dict__, "settings", settings)
        patch.delitem(sqlite_site.installation.__dict__, "engine")
        answer = viewer.get("/api/v1/status")
    error = check(answer, 503, "unavailable")
    assert message in f"{error['message']} {error['advice']}"
    assert int(answer.headers["retry-after"]) >= 1
