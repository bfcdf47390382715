"""Admin: the brands, one's own or all: add one, change one.

A brand's sources name secrets of the installation and where they are sent, so only an admin of
every organization adds brands and changes sources; the rest is for the organization's admins.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Depends, Form, Request, Response
from pydantic import BaseModel, Field

from pipeline_assets.brands.models import Brand, parse_brand
from pipeline_assets.brands.registry import (
    UNREADABLE_YAML,
    add_brand,
    apply_brands,
    list_brands,
)
from pipeline_assets.control.cadence_suggestions import set_suggested_cadences
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.roles import Role
from pipeline_assets.web.context import Web
from pipeline_assets.web.identity import check_role, visible_brand
from pipeline_assets.web.pages.admin import (
    AdminOfEvery,
    AdminOfSome,
    admin_page,
    administered,
)
from pipeline_assets.web.pages.answers import told

router = APIRouter(prefix="/admin")

_META_FIELDS = ("token", "app_id", "app_secret", "graph_url")
_SOURCE_FIELDS = {"ad_accounts", *_META_FIELDS, "other_sources"}
"""What only an admin of every organization changes."""

_Line = Annotated[str, Field(max_length=100)]
_Text = Annotated[str, Field(max_length=20_000)]


class BrandForm(BaseModel):
    """The form's fields: lists by commas or lines, mappings and further sources as YAML."""

    id: _Line = ""
    organization_id: _Line = ""
    name: _Text = ""
    timezone: _Line = ""
    currency: _Line = ""
    ad_accounts: _Text = ""
    token: _Text = ""
    app_id: _Line = ""
    app_secret: _Text = ""
    graph_url: _Text = ""
    other_sources: _Text = ""
    windows: _Text = ""
    max_runtime_minutes: _Text = ""

    @classmethod
    def of(cls, brand: Brand) -> "BrandForm":
        """The fields as they stand for a brand."""
        stored = brand.model_dump(mode="json")
        meta: dict[str, Any] = stored["sources"].pop("meta") or {}
        others = {name: source for name, source in stored["sources"].items() if source}
        return cls(
            id=brand.id,
            organization_id=brand.organization_id,
            name=brand.name,
            timezone=brand.timezone,
            currency=brand.currency or "",
            ad_accounts=", ".join(meta.get("ad_accounts", ())),
            **{field: meta.get(field) or "" for field in _META_FIELDS},
            other_sources=_as_yaml(others),
            windows=_as_yaml(brand.windows),
            max_runtime_minutes=_as_yaml(brand.max_runtime_minutes),
        )

    def brand(self, brand_id: str, organization_id: str) -> Brand:
        """The brand that the fields describe.

        Raises:
            InvalidConfigError: they describe none; says which field is wrong.
        """
        meta: dict[str, Any] = {name: getattr(self, name).strip() for name in _META_FIELDS}
        meta["ad_accounts"] = self.ad_accounts.replace(",", " ").split()
        given = {name: value for name, value in meta.items() if value}
        sources = _read_yaml("other sources", self.other_sources)
        if "meta" in sources:
            raise InvalidConfigError(
                "The field other sources cannot hold meta: it has fields of its own.",
                advice="Write its ad accounts, token and so on into those.",
            )
        return parse_brand(
            {
                "id": brand_id,
                "organization_id": organization_id,
                "name": self.name.strip() or brand_id,
                "timezone": self.timezone.strip(),
                "currency": self.currency.strip() or None,
                "sources": {**sources, **({"meta": given} if given else {})},
                "windows": _read_yaml("windows", self.windows),
                "max_runtime_minutes": _read_yaml("maximum runtimes", self.max_runtime_minutes),
            }
        )


def _as_yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True) if values else ""


def _read_yaml(what: str, text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except UNREADABLE_YAML:
        raise _no_mapping(what) from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise _no_mapping(what)
    return values


def _no_mapping(what: str) -> InvalidConfigError:
    return InvalidConfigError(
        f"The field {what} cannot be read.",
        advice="Write a line `key: value` for each, such as `ad_thumbnails: 72`.",
    )


@router.get("/brands")
def show_brands(request: Request, principal: AdminOfSome, web: Web) -> Response:
    """The brands of one's organizations, and the form to add one."""
    return admin_page(
        request,
        web,
        principal,
        "brands",
        brands=list_brands(web.engine, organization_ids=administered(principal)),
        form=BrandForm(),
        poll_url="/admin/brands",
    )


@router.post("/brands")
def new_brand(
    request: Request, principal: AdminOfEvery, web: Web, form: Annotated[BrandForm, Form()]
) -> Response:
    """Add a brand."""
    brand = form.brand(form.id.strip(), form.organization_id)
    add_brand(web.engine, brand, actor=principal.actor, now=web.now())
    found = set_suggested_cadences(web.engine, [brand], actor=principal.actor, now=web.now())
    set_ones = _tell_cadences(found)
    return told(request, f"{brand.id} is added.{set_ones} Dagster knows it within half a minute.")


def _administered_brand(brand: str, principal: AdminOfSome, web: Web) -> Brand:
    found = visible_brand(web, principal, brand)
    check_role(principal, Role.ADMIN, found.organization_id)
    return found


Administered = Annotated[Brand, Depends(_administered_brand)]


@router.get("/brands/{brand}")
def show_brand_form(
    request: Request, principal: AdminOfSome, web: Web, brand: Administered
) -> Response:
    """One brand's form."""
    return admin_page(
        request,
        web,
        principal,
        "brands",
        template="admin_brand.html",
        brand=brand,
        form=BrandForm.of(brand),
    )


@router.post("/brands/{brand}")
def change_brand(
    request: Request,
    principal: AdminOfSome,
    web: Web,
    brand: Administered,
    form: Annotated[BrandForm, Form()],
) -> Response:
    """Change a brand to what the form says; its pause stays."""
    if not principal.may(Role.ADMIN, None):
        form = form.model_copy(update=BrandForm.of(brand).model_dump(include=_SOURCE_FIELDS))
    wanted = form.brand(brand.id, brand.organization_id)
    applied = apply_brands(web.engine, [wanted], actor=principal.actor, now=web.now())
    found = set_suggested_cadences(
        web.engine, [wanted], before=[brand], actor=principal.actor, now=web.now()
    )
    became = "changed" if applied.changed else "as it was"
    return told(request, f"{brand.id} is {became}.{_tell_cadences(found)}")


def _tell_cadences(found: Sequence[str]) -> str:
    return f" New cadences: {len(found)}, see Schedules." if found else ""
