"""The JSON API for programs, `/api/v1`; what every route of it has in common."""

from fastapi import APIRouter


def build_api() -> APIRouter:
    """All routes of the API."""
    return APIRouter(prefix="/api/v1")
