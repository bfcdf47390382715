"""Who asks, as the server sees it, and whether they may use Dagster's own pages."""

from fastapi import APIRouter, Depends, Response

from pipeline_assets.people.roles import Principal, Role
from pipeline_assets.web.api.shapes import Shape
from pipeline_assets.web.identity import Anybody, check_role

router = APIRouter(tags=["identity"])


class Me(Shape):
    """The person or program that asks."""

    actor: str
    """As the audit log names it, such as `user:alice@agency.example` or `token:reporting`."""
    name: str
    roles: dict[str, Role]
    """By organization; `*` stands for all of them."""


@router.get("/me", response_model=Me)
def who_am_i(principal: Anybody) -> Principal:
    """Tell who asks and which roles they have."""
    return principal


def _may_use_dagster(principal: Anybody) -> None:
    check_role(principal, Role.OPERATOR, None)


@router.get("/session/dagster", status_code=204, dependencies=[Depends(_may_use_dagster)])
def may_use_dagster() -> Response:
    """Answer 204 when one may see Dagster's own pages: for a proxy's sub-request.

    They know no organizations, so it takes the role operator in all of them.
    """
    return Response(status_code=204)
