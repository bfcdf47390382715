"""The API's description, held against what the server does with requests made from it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from pipeline_assets.control.requests import Trigger, Wish, request_sync
from pipeline_assets.people.roles import Role

if TYPE_CHECKING:
    from conftest import Site

EXAMPLES = 4
"""For each operation and kind of request: so many that the whole takes some twenty seconds."""


@pytest.fixture
def description(sqlite_site: "Site") -> dict[str, Any]:
    found: dict[str, Any] = sqlite_site.program(Role.EMBED).get("/api/v1/openapi.json").json()
    return found


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_description_tells_how_to_show_who_one_is(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1")
    assert description["info"]["title"] == "pipeline_assets"
    schemes = description["components"]["securitySchemes"]
    assert schemes["token"]["scheme"] == "bearer"
    assert schemes["session"]["in"] == "cookie"
    assert description["security"] == [{"token": []}, {"session": []}]


def test_every_operation_is_described_with_its_answers_and_the_one_shape_of_failures(
    description: dict[str, Any],
) -> None:
    names = []
    for method, path, operation in operations(description):
        place = f"{method} {path}"
        names.append(operation["operationId"])
        assert operation["summary"], place
        assert operation["tags"], place
        success = [code for code in operation["responses"] if code.startswith("2")]
        assert success, place
        for code in ("401", "403", "404", "422", "default"):
            schema = operation["responses"][code]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, place
        for code in success:
            content = operation["responses"][code].get("content", {})
            assert code == "204" or content["application/json"]["schema"], place
    assert len(names) == len(set(names)) > 35


def test_pages_for_people_are_no_part_of_the_description(description: dict[str, Any]) -> None:
    assert {path.split("/")[1] for path in description["paths"]} == {"api"}


def test_the_documentation_page_needs_nothing_from_elsewhere(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    page = viewer.get("/api/docs").text
    assert 'data-description="/api/v1/openapi.json"' in page
    for part in page.split('"'):
        if part.startswith("/static/"):
            assert viewer.get(part).status_code == 200, part
    assert "https://" not in page


def test_sensible_requests_get_documented_answers(site: "Site") -> None:
    """Unknown things and real ones, on both databases."""
    seen = ask_everything(site, GenerationMode.POSITIVE)
    assert {200, 404, 422} <= seen


def test_senseless_requests_get_documented_refusals(sqlite_site: "Site") -> None:
    """They do not come as far as the database."""
    seen = ask_everything(sqlite_site, GenerationMode.NEGATIVE)
    assert {404, 422} <= seen


def ask_everything(site: "Site", mode: GenerationMode) -> set[int]:
    """Ask every operation; the statuses that came.

    Left out is the check that whatever fits the description is accepted: a cursor, a cron and a
    time zone are texts of which most make no sense.
    """
    admin = site.program(Role.ADMIN, "*")
    token = {"Authorization": admin.headers["Authorization"]}
    wish = Wish(brand_id="acme", job="meta_sync", trigger=Trigger.MANUAL, requested_by="test")
    request, _ = request_sync(site.engine, wish, now=site.clock.now)
    real = {
        "brand": "acme",
        "page": "ad_performance",
        "job": "meta_sync",
        "request_id": request.id,
        "chain_id": request.id,
    }
    schema = schemathesis.openapi.from_url(f"{site.url}/api/v1/openapi.json", headers=token)
    seen: set[int] = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), is_real=st.booleans())
        def ask(case: Any, is_real: bool) -> None:
            if is_real:
                use_real_things(case, real)
            response = case.call(headers=token)
            assert response.status_code < 500
            case.validate_response(response, excluded_checks=[positive_data_acceptance])
            seen.add(response.status_code)

        ask()
    return seen


def use_real_things(case: Any, real: dict[str, str]) -> None:
    for name, value in real.items():
        if name in case.path_parameters:
            case.path_parameters[name] = value
        if isinstance(case.body, dict) and name in case.body:
            case.body[name] = value
